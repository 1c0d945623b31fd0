"""An ECG from a visit: Gaussian waves on the beats of one heart, and what a device adds.

    x(t) = Σ_beats Σ_waves a exp(−(t − R − c)² / 2σ²),   σ = σ₋ before the wave's centre c, σ₊ after it

after the sum of Gaussians of McSharry et al. The QRS starts where the undisturbed one starts, and potassium
widens its later half; P ends up PR before it, T peaks where the undisturbed one peaks. So each effect of
potassium stays within its own wave. Times of beats, waves and noise come from streams keyed by (seed, visit).

Reference:
    McSharry, Clifford, Tarassenko and Smith 2003, doi:10.1109/TBME.2003.808805.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from stethos.errors import ChannelError
from stethos.synth import noise
from stethos.synth.rhythm import Beats, beats, breathing, hospital_beats, stream
from stethos.synth.world import World
from stethos.types import Signal

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ELECTRODES = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def ecg(
    visit: Mapping[str, Any],
    seed: int,
    world: World,
    rate: float | None = None,
    seconds: float = 10.0,
    leads: tuple[str, ...] = ("I",),
) -> Signal:
    """The recording of a visit; the same for the same seed and visit, whatever else is asked for.

    Args:
        visit: One row of `visits`.
        seed: Of the beats and the noise.
        world: Constants and noise.
        rate: Sampling rate in Hz; the site's own where not given.
        seconds: Length.
        leads: Any of the twelve.

    Returns:
        Signal in mV, one channel a lead.

    Raises:
        ChannelError: A lead is none of the twelve.
    """
    unknown = [lead for lead in leads if lead not in LEADS]
    if unknown:
        raise ChannelError(f"an ECG has the leads {', '.join(LEADS)}; got {', '.join(unknown)}")
    rate = float(rate or world.at_site("rate", visit["site"]))
    beat, breath = _course(visit, seed, world, np.arange(round(seconds * rate)) / rate, seconds)
    waves = _paint(_shapes(visit, beat, world), beat, rate, len(breath))  # (6, T)
    waves[0] += _fibrillation(visit, stream(visit, seed, 1), world, rate, waves.shape[1])
    needed = _electrodes(leads)
    values = _factors(world)[needed] @ waves  # (E, T)
    for row, electrode in enumerate(needed):
        values[row] += noise.recorded(breath, visit["site"], rate, world, stream(visit, seed, 2, electrode))
    values = _from_electrodes(values, needed, leads, reverse=bool(visit["reversed_leads"]))
    return Signal(noise.digitised(values, visit["site"], rate, world), rate, leads, "mV")


def _course(
    visit: Mapping[str, Any], seed: int, world: World, time: np.ndarray, seconds: float
) -> tuple[Beats, np.ndarray]:
    """The beats, and the phase of breathing at the given times; where a pulse is recorded too, both are its own."""
    if world.pulse:
        breath = breathing(visit, seed, world, seconds)
        return beats(visit, seed, world, seconds, breath), breath.phase(time)
    beat = hospital_beats(visit, stream(visit, seed, 0), world, seconds)
    return beat, beat.breath + 2 * np.pi * visit["respiratory_rate"] / 60 * time


def _shapes(visit: Mapping[str, Any], beats: Beats, world: World) -> list[tuple[int, np.ndarray]]:
    """Each Gaussian as (axis, rows): axis 0 to 4 for P, Q, R, S, T; rows hold centre, σ₋, σ₊ (s), amplitude (mV)."""
    rest, widening = visit["qrs_rest_ms"] / 1e3, (visit["qrs_ms"] - visit["qrs_rest_ms"]) / 1e3
    onset = -0.42 * rest
    broad = bool(visit["bundle_branch_block"]) or bool(visit["paced"])
    shapes = _block(visit, rest, widening) if broad else _narrow(visit, rest, widening, world)
    if visit["p_amplitude"] > 0:
        shapes += _p_wave(visit, onset, world)
    table = [(axis, np.tile(row, (len(beats.peak), 1))) for axis, row in shapes]
    for _, rows in table:
        rows[:, 3] *= beats.size
    table += _st_and_t(visit, onset, beats, world)
    return _with_ectopic(table, beats, visit) + _spike(visit, onset, beats)


def _narrow(
    visit: Mapping[str, Any], rest: float, widening: float, world: World
) -> list[tuple[int, tuple[float, ...]]]:
    """Q, R and S of a conducted beat; where potassium widens it, a slow terminal deflection against R."""
    late = 1 + widening / (0.58 * rest)
    deeper = world["effect.terminal_deflection"] * widening * visit["r_amplitude"]
    return [
        (1, (-0.27 * rest, 0.07 * rest, 0.07 * rest, visit["q_amplitude"])),
        (2, (0.0, 0.115 * rest, 0.115 * rest * late, visit["r_amplitude"])),
        (3, (0.34 * rest * late, 0.09 * rest * late, 0.10 * rest * late, visit["s_amplitude"] + deeper)),
    ]


def _block(visit: Mapping[str, Any], rest: float, widening: float) -> list[tuple[int, tuple[float, ...]]]:
    """A broad, notched R without Q or S, as in left bundle branch block and right ventricular pacing."""
    late = 1 + widening / (0.58 * rest)
    height = visit["r_amplitude"]
    return [
        (2, (-0.10 * rest, 0.125 * rest, 0.13 * rest, 0.8 * height)),
        (2, (0.22 * rest * late, 0.13 * rest, 0.13 * rest * late, 0.75 * height)),
    ]


def _p_wave(visit: Mapping[str, Any], onset: float, world: World) -> list[tuple[int, tuple[float, ...]]]:
    """Two overlapping humps, right and left atrium; a large left atrium comes later and by itself."""
    duration, notch = visit.get("p_width_ms", world["beat.p_duration"]) / 1e3, visit.get("p_notch", 0.0)
    start = onset - visit["pr_ms"] / 1e3
    width, height = (0.17 - 0.3 * notch) * duration, 0.78 * visit["p_amplitude"]
    return [
        (0, (start + (0.38 - 0.5 * notch) * duration, width, width, height)),
        (0, (start + (0.64 + 0.5 * notch) * duration, width, width, (0.9 + 2 * notch) * height)),
    ]


def _st_and_t(visit: Mapping[str, Any], onset: float, beats: Beats, world: World) -> list[tuple[int, np.ndarray]]:
    """ST level and T. The QT follows a running mean of RR; the more potassium, the more symmetric T."""
    steady = 0.7 * 60 / visit["heart_rate"] + 0.3 * np.clip(beats.before, 0.35, 1.6)
    qt = visit["qt_corrected_ms"] / 1e3 * np.cbrt(steady)
    shape = visit["t_shape"]
    width = visit["t_width_ms"] / shape / 1e3 * np.cbrt(steady)
    after = width / 5.2
    peak = onset + qt - 2.3 * after
    before = after * (1 + world["effect.t_asymmetry"] * max(shape - 0.6, 0) / 0.4)
    t = np.stack([peak, before * shape, after * shape, visit["t_amplitude"] * beats.size], axis=1)
    middle = 0.5 * (onset + visit["qrs_rest_ms"] / 1e3 + peak)
    spread = 0.28 * (peak - onset - visit["qrs_rest_ms"] / 1e3)
    st = np.stack([middle, spread, spread, np.full(len(peak), visit["st_level"])], axis=1)
    return [(4, st), (4, t)]


def _with_ectopic(
    table: list[tuple[int, np.ndarray]], beats: Beats, visit: Mapping[str, Any]
) -> list[tuple[int, np.ndarray]]:
    """Ventricular ectopic beats: no P, a broad R, T the other way."""
    early = beats.ectopic
    if not early.any():
        return table
    for axis, rows in table:
        if axis != 2:
            rows[early, 3] = 0.0
    broad = next(rows for axis, rows in table if axis == 2)
    broad[early] = (0.0, 0.030, 0.042, 1.3 * visit["r_amplitude"])
    _, t = table[-1]
    t[early, 3] = -0.45 * visit["r_amplitude"]
    return table


def _spike(visit: Mapping[str, Any], onset: float, beats: Beats) -> list[tuple[int, np.ndarray]]:
    """The pacemaker's impulse."""
    if not visit["paced"]:
        return []
    return [(2, np.tile((onset - 0.004, 0.0012, 0.0012, 0.6), (len(beats.peak), 1)))]


def _paint(shapes: list[tuple[int, np.ndarray]], beats: Beats, rate: float, count: int) -> np.ndarray:
    """Sum of all Gaussians, by axis, `(5, T)`; each is drawn within 4.5 σ of its centre only."""
    canvas = np.zeros((5, count))
    for axis, rows in shapes:
        centre = (beats.peak + rows[:, 0])[:, None]  # (beats, 1)
        reach = int(np.ceil(4.5 * rows[:, 1:3].max() * rate)) + 1
        sample = np.rint(centre * rate).astype(np.int64) + np.arange(-reach, reach + 1)  # (beats, W)
        away = sample / rate - centre
        width = np.where(away < 0, rows[:, 1:2], rows[:, 2:3])
        drawn = rows[:, 3:4] * np.exp(-0.5 * (away / width) ** 2)
        inside = (sample >= 0) & (sample < count)
        canvas[axis] += np.bincount(sample[inside], weights=drawn[inside], minlength=count)
    return canvas


def _fibrillation(
    visit: Mapping[str, Any], rng: np.random.Generator, world: World, rate: float, count: int
) -> np.ndarray | float:
    """Fibrillatory waves, 4 to 8 a second, of wandering frequency and size; 0 in other rhythms."""
    if visit["rhythm"] != "AF":
        return 0.0
    time = np.arange(count) / rate
    knots = np.arange(0, count / rate + 1.0, 0.5)
    frequency = np.interp(time, knots, 6.0 + 0.8 * rng.standard_normal(len(knots)))
    size = np.interp(time, knots, np.exp(0.35 * rng.standard_normal(len(knots))))
    phase = 2 * np.pi * (np.cumsum(frequency) / rate + rng.random())
    height = world["beat.fibrillation_wave"] * np.exp(0.4 * rng.standard_normal())
    return height * size * (np.sin(phase) + 0.35 * np.sin(2 * phase + 0.7))


def _factors(world: World) -> np.ndarray:
    """How large each axis' wave is in each electrode lead, relative to lead I, `(8, 5)`."""
    return _projection(tuple(map(tuple, world["beat.leads"])), tuple(map(tuple, world["beat.axes"])))


@lru_cache(maxsize=8)
def _projection(leads: tuple[tuple[float, ...], ...], axes: tuple[tuple[float, ...], ...]) -> np.ndarray:
    seen = np.array(leads) @ np.array(axes).T  # (8, 5)
    return seen / seen[0]


def _electrodes(leads: tuple[str, ...]) -> list[int]:
    """Which of the eight independent leads are needed."""
    if leads == ("I",):
        return [0]
    limbs = {0, 1} if set(leads) & set(LEADS[:6]) else set()
    return sorted(limbs | {ELECTRODES.index(lead) for lead in leads if lead in ELECTRODES})


def _from_electrodes(values: np.ndarray, needed: list[int], leads: tuple[str, ...], reverse: bool) -> np.ndarray:
    """The leads asked for, by Einthoven and Goldberger; `reverse` exchanges the arms."""
    held = {ELECTRODES[electrode]: row for electrode, row in zip(needed, values, strict=True)}
    if reverse and "I" in held:
        held = held | {"I": -held["I"]} | ({"II": held["II"] - held["I"]} if "II" in held else {})
    if "II" in held:
        one, two = held["I"], held["II"]
        held |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return np.stack([held[lead] for lead in leads])
