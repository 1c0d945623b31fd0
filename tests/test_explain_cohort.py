"""Shares, means and differences of attributions, with intervals over subjects."""

import numpy as np
import pytest

from stethos.errors import ScoreError
from stethos.explain.cohort import contrast, contributions, interactions, shares, spread
from stethos.metrics.interval import bootstrap
from stethos.types import Attribution


def attribution(values, names=("QRS", "T"), pairs=None):
    values = np.asarray(values, dtype=float)
    pairs = None if pairs is None else np.asarray(pairs, dtype=float)
    return Attribution(values, names, np.full((*values.shape, 2), np.nan), "nothing", pairs)


def test_a_share_is_the_mean_over_recordings_and_not_of_sums():
    found = shares(attribution([[1, -1], [30, 10], [np.nan, np.nan], [0, 0]]), np.arange(4))
    assert found["QRS"].value == pytest.approx((0.5 + 0.75) / 2)
    assert found["T"].value == pytest.approx((0.5 + 0.25) / 2)
    assert found["T"].n == 2


def test_a_mean_keeps_its_sign():
    found = contributions(attribution([[1, -1], [3, -2]]), np.arange(2))
    assert (found["QRS"].value, found["T"].value) == (2, -1.5)


def test_intervals_are_those_of_the_bootstrap_of_subjects():
    generator = np.random.default_rng(0)
    subject = generator.integers(0, 60, 300)
    values = generator.normal(size=(60, 2))[subject] + 0.3 * generator.normal(size=(300, 2))
    found = contributions(attribution(values), subject)["QRS"]
    want = bootstrap(lambda column: float(np.mean(column)), subject, values[:, 0])
    width = want.high - want.low
    assert found.n == want.n == 60
    assert (found.low, found.high) == pytest.approx((want.low, want.high), abs=0.1 * width)
    naive = contributions(attribution(values), np.arange(300))["QRS"]
    assert width > 1.5 * (naive.high - naive.low)


def test_a_contrast_is_a_difference_of_means_and_ignores_unknown_rows():
    values = np.tile([[1, 0], [3, 0], [0, 1], [2, 3], [100, 100], [np.nan, np.nan]], (5, 1))
    group = np.tile([1, 1, 0, 0, np.nan, 1], 5)
    found = contrast(attribution(values), group, np.arange(30))
    assert (found["QRS"].value, found["T"].value) == (1, -2)
    assert (found["T"].n, found["T"].events) == (20, 10)


def test_a_true_difference_is_off_zero_and_only_there():
    generator = np.random.default_rng(1)
    subject = np.repeat(np.arange(150), 2)
    group = (generator.random(300) < 0.4).astype(float)
    values = generator.normal(size=(300, 2))
    values[:, 1] += 1.0 * group
    found = contrast(attribution(values), group, subject)
    assert found["T"].excludes(0)
    assert found["T"].low < 1 < found["T"].high
    assert not found["QRS"].excludes(0)


def test_of_seven_players_without_a_difference_none_is_off_zero_in_19_of_20_cohorts():
    generator = np.random.default_rng(2)
    names = tuple("abcdefg")
    wrong = 0
    for _ in range(100):
        subject = np.repeat(np.arange(60), 2)
        group = (np.arange(120) % 3 == 0).astype(float)
        values = generator.normal(size=(60, 7))[subject] + generator.normal(size=(120, 7))
        found = contrast(attribution(values, names), group, subject)
        wrong += any(estimate.excludes(0) for estimate in found.values())
        assert found["a"].level == pytest.approx(1 - 0.05 / 7)
    assert wrong <= 13  # 5 are expected; 14 or more come by chance once in 2000


def test_two_baselines_spread_a_share():
    first, second = attribution([[1, 1]]), attribution([[1, 3]])
    assert spread(first, second) == {"QRS": (0.25, 0.5), "T": (0.5, 0.75)}
    with pytest.raises(ScoreError, match="same players"):
        spread(first, attribution([[1, 1]], ("P", "T")))


def test_what_cannot_be_compared_is_refused():
    known = attribution([[1, 2], [3, 4]])
    with pytest.raises(ScoreError, match="both kinds"):
        contrast(known, np.ones(2), np.arange(2))
    with pytest.raises(ScoreError, match="none of 1 was"):
        shares(attribution([[np.nan, np.nan]]), np.arange(1))
    with pytest.raises(ScoreError, match="each of 2 rows; got 3"):
        contributions(known, np.arange(3))


def test_an_interaction_is_the_mean_over_recordings_with_its_sign_by_pair():
    # P with QRS: (1 + 3 - 1) / 3; P with T: (0 + 0 - 6) / 3; QRS with T: (2 + 2 + 2) / 3; the fourth was not explained
    pairs = [[1, 0, 2], [3, 0, 2], [-1, -6, 2], [np.nan] * 3]
    found = interactions(attribution(np.ones((4, 3)), ("P", "QRS", "T"), pairs), np.arange(4))
    assert {pair: item.value for pair, item in found.items()} == {("P", "QRS"): 1, ("P", "T"): -2, ("QRS", "T"): 2}
    assert found["P", "T"].n == 3
    assert (found["QRS", "T"].low, found["QRS", "T"].high) == (2, 2)


def test_of_21_pairs_without_interaction_none_is_off_zero_in_nearly_all_cohorts_of_repeated_subjects():
    generator = np.random.default_rng(3)
    names = tuple("abcdefg")
    subject = np.repeat(np.arange(100), 3)
    wrong = 0
    for _ in range(20):
        pairs = generator.normal(size=(100, 21))[subject] + 0.3 * generator.normal(size=(300, 21))
        found = interactions(attribution(np.ones((300, 7)), names, pairs), subject)
        wrong += any(estimate.excludes(0) for estimate in found.values())
        assert len(found) == 21
        assert found["a", "b"].level == pytest.approx(1 - 0.05 / 21)
    assert wrong <= 4  # 1 is expected


def test_interactions_that_were_not_kept_are_refused():
    with pytest.raises(ScoreError, match="explain the run again"):
        interactions(attribution([[1, 2]]), np.arange(1))
