"""What refusing to answer buys, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethos.metrics import resample
from stethos.metrics.clusters import Clusters, binary, known
from stethos.metrics.interval import proportion


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Error of the decisions still made when the least sure rows are refused; each `(P,)`, coverage falling from 1.

    Args:
        cut: Lowest confidence that is still answered.
        coverage: Share of rows answered.
        error: Share of wrong decisions among them.
        low: Lower end of its interval.
        high: Upper end.
        refused_error: Share of decisions among the refused that would have been wrong; NaN where none is refused.
        events_kept: Share of the rows with the event that are answered: refusals that fall on the sick cost most.
    """

    cut: np.ndarray
    coverage: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    refused_error: np.ndarray
    events_kept: np.ndarray


def error_against_coverage(
    truth: np.ndarray,
    score: np.ndarray,
    confidence: np.ndarray,
    subject: np.ndarray,
    threshold: float,
    points: int = 20,
) -> CoverageCurve:
    """Error of the decision `score ≥ threshold` as the rows of lowest confidence are refused step by step.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Logit or probability, higher means more likely, `(N,)`.
        confidence: Quality, or distance of the score from the threshold; higher is answered for longer, `(N,)`.
        subject: Subject of each row, `(N,)`.
        threshold: Lowest score flagged.
        points: Steps of coverage from 1 down; rows of equal confidence are refused together, so there may be fewer.

    Raises:
        ScoreError: One class only.
    """
    event, score, confidence, subject = binary(truth, score, confidence, subject)
    wrong = (score >= threshold) != event
    cuts = np.unique(np.quantile(confidence, np.arange(points) / points, method="higher"))
    answered = confidence >= cuts[:, None]  # (P, N)
    shares = [proportion(wrong[rows], subject[rows]) for rows in answered]
    refused = (~answered).sum(axis=1)
    refused_wrong = (wrong & ~answered).sum(axis=1)
    return CoverageCurve(
        cut=cuts,
        coverage=answered.mean(axis=1),
        error=np.array([share.value for share in shares]),
        low=np.array([share.low for share in shares]),
        high=np.array([share.high for share in shares]),
        refused_error=np.divide(refused_wrong, refused, out=np.full(len(cuts), np.nan), where=refused > 0),
        events_kept=(event & answered).sum(axis=1) / event.sum(),
    )


@dataclass(frozen=True, eq=False)
class GradedCurve:
    """Mean absolute error of what is still answered when the least sure rows are refused; each `(P,)`.

    Args:
        cut: Lowest confidence that is still answered.
        coverage: Share of rows answered, falling from 1.
        error: Mean absolute error among them, in the unit of the truth.
        low: Lower end of its interval.
        high: Upper end.
        refused_error: Mean absolute error of the refused; NaN where none is refused.
    """

    cut: np.ndarray
    coverage: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    refused_error: np.ndarray


def graded_against_coverage(
    truth: np.ndarray, estimate: np.ndarray, confidence: np.ndarray, subject: np.ndarray, points: int = 10
) -> GradedCurve:
    """Mean absolute error as the rows of lowest confidence are refused step by step.

    Args:
        truth: Measured, NaN unknown (dropped), `(N,)`.
        estimate: In the same unit, `(N,)`.
        confidence: Such as quality; higher is answered for longer, `(N,)`.
        subject: Subject of each row, drawn for the intervals of 95 %, `(N,)`.
        points: Steps of coverage from 1 down; rows of equal confidence are refused together, so there may be fewer.

    Raises:
        ScoreError: Nothing is known.
    """
    truth, estimate, confidence, subject = known(truth, estimate, confidence, subject)
    error = np.abs(estimate - truth)
    cuts = np.unique(np.quantile(confidence, np.arange(points) / points, method="higher"))
    answered = confidence >= cuts[:, None]  # (P, N)
    ends = np.array([_spread_of_mean(error[rows], subject[rows]) for rows in answered])
    refused = (~answered).sum(axis=1)
    lost = (error * ~answered).sum(axis=1)
    return GradedCurve(
        cut=cuts,
        coverage=answered.mean(axis=1),
        error=np.array([error[rows].mean() for rows in answered]),
        low=ends[:, 0],
        high=ends[:, 1],
        refused_error=np.divide(lost, refused, out=np.full(len(cuts), np.nan), where=refused > 0),
    )


def _spread_of_mean(values: np.ndarray, subject: np.ndarray) -> tuple[float, float]:
    """Interval of a mean over rows, subjects drawn."""
    clusters = Clusters.of(subject)
    total, size = clusters.total(values), clusters.total(np.ones(len(values)))
    drawn = resample.over_subjects(lambda times: ((times @ total) / (times @ size))[:, None], clusters, 500, 0)
    return resample.percentile(drawn[:, 0], 0.95)
