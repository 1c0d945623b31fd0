import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import FormatError
from stethos.report.table import Table, shown
from stethos.types import Estimate

AREA = Estimate(0.9123456, 0.897, 0.926, 1412, 23)


def read(table):
    return list(csv.reader(io.StringIO(table.csv(), newline="")))


def test_an_estimate_is_shown_with_its_interval_and_what_it_rests_on():
    assert shown(AREA) == ("0.912 (0.897 to 0.926)", "n 1,412, 23 events")


def test_an_estimate_without_an_interval_says_so():
    assert shown(Estimate(0.5, float("nan"), float("nan"), 3)) == ("0.500 (no interval)", "n 3")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9123, "0.912"),
        (63.44, "63.4"),
        (4.314, "4.31"),
        (12345.6, "12,346"),
        (0.0002, "0.0002"),
        (-0.5, "−0.500"),
        (0, "0"),
        (0.0, "0.000"),
        (12345, "12,345"),
        (None, "–"),
        (float("nan"), "–"),
        ("", "–"),
        (np.float32(0.5), "0.500"),
    ],
)
def test_a_number_is_shown_with_about_three_figures(value, text):
    assert shown(value)[0] == text


def test_a_dash_is_explained_in_the_note():
    assert Table(("a",), [(None,)]).remark == "–: not available."
    assert Table(("a",), [(None,)], note="Wilson.").remark == "Wilson. –: not available."
    assert Table(("a",), [(None,)], note="–: not measured.").remark == "–: not measured."
    assert Table(("a",), [(1,)]).remark == ""


def test_columns_of_numbers_are_known_as_such():
    table = Table(("a", "b", "c", "d"), [("x", 1, AREA, None), ("y", None, 0.2, None)])
    assert table.numeric == (False, True, True, False)


def test_the_csv_holds_every_estimate_in_full():
    head, first, second = read(Table(("cohort", "AUROC"), [("here", AREA), ("there", None)]))
    assert head == ["cohort", "AUROC", "AUROC low", "AUROC high", "AUROC n", "AUROC events"]
    assert first == ["here", "0.9123456", "0.897", "0.926", "1412", "23"]
    assert second == ["there", "", "", "", "", ""]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"))), st.floats(allow_nan=False, width=64)
        ),
        max_size=5,
    )
)
def test_the_csv_reads_back_as_it_was(rows):
    back = read(Table(("name", "value"), rows))[1:]
    assert [(name, float(value)) for name, value in back] == rows


def test_a_ragged_row_is_refused():
    with pytest.raises(FormatError, match="a row has 1"):
        Table(("a", "b"), [(1,)])
