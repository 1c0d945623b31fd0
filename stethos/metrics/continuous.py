"""How close an estimate of a measured value comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, known
from stethos.metrics.interval import resampled
from stethos.types import Estimate


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's limits of agreement, of the estimate minus the truth.

    Args:
        bias: Mean difference, in the unit of the truth.
        lower: Bias − 1.96 standard deviations of the difference.
        upper: Bias + 1.96 standard deviations.
    """

    bias: Estimate
    lower: Estimate
    upper: Estimate


def mae(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Mean absolute error, in the unit of the truth.

    Args:
        truth: Measured value, NaN unknown (dropped), `(N,)`.
        estimate: In the same unit, `(N,)`.
    """
    truth, estimate = known(truth, estimate)
    return float(np.mean(np.abs(estimate - truth)))


def rmse(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Root mean squared error, in the unit of the truth.

    Args:
        truth: Measured value, NaN unknown (dropped), `(N,)`.
        estimate: In the same unit, `(N,)`.
    """
    truth, estimate = known(truth, estimate)
    return float(np.sqrt(np.mean((estimate - truth) ** 2)))


def pearson(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Pearson's linear correlation.

    Args:
        truth: Measured value, NaN unknown (dropped), `(N,)`.
        estimate: Any unit, `(N,)`.

    Raises:
        ScoreError: Fewer than two rows, or one of the two never changes.
    """
    truth, estimate = _varying(truth, estimate)
    return float(np.corrcoef(truth, estimate)[0, 1])


def spearman(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank.

    Args:
        truth: Measured value, NaN unknown (dropped), `(N,)`.
        estimate: Any unit, `(N,)`.

    Raises:
        ScoreError: Fewer than two rows, or one of the two never changes.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in _varying(truth, estimate)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _varying(truth: np.ndarray, estimate: np.ndarray) -> list[np.ndarray]:
    pair = list(known(truth, estimate))
    if any(np.ptp(values) == 0 for values in pair):
        raise ScoreError(f"a correlation needs values that differ; one of the two is constant over {len(pair[0])} rows")
    return pair


def limits_of_agreement(
    truth: np.ndarray,
    estimate: np.ndarray,
    subject: np.ndarray,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Agreement:
    """Bias and the limits between which 95 % of differences lie, with intervals of drawing subjects.

    Args:
        truth: Measured value, NaN unknown (dropped), `(N,)`.
        estimate: In the same unit, `(N,)`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of the intervals (the limits themselves are always of 95 %).
        draws: Number of resamples.
        seed: Of the draws.

    Raises:
        ScoreError: Fewer than two subjects.

    Reference:
        Bland and Altman 1999, doi:10.1177/096228029900800204.
    """
    truth, estimate, subject = known(truth, estimate, subject)
    clusters = Clusters.of(subject)
    if clusters.count < 2:
        raise ScoreError(f"limits of agreement need at least 2 subjects; got {clusters.count}")
    difference = estimate - truth
    centre = difference.mean()
    moments = np.array([clusters.total((difference - centre) ** power) for power in (0, 1, 2)]).T  # (S, 3)

    def weighted(times: np.ndarray) -> np.ndarray:
        rows, first, second = (times @ moments).T
        spread = np.sqrt(np.maximum(0, second - first**2 / rows) / np.maximum(1, rows - 1))
        bias = centre + first / rows
        return np.column_stack([bias, bias - 1.96 * spread, bias + 1.96 * spread])

    return Agreement(*resampled(weighted, clusters, None, draws, level, seed))
