"""Attributions of many recordings: shares, means, differences and interactions, with intervals over subjects.

Recordings that could not be explained (NaN) are left out. Intervals are those of drawing subjects with replacement.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters
from stethos.metrics.interval import resampled
from stethos.types import Attribution, Estimate

DRAWS = 4000
PAIR_DRAWS = 16000  # of 21 pairs each has some 20 draws beyond each end

Name = TypeVar("Name", str, tuple[str, str])


def shares(attribution: Attribution, subject: np.ndarray, level: float = 0.95, seed: int = 0) -> dict[str, Estimate]:
    """Mean over recordings of each player's part of what moved the score, |φ| / Σ |φ|.

    Args:
        attribution: From `explain_many`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of each interval.
        seed: Of the draws.

    Raises:
        ScoreError: No recording was explained.
    """
    return _means(_part(attribution), attribution.names, subject, level, seed)


def contributions(
    attribution: Attribution, subject: np.ndarray, level: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """Mean over recordings of each player's φ, in logits, with its sign.

    Args:
        attribution: From `explain_many`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of each interval.
        seed: Of the draws.

    Raises:
        ScoreError: No recording was explained.
    """
    return _means(attribution.values, attribution.names, subject, level, seed)


def contrast(
    attribution: Attribution, group: np.ndarray, subject: np.ndarray, level: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """Mean φ with something minus mean φ without it, in logits.

    Args:
        attribution: From `explain_many`.
        group: 1 or 0, NaN where unknown (the row is left out), `(N,)`.
        subject: Subject of each row, `(N,)`; one may have rows of both kinds.
        level: Coverage of all intervals together: each one's own level is 1 − (1 − level) / players (Bonferroni), so
            that a model that reads nothing has no player off zero that often.
        seed: Of the draws.

    Raises:
        ScoreError: No recording of one kind was explained.
    """
    group = np.asarray(group, dtype=np.float64)
    values = np.where(np.isin(group, (0, 1))[:, None], attribution.values, np.nan)
    values, subject, group = _known(values, subject, group)
    if not 0 < group.sum() < len(group):
        raise ScoreError(f"a contrast needs recordings of both kinds; got {int(group.sum())} of {len(group)} with it")
    clusters = Clusters.of(subject)
    with_it, without = (_totals(values[rows], clusters.code[rows], clusters.count) for rows in (group == 1, group == 0))
    own = 1 - (1 - level) / len(attribution.names)
    found = resampled(
        lambda times: _mean(times, with_it) - _mean(times, without),
        clusters,
        clusters.with_any(group == 1),
        DRAWS,
        own,
        seed,
    )
    return dict(zip(attribution.names, found, strict=True))


def interactions(
    attribution: Attribution, subject: np.ndarray, level: float = 0.95, seed: int = 0
) -> dict[tuple[str, str], Estimate]:
    """Mean over recordings of what each pair of players adds beyond the two alone, in logits, with its sign.

    Above 0 the two together move the score up more than one by one, below 0 less; a pair of which one is absent adds 0.

    Args:
        attribution: From `explain_many`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of all intervals together: each one's own level is 1 − (1 − level) / pairs (Bonferroni).
        seed: Of the draws.

    Raises:
        ScoreError: The interactions were not kept, or no recording was explained.
    """
    if attribution.interaction is None:
        raise ScoreError("needs interactions; this attribution was kept without them: explain the run again")
    own = 1 - (1 - level) / len(attribution.pairs)
    return _means(attribution.interaction, attribution.pairs, subject, own, seed, draws=PAIR_DRAWS)


def spread(*attributions: Attribution) -> dict[str, tuple[float, float]]:
    """Smallest and largest share of each player over several baselines.

    Args:
        attributions: Of the same recordings and players.

    Raises:
        ScoreError: There is none, or the players differ.
    """
    if not attributions or len({attribution.names for attribution in attributions}) > 1:
        raise ScoreError("a spread needs attributions to the same players")
    mean = np.array([_part(item)[np.isfinite(_part(item)).all(axis=1)].mean(axis=0) for item in attributions])
    names = attributions[0].names
    return {name: (float(low), float(high)) for name, low, high in zip(names, mean.min(0), mean.max(0), strict=True)}


def _part(attribution: Attribution) -> np.ndarray:
    """|φ| / Σ |φ| of each recording, NaN where nothing moved the score, `(N, players)`."""
    size = np.abs(attribution.values)
    total = size.sum(axis=1, keepdims=True)
    return np.divide(size, total, out=np.full_like(size, np.nan), where=total > 0)


def _means(
    values: np.ndarray, names: tuple[Name, ...], subject: np.ndarray, level: float, seed: int, draws: int = DRAWS
) -> dict[Name, Estimate]:
    values, subject = _known(values, subject)
    clusters = Clusters.of(subject)
    totals = _totals(values, clusters.code, clusters.count)
    found = resampled(lambda times: _mean(times, totals), clusters, None, draws, level, seed)
    return dict(zip(names, found, strict=True))


def _known(values: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rows that were explained."""
    if any(len(column) != len(values) for column in columns):
        raise ScoreError(f"needs one subject (and group) for each of {len(values)} rows; got {len(columns[0])}")
    rows = np.isfinite(values).all(axis=1)
    if not rows.any():
        raise ScoreError(f"needs a recording that was explained; none of {len(values)} was")
    return values[rows], *(np.asarray(column)[rows] for column in columns)


def _totals(values: np.ndarray, code: np.ndarray, subjects: int) -> np.ndarray:
    """Sum over the rows of each subject, and their number in the last column, `(S, players + 1)`."""
    counted = np.column_stack([values, np.ones(len(values))])
    totals = np.zeros((subjects, counted.shape[1]))
    np.add.at(totals, code, counted)
    return totals


def _mean(times: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Means of draws of subjects, NaN where none has a row, `(D, players)`."""
    drawn = times @ totals
    return np.divide(drawn[:, :-1], drawn[:, -1:], out=np.full_like(drawn[:, :-1], np.nan), where=drawn[:, -1:] > 0)
