"""Differences on the same rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ScoreError
from stethos.metrics.compare import holm, paired_auroc, paired_bootstrap
from stethos.metrics.continuous import mae
from stethos.metrics.ranking import auroc


def scored(seed=0, subjects=150):
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), generator.integers(1, 9, subjects))
    truth = (generator.normal(size=subjects)[subject] > 0.7) * 1
    signal = generator.normal(size=subjects)[subject] + generator.normal(size=len(subject)) + 1.5 * truth
    better, worse = (signal + noise * generator.normal(size=len(subject)) for noise in (0.2, 3.0))
    return truth, better, worse, subject


def delong_z(truth, a, b):
    """DeLong's statistic of a difference for independent rows, pair by pair."""

    def parts(score):
        wins = np.greater.outer(score[truth == 1], score[truth == 0]) * 1.0
        return wins.mean(axis=1), wins.mean(axis=0)

    (up_a, down_a), (up_b, down_b) = parts(a), parts(b)
    variance = (up_a - up_b).var(ddof=1) / len(up_a) + (down_a - down_b).var(ddof=1) / len(down_a)
    return (up_a.mean() - up_b.mean()) / np.sqrt(variance)


@pytest.mark.parametrize("bend", [lambda score: score, np.exp])
def test_scores_in_the_same_order_differ_by_exactly_nothing(bend):
    truth, score, _, subject = scored()
    got = paired_auroc(truth, score, bend(score), subject)
    assert (got.estimate.value, got.estimate.low, got.estimate.high, got.p) == (0, 0, 0, 1)
    got = paired_bootstrap(auroc, subject, truth, score, bend(score), draws=100)
    assert (got.estimate.value, got.estimate.low, got.estimate.high, got.p) == (0, 0, 0, 1)


def test_a_better_score_is_better_by_both_methods_and_by_the_same_amount():
    truth, better, worse, subject = scored()
    delong = paired_auroc(truth, better, worse, subject)
    drawn = paired_bootstrap(auroc, subject, truth, better, worse, draws=1000)
    assert delong.estimate.value == pytest.approx(auroc(truth, better) - auroc(truth, worse))
    assert delong.estimate.value == pytest.approx(drawn.estimate.value)
    width = delong.estimate.high - delong.estimate.low
    assert drawn.estimate.high - drawn.estimate.low == pytest.approx(width, rel=0.15)
    assert delong.estimate.low > 0
    assert delong.p < 1e-4
    assert drawn.p == pytest.approx(2 / 1001)


def test_exchanging_the_scores_changes_the_sign_alone():
    truth, better, worse, subject = scored()
    one, other = paired_auroc(truth, better, worse, subject), paired_auroc(truth, worse, better, subject)
    assert (other.estimate.value, other.p) == pytest.approx((-one.estimate.value, one.p))
    assert (other.estimate.low, other.estimate.high) == pytest.approx((-one.estimate.high, -one.estimate.low))


def test_with_one_row_a_subject_p_is_that_of_delong():
    from scipy.stats import norm

    generator = np.random.default_rng(1)
    truth = (generator.random(900) < 0.4) * 1
    signal = generator.normal(size=900) + truth
    a, b = signal + 0.9 * generator.normal(size=900), signal + 1.1 * generator.normal(size=900)
    want = 2 * norm.sf(abs(delong_z(truth, a, b)))
    assert 0.01 < want < 0.9
    assert paired_auroc(truth, a, b, np.arange(900)).p == pytest.approx(want, rel=0.03)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 6)), min_size=0, max_size=30)
)
@settings(max_examples=60, deadline=None)
def test_an_interval_off_zero_and_a_small_p_say_the_same(rows):
    rows = [*rows, (True, 1, 0, 0), (True, 2, 3, 1), (False, 0, 2, 2), (False, 1, 1, 3)]
    truth, a, b, subject = (np.array(column) for column in zip(*rows, strict=True))
    got = paired_auroc(truth, a, b, subject)
    assert -1 <= got.estimate.low <= got.estimate.value <= got.estimate.high <= 1
    assert 0 <= got.p <= 1
    if abs(got.p - 0.05) > 1e-6:
        assert got.estimate.excludes(0) == (got.p < 0.05)


def test_a_perfect_score_beats_a_constant_only_with_enough_subjects():
    def difference(size):
        truth = np.repeat([0, 1], size)
        return paired_auroc(truth, truth * 1.0, np.zeros(2 * size), np.arange(2 * size))

    assert difference(2).p > 0.05 > difference(50).p
    assert difference(50).estimate.value == 0.5


def test_any_statistic_may_be_compared():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=300)
    near, far = truth + 0.1 * generator.normal(size=300), truth + generator.normal(size=300)
    got = paired_bootstrap(mae, np.arange(300), truth, near, far, draws=200)
    assert got.estimate.high < 0
    assert got.estimate.events is None
    with pytest.raises(ScoreError, match="truth and two scores"):
        paired_bootstrap(mae, np.arange(300), truth, near)


def test_holm_s_adjustment_worked_by_hand():
    # in order 0.01 · 4, 0.02 · 3, 0.03 · 2 raised to 0.06, 0.5 · 1
    assert holm(np.array([0.02, 0.5, 0.01, 0.03])) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1, 1])
    assert holm(np.array([])).tolist() == []
    with pytest.raises(ScoreError, match=r"in \[0, 1\]"):
        holm(np.array([0.1, np.nan]))
