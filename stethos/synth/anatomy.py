"""What machines are made of.

Identities of a type differ in speed, numbers of blades or teeth, timing, resonances, and the levels of their tones.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stethos.synth.world import World

MACHINES = ("fan", "pump", "gearbox", "bearing", "valve", "slider")
MOST_SECTIONS = 7


@dataclass(frozen=True, eq=False)
class Identity:
    """One machine of a type.

    Args:
        machine: Its type.
        section: Its number within the type.
        rotation: Hz in nominal operation; 0 where nothing turns.
        passing: Blades, vanes, teeth or slots that pass in a turn.
        shaft: Complex amplitudes of the orders of rotation, against flow noise of unit power.
        mesh: Complex amplitudes of the multiples of passing, likewise.
        hum: Complex amplitudes of the multiples of twice the mains frequency.
        modes: Resonances of the casing, rows of frequency (Hz), damping and gain (amplitude), `(M, 3)`.
        stroke: What is heard of a single stroke, from its largest sample of size 1 on, `(L,)`.
        spalled: Resonance that a spall rings, Hz.
        loose: Resonance of what may rattle, Hz.
        decay: Seconds in which the sound of its room falls by 60 dB.
    """

    machine: str
    section: int
    rotation: float
    passing: int
    shaft: np.ndarray
    mesh: np.ndarray
    hum: np.ndarray
    modes: np.ndarray
    stroke: np.ndarray
    spalled: float
    loose: float
    decay: float


@lru_cache(maxsize=64)
def identity(machine: str, section: int, seed: int, world: World) -> Identity:
    """A machine of a simulated factory; the same for the same seed, whatever else the factory holds.

    Args:
        machine: One of `MACHINES`.
        section: Its number, 0 to 6.
        seed: Of the factory.
        world: Constants.
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{machine}/{section}".encode())])
    turning = f"{machine}.rotation" in world.constants
    rotation = float(world[f"{machine}.rotation"][section]) if turning else 0.0
    passing = int(world[f"{machine}.passing"][section]) if turning else 0
    shaft, mesh, hum = _tones(machine, rotation, passing, world, rng)
    count, (low, high) = world["casing.modes"], np.log(world["casing.range"])
    modes = np.stack(
        [
            np.exp(rng.uniform(low, high, count)),
            _drawn(world["casing.damping"], count, rng),
            10 ** (_drawn(world["casing.gain"], count, rng) / 20),
        ],
        axis=1,
    )
    return Identity(
        *(machine, section, rotation, passing, shaft, mesh, hum, modes),
        stroke=_stroke(machine, world, rng),
        spalled=rng.uniform(*world["fault.spall_resonance"]),
        loose=rng.uniform(*world["fault.looseness_resonance"]),
        decay=rng.uniform(*world["room.decay"]),
    )


def _tones(
    machine: str, rotation: float, passing: int, world: World, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amplitudes of the orders of rotation, of the multiples of passing, and of the hum; a tone's power is |c|² / 2."""
    levels, spread = world[f"{machine}.levels"], world["tones.spread"]
    falls = (
        world["tones.shaft_fall"] * np.arange(world["tones.shaft_harmonics"]),
        world.constants.get(f"{machine}.passing_fall", 0.0) * np.arange(world["tones.passing_harmonics"]),
        -np.array(world["tones.hum"]),
    )
    steps = (rotation, rotation * passing, 2 * world["run.mains"])
    made = []
    for level, fall, step in zip(levels, falls, steps, strict=True):
        decibels = level - fall + spread * rng.standard_normal(len(fall))
        size = np.sqrt(2) * 10 ** (decibels / 20) * np.exp(2j * np.pi * rng.random(len(fall)))
        made.append(size[step * np.arange(1, len(fall) + 1) <= world["tones.highest"]])
    return made[0], made[1], made[2]


def _stroke(machine: str, world: World, rng: np.random.Generator) -> np.ndarray:
    """Small stiff parts that ring together and die away: decaying noise, the same at every stroke."""
    if f"{machine}.ringing" not in world.constants:
        return np.zeros(1, np.float32)
    decay = rng.uniform(*world[f"{machine}.ringing"]) * world["layout.rate"]
    ring = rng.standard_normal(round(7 * decay)) * np.exp(-np.arange(round(7 * decay)) / decay)
    ring[0] = np.abs(ring).max()
    return (ring / ring[0]).astype(np.float32)


def _drawn(limits: tuple[float, float], count: int, rng: np.random.Generator) -> np.ndarray:
    low, high = limits
    return rng.uniform(low, high, count)
