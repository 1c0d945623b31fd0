"""From found waves to parts that an explanation can stand on.

Two things are done to what `signal.waves` finds. P waves count only if half of the beats have one, at about the same
time before R: an explanation speaks of a wave of the recording, not of one beat. And single bounds far from those of
the other beats are put in their place.
"""

from __future__ import annotations

import numpy as np

from stethos.errors import QualityError
from stethos.signal.waves import Waves, waves
from stethos.types import Signal

PLAYERS = ("P", "PR", "QRS", "ST", "T", "TP")

# Seconds a bound may be from the median of all beats; P jumps least, since the atrium drives the ventricle.
_P_AWAY, _QRS_AWAY, _T_AWAY = 0.04, 0.06, 0.10
_P_SHARE = 0.5  # of the beats, for a P wave to be there


def beat_bounds(lead: Signal) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop of every part of every beat.

    Args:
        lead: One channel of ECG, unprepared.

    Returns:
        R peaks, `(beats,)`, and bounds of `PLAYERS` of each, NaN where absent, `(beats, 6, 2)`, in seconds from the
        first sample. TP goes from the end of a beat to the start of the next.

    Raises:
        QualityError: Fewer than two beats are found.
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    found = waves(lead)
    if len(found) < 2 or not np.isfinite(found.qrs_on).any() or not np.isfinite(found.qrs_off).any():
        raise QualityError(
            f"an explanation by waves needs two beats or more; {len(found)} were found in {lead.duration:.1f} s; "
            f"record again at rest"
        )
    qrs, t = (
        np.stack([_steady(bound, found.r, away) for bound in pair], axis=1)
        for pair, away in (((found.qrs_on, found.qrs_off), _QRS_AWAY), ((found.t_on, found.t_off), _T_AWAY))
    )
    return found.r, _in_order(_p_waves(found), qrs, t)


def _in_order(p: np.ndarray, qrs: np.ndarray, t: np.ndarray) -> np.ndarray:
    """All parts without overlaps: QRS before all, then P, then T, `(beats, 6, 2)`."""
    qrs[:-1, 1] = np.minimum(qrs[:-1, 1], qrs[1:, 0])
    p[1:, 0] = np.maximum(p[1:, 0], qrs[:-1, 1])
    p[:, 1] = np.minimum(p[:, 1], qrs[:, 0])
    p[~(p[:, 1] > p[:, 0])] = np.nan
    start = np.where(np.isfinite(p[:, 0]), p[:, 0], qrs[:, 0])
    t[:, 0] = np.maximum(t[:, 0], qrs[:, 1])
    t[:-1, 1] = np.minimum(t[:-1, 1], start[1:])
    t[~(t[:, 1] > t[:, 0])] = np.nan
    stop = np.where(np.isfinite(t[:, 1]), t[:, 1], qrs[:, 1])
    pr = np.stack([p[:, 1], np.where(np.isfinite(p[:, 1]), qrs[:, 0], np.nan)], axis=1)
    st = np.stack([np.where(np.isfinite(t[:, 0]), qrs[:, 1], np.nan), t[:, 0]], axis=1)
    rest = np.stack([stop, np.append(start[1:], np.nan)], axis=1)
    parts = np.stack([p, pr, qrs, st, t, rest], axis=1)
    parts[~(parts[..., 1] > parts[..., 0])] = np.nan
    return parts


def _steady(bound: np.ndarray, r: np.ndarray, away: float) -> np.ndarray:
    """A bound whose distance from R is missing or far from the usual one is put at the usual one."""
    offset = bound - r
    if not np.isfinite(offset).any():
        return bound.copy()
    usual = np.nanmedian(offset)
    return r + np.where(np.abs(offset - usual) <= away, offset, usual)


def _p_waves(found: Waves) -> np.ndarray:
    """P of each beat, NaN where it has none; NaN throughout if few beats have one, `(beats, 2)`."""
    p = np.stack([found.p_on, found.p_off], axis=1)
    offset = p - found.r[:, None]
    known = np.isfinite(offset).all(axis=1)
    if not known.any():
        return np.full_like(p, np.nan)
    kept = (np.abs(offset - np.median(offset[known], axis=0)) <= _P_AWAY).all(axis=1)
    return np.where((kept & (kept.mean() >= _P_SHARE))[:, None], p, np.nan)
