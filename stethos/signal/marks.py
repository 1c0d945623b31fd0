"""From what each sample of a lead is to where the waves of each beat begin, peak and end.

A wave is a run of samples that are more likely it than not. QRS is the run at R. P and T are looked for between the
QRS complexes; of their evidence one half is the beat's own and the other the mean over all beats aligned on R, so that
neither noise in one beat takes its wave away nor chance gives it one: what fibrillation draws before one beat, it
does not draw before the others.
"""

from __future__ import annotations

import numpy as np

from stethos.signal.beats import inverted
from stethos.signal.delineator import QRS, RATE, P, T, Weights, prepared, shares
from stethos.types import Signal

QRS_AWAY = 0.06  # seconds between R and a QRS that is another's
P_BEFORE, T_AFTER = 0.5, 0.75  # seconds from QRS in which a wave belongs to it
P_LEAST, T_LEAST = 0.02, 0.03  # seconds: the least probability, summed over time, that is a wave

SHORTEST_SECONDS = 1.0

Runs = np.ndarray
"""Start and stop in seconds and the probability summed over time, in seconds, of each run, `(runs, 3)`."""


def marked(lead: Signal, beats: np.ndarray, weights: Weights) -> dict[str, np.ndarray]:
    """Bounds and peaks of the waves of each beat in seconds; nothing where there is too little to see.

    Args:
        lead: One channel of ECG of either polarity.
        beats: Sample numbers of R peaks in rising order, `(beats,)`.
        weights: Of the network.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    if not len(beats) or lead.duration < SHORTEST_SECONDS:
        return {}
    sign = -1.0 if inverted(lead, beats) else 1.0
    trace = sign * prepared(lead)
    return marks(shares(trace, weights), trace, beats / lead.rate)


def marks(share: np.ndarray, trace: np.ndarray, r: np.ndarray) -> dict[str, np.ndarray]:
    """Bounds and peaks of the waves of each beat in seconds, NaN where there is none, each `(beats,)`.

    Args:
        share: Probability of nothing, P, QRS and T, `(4, T)`.
        trace: What they were told from, at `RATE`, `(T,)`.
        r: Times of R in rising order, seconds, `(beats,)`.
    """
    qrs = _complexes(runs(share[QRS]), r, len(trace) / RATE)
    start = np.where(np.isfinite(qrs[:, 0]), qrs[:, 0], r)
    stop = np.where(np.isfinite(qrs[:, 1]), qrs[:, 1], r)
    before, after = np.append(-np.inf, stop)[:-1], np.append(start, np.inf)[1:]
    p, t = (runs(0.5 * (share[kind] + usual(share[kind], r, kind == P))) for kind in (P, T))
    p = _waves(p, np.maximum(before, start - P_BEFORE), start, P_LEAST)
    t = _waves(t, stop, np.minimum(after, stop + T_AFTER), T_LEAST)
    found = {"p_on": p[:, 0], "p_peak": _peaks(trace, p), "p_off": p[:, 1], "qrs_on": qrs[:, 0], "qrs_off": qrs[:, 1]}
    return found | {"t_on": t[:, 0], "t_peak": _peaks(trace, t), "t_off": t[:, 1]}


def runs(share: np.ndarray) -> Runs:
    """Where a probability is a half or more; bounds are where the line between two samples crosses a half."""
    padded = np.concatenate([[0.0], share, [0.0]])
    above = padded >= 0.5
    first = np.flatnonzero(above[1:] & ~above[:-1])  # the sample before the run, in `padded`
    last = np.flatnonzero(above[:-1] & ~above[1:])  # its last sample
    on = first + (0.5 - padded[first]) / (padded[first + 1] - padded[first])
    off = last + (padded[last] - 0.5) / (padded[last] - padded[last + 1])
    total = np.cumsum(padded)
    return (
        np.stack([np.maximum(on - 1, 0), np.minimum(off - 1, len(share) - 1), total[last] - total[first]], axis=1)
        / RATE
    )


def usual(share: np.ndarray, r: np.ndarray, before: bool) -> np.ndarray:
    """The mean over beats aligned on R, laid down at every beat, `(T,)`.

    Args:
        share: Probability of a wave, `(T,)`.
        r: Times of R, seconds, `(beats,)`.
        before: The wave comes before R, within half an RR interval; else after, up to the next R.
    """
    at = np.rint(r * RATE).astype(np.int64)
    if before:
        low, high = np.append(0, (at[:-1] + at[1:]) // 2)[: len(at)], at
        step = np.arange(-round((P_BEFORE + QRS_AWAY) * RATE), 0)
    else:
        low, high = at, np.append(at, len(share))[1:]
        step = np.arange(round((T_AFTER + QRS_AWAY) * RATE))
    place = at[:, None] + step  # (beats, W)
    inside = (place >= np.maximum(low, 0)[:, None]) & (place < np.minimum(high, len(share))[:, None])
    held = np.where(inside, share[np.clip(place, 0, len(share) - 1)], 0.0)
    mean = held.sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    laid = np.zeros(len(share))
    laid[place[inside]] = np.broadcast_to(mean, place.shape)[inside]
    return laid


def _complexes(found: Runs, r: np.ndarray, seconds: float) -> np.ndarray:
    """The largest run at each R, stretched to hold it, `(beats, 2)`."""
    bounds = np.full((len(r), 2), np.nan)
    for beat, time in enumerate(r):
        near = found[(found[:, 0] <= time + QRS_AWAY) & (found[:, 1] >= time - QRS_AWAY)]
        if len(near):
            start, stop, _ = near[near[:, 2].argmax()]
            bounds[beat] = min(start, time), max(stop, time)
    return bounds


def _waves(found: Runs, low: np.ndarray, high: np.ndarray, least: float) -> np.ndarray:
    """The largest run whose middle lies between two bounds of each beat, cut at them, `(beats, 2)`."""
    bounds = np.full((len(low), 2), np.nan)
    middle = found[:, :2].mean(axis=1)
    for beat, (start, stop) in enumerate(zip(low, high, strict=True)):
        between = found[(middle > start) & (middle < stop) & (found[:, 2] >= least)]
        if len(between):
            bounds[beat] = np.clip(between[between[:, 2].argmax(), :2], start, stop)
    return bounds


def _peaks(trace: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Where a wave is farthest from the level between its ends, seconds, `(beats,)`."""
    times = np.full(len(bounds), np.nan)
    for beat in np.flatnonzero(np.isfinite(bounds[:, 0])):
        first = min(int(np.ceil(bounds[beat, 0] * RATE)), len(trace) - 1)
        last = max(first, min(int(bounds[beat, 1] * RATE), len(trace) - 1))
        away = np.abs(trace[first : last + 1] - 0.5 * (trace[first] + trace[last]))
        times[beat] = np.clip((first + away.argmax()) / RATE, *bounds[beat])
    return times
