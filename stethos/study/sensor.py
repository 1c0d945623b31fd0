"""Faults of a microphone, told from the samples alone, so that none of them is taken for a fault of the machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stethos.types import Signal

_STUCK_SECONDS = 0.02  # no microphone in air gives one and the same value for so long; 0.4 ms in 109 recordings


@dataclass(frozen=True)
class SensorLimits:
    """Beyond which a block of sound says more of the microphone than of the machine.

    The defaults lie well clear of 109 recordings of seven kinds of machine: −57 dB at the quietest, 0.6 % of the
    samples at full scale in the loudest (a propeller), no mean beyond 0.0003, no value held longer than 0.4 ms.

    Args:
        floor: Lowest level, dB of full scale; a 16-bit recorder with nothing at its input is near −96.
        clipped: Highest share of samples at full scale.
        full_scale: Magnitude from which a sample counts as at full scale.
        offset: Largest magnitude of the mean, of full scale.
        stuck: Highest share of samples in stretches of 20 ms or more of one value.
        rates: Lowest and highest sampling rate in Hz; the lowest is what the network hears at.
    """

    floor: float = -80.0
    clipped: float = 0.02
    full_scale: float = 0.999
    offset: float = 0.25
    stuck: float = 0.01
    rates: tuple[float, float] = (16_000.0, math.inf)


def level(sound: Signal) -> float:
    """Root mean square about the mean, in dB of full scale; −∞ for silence, NaN for no samples.

    Args:
        sound: One channel in full-scale units.
    """
    values = sound.values[0].astype(np.float64)
    power = float(np.var(values)) if len(values) else math.nan
    return 10 * math.log10(power) if power > 0 else (-math.inf if power == 0 else math.nan)


def sensor_fault(sound: Signal, limits: SensorLimits) -> str:
    """Why a block says nothing of the machine, as a phrase; "" where it does.

    Args:
        sound: One channel in full-scale units.
        limits: Beyond which it does not.
    """
    values = sound.values[0].astype(np.float64)
    low, high = limits.rates
    if not low * 0.99 <= sound.rate <= high * 1.01:
        needed = f"{low:g}" if low == high else f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        return f"wrong rate: {sound.rate:g} Hz, needs {needed}"
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong or not len(values):
        return f"{wrong} of {len(values)} samples are no numbers"
    if np.ptp(values) == 0:
        return f"dead: every sample is {values[0]:.3g} of full scale"
    if level(sound) < limits.floor:
        return f"dead: {level(sound):.1f} dB of full scale, needs {limits.floor:g}"
    clipped = float(np.mean(np.abs(values) >= limits.full_scale))
    if clipped > limits.clipped:
        return f"clipped: {clipped:.1%} of the samples are at full scale, {limits.clipped:.1%} may be"
    if abs(values.mean()) > limits.offset:
        return f"offset: the mean is {values.mean():.2f} of full scale, {limits.offset:g} may be"
    stuck = _stuck(values, round(_STUCK_SECONDS * sound.rate))
    if stuck > limits.stuck:
        return f"stuck: the signal stands still for {stuck:.1%} of the block, {limits.stuck:.1%} may be"
    return ""


def _stuck(values: np.ndarray, least: int) -> float:
    """Share of the samples in stretches of one value that are at least so long."""
    edges = np.flatnonzero(np.diff(values) != 0) + 1
    lengths = np.diff(np.concatenate([[0], edges, [len(values)]]))
    return float(lengths[lengths >= least].sum()) / len(values)
