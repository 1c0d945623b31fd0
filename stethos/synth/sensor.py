"""What a pulse sensor, the wearer's movements and the device add to a pulse.

    light  = gain × (pulse + drift + noise + artefact of movement)
    values = level ± coupled, filtered light, within the scale, in steps; then flat spells and gaps

Movements are sums of sines with a direction, so that the artefact in the pulse and the acceleration at the wrist
come from the same course at any rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi

from stethos.synth.rhythm import GRID, correlated, stream
from stethos.synth.world import World


def recorded(blood: np.ndarray, visit: Mapping[str, Any], seed: int, world: World, rate: float) -> np.ndarray:
    """What the device makes of blood under its sensor, `(T,)` in the device's unit, NaN in gaps.

    Args:
        blood: In pulses of unit size, `(T,)`.
        visit: One row of `visits`.
        seed: Of the noise.
        world: Devices, and `world.noise` that multiplies all that they add; without it nothing is lost either.
        rate: Hz.
    """
    site = visit["site"]
    rng = stream(visit, seed, 16)
    adjusted, spread = world.at_site("pulse_adjusted", site), world.at_site("pulse_gain", site)
    gain = world.at_site("pulse_amplitude", site) * np.exp(spread * rng.standard_normal())
    light = visit["perfusion"] ** (1 - adjusted) * blood
    if world.noise:
        disturbed = _disturbance(len(blood), movements(visit, seed, world, len(blood) / rate), site, rate, world, rng)
        light = light + visit["perfusion"] ** -adjusted * disturbed
    light = gain * _coupled(light, site, rate, world)
    spells = _spells(visit, seed, world, len(blood) / rate) if world.noise else {}
    for start, _ in spells.get("gain_steps", ()):
        light[int(start * rate) :] *= world["device.gain_step"] ** rng.choice([-1.0, 1.0])
    values = world.at_site("pulse_level", site) + world.at_site("pulse_sign", site) * light
    return _digitised(values, spells, site, rate, world) if world.noise else values


def accelerated(visit: Mapping[str, Any], seed: int, world: World, rate: float, count: int) -> np.ndarray:
    """Acceleration at the wrist, gravity included, `(3, T)` in g.

    Args:
        visit: One row of `visits`.
        seed: Of the movements.
        world: Constants, and `world.noise` that multiplies movements and noise.
        rate: Hz.
        count: Samples.
    """
    rng = stream(visit, seed, 17)
    held = rng.standard_normal(3)[:, None] * np.ones(count)
    moved = np.zeros((3, count))
    time = np.arange(count) / rate
    for movement in movements(visit, seed, world, count / rate):
        part, shift = movement.course(time, world)
        moved[:, part] += shift
        turned = np.clip((time - movement.start) / movement.seconds, 0, 1)
        held += world.noise * movement.turn[:, None] * turned
    held /= np.linalg.norm(held, axis=0)
    noise = world["accelerometer.noise"] * rng.standard_normal((count, 3)).T
    step, most = world["accelerometer.step"], world["accelerometer.range"]
    values = held + world.noise * (moved + noise)
    return np.clip(np.rint(values / step) * step, -most, most) if world.noise else values


@dataclass(frozen=True)
class Movement:
    """One movement.

    Args:
        start: s from the start of the recording.
        seconds: How long it lasts.
        frequency: Hz, of each of its waves, `(H,)`.
        size: g.
        phase: Of each wave in each direction, and of what only the sensor feels, radians, `(4, H)`.
        way: Relative size in each direction, `(3,)`.
        turn: How the wrist is turned afterwards, `(3,)`.
    """

    start: float
    seconds: float
    frequency: np.ndarray
    size: float
    phase: np.ndarray
    way: np.ndarray
    turn: np.ndarray

    def course(self, time: np.ndarray, world: World) -> tuple[slice, np.ndarray]:
        """Samples in which it takes place, and the acceleration there in g, `(3, t)`."""
        part, waves = self.waves(time, world)
        return part, self.size * self.way[:, None] * waves[:3]

    def waves(self, time: np.ndarray, world: World) -> tuple[slice, np.ndarray]:
        """Samples in which it takes place, and its waves of unit size there, `(4, t)`; the last is not accelerated."""
        first, last = np.searchsorted(time, [self.start, self.start + self.seconds])
        since = time[first:last] - self.start
        swell = np.sin(np.pi * since / self.seconds) ** 0.5
        waves = np.zeros((4, len(since)))
        for number, (size, *_) in enumerate(world["motion.waves"]):
            turn = 2 * np.pi * self.frequency[number] * since
            waves += size * np.sin(turn + self.phase[:, number, None])
        return slice(int(first), int(last)), swell * waves


def movements(visit: Mapping[str, Any], seed: int, world: World, seconds: float) -> Iterator[Movement]:
    """The movements of a recording, in order; the first are the same however long it lasts."""
    rng = stream(visit, seed, 18)
    least, more, most = world["motion.length"]
    size, spread, often = world["motion.size"]
    low, high = world["motion.frequency"]
    usual = world.at_site("pulse_motion", visit["site"])
    per_minute = usual * np.exp(often * rng.standard_normal() - often**2 / 2)
    start, waves = 0.0, np.array(world["motion.waves"])
    while True:
        chance, noise = rng.random(3 + 5 * len(waves)), rng.standard_normal(7)
        start -= 60 / per_minute * np.log1p(-chance[0])
        if start >= seconds:
            return
        yield Movement(
            start,
            float(min(least - more * np.log1p(-chance[1]), most)),
            (low + (high - low) * chance[2])
            * (waves[:, 1] + np.ptp(waves[:, 1:], axis=1) * chance[3 : 3 + len(waves)]),
            float(size * np.exp(spread * noise[0])),
            2 * np.pi * chance[3 + len(waves) :].reshape(4, len(waves)),
            noise[1:4] / np.linalg.norm(noise[1:4]),
            0.3 * noise[4:7],
        )


def _disturbance(
    count: int, moves: Iterable[Movement], site: str, rate: float, world: World, rng: np.random.Generator
) -> np.ndarray:
    """Drift, noise and artefacts of movement, in the site's median pulses, `(T,)`."""
    share = np.exp(world["device.spread"] * rng.standard_normal(3)) * world.noise
    level = [world.at_site(f"pulse_{kind}", site) for kind in ("wander", "noise", "artefact")]
    coupling, time = rng.standard_normal(3), np.arange(count) / rate
    coupling = coupling / np.linalg.norm(coupling)
    grid = int(count / rate * GRID) + 2
    drift = _smooth(rng.standard_normal(grid + _WARM), world)[_WARM:]
    held = level[0] * share[0] * np.interp(time, np.arange(grid) / GRID, drift)
    held += level[1] * share[1] * rng.standard_normal(count)
    felt, lag = level[2] * share[2] / world["motion.size"][0], world["motion.lag"]
    for movement in moves:
        part, waves = movement.waves(time - lag, world)
        seen = coupling @ (movement.way[:, None] * waves[:3])
        held[part] += felt * movement.size * (seen + world["motion.own_share"] * 0.5 * waves[3])
    return held


_WARM = int(10 * GRID)  # steps


def _smooth(noise: np.ndarray, world: World) -> np.ndarray:
    """Noise of unit size with two memories, at steps of 1 / `GRID`."""
    kept = [float(np.exp(-1 / (GRID * memory))) for memory in world["device.wander_memory"]]
    first, second = kept
    for again in kept:
        noise = correlated(noise, again)
    return noise * np.sqrt((1 - first * second) / (1 + first * second))


def _coupled(light: np.ndarray, site: str, rate: float, world: World) -> np.ndarray:
    """Through the device's band, with its delay."""
    low, high = world.at_site("pulse_low_cut", site), min(world.at_site("pulse_high_cut", site), 0.45 * rate)
    sections, settled = _band(low, high, rate)
    return sosfilt(sections, light, zi=settled * light[0])[0]


@lru_cache(maxsize=32)
def _band(low: float, high: float, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Second-order sections, and their state after a constant 1."""
    sections = butter(2, high, "lowpass", fs=rate, output="sos")
    if low:
        sections = np.concatenate([sections, butter(1, low, "highpass", fs=rate, output="sos")])
    return sections, sosfilt_zi(sections)


def _spells(visit: Mapping[str, Any], seed: int, world: World, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """When the device fails, by kind: start and length in s."""
    kinds = ("gaps", "flats", "saturated", "gain_steps")
    bounds = [*world["device.spells"], [0.0, 0.0]]
    found: dict[str, list[tuple[float, float]]] = {}
    rng = stream(visit, seed, 22)
    for kind, (least, most) in zip(kinds, bounds, strict=True):
        per_minute = world.at_site(f"pulse_{kind}", visit["site"]) * world.noise
        found[kind] = list(_poisson(rng, per_minute, seconds, least, most)) if per_minute else []
    return found


def _poisson(
    rng: np.random.Generator, per_minute: float, seconds: float, least: float, most: float
) -> Iterator[tuple[float, float]]:
    start = 0.0
    while True:
        start -= 60 / per_minute * np.log1p(-rng.random())
        length = least + (most - least) * rng.random()
        if start >= seconds:
            return
        yield start, length


def _digitised(
    values: np.ndarray, spells: Mapping[str, list[tuple[float, float]]], site: str, rate: float, world: World
) -> np.ndarray:
    """On the device's scale and steps, with what it loses."""
    low, high = world.at_site("pulse_range", site)
    step = world.at_site("pulse_step", site)

    def parts(kind: str) -> Iterator[slice]:
        for start, length in spells.get(kind, ()):
            yield slice(int(start * rate), int((start + length) * rate) + 1)

    for part in parts("saturated"):
        values[part] = high
    values = np.rint(np.clip(values, low, high) / step) * step
    for part in parts("flats"):
        values[part] = values[part.start]
    for part in parts("gaps"):
        values[part] = np.nan
    return values
