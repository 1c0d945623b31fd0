"""A pulse of any rate and length, as the patches of one rate and length that a network reads.

`unify` is the way to use: band-limited resampling, upright, without the slowest wander but with breath and Mayer
waves, scaled by what was recorded. `reference_patches` does what has been published, so that the two can be compared.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from scipy.signal import sosfiltfilt

from stethos.errors import QualityError
from stethos.signal.filter import butterworth
from stethos.signal.gaps import bridge
from stethos.signal.pulse import refuse_other, upright
from stethos.signal.resample import resample
from stethos.types import Signal

RATE = 40.0  # Hz
SECONDS = 30.0
SHORTEST_SECONDS = 3.0
LEAST_SECONDS = 1.0  # of valid samples: about a beat
WANDER = 0.02  # Hz, two-way -6 dB: 2.5 % are lost at 0.05 Hz, 0.2 % at 0.1 Hz
HELD_SECONDS = 2.0  # no heart leaves a converter at one and the same value for so long
CLIP = 6.0  # spreads
SPREAD = (15.866, 84.134)  # percentiles one standard deviation from the middle of a normal distribution
TAIL = 0.01  # of a length: 0.3 s hold no beat, and rounding alone can leave a sample over, or take one
CHUNK_SECONDS = 600
MARGIN_SECONDS = 5  # at least: longer than the response of any filter that leads from 25 to 1000 Hz to 40 Hz
REFERENCE_SECONDS = 300.0


def unify(
    pulse: Signal, rate: float = RATE, seconds: float = SECONDS, invalid: Sequence[tuple[float, float]] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a pulse into patches of one rate, polarity and scale.

    In this order: resampled through a polyphase filter, so that nothing folds back; turned upright; straight line and
    what is slower than 0.02 Hz taken out; z = (x − median) / half the distance from the 16th to the 84th percentile,
    both over the valid samples; cut to ±6; 0 where not valid.

    Valid is what was recorded, lies outside of the spans given, and does not stand at one value for 2 s. What is left
    over at the end makes a patch of its own unless it is shorter than a hundredth of one.

    Args:
        pulse: One channel in any unit and polarity, 25 to 1000 Hz, of at least 3 s; NaN where nothing was recorded.
        rate: Of the patches, Hz.
        seconds: Length of a patch.
        invalid: Spans that must not count, from and to in seconds, such as windows refused for motion.

    Returns:
        Patches, float32 `(n, S)` with S = rate · seconds, and which samples are valid, Boolean `(n, S)`; the last
        patch is filled up with 0, not valid.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz, or does not lead to `rate`.
        QualityError: It is shorter than 3 s, under 1 s of it is valid, or nothing moves in what is.
    """
    refuse_other(pulse)
    slower = upright(resample_long(replace(pulse, values=_heard(pulse, invalid)), rate))
    filled, missing = bridge(slower.values)
    valid = ~missing[0]
    if valid.sum() < LEAST_SECONDS * rate:
        raise QualityError(
            f"patches need at least {LEAST_SECONDS:g} s of pulse; {valid.sum() / rate:.2f} s are left without gaps, "
            f"held values and refused spans; look at the sensor"
        )
    return _cut(_scaled(_without_wander(filled[0], rate), valid), valid, round(rate * seconds))


def reference_patches(pulse: Signal, samples: int = 1000, seconds: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """Patches as published.

    What comes after 300 s is dropped and what is shorter filled up with zeros; z = (x − mean) / standard deviation over
    that; straight lines between the samples at `samples` points per `seconds`, without a low-pass, so that what is
    faster than the new Nyquist frequency folds back; patches end to end, the rest at the end dropped. What is shorter
    than a patch makes one, filled up with zeros. Missing samples count as 0.

    Args:
        pulse: One channel in any unit, 25 to 1000 Hz; 125 Hz in the publication.
        samples: Of a patch.
        seconds: Length of a patch.

    Returns:
        Patches, float32 `(n, samples)`, and which samples are no filling, Boolean `(n, samples)`.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
        QualityError: Nothing moves.
    """
    refuse_other(pulse)
    whole = round(REFERENCE_SECONDS * pulse.rate)
    recorded = np.nan_to_num(pulse.values[0, :whole].astype(np.float64))
    filled = np.pad(recorded, (0, whole - len(recorded)))
    if filled.std() == 0:
        raise QualityError("patches need a pulse; all samples are 0 or none; look at the sensor")
    scaled = (recorded - filled.mean()) / filled.std()
    points = int(len(recorded) / pulse.rate * samples / seconds)
    places = (np.arange(points) + 0.5) * len(recorded) / max(points, 1) - 0.5
    stretched = np.interp(places, np.arange(len(recorded)), scaled)
    count = max(1, points // samples) * samples
    return _cut(stretched[:count], np.ones(min(points, count), bool), samples)


def resample_long(signal: Signal, rate: float) -> Signal:
    """As `resample`, piece by piece, so that a day takes little more memory than its samples.

    Pieces start where both rates have a whole sample, or nearly: up to half a sample off at odd rates.

    Args:
        signal: Any channels and unit.
        rate: Wanted sampling rate, Hz.

    Raises:
        RateError: Neither one nor two fractions of numbers up to 500 lead there within 20 ppm.
    """
    if signal.duration <= at_once(signal.rate, rate):
        return resample(signal, rate)
    step = _common_seconds(signal.rate, rate)
    chunk = step * ceil(CHUNK_SECONDS / step)
    parts = []
    for start in range(0, ceil(signal.duration), chunk):
        first, last = max(0, start - step), start + chunk + step
        piece = signal.values[:, round(first * signal.rate) : round(last * signal.rate)]
        skip = round((start - first) * rate)
        parts.append(resample(replace(signal, values=piece), rate).values[:, skip : skip + round(chunk * rate)])
    return replace(signal, values=np.concatenate(parts, axis=1), rate=rate)


def at_once(first: float, second: float) -> int:
    """Longest signal in seconds that `resample_long` takes in one piece from one rate (Hz) to another."""
    step = _common_seconds(first, second)
    return step * ceil(CHUNK_SECONDS / step) + step


def _common_seconds(first: float, second: float) -> int:
    """Whole seconds after which two rates (Hz) come closest to a whole sample each."""
    seconds = np.arange(MARGIN_SECONDS, CHUNK_SECONDS + 1)
    off = sum(np.abs(seconds * rate - np.rint(seconds * rate)) for rate in (first, second))
    return int(seconds[np.argmin(np.round(off, 6))])


def _heard(pulse: Signal, invalid: Sequence[tuple[float, float]]) -> np.ndarray:
    """The samples around their median, NaN where not valid, float32 `(1, T)`."""
    if pulse.duration < (1 - TAIL) * SHORTEST_SECONDS:
        raise QualityError(
            f"patches need at least {SHORTEST_SECONDS:g} s of pulse; the signal lasts {pulse.duration:.2f} s; "
            f"record for longer"
        )
    trace = np.where(np.isfinite(pulse.values[0]), pulse.values[0], np.float32(np.nan))
    if np.isnan(trace).all():
        raise QualityError("patches need a pulse; the signal has no sample that is a number; look at the sensor")
    changes = np.flatnonzero(np.diff(trace) != 0) + 1
    edges = np.concatenate([[0], changes, [len(trace)]])
    held = np.flatnonzero(np.diff(edges) >= HELD_SECONDS * pulse.rate)
    trace -= np.nanmedian(trace)
    for start, stop in zip(edges[held], edges[held + 1], strict=True):
        trace[start:stop] = np.nan
    for start, stop in invalid:
        trace[max(0, round(start * pulse.rate)) : max(0, round(stop * pulse.rate))] = np.nan
    return trace[None]


def _without_wander(trace: np.ndarray, rate: float) -> np.ndarray:
    """Without straight line and slowest part, `(T,)`.

    The ends are mirrored as often as it takes: a last sample on the top of a beat must not become a level.
    """
    time = np.linspace(-1, 1, len(trace))
    trace = trace - trace.mean()
    trace -= time * (trace @ time) / (time @ time)
    room = round(rate / WANDER)
    mirrored = np.pad(trace, room, mode="reflect")
    return sosfiltfilt(butterworth(2, (WANDER,), "highpass", rate), mirrored, padlen=0)[room:-room]


def _scaled(trace: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Robust z-score over the valid samples, cut to ±6, 0 elsewhere, float32 `(T,)`."""
    low, middle, high = np.percentile(trace[valid], [SPREAD[0], 50, SPREAD[1]])
    spread = (high - low) / 2
    if spread <= 1e-6 * np.abs(trace).max():
        raise QualityError("patches need a pulse; nothing moves in what was recorded; look at the sensor")
    return np.where(valid, np.clip((trace - middle) / spread, -CLIP, CLIP), 0).astype(np.float32)


def _cut(trace: np.ndarray, valid: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches end to end and their validity, both `(n, samples)`."""
    count = max(1, ceil(len(trace) / samples - TAIL))
    patches = np.zeros(count * samples, np.float32)
    marked = np.zeros(count * samples, bool)
    fits = min(len(trace), count * samples)
    patches[:fits], marked[:fits] = trace[:fits], valid[:fits]
    return patches.reshape(count, samples), marked.reshape(count, samples)
