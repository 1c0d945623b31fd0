"""Rates from marks: beats or breaths that somebody marked in a recording."""

from __future__ import annotations

import numpy as np


def marked_rate(seconds: np.ndarray, until: float | None = None) -> float | None:
    """How often something was marked, per minute, from the first mark to the last.

        rate = 60 (n − 1) / (t_n − t_1)

    Args:
        seconds: Times of the marks in any order, `(n,)`; a time that stands twice counts once.
        until: End of the recording in seconds; later marks do not count.

    Returns:
        1/min, rounded to 0.01; None with fewer than three marks.
    """
    times = np.unique(np.asarray(seconds, np.float64))
    times = times[np.isfinite(times) & (times >= 0) & (times <= (np.inf if until is None else until))]
    return round(60 * (len(times) - 1) / float(times[-1] - times[0]), 2) if len(times) > 2 else None
