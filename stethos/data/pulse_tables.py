"""Pulses with tables beside them to a cohort: BIDMC and PPG-BP.

Nothing is copied. What the files do not state (rate, unit, names of channels) is written into the columns `rate`,
`unit` and `channels`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stethos.data.listing import Cells, ImportResult, each_file, found, number, read_cells
from stethos.errors import CohortError, FormatError
from stethos.io import read
from stethos.io.channels import lead_name
from stethos.io.files import read_rows, read_text
from stethos.io.header import check_files, parse_header
from stethos.io.workbook import read_workbook
from stethos.signal.marked import marked_rate

_PRESSURES = ("ABP", "ART", "CVP", "PAP", "FEM")
_PPG_BP = {
    "subject": "subject_ID",
    "sex": "Sex",
    "age": "Age",
    "height": "Height",
    "weight": "Weight",
    "sbp": "Systolic",
    "dbp": "Diastolic",
    "hr": "Heart Rate",
}
_ILLNESSES = ("Hypertension", "Diabetes", "cerebral infarction", "cerebrovascular disease")


def import_bidmc(source: Path, out: Path) -> ImportResult:
    """BIDMC, 53 intensive care recordings of 8 minutes with marked breaths, to a cohort.

    `resp_rate` is the mean over the two annotators of `bidmc_NN_Breaths.csv`, `hr` the mean of the monitor's in
    `bidmc_NN_Numerics.csv`. WFDB is taken where both forms are there. The subject is MIMIC-II's where the header
    names it, so that two recordings of one patient stay together, and the recording's number otherwise.

    Args:
        source: Holds `bidmcNN.hea`, or `bidmc_NN_Signals.csv`, in whichever sub-folders.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: No recording is there, or none can be read.

    Reference:
        Pimentel et al. 2017, doi:10.1109/TBME.2016.2613124.
    """
    waves = {path.name[6:8]: path for path in source.rglob("bidmc_[0-9][0-9]_Signals.csv")}
    waves |= {path.stem[5:]: path for path in source.rglob("bidmc[0-9][0-9].hea")}
    files = found(waves.values(), source, "bidmcNN.hea or bidmc_NN_Signals.csv")
    beside = {path.name: path for path in source.rglob("bidmc_[0-9][0-9]_*")}
    return each_file(files, source, out, lambda path: _bidmc(path, beside))


def _bidmc(path: Path, beside: Mapping[str, Path]) -> Cells:
    case = re.sub(r"\D", "", path.stem)
    tables = {name: beside.get(f"bidmc_{case}_{name}") for name in ("Breaths.csv", "Numerics.csv", "Fix.txt")}
    about = read_text(fixed) if (fixed := tables["Fix.txt"]) else ""
    if path.suffix == ".hea":
        check_files(parse_header(path))
        about += read_text(path)
    sex = re.search(r"(?i)\b(?:sex|gender)\W+([mf])", about)
    patient = re.search(r"\bs\d{5}\b", about)
    age = re.search(r"(?i)\bage\W+(\d+)", about)
    return {
        "id": f"bidmc{case}",
        "subject": patient[0] if patient else f"bidmc{case}",
        "site": "BIDMC",
        "age": number(age[1]) if age else None,
        "sex": sex[1].upper() if sex else None,
        "hr": _mean(tables["Numerics.csv"], "HR"),
        "resp_rate": _breaths(tables["Breaths.csv"]),
        "terms": "ODC-By 1.0",
        **({} if path.suffix == ".hea" else {"channels": _declared(path), "rate": None}),
    }


def _declared(path: Path) -> str:
    """The channels of a table of waves with the units that its heading leaves out, once it is read with them."""
    names = [name.strip() for name in read_rows(path)[0]]
    channels = ", ".join(f"{name} [{_unit(name)}]" for name in names if not re.match(r"(?i)time|sampling freq", name))
    read(path, channels=channels)
    return channels


def _unit(name: str) -> str:
    if lead_name(name) == "PLETH" or name.upper() == "RESP":
        return "a.u."
    return "mmHg" if name.upper() in _PRESSURES else "mV"


def _mean(table: Path | None, column: str) -> float | None:
    """Mean of a column of a table; None where there is neither."""
    rows = read_cells(table) if table else []
    values = [number(cell) for row in rows for name, cell in row.items() if name.strip() == column]
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 2) if known else None


def _breaths(table: Path | None) -> float | None:
    """Breaths per minute by the marks of each annotator, averaged; marks are samples at 125 Hz."""
    rows = read_cells(table) if table else []
    columns = [[number(row[name]) for row in rows] for name in (rows[0] if rows else ())]
    rates = [marked_rate(np.array([mark for mark in marks if mark is not None]) / 125) for marks in columns]
    known = [rate for rate in rates if rate is not None]
    return round(float(np.mean(known)), 2) if known else None


def import_ppg_bp(source: Path, out: Path, table: Path | None = None) -> ImportResult:
    """PPG-BP, short pulses with pressure and diagnoses, to a cohort; up to three recordings a subject.

    `diagnoses` are the illnesses that the table names; a stage called normal is none.

    Args:
        source: Holds `0_subject/ID_K.txt`, one line of numbers at 1 kHz.
        out: Where `cohort.csv` goes.
        table: The workbook or a CSV of it; None for the only one in `source`.

    Raises:
        CohortError: No recording or no table is there, or the table lacks a column.

    Reference:
        Liang et al. 2018, doi:10.1038/sdata.2018.20.
    """
    files = found(source.rglob("[0-9]*_[0-9].txt"), source, "recordings named ID_K.txt")
    people = _ppg_bp_people(_ppg_bp_table(source, table))

    def cells(path: Path) -> Cells:
        subject = path.stem.partition("_")[0]
        read(path, rate=1000.0, channels="PLETH [a.u.]")
        if subject not in people:
            raise FormatError(f"{path}: its subject is not in the table")
        about = {"rate": 1000, "channels": "PLETH [a.u.]", "terms": "CC BY 4.0"}
        return {"id": path.stem, **people[subject], **about}

    return each_file(files, source, out, cells)


def _ppg_bp_table(source: Path, table: Path | None) -> Path:
    if table is not None:
        return table
    tables = [path for kind in ("xlsx", "csv") for path in sorted(source.rglob(f"*.{kind}"))]
    tables = [path for path in tables if not path.name.startswith(("~", ".")) and path.name != "cohort.csv"]
    if not tables:
        raise CohortError(f"{source}: needs the table of PPG-BP, an .xlsx or a CSV of it; name it with --table")
    return tables[0]


def _ppg_bp_people(table: Path) -> dict[str, Cells]:
    """Subject → what the table says; a title may stand above the names of the columns."""
    rows = read_workbook(table) if table.suffix.lower() == ".xlsx" else read_rows(table)
    start = next((at for at, row in enumerate(rows) if "subject_id" in [cell.strip().lower() for cell in row]), None)
    if start is None:
        raise CohortError(f"{table}: needs the column subject_ID, and no row names it")
    names = [cell.strip().lower() for cell in rows[start]]
    places = {name: _place(names, column, table) for name, column in _PPG_BP.items()}
    illnesses = [_place(names, column, table) for column in _ILLNESSES]
    filled = [row + [""] * (len(names) - len(row)) for row in rows[start + 1 :]]
    people: dict[str, Cells] = {}
    for row in filled:
        facts: dict[str, object] = {name: number(row[at]) for name, at in places.items()}
        facts["sex"] = row[places["sex"]].strip()[:1].upper() or None
        facts["subject"] = subject = row[places["subject"]].strip().removesuffix(".0")
        named = [row[at].strip() for at in illnesses]
        facts["diagnoses"] = "; ".join(item for item in named if item and item.lower() != "normal") or None
        people[subject] = facts
    return people


def _place(names: Sequence[str], column: str, table: Path) -> int:
    """Where the column stands whose name begins so."""
    place = next((at for at, name in enumerate(names) if name.startswith(column.lower())), None)
    if place is None:
        raise CohortError(f"{table}: needs a column that begins with {column}; it has {', '.join(names)}")
    return place
