"""The interval of the ECE: hand-worked bins, cohorts that are calibrated, and cohorts that are far from it."""

import numpy as np
import pytest
from scipy.special import expit

from stethos.metrics.calibration import calibration
from stethos.metrics.ece import bins, ece_interval, least_error


def cohort(generator, subjects=400, mean=-2.0, shift=0.0, bend=1.0):
    """Truth, logit and subject of two visits each; the logit is calibrated where shift is 0 and bend is 1."""
    subject = np.repeat(np.arange(subjects), 2)
    logit = generator.normal(mean, 1.2, subjects)[subject]
    chance = np.where(generator.random(2 * subjects) < 0.5, generator.random(subjects)[subject],
                      generator.random(2 * subjects))  # fmt: skip
    return (chance < expit(logit)) * 1, bend * logit + shift, subject


def true_ece(logit, shift=0.0, bend=1.0):
    """What the ECE over the bins of these logits estimates, from the probabilities that made the truth."""
    said, real = expit(logit), expit((logit - shift) / bend)
    return np.abs(np.bincount(bins(said), real - said)).sum() / len(logit)


@pytest.mark.parametrize("mean", [-2.0, -4.0])
def test_of_forty_calibrated_cohorts_nearly_all_intervals_reach_zero_and_none_is_a_point(mean):
    generator = np.random.default_rng(0)
    found = [calibration(*cohort(generator, mean=mean), draws=150).ece for _ in range(40)]
    assert sum(item.low == 0 for item in found) >= 36  # 97.5 % are meant to; 35 or fewer of 40 would come once in 270
    assert all(item.low < item.value < item.high for item in found)
    assert min(item.high - item.low for item in found) > 0.3 * np.median([item.high - item.low for item in found])


@pytest.mark.parametrize(("shift", "bend"), [(0.7, 1.0), (0.0, 2.0), (0.15, 1.1)])
def test_the_interval_covers_the_ece_of_models_that_are_off(shift, bend):
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(40):
        truth, logit, subject = cohort(generator, shift=shift, bend=bend)
        found = calibration(truth, logit, subject, draws=150).ece
        held += found.low <= true_ece(logit, shift, bend) <= found.high
    assert held >= 36


def test_one_bin_far_off_has_the_usual_interval_mirrored_at_the_value():
    drawn = 0.1 + np.arange(-20, 21)[:, None] / 1000  # noise from -0.020 to 0.020
    assert ece_interval(np.array([0.1]), drawn, np.zeros(1), 100, level=0.9) == pytest.approx((0.082, 0.118))
    assert ece_interval(np.array([-0.1]), -drawn, np.zeros(1), 100, level=0.9) == pytest.approx((0.082, 0.118))


def test_one_bin_within_its_noise_reaches_zero():
    drawn = 0.01 + np.arange(-20, 21)[:, None] / 1000
    # above: 0.01 and the 95th percentile of the noise, 0.018
    assert ece_interval(np.array([0.01]), drawn, np.zeros(1), 100, level=0.9) == pytest.approx((0, 0.028))


def test_the_upper_end_takes_the_worst_signs():
    noise = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]]).repeat([45, 45, 5, 5], axis=0) / 100
    # bins that move together: their sum is 0.02 in 45 % of draws, their difference in 5 %
    low, high = ece_interval(np.zeros(2), noise, np.zeros(2), 100, level=0.8)
    assert (low, high) == pytest.approx((0, 0.02))


def test_a_bin_without_an_event_takes_the_scatter_of_its_probabilities():
    event = np.array([0, 0, 0, 0, 1, 0, 1, 1]) == 1
    probability = np.array([0.1] * 4 + [0.5] * 4)
    member = np.repeat([0, 1], 4)
    assert least_error(event, probability, member) == pytest.approx([np.sqrt(4 * 0.09) / 8, 0])
    excess = np.array([-0.05])
    drawn = excess + np.array([-0.001, 0.001])[:, None].repeat(50, axis=1).reshape(-1, 1)
    assert ece_interval(excess, drawn, np.zeros(1), 100)[0] == pytest.approx(0.049)
    assert ece_interval(excess, drawn, np.array([0.05]), 100)[0] == 0


def test_equal_probabilities_share_a_bin():
    assert bins(np.array([0.2, 0.2, 0.2, 0.7, 0.7, 0.7]), 10).tolist() == [0, 0, 0, 1, 1, 1]
