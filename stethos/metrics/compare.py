"""Whether one score is better than another on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from stethos.errors import ScoreError
from stethos.metrics import resample
from stethos.metrics.clusters import Clusters, binary, known
from stethos.metrics.delong import placement
from stethos.metrics.interval import clustered_auroc
from stethos.types import Estimate


@dataclass(frozen=True)
class Difference:
    """The first minus the second, on the same rows.

    Args:
        estimate: The difference with its interval.
        p: Two-sided, of no difference.
    """

    estimate: Estimate
    p: float


def paired_auroc(
    truth: np.ndarray, score_a: np.ndarray, score_b: np.ndarray, subject: np.ndarray, level: float = 0.95
) -> Difference:
    """Difference of two AUROCs on the same rows, with the clustered DeLong variance of the difference.

    The quantile is Student's, with Satterthwaite's degrees of freedom.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score_a: Higher means more likely, `(N,)`.
        score_b: Likewise; only the order of each matters, `(N,)`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of the interval.

    Raises:
        ScoreError: Fewer than two subjects have the event in any row, or are without it in any row.

    Reference:
        Obuchowski 1997, doi:10.2307/2533958.
    """
    event, a, b, subject = binary(truth, score_a, score_b, subject)
    clusters = Clusters.of(subject)
    part = placement(event, a, clusters) - placement(event, b, clusters)
    quantile = float(stdtrit(part.freedom, (1 + level) / 2))
    error = float(np.sqrt(max(0.0, part.variance)))
    if error == 0 and part.value != 0:
        # both rank without a slip, in opposite ways or one of them constant: add up their own intervals
        first, second = (clustered_auroc(event, score, subject, level) for score in (a, b))
        error = float(np.hypot(first.high - first.low, second.high - second.low)) / quantile
    low, high = max(-1.0, part.value - quantile * error), min(1.0, part.value + quantile * error)
    p = 2 * float(stdtr(part.freedom, -abs(part.value) / error)) if error > 0 else 1.0
    return Difference(Estimate(part.value, low, high, clusters.count, part.subjects[0], level), p)


def paired_bootstrap(
    statistic: Callable[..., float],
    subject: np.ndarray,
    *arrays: np.ndarray,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of any statistic between two scores, the same subjects drawn for both.

    Args:
        statistic: Takes all arrays but the last two, then one of those two.
        subject: Subject of each row, `(N,)`.
        arrays: Truth, NaN where unknown (the row is dropped from all), what else both share, then the two
            scores, `(N,)` each.
        draws: Number of resamples; those for which the statistic is undefined are drawn again.
        level: Coverage of the interval.
        seed: Of the draws.

    Returns:
        The percentile interval; p is twice the smaller share of draws on one side of 0, and never below
        2 / (draws + 1).

    Raises:
        ScoreError: The statistic is undefined for the rows, or for more than 5 % of the draws.
    """
    truth, *others, subject = known(*arrays, subject)
    if len(others) < 2:
        raise ScoreError(f"a comparison needs truth and two scores; got {len(others) + 1} arrays")
    clusters, columns = Clusters.of(subject), [truth, *others]

    def gain(*rows: np.ndarray) -> float:
        *shared, a, b = rows
        return statistic(*shared, a) - statistic(*shared, b)

    value = float(gain(*columns))
    drawn = resample.over_subjects(resample.of_rows(gain, clusters, columns), clusters, draws, seed)[:, 0]
    low, high = resample.percentile(drawn, level)
    side = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    events = clusters.with_any(truth == 1) if np.isin(truth, (0, 1)).all() else None
    return Difference(
        Estimate(value, low, high, clusters.count, events, level), min(1.0, 2 * float(side + 1) / (draws + 1))
    )


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values, in the order given.

        p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))

    Args:
        p_values: Of m comparisons, `(m,)`.

    Raises:
        ScoreError: One is not in [0, 1].

    Reference:
        Holm 1979, Scandinavian Journal of Statistics 6:65–70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ScoreError("p values must be in [0, 1] and known")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
