"""When a heart beats and a chest breathes: one course of both for everything that is recorded at a visit.

    RR_k = mean × (1 + drift − swing × breath(t_k) + Mayer(t_k) + jitter)          sinus rhythm
    RR_k = mean × max(1 + irregularity × noise, ½)                                 atrial fibrillation

Breaths differ in length and depth, and there are sighs and pauses. Times come from streams keyed by (seed, visit)
and are the same however long the recording is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.signal import lfilter

from stethos.synth.world import World

BEFORE = 6.0  # s of course before the recording starts, so that nothing begins with it
GRID = 8.0  # Hz of slow courses


@dataclass(frozen=True)
class Beats:
    """R peaks in seconds and, for each, the RR before it, whether it is ectopic, its size; the phase of breath."""

    peak: np.ndarray
    before: np.ndarray
    ectopic: np.ndarray
    size: np.ndarray
    breath: float


@dataclass(frozen=True)
class Breathing:
    """Breaths one after another.

    Args:
        start: When each begins, s from the start of the recording; the first is before it.
        active: How long each moves air, s; what is left until the next is a pause.
        depth: Relative depth of each.
        inspiration: Fraction of a breath spent breathing in.
    """

    start: np.ndarray
    active: np.ndarray
    depth: np.ndarray
    inspiration: float

    def __call__(self, time: np.ndarray) -> np.ndarray:
        """Volume of air, −1 at the end of a breath out and about 1 at the end of a breath in, at times in s."""
        breath, part = self._part(time)
        return self.depth[breath] * (1 - np.cos(2 * np.pi * self._turn(part))) - 1

    def phase(self, time: np.ndarray) -> np.ndarray:
        """Radians since the first breath, at times in s; 2π a breath."""
        breath, part = self._part(time)
        return 2 * np.pi * (breath + self._turn(part))

    def rate(self, seconds: float) -> float:
        """Breaths per minute in the recording, counting parts of breaths."""
        breath, part = self._part(np.array([0.0, seconds]))
        return float(60 * (breath[1] + part[1] - breath[0] - part[0]) / seconds)

    def _turn(self, part: np.ndarray) -> np.ndarray:
        """Breathing in is the first half of a turn, breathing out the second."""
        share = self.inspiration
        return np.where(part < share, part / (2 * share), 0.5 + (part - share) / (2 * (1 - share)))

    def _part(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        breath = np.maximum(np.searchsorted(self.start, time, side="right") - 1, 0)
        return breath, np.clip((time - self.start[breath]) / self.active[breath], 0.0, 1.0)


def stream(visit: Mapping[str, Any], seed: int, *part: int) -> np.random.Generator:
    """The random stream of one part of a visit's recordings."""
    key = int.from_bytes(blake2b(str(visit["id"]).encode(), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, key, *part])


def breathing(visit: Mapping[str, Any], seed: int, world: World, seconds: float) -> Breathing:
    """The course of breathing of a visit.

    Args:
        visit: One row of `visits` of a world with a circulation.
        seed: Of the course.
        world: Constants.
        seconds: How long it must last.
    """
    usual = 60 / visit["breath_rate"]
    count = int(1.5 * (seconds + 3 * BEFORE) / usual) + 8
    noise = stream(visit, seed, 10).standard_normal((count, 2))
    chance = stream(visit, seed, 11).random((count, 3))
    again = world["breath.jitter"][2]
    length = usual * np.exp(visit["breath_jitter"] * correlated(noise[:, 0], again))
    depth = np.exp(world["breath.depth"] * noise[:, 1])
    often, deep, long = world["breath.sigh"]
    sigh = chance[:, 0] < often
    least, most = world["breath.pause"][2:]
    pause = (chance[:, 1] < visit["breath_pause"]) * (least + (most - least) * chance[:, 2])
    length, depth = length * np.where(sigh, long, 1.0), depth * np.where(sigh, deep, 1.0)
    start = np.cumsum(length + pause) - (length + pause) - BEFORE - usual * chance[0, 2]
    return Breathing(start, length, depth, float(visit["breath_inspiration"]))


def beats(
    visit: Mapping[str, Any],
    seed: int,
    world: World,
    seconds: float,
    breath: Breathing | None = None,
    slow: SlowWave | None = None,
) -> Beats:
    """The beats of a visit of a world with a circulation, from some before the recording to its end.

    Args:
        visit: One row of `visits` of a world with a circulation.
        seed: Of the beats.
        world: Constants.
        seconds: Length of the recording.
        breath: The course of breathing, where it is at hand.
        slow: The Mayer wave, where it is at hand.
    """
    breath = breath or breathing(visit, seed, world, seconds)
    mean = 60 / visit["heart_rate"]
    count = int(1.35 * (seconds + BEFORE) / mean) + 16
    noise = stream(visit, seed, 12).standard_normal((count, 3))
    chance = stream(visit, seed, 13).random((count, 2))
    ectopic = _ectopic(chance[:, 0], visit["ectopic_share"])
    early, late = world["rhythm.ectopic_interval"]
    times = mean * np.where(ectopic, early, 1.0) * np.where(_after(ectopic), late, 1.0)
    start, shortest = -BEFORE * 0.5 - mean * chance[0, 1], world["beat.shortest"]
    if visit["rhythm"] == "AF":
        rest = np.maximum(1 + visit["fibrillation_spread"] * noise[:, 0], 0.5)
        interval = np.maximum(times * rest, shortest)
    else:
        swing = _swing(visit, breath, slow or slow_wave(visit, seed, world, seconds), world)
        rest = 1 + visit["beat_jitter"] * noise[:, 0] + visit["beat_drift"] * _drifting(noise[:, 1], mean, world)
        interval = _swinging(rest, times, start, swing, shortest)
    peak = start + np.cumsum(interval)
    size = 1 + 0.03 * breath(peak) + 0.01 * noise[:, 2]
    return Beats(peak, interval, ectopic, size, 0.0)


def _swing(
    visit: Mapping[str, Any], breath: Breathing, slow: SlowWave, world: World
) -> Callable[[np.ndarray], np.ndarray]:
    """How much longer than usual, relative, an interval is that starts at a time in s."""
    lag = world["breath.lags"][0]
    return lambda time: visit["mayer_beats"] * slow(time) - visit["breath_beats"] * breath(time - lag)


def _swinging(
    rest: np.ndarray, times: np.ndarray, start: float, swing: Callable[[np.ndarray], np.ndarray], shortest: float
) -> np.ndarray:
    """Intervals in s, each swung by the time at which it starts, which is when those before it end."""
    interval = np.maximum(times * rest, shortest)
    for _ in range(2):
        interval = np.maximum(times * (rest + swing(start + np.cumsum(interval) - interval)), shortest)
    return interval


class SlowWave:
    """A wave of about 0.1 Hz whose frequency wanders.

    Args:
        phase: Radians at steps of 1 / `GRID` from `BEFORE` seconds before the recording.
    """

    def __init__(self, phase: np.ndarray) -> None:
        self.phase = phase

    def __call__(self, time: np.ndarray) -> np.ndarray:
        """Between −1 and 1, at times in s from the start of the recording."""
        return np.sin(np.interp((time + BEFORE) * GRID, np.arange(len(self.phase)), self.phase))


def slow_wave(visit: Mapping[str, Any], seed: int, world: World, seconds: float) -> SlowWave:
    """The Mayer wave of a visit; the same in beats, baseline and size."""
    knots = int((seconds + 3 * BEFORE) / 10) + 2
    rng = stream(visit, seed, 14)
    start, noise = 2 * np.pi * rng.random(), rng.standard_normal(knots)
    grid = np.arange(int((seconds + 2 * BEFORE) * GRID)) / GRID
    frequency = visit["mayer_frequency"] + world["slow.mayer"][2] * np.interp(grid, 10.0 * np.arange(knots), noise)
    return SlowWave(start + 2 * np.pi * np.cumsum(frequency) / GRID)


def heart_rate(beat: Beats, seconds: float) -> float:
    """Mean over a recording, 1/min: intervals between its first and last beat."""
    inside = beat.peak[(beat.peak >= 0) & (beat.peak < seconds)]
    return float(60 * (len(inside) - 1) / (inside[-1] - inside[0]))


def correlated(noise: np.ndarray, again: float) -> np.ndarray:
    """Unit noise in which each value keeps a part of the one before, `(N,)`."""
    noise = np.concatenate([noise[:1] / np.sqrt(1 - again**2), noise[1:]])
    return np.sqrt(1 - again**2) * lfilter([1.0], [1.0, -again], noise)


def _drifting(noise: np.ndarray, mean: float, world: World) -> np.ndarray:
    return correlated(noise, float(np.exp(-mean / world["slow.drift"][1])))


def _ectopic(chance: np.ndarray, share: float) -> np.ndarray:
    """Which beats are ectopic; no two in a row."""
    drawn = chance < share
    return drawn & ~_after(drawn)


def _after(ectopic: np.ndarray) -> np.ndarray:
    return np.concatenate([[False], ectopic[:-1]])


def hospital_beats(visit: Mapping[str, Any], rng: np.random.Generator, world: World, seconds: float) -> Beats:
    """The beats of a visit of a hospital without a circulation: breathing is one sine.

    Args:
        visit: One row of `visits`.
        rng: Stream of the beats.
        world: Constants.
        seconds: Length of the recording.
    """
    mean = 60 / visit["heart_rate"]
    count = int(seconds / mean * 1.7) + 6
    number = np.arange(count)
    breath = 2 * np.pi * rng.random()
    turn = breath + 2 * np.pi * visit["respiratory_rate"] / 60 * mean * number
    swing, fall = world["beat.sinus_arrhythmia"]
    swing = 0.0 if visit["paced"] else swing * np.exp(-(visit["age"] - 20) / fall)
    irregular = rng.standard_normal(count)
    if visit["rhythm"] == "AF":
        interval = mean * np.maximum(1 + world["beat.fibrillation_irregularity"] * irregular, 0.5)
    else:
        interval = mean * (1 + swing * np.sin(turn) + world["beat.jitter"] * (not visit["paced"]) * irregular)
    ectopic = rng.random(count) < visit["ectopic_share"]
    ectopic[1:] &= ~ectopic[:-1]
    pause = np.roll(ectopic, 1)
    early, late = world["rhythm.ectopic_interval"]
    interval = interval * np.where(ectopic, early, 1.0) * np.where(pause, late, 1.0)
    peak = np.cumsum(interval) - interval[0] - mean * (0.4 + rng.random())
    return Beats(peak, interval, ectopic, 1 + 0.03 * np.sin(turn) + 0.01 * rng.standard_normal(count), breath)
