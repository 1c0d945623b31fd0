"""Where a machine stands and who else is heard there: room, microphone, background.

    room(t) = δ(t) + r n(t) exp(−6.91 t / T₆₀)        n: white Gaussian noise

Reference:
    Polack 1988; Jot, Cerveau and Warusfel 1997, AES convention 103, preprint 4629 (the room).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.fft import irfft, rfft

from stethos.synth.anatomy import Identity
from stethos.synth.running import NEPER
from stethos.synth.waveform import noise, swelling, tilted
from stethos.synth.world import World

LOCATIONS = ("A", "B", "C")
NOISES = ("A", "B", "C")


def room(decay: float, direct: float, first: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """The response of a room to a click, from the direct sound of size 1 until 60 dB are gone, `(L,)`.

    Args:
        decay: T₆₀, seconds in which the reverberation falls by 60 dB.
        direct: dB of the direct sound's energy against that of the reverberation.
        first: Seconds from the direct sound to the first reflection.
        rate: Hz.
        generator: Of the reflections.
    """
    time = np.arange(round(decay * rate)) / rate
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / decay) * (time >= first)
    tail *= 10 ** (-direct / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


def settling(which: Identity, world: World) -> int:
    """Samples after which a room has forgotten that the machine was not always running."""
    return round(which.decay * world["layout.rate"])


def heard(values: np.ndarray, which: Identity, location: str, seed: int, world: World) -> np.ndarray:
    """A machine as the microphone gets it, in full-scale units, without the first `settling` samples.

    Args:
        values: The machine at its place, unit power in nominal operation, `(T,)`.
        which: The machine, whose room it is.
        location: Of the microphone, "A", "B" or "C".
        seed: Of the factory.
        world: Constants.
    """
    way = _way(which, location, seed, world, len(values))
    return irfft(rfft(values) * way, len(values))[settling(which, world) :]


@lru_cache(maxsize=16)
def _way(which: Identity, location: str, seed: int, world: World, count: int) -> np.ndarray:
    """Room and microphone as one frequency response, `(count // 2 + 1,)`."""
    rate, place = world["layout.rate"], LOCATIONS.index(location)
    rng = np.random.default_rng([seed, which.section, place, *which.machine.encode()])
    response = room(which.decay, world["room.direct"][place], world["room.first"], rate, rng)
    frequency = np.fft.rfftfreq(count, 1 / rate)
    gain = 10 ** ((world["microphone.level"] + world["microphone.gain"][place]) / 20)
    cut = world["microphone.low_cut"]
    microphone = gain * tilted(frequency, 1000, world["microphone.tilt"][place]) * frequency / (frequency + 1j * cut)
    return (rfft(response, count) * microphone).astype(np.complex64)


def background(name: str, decibels: float, count: int, world: World, generator: np.random.Generator) -> np.ndarray:
    """What else is heard in the hall, and the microphone's own noise, in full-scale units, `(count,)`.

    Args:
        name: Which factory noise, "A", "B" or "C".
        decibels: By which it is louder than usual.
        count: Samples.
        world: Levels, and `world.noise` that multiplies all of it.
        generator: Of this recording.
    """
    rate = world["layout.rate"]
    level = 10 ** ((world["microphone.level"] - world["background.ratio"][NOISES.index(name)] + decibels) / 20)
    swell = np.exp(swelling(count, round(world["run.course"] * rate), NEPER * world["background.swell"], generator))
    steady = noise(_colour(name, world, count), count, generator)
    clangs = _clangs(count, rate, world, generator)
    return (steady * swell + clangs) * np.float32(level * world.noise)


@lru_cache(maxsize=8)
def _colour(name: str, world: World, count: int) -> np.ndarray:
    """Amplitudes of a background's noise, its neighbours' tones and the microphone's noise, `(count // 2 + 1,)`."""
    rate, place = world["layout.rate"], NOISES.index(name)
    frequency = np.fft.rfftfreq(count, 1 / rate)
    gain = tilted(frequency, world["background.corner"], world["background.slope"][place])
    gain[0] = 0.0
    power = np.sum(gain**2)
    own = world["microphone.own_noise"] - world["microphone.level"] + world["background.ratio"][place]
    gain = np.sqrt(gain**2 + power / len(gain) * 10 ** (own / 10))
    for tone in world["background.tones"][place]:
        gain[round(tone * count / rate)] += np.sqrt(power * 10 ** (world["background.tone_level"] / 10))
    return gain.astype(np.float32)


def _clangs(count: int, rate: float, world: World, rng: np.random.Generator) -> np.ndarray:
    """Knocks against a background of unit power, `(count,)`."""
    clangs = np.zeros(count, np.float32)
    low, high = np.log(world["background.clang_range"])
    for _ in range(rng.poisson(world["background.clangs"] * count / rate / 10)):
        decibels = world["background.clang_level"] + world["background.clang_spread"] * rng.standard_normal()
        frequency, decay = np.exp(rng.uniform(low, high)), rng.uniform(*world["background.clang_ringing"])
        start = rng.integers(count)
        time = np.arange(min(count - start, round(7 * decay * rate))) / rate
        size = 10 ** (decibels / 20) * np.exp(-time / decay)
        clangs[start : start + len(time)] += size * np.sin(2 * np.pi * frequency * time)
    return clangs
