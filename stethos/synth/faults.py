"""Faults of machines, as changes of a sound.

Severity is the number of decibels by which a fault alters the band it acts on:

    imbalance   a tone at rotation, which also modulates everything       band: 0.5 to 1.5 × rotation
    looseness   half and whole orders of rotation, and rattling           band: 0.4 × rotation to the loose part
    spall       impacts of rolling elements that ring a resonance         band: half an octave about the resonance
    leak        the hiss of a jet, rising with frequency                  band: above 3 kHz
    clogging    the opposite: high frequencies are lost, the rest surges  band: far above 1 kHz

With what is added scaled so that the band's power is exactly 10^(severity / 10) times what it was. A severity of 0
leaves the sound as it is. Numbers stand in `factory.toml`.

Reference:
    Randall and Antoni 2011, doi:10.1016/j.ymssp.2010.07.017 (bearings). Mobley 2002, An introduction to predictive
    maintenance (imbalance, looseness). Lighthill 1952, doi:10.1098/rspa.1952.0060 (jets). Greitzer 1976,
    doi:10.1115/1.3446138 (surge).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from stethos.errors import FormatError, RateError, RecipeError
from stethos.synth.waveform import cosine, noise, passages, periodic, ringing, root_mean_square, struck, tilted
from stethos.synth.world import constants

LOWEST_RATE = 8000.0  # Hz, below which leaks and spalls have no place


@dataclass(frozen=True, eq=False)
class Turning:
    """How a machine turned during a recording, and what its faults would excite.

    Args:
        turns: Angle of the shaft in turns, rising, `(T,)`.
        rotation: Hz, on average; 0 for a machine that does not turn.
        rate: Sampling rate in Hz.
        bearing: Name of a bearing of `factory.toml`.
        spalled: Resonance that a spall rings, Hz.
        loose: Resonance of what rattles, Hz.
    """

    turns: np.ndarray
    rotation: float
    rate: float
    bearing: str = "6205"
    spalled: float = 3500.0
    loose: float = 800.0


def ball_pass(bearing: str) -> tuple[float, float]:
    """How often balls pass a point of the outer and of the inner race, per turn of the shaft.

        outer = n/2 (1 − d/D cos φ)      inner = n/2 (1 + d/D cos φ)

    for n balls of diameter d on a pitch circle D at contact angle φ; the outer race stands still.

    Args:
        bearing: "6203" or "6205".

    Reference:
        Randall and Antoni 2011, table 1.
    """
    balls, ball, pitch, angle = constants("factory")[f"geometry.{bearing}"]
    ratio = ball / pitch * np.cos(np.radians(angle))
    return balls / 2 * (1 - ratio), balls / 2 * (1 + ratio)


def imbalance(values: np.ndarray, turning: Turning, severity: float, generator: np.random.Generator) -> np.ndarray:
    """A rotor whose mass is off its axis: a force once a turn, which also moves gaps and distances once a turn."""
    depth = constants("factory")["fault.imbalance_depth"] * (1 - 10 ** (-severity / 20))
    start = generator.random(2)
    moved = values * (1 + depth * cosine(turning.turns + start[0]))
    band = (0.5 * turning.rotation, 1.5 * turning.rotation)
    return _raised(values, moved, cosine(turning.turns + start[1]), band, (turning.rate, severity))


def looseness(values: np.ndarray, turning: Turning, severity: float, generator: np.random.Generator) -> np.ndarray:
    """A part without a firm seat: its contact is cut off every turn or every other one, and it rattles."""
    held = constants("factory")
    orders = np.arange(1, 2 * held["fault.looseness_orders"] + 1) / 2
    size = 10 ** (-held["fault.looseness_fall"] * orders / 20) * np.where(orders % 1, held["fault.looseness_half"], 1)
    phase = np.exp(2j * np.pi * generator.random(len(orders)))
    comb = periodic(turning.turns / 2, size * phase)
    knocks = passages(turning.turns, 1, held["fault.looseness_jitter"], generator)
    size = 1 + held["fault.looseness_unevenness"] * generator.uniform(-1, 1, len(knocks))
    size *= generator.random(len(knocks)) > held["fault.looseness_missing"]
    train = struck(knocks, size, len(values))
    rattle = ringing(train, turning.loose, held["fault.looseness_ringing"], turning.rate)
    share = held["fault.looseness_rattle"]
    sound = _unit(comb) * np.float32(np.sqrt(1 - share)) + _unit(rattle) * np.float32(np.sqrt(share))
    highest = max(1.5 * turning.loose, (held["fault.looseness_orders"] + 1) * turning.rotation)
    return _raised(values, values, sound, (0.4 * turning.rotation, highest), (turning.rate, severity))


def spall(values: np.ndarray, turning: Turning, severity: float, generator: np.random.Generator) -> np.ndarray:
    """A pit in a race: every ball that rolls over it strikes; on the inner race the load zone comes and goes."""
    held = constants("factory")
    inner = generator.random() < held["fault.spall_inner"]
    place = passages(turning.turns, ball_pass(turning.bearing)[int(inner)], held["fault.spall_slip"], generator)
    size = 1 + held["fault.spall_unevenness"] * generator.uniform(-1, 1, len(place))
    if inner:
        angle = np.interp(place, np.arange(len(values)), turning.turns)
        size = size * (0.5 + 0.5 * np.cos(2 * np.pi * angle))
    decay = 1 / (2 * np.pi * held["fault.spall_damping"] * turning.spalled)
    sound = ringing(struck(place, size, len(values)), turning.spalled, decay, turning.rate)
    band = (turning.spalled * 2**-0.25, turning.spalled * 2**0.25)
    return _raised(values, values, sound, band, (turning.rate, severity))


def leak(values: np.ndarray, turning: Turning, severity: float, generator: np.random.Generator) -> np.ndarray:
    """A jet through a small hole: noise that still rises where hearing and sampling end."""
    held = constants("factory")
    count = next_fast_len(len(values), real=True)
    rising = tilted(np.fft.rfftfreq(count, 1 / turning.rate), 1.0, held["fault.leak_slope"])
    hiss = noise(rising, count, generator)[: len(values)]
    band = (min(held["fault.leak_edge"], turning.rate / 4), turning.rate / 2)
    return _raised(values, values, hiss, band, (turning.rate, severity))


def clogging(values: np.ndarray, turning: Turning, severity: float, generator: np.random.Generator) -> np.ndarray:
    """A throttled flow: small eddies are lost, and what is left surges slowly."""
    held = constants("factory")
    count = next_fast_len(len(values), real=True)
    square = np.fft.rfftfreq(count, held["fault.clogging_edge"] / turning.rate).astype(np.float32) ** 2
    loss = np.float32(severity * np.log(10) / 20) * square / (1 + square)  # neper
    dull = irfft(rfft(values, count) * np.exp(-loss), count)[: len(values)]
    low, high = np.log(held["fault.clogging_surge"])
    surge = np.exp(generator.uniform(low, high)) / turning.rate * np.arange(len(values)) + generator.random()
    depth = held["fault.clogging_depth"] * (1 - 10 ** (-severity / 20))
    return dull * (1 + depth * cosine(surge)) / np.float32(np.sqrt(1 + depth**2 / 2))


Fault = Callable[[np.ndarray, Turning, float, np.random.Generator], np.ndarray]
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {"imbalance": imbalance, "looseness": looseness, "spall": spall, "leak": leak, "clogging": clogging}
)


def plant(
    values: np.ndarray,
    rate: float,
    fault: str,
    severity: float,
    generator: np.random.Generator,
    rotation: float | None = None,
) -> np.ndarray:
    """A recording as if the machine had a fault, for trying a detector where no faulty recording is at hand.

    Args:
        values: A recording of a sound machine, `(T,)`.
        rate: Sampling rate in Hz.
        fault: "imbalance", "looseness", "spall", "leak" or "clogging".
        severity: dB by which the fault alters the band it acts on, of this recording with its background; 0
            returns the recording as it is. Standards call 6 dB unsatisfactory and 10 dB a reason to stop.
        generator: Of what is not known: phases, slip, resonances.
        rotation: Of the shaft in Hz; one that machines of the simulated factory have, where not given.

    Returns:
        `(T,)`, of the same type of number; values may exceed what `values` kept to.

    Raises:
        RecipeError: The fault is unknown or the severity negative.
        RateError: The rate is below 8 kHz.
        FormatError: `values` is not one channel of finite samples, or shorter than 0.1 s.
    """
    if fault not in FAULTS or not severity >= 0:
        raise RecipeError(f"needs one of {', '.join(FAULTS)} and a severity from 0 dB; got {fault}, {severity:g}")
    if not rate >= LOWEST_RATE:
        raise RateError(f"a fault can be planted from {LOWEST_RATE:g} Hz; got {rate:g}; take the original recording")
    if values.ndim != 1 or len(values) < 0.1 * rate or not np.isfinite(values).all():
        raise FormatError(f"needs (samples,) of 0.1 s or more, all finite; got shape {values.shape}; pick one channel")
    if severity == 0:
        return values
    turning = _assumed(len(values), rate, rotation, generator)
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    return FAULTS[fault](values.astype(kind), turning, severity, generator).astype(kind)


def _assumed(count: int, rate: float, rotation: float | None, generator: np.random.Generator) -> Turning:
    """A steady shaft with the resonances that machines have."""
    held = constants("factory")
    known = [speed for name in ("fan", "pump", "gearbox", "bearing") for speed in held[f"{name}.rotation"]]
    drawn = float(generator.choice(known))
    spalled, loose = (
        generator.uniform(*held[f"fault.{kind}_resonance"]) * min(1, rate / 16000) for kind in ("spall", "looseness")
    )
    speed = drawn if rotation is None else rotation
    turns = generator.random() + np.arange(count) * (speed / rate)
    return Turning(turns, speed, rate, spalled=spalled, loose=loose)


def _unit(sound: np.ndarray) -> np.ndarray:
    return sound / np.float32(root_mean_square(sound) or 1.0)


def _raised(
    before: np.ndarray,
    changed: np.ndarray,
    sound: np.ndarray,
    band: tuple[float, float],
    scale: tuple[float, float],
) -> np.ndarray:
    """`changed` with so much of a sound that the band has 10^(severity / 10) times the power it had before.

        |C|² + 2 g Re(C S*) + g² |S|² = 10^(severity / 10) |B|²      solved for g ≥ 0

    Args:
        before: The sound machine, `(T,)`.
        changed: What it has become without the sound, `(T,)`.
        sound: What is added, `(T,)`.
        band: Lower and upper edge, Hz.
        scale: Sampling rate in Hz, and severity in dB.
    """
    rate, severity = scale
    count = next_fast_len(len(before), real=True)
    low, high = (round(edge * count / rate) for edge in band)
    old, new, added = (rfft(item, count)[low : max(high, low + 1)] for item in (before, changed, sound))
    wanted = 10 ** (severity / 10) * _power(old)
    if not wanted or not _power(added):
        return changed
    shared = float(np.real(np.vdot(added, new)))
    missing = max(wanted - _power(new), 0.0)
    gain = (np.sqrt(shared**2 + _power(added) * missing) - shared) / _power(added)
    return changed + np.asarray(gain, changed.dtype) * sound


def _power(spectrum: np.ndarray) -> float:
    return float(np.real(np.vdot(spectrum, spectrum)))
