"""Where P, QRS and T begin, peak and end, and the intervals that follow.

A small network (`delineator`) says what each sample is, and `marks` to which beat that belongs. Where there is no P
wave, as in atrial fibrillation, its bounds are NaN.

Against the cardiologists' marks of LUDB, lead I, networks that had not seen the recording find 98 % of P waves, and 3 %
of what they find is none; the mean and standard deviation of the error are 2 ± 14 ms at the onset of P, −1 ± 9 ms at
that of QRS and 3 ± 21 ms at the end of T. On handheld strips (CinC 2017) 3 % of the beats of fibrillation have a P
wave, and 75 % of those of normal rhythm (`benchmarks/real/delineation.py`).
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from stethos.signal.beats import r_peaks
from stethos.signal.delineator import trained
from stethos.signal.gaps import bridge
from stethos.signal.marks import marked
from stethos.types import Signal

ISOELECTRIC_SECONDS = 0.02  # before QRS onset, at the end of the PR segment


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
        peaks: Sample numbers of R peaks in rising order, `(beats,)`; found where not given.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    beats = r_peaks(lead) if peaks is None else np.asarray(peaks, dtype=np.int64)
    unknown = np.full(len(beats), np.nan)
    found = Waves(**{item.name: unknown for item in fields(Waves)})
    found = replace(found, r=beats / lead.rate)
    return replace(found, **marked(lead, beats, trained()))


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
