"""Drawing subjects within strata, and the areas under ROC curves of many draws at once.

A draw is how often each row came up. With these counts as weights w, each distinct score k of a normal row adds to the
area a strip as wide as the weight of the normal rows there, n_k, and as high as the anomalous weight above it, those of
the same score counting half:

    A = Σ_k n_k (a_k + ½ t_k) / (N M)      a_k = Σ_{anomalous, s_i > s_k} w_i      t_k = Σ_{anomalous, s_i = s_k} w_i

with N and M the weight of all normal and anomalous rows. Left of a false-positive rate p the strips from the highest
score down are taken until they are p N wide, the last of them in part. So one sort serves all draws. Strata are drawn
each to its own size, so no draw lacks a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethos.metrics.clusters import Clusters
from stethos.metrics.resample import multiplicity


@dataclass(frozen=True, eq=False)
class Strata:
    """Rows in parts that are drawn from one by one.

    Args:
        rows: Number of rows N.
        parts: Row numbers of each part, and the subjects they belong to.
    """

    rows: int
    parts: tuple[tuple[np.ndarray, Clusters], ...]

    @staticmethod
    def of(stratum: np.ndarray, subject: np.ndarray) -> Strata:
        """Part the rows; a subject in two strata counts as two.

        Args:
            stratum: Number or name, `(N,)`.
            subject: Number or name, `(N,)`.
        """
        _, code = np.unique(stratum, return_inverse=True)
        members = [np.flatnonzero(code == number) for number in range(code.max() + 1)]
        return Strata(len(code), tuple((rows, Clusters.of(subject[rows])) for rows in members))

    def draw(self, draws: int, generators: Sequence[np.random.Generator]) -> np.ndarray:
        """How often each row comes up when each part's subjects are drawn with replacement, `(D, N)` int32.

        Args:
            draws: D.
            generators: One a part, so that many draws at once and one after another are the same.
        """
        times = np.empty((draws, self.rows), np.int32)
        for (rows, clusters), generator in zip(self.parts, generators, strict=True):
            times[:, rows] = multiplicity(clusters.count, draws, generator)[:, clusters.code]
        return times


def roc_areas(
    event: np.ndarray, score: np.ndarray, times: np.ndarray, max_fpr: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Whole and partial area under the ROC curve of each draw.

    Args:
        event: True for an anomalous row; both kinds are there, `(N,)`.
        score: Higher means more anomalous, ties count half, `(N,)`.
        times: How often each row came up, neither kind never, `(D, N)`.
        max_fpr: Right edge p of the partial area, in (0, 1].

    Returns:
        AUC, and McClish's pAUC = ½ [1 + (A − p²/2) / (p − p²/2)], `(D,)` both.

    Reference:
        McClish 1989, doi:10.1177/0272989X8900900307.
    """
    level, weight = _distinct(score[~event], times[:, ~event])  # (K,), (D, K)
    order = np.argsort(-score[event])
    falling = -score[event][order]
    hits = np.zeros((len(times), len(order) + 1), np.int32)
    np.cumsum(times[:, np.flatnonzero(event)[order]], axis=1, out=hits[:, 1:])
    above, upto = (hits[:, np.searchsorted(falling, -level, side)] for side in ("left", "right"))
    pairs = weight.sum(axis=1) * hits[:, -1].astype(np.float64)
    whole = np.einsum("dk,dk->d", weight, above + upto) / (2 * pairs)
    least = max_fpr**2 / 2
    partial = (_left_of(max_fpr, weight, above, upto) / pairs - least) / (max_fpr - least)
    return whole, (1 + partial) / 2


def _distinct(score: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct scores from the highest down, `(K,)`, and the weight of each in each draw, `(D, K)` float64."""
    order = np.argsort(-score)
    ordered = score[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    weight = times[:, order].astype(np.float64)
    return ordered[first], weight if len(first) == len(order) else np.add.reduceat(weight, first, axis=1)


def _left_of(edge: float, weight: np.ndarray, above: np.ndarray, upto: np.ndarray) -> np.ndarray:
    """Sum of the strips left of a false-positive rate, in pairs of rows, `(D,)`."""
    right = np.cumsum(weight, axis=1)
    limit = edge * right[:, -1:]
    reach = int(np.argmax(np.append((right >= limit).all(axis=0), True))) + 1  # no draw looks at strips beyond it
    weight, above, upto = weight[:, :reach], above[:, :reach], upto[:, :reach]
    width = np.clip(limit - (right[:, :reach] - weight), 0, weight)
    part = np.divide(width, weight, out=np.zeros_like(width), where=weight > 0)
    return np.sum(width * (above + (upto - above) * part / 2), axis=1)
