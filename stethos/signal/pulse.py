"""Beats, rate and polarity of one channel of pulse (photoplethysmogram).

Blood rushes in and drains away: whatever else a pulse looks like, its rise is steeper than its fall. The slope of an
upright pulse is therefore skewed to the positive side, and that of one turned upside down to the negative. A beat is
a rise that is high for its neighbourhood; a lower one soon after it, from a level above that beat's own foot, is its
dicrotic wave. The onset is where the tangent at the steepest point meets the level of the foot.

Against the R peaks of 14 subjects of MARSH 99.9 % of the beats are found, and 0.2 % of what is found is none. Of beats
of synthetic fibrillation that are at least 0.4 as strong as usual 93 % are found, and 0.6 % of what is found is none;
of synthetic sinus rhythm 99 %, and 1.5 %. The constants were set on pulses drawn by hand, but for three:
`UNFILLED_SHARE` was added for MARSH (without it, 0.3 % are none), `DICROTIC_SECONDS` and `THRESHOLD` were lowered for
the synthetic fibrillation (before, 89 % were found).
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import find_peaks, sosfilt, sosfilt_zi

from stethos.errors import ChannelError, RateError
from stethos.signal.filter import butterworth
from stethos.signal.gaps import bridge
from stethos.types import Signal

RATES = (25.0, 1000.0)  # Hz
PULSE_BAND = (0.5, 8.0)  # Hz: the pulse wave with its dicrotic notch, without breath and mains
BEAT_BAND = (0.5, 5.0)  # Hz: of 210 beats a minute there is a harmonic to spare, of noise there is less
PAD_SECONDS = 4.0  # a period and a half of the slowest frequency
POLARITY_SECONDS = 5.0  # a span with some beats in it; one spoilt by motion is outvoted by the others
SLOPE_RATE = 50.0  # Hz, enough for what is slower than 8 Hz
STILL = 1e-12  # of the power of the slope where it is largest: less is rounding
WIGGLE = 0.06  # of the distance from the 10th to the 90th percentile nearby: no top stands out less
RANGE_SECONDS = 10.0
SPARSE_RATE = 25.0  # Hz, enough for percentiles
APART_SECONDS = 0.25  # no two beats are closer: 240 a minute
LEVEL_SECONDS = 2.5  # a span in which even a slow heart beats once
THRESHOLD = 0.2  # of the rise that beats reach nearby: after a short interval of fibrillation beats are weak
STRONG = 0.6  # of that rise; intervals between such beats are the usual ones
DICROTIC_SECONDS = 0.45  # so long after a peak, or
DICROTIC_SHARE = 0.62  # of the usual interval, the sooner of the two, a rise may be a dicrotic wave,
DICROTIC_HEIGHT = 0.62  # if it is lower than this share of the beat's own
DICROTIC_LEVEL = 0.15  # and starts above the beat's foot by this share of its rise
UNFILLED_SHARE = 0.45  # of the usual interval: sooner, a heart has not filled, and a lower rise is none of a beat


@dataclass(frozen=True, eq=False)
class Beats:
    """Sample numbers of every beat, with fractions, in rising order.

    Args:
        onset: Where the tangent at the steepest point meets the level of the foot, `(beats,)` as are all.
        steepest: Where the rise is steepest; the surest of the three in noise.
        peak: The systolic peak.
    """

    onset: np.ndarray
    steepest: np.ndarray
    peak: np.ndarray

    def __post_init__(self) -> None:
        for item in fields(self):
            times = np.array(getattr(self, item.name), dtype=np.float64)
            times.flags.writeable = False
            object.__setattr__(self, item.name, times)

    def __len__(self) -> int:
        return len(self.onset)

    def take(self, rows: np.ndarray) -> "Beats":
        """The given beats, by number or by a Boolean each."""
        return Beats(*(getattr(self, item.name)[rows] for item in fields(self)))


@dataclass(frozen=True, eq=False)
class Traced:
    """An upright pulse without gaps, and its beats: what every measurement of a pulse starts from.

    Args:
        trace: The samples, gaps bridged, turned upright, float64 `(T,)`.
        wave: The same between 0.5 and 8 Hz, `(T,)`.
        known: Whether a sample was recorded, Boolean `(T,)`.
        rate: Sampling rate, Hz.
        beats: Its beats; none in gaps.
    """

    trace: np.ndarray
    wave: np.ndarray
    known: np.ndarray
    rate: float
    beats: Beats


def traced(pulse: Signal) -> Traced:
    """Turn a pulse upright and find its beats.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz; gaps are bridged and hold no beats.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    trace = one_channel(pulse)
    wave, known = filtered(trace, pulse.rate, PULSE_BAND), np.isfinite(pulse.values[0])
    if _falls_are_steeper(wave, known, pulse.rate):
        trace, wave = -trace, -wave
    beats = _beats(trace, wave, pulse.rate)
    return Traced(trace, wave, known, pulse.rate, beats.take(known[np.rint(beats.steepest).astype(np.int64)]))


def pulse_beats(pulse: Signal) -> Beats:
    """Onset, steepest point and systolic peak of every beat.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz; gaps are bridged and hold no beats.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return traced(pulse).beats


def pulse_onsets(pulse: Signal) -> np.ndarray:
    """Where beats begin: sample numbers with fractions, in rising order, `(beats,)`.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return pulse_beats(pulse).onset


def pulse_peaks(pulse: Signal) -> np.ndarray:
    """Systolic peaks: sample numbers with fractions, in rising order, `(beats,)`.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return pulse_beats(pulse).peak


def pulse_rate(onsets: np.ndarray, rate: float) -> float:
    """Beats per minute, 60 / median interval; NaN under two beats.

    Args:
        onsets: Sample numbers of onsets, or of any other point of each beat, `(beats,)`.
        rate: Sampling rate, Hz.
    """
    return float(60 * rate / np.median(np.diff(onsets))) if len(onsets) >= 2 else float("nan")


def inverted(pulse: Signal) -> bool:
    """Whether the pulse seems upside down: in most stretches of 5 s its falls are steeper than its rises.

    The median over the stretches of the skewness of the slope between 0.5 and 8 Hz is negative. A stretch that was
    mostly not recorded, or stands still, has no say: it would vote by rounding.

    Args:
        pulse: One channel in any unit, 25 to 1000 Hz.

    Returns:
        False where it cannot be told, as of a constant.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    wave = filtered(one_channel(pulse), pulse.rate, PULSE_BAND)
    return _falls_are_steeper(wave, np.isfinite(pulse.values[0]), pulse.rate)


def upright(pulse: Signal) -> Signal:
    """The pulse, turned over where it seems upside down.

    Args:
        pulse: One channel in any unit, 25 to 1000 Hz.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return replace(pulse, values=-pulse.values) if inverted(pulse) else pulse


def filtered(trace: np.ndarray, rate: float, band: tuple[float, float]) -> np.ndarray:
    """A band (Hz) of a trace without gaps, zero-phase, `(T,)`; exactly 0 of a constant.

    The ends are mirrored through themselves.

    Args:
        trace: `(T,)`.
        rate: Sampling rate, Hz.
        band: Lower and upper cutoff, Hz, −6 dB at both.
    """
    if len(trace) < 2:
        return np.zeros(len(trace))
    return _both_ways(trace - np.linspace(trace[0], trace[-1], len(trace)), rate, band)


def smoothed(trace: np.ndarray, rate: float, hertz: float = PULSE_BAND[1]) -> np.ndarray:
    """What is slower than a frequency of a trace without gaps, zero-phase, `(T,)`.

    Args:
        trace: `(T,)`.
        rate: Sampling rate, Hz.
        hertz: Cutoff, −6 dB.
    """
    if len(trace) < 2:
        return trace
    line = np.linspace(trace[0], trace[-1], len(trace))
    return line + _both_ways(trace - line, rate, (hertz,))


def one_channel(pulse: Signal) -> np.ndarray:
    """The pulse without gaps, float64 `(T,)`.

    Args:
        pulse: One channel, 25 to 1000 Hz; NaN is bridged.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    refuse_other(pulse)
    return bridge(pulse.values)[0][0]


def refuse_other(pulse: Signal) -> None:
    """Raise where a signal cannot be one channel of pulse.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    if len(pulse.channels) != 1:
        raise ChannelError(
            f"a pulse is one channel; got {', '.join(pulse.channels)}; pick one, such as signal.pick('PLETH')"
        )
    if not RATES[0] <= pulse.rate <= RATES[1]:
        raise RateError(
            f"a pulse needs a sampling rate between {RATES[0]:g} and {RATES[1]:g} Hz; it has {pulse.rate:g} Hz; "
            f"record faster, or resample it"
        )


def _falls_are_steeper(wave: np.ndarray, known: np.ndarray, rate: float) -> bool:
    """Whether the slope is skewed to the negative in most stretches that were recorded and move."""
    step = max(1, int(rate / SLOPE_RATE))
    slope, known = np.diff(wave[::step]), known[::step][1:]
    count = max(1, round(len(wave) / (POLARITY_SECONDS * rate)))
    span = len(slope) // count
    if span * count == 0:
        return False
    parts = slope[: count * span].reshape(count, span)
    parts = parts - parts.mean(axis=1, keepdims=True)
    power = np.mean(parts * parts, axis=1)
    skew = np.mean(parts * parts * parts, axis=1) / np.maximum(power**1.5, np.finfo(float).tiny)
    recorded = 2 * known[: count * span].reshape(count, span).sum(axis=1) >= span
    counts = recorded & (power > STILL * power.max())
    return bool(counts.any() and np.median(skew[counts]) < 0)


def _beats(trace: np.ndarray, wave: np.ndarray, rate: float) -> Beats:
    """Beats of an upright pulse; none where nothing moves or it is shorter than 1 s."""
    if len(trace) < rate:
        return Beats(*np.empty((3, 0)))
    slow = filtered(trace, rate, BEAT_BAND)
    feet, tops = _rises(slow, rate, 1e-6 * np.abs(trace - trace[0]).max())
    accepted = _accept(slow, feet, tops, rate)
    return _refined(wave, feet[accepted], tops[accepted], rate)


def _rises(slow: np.ndarray, rate: float, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Tops that stand out, and the lowest sample between each and the one before, both `(rises,)`."""
    sparse = slow[:: max(1, int(rate / SPARSE_RATE))]
    count = max(1, round(len(slow) / (RANGE_SECONDS * rate)))
    low, high = np.percentile(sparse[: len(sparse) // count * count].reshape(count, -1), [10, 90], axis=1)
    centres = (np.arange(count) + 0.5) * len(slow) / count
    local = np.interp(np.arange(len(slow)), centres, high - low)
    tops, _ = find_peaks(slow, prominence=np.maximum(WIGGLE * local, least), wlen=round(3 * rate) | 1)
    before = [0, *tops.tolist()]
    feet = [a + int(slow[a : b + 1].argmin()) for a, b in zip(before, tops.tolist(), strict=False)]
    return np.array(feet, np.int64), tops


def _accept(slow: np.ndarray, feet: np.ndarray, tops: np.ndarray, rate: float) -> np.ndarray:
    """Which rises are beats, Boolean `(rises,)`."""
    accepted = np.zeros(len(feet), bool)
    base, rise = slow[feet], slow[tops] - slow[feet]
    height = rise / _level(rise, tops, len(slow), rate)
    above = base + DICROTIC_LEVEL * rise
    strong = tops[height > STRONG]
    usual = np.median(np.diff(strong)) if len(strong) > 2 else rate
    soon = min(DICROTIC_SHARE * usual, DICROTIC_SECONDS * rate)
    unfilled, last = UNFILLED_SHARE * usual, -1
    at, low, over, tall = tops.tolist(), base.tolist(), above.tolist(), height.tolist()
    for i in np.flatnonzero(height > THRESHOLD).tolist():
        apart = at[i] - at[last] if last >= 0 else np.inf
        if apart < APART_SECONDS * rate:
            if tall[i] <= tall[last]:
                continue
            accepted[last] = False
        elif tall[i] < DICROTIC_HEIGHT * tall[last] and apart < (soon if low[i] > over[last] else unfilled):
            continue
        accepted[i], last = True, i
    return accepted


def _level(rise: np.ndarray, tops: np.ndarray, samples: int, rate: float) -> np.ndarray:
    """Rise that beats reach around every top: the median over 5 spans of their highest, `(rises,)`."""
    count = max(1, int(samples / (LEVEL_SECONDS * rate)))
    highest = np.zeros(count)
    np.maximum.at(highest, tops * count // samples, rise)
    around = median_filter(highest, 5, mode="reflect")
    centres = (np.arange(count) + 0.5) * samples / count
    least = max(1e-9 * rise.max(initial=0.0), np.finfo(float).tiny)  # where most of a recording is still
    return np.maximum(np.interp(tops, centres, around), least)


def _refined(wave: np.ndarray, feet: np.ndarray, tops: np.ndarray, rate: float) -> Beats:
    """Points of each beat between the samples, in the wider band."""
    slope = np.gradient(wave)
    late = round(0.08 * rate)  # a filter up to 5 Hz moves a top by less
    steep, top, level = np.empty_like(tops), np.empty_like(tops), np.empty(len(tops))
    for i, (first, last) in enumerate(zip(feet.tolist(), tops.tolist(), strict=True)):
        steep[i] = first + slope[first : last + 1].argmax()
        top[i] = steep[i] + wave[steep[i] : last + late].argmax()
        level[i] = wave[first : steep[i] + 1].min()
    between, steepest = _vertex(slope, steep)
    # straight on from the steepest sample, along the steepest slope, down to the level of the foot
    onset = steep - (wave[steep] - level) / np.maximum(steepest, np.finfo(float).tiny)
    return Beats(onset, steep + between, top + _vertex(wave, top)[0])


def _vertex(values: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the parabola through a largest sample and its neighbours is highest, in samples from it, and how high."""
    middle = np.clip(at, 1, len(values) - 2)
    left, here, right = values[middle - 1], values[middle], values[middle + 1]
    bend = left - 2 * here + right
    off = np.clip(0.5 * (left - right) / np.where(bend < 0, bend, -np.inf), -0.5, 0.5)
    return off, here - 0.25 * (left - right) * off


def _both_ways(trace: np.ndarray, rate: float, cutoffs: tuple[float, ...]) -> np.ndarray:
    """A trace that begins and ends at 0, filtered forwards and backwards, `(T,)`."""
    sos, start = _sections(cutoffs, rate)
    room = min(len(trace) - 1, round(PAD_SECONDS * rate))
    ahead, behind = -trace[room:0:-1], -trace[-2 : -room - 2 : -1]
    there, _ = sosfilt(sos, np.concatenate([ahead, trace, behind]), zi=start * ahead[0])
    back, _ = sosfilt(sos, there[::-1], zi=start * there[-1])
    return back[::-1][room:-room]


@lru_cache(maxsize=64)
def _sections(cutoffs: tuple[float, ...], rate: float) -> tuple[np.ndarray, np.ndarray]:
    """A band-pass or low-pass and its state under a constant 1; to make them takes longer than to filter a minute."""
    sos = butterworth(2, cutoffs, "bandpass" if len(cutoffs) == 2 else "lowpass", rate)
    return sos, sosfilt_zi(sos)
