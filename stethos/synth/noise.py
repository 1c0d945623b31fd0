"""What a device, its electrodes and the room add to an ECG."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt

from stethos.synth.world import World


def recorded(breath: np.ndarray, site: str, rate: float, world: World, rng: np.random.Generator) -> np.ndarray:
    """Noise of one lead at a site, `(T,)` mV: wander, mains, muscle and electrode movement.

    Each recording has its own share of each kind, log-normal about the site's level, so that a few are poor.

    Args:
        breath: Phase of breathing, radians, `(T,)`.
        site: Where it is recorded.
        rate: Hz.
        world: Levels, and `world.noise` that multiplies them all.
        rng: Of this lead.
    """
    share = np.exp(world["noise.spread"] * (rng.standard_normal(4) - 0.2)) * world.noise
    levels = [world.at_site(kind, site) for kind in ("wander", "mains", "muscle", "motion")]
    if world.noise == 0:
        return np.zeros(len(breath))
    time = np.arange(len(breath)) / rate
    drift = _wander(breath, time, rng) * levels[0] * share[0]
    hum = 2 * np.pi * world.at_site("mains_frequency", site) * time + 2 * np.pi * rng.random()
    hum = levels[1] * share[1] * (np.sin(hum) + 0.2 * np.sin(3 * hum))
    tremor = levels[2] * share[2] * _muscle(len(time), rate, rng)
    return drift + hum + tremor + share[3] * _motion(time, rng, levels[3], world["noise.motion"])


def digitised(values: np.ndarray, site: str, rate: float, world: World) -> np.ndarray:
    """Through the site's band, without delay, and its converter: `(C, T)` mV, within ±5 mV."""
    low, high = world.at_site("low_cut", site), min(world.at_site("high_cut", site), 0.45 * rate)
    count = values.shape[1]
    # the recording and its mirror image: without a step at the ends there is nothing to ring
    spectrum = np.fft.rfft(np.concatenate([values, values[:, ::-1]], axis=1), axis=1)
    values = np.fft.irfft(spectrum * _band(low, high, rate, 2 * count), 2 * count, axis=1)[:, :count]
    if world.noise == 0:
        return values
    step = world.at_site("resolution", site)
    return np.clip(np.rint(values / step) * step, -5, 5)


@lru_cache(maxsize=32)
def _band(low: float, high: float, rate: float, count: int) -> np.ndarray:
    """Gain of a first-order high-pass and a second-order Butterworth low-pass, each run both ways."""
    frequency = np.fft.rfftfreq(count, 1 / rate)
    return frequency**2 / (frequency**2 + low**2) / (1 + (frequency / high) ** 4)


@lru_cache(maxsize=8)
def _tremor(rate: float) -> np.ndarray:
    return butter(2, 20, "highpass", fs=rate, output="sos")


def _wander(breath: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slow drift of unit size: breathing, and three slower waves."""
    slow = rng.uniform(0.05, 0.45, 3)
    phase = 2 * np.pi * rng.random(4)
    drift = 0.8 * np.sin(breath + phase[3])
    for frequency, start in zip(slow, phase, strict=False):
        drift += 0.65 * np.sin(2 * np.pi * frequency * time + start)
    return drift


def _muscle(count: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Noise above 20 Hz of unit size, swelling and fading."""
    swell = np.interp(np.arange(count), np.linspace(0, count, 6), np.exp(0.3 * rng.standard_normal(6)))
    return swell * sosfilt(_tremor(rate), rng.standard_normal(count))


def _motion(time: np.ndarray, rng: np.random.Generator, events: float, motion: list[float]) -> np.ndarray:
    """Sudden shifts of up to about 1 mV that decay within a second; `events` of them in 10 s on average."""
    size, shortest, longest = motion
    shift = np.zeros(len(time))
    for _ in range(rng.poisson(events * time[-1] / 10)):
        later = np.maximum(time - rng.random() * time[-1], 0)
        shift += (
            size * rng.standard_normal() * np.exp(-later / rng.uniform(shortest, longest)) * -np.expm1(-later / 0.05)
        )
    return shift
