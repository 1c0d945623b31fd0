"""Where in its cycle a heart is at each sample of an ECG: a turn from R peak to R peak."""

from __future__ import annotations

import numpy as np

SHORTEST, LONGEST = 0.3, 2.0  # s, of an RR interval that a heart can keep
UNUSUAL = 0.2  # relative to the median: an interval farther off is an ectopic beat's, or was read wrongly


def cardiac_phase(peaks: np.ndarray, samples: int) -> np.ndarray:
    """Radians since the last R peak, rising by 2π from peak to peak, in [0, 2π), `(samples,)`.

    Args:
        peaks: Samples of R peaks, rising, `(beats,)`; fractions are allowed.
        samples: Length of the recording.

    Returns:
        NaN before the first peak and from the last one on, for there the interval is not known; all NaN under two
        peaks.
    """
    phase = np.full(samples, np.nan)
    if len(peaks) < 2:
        return phase
    at = np.arange(samples)
    inside = (at >= peaks[0]) & (at < peaks[-1])
    phase[inside] = 2 * np.pi * (np.interp(at[inside], peaks, np.arange(len(peaks))) % 1)
    return phase


def usual_intervals(peaks: np.ndarray, rate: float) -> np.ndarray:
    """Which RR intervals are of ordinary beats, `(beats − 1,)`.

    Those of 0.3 to 2 s that are within a fifth of the median; where that leaves none, as in fibrillation, all of 0.3
    to 2 s.

    Args:
        peaks: Samples of R peaks, rising, `(beats,)`.
        rate: Hz.
    """
    lengths = np.diff(peaks) / rate
    possible = (lengths >= SHORTEST) & (lengths <= LONGEST)
    if not possible.any():
        return possible
    middle = np.median(lengths[possible])
    usual = possible & (np.abs(lengths - middle) <= UNUSUAL * middle)
    return usual if usual.any() else possible


def circular_resample(values: np.ndarray, frames: int, at: np.ndarray | None = None) -> np.ndarray:
    """A periodic course at evenly spaced phases, by lines between neighbours, the last and the first among them.

    Args:
        values: One cycle, `(F, ...)`.
        frames: How many are wanted.
        at: Phases of the values in [0, 1), rising, `(F,)`; evenly spaced from 0 where None.

    Returns:
        `(frames, ...)`; frame f at phase f / frames.
    """
    count = len(values)
    at = np.arange(count) / count if at is None else np.asarray(at, float)
    wanted = np.arange(frames) / frames
    right = np.searchsorted(at, wanted, side="right")
    left = right - 1  # −1 is the last frame of the cycle before
    before = np.where(left < 0, at[-1] - 1, at[left])
    after = np.where(right == count, at[0] + 1, at[right % count])
    part = ((wanted - before) / (after - before)).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - part) * values[left] + part * values[right % count]
