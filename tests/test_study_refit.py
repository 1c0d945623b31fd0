"""Recalibration on the cohort's own other subjects."""

from dataclasses import replace

import numpy as np
import pytest

from stethos.errors import ScoreError
from stethos.metrics.calibration import Recalibration, calibrate
from stethos.study.refit import beside, beside_table, centred, deal, refitted
from stethos.types import Predictions


def cohort(slope=1.0, shift=0.0, count=6000, seed=0) -> Predictions:
    """Three rows a subject; the truth is drawn with the chance of a logit that is then stretched and shifted."""
    rng = np.random.default_rng(seed)
    logit = 1.5 * rng.normal(size=count) - 1
    truth = rng.uniform(size=count) < 1 / (1 + np.exp(-logit))
    return Predictions(
        score=(slope * logit + shift)[:, None],
        truth=truth[:, None].astype(float),
        record=np.arange(count),
        subject=np.arange(count) // 3,
        split=np.full(count, "external"),
        seed=np.zeros(count),
        facts={},
        names=("t",),
    )


def line(part: Predictions) -> Recalibration:
    return calibrate(part.truth[:, 0], part.score[:, 0])


def test_a_shifted_and_stretched_logit_is_restored():
    wrong = cohort(slope=3.0, shift=2.0)
    assert line(wrong).slope == pytest.approx(1 / 3, abs=0.03)
    right = refitted(wrong)
    assert line(right).slope == pytest.approx(1, abs=0.03)
    assert line(right).intercept == pytest.approx(0, abs=0.05)
    assert np.abs(right.score - cohort().score).max() < 0.7  # the logit that the truth was drawn with


def test_a_shift_alone_is_restored_by_the_intercept_alone():
    right = refitted(cohort(shift=2.0), fit=centred)
    assert line(right).intercept == pytest.approx(0, abs=0.1)
    stretched = refitted(cohort(slope=3.0, shift=2.0), fit=centred)
    assert line(stretched).slope == pytest.approx(1 / 3, abs=0.03)  # that takes a slope


def test_a_stretch_and_a_shift_beforehand_change_nothing_afterwards():
    assert refitted(cohort(slope=3.0, shift=2.0)).score == pytest.approx(refitted(cohort()).score, abs=1e-6)
    assert refitted(cohort(shift=-4.0), fit=centred).score == pytest.approx(refitted(cohort(), fit=centred).score)


def test_the_intercept_worked_by_hand():
    # all logits 0 and a quarter with the event: odds of 1 to 3
    found = centred(np.array([1.0, 0, 0, 0]), np.zeros(4))
    assert (found.slope, found.intercept) == (1, pytest.approx(-np.log(3)))
    truth, score = np.array([1.0, 0, 0, np.nan]), np.array([2.0, -1.0, 0.5, 9.0])
    level = centred(truth, score).intercept
    assert np.mean(1 / (1 + np.exp(-score[:3] - level))) == pytest.approx(1 / 3)


def test_no_subject_is_on_two_sides_and_events_are_spread_evenly():
    part = cohort(count=601)
    for folds in (2, 3):
        fold = deal(part, folds)
        assert len(np.unique(np.stack([fold, part.subject]), axis=1).T) == len(np.unique(part.subject))
        sick = np.unique(part.subject[part.truth[:, 0] == 1])
        first = [fold[part.subject == subject][0] for subject in sick]
        assert np.ptp(np.bincount(first, minlength=folds)) <= 1
        assert set(fold) == set(range(folds))
    assert not np.array_equal(deal(part, 2, seed=0), deal(part, 2, seed=1))


def test_a_subjects_own_truth_does_not_move_its_own_score():
    part = cohort(count=600)
    fold = deal(part, 2)
    swapped = part.truth[:, 0].copy()
    sick = np.zeros(200) + np.bincount(part.subject.astype(int), weights=swapped)
    # among subjects of fold 0 with one or two events, the rows with the event trade places: dealing stays the same
    for subject in np.flatnonzero((sick > 0) & (sick < 3)):
        rows = np.flatnonzero((part.subject == str(subject)) & (fold == 0))
        swapped[rows] = np.roll(swapped[rows], 1)
    changed = replace(part, truth=swapped[:, None])
    assert np.array_equal(deal(changed, 2), fold)
    assert np.array_equal(refitted(changed).score[fold == 0], refitted(part).score[fold == 0])
    assert not np.array_equal(refitted(changed).score[fold == 1], refitted(part).score[fold == 1])


def test_the_ranking_within_a_fold_stays():
    part = cohort(slope=0.2, shift=1.0, count=900)
    fold, right = deal(part, 2, seed=4), refitted(part, seed=4)
    for k in (0, 1):
        assert np.array_equal(np.argsort(part.score[fold == k, 0]), np.argsort(right.score[fold == k, 0]))


def test_unknown_truths_fit_nothing_and_are_recalibrated_all_the_same():
    part = cohort(slope=3.0, count=900)
    truth = np.where(np.arange(900) % 3 == 2, np.nan, part.truth[:, 0])[:, None]
    right = refitted(replace(part, truth=truth))
    assert np.isfinite(right.score).all()
    assert not np.any(right.score == part.score)


def test_too_few_subjects_are_told():
    part = cohort(count=300)
    with pytest.raises(ScoreError, match="2 folds"):
        refitted(part, folds=1)
    with pytest.raises(ScoreError, match="0 with"):
        refitted(replace(part, truth=np.zeros((300, 1))))


def test_the_three_versions_stand_beside_each_other():
    found = beside(cohort(slope=2.0, shift=1.0, count=1500))
    assert list(found) == ["as it is", "intercept refitted", "slope and intercept refitted"]
    slopes = [numbers["calibration.slope"] for numbers in found.values()]
    assert slopes[0].excludes(1)
    assert slopes[1].excludes(1)
    assert not slopes[2].excludes(1)
    assert not found["intercept refitted"]["calibration.intercept"].excludes(0)
    brier = [numbers["calibration.brier"].value for numbers in found.values()]
    assert brier[0] > brier[1] > brier[2]
    assert len(beside_table(found, "t").rows) == 3
