"""Probabilities against frequencies: scikit-learn, hand-worked bins, and a model known to be calibrated."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from stethos.errors import ScoreError
from stethos.metrics.calibration import calibrate, calibration, decision_curve, reliability, to_logit


def calibrated(rows=3000, seed=0):
    generator = np.random.default_rng(seed)
    logit = generator.normal(-1, 1.5, rows)
    return (generator.random(rows) < expit(logit)) * 1, logit, np.arange(rows)


@pytest.mark.parametrize("tails", [False, True])
def test_recalibration_is_logistic_regression_without_a_penalty(tails):
    truth, logit, _ = calibrated(500)
    logit = logit**3 if tails else logit
    got = calibrate(truth, logit)
    scale = logit.std()
    want = LogisticRegression(C=np.inf, tol=1e-12, max_iter=5000).fit(logit[:, None] / scale, truth)
    assert got.slope == pytest.approx(want.coef_[0, 0] / scale, rel=1e-5)
    assert got.intercept == pytest.approx(want.intercept_[0], abs=1e-5)


def test_a_group_s_frequency_is_its_recalibrated_probability():
    # two logits, 1 of 4 and 3 of 5 with the event: two parameters fit both exactly
    truth, logit = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0]), np.array([-2.0] * 4 + [3.0] * 5)
    got = expit(calibrate(truth, logit).apply(np.array([-2.0, 3.0])))
    assert got == pytest.approx([0.25, 0.6])


def test_recalibration_undoes_a_scale_and_a_shift():
    truth, logit, _ = calibrated()
    plain, bent = calibrate(truth, logit), calibrate(truth, 3 * logit + 2)
    assert bent.slope == pytest.approx(plain.slope / 3)
    assert bent.apply(3 * logit + 2) == pytest.approx(plain.apply(logit))


def test_classes_that_are_separated_have_no_slope():
    with pytest.raises(ScoreError, match="overlap"):
        calibrate(np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 2.0, 3.0]))


@pytest.mark.parametrize("logit", [np.zeros(4), np.array([0.0, np.inf, 1.0, 2.0])])
def test_logits_that_cannot_be_fitted_are_refused(logit):
    with pytest.raises(ScoreError, match="finite logits that differ"):
        calibrate(np.array([0, 1, 0, 1]), logit)


def test_a_calibrated_model_has_slope_one_and_intercept_zero_inside_the_intervals():
    got = calibration(*calibrated(), draws=300)
    assert got.slope.low < 1 < got.slope.high
    assert got.intercept.low < 0 < got.intercept.high
    assert got.ece.value < 0.03
    assert (got.slope.n, got.slope.events) == (3000, got.brier.events)


def test_a_model_that_is_too_sure_has_a_slope_below_one_and_a_larger_ece():
    truth, logit, subject = calibrated()
    fair, sure = (calibration(truth, scale * logit, subject, draws=200) for scale in (1, 2))
    assert sure.slope.value == pytest.approx(fair.slope.value / 2)
    assert sure.slope.high < 1
    assert sure.ece.low > fair.ece.high


def test_the_intercept_in_the_large_is_the_shift_of_the_log_odds():
    truth, logit, subject = calibrated()
    plain = calibration(truth, logit, subject, draws=100).intercept
    moved = calibration(truth, logit - 0.7, subject, draws=100).intercept
    assert moved.value == pytest.approx(plain.value + 0.7)
    assert moved.low > 0
    # mean probability equals the frequency once the intercept is added
    assert expit(logit + plain.value).mean() == pytest.approx(truth.mean())


def test_the_brier_score_is_that_of_scikit_learn():
    truth, logit, subject = calibrated(400)
    got = calibration(truth, logit, subject, draws=100).brier.value
    assert got == pytest.approx(brier_score_loss(truth, expit(logit)))


def test_the_ece_of_two_groups_worked_by_hand():
    # 40 rows at 0.2 with 12 events (0.1 off), 60 rows at 0.7 with 39 (0.05 off): 0.4 · 0.1 + 0.6 · 0.05
    probability = np.repeat([0.2, 0.7], [40, 60])
    truth = np.concatenate([np.arange(40) < 12, np.arange(60) < 39])
    got = calibration(truth, to_logit(probability), np.arange(100), draws=100).ece.value
    assert got == pytest.approx(0.07)


def test_intervals_of_calibration_do_not_narrow_when_rows_are_written_twice():
    truth, logit, subject = calibrated(300)
    once = calibration(truth, logit, subject, draws=200)
    twice = calibration(np.tile(truth, 2), np.tile(logit, 2), np.tile(subject, 2), draws=200)
    for name in ("slope", "intercept", "brier"):
        first, second = getattr(once, name), getattr(twice, name)
        assert (second.value, second.low, second.high) == pytest.approx((first.value, first.low, first.high))


def test_reliability_has_equal_bins_that_hold_the_diagonal_for_a_calibrated_model():
    truth, logit, subject = calibrated(4000)
    got = reliability(truth, expit(logit), subject)
    assert got.count.tolist() == [400] * 10
    assert np.all(np.diff(got.predicted) > 0)
    assert np.sum((got.low <= got.predicted) & (got.predicted <= got.high)) >= 8
    assert (got.observed * got.count).sum() == pytest.approx(truth.sum())


def test_equal_probabilities_share_a_bin():
    got = reliability(np.array([0, 1] * 10), np.repeat([0.2, 0.6], [15, 5]), np.arange(20))
    assert got.count.tolist() == [15, 5]
    assert got.predicted == pytest.approx([0.2, 0.6])


def test_net_benefit_of_ten_people_worked_by_hand():
    truth = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    probability = np.array([0.9, 0.3, 0.6, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    got = decision_curve(truth, probability, np.array([0.2, 0.5]))
    # at 0.2: 2 found, 2 in error at a quarter each; at 0.5: 1 found, 1 in error at par
    assert got.model == pytest.approx([0.2 - 0.2 / 4, 0.1 - 0.1])
    assert got.everyone == pytest.approx([0.2 - 0.8 / 4, 0.2 - 0.8])
    assert got.nobody.tolist() == [0, 0]


def test_acting_on_everyone_pays_until_the_threshold_is_the_prevalence():
    truth = np.arange(100) < 15
    got = decision_curve(truth, np.linspace(1, 0, 100), np.array([0.15]))
    assert got.everyone == pytest.approx(0)
    with pytest.raises(ScoreError, match="above 0 and below 1"):
        decision_curve(truth, np.linspace(1, 0, 100), np.array([1.0]))
