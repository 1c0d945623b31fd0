"""Slow change of a machine's usual sound: the median of many blocks against the distribution of normal ones.

Of the last M judged blocks outside of excursions, the median of the score, and of the level, is compared with the
1 % and 99 % quantiles q of single normal blocks. Beyond them the quantity has drifted; it has come back when the median
lies between the 5 % and 95 % quantiles. One onset is one line.

The test asks for a large change and in turn needs no model: under normal sound the share of blocks above q₉₉ is 1 %
on average, so at any moment half of them or more lie above it with a probability of at most 2 % (Markov), however
much blocks resemble their neighbours; and as much below q₁. For independent blocks it never happens. A shift of the
median by 2.3 standard deviations is found, far below any threshold that keeps a budget of alarms a week.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stethos.errors import QualityError

_SHARES = (0.01, 0.05, 0.95, 0.99)
_LEAST = 100  # blocks: below that the 1 % quantile is the lowest value
QUANTITIES = ("score", "level")


@dataclass(frozen=True)
class Reference:
    """How normal blocks are distributed.

    Args:
        score: 1, 5, 95 and 99 % quantiles of the anomaly score.
        level: The same of the level, dB of full scale.
        blocks: They come from.
    """

    score: tuple[float, ...]
    level: tuple[float, ...]
    blocks: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Reference:
        """What `to_json` gave."""
        return Reference(tuple(saved["score"]), tuple(saved["level"]), int(saved["blocks"]))


def reference_of(score: np.ndarray, level: np.ndarray) -> Reference:
    """The distribution of normal blocks.

    Args:
        score: Of each, NaN where it could not be judged (dropped), `(N,)`.
        level: Of each, dB of full scale, `(N,)`.

    Raises:
        QualityError: Fewer than 100 blocks were judged.
    """
    kept = np.isfinite(score) & np.isfinite(level)
    if kept.sum() < _LEAST:
        raise QualityError(f"a reference needs at least {_LEAST} judged blocks; got {kept.sum()}; record more")
    scores, levels = (tuple(np.quantile(values[kept], _SHARES).tolist()) for values in (score, level))
    return Reference(scores, levels, int(kept.sum()))


class Drift:
    """The live comparison of one source; without a reference it learns one from the first blocks.

    Args:
        reference: Of normal blocks; None to learn it.
        window: Blocks the median is taken over, M.
        learn: Blocks a reference is learnt from.

    Raises:
        QualityError: `learn` is below 100.
    """

    def __init__(self, reference: Reference | None, window: int = 360, learn: int = 1000) -> None:
        if learn < _LEAST:
            raise QualityError(f"a reference needs at least {_LEAST} judged blocks to learn from; got {learn}")
        self.reference, self.learn = reference, learn
        self._last = {name: deque[float](maxlen=window) for name in QUANTITIES}
        self._learnt: list[tuple[float, float]] = []
        self._outside = dict.fromkeys(QUANTITIES, False)

    @property
    def learning(self) -> int | None:
        """Blocks learnt from so far; None where there is a reference."""
        return len(self._learnt) if self.reference is None else None

    def restart(self) -> None:
        """Forget the reference and learn another."""
        self.reference, self._learnt = None, []
        self._outside = dict.fromkeys(QUANTITIES, False)
        for last in self._last.values():
            last.clear()

    def see(self, score: float, level: float) -> list[str]:
        """Take in one block; what begins to drift with it, as sentences."""
        if self.reference is None:
            self._learn(score, level)
            return []
        self._last["score"].append(score)
        self._last["level"].append(level)
        return [said for name in QUANTITIES if (said := self._compare(name, getattr(self.reference, name)))]

    def _learn(self, score: float, level: float) -> None:
        self._learnt.append((score, level))
        if len(self._learnt) >= self.learn:
            learnt = np.array(self._learnt)  # (N, 2)
            self.reference, self._learnt = reference_of(learnt[:, 0], learnt[:, 1]), []

    def _compare(self, name: str, usual: tuple[float, ...]) -> str:
        last = self._last[name]
        if len(last) < (last.maxlen or 0):
            return ""
        middle = float(np.median(last))
        if self._outside[name]:
            self._outside[name] = not usual[1] <= middle <= usual[2]
            return ""
        self._outside[name] = not usual[0] <= middle <= usual[3]
        if not self._outside[name]:
            return ""
        normal = f"98 % of normal blocks lie in {usual[0]:.4g} to {usual[3]:.4g}"
        return f"the median {name} of {len(last)} blocks is {middle:.4g}; {normal}"

    def to_json(self) -> dict[str, Any]:
        """What is remembered, as plain values."""
        return {
            "reference": self.reference.to_json() if self.reference else None,
            "learnt": self._learnt.copy(),
            "last": {name: list(last) for name, last in self._last.items()},
            "outside": dict(self._outside),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up what `to_json` gave."""
        self.reference = Reference.from_json(saved["reference"]) if saved["reference"] else None
        self._learnt = [(float(score), float(level)) for score, level in saved["learnt"]]
        self._outside = {name: bool(saved["outside"][name]) for name in QUANTITIES}
        for name, last in self._last.items():
            last.clear()
            last.extend(saved["last"][name])
