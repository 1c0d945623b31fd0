"""Drawing subjects with replacement.

A draw is how often each subject came up. A statistic that can be computed from those counts as weights needs no
copy of the rows, and many draws at once are one matrix product or one running sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters

Weighted = Callable[[np.ndarray], np.ndarray]
"""How often each subject came up `(D, S)` → K statistics a draw `(D, K)`, NaN where undefined."""

_CELLS = 100_000  # draws × rows at a time: stays in the second-level cache
_UNDEFINED = 0.05


def multiplicity(subjects: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """How often each subject comes up in each draw of as many subjects as there are, `(D, S)` int32."""
    drawn = generator.integers(0, subjects, (draws, subjects), dtype=np.int32)
    drawn += np.arange(draws, dtype=np.int32)[:, None] * np.int32(subjects)
    return np.bincount(drawn.ravel(), minlength=draws * subjects).astype(np.int32).reshape(draws, subjects)


def over_subjects(statistic: Weighted, clusters: Clusters, draws: int, seed: int) -> np.ndarray:
    """The statistics of each draw, `(draws, K)`; draws for which one is undefined are drawn again.

    Raises:
        ScoreError: More than 5 % of the draws are undefined.
    """
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(len(clusters.code), clusters.count))
    parts: list[np.ndarray] = []
    missing, undefined = draws, 0
    while missing:
        part = statistic(multiplicity(clusters.count, min(step, missing), generator))
        good = np.isfinite(part).all(axis=1)
        undefined += int((~good).sum())
        if undefined > _UNDEFINED * draws:
            raise ScoreError(
                f"more than {_UNDEFINED:.0%} of {draws} draws of {clusters.count} subjects leave the statistic "
                f"undefined; it needs more subjects with, or without, the event"
            )
        parts.append(part[good])
        missing -= int(good.sum())
    return np.concatenate(parts)


def of_rows(statistic: Callable[..., float], clusters: Clusters, columns: Sequence[np.ndarray]) -> Weighted:
    """Any statistic of rows as one of weights: each row is repeated as often as its subject came up."""

    def one(times: np.ndarray) -> float:
        row = np.repeat(np.arange(len(clusters.code)), times[clusters.code])
        try:
            return float(statistic(*(column[row] for column in columns)))
        except ScoreError:
            return np.nan

    return lambda times: np.array([[one(draw)] for draw in times])


def of_auroc(event: np.ndarray, score: np.ndarray, clusters: Clusters) -> Weighted:
    """The AUROC as a statistic of weights: a running sum over the sorted rows without the event."""
    negative = np.flatnonzero(~event)
    negative = negative[np.argsort(score[negative])]
    ordered = score[negative]
    without, with_event = clusters.code[negative], clusters.code[event]
    left = np.searchsorted(ordered, score[event], "left")
    right = np.searchsorted(ordered, score[event], "right")

    def weighted(times: np.ndarray) -> np.ndarray:
        below = np.zeros((len(times), len(negative) + 1), np.int32)
        np.cumsum(times[:, without], axis=1, out=below[:, 1:])  # (D, N + 1)
        weight = times[:, with_event].astype(np.float64)  # (D, M)
        above = np.einsum("dm,dm->d", weight, below[:, left] + below[:, right])
        pairs = 2.0 * below[:, -1] * weight.sum(axis=1)
        return np.divide(above, pairs, out=np.full(len(times), np.nan), where=pairs > 0)[:, None]

    return weighted


def percentile(drawn: np.ndarray, level: float) -> tuple[float, float]:
    """The middle `level` of the draws."""
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def acceleration(influence: np.ndarray) -> float:
    """Efron's acceleration from what each subject moves the statistic by, Σ u³ / 6 (Σ u²)^1.5."""
    spread = float(np.sum(influence**2))
    return float(np.sum(influence**3) / (6 * spread**1.5)) if spread > 0 else 0.0


def corrected(drawn: np.ndarray, value: float, level: float, acceleration: float = 0.0) -> tuple[float, float]:
    """The bias-corrected (and accelerated) interval of the draws; it always holds the value."""
    share = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2
    least = 0.5 / len(drawn)
    bias = ndtri(np.clip(share, least, 1 - least))
    shift = bias + ndtri(np.array(((1 - level) / 2, (1 + level) / 2)))
    low, high = np.quantile(drawn, ndtr(bias + shift / (1 - acceleration * shift)))
    return min(value, float(low)), max(value, float(high))
