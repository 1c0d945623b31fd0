"""Where P, QRS and T begin, peak and end, and the intervals that follow.

Bounds come from neurokit2's prominence method (Emrich, Gargano, Koka and Muma 2024); against the
cardiologists' marks of LUDB, lead I, every bound scatters by 12 to 28 ms (one standard deviation), but one P wave
in seven is invented: the method finds a P wave where there is none, as in atrial fibrillation. QRS begins 8 ms
late and ends 12 ms early on average, because its bounds are the troughs of Q and S where there are any.
"""

import warnings
from dataclasses import dataclass, fields, replace

import numpy as np

from stethos.signal.beats import inverted, r_peaks
from stethos.signal.filter import bandpass
from stethos.signal.gaps import bridge
from stethos.types import Signal

ISOELECTRIC_SECONDS = 0.02  # before QRS onset, at the end of the PR segment
# Hz; up to 40 rather than 25, QRS begins another 3 ms late on LUDB.
DELINEATION_BAND = (0.5, 25.0)
MARGIN = 8  # samples
_BOUNDS = {
    "p_on": "ECG_P_Onsets",
    "p_peak": "ECG_P_Peaks",
    "p_off": "ECG_P_Offsets",
    "qrs_on": "ECG_R_Onsets",
    "qrs_off": "ECG_R_Offsets",
    "t_on": "ECG_T_Onsets",
    "t_peak": "ECG_T_Peaks",
    "t_off": "ECG_T_Offsets",
}


@dataclass(frozen=True, eq=False)
class Waves:
    """Times of every wave of every beat, in seconds from the first sample, NaN where there is none.

    Args:
        p_on: Start of the P wave, `(beats,)` as are all.
        p_peak: Peak of the P wave.
        p_off: End of the P wave.
        qrs_on: Start of the QRS complex.
        r: Largest deflection of the QRS complex.
        qrs_off: End of the QRS complex.
        t_on: Start of the T wave.
        t_peak: Peak of the T wave.
        t_off: End of the T wave.
    """

    p_on: np.ndarray
    p_peak: np.ndarray
    p_off: np.ndarray
    qrs_on: np.ndarray
    r: np.ndarray
    qrs_off: np.ndarray
    t_on: np.ndarray
    t_peak: np.ndarray
    t_off: np.ndarray

    def __post_init__(self) -> None:
        for item in fields(self):
            times = np.array(getattr(self, item.name), dtype=np.float64)
            times.flags.writeable = False
            object.__setattr__(self, item.name, times)

    def __len__(self) -> int:
        return len(self.r)


@dataclass(frozen=True)
class Intervals:
    """Medians over the beats of one lead; NaN where unknown.

    Args:
        heart_rate: 60 / median RR, per minute.
        pr: P onset to QRS onset, ms.
        qrs: QRS onset to its end, ms.
        qt: QRS onset to T end, ms.
        qtc: QT corrected by Fridericia, QT / RR^(1/3) with RR in s, ms; Bazett's root over-corrects fast hearts.
        p_amplitude: P peak over the end of the PR segment, in the signal's unit, as are the next two.
        r_amplitude: Largest QRS deflection over that level, with its sign.
        t_amplitude: T peak over that level, with its sign.
    """

    heart_rate: float
    pr: float
    qrs: float
    qt: float
    qtc: float
    p_amplitude: float
    r_amplitude: float
    t_amplitude: float


def waves(lead: Signal, peaks: np.ndarray | None = None) -> Waves:
    """Find the waves of each beat; an odd recording gives NaN, never an error.

    Args:
        lead: One channel of ECG of either polarity.
        peaks: Sample numbers of R peaks, `(beats,)`; found where not given.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    beats = r_peaks(lead) if peaks is None else np.asarray(peaks, dtype=np.int64)
    unknown = np.full(len(beats), np.nan)
    found = Waves(**{item.name: unknown for item in fields(Waves)})
    found = replace(found, r=beats / lead.rate)
    # the method needs a neighbour to know how far a beat may reach
    return replace(found, **_prominence(lead, beats)) if len(beats) >= 2 else found


def intervals(lead: Signal, waves: Waves) -> Intervals:
    """Median intervals and amplitudes of one lead.

    Args:
        lead: The channel the waves were found in.
        waves: From `waves`.
    """
    trace = bridge(lead.values)[0][0]
    level = _isoelectric(trace, waves.qrs_on, lead.rate)
    apart = _median(np.diff(waves.r))
    qt = 1000 * _median(waves.t_off - waves.qrs_on)
    return Intervals(
        heart_rate=60 / apart,
        pr=1000 * _median(waves.qrs_on - waves.p_on),
        qrs=1000 * _median(waves.qrs_off - waves.qrs_on),
        qt=qt,
        qtc=qt / apart ** (1 / 3),
        p_amplitude=_median(_at(trace, waves.p_peak, lead.rate) - level),
        r_amplitude=_median(_at(trace, waves.r, lead.rate) - level),
        t_amplitude=_median(_at(trace, waves.t_peak, lead.rate) - level),
    )


def _prominence(lead: Signal, beats: np.ndarray) -> dict[str, np.ndarray]:
    """Bounds in seconds by name; those that break the order of a heartbeat are NaN."""
    import neurokit2

    upright = -1.0 if inverted(lead, beats) else 1.0
    trace = upright * bandpass(lead, *DELINEATION_BAND, order=2).values[0].astype(np.float64)
    # it drops a mark at sample 0, which shifts all later beats by one
    trace = np.pad(np.nan_to_num(trace), MARGIN, mode="edge")
    tops = _climb(trace, beats + MARGIN, round(0.04 * lead.rate))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _, marks = neurokit2.ecg_delineate(trace, tops, sampling_rate=lead.rate, method="prominence")
        except (ValueError, IndexError, TypeError):
            # what it raises on shapes that are no heartbeat differs by version
            return {}
    if any(len(marks[key]) != len(beats) for key in _BOUNDS.values()):
        return {}  # it lost a beat, and says not which
    times = {name: (np.array(marks[key], dtype=np.float64) - MARGIN) / lead.rate for name, key in _BOUNDS.items()}
    return {name: _plausible(name, time, beats / lead.rate) for name, time in times.items()}


def _climb(trace: np.ndarray, beats: np.ndarray, reach: int) -> np.ndarray:
    """The highest sample near each beat: the method takes R for a maximum, and a deep S is none."""
    starts = np.maximum(beats - reach, MARGIN)  # a top in the margin would lose its onset
    return np.array([i + np.argmax(trace[i : b + reach + 1]) for i, b in zip(starts, beats, strict=True)])


def _plausible(name: str, time: np.ndarray, r: np.ndarray) -> np.ndarray:
    """NaN for a bound outside the recording or on the wrong side of R."""
    before = name in ("p_on", "p_peak", "p_off", "qrs_on")
    return np.where((time >= 0) & (time <= r if before else time >= r), time, np.nan)


def _isoelectric(trace: np.ndarray, onset: np.ndarray, rate: float) -> np.ndarray:
    """Median of the 20 ms before each QRS onset, `(beats,)`."""
    levels = np.full(len(onset), np.nan)
    width = max(1, round(ISOELECTRIC_SECONDS * rate))
    for i in np.flatnonzero(np.isfinite(onset)):
        stop = max(1, round(onset[i] * rate))
        levels[i] = np.median(trace[max(0, stop - width) : stop])
    return levels


def _at(trace: np.ndarray, times: np.ndarray, rate: float) -> np.ndarray:
    """The trace at times in seconds, NaN where a time is."""
    values = np.full(len(times), np.nan)
    known = np.isfinite(times)
    values[known] = trace[np.clip(np.rint(times[known] * rate).astype(np.int64), 0, len(trace) - 1)]
    return values


def _median(values: np.ndarray) -> float:
    """Median of what is known, NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
