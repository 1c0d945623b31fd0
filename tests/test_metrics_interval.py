"""Intervals against hand-worked numbers, independent implementations and invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binomtest, ttest_ind

from stethos.errors import ScoreError
from stethos.metrics import resample
from stethos.metrics.clusters import Clusters
from stethos.metrics.delong import Placement, placement
from stethos.metrics.interval import bootstrap, bootstrap_auroc, clustered_auroc, fraction, proportion
from stethos.metrics.ranking import auroc


def correlated(seed=0, subjects=60):
    """Truth, score and subject of 1 to 8 rows a subject that resemble each other."""
    generator = np.random.default_rng(seed)
    visits = generator.integers(1, 9, subjects)
    subject = np.repeat(np.arange(subjects), visits)
    truth = (generator.normal(size=subjects)[subject] + 0.5 * generator.normal(size=len(subject)) > 0.5) * 1.0
    score = generator.normal(size=subjects)[subject] + 0.5 * generator.normal(size=len(subject)) + truth
    return truth, score, subject


def delong_variance(truth, score):
    """DeLong's variance for independent rows, pair by pair."""
    positive, negative = score[truth == 1], score[truth == 0]
    wins = np.greater.outer(positive, negative) + 0.5 * np.equal.outer(positive, negative)
    return wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)


INTERVALS = {
    "clustered_auroc": clustered_auroc,
    "bootstrap_auroc": lambda truth, score, subject: bootstrap_auroc(truth, score, subject, draws=300),
    "bootstrap": lambda truth, score, subject: bootstrap(auroc, subject, truth, score, draws=300),
    "proportion": lambda truth, score, subject: proportion(truth, subject),
}


def ends(estimate):
    return estimate.value, estimate.low, estimate.high


@pytest.mark.parametrize("name", INTERVALS)
def test_an_interval_ignores_the_order_of_rows_and_the_scale_of_the_score(name):
    truth, score, subject = correlated()
    want = ends(INTERVALS[name](truth, score, subject))
    order = np.random.default_rng(1).permutation(len(truth))
    assert ends(INTERVALS[name](truth[order], score[order], subject[order])) == pytest.approx(want, abs=1e-12)
    assert ends(INTERVALS[name](truth, np.exp(score), subject)) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("name", INTERVALS)
def test_writing_every_row_twice_adds_nothing_to_a_subject_but_fools_a_naive_interval(name):
    truth, score, subject = correlated()
    twice = [np.concatenate([column, column]) for column in (truth, score, subject)]
    want = INTERVALS[name](truth, score, subject)
    got = INTERVALS[name](*twice)
    assert ends(got) == pytest.approx(ends(want), abs=1e-12)
    assert (got.n, got.events) == (want.n, want.events) == (60, len(np.unique(subject[truth == 1])))
    rows = np.arange(len(truth))
    naive = INTERVALS[name](truth, score, rows)
    fooled = INTERVALS[name](*twice[:2], np.arange(2 * len(truth)))
    assert fooled.high - fooled.low < 0.8 * (naive.high - naive.low) < 0.8 * (want.high - want.low)


def test_obuchowski_s_variance_of_three_subjects_worked_by_hand():
    subject = np.array(["A", "A", "B", "B", "C"])
    truth = np.array([1, 0, 1, 0, 0], bool)
    score = np.array([3.0, 1.0, 2.0, 2.0, 0.0])
    # placements: events 1 and 5/6, others 1, 3/4 and 1; AUROC 11/12
    # p = (1/24, −1/24, 0), q = (1/36, −1/18, 1/36)
    # 2/1 · 2/576 + 3/2 · 6/1296 + 2 · 3/2 · (1/864 + 1/432) = (4 + 4 + 6) / 576
    part = placement(truth, score, Clusters.of(subject))
    assert part.value == pytest.approx(11 / 12)
    assert part.variance == pytest.approx(14 / 576)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=30))
@settings(max_examples=40, deadline=None)
def test_with_one_row_a_subject_the_variance_is_delong_s(rows):
    rows = [*rows, (True, 3), (True, 5), (False, 2), (False, 4)]
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    part = placement(truth, score, Clusters.of(np.arange(len(rows))))
    assert part.variance == pytest.approx(delong_variance(truth, score), abs=1e-12)


def test_with_one_row_a_subject_the_degrees_of_freedom_are_welch_s():
    truth, score = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool), np.array([3.0, 5, 1, 2, 4, 0, 0, 1])
    part = placement(truth, score, Clusters.of(np.arange(8)))
    wins = np.greater.outer(score[truth], score[~truth]) + 0.5 * np.equal.outer(score[truth], score[~truth])
    assert part.freedom == pytest.approx(ttest_ind(wins.mean(axis=1), wins.mean(axis=0), equal_var=False).df)


def test_a_subject_with_many_rows_takes_degrees_of_freedom_away():
    rows, none = np.array([1.0, 1, 1, 1, 2]), np.zeros(5)
    part = Placement(0.7, np.array([0.01, -0.02, 0.01, -0.01, 0.01]), none, (rows, np.ones(5)))
    assert part.freedom == pytest.approx((1 + 1 + 1 + 1 + 4) ** 2 / (1 + 1 + 1 + 1 + 16) - 1)


def test_with_many_subjects_the_interval_is_the_logit_interval_of_delong():
    generator = np.random.default_rng(2)
    truth = (generator.random(1500) < 0.4) * 1
    score = generator.normal(size=1500) + truth
    got = clustered_auroc(truth, score, np.arange(1500))
    half = 1.96 * np.sqrt(delong_variance(truth, score)) / (got.value * (1 - got.value))
    want = expit(logit(got.value) + np.array([-half, half]))
    assert (got.low, got.high) == pytest.approx(tuple(want), abs=0.01 * np.ptp(want))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=40),
    st.sampled_from([0.8, 0.95, 0.99]),
)
@settings(max_examples=80, deadline=None)
def test_every_auroc_interval_is_finite_inside_the_unit_interval_and_holds_its_value(rows, level):
    rows = [*rows, (True, 9, 0), (True, 9, 1), (False, -9, 2), (False, -9, 3)]
    truth, score, subject = (np.array(column) for column in zip(*rows, strict=True))
    got = clustered_auroc(truth, score, subject, level)
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert got.low < got.high


def test_a_perfect_auroc_has_an_interval_that_narrows_with_subjects():
    def low(size):
        truth = np.repeat([0, 1], size)
        return clustered_auroc(truth, truth * 1.0, np.arange(2 * size)).low

    # no slip in n is Wilson's share n of n: 1 / (1 + 1.96² / n)
    assert low(5) == pytest.approx(1 / (1 + 1.959964**2 / 5), abs=1e-6)
    assert low(5) < low(20) < low(500) < 1


def test_one_subject_with_the_event_is_not_enough():
    with pytest.raises(ScoreError, match=r"at least 2 subjects .* got 1 and 2"):
        clustered_auroc(np.array([1, 1, 0, 0]), np.arange(4.0), np.array([0, 0, 1, 2]))


@pytest.mark.parametrize(("hits", "size"), [(0, 10), (1, 7), (8, 10), (10, 10), (993, 1000)])
def test_with_one_row_a_subject_a_proportion_has_wilson_s_interval(hits, size):
    success = np.arange(size) < hits
    got = proportion(success, np.arange(size))
    want = binomtest(hits, size).proportion_ci(0.95, "wilson")
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-9)
    assert (got.n, got.events) == (size, hits)


def test_rows_that_repeat_their_subject_count_as_one():
    once = proportion(np.array([1, 1, 0, 0, 1]), np.arange(5))
    thrice = proportion(np.repeat([1, 1, 0, 0, 1], 3), np.repeat(np.arange(5), 3))
    assert ends(thrice) == pytest.approx(ends(once))


def test_the_effective_number_of_rows_of_four_subjects_worked_by_hand():
    # y = 2, 1, 1, 0 of 2 rows each: Σ (y − 1)² = 2, m = 2; d = (2 + ½ 4) / (8 ¼ + ½ 2) = 4/3; n* = 6
    got = proportion(np.array([1, 1, 1, 0, 0, 1, 0, 0]), np.repeat(np.arange(4), 2))
    want = binomtest(3, 6).proportion_ci(0.95, "wilson")
    assert (got.value, got.low, got.high) == pytest.approx((0.5, want.low, want.high))


@pytest.mark.parametrize("success", [0, 1])
def test_at_zero_and_one_a_proportion_rests_on_the_number_of_subjects(success):
    got = proportion(np.full(60, success), np.repeat(np.arange(12), 5))
    want = binomtest(12 * success, 12).proportion_ci(0.95, "wilson")
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-9)
    assert got.value in (got.low, got.high)


def test_subjects_that_disagree_with_themselves_are_worth_no_more_than_their_rows():
    got = proportion(np.tile([0, 1], 20), np.repeat(np.arange(20), 2))  # one of two in every subject
    want = binomtest(20, 40).proportion_ci(0.95, "wilson")
    assert (got.low, got.high) == pytest.approx((want.low, want.high))


def test_both_bootstraps_of_the_auroc_draw_the_same_numbers():
    truth, score, subject = correlated()
    score = score.round(1)  # ties
    clusters = Clusters.of(subject)
    times = resample.multiplicity(clusters.count, 50, np.random.default_rng(0))
    fast = resample.of_auroc(truth == 1, score, clusters)(times)
    plain = resample.of_rows(auroc, clusters, [truth, score])(times)
    assert fast == pytest.approx(plain, abs=1e-12)


def test_a_draw_has_as_many_subjects_as_there_are():
    times = resample.multiplicity(40, 3000, np.random.default_rng(0))
    assert times.sum(axis=1).tolist() == [40] * 3000
    # a subject is missed by (1 − 1/40)⁴⁰ = 36.3 % of the draws; Monte-Carlo error 0.14 %
    assert np.mean(times == 0) == pytest.approx(0.363, abs=0.006)


def test_the_bootstrap_of_a_mean_is_two_standard_errors_wide():
    value = np.random.default_rng(4).normal(size=400)
    got = bootstrap(np.mean, np.arange(400), value, draws=4000)
    assert got.value == value.mean()
    assert got.events is None
    assert got.high - got.low == pytest.approx(2 * 1.96 * value.std() / 20, rel=0.05)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    truth, score, subject = correlated()
    first, again = (bootstrap_auroc(truth, score, subject, draws=200, seed=3) for _ in range(2))
    assert first == again
    assert first != bootstrap_auroc(truth, score, subject, draws=200, seed=4)


def test_draws_without_a_class_are_drawn_again_unless_they_are_too_many():
    score, subject = np.arange(60.0), np.arange(60)
    # 5 of 60 subjects: (55/60)⁶⁰ = 0.5 % of draws have none; 2 of 60: 13 %
    assert np.isfinite(ends(bootstrap(auroc, subject, (score >= 55) * 1, score[::-1], draws=1000))).all()
    with pytest.raises(ScoreError, match="more than 5%"):
        bootstrap_auroc((score >= 58) * 1, score, subject, draws=1000)
    with pytest.raises(ScoreError, match="more than 5%"):
        bootstrap(auroc, subject, (score >= 58) * 1, score, draws=1000)


def test_bias_correction_moves_an_interval_that_sits_on_one_side():
    drawn = np.random.default_rng(0).normal(1.0, 1.0, 20000)  # a statistic that resampling inflates by one deviation
    # the middle 90 %, 1 ± 1.645, moved down by two deviations
    assert resample.corrected(drawn, 0.0, 0.9) == pytest.approx((-2.645, 0.645), abs=0.3)
    assert resample.corrected(drawn, 1.0, 0.95) == pytest.approx(resample.percentile(drawn, 0.95), abs=0.05)


def test_acceleration_moves_both_ends_the_way_the_influences_lean():
    assert resample.acceleration(np.array([-1.0, 1.0])) == 0
    assert resample.acceleration(np.array([2.0, -1.0, -1.0])) == pytest.approx(6 / (6 * 6**1.5))
    # Φ(−1.96 / 1.196) and Φ(1.96 / 0.804) of a flat distribution
    got = resample.corrected(np.linspace(0, 1, 10001), 0.5, 0.95, acceleration=0.1)
    assert got == pytest.approx((0.0506, 0.9926), abs=2e-4)


def test_a_fraction_is_a_proportion_that_counts_no_events():
    wrong, subject = np.array([1, 0, 0, 1, 0]), np.arange(5)
    plain, without = proportion(wrong, subject), fraction(wrong, subject)
    assert (without.value, without.low, without.high, without.n) == (plain.value, plain.low, plain.high, 5)
    assert (plain.events, without.events) == (2, None)
