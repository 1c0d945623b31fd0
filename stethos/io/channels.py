"""From channels as files hold them to signals: one per rate, unit and length, in standard units and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from stethos.errors import FormatError, RateError, UnitError
from stethos.types import Signal

_MICRO = str.maketrans({"µ": "u", "μ": "u"})
# lower-case spelling → (factor, standard unit); every voltage below a volt becomes mV
_UNITS = {
    **dict.fromkeys(("mv", "millivolt", "millivolts"), (1.0, "mV")),
    **dict.fromkeys(("uv", "microvolt", "microvolts"), (1e-3, "mV")),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), (1e-6, "mV")),
    **dict.fromkeys(("v", "volt", "volts"), (1.0, "V")),
    **dict.fromkeys(("nu", "1", "unitless", "dimensionless"), (1.0, "1")),
    **dict.fromkeys(("a.u.", "au", "a.u", "arb. unit"), (1.0, "a.u.")),
    **dict.fromkeys(("m/s2", "m/s^2", "m/s²", "m/s**2"), (1.0, "m/s2")),
    "pa": (1.0, "Pa"),
    "g": (1.0, "g"),
    "mmhg": (1.0, "mmHg"),
    "ohm": (1.0, "Ohm"),
    "ohms": (1.0, "Ohm"),
    "%": (1.0, "%"),
    "bpm": (1.0, "bpm"),
    "l/s": (1.0, "L/s"),
    "degc": (1.0, "degC"),
}
_LEADS = {name.lower(): name for name in ("I", "II", "III", "aVR", "aVL", "aVF", *(f"V{n}" for n in range(1, 10)))}
_LEAD = re.compile(r"(?:(?:lead|ecg|ekg|ableitung)[\s_-]*)?(\S+)", re.IGNORECASE)
_PULSE = re.compile(r"(?:\w+/)?(?:ppg|pleth|bvp)(?:_value|_y)?", re.IGNORECASE)


class Trace(NamedTuple):
    """One channel as a file holds it: its own unit, its own rate."""

    name: str
    values: np.ndarray  # (T,), NaN where nothing was recorded
    rate: float
    unit: str


def known_unit(unit: str) -> bool:
    """Whether a unit is one of those the readers know."""
    return unit.strip().translate(_MICRO).lower() in _UNITS


def standard_unit(unit: str) -> tuple[float, str]:
    """Factor and standard spelling of a unit: "µV" is 0.001 "mV", "NU" is "1"; an unknown one is kept."""
    return _UNITS.get(unit.strip().translate(_MICRO).lower(), (1.0, unit.strip()))


def declared_unit(unit: str) -> str:
    """A unit that a caller declares, checked.

    Raises:
        UnitError: It is none that the readers know.
    """
    if not known_unit(unit):
        known = ", ".join(dict.fromkeys(name for _, name in _UNITS.values()))
        raise UnitError(f"the unit must be one of µV, nV, {known}; got {unit!r}")
    return unit


def declared_rate(rate: float) -> float:
    """A sampling rate that a caller declares, checked.

    Raises:
        RateError: It is not a positive finite number.
    """
    if not (np.isfinite(rate) and rate > 0):
        raise RateError(f"the sampling rate must be a positive number of Hz; got {rate}")
    return float(rate)


def lead_name(name: str) -> str:
    """The standard name of an ECG lead ("Lead AVR" is "aVR") or a pulse ("Pleth" is "PLETH"); others as they are."""
    name = " ".join(name.split()).rstrip(",")
    if _PULSE.fullmatch(name):
        return "PLETH"
    match = _LEAD.fullmatch(name)
    return _LEADS.get(match.group(1).lower(), name) if match else name


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names made unique: empty ones become "ch1" by position, a repeated one gets "_2", "_3"."""
    taken: list[str] = []
    for position, stated in enumerate(names, start=1):
        name = base = stated or f"ch{position}"
        copy = 1
        while name in taken:
            copy += 1
            name = f"{base}_{copy}"
        taken.append(name)
    return tuple(taken)


def signals_from(traces: Sequence[Trace]) -> tuple[Signal, ...]:
    """One signal per rate, unit and length, in the order of the first channel of each.

    Raises:
        FormatError: There is no channel, or one holds no samples.
    """
    groups: dict[tuple[float, str, int], list[Trace]] = {}
    for trace in traces:
        factor, unit = standard_unit(trace.unit)
        values = trace.values if factor == 1.0 else np.asarray(trace.values, np.float64) * factor
        key = (float(trace.rate), unit, len(values))
        groups.setdefault(key, []).append(trace._replace(values=values))
    if not groups or any(length == 0 for _, _, length in groups):
        raise FormatError("the file holds no samples; check that it was exported or copied whole")
    return tuple(_stack(group, rate, unit) for (rate, unit, _), group in groups.items())


def _stack(group: Sequence[Trace], rate: float, unit: str) -> Signal:
    """Channels of one rate, unit and length as one signal."""
    values = np.empty((len(group), len(group[0].values)), np.float32)  # (C, T)
    with np.errstate(over="ignore"):  # what float32 cannot hold is no signal; it becomes inf, then NaN
        for row, trace in zip(values, group, strict=True):
            row[:] = trace.values
    values[~np.isfinite(values)] = np.nan
    values.flags.writeable = False  # so that the noun keeps this array and makes no copy
    return Signal(values, rate, distinct(lead_name(trace.name) for trace in group), unit)
