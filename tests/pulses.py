"""Pulses drawn by hand: beats at known times, with a steep rise, a slower fall and a dicrotic wave."""

import numpy as np

from stethos.types import Signal

RISE = 0.14  # s from foot to top


def beat_shape(since: np.ndarray, dicrotic: float = 0.3, width: float = 0.13) -> np.ndarray:
    """One beat of height 1 by seconds since its foot: raised cosine up, half a bell down, a bell 0.4 s after it."""
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(since / RISE, 0, 1))
    fall = np.exp(-0.5 * (np.maximum(since - RISE, 0) / width) ** 2)
    return rise * fall + dicrotic * np.exp(-0.5 * ((since - 0.42) / 0.06) ** 2) * (since > 0)


def feet_at(per_minute: float, seconds: float, first: float = 0.4) -> np.ndarray:
    """Feet of a regular pulse."""
    return np.arange(first, seconds - 0.6, 60 / per_minute)


def pulse_of(feet, rate=125.0, seconds=30.0, noise=0.0, heights=None, dicrotic=0.3, width=0.13, seed=0) -> Signal:
    """A pulse with beats whose feet are at the given seconds."""
    trace = noise * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    heights = np.ones(len(feet)) if heights is None else heights
    for foot, height in zip(feet, heights, strict=True):
        first = max(0, int(np.ceil(foot * rate)))
        since = np.arange(first, min(len(trace), first + round(1.2 * rate))) / rate - foot
        trace[first : first + len(since)] += height * beat_shape(since, dicrotic, width)
    return Signal(trace[None], rate, ("PLETH",), "1")


def changed(pulse: Signal, values: np.ndarray) -> Signal:
    """The same with other samples."""
    return Signal(np.asarray(values).reshape(1, -1), pulse.rate, pulse.channels, pulse.unit)
