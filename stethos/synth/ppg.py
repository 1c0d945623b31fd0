"""A pulse from a visit: the beats of the ECG, seconds later at the finger or the wrist.

    onset_k  = R_k + electromechanical delay + transit
    inflow   = Σ_k a_k [ G(t − c) + r G(t − c − Δ) − n G(t − closure) ]     first and reflected wave, closing valve
    τ dV/dt  = τ inflow − V                                                 what flows in drains away
    a_k      ∝ filling(RR_k) × (RR_{k−1} / mean)^p × breathing × Mayer wave

G are Gaussians of unit area, the first and the reflected one steeper before their peak. In fibrillation short
intervals leave hardly a pulse. Times come from `rhythm`, so that the ECG of the visit has the same beats.

Reference:
    Millasseau, Kelly, Ritter and Chowienczyk 2002, Clin Sci 103:371, for the two waves and the notch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter

from stethos.errors import ChannelError
from stethos.synth import sensor
from stethos.synth.rhythm import BEFORE, GRID, Beats, Breathing, SlowWave, beats, breathing, slow_wave, stream
from stethos.synth.world import World
from stethos.types import Signal

_EARLY = BEFORE / 2  # s that are drawn before the recording starts


@dataclass(frozen=True)
class Pulses:
    """What reaches the sensor, one row a beat.

    Args:
        onset: When the pulse begins, s from the start of the recording.
        size: Relative to a pulse after a mean interval; near 0 where a beat is not felt.
        closure: When the aortic valve closes, as seen at the sensor, s.
        beat: The beats.
    """

    onset: np.ndarray
    size: np.ndarray
    closure: np.ndarray
    beat: Beats


def ppg(
    visit: Mapping[str, Any], seed: int, world: World, rate: float | None = None, seconds: float | None = None
) -> Signal:
    """The pulse of a visit, as the site's device records it.

    Args:
        visit: One row of `visits` of a world with a pulse.
        seed: Of the beats, the breaths and the noise.
        world: Constants and noise.
        rate: Sampling rate in Hz; the device's own where not given.
        seconds: Length; the world's where not given.

    Returns:
        Signal with the channel "PLETH", in the device's unit ("1" or "a.u."); NaN where the device lost it.
    """
    rate = float(rate or world.at_site("pulse_rate", visit["site"]))
    seconds = float(seconds or world["recording.seconds"])
    count = round(seconds * rate)
    breath, slow = breathing(visit, seed, world, seconds), slow_wave(visit, seed, world, seconds)
    pulse = pulses(visit, seed, world, seconds, breath, slow)
    blood = _volume(visit, pulse, world, rate, count)
    blood += _baseline(visit, breath, slow, world, np.arange(count) / rate)
    values = sensor.recorded(blood, visit, seed, world, rate)
    return Signal(values[None], rate, ("PLETH",), world.at_site("pulse_unit", visit["site"]))


def accelerometer(
    visit: Mapping[str, Any], seed: int, world: World, rate: float | None = None, seconds: float | None = None
) -> Signal:
    """What a wrist device feels of the movements that disturb its pulse.

    Args:
        visit: One row of `visits` of a world with a pulse.
        seed: As of `ppg`.
        world: Constants and noise.
        rate: Sampling rate in Hz; the device's own where not given.
        seconds: Length; the world's where not given.

    Returns:
        Signal with the channels "ACC_X", "ACC_Y" and "ACC_Z" in g.

    Raises:
        ChannelError: The site's device has no accelerometer.
    """
    if not world.at_site("pulse_wrist", visit["site"]):
        raise ChannelError(f"an accelerometer is worn at the wrist; the device at site {visit['site']} has none")
    rate = float(rate or world["accelerometer.rate"])
    count = round(float(seconds or world["recording.seconds"]) * rate)
    return Signal(sensor.accelerated(visit, seed, world, rate, count), rate, ("ACC_X", "ACC_Y", "ACC_Z"), "g")


def pulses(
    visit: Mapping[str, Any],
    seed: int,
    world: World,
    seconds: float,
    breath: Breathing | None = None,
    slow: SlowWave | None = None,
) -> Pulses:
    """When each beat reaches the sensor, and how strong it is.

    Args:
        visit: One row of `visits` of a world with a pulse.
        seed: Of the beats and the breaths.
        world: Constants.
        seconds: Length of the recording.
        breath: The course of breathing, where it is at hand.
        slow: The Mayer wave, where it is at hand.
    """
    breath = breath or breathing(visit, seed, world, seconds)
    slow = slow or slow_wave(visit, seed, world, seconds)
    beat = beats(visit, seed, world, seconds, breath, slow)
    noise = stream(visit, seed, 15).standard_normal((len(beat.peak), 2))
    uneven, early = world["pulse.unevenness"]
    swing = 1 - visit["breath_size"] * breath(beat.peak - world["breath.lags"][1])
    swing = swing + visit["mayer_size"] * slow(beat.peak)
    size = _filled(visit, beat, world) * np.maximum(swing, 0.05) * np.exp(uneven * noise[:, 0])
    longer = beat.before - 60 / visit["heart_rate"]
    delay = visit["electromechanical"] + world["pulse.electromechanical"][4] / 1e3 * longer
    onset = beat.peak + np.maximum(delay, 0.04) + visit["transit"] + early * noise[:, 1]
    ejection = visit["ejection"] * np.clip(beat.before * visit["heart_rate"] / 60, 0.5, 1.6) ** 0.3
    return Pulses(onset, size, onset + ejection, beat)


def _filled(visit: Mapping[str, Any], beat: Beats, world: World) -> np.ndarray:
    """Size of each beat's pulse by the intervals before it, relative to that after mean intervals."""
    mean = 60 / visit["heart_rate"]
    starts, fills = world["pulse.filling"]

    def filled(interval: np.ndarray | float) -> np.ndarray:
        return np.maximum(-np.expm1(-(np.asarray(interval) - starts) / fills), 0.0)

    last = np.concatenate([[mean], beat.before[:-1]])
    size = filled(beat.before) / filled(mean) * (last / mean) ** world["pulse.potentiation"]
    return size * np.where(beat.ectopic, world["pulse.ectopic"], 1.0)


def _volume(visit: Mapping[str, Any], pulse: Pulses, world: World, rate: float, count: int) -> np.ndarray:
    """Blood under the sensor, in pulses of unit size, `(T,)`."""
    early = round(_EARLY * rate)
    inflow = _inflow(visit, pulse.onset + early / rate, pulse.closure + early / rate, pulse.size, world)
    painted = _paint(inflow, rate, count + early)
    one = _inflow(visit, np.array([0.5]), np.array([0.5 + visit["ejection"]]), np.ones(1), world)
    alone = _drained(_paint(one, rate, round(1.6 * rate)), visit["runoff"], rate)
    return _drained(painted, visit["runoff"], rate)[early:] / np.ptp(alone)


def _inflow(
    visit: Mapping[str, Any], onset: np.ndarray, closure: np.ndarray, size: np.ndarray, world: World
) -> list[tuple[np.ndarray, float, float, np.ndarray]]:
    """Kinds of Gaussians: centres (s), widths before and after them (s), areas."""
    rise = visit["upstroke"]
    fall, wider = world["pulse.fall"] * rise, world["pulse.reflection_width"]
    first = onset + 2 * rise
    shuts = closure + world["pulse.notch_delay"]
    width = world["pulse.notch"][3]
    return [
        (first, rise, fall, size),
        (first + visit["reflection_delay"], wider * rise, wider * fall, visit["reflection_size"] * size),
        (shuts, width, width, -visit["notch"] * size),
    ]


def _paint(kinds: list[tuple[np.ndarray, float, float, np.ndarray]], rate: float, count: int) -> np.ndarray:
    """Sum of Gaussians of given areas, `(T,)`; each is drawn within 4 widths of its centre."""
    most = max(max(before, after) for _, before, after, _ in kinds)
    margin = 2 * int(np.ceil(4 * most * rate)) + 4
    canvas = np.zeros(count + 2 * margin)
    for centre, before, after, area in kinds:
        near = (centre * rate > 1 - margin / 2) & (centre * rate < count + margin / 2 - 1)
        middle = np.rint(centre[near] * rate).astype(np.int64)
        reach = np.arange(-int(np.ceil(4 * before * rate)), int(np.ceil(4 * after * rate)) + 1)  # (W,)
        away = reach / rate + (middle / rate - centre[near])[:, None]  # (beats, W)
        drawn = np.exp(-0.5 * (away / np.where(reach < 0, before, after)) ** 2)
        drawn *= (area[near] / (np.sqrt(np.pi / 2) * (before + after)))[:, None]
        sample = middle[:, None] + reach + margin
        canvas += np.bincount(sample.ravel(), weights=drawn.ravel(), minlength=len(canvas))
    return canvas[margin:-margin]


def _drained(inflow: np.ndarray, seconds: float, rate: float) -> np.ndarray:
    """Inflow that has come and not yet gone, `(T,)`."""
    return lfilter([1 / rate], [1.0, -np.exp(-1 / (seconds * rate))], inflow)


def _baseline(
    visit: Mapping[str, Any], breath: Breathing, slow: SlowWave, world: World, time: np.ndarray
) -> np.ndarray:
    """Slow waves of breathing and of vessels, in pulses of unit size, `(T,)`."""
    grid = np.arange(-1.0, time[-1] + 1.0, 1 / GRID)
    held = visit["mayer_baseline"] * slow(grid) - visit["breath_baseline"] * breath(grid - world["breath.lags"][2])
    return np.interp(time, grid, held)
