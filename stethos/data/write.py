"""Cohorts to disk, in the layout that `open_cohort` reads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stethos.data.columns import as_isoformat
from stethos.data.parallel import Progress, each_record
from stethos.errors import CohortError, FormatError
from stethos.io.files import write_atomic
from stethos.io.meds import write_meds
from stethos.io.wfdb import write_wfdb
from stethos.synth import hospital
from stethos.synth.chart import events
from stethos.synth.patient import visits
from stethos.synth.record import descriptions
from stethos.synth.world import World, hospital_world
from stethos.types import Cohort, Record

_RECORDS_PER_FOLDER = 1000


def write_cohort(cohort: Cohort, folder: Path, progress: Progress | None = None, workers: int | None = 1) -> Path:
    """Write every record as WFDB, and the table last; a repeated call goes on where it was stopped.

    Args:
        cohort: Any.
        folder: Made if missing; records that are there are not written again.
        progress: Called with (records done, records to write).
        workers: Processes; 1 works in this one; None for what suits, where records can be opened in another process.

    Returns:
        The `cohort.csv`.

    Raises:
        CohortError: The folder holds another cohort.
        FormatError: A record cannot be read, does not fit the format, or the disk is full.
    """
    folder = Path(folder)
    paths = _paths(cohort)
    plain = cohort.with_columns(path=np.array(paths, dtype=object))
    claim(folder / "written.json", {"table": hashlib.sha256(_csv(plain, folder)).hexdigest()})
    rest = [row for row, path in enumerate(paths) if not (folder / path).exists()]
    assert cohort.index is not None
    headers = {int(cohort.index[row]): folder / paths[row] for row in rest}
    known = replace(cohort, open=partial(_with_header, cohort.open, headers))
    for outcome in each_record(known, _write_record, rest, workers, progress):
        if outcome.reason:
            raise FormatError(outcome.reason)
    reports = cohort.rows.get("report", np.full(len(cohort), None, dtype=object)).copy()
    for row, path in enumerate(paths):
        if (folder / path).with_suffix(".txt").exists():
            reports[row] = str(Path(path).with_suffix(".txt"))
    # what was declared for files that did not state it, WFDB states
    declared = ("rate", "unit", "channels", "report")
    rows = {name: column for name, column in plain.rows.items() if name not in declared}
    if any(report is not None for report in reports):
        rows["report"] = reports
    return write_table(replace(plain, rows=rows), folder)


def write_table(cohort: Cohort, folder: Path) -> Path:
    """Write a cohort's table only; its recordings stay where the column `path` says.

    Args:
        cohort: With the column `path`.
        folder: Made if missing; paths under it are written relative to it.

    Returns:
        The `cohort.csv`.

    Raises:
        CohortError: There is no column `path`.
        FormatError: The disk is full.
    """
    folder = Path(folder).absolute()
    write_atomic(folder / "cohort.csv", _csv(cohort, folder))
    return folder / "cohort.csv"


def _csv(cohort: Cohort, folder: Path) -> bytes:
    columns = dict(cohort.rows)
    columns["path"] = np.array([_relative(str(item), folder) for item in cohort.column("path")], dtype=object)
    columns["origin"] = np.full(len(cohort), cohort.origin, dtype=object)
    if cohort.terms:
        columns["terms"] = np.full(len(cohort), cohort.terms, dtype=object)
    first = [name for name in ("path", "id", "subject", "when", "site") if name in columns]
    names = first + [name for name in columns if name not in first]
    table = pl.DataFrame([pl.Series(name, _spelt(columns[name]), dtype=pl.String) for name in names])
    return table.write_csv().encode()


def write_hospital(
    folder: Path, patients: int, seed: int, world: World | None = None, progress: Progress | None = None
) -> Path:
    """Simulate a hospital and write it: WFDB records, `cohort.csv`, and coded events as MEDS in `meds/`.

    Args:
        folder: Made if missing; a repeated call goes on where it was stopped.
        patients: How many.
        seed: Of everything drawn.
        world: Constants and effects; all effects on where not given.
        progress: Called with (records done, records in all).

    Returns:
        The `cohort.csv`.

    Raises:
        CohortError: The folder holds another hospital.
        FormatError: The disk is full.
    """
    folder, world = Path(folder), world or hospital_world()
    about = {"patients": patients, "seed": seed, "world": world.name, "constants": digest(world)}
    claim(folder / "hospital.json", about)
    if not (folder / "meds" / "metadata" / "dataset.json").exists():
        write_meds(folder / "meds", events(visits(patients, seed, world), seed, world), **_named(world))
    return write_cohort(hospital(patients, seed, world), folder, progress, workers=None)


def _named(world: World) -> dict[str, Any]:
    """The data set's name, and what the codes of a record in fragments mean."""
    named: dict[str, Any] = {"name": "simulated hospital"}
    return named | ({"descriptions": descriptions()} if world.pulse else {})


def digest(world: World) -> str:
    """What tells two worlds apart: a hash of their constants and effects."""
    parts = [dict(world.constants), sorted(world.acts_on), world.linked, world.noise]
    parts += [sorted(world.shows_in)] if world.structure else []
    parts += [sorted(world.in_pulse), world.own_records] if world.pulse else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def claim(note: Path, about: dict) -> None:
    """Note what a folder is to hold.

    Args:
        note: File in the folder that holds the note.
        about: What tells this cohort from others.

    Raises:
        CohortError: The folder holds something else.
        FormatError: The note cannot be written.
    """
    said = json.dumps(about, sort_keys=True)
    if note.exists() and note.read_text("utf8") != said:
        raise CohortError(f"{note.parent}: another cohort was written here; delete the folder or choose another")
    if not note.exists():
        write_atomic(note, said.encode())


def _paths(cohort: Cohort) -> list[str]:
    """Each record's header, relative to the folder; an id with special characters gets its row number."""
    paths = []
    for row, name in enumerate(cohort.rows["id"].astype(str)):
        plain = re.sub(r"[^-A-Za-z0-9_]", "_", name)
        unique = plain if plain == name else f"{plain}_{row}"
        paths.append(f"records/{row // _RECORDS_PER_FOLDER:05d}/{unique}.hea")
    return paths


def _with_header(open_record: Callable[[int], Record], headers: Mapping[int, Path], number: int) -> Record:
    """A record that knows where it is to be written: its id is the path of its header."""
    return replace(open_record(number), id=str(headers[number]))


def _write_record(record: Record) -> None:
    """The report first and the header last: a header means that the record is whole."""
    header = Path(record.id)
    if record.text:
        write_atomic(header.with_suffix(".txt"), record.text.encode())
    write_wfdb(record, header.parent, header.stem)


def _relative(path: str, folder: Path) -> str:
    place = Path(path)
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else place.as_posix()


def _spelt(column: np.ndarray) -> list[str | None]:
    """Cells as text: whole numbers without `.0`, empty where unknown."""
    if column.dtype.kind == "M":
        return as_isoformat(column)
    if column.dtype.kind in "fiub":
        return [None if np.isnan(x) else str(int(x)) if float(x).is_integer() else repr(float(x)) for x in column]
    return [None if item is None else str(item) for item in column]
