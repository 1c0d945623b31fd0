"""Which stretches of an ECG lead can be judged, and why the others cannot.

A recording is cut into windows of the length a network reads, and each is refused for the first reason that
holds: short, missing, flat, clipped, lead off, noise. What remains is scored by how far its beats stand out and
how much their QRS complexes look alike,

    score = contrast / (contrast + 3) · agreement

with `contrast` the slope that beats reach over the usual slope, about 2 in noise and 12 in a good strip, and
`agreement` the median correlation of each QRS with the median QRS. Irregular rhythm alone lowers neither.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stethos.signal.beats import contrast, cut_beats, inverted, r_peaks
from stethos.types import Signal

Reason = Literal["", "short", "missing", "flat", "clipped", "lead off", "noise"]

# A 30 s strip of a watch holds 29.95 s: so much of a window's length may be lacking at its end.
LACKING = 0.01
MISSING = 0.05  # of the samples: a bridged gap longer than half a second of 10 s may hide a beat
FLAT_SECONDS = 0.5  # no living heart leaves a recorder at one and the same value for so long
FLAT = 0.2  # of the window
FLAT_MILLIVOLT = 0.05  # between the 1st and 99th percentile; at least 0.15 in 4236 leads of PTB-XL
CLIPPED = 0.01  # of the samples at the extremes; 4859 windows of PTB-XL and CinC 2017 have 0.4 % at most
CLIPPED_TIMES = 3  # separate stretches: some recorders hold the last value of a strip
CLIPPED_RUN = 3  # samples in a row: a sharp R leaves one or two at its top
EXCURSION_MILLIVOLT = 8.0  # 99th percentile from the median; at most 4.9 in 4236 leads of PTB-XL
OFFSET_MILLIVOLT = 300.0  # electrode offset a recorder must bear, IEC 60601-2-25
# On CinC 2017 this refuses 83 % of the windows of 20 strips that readers called noise and 4.3 % of those of 180
# others; of 353 PTB-XL leads I, 2. It was chosen on those same recordings.
NOISE_SCORE = 0.5
NOISE_CONTRAST = 3.0


@dataclass(frozen=True)
class Window:
    """A stretch of a recording and whether it can be judged.

    Args:
        start: Seconds from the first sample.
        stop: Seconds from the first sample.
        ok: Whether it can.
        reason: Why not: "short", "missing", "flat", "clipped", "lead off" or "noise"; "" where it can.
        score: From 0, unusable, to 1; 0 where refused for anything but noise.
        inverted: Whether the recording seems upside down; that is no reason to refuse.
    """

    start: float
    stop: float
    ok: bool
    reason: Reason
    score: float
    inverted: bool


def windows(lead: Signal, seconds: float = 10.0) -> list[Window]:
    """Cut one lead into windows that do not overlap and judge each; an incomplete last one is left out.

    A last window that lacks up to 1 % of its length counts as complete. A recording without any complete window
    gives one, refused as "short". Amplitudes are judged only in mV, polarity over the whole recording.

    Args:
        lead: One channel of ECG, above 50 Hz.
        seconds: Length of a window.

    Raises:
        ChannelError: The signal has several channels.
        RateError: It has too low a rate to tell beats.
    """
    upside_down = inverted(lead, r_peaks(lead))
    count = int(lead.duration / seconds + LACKING)
    if count == 0:
        return [Window(0.0, lead.duration, False, "short", 0.0, upside_down)]
    judged = []
    for i in range(count):
        start, stop = i * seconds, min((i + 1) * seconds, lead.duration)
        reason, score = _judge(lead.crop(start, stop))
        judged.append(Window(start, stop, reason == "", reason, score, upside_down))
    return judged


def _judge(lead: Signal) -> tuple[Reason, float]:
    """First reason to refuse a window, and its score."""
    trace = lead.values[0].astype(np.float64)
    known = trace[np.isfinite(trace)]
    if len(known) < (1 - MISSING) * len(trace):
        return "missing", 0.0
    if _is_flat(known, lead):
        return "flat", 0.0
    if _is_clipped(known):
        return "clipped", 0.0
    if lead.unit == "mV" and _is_off(known):
        return "lead off", 0.0
    score = _score(lead)
    return ("noise" if score < NOISE_SCORE else ""), score


def _is_flat(trace: np.ndarray, lead: Signal) -> bool:
    low, high = np.percentile(trace, [1, 99])
    if lead.unit == "mV" and high - low < FLAT_MILLIVOLT:
        return True
    still = np.abs(np.diff(trace)) <= 1e-6 * np.ptp(trace)
    runs = _runs(still)
    return bool(runs[runs >= FLAT_SECONDS * lead.rate].sum() > FLAT * len(trace))


def _is_clipped(trace: np.ndarray) -> bool:
    margin = 1e-3 * np.ptp(trace)
    runs = np.concatenate([_runs(trace >= trace.max() - margin), _runs(trace <= trace.min() + margin)])
    runs = runs[runs >= CLIPPED_RUN]
    return bool(len(runs) >= CLIPPED_TIMES and runs.sum() > CLIPPED * len(trace))


def _is_off(trace: np.ndarray) -> bool:
    middle = np.median(trace)
    return bool(abs(middle) > OFFSET_MILLIVOLT or np.percentile(np.abs(trace - middle), 99) > EXCURSION_MILLIVOLT)


def _score(lead: Signal) -> float:
    """Contrast and agreement of the beats as one number from 0 to 1; 0 under two beats."""
    beats, r = cut_beats(lead, r_peaks(lead))
    if len(beats) < 2:
        return 0.0
    reach = round(0.1 * lead.rate)
    qrs = beats[:, max(0, r - reach) : r + reach]  # (beats, T)
    qrs = qrs - qrs.mean(axis=1, keepdims=True)
    usual = np.median(qrs, axis=0)
    power = np.linalg.norm(qrs, axis=1) * np.linalg.norm(usual)
    agreement = np.median(qrs @ usual / np.maximum(power, np.finfo(float).tiny))
    height = contrast(lead)
    return float(max(0.0, agreement) * height / (height + NOISE_CONTRAST))


def _runs(marked: np.ndarray) -> np.ndarray:
    """Lengths of the runs of True."""
    edges = np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
