"""AUROC and its relatives against hand-worked numbers and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from stethos.errors import ScoreError
from stethos.metrics.ranking import auroc, average_precision, partial_auc, roc_curve


def test_auroc_counts_pairs_in_order_and_half_the_ties():
    # 0.9 beats both, 0.4 loses to 0.5 and ties with 0.4: 2.5 of 4 pairs
    assert auroc(np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.5, 0.4])) == 0.625


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60))
@settings(max_examples=60, deadline=None)
def test_auroc_is_that_of_scikit_learn_with_any_ties(rows):
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    if truth.all() or not truth.any():
        with pytest.raises(ScoreError):
            auroc(truth, score)
    else:
        assert auroc(truth, score) == pytest.approx(peer.roc_auc_score(truth, score), abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=3, max_size=40), st.randoms())
@settings(max_examples=40, deadline=None)
def test_auroc_depends_on_the_order_of_scores_alone(rows, random):
    rows = [*rows, (True, 0), (False, 1)]
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    order = np.array(random.sample(range(len(rows)), len(rows)))
    assert auroc(truth[order], score[order]) == pytest.approx(auroc(truth, score), abs=1e-12)
    assert auroc(truth, np.exp(score / 10)) == auroc(truth, score)
    assert auroc(~truth, score) == pytest.approx(1 - auroc(truth, score), abs=1e-12)


def test_infinite_scores_rank_at_the_ends():
    assert auroc(np.array([1, 0, 1, 0]), np.array([np.inf, 3.0, 4.0, -np.inf])) == 1


def test_average_precision_of_four_rows():
    # recall gained at ranks 1 and 3, with precision 1 and 2/3
    assert average_precision(np.array([1, 0, 1, 0]), np.array([4, 3, 2, 1])) == pytest.approx((1 + 2 / 3) / 2)


def test_the_area_under_the_curve_s_points_is_the_auroc():
    generator = np.random.default_rng(0)
    truth, score = generator.random(300) < 0.3, generator.normal(size=300).round(1)
    curve = roc_curve(truth, score)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auroc(truth, score))
    assert curve.threshold[0] == np.inf
    assert np.mean(score[truth] >= curve.threshold[5]) == pytest.approx(curve.tpr[5])


def test_partial_auc_is_one_half_for_chance_and_one_for_perfection():
    assert partial_auc(np.array([0, 1, 0, 1]), np.zeros(4)) == pytest.approx(0.5)
    assert partial_auc(np.array([0, 0, 1, 1]), np.arange(4.0)) == 1
    # ten rows without the event: of fpr ≤ 0.1 the half above the single row that beats three of four events
    truth = np.array([1] * 4 + [0] * 10)
    score = np.array([9, 7, 7, 7] + [8] + [0] * 9, float)
    area, least, most = 0.1 * 0.25, 0.1**2 / 2, 0.1
    assert partial_auc(truth, score, 0.1) == pytest.approx((1 + (area - least) / (most - least)) / 2)


def test_a_right_edge_outside_of_the_unit_interval_is_refused():
    with pytest.raises(ScoreError, match="max_fpr"):
        partial_auc(np.array([0, 1]), np.array([0, 1]), 0)
