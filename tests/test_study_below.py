"""Who is flagged although the value is below the limit, and by how much a disease raises the odds of it."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from stethos.errors import ScoreError
from stethos.study.below import FACTORS, Factor, below_threshold, labels, odds_ratios
from stethos.types import Predictions


def said(flagged, subject=None, truth=None, **facts) -> Predictions:
    count = len(flagged)
    return Predictions(
        score=np.where(flagged, 1.0, -1.0)[:, None],
        truth=np.zeros((count, 1)) if truth is None else np.array(truth, float)[:, None],
        record=np.arange(count),
        subject=np.arange(count) if subject is None else subject,
        split=np.full(count, "internal"),
        seed=np.zeros(count),
        facts=facts,
        names=("t",),
    )


def two_by_two(a, b, c, d):
    """Exposed flagged and not, then the others flagged and not: event and exposure."""
    event = np.repeat([True, False, True, False], [a, b, c, d])
    return event, np.repeat([1.0, 1.0, 0.0, 0.0], [a, b, c, d])


def planted(count, log_odds, seed=0, subjects=None):
    """Kidney disease raises potassium, and both raise the chance of being flagged: log odds −1.5 + b · ckd + 1 · K."""
    rng = np.random.default_rng(seed)
    ckd = (rng.uniform(size=count) < 0.35).astype(float)
    potassium = 4.2 + 0.5 * ckd + 0.4 * rng.normal(size=count)
    chance = 1 / (1 + np.exp(1.5 - log_odds * ckd - 1.0 * (potassium - 4.2)))
    return said(rng.uniform(size=count) < chance, ckd=ckd, potassium=potassium)


def test_an_odds_ratio_and_its_interval_worked_by_hand():
    event, exposed = two_by_two(20, 30, 10, 60)
    (odds,) = odds_ratios(event, exposed[:, None], np.arange(120))
    assert odds.ratio.value == pytest.approx(20 * 60 / (30 * 10))
    # leaving one row of a group of n out moves its logit by residual / ((n − 1) p (1 − p)): squares sum to this
    spread = 119 / 120 * (50 / (49**2 * 0.4 * 0.6) + 70 / (69**2 * (1 / 7) * (6 / 7)))
    assert np.log(odds.ratio.high / odds.ratio.value) == pytest.approx(1.959964 * np.sqrt(spread), rel=1e-6)
    assert np.log(odds.ratio.value / odds.ratio.low) == pytest.approx(1.959964 * np.sqrt(spread), rel=1e-6)
    assert spread == pytest.approx(1 / 20 + 1 / 30 + 1 / 10 + 1 / 60, rel=0.05)  # Woolf's
    assert (odds.ratio.n, odds.ratio.events) == (120, 30)
    assert odds.p == pytest.approx(0.0021, abs=0.0003)


def test_saying_every_row_twice_changes_neither_the_ratio_nor_its_interval():
    event, exposed = two_by_two(20, 30, 10, 60)
    value = np.random.default_rng(0).normal(size=120)
    columns = np.column_stack([exposed, value])
    once = odds_ratios(event, columns, np.arange(120))
    twice = odds_ratios(np.tile(event, 2), np.tile(columns, (2, 1)), np.tile(np.arange(120), 2))
    for one, two in zip(once, twice, strict=True):
        assert (two.ratio.value, two.ratio.low, two.ratio.high) == pytest.approx(
            (one.ratio.value, one.ratio.low, one.ratio.high), rel=1e-8
        )
        assert two.ratio.n == one.ratio.n


def test_odds_ratios_are_those_of_an_unpenalised_logistic_regression():
    part = planted(600, 0.7)
    columns = np.column_stack([part.facts["ckd"], part.facts["potassium"]])
    event = part.score[:, 0] > 0
    want = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(columns, event).coef_[0]
    found = [np.log(item.ratio.value) for item in odds_ratios(event, columns, part.subject)]
    assert found == pytest.approx(want, abs=1e-4)


def test_odds_per_unit_follow_the_unit():
    part = planted(600, 0.7)
    event, value = part.score[:, 0] > 0, part.facts["potassium"]
    (per_mmol,) = odds_ratios(event, value[:, None], part.subject)
    (per_tenth,) = odds_ratios(event, 10 * value[:, None], part.subject)
    assert per_tenth.ratio.value**10 == pytest.approx(per_mmol.ratio.value)
    assert per_tenth.p == pytest.approx(per_mmol.p)


def test_a_planted_effect_is_found_beyond_that_of_potassium():
    found = below_threshold(planted(6000, np.log(2.5)), 0.0)
    yes = next(item for item in found.levels if (item.factor, item.level) == ("chronic kidney disease", "yes"))
    assert yes.odds is not None
    assert not yes.odds.ratio.excludes(2.5)
    assert yes.odds.ratio.excludes(1)
    assert yes.odds.ratio.high / yes.odds.ratio.low < 1.5


def test_what_potassium_alone_explains_is_not_told_as_an_effect_of_the_disease():
    part = planted(6000, 0.0)
    crude = odds_ratios(part.score[:, 0] > 0, part.facts["ckd"][:, None], part.subject)[0]
    assert crude.ratio.low > 1.2
    yes = next(item for item in below_threshold(part, 0.0).levels if item.level == "yes")
    assert not yes.odds.ratio.excludes(1)
    assert yes.odds.p > 0.05


def test_intervals_cover_what_was_planted_as_often_as_they_say():
    hits = [not below_threshold(planted(300, 0.9, seed), 0.0).levels[2].odds.ratio.excludes(np.exp(0.9))
            for seed in range(200)]  # fmt: skip
    assert 0.90 <= np.mean(hits) <= 0.99


def test_shares_by_level_are_counted_by_hand():
    flagged = [1, 0, 0, 1, 1, 0, 1, 1]
    facts = {
        "ckd": np.array([1, 1, 0, 0, np.nan, 0, 1, 0]),
        "sex": np.array(["F", "M", "F", "", "M", "F", "F", "F"]),
        "age": np.array([30, 50, 70, 90, 50, 50, 1, 1.0]),
    }
    part = said(flagged, truth=[0, 0, 0, 0, 0, 0, 1, np.nan], **facts)
    found = below_threshold(part, 0.0)
    shares = {(item.factor, item.level): (item.records, item.flagged.value) for item in found.levels}
    assert shares == {
        ("all", "all"): (6, 0.5),
        ("chronic kidney disease", "no"): (3, pytest.approx(1 / 3)),
        ("chronic kidney disease", "yes"): (2, 0.5),
        ("chronic kidney disease", "unknown"): (1, 1.0),
        ("age, years", "< 45"): (1, 1.0),
        ("age, years", "45 to < 65"): (3, pytest.approx(1 / 3)),
        ("age, years", "65 to < 80"): (1, 0.0),
        ("age, years", "≥ 80"): (1, 1.0),
        ("sex", "F"): (3, pytest.approx(1 / 3)),
        ("sex", "M"): (2, 0.5),
        ("sex", "unknown"): (1, 1.0),
    }
    assert found.absent == ("heart failure", "potassium, mmol/L")
    assert found.adjusted_for == ""
    assert all(item.odds is None for item in found.levels)
    table = found.table("Below")
    assert "heart failure, potassium" in table.note
    assert "not adjusted" in table.note


def test_a_level_too_small_for_an_odds_ratio_says_why_and_leaves_the_others():
    part = planted(600, 0.5)
    rare = np.where(np.arange(600) < 3, "C", np.where(part.facts["ckd"] == 1, "B", "A"))
    found = below_threshold(said(part.score[:, 0] > 0, group=rare), 0.0, (Factor("group", "group"),))
    by_level = {item.level: item for item in found.levels}
    assert by_level["A"].note == "reference"
    assert by_level["B"].odds is not None
    assert by_level["C"].odds is None
    assert "needs 5 of each" in by_level["C"].note
    without = said(part.score[:, 0] > 0, group=np.where(rare == "C", "B", rare)).take(rare != "C")
    again = below_threshold(without, 0.0, (Factor("group", "group"),)).levels[2]
    assert again.odds.ratio.value == pytest.approx(by_level["B"].odds.ratio.value)


def test_a_reference_too_small_leaves_no_odds_ratio_at_all():
    part = planted(600, 0.5)
    rare = np.where(np.arange(600) < 3, "A", "B")
    found = below_threshold(said(part.score[:, 0] > 0, group=rare), 0.0, (Factor("group", "group"),))
    assert found.levels[2].note == "the reference A has too few"


def test_bands_of_the_value_itself_are_not_adjusted_for_it():
    part = planted(3000, 0.0)
    found = below_threshold(part, 0.0)
    bands = {item.level: item for item in found.levels if item.factor.startswith("potassium")}
    assert list(bands) == ["< 3.5", "3.5 to < 4", "4 to < 4.5", "4.5 to < 5", "≥ 5"]
    assert bands["4 to < 4.5"].note == "reference"
    assert bands["4.5 to < 5"].odds.ratio.value > 1.2
    high, low = bands["≥ 5"], bands["4 to < 4.5"]
    odds = [item.flagged.value / (1 - item.flagged.value) for item in (high, low)]
    assert high.odds.ratio.value == pytest.approx(odds[0] / odds[1])


def test_scores_and_facts_of_records_with_the_event_move_nothing():
    part = planted(500, 0.5)
    truth = np.repeat([0.0, 1.0], [400, 100])
    flip = np.where(truth == 1, -part.score[:, 0], part.score[:, 0]) > 0
    facts = dict(part.facts)
    one = below_threshold(said(part.score[:, 0] > 0, truth=truth, **facts), 0.0)
    assert one == below_threshold(said(flip, truth=truth, **facts), 0.0)
    assert one.levels[0].records == 400


def test_columns_that_separate_or_repeat_each_other_are_refused():
    event, exposed = two_by_two(30, 0, 10, 60)
    with pytest.raises(ScoreError, match="separate"):
        odds_ratios(event, exposed[:, None], np.arange(100))
    event, exposed = two_by_two(20, 30, 10, 60)
    with pytest.raises(ScoreError, match="follow from each other"):
        odds_ratios(event, np.column_stack([exposed, 1 - exposed]), np.arange(120))


def test_a_part_without_anybody_below_the_limit_is_told():
    with pytest.raises(ScoreError, match="without the event"):
        below_threshold(said([1, 0], truth=[1, 1]), 0.0)


def test_levels_of_text_numbers_and_unknowns():
    facts = {"x": np.array([0, 1, 2, np.nan]), "w": np.array(["a", "", None, "b"], dtype=object)}
    assert labels(facts, Factor("x", "x")).tolist() == ["no", "yes", "2", "unknown"]
    assert labels(facts, Factor("w", "w")).tolist() == ["a", "unknown", "unknown", "b"]
    assert {factor.fact for factor in FACTORS} == {"ckd", "heart_failure", "age", "sex", "potassium"}
