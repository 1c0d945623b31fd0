"""Counts of what is not known."""

import numpy as np
import pytest

from stethos.study.missing import COMPLETE, DESCRIBED, IMPUTED, is_missing, missing_data, missing_table
from stethos.types import Predictions


@pytest.fixture
def said() -> Predictions:
    return Predictions(
        score=np.zeros((6, 1)),
        truth=np.array([0, 1, 0, 1, 0, np.nan])[:, None],
        record=np.arange(6),
        subject=np.array(["a", "a", "b", "c", "d", "d"]),
        split=np.array(["train", "train", "train", "internal", "internal", "internal"]),
        seed=np.zeros(6),
        facts={
            "age": np.array([40, np.nan, np.nan, 50, 60, np.nan]),
            "sex": np.array(["F", "", "M", "F", "M", "M"]),
            "when": np.array(["2020-01-01", "NaT", "2020-01-01", "2020-01-01", "2020-01-01", "2020-01-01"]),
            "ckd": np.zeros(6),
        },
        names=("t",),
    )


def test_every_fact_is_counted_in_every_part(said):
    found = {(item.fact, item.split): (item.known, item.missing) for item in missing_data(said)}
    assert found == {
        ("target", "train"): (3, 0), ("target", "internal"): (2, 1),
        ("age", "train"): (1, 2), ("age", "internal"): (2, 1),
        ("sex", "train"): (2, 1), ("sex", "internal"): (3, 0),
        ("when", "train"): (2, 1), ("when", "internal"): (3, 0),
        ("ckd", "train"): (3, 0), ("ckd", "internal"): (3, 0),
    }  # fmt: skip


def test_a_share_has_an_interval_over_subjects(said):
    share = next(item.share for item in missing_data(said) if (item.fact, item.split) == ("age", "train"))
    assert share.value == pytest.approx(2 / 3)
    assert share.low < 2 / 3 < share.high
    assert share.n == 2


def test_the_rule_is_told_for_target_controls_and_the_rest(said):
    rules = {item.fact: item.rule for item in missing_data(said)}
    assert rules == {"target": COMPLETE, "age": IMPUTED, "sex": IMPUTED, "when": DESCRIBED, "ckd": DESCRIBED}
    assert {item.rule for item in missing_data(said, ["ckd"], {"ckd": "asked again"})} == {DESCRIBED, "asked again"}


def test_a_fact_that_the_cohort_does_not_have_is_missing_of_everybody(said):
    found = [item for item in missing_data(said, ["potassium_minutes"]) if item.fact == "potassium_minutes"]
    assert [(item.known, item.missing) for item in found] == [(0, 3), (0, 3)]


def test_what_is_complete_is_named_and_not_listed(said):
    table = missing_table(missing_data(said))
    assert [row[0] for row in table.rows] == ["target", "age", "sex", "when"]
    assert table.columns == ("fact", "train", "internal", "rule")
    assert table.rows[1][1] == "2 of 3 (66.7%)"
    assert "Known of every record: ckd." in table.note


@pytest.mark.parametrize(
    ("column", "want"),
    [
        (np.array([1.0, np.nan]), [False, True]),
        (np.array(["x", None], dtype=object), [False, True]),
        (np.array(["None", ""]), [True, True]),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[s]"), [False, True]),
        (np.array([0, 1]), [False, False]),
    ],
)
def test_what_counts_as_missing(column, want):
    assert is_missing(column).tolist() == want
