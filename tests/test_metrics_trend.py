"""Trends over ordered groups, and means by subject."""

import numpy as np
import pytest
from scipy import stats

from stethos.errors import ScoreError
from stethos.metrics.trend import clustered_mean, jonckheere


def test_a_trend_of_six_rows_worked_by_hand():
    # groups (1, 3), (2, 5), (4, 6): pairs in order 3 of 4, 4 of 4 and 3 of 4, so J = 10; E = (36 − 12) / 4 = 6
    # V = (6·5·17 − 3·2·1·9) / 72 = 456 / 72
    found = jonckheere(np.array([1.0, 3, 2, 5, 4, 6]), np.array([0, 0, 1, 1, 2, 2]))
    assert found.statistic == 10
    assert found.z == pytest.approx(4 / np.sqrt(456 / 72))
    assert found.p == pytest.approx(2 * stats.norm.sf(4 / np.sqrt(456 / 72)))


def test_the_variance_with_ties_is_that_of_all_permutations():
    generator = np.random.default_rng(0)
    values, group = generator.integers(0, 4, 30).astype(float), np.repeat([0, 1, 2], [5, 10, 15])
    drawn = [jonckheere(generator.permutation(values), group).statistic for _ in range(20000)]
    found = jonckheere(values, group)
    assert (found.statistic - np.mean(drawn)) / np.std(drawn) == pytest.approx(found.z, abs=0.03)
    assert np.mean(drawn) == pytest.approx((30**2 - 25 - 100 - 225) / 4, rel=0.005)
    assert np.std(drawn) == pytest.approx((found.statistic - 137.5) / found.z, rel=0.02)


def test_of_two_groups_it_is_mann_and_whitneys_test():
    generator = np.random.default_rng(1)
    values, group = generator.normal(size=60).round(1), np.repeat([0, 1], 30)
    theirs = stats.mannwhitneyu(values[30:], values[:30], use_continuity=False, method="asymptotic")
    found = jonckheere(values, group)
    assert (found.statistic, found.p) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_a_fall_is_a_rise_turned_round_and_only_the_order_of_groups_counts():
    generator = np.random.default_rng(2)
    values, group = generator.normal(size=90), np.repeat([0, 1, 2], 30)
    rise = jonckheere(values + 0.3 * group, group)
    fall = jonckheere(-values - 0.3 * group, 10 * group**3 + 7)
    assert rise.z > 0
    assert (fall.z, fall.p) == pytest.approx((-rise.z, rise.p))


def test_a_trend_needs_groups_and_values_that_differ():
    with pytest.raises(ScoreError, match="got 1 and 3"):
        jonckheere(np.arange(3.0), np.zeros(3))
    with pytest.raises(ScoreError, match="got 3 and 1"):
        jonckheere(np.ones(3), np.arange(3))


def test_a_mean_of_single_rows_has_students_interval():
    values = np.random.default_rng(0).normal(50, 10, 12)
    theirs = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    found = clustered_mean(np.append(values, np.nan), np.arange(13))
    assert (found.low, found.high) == pytest.approx(theirs)
    assert found.n == 12


def test_copies_of_rows_do_not_narrow_the_interval_of_a_mean():
    values = np.random.default_rng(0).normal(50, 10, 12)
    once, often = (clustered_mean(np.repeat(values, times), np.repeat(np.arange(12), times)) for times in (1, 5))
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


def test_one_subject_has_a_mean_without_an_interval():
    found = clustered_mean(np.array([1.0, 3.0]), np.zeros(2))
    assert found.value == 2
    assert np.isnan([found.low, found.high]).all()
