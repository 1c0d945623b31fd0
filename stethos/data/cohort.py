"""A cohort is a folder with a table: `cohort.csv` or `cohort.parquet`, one recording a row.

path, subject            needed: where the recording is (relative to the folder, or absolute), and whose
when, site, id           date (ISO), hospital or device, identifier (otherwise the path without its suffix)
rate, unit, channels     declared for files that do not state them; channels as "PLETH [a.u.], ACC_X [g], -"
report                   the report's text, or the path of a text file
cine                     path of a 4D NIfTI of the same visit, in mm and seconds
labels                   path of its label map: 0 background, 1 left ventricle, 2 muscle, 3 right ventricle
terms, origin            licence and site rules; "real" unless said otherwise
anything else            a fact or label
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import cast, get_args

import numpy as np

from stethos.data.columns import as_column, as_numbers, as_text, as_times, cell, moment, read_table
from stethos.errors import CohortError, OriginError
from stethos.io import read
from stethos.types import Cohort, Fact, Origin, Record, Volume

NOT_FACTS = ("id", "path", "subject", "when", "site", "terms", "origin", "rate", "unit", "channels", "report")
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class TableOpener:
    """Opens the recording of a row and gives it what the table says about it.

    Args:
        rows: The cohort's columns, each `(N,)`; "path" is absolute.
        origin: Where the records come from.
    """

    rows: Mapping[str, np.ndarray]
    origin: Origin

    def __call__(self, row: int) -> Record:
        """Row number → `Record`; what the table leaves empty stays as the file has it.

        Raises:
            OriginError: The file says that it is synthetic or generated, and the table does not.
        """
        said = {name: cell(column, row) for name, column in self.rows.items() if name != "when"}
        rate, unit = cast("float | None", said.get("rate")), cast("str | None", said.get("unit"))
        channels = cast("str | None", said.get("channels"))
        record = read(Path(str(said["path"])), rate=rate, unit=unit, channels=channels)
        self._refuse_other_origin(record, said["path"])
        facts = {name: value for name, value in said.items() if name not in NOT_FACTS}
        return replace(
            record,
            subject=str(said["subject"]),
            id=str(said["id"]),
            when=moment(self.rows["when"], row) or record.when,
            site=cast("str | None", said["site"]) or record.site,
            text=_report(said.get("report")) or record.text,
            volume=self._cine(said.get("cine")) or record.volume,
            facts={**record.facts, **facts},
            origin=self.origin,
        )

    def _cine(self, said: Fact) -> Volume | None:
        """The moving pictures that the column names."""
        if said is None:
            return None
        from stethos.io.nifti import read_nifti

        record = read_nifti(str(said))
        self._refuse_other_origin(record, said)
        return record.volume

    def _refuse_other_origin(self, record: Record, path: Fact) -> None:
        if record.origin not in ("real", self.origin):
            raise OriginError(
                f"{path}: the file says {record.origin}, its cohort {self.origin}; "
                f"write {record.origin} in the column origin"
            )


def _report(said: Fact) -> str | None:
    """The text, or that of the file it names."""
    if isinstance(said, str) and said.endswith(".txt") and Path(said).is_file():
        return Path(said).read_text(encoding="utf8")
    return cast("str | None", said)


def report_texts(cohort: Cohort) -> list[str]:
    """The report of every record, "" where there is none, without opening the recordings."""
    cells = cohort.rows.get("report", np.full(len(cohort), None, dtype=object))
    return [_report(item) or "" if isinstance(item, str) else "" for item in cells]


def open_cohort(folder: Path) -> Cohort:
    """The cohort in a folder; recordings are read when they are asked for.

    Args:
        folder: Holds `cohort.csv` or `cohort.parquet`.

    Raises:
        CohortError: The table is missing or lacks a column, a path or id stands twice, a file is not there,
            a date is unreadable, or real and synthetic records are mixed.
    """
    path = _table_path(Path(folder))
    table = read_table(path)
    cells = {name.strip(): as_text(table[name]) for name in table.columns}
    for name in ("path", "subject"):
        if name not in cells:
            raise CohortError(f"{path}: needs the column {name}; it has {', '.join(cells)}")
        _refuse_empty(cells[name], f"{path}, column {name}")
    count = len(cells["path"])
    if count == 0:
        raise CohortError(f"{path}: needs at least one recording; the table has no rows")
    origin, terms = _origin(cells.pop("origin", None), path), _terms(cells.pop("terms", None))
    rows = _typed(cells, path)
    return Cohort(rows, TableOpener(rows, origin), origin, terms)


def _table_path(folder: Path) -> Path:
    for name in ("cohort.csv", "cohort.parquet"):
        if (folder / name).is_file():
            return folder / name
    raise CohortError(f"{folder}: needs cohort.csv or cohort.parquet; make one by hand or by `stethos cohort import`")


def _typed(cells: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    unknown = np.full(len(cells["path"]), None, dtype=object)
    rows = {name: as_column(column) for name, column in cells.items() if name not in NOT_FACTS}
    rows["id"] = _identifiers(cells, path)
    rows["subject"] = cells["subject"].astype(str)
    rows["when"] = as_times(cells.get("when", unknown), f"{path}, column when")
    rows["site"] = cells.get("site", unknown)
    rows["path"] = _located(cells["path"], path)
    if "rate" in cells:
        rows["rate"] = _rates(cells["rate"], path)
    rows |= {name: cells[name] for name in ("unit", "channels") if name in cells}
    if "report" in cells:
        rows["report"] = _report_paths(cells["report"], path.parent)
    for name in ("cine", "labels"):
        if name in cells:
            rows[name] = _pictures(cells[name], name, path)
    return rows


def _pictures(cells: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Cells that name a NIfTI become absolute paths; a cine is one, and other cells stay as they are."""
    found = cells.copy()
    for row, said in enumerate(cells):
        if said is None or not said.endswith((".nii", ".nii.gz")):
            if name == "cine" and said is not None:
                raise CohortError(f"{path}, column cine: needs NIfTI (.nii or .nii.gz); row {row + 1} has {said}")
            continue
        place = path.parent.absolute() / said
        if not place.is_file():
            raise CohortError(f"{path}, column {name}: {said} does not exist; correct the table or copy the file")
        found[row] = str(place)
    return found


def _identifiers(cells: dict[str, np.ndarray], path: Path) -> np.ndarray:
    given = cells.get("id")
    if given is None:
        given = np.array([str(PurePosixPath(item).with_suffix("")) for item in cells["path"]])
    else:
        _refuse_empty(given, f"{path}, column id")
    _refuse_twice(given.astype(str), f"{path}: each id stands once")
    return given.astype(str)


def _located(paths: np.ndarray, table: Path) -> np.ndarray:
    """Absolute paths `(N,)`, each of which exists; `name` stands for `name.hea` too."""
    root = Path(os.path.normpath(table.parent.absolute()))
    # normpath, not resolve: a cohort may hold links to recordings that are kept elsewhere
    full = [Path(os.path.normpath(root / item)) for item in paths]
    outside = [
        item
        for item, place in zip(paths, full, strict=True)
        if not Path(item).is_absolute() and not place.is_relative_to(root)
    ]
    if outside:
        raise CohortError(
            f"{table}: a relative path must stay inside the folder; {_some(outside)} leads out: write it absolute"
        )
    found = [_existing(place) for place in full]
    absent = [item for item, there in zip(paths, found, strict=True) if there is None]
    if absent:
        raise CohortError(f"{table}: {len(absent)} of {len(paths)} paths do not exist: {_some(absent)}")
    located = np.array(found, dtype=object)
    _refuse_twice(located.astype(str), f"{table}: each path stands once")
    return located


def _existing(path: Path) -> str | None:
    return next((str(name) for name in (path, path.with_name(path.name + ".hea")) if name.exists()), None)


def _rates(cells: np.ndarray, path: Path) -> np.ndarray:
    rates = as_numbers(cells)
    if rates is None or np.any(rates <= 0):
        raise CohortError(f"{path}, column rate: needs positive numbers in Hz, or nothing")
    return rates


def _report_paths(cells: np.ndarray, folder: Path) -> np.ndarray:
    """Cells that name a text file of the folder become its absolute path."""
    report = cells.copy()
    for row, said in enumerate(cells):
        if said is not None and said.endswith(".txt") and (folder / said).is_file():
            report[row] = str((folder / said).absolute())
    return report


def _origin(cells: np.ndarray | None, path: Path) -> Origin:
    said = ["real"] if cells is None else sorted({item or "real" for item in cells})
    unknown = [item for item in said if item not in get_args(Origin)]
    if unknown:
        raise CohortError(f"{path}, column origin: needs {', '.join(get_args(Origin))}; got {_some(unknown)}")
    if len(said) > 1:
        raise CohortError(f"{path}: one origin a cohort, and this one mixes {', '.join(said)}; make a folder of each")
    return cast(Origin, said[0])


def _terms(cells: np.ndarray | None) -> str:
    return "" if cells is None else "; ".join(sorted({item for item in cells if item}))


def _refuse_empty(cells: np.ndarray, what: str) -> None:
    empty = [row + 1 for row, cell in enumerate(cells) if cell is None]
    if empty:
        raise CohortError(f"{what}: needs a value in each row; row {_some(empty)} has none")


def _refuse_twice(values: np.ndarray, rule: str) -> None:
    items, times = np.unique(values, return_counts=True)
    if np.any(times > 1):
        raise CohortError(f"{rule}; more than once: {_some(items[times > 1])}")


def _some(items: np.ndarray | list) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(str(item) for item in items[:_SHOWN]) + more
