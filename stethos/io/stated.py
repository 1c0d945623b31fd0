"""What a table says about itself, what the caller declares, and the record that the two agree on.

Plain numbers rarely say how fast they were sampled and in what unit. What the file says is used; what it does
not say must be declared. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from stethos.errors import RateError, UnitError
from stethos.io.channels import Trace, declared_rate, signals_from
from stethos.types import Origin, Record

RATE_KEYS = (
    "rate",
    "fs",
    "sampling_rate",
    "sample_rate",
    "curr_sample_rate",
    "sampling freq",
    "sampling frequency",
)
UNIT_KEYS = ("unit", "units")


@dataclass(frozen=True)
class Table:
    """Named columns and what the file says about them."""

    columns: Mapping[str, np.ndarray]  # each (T,)
    rate: float | None = None
    unit: str | None = None
    origin: Origin = "real"
    units: Mapping[str, str] = field(default_factory=dict)


def record_from(path: Path, table: Table, rate: float | None, unit: str | None) -> Record:
    """A record from a table and what the caller declares of it, where the table itself says nothing.

    Raises:
        RateError: Neither states the rate.
        UnitError: Neither states the unit of a column.
    """
    silent = [name for name in table.columns if table.units.get(name, table.unit) is None]
    if silent and unit is None:
        raise UnitError(f"{path}: needs the unit of {', '.join(silent)}, which the file does not state; pass --unit mV")
    hertz = known_rate(path, table.rate, rate)
    fallback = table.unit or unit or ""
    traces = [Trace(name, values, hertz, table.units.get(name, fallback)) for name, values in table.columns.items()]
    return Record(path.stem, path.stem, signals_from(traces), origin=table.origin)


def known_rate(path: Path, stated: float | None, declared: float | None) -> float:
    """The rate that the file states, or else the caller.

    Raises:
        RateError: Neither does, or it is not a positive number.
    """
    rate = declared if stated is None else stated
    if rate is None:
        raise RateError(f"{path}: needs the sampling rate, which the file does not state; pass --rate HZ")
    return declared_rate(rate)


def stated_origin(stated: str) -> Origin:
    """An origin as stated; real where it is none of the three."""
    return stated if stated in get_args(Origin) else "real"  # type: ignore[return-value]


def stated_rate(stated: Any, path: Path) -> float:
    """A stated rate as a number, whether spelt with point or comma."""
    match = re.match(r"\d+(?:[.,]\d+)?", str(stated).strip())
    if match is None:
        raise RateError(f"{path}: the file states the sampling rate as {stated!r}; it must be a number of Hz")
    return float(match[0].replace(",", "."))
