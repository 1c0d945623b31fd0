"""The mean AUROC over labels, and differences of it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stethos.errors import ScoreError
from stethos.metrics.macro import macro_auroc, macro_over_fits, paired_macro, usable


def world(seed: int, subjects: int = 150, labels: int = 4, each: int = 2, gain: float = 1.0):
    """Truth and scores of correlated visits; some truths unknown."""
    draw = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), each)
    truth = (draw.random((subjects, labels)) < 0.25)[subject].astype(float)
    score = gain * truth + draw.normal(size=(subjects, labels))[subject] + 0.5 * draw.normal(size=truth.shape)
    truth[draw.random(truth.shape) < 0.1] = np.nan
    return truth, score, subject


def by_sklearn(truth, score):
    known = np.isfinite(truth)
    pairs = [(truth[known[:, k], k], score[known[:, k], k]) for k in range(truth.shape[1])]
    return float(np.mean([roc_auc_score(*pair) for pair in pairs]))


def test_it_is_the_mean_of_each_labels_own_area_over_its_known_rows():
    truth, score, subject = world(0)
    found = macro_auroc(truth, score, subject)
    assert found.value == pytest.approx(by_sklearn(truth, score), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.n == 150


def test_five_copies_of_every_subject_tell_no_more():
    truth, score, subject = world(1, each=1)
    once, often = (
        macro_auroc(truth, score, subject),
        macro_auroc(*(np.repeat(x, 5, axis=0) for x in (truth, score, subject))),
    )
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high), abs=1e-12)


def test_equal_scores_differ_by_nothing_and_reversed_ones_by_twice_the_excess():
    truth, score, subject = world(2)
    assert paired_macro(truth, score, score, subject).estimate.value == 0
    excess = by_sklearn(truth, score) - 0.5
    assert paired_macro(truth, score, -score, subject).estimate.value == pytest.approx(2 * excess)


def test_several_fits_are_averaged_and_their_scatter_widens_the_interval():
    truth, score, subject = world(3)
    draw = np.random.default_rng(4)
    good, bad = score, draw.normal(size=score.shape)
    mixed = np.stack([good, bad, good, bad])
    found = macro_over_fits(truth, mixed, subject)
    assert found.value == pytest.approx((by_sklearn(truth, good) + by_sklearn(truth, bad)) / 2)
    single = macro_auroc(truth, good, subject)
    assert found.high - found.low > 2 * (single.high - single.low)
    nothing = paired_macro(truth, mixed, mixed, subject).estimate
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


def test_the_interval_of_the_difference_covers_the_truth():
    """Two scores of equal worth: 95 % of the intervals should hold 0."""
    missed = 0
    for seed in range(200):
        truth, _, subject = world(seed, subjects=80, labels=3)
        draw = np.random.default_rng((seed, 7))
        one, other = (np.nan_to_num(truth) + draw.normal(size=truth.shape) for _ in range(2))
        estimate = paired_macro(truth, one, other, subject, draws=200, seed=seed).estimate
        missed += not estimate.low <= 0 <= estimate.high
    assert missed <= 20  # 10 expected; more than 20 of 200 at 5 % has a chance of 1 in 1000


def test_labels_with_fewer_than_five_subjects_of_a_kind_are_not_usable():
    subject = np.repeat(np.arange(10), 2)
    truth = np.zeros((20, 3))
    truth[:10, 0], truth[:8, 1] = 1, 1  # 5 and 4 subjects
    assert usable(truth, subject).tolist() == [True, False, False]


def test_a_label_of_one_kind_or_no_label_is_refused():
    truth, score, subject = world(5)
    truth[:, 2] = 0
    with pytest.raises(ScoreError, match="rows with and without every label"):
        macro_auroc(truth, score, subject)
    with pytest.raises(ScoreError, match="a mean over labels"):
        macro_auroc(truth[:, :0], score[:, :0], subject)
    with pytest.raises(ScoreError, match="compared in pairs"):
        paired_macro(truth[:, :2], np.stack([score[:, :2]] * 2), score[:, :2], subject)
