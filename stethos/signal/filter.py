"""Zero-phase filters: a wave stays at its time.

Every filter here runs forwards and backwards, so its gain is the square of the one-way gain: −6 dB at a
Butterworth cutoff rather than −3 dB, and no delay. NaN is bridged before and put back after.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

from stethos.errors import QualityError, RateError
from stethos.signal.gaps import bridge, reopen
from stethos.types import Signal


def lowpass(signal: Signal, hertz: float, order: int = 4) -> Signal:
    """Keep what is slower than `hertz` (Butterworth, −6 dB there).

    Args:
        signal: Any channels and unit.
        hertz: Cutoff, between 0 and half the sampling rate.
        order: Of the one-way filter.

    Raises:
        RateError: The cutoff is not below half the sampling rate.
        QualityError: The signal is too short.
    """
    _below_nyquist(signal, hertz)
    return _zero_phase(signal, butterworth(order, (hertz,), "lowpass", signal.rate), hertz)


def highpass(signal: Signal, hertz: float, order: int = 4) -> Signal:
    """Keep what is faster than `hertz` (Butterworth, −6 dB there).

    Args:
        signal: Any channels and unit.
        hertz: Cutoff, between 0 and half the sampling rate.
        order: Of the one-way filter.

    Raises:
        RateError: The cutoff is not below half the sampling rate.
        QualityError: The signal is too short.
    """
    _below_nyquist(signal, hertz)
    return _zero_phase(signal, butterworth(order, (hertz,), "highpass", signal.rate), hertz)


def bandpass(signal: Signal, low: float, high: float, order: int = 4) -> Signal:
    """Keep what lies between two frequencies (Butterworth, −6 dB at both).

    Args:
        signal: Any channels and unit.
        low: Lower cutoff, Hz.
        high: Upper cutoff, Hz, below half the sampling rate.
        order: Of the one-way filter's low-pass prototype.

    Raises:
        RateError: The cutoffs are not in order, or the upper is not below half the sampling rate.
        QualityError: The signal is too short.
    """
    _below_nyquist(signal, low)
    _below_nyquist(signal, high)
    if low >= high:
        raise RateError(f"a band-pass needs its lower cutoff below the upper; got {low:g} and {high:g} Hz")
    return _zero_phase(signal, butterworth(order, (low, high), "bandpass", signal.rate), low)


def notch(signal: Signal, hertz: float, q: float = 30.0) -> Signal:
    """Take out one frequency, such as the mains.

    Args:
        signal: Any channels and unit.
        hertz: Centre, between 0 and half the sampling rate.
        q: Centre divided by the one-way −3 dB width.

    Raises:
        RateError: The centre is not below half the sampling rate.
        QualityError: The signal is too short.
    """
    _below_nyquist(signal, hertz)
    return _zero_phase(signal, tf2sos(*iirnotch(hertz, q, fs=signal.rate)), hertz / q)


def remove_baseline(signal: Signal, seconds: float = 0.4) -> Signal:
    """Subtract a running median.

    A window of 0.4 s follows wander and leaves QRS; it also flattens ST and broad T waves.

    Args:
        signal: Any channels and unit.
        seconds: Window, made an odd number of samples; the ends are mirrored.
    """
    filled, missing = bridge(signal.values)  # (C, T)
    size = int(seconds * signal.rate) | 1
    baseline = np.stack([median_filter(row, size=size, mode="reflect") for row in filled])
    return replace(signal, values=reopen(filled - baseline, missing).astype(np.float32))


def butterworth(order: int, cutoffs: tuple[float, ...], kind: str, rate: float) -> np.ndarray:
    """A Butterworth filter in second-order sections, `(sections, 6)`.

    Args:
        order: Of the low-pass prototype.
        cutoffs: One frequency in Hz, or two for a band.
        kind: "lowpass", "highpass" or "bandpass".
        rate: Sampling rate, Hz.
    """
    return _design(order, cutoffs, kind, rate).copy()  # scipy refuses read-only sections


@lru_cache(maxsize=64)
def _design(order: int, cutoffs: tuple[float, ...], kind: str, rate: float) -> np.ndarray:
    """Designed once: that costs more than filtering 10 s."""
    return butter(order, cutoffs[0] if len(cutoffs) == 1 else cutoffs, kind, fs=rate, output="sos")


def _below_nyquist(signal: Signal, hertz: float) -> None:
    if not 0 < hertz < signal.rate / 2:
        raise RateError(
            f"a filter at {hertz:g} Hz needs a sampling rate above {2 * abs(hertz):g} Hz and a positive "
            f"frequency; the signal has {signal.rate:g} Hz"
        )


def _zero_phase(signal: Signal, sos: np.ndarray, slowest: float) -> Signal:
    """Filter both ways; the ends are continued for a period of the slowest frequency where there is room."""
    least = 6 * len(sos) + 3
    length = signal.values.shape[1]
    if length <= least:
        raise QualityError(f"this filter needs more than {least} samples; the signal has {length}; record for longer")
    pad = min(length - 1, max(least, round(signal.rate / slowest)))
    filled, missing = bridge(signal.values)
    filtered = sosfiltfilt(sos, filled, axis=1, padlen=pad)
    return replace(signal, values=reopen(filtered, missing).astype(np.float32))
