"""A stream of samples cut into windows as it goes, where a whole recording would be cut.

    place and value of each sample ──► window 0, window 1, …      window k from sample round(k · seconds · rate)

What is held is one window, however long the stream. A sample is NaN where none came; windows of which nothing came are
told of together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stethos.signal.quality import LACKING


class Cut(NamedTuple):
    """A window of the stream, or windows of which nothing has come.

    Args:
        number: Of the window, from 0.
        start: Its first sample.
        values: `(T,)` float32, NaN where a sample is missing; empty for windows without any.
        windows: How many.
    """

    number: int
    start: int
    values: np.ndarray
    windows: int = 1


class Cutter:
    """Cuts samples into windows from the first on, as a recording is cut.

    Args:
        rate: Hz.
        seconds: Length of a window.
    """

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate, self.seconds, self.number = rate, seconds, 0
        self.held = np.full(math.ceil(seconds * rate) + 1, np.nan, np.float32)

    def put(self, place: int, value: float) -> Iterator[Cut]:
        """Windows that end before this place, after which it holds the value; a sample that is there stays.

        Args:
            place: Counted from the first sample; one before the current window is dropped.
            value: NaN for a missing sample.
        """
        if place >= self._start(self.number + 1):
            yield self._cut()
            yield from self._skipped(place)
        offset = place - self._start(self.number)
        if offset >= 0 and np.isnan(self.held[offset]):
            self.held[offset] = value

    def end(self, total: int) -> Iterator[Cut]:
        """The window that the end completes, up to 1 % of its length; or the whole stream where it is too short.

        Args:
            total: Samples in all.
        """
        complete = int(total / self.rate / self.seconds + LACKING)
        if total and (complete > self.number or self.number == 0):
            yield self._cut(total)

    def _start(self, number: int) -> int:
        return round(number * self.seconds * self.rate)

    def _cut(self, stop: int | None = None) -> Cut:
        start = self._start(self.number)
        stop = self._start(self.number + 1) if stop is None else stop
        cut = Cut(self.number, start, self.held[: stop - start].copy())
        self.held[:] = np.nan
        self.number += 1
        return cut

    def _skipped(self, place: int) -> Iterator[Cut]:
        """Whole windows that were jumped over."""
        number = max(self.number, int(place / (self.seconds * self.rate)) - 1)
        while place >= self._start(number + 1):
            number += 1
        if number > self.number:
            first, self.number = self.number, number
            yield Cut(first, self._start(first), self.held[:0], number - first)
