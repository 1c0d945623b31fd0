"""Published data sets, or any folder of recordings, to a cohort's table.

Nothing is copied: the table points at the recordings where they are. What was left out is listed with its
reason.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from stethos.data.columns import read_table
from stethos.data.listing import Cells, ImportResult, number, read_cells, write_listing
from stethos.errors import CohortError, StethosError
from stethos.io import read

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
_NOT_MEASURED = 29999  # what MIMIC's machines write where a wave was not found
_INTERVALS = (
    "rr_interval",
    "p_onset",
    "p_end",
    "qrs_onset",
    "qrs_end",
    "t_end",
    "p_axis",
    "qrs_axis",
    "t_axis",
)


def import_ptbxl(source: Path, out: Path, rate: int = 500) -> ImportResult:
    """PTB-XL to a cohort.

    `scp_codes` holds all codes of a record. The columns NORM, MI, STTC, CD, HYP are 1 where the record has a
    diagnostic code of that superclass (by `scp_statements.csv`) with a likelihood above 0, and 0 where not; a
    likelihood of 0 there means that none was stated. Age 300 stands for over 89 and becomes 90.

    Args:
        source: The folder with `ptbxl_database.csv`.
        out: Where `cohort.csv` goes.
        rate: 500 or 100 Hz, as the data set is published.

    Raises:
        CohortError: A table is missing, or no recording is there.

    Reference:
        Wagner et al. 2020, doi:10.1038/s41597-020-0495-6.
    """
    table, superclass = (
        read_cells(source / "ptbxl_database.csv"),
        _superclasses(source / "scp_statements.csv"),
    )
    file = "filename_lr" if rate == 100 else "filename_hr"
    return write_listing(source, out, [_ptbxl_row(row, row[file], superclass) for row in table])


def _ptbxl_row(row: Mapping[str, str | None], path: str | None, superclass: Mapping[str, str]) -> Cells:
    likelihood = ast.literal_eval(row["scp_codes"] or "{}")
    held = {superclass[code] for code, share in likelihood.items() if share > 0 and code in superclass}
    age = number(row["age"])
    return {
        "path": f"{path}.hea",
        "id": row["ecg_id"],
        "subject": (row["patient_id"] or "").removesuffix(".0"),
        "when": row["recording_date"],
        "site": (row["site"] or "").removesuffix(".0") or None,
        "age": 90 if age is not None and age > 89 else age,
        "sex": {"0": "M", "1": "F"}.get(row["sex"] or ""),
        **{name: number(row[name]) for name in ("height", "weight", "strat_fold")},
        "device": row["device"],
        "scp_codes": " ".join(likelihood),
        **{name: int(name in held) for name in SUPERCLASSES},
        "report": row["report"],
        "terms": "CC BY 4.0",
    }


def _superclasses(path: Path) -> dict[str, str]:
    """Diagnostic code → superclass."""
    table = read_table(path)
    code = table.columns[0]  # has no name in the published file
    diagnostic = table.filter(pl.col("diagnostic").cast(pl.Float64, strict=False) == 1)
    return dict(zip(diagnostic[code], diagnostic["diagnostic_class"], strict=True))


def import_cinc2017(source: Path, out: Path) -> ImportResult:
    """The handheld strips of the CinC 2017 challenge to a cohort; each strip counts as a subject.

    `rhythm` is N (normal), A (atrial fibrillation), O (other) or ~ (noise). `af` is 1 for A, 0 for N and O,
    unknown for noise; `af_or_normal` is 1 for A, 0 for N, unknown for the rest.

    Args:
        source: The folder with `REFERENCE.csv`.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: The table is missing, or no recording is there.

    Reference:
        Clifford et al. 2017, doi:10.22489/CinC.2017.065-469.
    """
    path = source / "REFERENCE.csv"
    if not path.is_file():
        raise CohortError(f"{source}: needs REFERENCE.csv of the CinC 2017 challenge")
    labels = [line.strip().split(",") for line in path.read_text("utf8").splitlines() if line.strip()]
    return write_listing(source, out, [_cinc2017_row(name, rhythm) for name, rhythm in labels])


def _cinc2017_row(name: str, rhythm: str) -> Cells:
    return {
        "path": f"{name}.hea",
        "id": name,
        "subject": name,
        "when": None,
        "site": None,
        "rhythm": rhythm,
        "af": {"A": 1, "N": 0, "O": 0}.get(rhythm),
        "af_or_normal": {"A": 1, "N": 0}.get(rhythm),
        "terms": "ODC-By 1.0",
    }


def import_mimic_ecg(source: Path, out: Path, patients: Path | None = None) -> ImportResult:
    """MIMIC-IV-ECG to a cohort; its dates are shifted per patient, which the column `shifted` says.

    Machine measurements (in ms and degrees) and the machine's report come from `machine_measurements.csv`
    where it is there; 29999 in it means that nothing was measured.

    Args:
        source: The folder with `record_list.csv`.
        out: Where `cohort.csv` goes.
        patients: The hospital's `patients.csv`: adds age, sex and `anchor_year_group`, by which a
            cohort can be split in time.

    Raises:
        CohortError: A table is missing, or no recording is there.

    Reference:
        Gow et al. 2023, doi:10.13026/4nqg-sb35.
    """
    machine = source / "machine_measurements.csv"
    measured = {row["study_id"]: row for row in read_cells(machine)} if machine.is_file() else {}
    people = {row["subject_id"]: row for row in read_cells(patients)} if patients else {}
    terms = "ODbL 1.0"
    if patients:
        terms += "; patients table: PhysioNet Credentialed Health Data License 1.5.0, no redistribution"
    rows = [
        {
            **_mimic_row(row, terms),
            **_machine_facts(measured.get(row["study_id"], {})),
            **person_facts(people.get(row["subject_id"], {}), row["ecg_time"]),
        }
        for row in read_cells(source / "record_list.csv")
    ]
    return write_listing(source, out, rows)


def _mimic_row(row: Mapping[str, str | None], terms: str) -> Cells:
    return {
        "path": f"{row['path']}.hea",
        "id": row["study_id"],
        "subject": row["subject_id"],
        "when": row["ecg_time"],
        "site": "BIDMC",
        "shifted": 1,
        "terms": terms,
    }


def _machine_facts(row: Mapping[str, str | None]) -> Cells:
    if not row:
        return {}
    facts: dict[str, object] = {}
    for name in _INTERVALS:
        value = number(row.get(name))
        facts[name] = None if value == _NOT_MEASURED else value
    interval = facts["rr_interval"]
    facts["heart_rate"] = round(60000 / interval, 1) if isinstance(interval, float) and interval > 0 else None
    said = [row.get(f"report_{number}") for number in range(18)]
    facts["report"] = ". ".join(sentence.rstrip(".") for sentence in said if sentence) or None
    return facts


def person_facts(row: Mapping[str, str | None], when: str | None) -> Cells:
    """Age at the recording, sex and the anchor group; `when` and the anchor year are shifted alike."""
    if not row:
        return {}
    anchor_age, anchor_year = number(row["anchor_age"]), number(row["anchor_year"])
    if when is None or anchor_age is None or anchor_year is None:
        age = None
    else:
        age = anchor_age + int(when[:4]) - anchor_year
    return {"age": age, "sex": row["gender"], "anchor_year_group": row["anchor_year_group"]}


def import_folder(
    source: Path, out: Path, table: Path | None = None, rate: float | None = None, unit: str | None = None
) -> ImportResult:
    """Any folder of readable recordings to a cohort, one row a file.

    The subject is the name of the sub-folder a file is in, or the file's own name without suffix where there
    are no sub-folders. Every file that cannot be read is listed with its reason.

    Args:
        source: Searched with all its sub-folders.
        out: Where `cohort.csv` goes.
        table: Adds its columns by `path` (relative to `source`, suffix optional); may name the subject.
        rate: Sampling rate in Hz of files that do not state it.
        unit: Unit of files that do not state it.

    Raises:
        CohortError: There is no readable recording, or the table has no column `path`.
    """
    more = _by_path(table) if table else {}
    rows, skipped = [], []
    for path in _recordings(source, but=table):
        name = path.relative_to(source).as_posix()
        try:
            record = read(path, rate=rate, unit=unit)
        except (StethosError, OSError) as error:
            skipped.append((name, str(error)))
            continue
        row: Cells = {
            "path": name,
            "id": name.removesuffix(path.suffix),
            "subject": path.stem if path.parent == source else path.parent.name,
            "when": record.when.isoformat() if record.when else None,
            "site": record.site,
            "origin": record.origin,
            "rate": rate,
            "unit": unit,
            **record.facts,
        }
        rows.append({**row, **more.get(name.removesuffix(path.suffix), {})})
    return write_listing(source, out, rows, skipped)


def _by_path(table: Path) -> dict[str, Cells]:
    """Path without suffix → the other cells that are not empty."""
    rows = read_cells(table)
    if rows and "path" not in rows[0]:
        raise CohortError(f"{table}: needs the column path; it has {', '.join(rows[0])}")
    filled = [{name: cell for name, cell in row.items() if cell is not None} for row in rows]
    return {Path(str(row.pop("path"))).with_suffix("").as_posix(): dict(row) for row in filled}


def _recordings(source: Path, but: Path | None) -> list[Path]:
    """Files that may be recordings on their own: not what a WFDB header speaks for, not a cohort's table."""
    files = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    spoken_for: set[Path] = set()
    for header in (path for path in files if path.suffix == ".hea"):
        lines = header.read_text("utf8", errors="replace").splitlines()[1:]
        named = {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
        spoken_for |= {header.parent / item for item in named} | {header.parent / f"{item}.hea" for item in named}
    headers = {path.with_suffix("") for path in files if path.suffix == ".hea"}
    tables = {source / "cohort.csv", source / "cohort.parquet", but}
    return [
        path
        for path in files
        if path not in spoken_for
        and path not in tables
        and (path.suffix == ".hea" or path.with_suffix("") not in headers)
    ]
