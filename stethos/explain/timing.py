"""The rhythm as a part of its own: the same waves, at even distances.

From the first to the last R, P to T of every beat keep their shape and move together; only TP is stretched or
shortened. The new RR are the most even ones that fit,

    RR'_i = max(λ, m_i)        Σ RR'_i = Σ RR_i

with m_i what the waves themselves need; so RR'_i is the mean RR wherever that is possible. Beats move by whole samples,
so that no wave is interpolated, and an irregularity below half a sample is none.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from stethos.explain.bounds import PLAYERS
from stethos.explain.segments import Segments


def even_positions(segments: Segments) -> np.ndarray:
    """For each sample of the evenly timed window, where it comes from: a position in samples, `(T,)`.

    Each sample's own number where no R would move by a whole sample.
    """
    samples = np.arange(segments.windows.shape[1], dtype=np.float64)
    start, stop = _complexes(segments)
    if len(start) < 3:
        return samples
    r = segments.r * segments.rate
    away = np.append(0, np.cumsum(most_even(np.diff(r), stop[:-1] - r[:-1] + r[1:] - start[1:]))) - (r - r[0])
    if np.abs(away).max() < 1:
        return samples
    away = np.rint(np.round(away, 6))  # half a sample falls on the same side whatever the last bits of the root
    # knots: each complex keeps its samples; what lies between two of them is stretched
    new = np.stack([start + away, stop + away], axis=1).ravel()
    new = np.maximum.accumulate(new)  # two that touch can overlap by a sample after rounding
    old = np.stack([start, stop], axis=1).ravel()
    inside = (samples >= new[0]) & (samples <= new[-1])
    return np.where(inside, np.interp(samples, new, old), samples)


def retimed(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Values along the last axis, read at the given positions by straight lines.

    Args:
        values: `(..., T)`.
        positions: In samples, from 0 to T − 1, `(T,)`.
    """
    below = np.floor(positions).astype(np.int64)
    above = np.minimum(below + 1, values.shape[-1] - 1)
    part = (positions - below).astype(values.dtype)
    return values[..., below] * (1 - part) + values[..., above] * part


def _complexes(segments: Segments) -> tuple[np.ndarray, np.ndarray]:
    """First and last sample of the waves of each beat, `(beats,)` each."""
    waves = segments.times[:, : PLAYERS.index("TP")].reshape(len(segments.r), -1) * segments.rate
    last = segments.windows.shape[1] - 1
    start, stop = np.floor(np.nanmin(waves, axis=1)), np.minimum(np.ceil(np.nanmax(waves, axis=1)), last)
    start[1:] = np.maximum(start[1:], stop[:-1])
    return start, stop


def most_even(rr: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The most even RR of the same sum that leave room for the waves, max(λ, m).

    Args:
        rr: As they are, `(beats - 1,)`.
        least: What the waves need of each, m, at most `rr`.
    """
    total = rr.sum()
    if total <= least.sum():
        return least
    level = brentq(lambda rr: np.maximum(rr, least).sum() - total, 0, total)
    return np.maximum(level, least)
