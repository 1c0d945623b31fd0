"""How a sound machine sounds where it stands.

    sound(t) = casing ∗ [ tones(angle(t)) · motion(t) + flow(t) · open(t) · (1 + m cos passing) + hum + strokes ]

Everything that turns is a function of one angle, so that speed bends all of it together. A fan, pump, gearbox or
bearing runs on; a valve opens and closes; a slider goes forth and back, and its angle with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.fft import irfft, rfft

from stethos.synth.anatomy import Identity
from stethos.synth.faults import Turning
from stethos.synth.waveform import (
    cosine,
    noise,
    passages,
    periodic,
    root_mean_square,
    swelling,
    tilted,
)
from stethos.synth.world import World

NEPER = np.log(10) / 20  # of a decibel
STEADY: Mapping[str, Any] = {"speed": 1.0, "load": 1.0, "tones": 0.0}  # nominal operation


def sound(
    which: Identity, clip: Mapping[str, Any], count: int, world: World, generator: np.random.Generator
) -> tuple[np.ndarray, Turning]:
    """A sound machine at its place, scaled to unit power in nominal operation, `(count,)`, and how it turned.

    The first tenth of a second is not yet settled.

    Args:
        which: The machine.
        clip: "speed" and "load" as multiples of nominal, "tones" (dB of its tones beside that of all identities).
        count: Samples.
        world: Constants.
        generator: Of this recording.
    """
    values, turning = _assembled(which, clip, count, world, generator)
    return values / np.float32(_nominal(which, world)), turning


@lru_cache(maxsize=64)
def _nominal(which: Identity, world: World) -> float:
    """Root mean square in nominal operation, over 8 s of its own."""
    rng = np.random.default_rng([which.section, 8])
    values, _ = _assembled(which, STEADY, 1 << 17, world, rng)
    return root_mean_square(values[1 << 11 :])


def _assembled(
    which: Identity, clip: Mapping[str, Any], count: int, world: World, rng: np.random.Generator
) -> tuple[np.ndarray, Turning]:
    """The parts together, through the casing."""
    motion, gate, strokes = _cycle(which, clip, count, world, rng)
    turning = _turning(which, clip, motion, world, rng)
    swell = np.exp(swelling(count, round(world["run.course"] * turning.rate), NEPER * world["run.swell"], rng))
    per_speed = world[f"{which.machine}.per_speed"] * np.log10(clip["speed"])
    loaded = world["run.per_load"] * np.log10(clip["load"])
    flow = _flow(which, turning, count, world, rng) * gate
    tones = _turned(which, turning, world) * motion * _amplitude(loaded / 2 + clip["tones"])
    mains = 2 * world["run.mains"] / turning.rate * np.arange(count) + rng.random()
    values = (flow + tones) * swell + periodic(mains, which.hum) * _hummed(which, gate) + strokes
    spectrum = rfft(values, count) * _casing(which, count, turning.rate)
    return irfft(spectrum, count) * _amplitude(per_speed + loaded / 2), turning


def _amplitude(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))


def _hummed(which: Identity, gate: np.ndarray) -> np.ndarray | np.float32:
    """A valve's coil hums while it holds the valve open; a motor's hums on."""
    return gate if which.machine == "valve" else np.float32(1)


def _turning(
    which: Identity, clip: Mapping[str, Any], motion: np.ndarray, world: World, rng: np.random.Generator
) -> Turning:
    """The angle of the shaft, whose speed wanders a little."""
    rate = world["layout.rate"]
    speed = which.rotation * clip["speed"]
    wander = 1 + swelling(len(motion), round(world["run.course"] * rate), world["run.wander"], rng)
    turns = np.cumsum(motion * wander * np.float32(speed / rate), dtype=np.float64) + rng.random()
    bearing = world.constants.get(f"{which.machine}.bearing", "6205")
    return Turning(turns, speed, rate, bearing, which.spalled, which.loose)


def _turned(which: Identity, turning: Turning, world: World) -> np.ndarray | np.float32:
    """What is locked to the shaft, for flow noise of unit power, `(T,)`."""
    if not which.rotation:
        return np.float32(0)
    mesh = np.zeros(max(which.passing * len(which.mesh), len(which.shaft)), np.complex64)
    mesh[which.passing - 1 :: which.passing][: len(which.mesh)] = which.mesh
    if f"{which.machine}.wheel" not in world.constants:
        mesh[: len(which.shaft)] += which.shaft
        return periodic(turning.turns, mesh)
    pinion, wheel = world[f"{which.machine}.sidebands"]
    ratio = which.passing / world[f"{which.machine}.wheel"][which.section]
    passed = periodic(turning.turns, mesh) * (1 + pinion * cosine(turning.turns))
    return passed * (1 + wheel * cosine(turning.turns * ratio)) + periodic(turning.turns, which.shaft)


def _flow(which: Identity, turning: Turning, count: int, world: World, rng: np.random.Generator) -> np.ndarray:
    """Noise of flow or friction, of unit power but for its modulation, `(count,)`."""
    flow = noise(_falling(*world[f"{which.machine}.flow"], count, turning.rate), count, rng)
    depth = world.constants.get(f"{which.machine}.modulation", 0.0)
    return flow * (1 + depth * cosine(turning.turns * which.passing)) if depth else flow


@lru_cache(maxsize=16)
def _falling(corner: float, slope: float, count: int, rate: float) -> np.ndarray:
    """Amplitudes of a flow's noise, `(count // 2 + 1,)`."""
    return tilted(np.fft.rfftfreq(count, 1 / rate), corner, slope).astype(np.float32)


def _cycle(
    which: Identity, clip: Mapping[str, Any], count: int, world: World, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray | np.float32]:
    """Speed and flow as fractions of full ones, and impacts; for a machine that runs on, ones and none."""
    if f"{which.machine}.period" not in world.constants:
        steady = np.ones(count, np.float32)
        return steady, steady, np.float32(0)
    rate = world["layout.rate"]
    seconds = world[f"{which.machine}.period"][which.section] / clip["speed"]
    period = seconds * rate
    starts = passages(np.arange(-2 * period, count + 2 * period) / period, 1, world[f"{which.machine}.jitter"], rng)
    starts = starts - 2 * period
    within = np.interp(np.arange(count), starts, np.arange(len(starts))) % 1  # of a period
    if which.machine == "valve":
        opened = world["valve.open"][which.section]
        motion = (within < opened).astype(np.float32)
        ends = (starts, starts + opened * period)
    else:
        rest, ramp = world["slider.rest"] / 2, world["slider.ramp"] / seconds
        stroke = (within % 0.5).astype(np.float32)
        motion = np.clip(np.minimum(stroke - rest / 2, 0.5 - rest / 2 - stroke) / ramp, 0, 1)
        ends = (starts + (0.5 - rest / 2) * period, starts + (1 - rest / 2) * period)
    return motion, motion, _struck(which, ends, count, world, rng)


def _struck(
    which: Identity, ends: tuple[np.ndarray, np.ndarray], count: int, world: World, rng: np.random.Generator
) -> np.ndarray:
    """Strokes at the two ends of a motion (samples), `(count,)`."""
    values = np.zeros(count + len(which.stroke), np.float32)
    for places, decibels in zip(ends, world[f"{which.machine}.impact"], strict=True):
        sizes = 10 ** ((decibels + world["run.stroke_spread"] * rng.standard_normal(len(places))) / 20)
        for place, size in zip(np.rint(places).astype(int), sizes, strict=True):
            if 0 <= place < count:
                values[place : place + len(which.stroke)] += np.float32(size) * which.stroke
    return values[:count]


@lru_cache(maxsize=16)
def _casing(which: Identity, count: int, rate: float) -> np.ndarray:
    """1 + Σ (g − 1) · 2iζ f f₀ / (f₀² − f² + 2iζ f f₀): every resonance stands out by its gain g at f₀."""
    frequency = np.fft.rfftfreq(count, 1 / rate)
    response = np.ones(len(frequency), np.complex128)
    for own, damping, gain in which.modes:
        resisted = 2j * damping * frequency * own
        response += (gain - 1) * resisted / (own**2 - frequency**2 + resisted)
    return response.astype(np.complex64)
