"""What refusing buys and costs."""

import numpy as np
import pytest

from stethos.metrics.selective import error_against_coverage, graded_against_coverage


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


def test_graded_errors_fall_as_the_poorest_are_refused_by_hand():
    truth, said = np.zeros(8), np.array([8.0, 7, 6, 5, 4, 3, 2, 1])
    curve = graded_against_coverage(truth, said, np.arange(8.0), np.arange(8), points=4)
    assert curve.coverage.tolist() == [1.0, 0.75, 0.5, 0.25]
    assert curve.error.tolist() == [4.5, 3.5, 2.5, 1.5]
    assert curve.refused_error[1:].tolist() == [7.5, 6.5, 5.5]
    assert np.isnan(curve.refused_error[0])
    assert ((curve.low <= curve.error) & (curve.error <= curve.high)).all()


def test_rows_of_equal_confidence_are_refused_together_and_unknown_truths_do_not_count():
    truth = np.array([0.0, 0, np.nan, 0])
    curve = graded_against_coverage(truth, np.ones(4), np.array([1.0, 1, 5, 1]), np.arange(4))
    assert curve.coverage.tolist() == [1.0]
