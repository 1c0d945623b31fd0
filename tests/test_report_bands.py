import numpy as np
import pytest

from stethos.errors import ScoreError
from stethos.report.bands import roc_band


def two_humps(subjects=60, each=3, seed=0):
    """Rows of one subject share most of their score, and all of their truth."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), each)
    truth = (np.arange(subjects) % 3 == 0).astype(float)[subject]
    score = generator.normal(0, 1, subjects)[subject] + 0.1 * generator.normal(size=len(subject)) + 1.2 * truth
    return truth, score, subject


def test_a_perfect_score_has_a_band_without_width_along_the_top():
    truth = np.repeat([0.0, 1.0], 20)
    _, low, high = roc_band(truth, truth, np.arange(40), draws=50)
    assert np.all(low == 1)
    assert np.all(high == 1)


def test_a_constant_score_has_a_band_on_the_diagonal():
    truth = np.repeat([0.0, 1.0], 20)
    grid, low, high = roc_band(truth, np.zeros(40), np.arange(40), draws=50)
    assert np.allclose(low, grid)
    assert np.allclose(high, grid)


def test_the_order_of_rows_and_the_scale_of_scores_do_not_matter():
    truth, score, subject = two_humps()
    order = np.random.default_rng(1).permutation(len(truth))
    first = roc_band(truth, score, subject, draws=80)
    again = roc_band(truth[order], np.exp(score[order]), subject[order], draws=80)
    assert np.allclose(first, again)


def test_rows_of_one_subject_are_drawn_together_so_copies_do_not_narrow_the_band():
    truth, score, subject = two_humps(each=1)
    _, low, high = roc_band(truth, score, subject, draws=200)
    _, copied_low, copied_high = roc_band(np.tile(truth, 5), np.tile(score, 5), np.tile(subject, 5), draws=200)
    assert np.allclose(low, copied_low)
    assert np.allclose(high, copied_high)


def test_rows_without_truth_are_left_out():
    truth, score, subject = two_humps()
    band = roc_band(truth, score, subject, draws=50)
    more = roc_band(np.append(truth, np.nan), np.append(score, 9), np.append(subject, subject[0]), draws=50)
    assert np.array_equal(band, more)


def test_the_band_covers_the_true_sensitivity_about_as_often_as_it_says():
    # independent normal scores one standard deviation apart: sensitivity at 0.2 is Phi(1 - z(0.8)) = 0.5628
    inside = []
    for seed in range(120):
        generator = np.random.default_rng(seed)
        truth = np.repeat([0.0, 1.0], 60)
        _, low, high = roc_band(truth, generator.normal(size=120) + truth, np.arange(120), draws=120, seed=seed)
        inside.append(low[20] <= 0.5628 <= high[20])
    assert 0.88 <= np.mean(inside) <= 1.0


def test_one_class_has_no_band():
    with pytest.raises(ScoreError, match="0 of 4 rows"):
        roc_band(np.zeros(4), np.arange(4.0), np.arange(4))
