"""From one sampling rate to another through a fraction and a polyphase filter.

A rate ratio is replaced by the best fraction up/down of small numbers, or by two of them in turn. The signal
is, in effect, stuffed with up − 1 zeros a sample, low-passed once, and every down-th sample kept. The low-pass
passes up to 0.8 of the lower Nyquist frequency unchanged and is 80 dB down from that Nyquist frequency on, so
that nothing folds back.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.signal import firwin, kaiserord, resample_poly

from stethos.errors import RateError
from stethos.signal.gaps import bridge, reopen
from stethos.types import Signal

# A recorder's crystal is good to about 20 ppm: a fraction closer than that adds no error that can be seen.
MAX_ERROR_PPM = 20.0
STOPBAND_DB = 80.0
# Width of the transition as a fraction of the lower Nyquist frequency: passes 50 Hz when going to 125 Hz.
TRANSITION = 0.2


@dataclass(frozen=True)
class Ratio:
    """A sampling-rate ratio as a fraction.

    Args:
        up: Factor of interpolation.
        down: Factor of decimation.
        error_ppm: (rate · up / down − target) / target, in parts per million.
    """

    up: int
    down: int
    error_ppm: float


def ratio(rate: float, target: float, limit: int = 500) -> Ratio:
    """Best fraction up/down ≈ target / rate with both numbers at most `limit`.

    Args:
        rate: Sampling rate of what there is, Hz.
        target: Sampling rate that is wanted, Hz.
        limit: Largest factor; the filter's length grows with it.

    Raises:
        RateError: A rate is not positive, or no such fraction is within 20 ppm.
    """
    best = _closest(rate, target, limit)
    if abs(best.error_ppm) > MAX_ERROR_PPM:
        raise RateError(
            f"from {rate:g} Hz to {target:g} Hz needs a fraction of numbers up to {limit} within "
            f"{MAX_ERROR_PPM:g} ppm; the best is {best.error_ppm:.0f} ppm off; state the rate more exactly "
            f"or go through a rate between"
        )
    return best


def _closest(rate: float, target: float, limit: int) -> Ratio:
    """Closest fraction to target / rate with both numbers at most `limit`, however far off it is."""
    if not (np.isfinite(rate) and np.isfinite(target) and rate > 0 and target > 0):
        raise RateError(f"resampling needs two positive rates in Hz; got {rate} and {target}")
    shrink = Fraction(min(rate, target) / max(rate, target)).limit_denominator(limit)
    if shrink == 0:
        return Ratio(0, 1, -1e6)
    small, large = shrink.numerator, shrink.denominator
    up, down = (small, large) if target <= rate else (large, small)
    return Ratio(up, down, (rate * up / (down * target) - 1) * 1e6)


def resample(signal: Signal, rate: float) -> Signal:
    """The same signal at another rate, band-limited to the lower of the two Nyquist frequencies.

    The first sample stays where it is; each fraction makes ceil(T · up / down) samples of T. Beyond its ends a
    signal is taken to go on at its last value. NaN is bridged for the filter and put back at the nearest samples.

    Args:
        signal: Any channels and unit.
        rate: Wanted sampling rate, Hz; the result states exactly this one.

    Raises:
        RateError: Neither one nor two fractions of numbers up to 500 lead there within 20 ppm.
    """
    if rate == signal.rate or signal.values.shape[1] == 0:
        return replace(signal, rate=rate)
    values, missing = bridge(signal.values)  # (C, T)
    # without its mean a constant is zero, and zero stays zero whatever the filter's ripple
    level = values.mean(axis=1, keepdims=True)
    values -= level
    for step in route(signal.rate, rate):
        taps = low_pass(max(step.up, step.down))
        values = resample_poly(values, step.up, step.down, axis=1, window=taps, padtype="edge")
    source = np.rint(np.arange(values.shape[1]) * (signal.rate / rate)).astype(np.int64)
    gaps = missing[:, np.minimum(source, missing.shape[1] - 1)]
    return replace(signal, values=reopen(values + level, gaps).astype(np.float32), rate=rate)


@lru_cache(maxsize=64)
def route(rate: float, target: float) -> tuple[Ratio, ...]:
    """The fractions that lead from one rate to another, in turn.

    One where it is close enough, as at 500 Hz to 125 Hz; otherwise up by (n + 1) / n first. 512 Hz to 125 Hz needs
    125 / 512, whose denominator is too large; 5 / 4 and then 25 / 128 is exact.

    Args:
        rate: Of what there is, Hz.
        target: That is wanted, Hz.

    Raises:
        RateError: Neither one nor two fractions of numbers up to 500 lead there within 20 ppm.
    """
    try:
        return (ratio(rate, target),)
    except RateError:
        steps = [(_closest(rate * (n + 1) / n, target, 500), n) for n in range(1, 500)]
        second, n = min(steps, key=lambda step: (abs(step[0].error_ppm), step[1]))
        if abs(second.error_ppm) > MAX_ERROR_PPM:
            raise
        return Ratio(n + 1, n, 0.0), second


@lru_cache(maxsize=16)
def low_pass(factor: int) -> np.ndarray:
    """Kaiser-windowed sinc that ends at 1/factor of the Nyquist frequency of the stuffed signal, `(taps,)`.

    Args:
        factor: The larger number of a fraction.
    """
    count, beta = kaiserord(STOPBAND_DB, TRANSITION / factor)
    return firwin(count | 1, (1 - TRANSITION / 2) / factor, window=("kaiser", beta))
