"""Which stretches of a pulse can be judged, and why the others cannot.

A recording is cut into windows, and each is refused for the first reason that holds: short, missing, flat, clipped,
motion, noise. What remains is scored by how much its beats look alike and how far they stand out,

    score = agreement · min(1, contrast / 2)

with `agreement` the correlation with the median beat that four beats of five reach, and `contrast` the rise of a beat
over the root mean square between 0.5 and 8 Hz, about 3 in a pulse and less where something larger than beats is in
the window. Beats are compared around their rise alone, so that irregular rhythm lowers neither. No limit is one of
amplitude: a pulse has no unit that means the same on two devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.signal import coherence, welch

from stethos.errors import UnitError
from stethos.signal.gaps import bridge
from stethos.signal.pulse import PULSE_BAND, Traced, traced
from stethos.types import Signal

Reason = Literal["", "short", "missing", "flat", "clipped", "motion", "noise"]

SHORTEST_SECONDS = 3.0  # two whole beats of a slow heart
LACKING = 0.01  # of a window's length, as rounding may take
MISSING = 0.05  # of the samples
FLAT_SECONDS = 1.0  # at one and the same value; a coarse converter may hold the end of a slow beat for half of that
FLAT = 0.2  # of the window
CLIPPED_SECONDS = 0.1  # at an extreme; the top of a beat stays within a thousandth of its height for 15 ms
CLIPPED_TIMES = 3  # separate stretches: one may be an artefact
CLIPPED_MARGIN = 1e-3  # of the range
MODERATE = 0.091  # g, mean deviation of the magnitude: where slow walking begins, doi:10.1371/journal.pone.0134813
STILL = 0.02  # g: a heart shakes a resting wrist by a few thousandths, in step with the pulse and no reason to refuse
EXPLAINED = 0.5  # of the pulse's power, by one axis of acceleration; 0.3 to 0.4 by chance in 8 s, 0.1 in 30 s
SEGMENT_SECONDS = 2.0  # of the coherence
GRAVITY = 9.80665  # m/s2
CONTRAST = 2.0
TEMPLATE_SECONDS = (0.15, 0.45)  # before and after the steepest point, of a beat of a second or more
TEMPLATE_SHARE = (0.25, 0.6)  # of the usual interval, where that is shorter
MOST = 5  # one beat in so many may agree less
# 20 min each of white noise, of white noise through one pole and of a random walk stay below 0.56 in nine windows of
# ten; 14 subjects of MARSH are above 0.95 there. Halfway.
NOISE_SCORE = 0.75
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class Window:
    """A stretch of a pulse and whether it can be judged.

    Args:
        start: Seconds from the first sample.
        stop: Seconds from the first sample.
        ok: Whether it can.
        reason: Why not: "short", "missing", "flat", "clipped", "motion" or "noise"; "" where it can.
        score: From 0, unusable, to 1; 0 where refused for anything but motion and noise.
    """

    start: float
    stop: float
    ok: bool
    reason: Reason
    score: float


def pulse_windows(pulse: Signal, seconds: float = 30.0, motion: Signal | None = None) -> list[Window]:
    """Cut a pulse into windows that do not overlap and judge each.

    What is left over at the end makes a window of its own if it lasts 3 s or more. A recording shorter than that gives
    one window, refused as "short". Gain and polarity change nothing.

    A few beats of noise may look alike: of white noise and random walks no window of 30 s passes, up to 2 % of those of
    8 s do, and 8 to 26 % of those of 3 s.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.
        seconds: Length of a window, 3 s at least.
        motion: Acceleration in g or m/s2, any channels and rate, that starts with the pulse.

    Raises:
        ChannelError: The pulse has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
        UnitError: The motion is in another unit.
    """
    return judged_windows(pulse, traced(pulse), spans(pulse.duration, seconds), motion)


def spans(duration: float, seconds: float) -> list[tuple[float, float]]:
    """Where windows start and stop in seconds; one under 3 s where there is no more.

    Args:
        duration: Of the recording, s.
        seconds: Length of a window.
    """
    count = int(duration / seconds + LACKING)
    cut = [(i * seconds, min((i + 1) * seconds, duration)) for i in range(count)]
    if duration - count * seconds >= (1 - LACKING) * SHORTEST_SECONDS or not cut:
        cut.append((count * seconds, duration))
    return cut


def judged_windows(
    pulse: Signal, found: Traced, stretches: Sequence[tuple[float, float]], motion: Signal | None = None
) -> list[Window]:
    """Judge given stretches of a pulse whose beats are known already.

    Args:
        pulse: As recorded.
        found: From `traced`.
        stretches: From and to in seconds; they may overlap.
        motion: As of `pulse_windows`.

    Raises:
        UnitError: The motion is in another unit.
    """
    moved = None if motion is None else in_g(motion)
    judged = []
    for start, stop in stretches:
        part = pulse.values[0, round(start * pulse.rate) : round(stop * pulse.rate)]
        reason = _defect(part, pulse.rate)
        score = 0.0 if reason else _score(found, start, stop)
        if not reason and moved is not None and _moves(found, moved.crop(start, stop), start, stop):
            reason = "motion"
        elif not reason and score < NOISE_SCORE:
            reason = "noise"
        judged.append(Window(start, stop, reason == "", reason, score))
    return judged


def in_g(motion: Signal) -> Signal:
    """Acceleration in multiples of gravity.

    Args:
        motion: In g or m/s2.

    Raises:
        UnitError: It is in another unit.
    """
    if motion.unit == "g":
        return motion
    if motion.unit == "m/s2":
        return Signal(motion.values / GRAVITY, motion.rate, motion.channels, "g")
    raise UnitError(f'motion needs the unit "g" or "m/s2"; got "{motion.unit}"; state the unit of the accelerometer')


def _defect(part: np.ndarray, rate: float) -> Reason:
    """What is wrong with the samples `(T,)` as such."""
    if len(part) < (1 - LACKING) * SHORTEST_SECONDS * rate:
        return "short"
    known = part[np.isfinite(part)]
    if len(known) < (1 - MISSING) * len(part):
        return "missing"
    if _long_runs(known[1:] == known[:-1], FLAT_SECONDS * rate).sum() > FLAT * len(part):
        return "flat"
    low, high = known.min(), known.max()
    margin = CLIPPED_MARGIN * (high - low)
    for at_rail in (known >= high - margin, known <= low + margin):
        if len(_long_runs(at_rail, max(3, CLIPPED_SECONDS * rate))) >= CLIPPED_TIMES:
            return "clipped"
    return ""


def _score(found: Traced, start: float, stop: float) -> float:
    """Agreement and contrast of the beats of a stretch as one number from 0 to 1; 0 under two whole beats."""
    first, last = round(start * found.rate), round(stop * found.rate)
    inside = found.beats.take((found.beats.steepest >= first) & (found.beats.steepest < last))
    beats = _templates(found.wave[first:last], inside.steepest - first, found.rate)
    if len(beats) < 2:
        return 0.0
    usual = np.median(beats, axis=0)
    power = np.linalg.norm(beats, axis=1) * np.linalg.norm(usual)
    agreement = np.sort(beats @ usual / np.maximum(power, TINY))[len(beats) // MOST]
    strength = np.sqrt(np.mean(found.wave[first:last] ** 2))
    rise = np.median(np.ptp(beats, axis=1))
    return float(max(0.0, agreement) * min(1.0, rise / max(strength, TINY) / CONTRAST))


def _templates(wave: np.ndarray, steepest: np.ndarray, rate: float) -> np.ndarray:
    """Beats around their steepest point that lie wholly in a stretch, each around its mean, `(beats, T)`."""
    if len(steepest) < 2:
        return np.empty((0, 0))
    usual = np.median(np.diff(steepest))
    before, after = (
        max(2, int(min(most * rate, share * usual)))
        for most, share in zip(TEMPLATE_SECONDS, TEMPLATE_SHARE, strict=True)
    )
    at = np.rint(steepest).astype(np.int64)
    whole = at[(at >= before) & (at + after <= len(wave))]
    beats = wave[whole[:, None] + np.arange(-before, after)]
    return beats - beats.mean(axis=1, keepdims=True)


def _moves(found: Traced, moved: Signal, start: float, stop: float) -> bool:
    """Whether a stretch is too much moved, or its pulse follows the motion."""
    values = bridge(moved.values)[0]
    if values.shape[1] < SEGMENT_SECONDS * moved.rate:
        return False
    magnitude = np.linalg.norm(values, axis=0)
    deviation = np.mean(np.abs(magnitude - magnitude.mean()))
    if deviation <= STILL:
        return False
    wave = found.wave[round(start * found.rate) : round(stop * found.rate)]
    return bool(deviation > MODERATE or _explained(wave, values, found.rate) > EXPLAINED)


def _explained(wave: np.ndarray, values: np.ndarray, rate: float) -> float:
    """Largest share of the power between 0.5 and 8 Hz that is coherent with one axis, 0 to 1."""
    places = np.linspace(0, 1, values.shape[1], endpoint=False)
    at = np.linspace(0, 1, len(wave), endpoint=False)
    segment = round(SEGMENT_SECONDS * rate)
    hertz, power = welch(wave, rate, nperseg=segment)
    inside = (hertz >= PULSE_BAND[0]) & (hertz <= PULSE_BAND[1])
    shares = []
    for axis in values:
        if np.ptp(axis) == 0:
            continue
        _, together = coherence(wave, np.interp(at, places, axis), rate, nperseg=segment)
        shares.append(np.sum((together * power)[inside]) / max(np.sum(power[inside]), TINY))
    return float(max(shares, default=0.0))


def _long_runs(marked: np.ndarray, least: float) -> np.ndarray:
    """Lengths of the runs of True that are at least so long."""
    if np.count_nonzero(marked) < least:
        return np.empty(0, np.int64)
    edges = np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))
    runs = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return runs[runs >= least]
