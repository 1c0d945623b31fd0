"""Whether a measured value rises over ordered groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, known
from stethos.metrics.ranking import placed_below
from stethos.types import Estimate


@dataclass(frozen=True)
class Trend:
    """Jonckheere and Terpstra's test of a rise over ordered groups.

    Args:
        statistic: Pairs of rows of two groups in which the higher group has the higher value, ties counting half.
        z: Its distance from no trend in standard deviations; above 0 where values rise.
        p: Two-sided.
    """

    statistic: float
    z: float
    p: float


def jonckheere(values: np.ndarray, group: np.ndarray) -> Trend:
    """Whether values rise, or fall, over ordered groups; rows must be independent: give one a subject.

        z = (J − E) / √V        E = (N² − Σ n²) / 4

    with V corrected for tied values.

    Args:
        values: NaN unknown (dropped), `(N,)`.
        group: Place of each row's group in the order, `(N,)`.

    Raises:
        ScoreError: Fewer than two groups, or all values are the same.

    Reference:
        Hollander, Wolfe and Chicken 2014, Nonparametric Statistical Methods, section 6.2.
    """
    values, group = known(values, group)
    order, size = np.unique(group, return_counts=True)
    tied = np.unique(values, return_counts=True)[1]
    if len(order) < 2 or len(tied) < 2:
        raise ScoreError(f"a trend needs 2 groups and 2 values; got {len(order)} and {len(tied)}")
    found = sum(float(placed_below(values[group == place], values[group < place]).sum()) for place in order[1:])
    z = (found - (len(values) ** 2 - float(np.sum(size**2))) / 4) / np.sqrt(_variance(len(values), size, tied))
    return Trend(found, float(z), 2 * float(ndtr(-abs(z))))


def _variance(rows: int, size: np.ndarray, tied: np.ndarray) -> float:
    """V of J for groups of `size` rows and runs of `tied` equal values."""

    def pairs(count: np.ndarray) -> float:
        return float(np.sum(count * (count - 1.0)))

    def triples(count: np.ndarray) -> float:
        return float(np.sum(count * (count - 1.0) * (count - 2)))

    def spread(count: np.ndarray) -> float:
        return float(np.sum(count * (count - 1.0) * (2 * count + 5)))

    whole = np.array([rows])
    variance = (spread(whole) - spread(size) - spread(tied)) / 72 + pairs(size) * pairs(tied) / (8 * pairs(whole))
    return variance + (triples(size) * triples(tied) / (36 * triples(whole)) if rows > 2 else 0.0)


def clustered_mean(values: np.ndarray, subject: np.ndarray) -> Estimate:
    """The mean over rows with its 95 % interval by subject, from the spread of the subjects' sums about the mean.

    Args:
        values: NaN unknown (dropped), `(N,)`.
        subject: Subject of each row, `(N,)`.

    Returns:
        `n` counts subjects; of one subject there is no interval (NaN).

    Raises:
        ScoreError: No row is known.
    """
    values, subject = known(values, subject)
    clusters, mean = Clusters.of(subject), float(values.mean())
    if clusters.count < 2:
        return Estimate(mean, np.nan, np.nan, clusters.count)
    variance = clusters.count / (clusters.count - 1) * np.sum(clusters.total(values - mean) ** 2)
    half = float(stdtrit(clusters.count - 1, 0.975) * np.sqrt(variance) / len(values))
    return Estimate(mean, mean - half, mean + half, clusters.count)
