"""The interval of a number that several ROC curves are combined into.

The variance V of the number A over draws of its clips is given Wilson's form,

    n* = [A (1 − A) + h m₁] / [V + h m₂ / S]       m_j = mean over sections of (1/M^j + 1/N^j)       h = 1/32

for M anomalous and N normal source recordings in each of S sections: an eighth of a recording of each kind, placed in
the middle, as in `stethos.metrics.interval`. The quantile is Student's with Σ (min(M, N) − 1) degrees of freedom; of
the N a pAUC counts only the tenth that it looks at. So the interval is inside [0, 1], has a width where all is
perfect, and holds the true value as often as it says, where percentiles of the draws do not (84 to 91 % for 95 % with
areas near 1, or for one section's pAUC).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from stethos.metrics.curves import MAX_FPR, Curve
from stethos.metrics.interval import wilson
from stethos.types import Estimate

_EIGHTH_IN_THE_MIDDLE = 1 / 32


@dataclass(frozen=True)
class Footing:
    """What a number rests on.

    Args:
        sections: S.
        inverse: m₁ above.
        inverse_squared: m₂ above.
        freedom: Degrees of freedom, at least 1.
        clips: Clips that went in.
        anomalous: The anomalous ones among them.
    """

    sections: int
    inverse: float
    inverse_squared: float
    freedom: float
    clips: int
    anomalous: int

    @staticmethod
    def of(whole: Sequence[Curve], partial: Sequence[Curve], clips: int, anomalous: int) -> Footing:
        """Count the source recordings of each section, where it has several curves those of the smallest.

        Args:
            whole: Curves whose whole area goes in.
            partial: Curves whose partial area goes in; one at least is there of either.
            clips: Clips that go in.
            anomalous: The anomalous ones among them.
        """
        smallest: dict[tuple[str, str], np.ndarray] = {}
        for curve, share in [*((curve, 1.0) for curve in whole), *((curve, MAX_FPR) for curve in partial)]:
            key, (normal, abnormal) = (curve.machine, curve.section), curve.subjects
            size = np.array([abnormal, normal, min(abnormal, share * normal)])
            smallest[key] = np.minimum(smallest.get(key, size), size)
        table = np.array(list(smallest.values()))  # (S, 3)
        inverse = 1 / table[:, :2]
        first, second = (float((inverse**power).sum(axis=1).mean()) for power in (1, 2))
        freedom = max(1.0, float(np.sum(np.maximum(table[:, 2] - 1, 0))))
        return Footing(len(table), first, second, freedom, clips, anomalous)

    def quantile(self, level: float) -> float:
        """Student's quantile for a two-sided interval."""
        return float(stdtrit(self.freedom, (1 + level) / 2))

    def interval(self, value: float, drawn: np.ndarray, level: float) -> Estimate:
        """The interval of a number in [0, 1].

        Args:
            value: A.
            drawn: The same of D draws, `(D,)`.
            level: Coverage.

        Returns:
            `n` counts clips, `events` anomalous clips.
        """
        spread = value * (1 - value) + _EIGHTH_IN_THE_MIDDLE * self.inverse
        variance = float(np.var(drawn, ddof=1)) + _EIGHTH_IN_THE_MIDDLE * self.inverse_squared / self.sections
        low, high = wilson(value, spread / variance, self.quantile(level))
        return Estimate(value, low, high, self.clips, self.anomalous, level)
