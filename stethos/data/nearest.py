"""Which of one subject's events are close to which, in time.

Candidates come sorted from the closest outwards, so that choosing is taking the first.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import numpy as np

Direction = Literal["nearest", "before", "after"]


def candidates(
    records: tuple[np.ndarray, np.ndarray],
    values: tuple[np.ndarray, np.ndarray],
    span: timedelta,
    direction: Direction,
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of a record and a value of one subject that lie within the window, the closest first.

    Args:
        records: Subject `(N,)` and start `(N,)`, datetime64[s]; NaT is close to nothing.
        values: Subject `(M,)` and time `(M,)`, datetime64[s], all known.
        span: Largest distance, included.
        direction: Side of the record on which the value may lie.

    Returns:
        Row of the record and row of the value, `(P,)` each. Of equal distances the value that came first is
        first, then the record and the value of the lower row.
    """
    seconds = int(span.total_seconds())
    known = np.flatnonzero(~np.isnat(records[1]))
    start, drawn = records[1][known].astype(np.int64), values[1].astype(np.int64)
    subjects, code = np.unique(np.concatenate([records[0][known], values[0]]), return_inverse=True)
    moments = np.concatenate([start, drawn])
    # all subjects on one line, further apart than any window reaches
    stride = int(np.ptp(moments)) + 2 * seconds + 1 if len(moments) else 1
    assert stride < 2**62 // max(1, len(subjects))
    place = code * stride + moments - (moments.min() if len(moments) else 0)
    early, late = (0 if direction == "after" else seconds), (0 if direction == "before" else seconds)
    record, value = _between(place[: len(known)] - early, place[: len(known)] + late, place[len(known) :])
    delta = drawn[value] - start[record]
    order = np.lexsort((value, record, delta > 0, np.abs(delta)))
    return known[record][order], value[order]


def _between(low: np.ndarray, high: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every (i, j) with low[i] ≤ places[j] ≤ high[i], `(P,)` each."""
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], low, "left")
    count = np.searchsorted(places[order], high, "right") - first
    row = np.repeat(np.arange(len(low)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, order[first[row] + nth]


def closest(record: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """The first value of each record, −1 for none, `(N,)`."""
    chosen = np.full(count, -1)
    rows, first = np.unique(record, return_index=True)
    chosen[rows] = value[first]
    return chosen


def pair_off(record: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """Pairs taken from the closest outwards while both sides are free; −1 for none, `(N,)`."""
    chosen = np.full(count, -1)
    used: set[int] = set()
    for row, item in zip(record.tolist(), value.tolist(), strict=True):
        if chosen[row] < 0 and item not in used:
            chosen[row] = item
            used.add(item)
    return chosen
