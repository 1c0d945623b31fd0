"""Recalibration on the cohort itself, without judging a record by a line that it helped to draw.

Subjects are dealt into folds; the line of one fold's logits is fitted on the other folds. Updating the intercept
alone keeps the slope at 1 and asks for one number of the new hospital, its prevalence at the same scores:

    both:       logit' = a + b · logit        maximum likelihood
    intercept:  logit' = a + logit            Σ (y − σ(a + logit)) = 0

Reference:
    Steyerberg 2004, doi:10.1002/sim.1844.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from stethos.errors import ScoreError
from stethos.metrics.calibration import Recalibration, calibrate
from stethos.metrics.clusters import binary
from stethos.report.table import Cell, Table
from stethos.study.validate import agreement_with_truth
from stethos.types import Estimate, Predictions

Fit = Callable[[np.ndarray, np.ndarray], Recalibration]
"""Truth `(N,)` and logit `(N,)` → the line that makes the logits fit."""


def deal(part: Predictions, folds: int, seed: int = 0) -> np.ndarray:
    """Fold of every row, 0 to folds − 1, `(N,)`; a subject is in one, and those with the event are spread evenly.

    Args:
        part: One split.
        folds: At least 2.
        seed: Of the shuffle of the subjects.

    Raises:
        ScoreError: There are fewer than 2 folds, or fewer subjects with the event, or without, than folds.
    """
    subjects, member = np.unique(part.subject, return_inverse=True)
    sick = np.bincount(member, weights=part.truth[:, 0] == 1, minlength=len(subjects)) > 0
    if folds < 2 or min(sick.sum(), (~sick).sum()) < folds:
        raise ScoreError(
            f"refitting over {folds} folds needs 2 folds or more, and as many subjects with the event and without; "
            f"got {int(sick.sum())} with and {int((~sick).sum())} without"
        )
    generator = np.random.default_rng(seed)
    fold = np.empty(len(subjects), np.int64)
    for kind in (sick, ~sick):
        fold[generator.permutation(np.flatnonzero(kind))] = np.arange(kind.sum()) % folds
    return fold[member]


def centred(truth: np.ndarray, score: np.ndarray) -> Recalibration:
    """The intercept that makes the mean risk the share of events, the slope held at 1.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Logits, `(N,)`.

    Raises:
        ScoreError: One class only.
    """
    event, score = binary(truth, score)
    level = logit(event.mean())
    # at the largest logit moved to the level every risk is below it, at the smallest above: the root is between
    ends = level - score.max(), level - score.min()
    if ends[0] == ends[1]:
        return Recalibration(1.0, float(ends[0]))
    return Recalibration(1.0, float(brentq(lambda a: float(np.mean(expit(score + a) - event)), *ends, xtol=1e-12)))


def refitted(part: Predictions, folds: int = 2, seed: int = 0, fit: Fit = calibrate) -> Predictions:
    """Logits of one cohort after a recalibration fitted on its other subjects.

    The ranking within a fold stays as it is where the slope is positive; over all folds it may change a little.

    Args:
        part: One split; rows with an unknown truth are recalibrated, and fit nothing.
        folds: Parts the subjects are dealt into; 2 fits on one half and applies to the other, and the reverse.
        seed: Of the dealing.
        fit: `calibrate` for slope and intercept, `centred` for the intercept alone.

    Raises:
        ScoreError: Too few subjects, or a fit that does not exist, as in `calibrate`.
    """
    fold = deal(part, folds, seed)
    score = part.score.copy()
    for k in range(folds):
        rest, mine = fold != k, fold == k
        score[mine] = fit(part.truth[rest, 0], part.score[rest, 0]).apply(part.score[mine])
    return replace(part, score=score)


def beside(part: Predictions, folds: int = 2, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Calibration of a cohort as it is, with its intercept refitted, and with slope and intercept refitted.

    Args:
        part: One split.
        folds: As in `refitted`.
        seed: As in `refitted`.

    Returns:
        What was done → "calibration.slope", "calibration.intercept", "calibration.ece", "calibration.brier".

    Raises:
        ScoreError: As in `refitted`.
    """
    versions = {
        "as it is": part,
        "intercept refitted": refitted(part, folds, seed, centred),
        "slope and intercept refitted": refitted(part, folds, seed),
    }
    return {name: agreement_with_truth(said) for name, said in versions.items()}


def beside_table(found: dict[str, dict[str, Estimate]], caption: str) -> Table:
    """One line a version."""
    names = ("slope", "intercept", "ece", "brier")
    rows: list[list[Cell]] = [[version, *(numbers[f"calibration.{name}"] for name in names)]
                              for version, numbers in found.items()]  # fmt: skip
    note = "Refitted: the line is fitted on half of the cohort's own subjects and applied to the other half, both ways."
    return Table(("", "slope", "intercept", "ECE", "Brier score"), rows, caption, note)
