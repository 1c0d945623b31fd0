"""From found waves to parts that an explanation can stand on.

Three things are done to what `signal.waves` finds. A P wave counts only if it is there when beats are averaged on
R: waves of fibrillation average out. QRS is widened from the troughs of Q and S, where the method puts its bounds, to
where the trace is level. And single bounds far from those of the other beats are put in their place.
"""

from __future__ import annotations

import numpy as np

from stethos.errors import QualityError
from stethos.signal.filter import lowpass
from stethos.signal.gaps import bridge
from stethos.signal.waves import Waves, waves
from stethos.types import Signal

PLAYERS = ("P", "PR", "QRS", "ST", "T", "TP")

# Seconds a bound may be from the median of all beats; P jumps least, since the atrium drives the ventricle.
_P_AWAY, _QRS_AWAY, _T_AWAY = 0.04, 0.06, 0.10
_P_SHARE = 0.5  # of the beats, for a P wave to be there
# At most 7.2 in 51 recordings of atrial fibrillation, 9 real (PTB-XL) and 42 simulated; above 8 in 115 of 120 real
# ones in sinus rhythm and in all of 120 simulated ones.
_P_RATIO = 8.0
_SLOPE_BAND = 40.0  # Hz
_LEVEL_SLOPES = (0.1, 0.05)  # of the steepest slope of QRS, before and after it; P is closer and steeper than ST
_BEYOND_TROUGH = 0.05  # seconds


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
    trace = bridge(lowpass(lead, min(_SLOPE_BAND, 0.4 * lead.rate)).values)[0][0]
    qrs = _widened(trace, found, lead.rate)
    p = _p_waves(trace, found, lead.rate)
    t = np.stack([_steady(bound, found.r, _T_AWAY) for bound in (found.t_on, found.t_off)], axis=1)
    return found.r, _in_order(p, qrs, t)


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


def _widened(trace: np.ndarray, found: Waves, rate: float) -> np.ndarray:
    """QRS of each beat, out to where the slope stays under a small part of its steepest, `(beats, 2)`.

    The median of what single beats need is added to all of them: noise has slopes as well.
    """
    on, off = (_steady(bound, found.r, _QRS_AWAY) for bound in (found.qrs_on, found.qrs_off))
    slope = np.abs(np.gradient(trace))
    more = np.array([_to_level(slope, *beat, rate) for beat in zip(on, found.r, off, strict=True)])  # (beats, 2)
    before, after = np.median(more, axis=0)
    return np.stack([np.maximum(on - before, 0), np.minimum(off + after, len(trace) / rate)], axis=1)


def _to_level(slope: np.ndarray, on: float, r: float, off: float, rate: float) -> tuple[float, float]:
    """Seconds before `on` and after `off` to the farthest steep sample of one beat."""
    first, peak, last = (int(np.clip(round(time * rate), 0, len(slope) - 1)) for time in (on, r, off))
    reach = round(_BEYOND_TROUGH * rate)
    steepest = slope[max(0, peak - reach) : peak + reach + 1].max()
    before = np.flatnonzero(slope[max(0, first - reach) : first + 1][::-1] > _LEVEL_SLOPES[0] * steepest)
    after = np.flatnonzero(slope[last : last + reach + 1] > _LEVEL_SLOPES[1] * steepest)
    return (before.max() / rate if len(before) else 0.0), (after.max() / rate if len(after) else 0.0)


def _p_waves(trace: np.ndarray, found: Waves, rate: float) -> np.ndarray:
    """P of each beat, NaN where it has none; NaN throughout if no P wave is locked to R, `(beats, 2)`."""
    p = np.stack([found.p_on, found.p_off], axis=1)
    offset = p - found.r[:, None]
    known = np.isfinite(offset).all(axis=1)
    if not known.any():
        return np.full_like(p, np.nan)
    start, stop = np.median(offset[known], axis=0)
    kept = (np.abs(offset - (start, stop)) <= _P_AWAY).all(axis=1)
    locked = kept.mean() >= _P_SHARE and variance_ratio(trace, found.r + start, stop - start, rate) > _P_RATIO
    return np.where((kept & locked)[:, None], p, np.nan)


def variance_ratio(trace: np.ndarray, starts: np.ndarray, seconds: float, rate: float) -> float:
    """How much of a stretch repeats from beat to beat: mean square of the average over its expected error.

        F = n · mean_t m(t)² / mean_t s²(t)

    of n stretches without their straight lines, with average m and variance s² over beats. About 1 where nothing
    repeats.

    Args:
        trace: `(T,)`.
        starts: Where the stretches begin, seconds.
        seconds: How long they are.
        rate: Hz.
    """
    width = max(4, round(seconds * rate))
    first = np.rint(starts * rate).astype(np.int64)
    first = first[(first >= 0) & (first + width <= len(trace))]
    if len(first) < 3:
        return 0.0
    stretch = trace[first[:, None] + np.arange(width)]  # (n, width)
    line = np.stack([np.ones(width), np.linspace(-1, 1, width)])
    stretch = stretch - stretch @ np.linalg.pinv(line) @ line
    error = stretch.var(axis=0, ddof=1).mean()
    return float(len(first) * np.mean(stretch.mean(axis=0) ** 2) / error) if error > 0 else 0.0
