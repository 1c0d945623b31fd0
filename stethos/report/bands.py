"""The bands around a ROC curve and a decision curve when subjects are drawn again."""

from __future__ import annotations

import numpy as np

from stethos.errors import ScoreError


def roc_band(
    truth: np.ndarray,
    score: np.ndarray,
    subject: np.ndarray,
    draws: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pointwise band of the ROC curve: percentiles of the sensitivity at fixed false-positive rates.

    Subjects, not rows, are drawn with replacement, since the rows of one subject resemble each other. Draws
    with one class only have no curve and are left out.

    Args:
        truth: 0 or 1; NaN rows are left out, `(N,)`.
        score: Higher means more likely, `(N,)`.
        subject: Whom each row belongs to, `(N,)`.
        draws: Bootstrap samples.
        seed: Of the draws.
        level: Coverage at each false-positive rate.

    Returns:
        Grid of false-positive rates, lower and upper sensitivity, `(101,)` each.

    Raises:
        ScoreError: Only one class is present.
    """
    truth, score, subject = _known(truth, score, subject)
    names, member = np.unique(subject, return_inverse=True)
    order, ends = _descending(score)
    truth, member = truth[order], member[order]
    grid = np.linspace(0, 1, 101)
    generator = np.random.default_rng(seed)
    curves = np.full((draws, len(grid)), np.nan)
    for draw in range(draws):
        times = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        weight = times[member].astype(float)
        if 0 < weight @ truth < weight.sum():
            curves[draw] = np.interp(grid, *_climb(truth, weight, ends))
    curves = curves[~np.isnan(curves[:, 0])]
    if not len(curves):
        raise ScoreError(f"a ROC band needs several subjects of both classes; {len(names)} gave no usable draw")
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return grid, low, high


def benefit_band(
    truth: np.ndarray,
    probability: np.ndarray,
    subject: np.ndarray,
    thresholds: np.ndarray,
    draws: int = 500,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise 95 % band of a decision curve when subjects are drawn again.

        benefit(t) = (true positives − false positives · t / (1 − t)) / rows

    Args:
        truth: 0 or 1, `(N,)`.
        probability: Predicted, `(N,)`.
        subject: Whom each row belongs to, `(N,)`.
        thresholds: t in (0, 1), `(M,)`.
        draws: Bootstrap samples.
        seed: Of the draws.

    Returns:
        Lower and upper net benefit, `(M,)` each.
    """
    names, member = np.unique(subject, return_inverse=True)
    flagged = probability[:, None] >= thresholds  # (N, M)
    gain = np.where(truth[:, None] == 1, 1.0, -thresholds / (1 - thresholds)) * flagged
    by_subject = np.zeros((len(names), len(thresholds)))
    np.add.at(by_subject, member, gain)
    generator = np.random.default_rng(seed)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)  # (draws, subjects)
    benefit = times @ by_subject / (times @ np.bincount(member))[:, None]
    low, high = np.quantile(benefit, [0.025, 0.975], axis=0)
    return low, high


def _known(truth: np.ndarray, score: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows whose truth and score are known, truth as 0.0 or 1.0."""
    truth, score = np.asarray(truth, float), np.asarray(score, float)
    known = ~(np.isnan(truth) | np.isnan(score))
    truth, score, subject = truth[known], score[known], np.asarray(subject)[known]
    if not (np.any(truth == 0) and np.any(truth == 1)):
        raise ScoreError(f"a ROC band needs both classes; {int((truth == 1).sum())} of {len(truth)} rows are positive")
    return truth, score, subject


def _descending(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order from the highest score down, and the last place of each run of equal scores."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
    return order, ends


def _climb(truth: np.ndarray, weight: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted false-positive rate and sensitivity after each run of equal scores, with (0, 0) in front."""
    true = np.concatenate([[0.0], np.cumsum(weight * truth)[ends]])
    false = np.concatenate([[0.0], np.cumsum(weight * (1 - truth))[ends]])
    return false / false[-1], true / true[-1]
