"""What a table says about itself, what the caller declares, and the record that the two agree on.

Plain numbers rarely say how fast they were sampled and in what unit. What the file says is used; what it does
not say must be declared. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from stethos.errors import ChannelError, RateError, UnitError
from stethos.io.channels import Trace, declared_rate, declared_unit, lead_name, signals_from, standard_unit
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
LEFT_OUT = "-"
_HEADING = re.compile(r"(.+?)(?:\s*\[([^\]]+)\])?")
_UNNAMED = re.compile(r"ch\d+")


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


def with_channels(table: Table, channels: str | None, path: Path) -> Table:
    """The table with the names and units that a caller declares of its columns, in their order.

    Args:
        table: What the file says.
        channels: Headings separated by commas, such as "PLETH [a.u.], ACC_X [g], -"; "-" leaves a column out;
            None declares nothing.
        path: For the messages.

    Raises:
        ChannelError: There are more or fewer columns, or the file names one otherwise.
        UnitError: A unit is unknown, or the file states another.
    """
    if channels is None:
        return table
    declared = [_HEADING.fullmatch(each.strip()) for each in channels.split(",")]
    if len(declared) != len(table.columns) or None in declared:
        raise ChannelError(
            f"{path}: needs a name for each of its {len(table.columns)} channels "
            f"({', '.join(table.columns)}); got {channels!r}"
        )
    columns: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for name, heading in zip(table.columns, declared, strict=True):
        assert heading is not None
        if heading[1] == LEFT_OUT:
            continue
        _refuse_otherwise(table, name, heading, path)
        columns[heading[1]] = table.columns[name]
        unit = table.units.get(name) or heading[2]
        units |= {heading[1]: unit} if unit else {}
    return replace(table, columns=columns, units=units)


def _refuse_otherwise(table: Table, name: str, heading: re.Match[str], path: Path) -> None:
    """Raise where the file says another name or unit of a column than the caller."""
    if not _UNNAMED.fullmatch(name) and lead_name(name) != lead_name(heading[1]):
        raise ChannelError(f"{path}: the file names a channel {name} where {heading[1]} is declared; use its name")
    stated = table.units.get(name, table.unit)
    if heading[2] and stated and standard_unit(declared_unit(heading[2]))[1] != standard_unit(stated)[1]:
        raise UnitError(f"{path}: the file states {stated} for {name} where {heading[2]} is declared; leave it away")
    if heading[2]:
        declared_unit(heading[2])


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
