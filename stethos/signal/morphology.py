"""The shape of a pulse, and with it everything a classical model can know of one.

Beats are cut from onset to onset, freed of the line between their feet, and divided by their height; their median is
the recording's beat. Its widths, areas, notch, reflected wave and second derivative say how stiff the arteries are;
how its beats differ, how regular the heart is. No feature depends on gain, offset or polarity.
"""

from dataclasses import dataclass

import numpy as np

from stethos.signal.irregularity import RHYTHM_FEATURES, rhythm_features
from stethos.signal.modulation import BREATH_FEATURES, breath_features_of
from stethos.signal.patches import resample_long
from stethos.signal.pulse import Traced, smoothed, traced
from stethos.signal.pulse_quality import judged_windows, spans
from stethos.types import Signal

RATE = 125.0  # Hz at which everything is measured, so that a faster recorder leaves no trace
SHARPEST = 10.0  # Hz: what even a recording at 25 Hz holds, and enough for the waves of the second derivative
# Second derivative of the cubic fitted to seven samples, 56 ms: a median of beats is not as smooth as each of them.
BEND = np.array([5, 0, -3, -4, -3, 0, 5]) / 42
WINDOW_SECONDS = 10.0
LEAST_BEATS = 3
LEVELS = (10, 25, 33, 50, 66, 75)  # percent of the height, at which widths are taken
BEFORE_SECONDS = 0.1  # of the onset: the second derivative is highest there
LONGEST_SECONDS = 1.5  # of a beat
LONGEST = 2.0  # usual intervals: a longer one is a gap
NOTCH_SECONDS = 0.08  # after the peak: no valve closes sooner
NOTCH_SHARE = 0.65  # of the interval, or later
REFLECTION_SECONDS = 0.2  # after the notch
NOTCH_SHARPNESS = 0.03  # of the first wave of the second derivative

SHAPE_FEATURES = (
    "rise_time",
    "rise_share",
    *(f"systolic_width_{level}" for level in LEVELS),
    *(f"diastolic_width_{level}" for level in LEVELS),
    *(f"width_ratio_{level}" for level in (25, 50, 75)),
    "area",
    "area_ratio",
    "upslope",
    "downslope",
    "skewness",
    "kurtosis",
    *(f"harmonic_{number}" for number in (2, 3, 4)),
    "notch_time",
    "notch_height",
    "reflection_time",
    "reflection_height",
    "stiffness",
    "augmentation",
    *(f"wave_{name}_to_a" for name in "bcde"),
    "ageing",
)
BEAT_FEATURES = (
    "agreement",
    "rise_time_median",
    "rise_time_spread",
    "width_50_median",
    "width_50_spread",
    "height_variability",
    "height_alternation",
    "height_step",
    "height_by_interval",
    "good_share",
)
PULSE_FEATURES = (*SHAPE_FEATURES, *BEAT_FEATURES, *RHYTHM_FEATURES, *BREATH_FEATURES)


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """The usual beat of a recording.

    Args:
        values: Height 0 at the feet and 1 at the peak, `(T,)`.
        onset: Sample at which it begins.
        rate: Sampling rate, Hz.
    """

    values: np.ndarray
    onset: int
    rate: float


def pulse_features(pulse: Signal, motion: Signal | None = None) -> dict[str, float]:
    """Shape, irregularity and breath of a recording, by the names of `PULSE_FEATURES`.

    Shape and irregularity come from the 10 s windows that can be judged; where none can, from all of the recording,
    with `good_share` 0. Breath is looked for in all of it.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.
        motion: Acceleration in g or m/s2 that starts with the pulse; windows that it spoils are left out.

    Returns:
        A number for every name, NaN where it cannot be told.

    Raises:
        ChannelError: The pulse has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
        UnitError: The motion is in another unit.
    """
    slower = resample_long(pulse, RATE)
    found = traced(slower)
    judged = judged_windows(slower, found, spans(slower.duration, WINDOW_SECONDS), motion)
    good = np.zeros(len(found.beats), bool)
    for window in judged:
        if window.ok:
            good |= (found.beats.steepest >= window.start * RATE) & (found.beats.steepest < window.stop * RATE)
    share = sum(window.stop - window.start for window in judged if window.ok) / max(slower.duration, 1e-9)
    if good.sum() < LEAST_BEATS:
        good[:] = True
    measured = {**_shape_and_rhythm(found, good), **breath_features_of(found), "good_share": float(share)}
    return {name: measured[name] for name in PULSE_FEATURES}


def median_beat(pulse: Signal) -> MedianBeat | None:
    """Median over the beats that are no shorter than the usual one.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.

    Returns:
        At 125 Hz; None under 3 beats.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    found = traced(resample_long(pulse, RATE))
    beats = _cut(found, np.ones(max(0, len(found.beats) - 1), bool))
    return None if beats is None else beats.median()


def shape_features(beat: MedianBeat) -> dict[str, float]:
    """Widths, areas, slopes and waves of a beat, by the names of `SHAPE_FEATURES`; NaN where there is none.

    Times in seconds; heights and areas as shares of the peak and of the rectangle around the beat; slopes in heights
    per second. `systolic_width_50` runs from the rise through half the height to the peak and `diastolic_width_50` from
    there to the fall. The notch is where the second derivative is highest after the peak, the reflected wave where it
    is lowest after that; `stiffness` is one over the time from peak to reflected wave. a to e are the waves of the
    second derivative, `ageing` is (b − c − d − e) / a, and `augmentation` the height at d.

    Args:
        beat: From `median_beat`.

    Reference:
        Takazawa et al. 1998, doi:10.1161/01.HYP.32.2.365 (waves a to e); Millasseau et al. 2002,
        doi:10.1042/cs1030371 (stiffness and reflection).
    """
    values, onset = beat.values, beat.onset
    peak = onset + int(values[onset : onset + max(2, (len(values) - onset) * 2 // 3)].argmax())
    bend = np.convolve(np.pad(values, 3, mode="edge"), BEND, mode="valid") * beat.rate**2
    notch, reflection = _notch(bend, onset, peak)
    found = {
        **_widths(beat, peak),
        **_sizes(beat, peak, notch),
        **_reflected(beat, peak, notch, reflection),
        **_second_derivative(beat, bend, peak, notch),
    }
    return {name: float(found[name]) for name in SHAPE_FEATURES}


def _widths(beat: MedianBeat, peak: int) -> dict[str, float]:
    """Of the rising and the falling side at each level, s."""
    values, found = beat.values, {}
    for level in LEVELS:
        under = values < level / 100
        rises = np.flatnonzero(under[: peak + 1])
        falls = np.flatnonzero(under[peak:])
        up = _crossing(values, rises[-1], level / 100) if len(rises) else np.nan
        down = _crossing(values, peak + falls[0] - 1, level / 100) if len(falls) else np.nan
        found[f"systolic_width_{level}"] = (peak - up) / beat.rate
        found[f"diastolic_width_{level}"] = (down - peak) / beat.rate
        found[f"width_ratio_{level}"] = (down - peak) / max(peak - up, 0.1)
    return found


def _crossing(values: np.ndarray, before: int, level: float) -> float:
    """Where the line from one sample to the next meets a level, in samples."""
    step = values[before + 1] - values[before]
    return before + (level - values[before]) / step if step else float(before)


def _sizes(beat: MedianBeat, peak: int, notch: int) -> dict[str, float]:
    """Areas, slopes, moments and harmonics."""
    whole = beat.values[beat.onset :]
    slope = np.gradient(whole) * beat.rate
    top, until = peak - beat.onset, notch - beat.onset
    spread = max(whole.std(), np.finfo(float).tiny)
    scaled = (whole - whole.mean()) / spread
    power = np.abs(np.fft.rfft(whole)[1:5])
    early, late = (whole[:until].sum(), whole[until:].sum()) if notch else (np.nan, np.nan)
    return {
        "rise_time": top / beat.rate,
        "rise_share": top / len(whole),
        "area": whole.mean(),
        "area_ratio": late / max(early, 1e-6),
        "upslope": slope[: top + 1].max(),
        "downslope": -slope[top:].min(),
        "skewness": np.mean(scaled**3),
        "kurtosis": np.mean(scaled**4),
        **{f"harmonic_{number}": power[number - 1] / max(power[0], 1e-12) for number in (2, 3, 4)},
    }


def _notch(bend: np.ndarray, onset: int, peak: int) -> tuple[int, int]:
    """Samples at which the second derivative is highest after the peak, and lowest soon after that; 0 where none is."""
    first = peak + round(NOTCH_SECONDS * RATE)
    last = onset + int(NOTCH_SHARE * (len(bend) - onset))
    if last - first < 3:
        return 0, 0
    notch = first + int(bend[first:last].argmax())
    if not bend[notch - 1] <= bend[notch] >= bend[notch + 1] or bend[notch] < NOTCH_SHARPNESS * bend[:peak].max():
        return 0, 0
    soon = bend[notch : notch + round(REFLECTION_SECONDS * RATE)]
    return notch, notch + int(soon.argmin()) if soon.min() < 0 else 0


def _reflected(beat: MedianBeat, peak: int, notch: int, reflection: int) -> dict[str, float]:
    """Times from the onset, and heights."""
    values, rate, nan = beat.values, beat.rate, float("nan")
    return {
        "notch_time": (notch - beat.onset) / rate if notch else nan,
        "notch_height": values[notch] if notch else nan,
        "reflection_time": (reflection - beat.onset) / rate if reflection else nan,
        "reflection_height": values[reflection] if reflection else nan,
        "stiffness": rate / (reflection - peak) if reflection else nan,
    }


def _second_derivative(beat: MedianBeat, bend: np.ndarray, peak: int, notch: int) -> dict[str, float]:
    """Waves b to e over a; c and d are the first top after b and the last bottom before e."""
    first = int(bend[:peak].argmax())
    second = first + int(bend[first : peak + 3].argmin())
    between = bend[second:notch] if notch > second + 2 else bend[:0]
    tops = np.flatnonzero((between[1:-1] >= between[:-2]) & (between[1:-1] > between[2:])) + 1
    bottoms = np.flatnonzero((between[1:-1] <= between[:-2]) & (between[1:-1] < between[2:])) + 1
    both = len(tops) > 0 and len(bottoms) > 0
    third = second + int(tops[0]) if both else 0
    fourth = second + int(bottoms[-1]) if both else 0
    a = max(bend[first], np.finfo(float).tiny)
    b, c, d, e = (bend[at] / a if at else np.nan for at in (second, third, fourth, notch))
    return {
        "wave_b_to_a": b,
        "wave_c_to_a": c,
        "wave_d_to_a": d,
        "wave_e_to_a": e,
        "ageing": b - c - d - e,
        "augmentation": beat.values[fourth] if fourth else np.nan,
    }


@dataclass(frozen=True, eq=False)
class _Cut:
    """Beats freed of the line between their feet.

    Args:
        rows: Around their onset, 0 beyond their end, `(beats, T)`.
        height: Of each above that line, `(beats,)`.
        interval: To the next onset, samples.
        before: Samples ahead of the onset.
    """

    rows: np.ndarray
    height: np.ndarray
    interval: np.ndarray
    before: int

    def median(self) -> MedianBeat:
        """Over the beats no shorter than usual, as long as the usual one."""
        usual = np.median(self.interval)
        whole = self.interval >= min(usual, np.sort(self.interval)[-LEAST_BEATS])
        length = min(self.before + int(usual), self.rows.shape[1])
        beat = np.median(self.rows[whole, :length] / self.height[whole, None], axis=0)
        return MedianBeat(beat / max(beat[self.before :].max(), np.finfo(float).tiny), self.before, RATE)


def _cut(found: Traced, chosen: np.ndarray) -> _Cut | None:
    """The given beats; None under 3."""
    if chosen.sum() < LEAST_BEATS:
        return None
    trace = smoothed(found.trace, RATE, SHARPEST)
    samples = np.arange(len(trace))
    before = round(BEFORE_SECONDS * RATE)
    feet = np.interp(found.beats.onset[:, None] + np.arange(-before, 1), samples, trace).min(axis=1)
    onset, interval = found.beats.onset[:-1][chosen], np.diff(found.beats.onset)[chosen]
    start, stop = feet[:-1][chosen], feet[1:][chosen]
    since = np.arange(-before, round(min(LONGEST_SECONDS * RATE, interval.max())))
    rows = np.interp(onset[:, None] + since, samples, trace)  # (beats, T)
    rows -= start[:, None] + (stop - start)[:, None] * since / interval[:, None]
    rows[since >= interval[:, None]] = 0
    return _Cut(rows, np.maximum(rows[:, before:].max(axis=1), np.finfo(float).tiny), interval, before)


def _shape_and_rhythm(found: Traced, good: np.ndarray) -> dict[str, float]:
    """All but breath, of the beats that are good."""
    names = (*SHAPE_FEATURES, *BEAT_FEATURES, *RHYTHM_FEATURES)
    measured = dict.fromkeys(names, float("nan"))
    apart = np.diff(found.beats.steepest) / RATE
    if len(apart) < LEAST_BEATS:
        return measured
    known = good[:-1] & good[1:] & (apart < LONGEST * np.median(apart))
    pairs = np.stack([apart[:-1], apart[1:]], axis=1)[known[:-1] & known[1:]]
    measured.update(rhythm_features(apart[known], pairs))
    cut = _cut(found, known)
    if cut is not None:
        rise = (found.beats.peak - found.beats.onset)[:-1][known] / RATE
        before = np.concatenate([[np.nan], apart[:-1]])[known]
        usual = cut.median()
        measured.update(shape_features(usual))
        measured.update(_beat_features(cut, usual.values, rise, before))
    return measured


def _beat_features(cut: _Cut, usual: np.ndarray, rise: np.ndarray, interval_before: np.ndarray) -> dict[str, float]:
    """How beats differ: agreement, times and their interquartile ranges in s, heights relative to their mean."""
    early = cut.rows[:, : max(3, 2 * len(usual) // 3)]
    pattern = usual[: early.shape[1]] - usual[: early.shape[1]].mean()
    early = early[:, : len(pattern)] - early[:, : len(pattern)].mean(axis=1, keepdims=True)
    power = np.linalg.norm(early, axis=1) * np.linalg.norm(pattern)
    wide = np.count_nonzero(cut.rows > 0.5 * cut.height[:, None], axis=1) / RATE
    height = cut.height / cut.height.mean()
    step = np.diff(height)
    turns = np.where(np.arange(len(step)) % 2, -1, 1)
    return {
        "agreement": np.median(early @ pattern / np.maximum(power, np.finfo(float).tiny)),
        "rise_time_median": np.median(rise),
        "rise_time_spread": _spread(rise),
        "width_50_median": np.median(wide),
        "width_50_spread": _spread(wide),
        "height_variability": height.std(),
        "height_alternation": abs(np.mean(step * turns)),
        "height_step": np.sqrt(np.mean(step**2)),
        "height_by_interval": _correlation(interval_before, height),
    }


def _spread(values: np.ndarray) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(high - low)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's, of the rows where both are known; NaN where one does not vary."""
    known = np.isfinite(first)
    first, second = first[known], second[known]
    if len(first) < LEAST_BEATS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
