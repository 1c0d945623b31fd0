import numpy as np
import pytest

from stethos.data.target import parse_target
from stethos.errors import CohortError, RecipeError
from stethos.types import Cohort, Record

COHORT = Cohort(
    {
        "id": np.array(list("abcd")),
        "subject": np.array(list("abcd")),
        "when": np.array(["2020-01-01"] * 4, "datetime64[s]"),
        "potassium": np.array([5.5, 5.6, np.nan, 3.0]),
        "af": np.array([0.0, 1.0, np.nan, 1.0]),
        "rhythm": np.array(["A", "N", None, "O"], object),
        "scp_codes": np.array(["NORM SR", "AFIB;LVH", "AFIBX, SR", None], object),
        "raw_codes": np.array(["{'NORM': 100.0, 'SR': 0.0}", "{'AFIB': 0.0}", "{}", None], object),
    },
    lambda row: Record("a", "a", ()),
)
NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("potassium > 5.5", [0, 1, NAN, 0]),
        ("potassium>=5.5", [1, 1, NAN, 0]),
        ("potassium < 5.5", [0, 0, NAN, 1]),
        ("potassium <= 5.5", [1, 0, NAN, 1]),
        ("potassium == 3", [0, 0, NAN, 1]),
        ("potassium != 3", [1, 1, NAN, 0]),
        ("potassium > -1e1", [1, 1, NAN, 1]),
        ("potassium in 3, 5.6", [0, 1, NAN, 1]),
        ("potassium", [5.5, 5.6, NAN, 3.0]),
        ("af", [0, 1, NAN, 1]),
        ("rhythm == A", [1, 0, NAN, 0]),
        ("rhythm != 'A'", [0, 1, NAN, 1]),
        ("rhythm in A,O", [1, 0, NAN, 1]),
        ("scp_codes has AFIB", [0, 1, 0, NAN]),
        ("scp_codes has SR", [1, 0, 1, NAN]),
        ("raw_codes has SR", [1, 0, 0, NAN]),
    ],
)
def test_a_target_is_one_where_it_holds_and_unknown_where_the_cell_is(text: str, wanted: list[float]):
    np.testing.assert_array_equal(parse_target(text).apply(COHORT), wanted)


def test_only_a_bare_column_is_graded():
    assert parse_target("potassium").graded
    assert not parse_target("potassium > 5.5").graded


def test_a_bare_column_of_zeros_and_ones_is_binary_and_a_measured_one_is_not():
    assert parse_target("af").binary(COHORT)
    assert not parse_target("potassium").binary(COHORT)
    assert parse_target("potassium > 5.5").binary(COHORT)


def test_the_text_is_kept_as_written():
    assert parse_target("  potassium >5.5 ").text == "potassium >5.5"


@pytest.mark.parametrize(
    "text",
    ["", "potassium >", "> 5.5", "potassium => 5.5", "potassium > 5.5 > 3", "__import__('os').system('x')", "5.5"],
)
def test_what_is_no_target_is_refused_with_the_forms_there_are(text: str):
    with pytest.raises(RecipeError, match=r"cannot be read; needs `potassium > 5\.5`"):
        parse_target(text)


def test_an_unknown_column_is_named_with_those_there_are():
    with pytest.raises(CohortError, match=r"kalium; the cohort has .*potassium"):
        parse_target("kalium > 5.5").apply(COHORT)


@pytest.mark.parametrize("text", ["rhythm > 5.5", "rhythm"])
def test_a_column_of_words_compared_as_a_number_is_refused(text: str):
    with pytest.raises(RecipeError, match=r"column rhythm holds words \(A, N, O\).*`rhythm == A`"):
        parse_target(text).apply(COHORT)


@pytest.mark.parametrize("text", ["potassium > high", "potassium in low,high", "potassium has K"])
def test_a_column_of_numbers_compared_with_a_word_is_refused(text: str):
    with pytest.raises(RecipeError, match="column potassium holds numbers"):
        parse_target(text).apply(COHORT)


def test_dates_are_no_target():
    with pytest.raises(RecipeError, match="holds dates; split by time"):
        parse_target("when > 2020").apply(COHORT)
