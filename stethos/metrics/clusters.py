"""Rows and the subjects they belong to: what every interval starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stethos.errors import ScoreError


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which subject each row belongs to.

    Args:
        code: Number of the subject, from 0, `(N,)`.
        count: Number of subjects S.
    """

    code: np.ndarray
    count: int

    @staticmethod
    def of(subject: np.ndarray) -> Clusters:
        """Number the subjects; their names may be text or numbers, `(N,)`."""
        names, code = np.unique(subject, return_inverse=True)
        return Clusters(code.ravel(), len(names))

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value over the rows of each subject, `(N,)` → `(S,)`."""
        return np.bincount(self.code, weights=values, minlength=self.count)

    def with_any(self, event: np.ndarray) -> int:
        """Number of subjects with the event in at least one row; `event` is Boolean, `(N,)`."""
        return int(np.count_nonzero(np.bincount(self.code[event], minlength=self.count)))


def effective_number(weight: np.ndarray) -> float:
    """How many equal weights spread as much as these, (Σ w)² / Σ w² (Kish), at most as many as are not zero."""
    return float(np.sum(weight) ** 2 / np.sum(weight**2))


def known(truth: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rows whose truth is known.

    Args:
        truth: 0, 1 or a measured value; NaN where unknown, `(N,)`.
        columns: Scores and subjects, each `(N,)`; numbers must not be NaN where the truth is known.

    Returns:
        Truth as float64 and the columns, all with the same rows left.

    Raises:
        ScoreError: The lengths differ, a score is NaN, or no row is left.
    """
    value = np.asarray(truth, dtype=np.float64)
    arrays = [np.asarray(column) for column in columns]
    shapes = {array.shape for array in (value, *arrays)}
    if len(shapes) > 1 or value.ndim != 1:
        raise ScoreError(f"truth, score and subject must be flat and equally long; got shapes {sorted(shapes)}")
    keep = ~np.isnan(value)
    if not keep.any():
        raise ScoreError(f"needs at least one row with a known truth; got {len(value)} rows without one")
    arrays = [array[keep] for array in arrays]
    for array in arrays:
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ScoreError(
                f"needs a score for every row with a known truth; {np.isnan(array).sum()} are NaN; "
                f"take refused rows out first and show what they cost with error_against_coverage"
            )
    return value[keep], *arrays


def binary(truth: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """`known`, with the truth as Booleans of which both kinds are there.

    Raises:
        ScoreError: Also where a truth is neither 0 nor 1, or all of them are the same.
    """
    value, *arrays = known(truth, *columns)
    event = value == 1
    if not np.all(event | (value == 0)):
        other = value[~(event | (value == 0))][0]
        raise ScoreError(f"truth must be 0, 1 or NaN; got {other:g}; compare a measured value with a limit first")
    if event.all() or not event.any():
        raise ScoreError(f"needs rows with and without the event; all {len(event)} known rows are {int(event[0])}")
    return event, *arrays


def cluster_means(values: np.ndarray, code: np.ndarray, count: int, weight: ArrayLike | None = None) -> np.ndarray:
    """Weighted mean over the rows of each cluster.

    Args:
        values: `(N, K)`.
        code: Cluster of each row, from 0 to `count` − 1, `(N,)`.
        count: Clusters, C.
        weight: What each row counts, above 0, `(N,)`; None where all count alike.

    Returns:
        `(C, K)`; NaN for a cluster without a row.
    """
    weight = np.ones(len(values)) if weight is None else np.asarray(weight)
    whole = np.bincount(code, weight, minlength=count)
    mean = np.where(whole > 0, 0.0, np.nan)[:, None].repeat(values.shape[1], axis=1)
    np.add.at(mean, code, (weight / whole[code])[:, None] * values)  # a row that is alone keeps its very value
    return mean
