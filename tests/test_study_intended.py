"""When the model must not answer, and what that costs."""

import numpy as np
import pytest

from stethos.errors import ScoreError
from stethos.study.intended import (
    ANSWERED,
    REFUSED,
    IntendedUse,
    agreement,
    coverage,
    coverage_table,
    margin,
    number,
    reasons_by_row,
    refusals,
    refusals_table,
)
from stethos.types import Predictions, Record


def said(score, truth, **facts) -> Predictions:
    count = len(score)
    return Predictions(
        score=np.array(score, float)[:, None],
        truth=np.array(truth, float)[:, None],
        record=np.arange(count),
        subject=np.arange(count),
        split=np.full(count, "internal"),
        seed=np.zeros(count),
        facts={name: np.array(column) for name, column in facts.items()},
        names=("t",),
    )


@pytest.mark.parametrize(
    ("facts", "lead", "want"),
    [
        ({"age": 17.9}, "I", ["younger than 18 years"]),
        ({"age": 18.0}, "I", []),
        ({"age": None, "paced": None}, "I", []),
        ({"age": float("nan")}, "", []),
        ({"paced": 1.0}, "I", ["paced rhythm"]),
        ({"paced": "yes"}, "I", ["paced rhythm"]),
        ({"paced": 0.0, "dialysis": 1.0}, "I", []),
        ({}, "V5", ["not one of the leads I"]),
        ({"windows_used": 0.0}, "I", ["fewer than 1 usable windows"]),
        (
            {"age": 3, "paced": 1, "windows_used": 0},
            "II",
            ["younger than 18 years", "paced rhythm", "not one of the leads I", "fewer than 1 usable windows"],
        ),
    ],
)
def test_every_reason_is_named(facts, lead, want):
    assert IntendedUse().check(facts, lead) == want
    assert IntendedUse().check(Record("s", "1", (), facts=facts), lead) == want


def test_a_wider_use_refuses_less_and_a_narrower_one_more():
    facts = {"age": 12.0, "paced": 1.0, "dialysis": 1.0}
    assert IntendedUse(youngest_age=0, paced=True, leads=()).check(facts, "V5") == []
    assert IntendedUse(youngest_age=0, paced=True, dialysis=False).check(facts) == ["on dialysis"]
    assert IntendedUse(least_windows=3).check({"windows_used": 2.0}) == ["fewer than 3 usable windows"]


def test_what_could_not_be_checked_is_named():
    assert IntendedUse().unchecked({}) == ["age", "paced"]
    assert IntendedUse(dialysis=False).unchecked({"age": 50.0, "paced": None}) == ["paced", "dialysis"]
    assert IntendedUse(paced=True).unchecked(Record("s", "1", (), facts={"age": 50.0})) == []


@pytest.mark.parametrize(("fact", "want"), [(1, 1), ("1", 1), ("No", 0), ("TRUE", 1), (np.float64(2.5), 2.5)])
def test_facts_are_read_as_numbers(fact, want):
    assert number(fact) == want
    assert np.isnan(number(None))
    assert np.isnan(number("perhaps"))


def test_refusals_are_counted_by_hand():
    part = said(
        score=[1, 1, -1, -1, 1, -1, 1],
        truth=[1, 0, 0, 1, 1, 1, np.nan],
        age=[50, 12, 50, 10, 50, 50, 5.0],
        paced=[0, 1, 1, 0, 0, np.nan, 0],
    )
    assert reasons_by_row(part, IntendedUse()) == [
        [],
        ["younger than 18 years", "paced rhythm"],
        ["paced rhythm"],
        ["younger than 18 years"],
        [],
        [],
        ["younger than 18 years"],
    ]
    groups = {item.name: item for item in refusals(part, IntendedUse(), 0.0)}
    assert set(groups) == {ANSWERED, REFUSED, "younger than 18 years", "paced rhythm"}
    counts = {name: (item.records, item.events, item.error.value) for name, item in groups.items()}
    assert counts[ANSWERED] == (3, 3, pytest.approx(1 / 3))
    assert counts[REFUSED] == (3, 1, pytest.approx(2 / 3))
    assert counts["younger than 18 years"] == (2, 1, 1.0)
    assert counts["paced rhythm"] == (2, 0, 0.5)
    assert groups[ANSWERED].missed.value == pytest.approx(1 / 3)
    assert np.isnan(groups["paced rhythm"].missed.value)
    assert len(refusals_table(list(groups.values()), "t").rows) == 4


def test_where_nobody_is_refused_the_line_says_so():
    groups = refusals(said([1, -1], [1, 0]), IntendedUse(), 0.0)
    assert [(item.name, item.records) for item in groups] == [(ANSWERED, 2), (REFUSED, 0)]
    assert np.isnan(groups[1].error.value)


def test_another_lead_refuses_everybody():
    groups = refusals(said([1, -1], [1, 0]), IntendedUse(), 0.0, lead="V5")
    assert [(item.name, item.records) for item in groups] == [
        (ANSWERED, 0),
        (REFUSED, 2),
        ("not one of the leads I", 2),
    ]


def test_refusing_the_unsure_lowers_the_error():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=800) < 0.4
    part = said(2 * rng.normal(size=800) + 3 * truth, truth)
    curve = coverage(part, 1.0, margin(part, 1.0))
    assert curve.coverage[0] == 1
    assert curve.error[10] < curve.error[0] / 2
    assert curve.low[0] < curve.error[0] < curve.high[0]
    useless = coverage(part, 1.0, rng.uniform(size=800))
    assert abs(useless.error[10] - useless.error[0]) < 0.04


def test_the_table_of_coverage_counts_the_records_with_the_event_that_are_answered():
    # events at -1, 1, 3, 4; threshold 0: the nearest are refused first, half of all are left
    part = said([-3, -2, -1, 1, 3, 4], [0, 0, 1, 1, 1, 1])
    table = coverage_table(part, 0.0, {"distance": margin(part, 0.0)}, "internal")
    assert table.rows[0][1:4:2] == ["100%", "100%, 4 of 4"]
    assert table.rows[-1][3].endswith(" of 4")
    assert not table.rows[-1][3].startswith("100%")
    assert table.caption == "Error against coverage, internal"


def test_coverage_needs_both_classes():
    with pytest.raises(ScoreError):
        coverage(said([1, 2], [1, 1]), 0.0, np.zeros(2))


def test_with_a_rare_event_and_a_sensitive_threshold_the_margin_refuses_the_wrong_records():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=4000) < 0.03
    part = said(rng.normal(size=4000) + 1.5 * truth, truth)
    assert coverage(part, 0.0, margin(part, 0.0)).error[15] > 0.45
    assert coverage(part, 2.5, margin(part, 2.5)).error[15] < 0.02  # where few are flagged it does what it should


def test_agreement_of_seeds_worked_by_hand():
    one, two = said([1, 5, -2], [1, 0, 0]), said([3, 5, -8], [1, 0, 0])
    each = Predictions(
        **{name: np.concatenate([getattr(one, name), getattr(two, name)[::-1]])
           for name in ("score", "truth", "record", "subject", "split")},
        seed=np.repeat([0, 1], 3), facts={}, names=("t",),
    )  # fmt: skip
    assert agreement(each).tolist() == pytest.approx([-1, 0, -3])
    assert each.mean_over_seeds().score[:, 0].tolist() == [2, 5, -5]
    assert not agreement(one).any()
