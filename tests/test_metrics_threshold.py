"""Thresholds and what they are worth, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from stethos.errors import ScoreError
from stethos.metrics.threshold import at_prevalence, choose_threshold, operating_point

TRUTH = np.array([0, 0, 1, 0, 1, 1])
SCORE = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ({"sensitivity": 2 / 3}, 4.5),
        ({"sensitivity": 0.7}, 2.5),
        ({"sensitivity": 1.0}, 2.5),
        ({"specificity": 1.0}, 4.5),
        ({"specificity": 0.5}, 2.5),
        ({"npv": 0.75}, 4.5),
        ({"npv": 0.9}, 2.5),
        ({"youden": True}, 4.5),  # J is 2/3 at 4.5 and at 2.5: the one that flags fewer
    ],
)
def test_a_threshold_meets_its_target_and_flags_no_more_than_it_must(target, want):
    assert choose_threshold(TRUTH, SCORE, **target) == want


def test_rows_with_equal_scores_are_flagged_together():
    truth, score = np.array([1, 0, 1, 0, 0]), np.array([2.0, 2.0, 2.0, 1.0, 1.0])
    threshold = choose_threshold(truth, score, sensitivity=0.5)
    assert threshold == 1.5
    assert np.mean(score[truth == 1] >= threshold) == 1


def test_flagging_everybody_needs_no_score_below_the_lowest():
    assert choose_threshold(np.array([1, 0]), np.array([3.0, 5.0]), sensitivity=1.0) == 3


def test_a_threshold_between_neighbouring_numbers_still_parts_them():
    high = np.nextafter(1.0, 2.0)
    assert choose_threshold(np.array([0, 1]), np.array([1.0, high]), specificity=1.0) == high


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=1, max_size=50), st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_target_is_met_on_the_data_it_was_chosen_on_whatever_the_ties(rows, target):
    rows = [*rows, (True, 6), (False, -6)]
    truth, score = (np.array(column, float) for column in zip(*rows, strict=True))
    point = operating_point(truth, score, choose_threshold(truth, score, sensitivity=target), np.arange(len(truth)))
    assert point.sensitivity.value >= target
    point = operating_point(truth, score, choose_threshold(truth, score, specificity=target), np.arange(len(truth)))
    assert point.specificity.value >= target


@pytest.mark.parametrize("target", [{}, {"sensitivity": 0.9, "npv": 0.9}, {"youden": True, "specificity": 0.5}])
def test_not_exactly_one_target_is_refused(target):
    with pytest.raises(ScoreError, match="exactly one"):
        choose_threshold(TRUTH, SCORE, **target)


def test_a_target_out_of_reach_is_refused_and_the_best_named():
    with pytest.raises(ScoreError, match=r"specificity of 1; the best is 0\.6667"):
        choose_threshold(TRUTH, -SCORE, specificity=1.0)  # the highest score belongs to a row without the event


def test_an_npv_that_flagging_nobody_reaches_is_refused():
    truth = np.arange(1000) < 15  # 1.5 %: an NPV of 0.985 for nothing
    with pytest.raises(ScoreError, match=r"flagging nobody has an NPV of 0\.9850"):
        choose_threshold(truth, np.random.default_rng(0).normal(size=1000), npv=0.98)


def table(tp, fn, fp, tn):
    """Truth and score of a two-by-two table, flagged at 1."""
    truth = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    return truth, np.repeat([1.0, 0.0, 1.0, 0.0], [tp, fn, fp, tn])


def test_an_operating_point_of_two_hundred_people_worked_by_hand():
    truth, score = table(90, 10, 20, 80)
    point = operating_point(truth, score, 1.0, np.arange(200))
    assert (point.tp, point.fn, point.fp, point.tn) == (90, 10, 20, 80)
    shares = {
        "sensitivity": 0.9,
        "specificity": 0.8,
        "ppv": 90 / 110,
        "npv": 80 / 90,
        "prevalence": 0.5,
        "trivial_npv": 0.5,
        "flagged": 0.55,
    }
    assert {name: getattr(point, name).value for name in shares} == pytest.approx(shares)
    assert point.nns.value == pytest.approx(200 / 90)
    assert point.nns.low < point.nns.value < point.nns.high
    # Wilson for 90 of 100, as tabulated
    assert (point.sensitivity.low, point.sensitivity.high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert (point.sensitivity.n, point.specificity.n, point.prevalence.n) == (100, 100, 200)


def test_likelihood_ratios_have_the_intervals_of_the_log_method():
    truth, score = table(90, 10, 20, 80)
    point = operating_point(truth, score, 1.0, np.arange(200))
    # LR+ = 0.9 / 0.2, variance of its log 1/90 − 1/100 + 1/20 − 1/100 = 0.04111
    assert point.lr_positive.value == pytest.approx(4.5)
    assert (point.lr_positive.low, point.lr_positive.high) == pytest.approx((3.0243, 6.6958), abs=2e-3)
    # LR− = 0.1 / 0.8, variance 1/10 − 1/100 + 1/80 − 1/100 = 0.0925
    assert point.lr_negative.value == pytest.approx(0.125)
    factor = np.exp(1.959964 * np.sqrt(0.0925))
    assert (point.lr_negative.low, point.lr_negative.high) == pytest.approx((0.125 / factor, 0.125 * factor))


def test_counts_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    truth, score = (generator.random(300) < 0.2) * 1, generator.normal(size=300)
    point = operating_point(truth, score, 0.3, np.arange(300))
    want = confusion_matrix(truth, score >= 0.3)
    assert [[point.tn, point.fp], [point.fn, point.tp]] == want.tolist()


def test_writing_every_row_twice_leaves_every_interval_of_an_operating_point():
    generator = np.random.default_rng(0)
    subject = np.repeat(np.arange(80), 3)
    truth = (generator.normal(size=80)[subject] > 0.5) * 1
    score = generator.normal(size=80)[subject] + truth
    once = operating_point(truth, score, 0.8, subject)
    twice = operating_point(*(np.tile(column, 2) for column in (truth, score)), 0.8, np.tile(subject, 2))
    for name in ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative", "flagged", "nns"):
        first, second = getattr(once, name), getattr(twice, name)
        assert (second.low, second.high) == pytest.approx((first.low, first.high)), name


def test_empty_cells_give_intervals_that_say_what_is_not_known():
    truth, score = table(0, 5, 0, 20)  # nobody flagged
    point = operating_point(truth, score, 1.0, np.arange(25))
    assert np.isnan(point.ppv.value)
    assert (point.ppv.low, point.ppv.high, point.ppv.n) == (0, 1, 0)
    assert (point.sensitivity.value, point.sensitivity.low) == (0, 0)
    assert point.sensitivity.high < 0.5
    assert point.nns.value == np.inf
    assert np.isnan(point.lr_positive.value)
    assert point.lr_negative.value == 1
    assert point.npv.value == point.trivial_npv.value

    truth, score = table(5, 0, 0, 20)  # no slip
    point = operating_point(truth, score, 1.0, np.arange(25))
    assert point.lr_positive.value == np.inf
    assert 1 < point.lr_positive.low < np.inf
    assert (point.lr_negative.value, point.lr_negative.low) == (0, 0)
    # with half a subject in each cell: (0.5 / 6) / (20.5 / 21), variance of the log 2 − 1/6 + 1/20.5 − 1/21
    factor = np.exp(1.959964 * np.sqrt(2 - 1 / 6 + 1 / 20.5 - 1 / 21))
    assert point.lr_negative.high == pytest.approx((0.5 / 6) / (20.5 / 21) * factor)


def test_predictive_values_move_to_another_prevalence():
    # of 1000 people 100 are ill: 90 found, 10 missed, 180 flagged in error, 720 cleared
    assert at_prevalence(0.9, 0.8, 0.1) == pytest.approx((90 / 270, 720 / 730))
    # a coin has the trivial NPV whatever its bias
    assert at_prevalence(0.3, 0.7, 0.015)[1] == pytest.approx(0.985)
    assert np.isnan(at_prevalence(0.0, 1.0, 0.1)[0])


def test_re_projection_to_the_same_prevalence_changes_nothing():
    truth, score = table(40, 12, 33, 301)
    point = operating_point(truth, score, 1.0, np.arange(len(truth)))
    got = at_prevalence(point.sensitivity.value, point.specificity.value, point.prevalence.value)
    assert got == pytest.approx((point.ppv.value, point.npv.value))
