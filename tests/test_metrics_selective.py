"""What refusing buys and costs."""

import numpy as np
import pytest

from stethos.metrics.selective import error_against_coverage


def test_refusals_of_eight_rows_worked_by_hand():
    truth = np.array([1, 1, 0, 0, 1, 0, 0, 0])
    score = np.array([2.0, -1, 1, -1, 3, -2, -2, -2])  # wrong in the second and the third
    confidence = np.array([0.9, 0.1, 0.2, 0.8, 0.9, 0.9, 0.9, 0.8])
    got = error_against_coverage(truth, score, confidence, np.arange(8), threshold=0.0)
    assert got.cut.tolist() == [0.1, 0.2, 0.8, 0.9]
    assert got.coverage == pytest.approx([1, 7 / 8, 6 / 8, 4 / 8])
    assert got.error == pytest.approx([2 / 8, 1 / 7, 0, 0])
    assert got.refused_error == pytest.approx([np.nan, 1, 1, 1 / 2], nan_ok=True)
    assert got.events_kept == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3])
    assert np.all((got.low <= got.error) & (got.error <= got.high))


def test_a_confidence_that_knows_nothing_buys_nothing():
    generator = np.random.default_rng(0)
    truth, score = np.tile([0, 1], 5000), generator.normal(size=10000)
    got = error_against_coverage(truth, score, generator.random(10000), np.arange(10000), threshold=0.0)
    assert len(got.coverage) == 20
    assert got.coverage == pytest.approx(1 - np.arange(20) / 20, abs=1e-3)
    assert np.all((got.low < 0.5) & (got.high > 0.5))


def test_distance_from_the_threshold_lowers_the_error_of_a_score_that_ranks():
    generator = np.random.default_rng(0)
    truth = np.tile([0, 1], 2000)
    score = generator.normal(size=4000) + 2 * truth - 1
    got = error_against_coverage(truth, score, np.abs(score), np.arange(4000), threshold=0.0)
    assert np.all(np.diff(got.error)[:15] < 0)  # beyond, a handful of errors decides
    assert np.all(got.refused_error[1:] > got.error[0])
