"""Delimited text and Parquet: one column a channel.

The rate comes from a line `# rate: 500`, from a time column or from the caller; the unit from a heading such
as `I [mV]`, a line `# unit: mV` or the caller.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import FormatError, RateError, StethosError
from stethos.io.channels import distinct, known_unit
from stethos.io.files import read_bytes, read_text
from stethos.io.stated import RATE_KEYS, UNIT_KEYS, Table, record_from, stated_origin, stated_rate, with_channels
from stethos.types import Record

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = ("\t", ";", ",")
_FEWEST = 100  # numbers in a single line; fewer are a line of a table
TIME = ("time", "t", "seconds", "timestamp", "elapsed time")
_MISSING = ("", "NA", "N/A", "na", "nan", "NaN", "NAN", "null", "None", "-")
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def read_text_table(
    path: str | Path, *, rate: float | None = None, unit: str | None = None, channels: str | None = None
) -> Record:
    """Read CSV or TSV, with a heading or none; where ";" or a tab separates, decimals may have a comma.

    A single line of numbers is one channel.

    Args:
        path: The file.
        rate: Hz; needed where the file does not state it.
        unit: Needed where the file does not state it.
        channels: Names and units of the columns; see `stethos.io.read`.

    Raises:
        FormatError: Not a table of numbers.
        RateError: The rate is unknown.
        UnitError: The unit is unknown.
        ChannelError: The channels are declared otherwise than the file has them.
    """
    text = read_text(Path(path))
    table = _timed(_parse_text(text, Path(path)), path)
    return record_from(Path(path), with_channels(table, channels, Path(path)), rate, unit)


def read_parquet(
    path: str | Path, *, rate: float | None = None, unit: str | None = None, channels: str | None = None
) -> Record:
    """Read Parquet with one column a channel; arguments and errors as `read_text_table`."""
    import polars as pl

    try:
        frame = pl.read_parquet(io.BytesIO(read_bytes(Path(path))))
    except StethosError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # what damage does to polars is no Exception
        raise FormatError(f"{path}: not a readable Parquet file ({error}); write it again") from error
    table = _timed(_table(_numbers(frame, path)), path)
    return record_from(Path(path), with_channels(table, channels, Path(path)), rate, unit)


def _parse_text(text: str, path: Path) -> Table:
    """Columns of a delimited text, with what its comment lines state."""
    lines = text.strip("\r\n\0 ").splitlines()
    notes = dict(re.findall(r"^#\s*(\w[\w ]*?)\s*[:=]\s*(.+?)\s*$", "\n".join(lines), re.MULTILINE))
    notes = {key.lower(): value for key, value in notes.items()}
    lines = [line for line in lines if not line.startswith("#")]
    if not lines:
        raise FormatError(f"{path}: an empty table; check that it was exported whole")
    separator = next((mark for mark in SEPARATORS if mark in lines[0]), ";")
    if len(lines) == 1 and is_row(lines[0]):
        lines = lines[0].strip(f"{separator} ").split(separator)
    heading = _heading(lines[0], separator, path)
    named = not all(_is_number(word, separator) for word in heading)
    names = distinct(word.strip() for word in heading) if named else distinct([""] * len(heading))
    # in a single column an empty line is a missing sample; beside other columns it is only an empty line
    blank = "NA" if len(names) == 1 else None
    body = [line if line.strip() else blank for line in lines[named:]]
    columns = _columns("\n".join(line for line in body if line), names, separator, path)
    rate = next((stated_rate(notes[key], path) for key in RATE_KEYS if key in notes), None)
    unit = next((notes[key] for key in UNIT_KEYS if key in notes), None)
    return _table(columns, rate=rate, unit=unit, origin=stated_origin(notes.get("origin", "real")))


def is_row(line: str) -> bool:
    """Whether a line is a row of numbers and long enough to be a recording on its own."""
    separator = next((mark for mark in SEPARATORS if mark in line), ";")
    cells = line.strip(f"{separator} \r\n").split(separator)
    return len(cells) >= _FEWEST and all(_is_number(cell, separator) for cell in cells)


def _heading(line: str, separator: str, path: Path) -> list[str]:
    """The cells of the first line, which may be quoted."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise FormatError(f"{path}: the first line is no row of a table ({error})") from error


def _is_number(word: str, separator: str) -> bool:
    """Whether a cell holds a number, or nothing."""
    word = word.strip()
    if separator != ",":
        word = word.replace(",", ".")
    return word in _MISSING or bool(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word))


def _columns(body: str, names: Sequence[str], separator: str, path: Path) -> dict[str, np.ndarray]:
    """The cells below the heading as numbers."""
    import polars as pl

    try:
        frame = pl.read_csv(
            body.encode(), separator=separator, has_header=False, new_columns=list(names), infer_schema=False
        )
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: not a table with {len(names)} columns a line ({reason})") from error
    if frame.width != len(names):
        raise FormatError(f"{path}: the heading names {len(names)} columns, the lines have {frame.width}")
    if separator != ",":
        frame = frame.with_columns(pl.all().str.replace(",", ".", literal=True))
    return _numbers(frame, path)


def _numbers(frame: pl.DataFrame, path: str | Path) -> dict[str, np.ndarray]:
    """Columns as float64, NaN where empty.

    Raises:
        FormatError: A cell is neither a number nor empty.
    """
    import polars as pl

    columns = {}
    for column in frame.iter_columns():
        if column.dtype == pl.String:
            cells = column.str.strip_chars()
            cells = cells.set(cells.is_in(_MISSING), None)
            numbers = cells.cast(pl.Float64, strict=False)
            wrong = cells.filter(numbers.is_null() & cells.is_not_null())
            if len(wrong):
                raise FormatError(
                    f"{path}: column {column.name} must hold numbers; it has {wrong[0][:20]!r}; remove it"
                )
        elif column.dtype.is_temporal():
            moments = column.cast(pl.Datetime("us"), strict=False).dt.epoch("us")
            numbers = (moments - moments.min()).cast(pl.Float64) / 1e6
        elif column.dtype.is_numeric():
            numbers = column.cast(pl.Float64)
        else:
            raise FormatError(f"{path}: column {column.name} must hold numbers; it holds {column.dtype}; remove it")
        columns[column.name] = numbers.fill_null(float("nan")).to_numpy()
    return columns


def _table(columns: Mapping[str, np.ndarray], **stated: Any) -> Table:
    """Columns with the units taken out of their headings: "I [mV]" and "I (mV)"."""
    named, units = {}, {}
    for heading, values in columns.items():
        match = re.fullmatch(r"(.*?)\s*[\[(]([^\])]*)[\])]", heading)
        name = match[1] if match and (known_unit(match[2]) or match[2] in _SECONDS) else heading
        name = name if name not in named else heading
        named[name] = values
        if match and name == match[1]:
            units[name] = match[2]
    return Table(named, units=units, **stated)


def _timed(table: Table, path: str | Path) -> Table:
    """The table without the columns that count or time its rows, and with the rate that they state."""
    columns, rate = dict(table.columns), table.rate
    for name in table.columns:
        values, key = table.columns[name], name.lower()
        if key in RATE_KEYS and len(known := np.unique(values[np.isfinite(values)])) == 1:
            rate = rate or float(known[0])
        elif key in TIME and len(table.columns) > 1:
            rate = rate or rate_of(values * _SECONDS.get(table.units.get(name, "s"), 1.0), path)
        elif not (name == "ch1" and len(columns) > 1 and np.array_equal(values, np.arange(len(values)))):
            continue
        del columns[name]
    return Table(columns, rate, table.unit, table.origin, table.units)


def rate_of(seconds: np.ndarray, path: str | Path) -> float:
    """The rate of a time column, Hz.

    A step may differ from the mean step by 1 %, and by what the column's decimals round away.

    Raises:
        RateError: Time runs backwards, stands still, or jumps.
    """
    steps = np.diff(seconds)
    if len(steps) == 0 or not np.isfinite(steps).all() or steps.min() < 0 or seconds[-1] <= seconds[0]:
        raise RateError(f"{path}: the time column must rise from line to line; sort the file, or pass --rate HZ")
    step = (seconds[-1] - seconds[0]) / len(steps)
    grain = _grain(seconds - seconds[0])
    if np.abs(steps - step).max() > 0.01 * step + min(grain, step / 2):
        worst = int(np.argmax(np.abs(steps - step)))
        raise RateError(
            f"{path}: the time column must be regular to 1 %; its mean step is {step:g} s, row {worst + 2} "
            f"comes {steps[worst]:g} s after the one before; resample, or drop the column and pass --rate HZ"
        )
    rate, slack = 1 / step, grain / (seconds[-1] - seconds[0]) + 1e-9
    return float(round(rate)) if abs(rate - round(rate)) <= slack * rate else rate


def _grain(seconds: np.ndarray) -> float:
    """The decimal place that a time column is rounded to: 0.001 for milliseconds, at the finest 1e-9."""
    for grain in 10.0 ** -np.arange(9):
        counts = seconds / grain
        if np.abs(counts - np.rint(counts)).max() <= 1e-3 + 1e-15 * np.abs(counts).max():
            return float(grain)
    return 1e-9
