"""Errors and agreement of measured values."""

import numpy as np
import pytest
from scipy import stats

from stethos.errors import ScoreError
from stethos.metrics.continuous import limits_of_agreement, mae, pearson, rmse, spearman
from stethos.metrics.interval import bootstrap


def test_errors_of_four_rows_worked_by_hand():
    truth, estimate = np.array([1.0, 2.0, 3.0, np.nan, 4.0]), np.array([2.0, 2.0, 1.0, 9.0, 5.0])
    assert mae(truth, estimate) == pytest.approx((1 + 0 + 2 + 1) / 4)
    assert rmse(truth, estimate) == pytest.approx(np.sqrt((1 + 0 + 4 + 1) / 4))


def test_correlations_are_those_of_scipy():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=200).round(1)
    estimate = (truth + generator.normal(size=200)).round(1)
    assert pearson(truth, estimate) == pytest.approx(stats.pearsonr(truth, estimate)[0])
    assert spearman(truth, estimate) == pytest.approx(stats.spearmanr(truth, estimate)[0])
    assert spearman(truth, np.exp(estimate)) == pytest.approx(spearman(truth, estimate))


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_a_constant_has_no_correlation(correlation):
    with pytest.raises(ScoreError, match="constant over 3 rows"):
        correlation(np.array([1.0, 2.0, 3.0]), np.ones(3))


def test_a_correlation_has_an_interval_by_subject():
    generator = np.random.default_rng(0)
    subject = np.repeat(np.arange(60), 5)
    truth = generator.normal(size=60)[subject]
    estimate = truth + generator.normal(size=60)[subject]
    by_subject = bootstrap(spearman, subject, truth, estimate, draws=300)
    by_row = bootstrap(spearman, np.arange(300), truth, estimate, draws=300)
    assert by_subject.value == by_row.value
    assert by_subject.high - by_subject.low > 1.7 * (by_row.high - by_row.low)  # √5 = 2.2
    assert by_subject.events is None


def test_limits_of_agreement_of_five_differences_worked_by_hand():
    # differences 1, 3, 2, 4, 0: mean 2, standard deviation √(10 / 4)
    truth = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    got = limits_of_agreement(truth, truth + np.array([1.0, 3.0, 2.0, 4.0, 0.0]), np.arange(5), draws=200)
    spread = 1.96 * np.sqrt(2.5)
    assert (got.lower.value, got.bias.value, got.upper.value) == pytest.approx((2 - spread, 2, 2 + spread))
    assert got.bias.n == 5


def test_the_interval_of_the_bias_is_two_standard_errors_wide():
    difference = np.random.default_rng(0).normal(3, 2, 500)
    got = limits_of_agreement(np.zeros(500), difference, np.arange(500), draws=4000).bias
    assert (got.low, got.high) == pytest.approx(
        (got.value - 1.96 * difference.std() / 500**0.5, got.value + 1.96 * difference.std() / 500**0.5), abs=0.02
    )


def test_repeated_measures_widen_the_interval_of_the_bias():
    subject = np.repeat(np.arange(50), 8)
    difference = np.random.default_rng(0).normal(size=50)[subject]
    got = limits_of_agreement(np.zeros(400), difference, subject).bias
    naive = limits_of_agreement(np.zeros(400), difference, np.arange(400)).bias
    assert (got.high - got.low) / (naive.high - naive.low) == pytest.approx(np.sqrt(8), rel=0.1)


def test_one_subject_has_no_limits():
    with pytest.raises(ScoreError, match="at least 2 subjects"):
        limits_of_agreement(np.arange(3.0), np.arange(3.0), np.zeros(3))
