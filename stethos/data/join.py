"""Laboratory values, measurements or reports joined to a cohort by subject and time.

Two steps, each of which counts what it loses: `measurements` takes the usable values from a table (one row a
value, or MEDS events), `join` pairs them with recordings. A value's time difference is

    minutes = time of the value − start of the recording,    negative where the value came first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from stethos.data.cohort import NOT_FACTS
from stethos.data.columns import as_column, as_text, as_times, cell, read_table
from stethos.data.nearest import Direction, candidates, closest, pair_off
from stethos.errors import CohortError
from stethos.types import Cohort, Record

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Loss:
    """What is left after a step.

    Args:
        step: What was asked for.
        left: Values, or records, that have it.
        subjects: Subjects among them.
    """

    step: str
    left: int
    subjects: int


@dataclass(frozen=True, eq=False)
class Measurements:
    """Values of one quantity, each of a subject at a time.

    Args:
        name: What was measured; the column's name in the cohort.
        subject: `(M,)` str.
        time: `(M,)` datetime64[s].
        value: `(M,)` float64, or object where it is text.
        losses: Values left after each step.
    """

    name: str
    subject: np.ndarray
    time: np.ndarray
    value: np.ndarray
    losses: tuple[Loss, ...]


@dataclass(frozen=True, eq=False)
class Joined:
    """A cohort with a value for each record, and what it cost.

    Args:
        cohort: Records that found a value; columns `<name>` and `<name>_minutes`.
        losses: Records left after each step.
        measurements: What was joined.
    """

    cohort: Cohort
    losses: tuple[Loss, ...]
    measurements: Measurements

    def lines(self) -> list[str]:
        """Every step and what it left, as text."""
        of_values = [f"{s.step}: {s.left} values, {s.subjects} subjects" for s in self.measurements.losses]
        return of_values + [f"{s.step}: {s.left} records, {s.subjects} subjects" for s in self.losses]


@dataclass(frozen=True)
class Source:
    """Where in a table the values are.

    Args:
        subject: Column of the subject.
        time: Column of the date and time (ISO, where it is text).
        value: Column of the value; None for the quantity's own name.
        code: Column that names the quantity where a table holds several; None where it holds one.
    """

    subject: str = "subject"
    time: str = "time"
    value: str | None = None
    code: str | None = None


MEDS = Source("subject_id", "time", "numeric_value", "code")


def measurements(
    table: pl.DataFrame | Path,
    name: str,
    source: Source = Source(),
    code: str | None = None,
    exclude: str | None = None,
) -> Measurements:
    """The usable values of a table: with a subject, a time and a value, and not excluded.

    Args:
        table: A table, its path (CSV, TSV, Parquet), or a folder of MEDS events.
        name: What the quantity shall be called.
        source: Where the values are; `MEDS` for a folder of MEDS events, whatever is given.
        code: Keep rows whose code column is exactly this, such as "LAB//50971//mEq/L".
        exclude: A column that is 1 where a value must not be used, such as "haemolysed"; unknown counts as
            usable.

    Raises:
        CohortError: A column or the code is not there, or a date is unreadable.
    """
    if isinstance(table, Path) and table.is_dir():
        table, source = _meds_events(table, code), MEDS
    if name in NOT_FACTS and name != "report":
        raise CohortError(f"a value cannot be called {name}: every cohort has that column; choose another name")
    shown = str(table) if isinstance(table, Path) else "the table"
    frame = read_table(table) if isinstance(table, Path) else table
    frame = _of_code(frame, source, code, shown)
    value = source.value or name
    for column in (source.subject, source.time, value, *([exclude] if exclude else [])):
        if column not in frame.columns:
            raise CohortError(f"{shown}: needs the column {column}; it has {', '.join(frame.columns)}")
    subject, cells = as_text(frame[source.subject]), as_text(frame[value])
    time = _times(frame[source.time], f"{shown}, column {source.time}")
    steps = {"in the table": np.ones(len(frame), bool)}
    steps["with subject, time and value"] = ~np.isnat(time) & _filled(cells) & _filled(subject)
    if exclude:
        steps[f"not {exclude}"] = ~np.isin(as_text(frame[exclude]), ("1", "1.0", "true", "True"))
    usable, losses = _narrow(steps, subject)
    return Measurements(name, subject[usable].astype(str), time[usable], as_column(cells[usable]), losses)


def _filled(cells: np.ndarray) -> np.ndarray:
    return np.array([cell is not None for cell in cells], bool)


def _meds_events(folder: Path, code: str | None) -> pl.DataFrame:
    from stethos.io.meds import read_meds

    if code is None:
        raise CohortError(f"{folder}: a folder of events needs a code, such as LAB//50971//mEq/L; pass --code")
    events = read_meds(folder)
    found = events.filter(pl.col("code") == code).collect()
    if len(found) == 0:
        word = pl.col("code").str.contains(code, literal=True)
        near = events.filter(word).select(pl.col("code").cast(pl.String).unique().sort()).collect()["code"]
        hint = f"; codes that contain it: {', '.join(near[:5])}" if len(near) else ""
        raise CohortError(f"{folder}: no event has the code {code}{hint}")
    return found


def _of_code(frame: pl.DataFrame, source: Source, code: str | None, shown: str) -> pl.DataFrame:
    if code is None:
        return frame
    column = source.code or "code"
    if column not in frame.columns:
        raise CohortError(f"{shown}: needs the column {column} to find {code}; it has {', '.join(frame.columns)}")
    found = frame.filter(pl.col(column).cast(pl.String) == code)
    if len(found) == 0:
        held = frame[column].cast(pl.String).value_counts(sort=True)[column].head(5)
        raise CohortError(f"{shown}: no row has the code {code}; the most frequent are {', '.join(map(str, held))}")
    return found


def _times(column: pl.Series, what: str) -> np.ndarray:
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).to_numpy().astype("datetime64[s]")
    return as_times(as_text(column), what)


def _narrow(steps: Mapping[str, np.ndarray], subject: np.ndarray) -> tuple[np.ndarray, tuple[Loss, ...]]:
    """Rows that pass all steps, Boolean `(N,)`, and what each step left."""
    left = np.ones(len(subject), bool)
    losses = []
    for step, holds in steps.items():
        left = left & holds
        losses.append(Loss(step, int(left.sum()), len({item for item in subject[left] if item is not None})))
    return left, tuple(losses)


def parse_span(text: str) -> timedelta:
    """A length of time such as "1h", "30min", "2d" or "90s".

    Raises:
        CohortError: It is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*", text)
    if match is None:
        raise CohortError(f"a length of time is a number with s, min, h or d, such as 1h or 30min; got {text!r}")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


def join(
    cohort: Cohort,
    values: Measurements,
    within: timedelta | str,
    direction: Direction = "nearest",
    one_to_one: bool = True,
) -> Joined:
    """Give each record the value nearest in time, within a window of its start.

    Pairs are made from the closest outwards. Of two values equally far, the earlier wins; then the record and
    the value that stand first in their tables.

    Args:
        cohort: With dates.
        values: What to join.
        within: Largest distance in time, included; "1h", "30min".
        direction: "before" takes only values at or before the start of the recording, "after" at or after it.
        one_to_one: Whether a value serves one record only.

    Raises:
        CohortError: The window or direction is none, or no record finds a value.
    """
    span = parse_span(within) if isinstance(within, str) else within
    if direction not in ("nearest", "before", "after"):
        raise CohortError(f"a direction is nearest, before or after; got {direction!r}")
    when, subject = cohort.column("when").astype("datetime64[s]"), cohort.subjects.astype(str)
    record, value = candidates((subject, when), (values.subject, values.time), span, direction)
    nearest = closest(record, value, len(cohort))
    chosen = pair_off(record, value, len(cohort)) if one_to_one else nearest
    window = f"{'with a value' if direction == 'nearest' else f'with a value {direction} it'} within {span}"
    steps = {
        "in the cohort": np.ones(len(cohort), bool),
        "with a date": ~np.isnat(when),
        f"whose subject has {values.name}": np.isin(subject, values.subject),
        window: nearest >= 0,
        **({"with a value of its own": chosen >= 0} if one_to_one else {}),
    }
    kept, losses = _narrow(steps, subject)
    if not kept.any():
        trail = "; ".join(f"{loss.step}: {loss.left}" for loss in losses)
        raise CohortError(f"no record finds a value of {values.name} within {span} ({trail}); check dates and subjects")
    taken = chosen[kept]
    minutes = (values.time[taken] - when[kept]).astype(np.float64) / 60
    columns = {values.name: values.value[taken], f"{values.name}_minutes": minutes}
    return Joined(_with_facts(cohort.take(kept), columns), losses, values)


@dataclass(frozen=True, eq=False)
class _Opener:
    """Opens a record of the cohort that was joined, and adds what was joined to its facts."""

    open: Callable[[int], Record]
    index: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __call__(self, row: int) -> Record:
        record = self.open(int(self.index[row]))
        more = {name: cell(column, row) for name, column in self.columns.items()}
        text = cast("str | None", more.pop("report", record.text))
        return replace(record, text=text, facts={**record.facts, **more})


def _with_facts(cohort: Cohort, columns: Mapping[str, np.ndarray]) -> Cohort:
    assert cohort.index is not None
    opener = _Opener(cohort.open, cohort.index, columns)
    return replace(cohort, rows={**cohort.rows, **columns}, open=opener, index=None)
