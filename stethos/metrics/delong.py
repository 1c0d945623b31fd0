"""Variance of the AUROC, and of a difference of two, when rows of one subject go together.

Row i with the event is placed above a share V_i of the rows without; row j without lies below a share V_j of
those with. Both average to the AUROC A. Summing over the M_s and N_s rows of subject s,

    p_s = Σ_i (V_i − A) / M        q_s = Σ_j (V_j − A) / N

    Var A = I₁/(I₁−1) Σ p_s² + I₀/(I₀−1) Σ q_s² + 2 I/(I−1) Σ p_s q_s

where I₁, I₀ and I count the subjects with the event in any row, without it in any row, and all of them. With
one row a subject this is DeLong's variance.

Reference:
    Obuchowski 1997, Biometrics 53:567–578, doi:10.2307/2533958.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, effective_number
from stethos.metrics.ranking import placed_below


@dataclass(frozen=True, eq=False)
class Placement:
    """An AUROC and what each subject moves it by.

    Args:
        value: The AUROC.
        positive: p_s, through the subject's rows with the event, `(S,)`.
        negative: q_s, through its rows without, `(S,)`.
        rows: How many rows each subject has with the event, and without, `(S,)` both.
    """

    value: float
    positive: np.ndarray
    negative: np.ndarray
    rows: tuple[np.ndarray, np.ndarray]

    def __sub__(self, other: Placement) -> Placement:
        """The difference of two AUROCs on the same rows."""
        return replace(
            self,
            value=self.value - other.value,
            positive=self.positive - other.positive,
            negative=self.negative - other.negative,
        )

    @property
    def subjects(self) -> tuple[int, int]:
        """How many have the event in any row, and are without it in any row."""
        return int(np.count_nonzero(self.rows[0])), int(np.count_nonzero(self.rows[1]))

    @property
    def effective(self) -> tuple[float, float]:
        """The same, where many rows do not make a subject worth more (Kish)."""
        return effective_number(self.rows[0]), effective_number(self.rows[1])

    @property
    def _parts(self) -> tuple[float, float]:
        """The two variances that independent kinds of rows would add up to."""
        with_event, without = self.subjects
        return (
            with_event / (with_event - 1) * float(np.sum(self.positive**2)),
            without / (without - 1) * float(np.sum(self.negative**2)),
        )

    @property
    def variance(self) -> float:
        """Obuchowski's variance of the value."""
        total = len(self.positive)
        return sum(self._parts) + 2 * total / (total - 1) * float(np.sum(self.positive * self.negative))

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of that variance; infinite where nothing varies.

        A subject's share of the variance grows with the square of its rows, so that a few subjects with many rows
        leave fewer degrees of freedom than there are subjects; with as many rows each it is one fewer.
        """
        freedom = [max(1.0, effective_number(rows**2) - 1) for rows in self.rows]
        spread = sum(part**2 / free for part, free in zip(self._parts, freedom, strict=True))
        return sum(self._parts) ** 2 / spread if spread > 0 else np.inf


def placement(event: np.ndarray, score: np.ndarray, clusters: Clusters) -> Placement:
    """Place every row among those of the other kind.

    Args:
        event: Whether the row has the event, Boolean, `(N,)`.
        score: Higher means more likely, `(N,)`.
        clusters: The subject of each row.

    Raises:
        ScoreError: Fewer than two subjects have the event in any row, or are without it in any row.
    """
    rows = clusters.total(event.astype(np.float64)), clusters.total((~event).astype(np.float64))
    subjects = np.count_nonzero(rows, axis=1)
    if subjects.min() < 2:
        raise ScoreError(
            f"an interval needs at least 2 subjects with the event and 2 without; got {subjects[0]} and {subjects[1]}"
        )
    count = rows[0].sum(), rows[1].sum()
    share = np.empty(len(event))
    share[event] = placed_below(score[event], score[~event]) / count[1]
    share[~event] = 1 - placed_below(score[~event], score[event]) / count[0]
    value = float(share[event].mean())
    excess = share - value
    return Placement(
        value,
        clusters.total(np.where(event, excess, 0)) / count[0],
        clusters.total(np.where(event, 0, excess)) / count[1],
        rows,
    )
