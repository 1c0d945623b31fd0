"""Which rows a training step sees.

Pure functions of (seed, step): the same on every process, and the same again after a resume. A process takes
its share of the rows they return.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from stethos.errors import CohortError


def epoch_rows(n: int, step: int, batch: int, seed: int) -> np.ndarray:
    """Rows of one step of shuffled passes without replacement; a step may end one pass and begin the next.

    Args:
        n: Rows there are.
        step: From 0.
        batch: Rows in the whole step, on all processes together.
        seed: Of the shuffles.

    Returns:
        Row numbers, `(batch,)`.

    Raises:
        CohortError: There are no rows.
    """
    if n < 1:
        raise CohortError("a training set needs at least one record; this one has none")
    return _stream(n, step * batch, (step + 1) * batch, (seed, 0))


def balanced_rows(labels: np.ndarray, step: int, batch: int, seed: int) -> np.ndarray:
    """Rows of one step with every class equally often, to within one over all steps so far.

    Each class is a stream of shuffled passes of its own, so its rows are seen equally often too.

    Args:
        labels: Class of every row, NaN for unknown (never drawn), `(N,)`.
        step: From 0.
        batch: Rows in the whole step, on all processes together.
        seed: Of the shuffles.

    Returns:
        Row numbers in random order, `(batch,)`.

    Raises:
        CohortError: Fewer than two classes are known.
    """
    classes = np.unique(labels[~np.isnan(labels)])
    if len(classes) < 2:
        held = ", ".join(f"{item:g}" for item in classes) or "none"
        raise CohortError(f"a balanced draw needs rows of at least two classes; the known classes are: {held}")
    count = len(classes)
    drawn = []
    for place, item in enumerate(classes):
        rows = np.flatnonzero(labels == item)
        # floor((x + k) / K) over k = 0 … K − 1 sums to x (Hermite): shares that fill each step exactly
        start, stop = ((steps * batch + place) // count for steps in (step, step + 1))
        drawn.append(rows[_stream(len(rows), start, stop, (seed, place + 1))])
    # last number: which kind of stream; never 0, for numpy's seeds ignore trailing zeros
    return np.random.default_rng((seed, step, 0, 2)).permutation(np.concatenate(drawn))


def _stream(n: int, start: int, stop: int, key: tuple[int, int]) -> np.ndarray:
    """Items start … stop of an endless row of shuffled passes over 0 … n − 1."""
    place = np.arange(start, stop)
    rows = np.empty(len(place), np.int64)
    for epoch in range(start // n, (stop - 1) // n + 1) if stop > start else ():
        here = place // n == epoch
        rows[here] = _shuffle(n, (*key, epoch, 1))[place[here] % n]
    return rows


@lru_cache(maxsize=64)
def _shuffle(n: int, key: tuple[int, int, int, int]) -> np.ndarray:
    order = np.random.default_rng(key).permutation(n)
    order.flags.writeable = False
    return order
