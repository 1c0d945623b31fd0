"""Rank correlations by subject, plain and partial; adjusted p values."""

import numpy as np
import pytest
from scipy import stats

from stethos.errors import ScoreError
from stethos.metrics.association import associate, benjamini_hochberg, partial_spearman
from stethos.metrics.continuous import spearman
from stethos.metrics.interval import bootstrap


def rows(subjects=200, visits=1, slope=0.6, seed=0):
    """A value, a score that follows it and the subject; visits of one subject are the same."""
    generator = np.random.default_rng(seed)
    value = generator.normal(size=subjects)
    score = slope * value + np.sqrt(1 - slope**2) * generator.normal(size=subjects)
    subject = np.repeat(np.arange(subjects), visits)
    return value[subject], score[subject], subject


def of_normals(pearson):
    """Spearman's ρ of two normals with a Pearson correlation."""
    return 6 / np.pi * np.arcsin(pearson / 2)


def test_a_partial_correlation_of_one_covariate_is_its_closed_form():
    generator = np.random.default_rng(0)
    third = generator.normal(size=300).round(1)
    first, second = third + generator.normal(size=300).round(1), generator.normal(size=300) - third
    xy, xz, yz = (stats.spearmanr(*pair)[0] for pair in ((first, second), (first, third), (second, third)))
    closed = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(first, second, third[:, None]) == pytest.approx(closed)
    (found,) = associate(first, second[:, None], np.arange(300), third[:, None], draws=50)
    assert found.partial.value == pytest.approx(closed)
    assert found.rho.value == pytest.approx(xy)


def test_a_partial_correlation_of_three_covariates_is_that_of_the_inverse_of_the_rank_correlations():
    generator = np.random.default_rng(1)
    held = generator.normal(size=(150, 3))
    first, second = held @ [1, 2, 0] + generator.normal(size=150), held @ [0, 1, 1] + generator.normal(size=150)
    precision = np.linalg.inv(stats.spearmanr(np.column_stack([first, second, held]))[0])
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert partial_spearman(first, second, held) == pytest.approx(expected)
    (found,) = associate(first, second[:, None], np.arange(150), held, draws=50)
    assert found.partial.value == pytest.approx(expected)


def test_without_covariates_the_partial_correlation_is_the_plain_one():
    value, score, subject = rows()
    assert partial_spearman(value, score, np.empty((200, 0))) == pytest.approx(spearman(value, score))
    assert partial_spearman(value, score, np.full((200, 2), [np.nan, 3.0])) == pytest.approx(spearman(value, score))
    (found,) = associate(value, score[:, None], subject, draws=50)
    assert found.partial == found.rho
    assert found.rho.value == pytest.approx(spearman(value, score))


def test_a_covariate_with_gaps_is_its_median_and_a_mark():
    value, score, subject = rows()
    age = np.where(subject < 20, np.nan, value + score)
    filled = np.column_stack([np.where(subject < 20, np.nanmedian(age), age), subject < 20])
    assert partial_spearman(value, score, age[:, None]) == pytest.approx(partial_spearman(value, score, filled))
    (found,) = associate(value, score[:, None], subject, age[:, None], draws=50)
    assert found.partial.value == pytest.approx(partial_spearman(value, score, filled))


def test_draws_rank_their_rows_anew_as_a_bootstrap_of_copied_rows_does():
    value, score, subject = rows(60, 2)
    value = value.round(1) + 0.01 * (np.arange(120) % 2)
    (ours,) = associate(value, score[:, None], subject, draws=4000)
    copied = bootstrap(spearman, subject, value, score, draws=4000, seed=1)
    assert (ours.rho.low, ours.rho.high) == pytest.approx((copied.low, copied.high), abs=0.03)


def test_the_interval_of_a_partial_correlation_is_that_of_a_jackknife():
    generator = np.random.default_rng(2)
    value, score, subject = rows(400, 2)
    held = (value + generator.normal(size=800))[:, None]
    (found,) = associate(value, score[:, None], subject, held, draws=4000)
    without = [partial_spearman(value[keep], score[keep], held[keep])
               for keep in (subject != out for out in range(400))]  # fmt: skip
    error = np.sqrt(399 * np.var(without)) / (1 - found.partial.value**2)
    assert (np.arctanh(found.partial.high) - np.arctanh(found.partial.low)) / 3.92 == pytest.approx(error, rel=0.05)


def test_every_score_gets_the_interval_that_it_gets_alone():
    value, score, subject = rows()
    scores = np.column_stack([score, -score, np.random.default_rng(5).normal(size=200)])
    together = associate(value, scores, subject, draws=200)
    alone = associate(value, scores[:, 1:2], subject, draws=200)[0]
    assert together[1].rho.low == pytest.approx(alone.rho.low)
    assert together[0].rho.value == pytest.approx(-together[1].rho.value)
    assert together[0].p < 1e-6 < 0.01 < together[2].p
    assert not together[2].rho.excludes(0)


def test_five_copies_of_every_row_do_not_narrow_the_interval():
    once = associate(*(item if item.ndim == 1 and place != 1 else item[:, None]
                       for place, item in enumerate(rows(100))), draws=2000)[0]  # fmt: skip
    value, score, subject = rows(100, 5)
    often = associate(value, score[:, None], subject, draws=2000)[0]
    assert often.rho.value == pytest.approx(once.rho.value)
    assert (often.rho.low, often.rho.high) == pytest.approx((once.rho.low, once.rho.high), abs=1e-9)
    assert often.p == pytest.approx(once.p)
    assert often.rho.n == 100


def test_p_is_below_5_percent_exactly_where_the_interval_leaves_out_zero():
    for slope in np.linspace(0, 0.3, 12):
        value, score, subject = rows(120, slope=slope, seed=3)
        (found,) = associate(value, score[:, None], subject, draws=200)
        assert (found.p < 0.05) == found.rho.excludes(0)


def test_a_perfect_order_of_a_few_subjects_is_not_certain():
    value = np.arange(8.0)
    (found,) = associate(value, -value[:, None], value, draws=200)
    assert found.rho.value == found.rho.low == -1
    assert -0.9 < found.rho.high < 0
    assert 1e-4 < found.p < 0.05  # a permutation test: 2 / 8!


def test_rows_without_a_value_are_left_out():
    value, score, subject = rows()
    value[:50] = np.nan
    score[:50] = np.nan
    (found,) = associate(value, score[:, None], subject, draws=20)
    assert found.rho.n == 150
    assert found.rho.value == pytest.approx(spearman(value[50:], score[50:]))


def test_what_has_no_correlation_is_refused():
    value, score, subject = rows()
    with pytest.raises(ScoreError, match="over 200 rows"):
        associate(value, np.ones((200, 1)), subject)
    with pytest.raises(ScoreError, match="after the covariates"):
        associate(value, score[:, None], subject, score[:, None])
    with pytest.raises(ScoreError, match="at least 4 subjects; got 3"):
        associate(value, score[:, None], subject % 3)


def test_adjusted_p_values_are_those_worked_by_hand_and_those_of_scipy():
    # 4 · 0.01 / 1, 4 · 0.02 / 2, 4 · 0.04 / 3, 0.5
    assert benjamini_hochberg(np.array([0.04, 0.01, 0.5, 0.02])) == pytest.approx([0.16 / 3, 0.04, 0.5, 0.04])
    p = np.random.default_rng(0).uniform(size=117) ** 2
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    order = np.argsort(p)
    assert np.all(np.diff(benjamini_hochberg(p)[order]) >= 0)
    assert len(benjamini_hochberg(np.array([]))) == 0


@pytest.mark.parametrize("p", [np.nan, -0.1, 1.1])
def test_an_adjusted_p_value_needs_p_values(p):
    with pytest.raises(ScoreError, match=r"in \[0, 1\]"):
        benjamini_hochberg(np.array([0.1, p]))


def visits(subjects, slope, generator):
    """Value, score, age and subject; 1 to 5 visits, three quarters of the variance of a value the subject's own."""
    subject = np.repeat(np.arange(subjects), generator.integers(1, 6, subjects))
    own, other, age = generator.normal(size=(3, subjects))[:, subject]
    both = own, slope * own + np.sqrt(1 - slope**2) * other
    value, score = (np.sqrt(0.75) * part + 0.5 * generator.normal(size=len(subject)) for part in both)
    return value, score, np.sqrt(0.5) * age, subject


def coverage(subjects, slope, runs):
    """How often the interval holds the truth by subject, by row and given age, and how often 0 is denied."""
    generator, held = np.random.default_rng(0), np.zeros((runs, 4))
    many, other, age, _ = visits(100_000, slope, generator)
    given = partial_spearman(many + age, other + age, age[:, None])  # one standard error is 0.003 or less
    for run in range(runs):
        value, score, age, subject = visits(subjects, slope, generator)
        found = associate(value, score[:, None], subject, draws=200, seed=run)[0]
        by_row = associate(value, score[:, None], np.arange(len(subject)), draws=200, seed=run)[0]
        aged = associate(value + age, (score + age)[:, None], subject, age[:, None], draws=200, seed=run)[0]
        true = of_normals(0.75 * slope)
        denied = found.rho.excludes(true), by_row.rho.excludes(true), aged.partial.excludes(given), found.p < 0.05
        held[run] = [not denied[0], not denied[1], not denied[2], denied[3]]
    return held.mean(axis=0)


def test_the_interval_covers_by_subject_and_not_by_row():
    # 300 runs: one standard error is 1.3 %
    by_subject, by_row, given_age, _ = coverage(150, 0.6, 300)
    assert 0.91 <= by_subject <= 0.985
    assert 0.91 <= given_age <= 0.985
    assert by_row < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("subjects", [40, 300])
@pytest.mark.parametrize("slope", [0.0, 0.6, 0.95])
def test_plain_and_partial_intervals_cover_on_a_grid(subjects, slope):
    # 1000 runs: one standard error is 0.7 %
    by_subject, _, given_age, denied = coverage(subjects, slope, 1000)
    assert 0.925 <= by_subject <= 0.975
    assert 0.925 <= given_age <= 0.975
    assert slope > 0 or denied <= 0.075
