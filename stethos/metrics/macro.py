"""The mean over several labels of the area under the ROC curve, and whether one model's is larger.

    macro = 1/K Σ_k AUROC_k

Each label takes the rows whose truth is known for it; an interval draws subjects, whose rows of all labels come
together. Where a model was fitted several times on other samples of the training subjects, the fits are drawn too:

    difference = mean over fits r of (macro(a_r) − macro(b_r)),   drawn: subjects tested, and fits
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters
from stethos.metrics.compare import Difference
from stethos.metrics.interval import resampled
from stethos.metrics.resample import Weighted, corrected, of_auroc, over_subjects
from stethos.types import Estimate

DRAWS = 1000
LEVEL = 0.95
LEAST = 5  # subjects with, and without, a label that the mean takes in


def usable(truth: np.ndarray, subject: np.ndarray, least: int = LEAST) -> np.ndarray:
    """Which labels have enough subjects with and without, `(K,)` bool.

    Args:
        truth: 1, 0 or NaN for unknown, `(N, K)`.
        subject: Subject of each row, `(N,)`.
        least: Subjects of each kind.
    """
    counts = [[len(np.unique(subject[column == value])) for value in (0, 1)] for column in np.asarray(truth).T]
    return np.array([min(pair) >= least for pair in counts], dtype=bool)


def macro_auroc(
    truth: np.ndarray, score: np.ndarray, subject: np.ndarray, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean AUROC over the labels, with the interval of drawing subjects with replacement.

    Args:
        truth: 1, 0 or NaN for unknown, `(N, K)`.
        score: Higher means more likely, `(N, K)`.
        subject: Subject of each row, `(N,)`.
        draws: Number of resamples.
        level: Coverage of the interval.
        seed: Of the draws.

    Raises:
        ScoreError: A label has no row of one kind, or there is no label.
    """
    clusters = Clusters.of(subject)
    areas = _areas(truth, score, clusters)
    return resampled(lambda times: areas(times).mean(axis=1, keepdims=True), clusters, None, draws, level, seed)[0]


def paired_macro(
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    subject: np.ndarray,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Macro AUROC of one model minus that of another on the same rows, over subjects and, where several, over fits.

    Args:
        truth: 1, 0 or NaN for unknown, `(N, K)`.
        first: Scores of R fits of the one model, `(R, N, K)`, or of one, `(N, K)`.
        second: Scores of the other; fit r saw what fit r of the first saw.
        subject: Subject of each row, `(N,)`.
        draws: Number of resamples.
        seed: Of the draws.

    Returns:
        The difference with its bias-corrected 95 % interval; p is twice the smaller share of draws on one side of 0.

    Raises:
        ScoreError: A label has no row of one kind, the fits are not paired, or there is no label.
    """
    one, other = (np.asarray(item).reshape(-1, *np.shape(truth)) for item in (first, second))
    if len(one) != len(other):
        raise ScoreError(f"fits are compared in pairs; got {len(one)} of one model and {len(other)} of the other")
    clusters = Clusters.of(subject)
    pairs = [(_areas(truth, a, clusters), _areas(truth, b, clusters)) for a, b in zip(one, other, strict=True)]
    gains = [lambda times, a=a, b=b: (a(times) - b(times)).mean(axis=1) for a, b in pairs]
    value, sample = _over_fits(gains, clusters, draws, seed)
    side = min(np.sum(sample <= 0), np.sum(sample >= 0))
    estimate = Estimate(value, *corrected(sample, value, LEVEL), clusters.count)
    return Difference(estimate, min(1.0, 2 * float(side + 1) / (draws + 1)))


def macro_over_fits(
    truth: np.ndarray, score: np.ndarray, subject: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Mean over several fits of the macro AUROC, over subjects and fits.

    Args:
        truth: 1, 0 or NaN for unknown, `(N, K)`.
        score: Of R fits, `(R, N, K)`.
        subject: Subject of each row, `(N,)`.
        draws: Number of resamples.
        seed: Of the draws.

    Raises:
        ScoreError: A label has no row of one kind, or there is no label.
    """
    clusters = Clusters.of(subject)
    areas = [_areas(truth, one, clusters) for one in score]
    value, sample = _over_fits([lambda times, a=a: a(times).mean(axis=1) for a in areas], clusters, draws, seed)  # type: ignore[misc]
    return Estimate(value, *corrected(sample, value, LEVEL), clusters.count)


def _over_fits(
    each: Sequence[Callable[[np.ndarray], np.ndarray]], clusters: Clusters, draws: int, seed: int
) -> tuple[float, np.ndarray]:
    """Mean over fits of a statistic, and its draws: subjects and fits with replacement, `(draws,)`."""
    generator = np.random.default_rng((seed, 1))

    def all_of(times: np.ndarray) -> np.ndarray:
        return np.stack([one(times) for one in each], axis=1)  # (D, R)

    def drawn(times: np.ndarray) -> np.ndarray:
        found = all_of(times)
        fit = generator.integers(0, len(each), found.shape)
        return np.take_along_axis(found, fit, axis=1).mean(axis=1, keepdims=True)

    value = float(all_of(np.ones((1, clusters.count), np.int32)).mean())
    return value, over_subjects(drawn, clusters, draws, seed)[:, 0]


def _areas(truth: np.ndarray, score: np.ndarray, clusters: Clusters) -> Weighted:
    """AUROC of every label as a statistic of weights, `(D, K)`."""
    if not np.shape(truth)[1]:
        raise ScoreError("a mean over labels needs one with enough subjects with and without it")
    each = []
    for column, said in zip(np.asarray(truth, float).T, np.asarray(score, float).T, strict=True):
        known = np.isfinite(column)
        event = column[known] == 1
        if event.all() or not event.any():
            raise ScoreError(
                f"needs rows with and without every label; one has {int(event.sum())} of {len(event)} with it"
            )
        each.append(of_auroc(event, said[known], Clusters(clusters.code[known], clusters.count)))
    return lambda times: np.concatenate([one(times) for one in each], axis=1)
