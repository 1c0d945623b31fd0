"""When scores above a threshold become an alarm: k of the last n blocks, once for each excursion.

Blocks are numbered as they are judged; what could not be judged (a dead microphone, say) has no number. With
a_i = 1 where the score of block i lies above the threshold, the condition holds at block i where

    a_(i−n+1) + … + a_i ≥ k        v_i > threshold,  v_i = k-th largest of the last n scores

and an alarm goes off at block i where it holds and held at none of the m = `rearm` blocks before. So an excursion
ends after m blocks in a row without the condition, and it sounds one alarm however long it lasts. A hole of more
than n blocks makes the count start afresh: nothing from before it is remembered.

The same alarms follow from the live counter, block by block, and from whole arrays of scores.

Reference:
    Clusters of exceedances by runs: Smith and Weissman 1994, J. R. Statist. Soc. B 56:515.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from stethos.errors import RecipeError


def refuse_impossible(k: int, n: int, rearm: int) -> None:
    """Raise where no counter can be made of these numbers.

    Args:
        k: Blocks above the threshold that are needed.
        n: Blocks that are looked back on.
        rearm: Blocks without the condition that end an excursion.

    Raises:
        RecipeError: Not 1 ≤ k ≤ n, or rearm is below 1.
    """
    if not (1 <= k <= n and rearm >= 1):
        raise RecipeError(f"an alarm needs 1 ≤ k ≤ n blocks and rearm of at least 1; got k={k}, n={n}, rearm={rearm}")


def hole_seconds(n: int, block_seconds: float) -> float:
    """Missing sound beyond which the count starts afresh: n blocks, and half a one for clocks that are not exact.

    Args:
        n: Blocks that are looked back on.
        block_seconds: From the start of one block to the start of the next.
    """
    return (n + 0.5) * block_seconds


class Persistence:
    """The live counter of one source.

    Args:
        k: Blocks above the threshold that are needed.
        n: Blocks that are looked back on.
        rearm: Blocks without the condition that end an excursion.

    Raises:
        RecipeError: Not 1 ≤ k ≤ n, or rearm is below 1.
    """

    def __init__(self, k: int, n: int, rearm: int) -> None:
        refuse_impossible(k, n, rearm)
        self.k, self.n, self.rearm = k, n, rearm
        self.forget()

    def forget(self) -> None:
        """Start afresh, as if nothing had been heard."""
        self._above: deque[bool] = deque(maxlen=self.n)
        self._quiet = self.rearm  # blocks since the condition last held, as far as they matter

    @property
    def excursion(self) -> bool:
        """Whether an alarm went off and its excursion has not ended."""
        return self._quiet < self.rearm

    def see(self, above: bool) -> bool:
        """Count one judged block; whether an alarm goes off at it."""
        self._above.append(bool(above))
        if sum(self._above) < self.k:
            self._quiet = min(self._quiet + 1, self.rearm)
            return False
        alarm = not self.excursion
        self._quiet = 0
        return alarm

    def to_json(self) -> dict[str, Any]:
        """What is remembered, as plain values."""
        return {"above": [int(each) for each in self._above], "quiet": self._quiet}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up what `to_json` gave."""
        self._above = deque((bool(each) for each in saved["above"]), maxlen=self.n)
        self._quiet = int(saved["quiet"])


def kth_largest(score: np.ndarray, k: int, n: int, segment: np.ndarray) -> np.ndarray:
    """The k-th largest of the last n scores of the same segment, v above; −∞ where there are fewer than k, `(N,)`.

    Args:
        score: Of judged blocks in time order, `(N,)`.
        k: Which one.
        n: Blocks that are looked back on, the block itself among them.
        segment: Number of the unbroken stretch that each block lies in, never falling, `(N,)`.
    """
    top = np.full((k, len(score)), -np.inf)
    for back in range(min(n, len(score))):
        value = np.full(len(score), -np.inf)
        same = segment[back:] == segment[: len(score) - back]
        value[back:] = np.where(same, score[: len(score) - back], -np.inf)
        for place in range(k):
            top[place], value = np.maximum(top[place], value), np.minimum(top[place], value)
    return top[-1]


def alarm_blocks(holds: np.ndarray, rearm: int, segment: np.ndarray) -> np.ndarray:
    """Numbers of the blocks at which an alarm goes off.

    Args:
        holds: Whether the condition holds at each block, `(N,)`.
        rearm: Blocks without the condition that end an excursion.
        segment: As in `kth_largest`, `(N,)`.
    """
    place = np.flatnonzero(holds)
    apart = (np.diff(place) > rearm) | (np.diff(segment[place]) != 0)
    return place[np.concatenate([[True], apart])] if len(place) else place


def segments(start: np.ndarray, n: int, block_seconds: float) -> np.ndarray:
    """Number of the unbroken stretch that each block lies in, `(N,)`.

    Args:
        start: Of each judged block in seconds, in time order, `(N,)`.
        n: Blocks that are looked back on.
        block_seconds: From the start of one block to the start of the next.
    """
    missing = np.diff(start, prepend=start[:1] - block_seconds) - block_seconds
    return np.cumsum(missing > hole_seconds(n, block_seconds))
