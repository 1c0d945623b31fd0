"""Polarity of one channel of pulse (photoplethysmogram).

Blood rushes in and drains away: whatever else a pulse looks like, its rise is steeper than its fall. The slope of
an upright pulse is therefore skewed to the positive side, and that of one turned upside down to the negative.
"""

from dataclasses import replace

import numpy as np
from scipy.signal import sosfiltfilt

from stethos.errors import ChannelError, RateError
from stethos.signal.filter import butterworth
from stethos.signal.gaps import bridge
from stethos.types import Signal

RATES = (25.0, 1000.0)  # Hz
PULSE_BAND = (0.5, 8.0)  # Hz: the pulse wave with its dicrotic notch, without breath and mains
POLARITY_SECONDS = 5.0  # a span with some beats in it; one spoilt by motion is outvoted by the others


def inverted(pulse: Signal) -> bool:
    """Whether the pulse seems upside down: in most stretches of 5 s its falls are steeper than its rises.

    The median over the stretches of the skewness of the slope between 0.5 and 8 Hz is negative.

    Args:
        pulse: One channel in any unit, 25 to 1000 Hz.

    Returns:
        False where it cannot be told, as of a constant.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    trace = one_channel(pulse)
    if len(trace) < pulse.rate:
        return False
    slope = np.diff(pulse_band(trace, pulse.rate))
    count = max(1, round(len(slope) / (POLARITY_SECONDS * pulse.rate)))
    span = len(slope) // count
    parts = slope[: count * span].reshape(count, span)
    parts = parts - parts.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.mean(parts**2, axis=1))
    moving = spread > 1e-6 * np.abs(trace).max()
    skewness = np.mean(parts[moving] ** 3, axis=1) / spread[moving] ** 3
    return bool(len(skewness) and np.median(skewness) < 0)


def upright(pulse: Signal) -> Signal:
    """The pulse, turned over where it seems upside down.

    Args:
        pulse: One channel in any unit, 25 to 1000 Hz.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return replace(pulse, values=-pulse.values) if inverted(pulse) else pulse


def pulse_band(trace: np.ndarray, rate: float) -> np.ndarray:
    """The trace between 0.5 and 8 Hz, zero-phase, `(T,)`.

    Args:
        trace: Without gaps, `(T,)`.
        rate: Sampling rate, Hz.
    """
    sos = butterworth(2, PULSE_BAND, "bandpass", rate)
    return sosfiltfilt(sos, trace - np.median(trace), padlen=min(len(trace) - 1, round(2 * rate)))


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
