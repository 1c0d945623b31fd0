"""Pulses of patients beside a monitor to a cohort's table: MIMIC-III, MIMIC-IV and MC-MED, all in WFDB.

Nothing is copied. Only what the headers say is read, so that a database of thousands of patients is listed in
minutes; a record without PLETH, or of which a file is missing or too short, is left out with its reason. Dates are
shifted, alike for all records of a patient, which the column `shifted` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from stethos.data.importers import person_facts
from stethos.data.listing import MEANS, Cells, ImportResult, found, number, read_cells, reason, write_listing
from stethos.errors import CohortError, FormatError, StethosError
from stethos.io.channels import lead_name
from stethos.io.header import Header, check_files, parse_header
from stethos.io.wfdb import read_wfdb

NO_PULSE = "it holds no PLETH"
_NAME = re.compile(r"p(\d{6})-(\d{4}-\d\d-\d\d)-(\d\d)-(\d\d)")
_OF_MONITOR = {"hr": ("HR", "PULSE"), "resp_rate": ("RESP",)}
_PRESSURES = (("ABPSYS", "ABPDIAS"), ("ARTSYS", "ARTDIAS"), ("NBPSYS", "NBPDIAS"))
_OF_NUMERICS = {"HR": "hr", "RR": "resp_rate", "SBP": "sbp", "DBP": "dbp"}
_CREDENTIALED = "PhysioNet Credentialed Health Data License 1.5.0, no redistribution"


def import_mimic3_waves(source: Path, out: Path, patients: Path | None = None) -> ImportResult:
    """The matched waveforms of MIMIC-III to a cohort: records with PLETH, gaps and all.

    `hr`, `resp_rate`, `sbp` and `dbp` are means of the monitor's numerics (`…n.hea`) over the whole record, which
    may last days; pressure is the arterial line's, or else the cuff's.

    Args:
        source: Holds `pNN/pNNNNNN/pNNNNNN-YYYY-MM-DD-hh-mm.hea`.
        out: Where `cohort.csv` goes.
        patients: The hospital's `PATIENTS.csv`: adds age and sex.

    Raises:
        CohortError: No such record is there, or a table is missing.

    Reference:
        Moody et al. 2020, doi:10.13026/c2294b.
    """
    headers = found(source.rglob("p??????-????-??-??-??-??.hea"), source, "records pNNNNNN-YYYY-MM-DD-hh-mm.hea")
    people = _by(patients, "subject_id")
    terms = _terms("ODbL 1.0", patients)
    broken: list[Path] = []

    def row(path: Path, header: Header) -> Cells:
        name = _NAME.fullmatch(path.stem)
        assert name is not None
        when = header.when or datetime.fromisoformat(f"{name[2]}T{name[3]}:{name[4]}")
        person = people.get(name[1].lstrip("0"), {})
        return {
            **_known(path, f"p{name[1]}", when, "BIDMC", terms),
            "age": _age(person.get("dob"), when),
            "sex": person.get("gender"),
            **_numerics(path.with_name(f"{path.stem}n.hea"), broken),
        }

    result = _listed(source, out, [path for path in headers if _NAME.fullmatch(path.stem)], row)
    lost = f"numerics that cannot be read, so that their means are missing: {len(broken)}"
    return result.noted(MEANS, lost if broken else "")


def import_mimic4_waves(source: Path, out: Path, patients: Path | None = None) -> ImportResult:
    """The waveforms of MIMIC-IV (version 0.1.0) to a cohort: records with Pleth.

    The subject is MIMIC-IV's `subject_id` without the folder's "p", as in all its tables.

    Args:
        source: Holds `waves/pNNN/pNNNNNNNN/RECORD/RECORD.hea`.
        out: Where `cohort.csv` goes.
        patients: The hospital's `patients.csv`: adds age, sex and `anchor_year_group`.

    Raises:
        CohortError: No such record is there, or a table is missing.

    Reference:
        Moody et al. 2022, doi:10.13026/a2mw-f949.
    """
    masters = (path for path in source.rglob("*.hea") if path.stem == path.parent.name)
    headers = found(
        (path for path in masters if re.fullmatch(r"p\d+", path.parents[1].name)), source, "waves/pNNN/pNNNNNNNN/…"
    )
    people = _by(patients, "subject_id")
    terms = _terms("ODbL 1.0", patients)

    def row(path: Path, header: Header) -> Cells:
        subject = path.parents[1].name.removeprefix("p")
        when = header.when
        person = person_facts(people.get(subject, {}), when.isoformat() if when else None)
        return {**_known(path, subject, when, "BIDMC", terms), **person}

    return _listed(source, out, headers, row)


def import_mcmed(source: Path, out: Path, visits: Path | None = None, numerics: Path | None = None) -> ImportResult:
    """MC-MED, an emergency department, to a cohort: every segment of Pleth is a recording.

    `diagnoses` are those of the visit; they were made after the recording. `hr`, `resp_rate`, `sbp` and `dbp` are
    means of what the monitor measured during the segment.

    Args:
        source: Holds `data/waveforms/…/CSN/Pleth/CSN_K.hea`.
        out: Where `cohort.csv` goes.
        visits: The `visits.csv`: the subject is the patient's MRN by it, and age, sex and diagnoses are known;
            without it every visit (CSN) counts as a subject of its own. One in `source` or `source/data` is used.
        numerics: The `numerics.csv`, for the means; may take minutes.

    Raises:
        CohortError: No such recording is there, or a table lacks a column.

    Reference:
        Kansal et al. 2025, doi:10.13026/jz99-4j81.
    """
    headers = found(source.rglob("Pleth/*_*.hea"), source, "data/waveforms/…/CSN/Pleth/CSN_K.hea")
    known = _by(visits or _beside(source, "visits.csv"), "CSN")
    spans: dict[str, tuple[str, datetime, datetime]] = {}

    def row(path: Path, header: Header) -> Cells:
        csn = path.stem.partition("_")[0]
        visit = known.get(csn, {})
        if header.when and header.seconds:
            spans[path.stem] = (csn, header.when, header.when + timedelta(seconds=header.seconds))
        return {
            **_known(path, visit.get("MRN") or csn, header.when, "Stanford", _CREDENTIALED),
            "visit": csn,
            "age": number(visit.get("Age")),
            "sex": (visit.get("Gender") or "")[:1].upper() or None,
            "diagnoses": visit.get("Dx_name"),
        }

    def more(rows: list[Cells]) -> list[Cells]:
        means = _measured(numerics, spans) if numerics else {}
        return [{**cells, **means.get(str(cells["id"]), {})} for cells in rows]

    return _without_visit(_listed(source, out, headers, row, more), headers, known)


def _beside(source: Path, name: str) -> Path | None:
    """A table in the folder of the data set, or in its `data`."""
    return next((path for path in (source / name, source / "data" / name) if path.is_file()), None)


def _without_visit(result: ImportResult, headers: Iterable[Path], known: Mapping[str, object]) -> ImportResult:
    """The result, and how many recordings have no visit that names the patient."""
    unmatched = sum(path.stem.partition("_")[0] not in known for path in headers)
    note = f"without a visit in visits.csv, so that the visit stands for the patient: {unmatched} recordings"
    return result.noted(note if unmatched else "")


def _listed(
    source: Path,
    out: Path,
    headers: Iterable[Path],
    row: Callable[[Path, Header], Cells],
    more: Callable[[list[Cells]], list[Cells]] = lambda rows: rows,
) -> ImportResult:
    """Rows of the records with a pulse, all of whose files are there."""
    source = Path(source).absolute()
    rows: list[Cells] = []
    skipped: list[tuple[str, str]] = []
    for path in headers:
        name = path.relative_to(source).as_posix()
        try:
            header = parse_header(path)
            if not _has_pulse([*check_files(header), header]):
                skipped.append((name, NO_PULSE))
                continue
        except FormatError as error:
            skipped.append((name, reason(error)))
            continue
        rows.append({"path": name, **row(path, header)})
    return write_listing(source, out, more(rows), skipped)


def _has_pulse(parts: Iterable[Header]) -> bool:
    """Whether a part that holds samples has a channel of the pulse."""
    return any(lead_name(channel.name) == "PLETH" for part in parts if part.files for channel in part.channels)


def _known(path: Path, subject: str, when: datetime | None, site: str, terms: str) -> dict[str, object]:
    return {
        "id": path.stem,
        "subject": subject,
        "when": when.isoformat(timespec="seconds") if when else None,
        "site": site,
        "shifted": 1,
        "terms": terms,
    }


def _by(table: Path | None, key: str) -> dict[str, dict[str, str | None]]:
    """Rows of a table by one of its columns; names of columns in lower case too, as MIMIC-III has both."""
    rows = read_cells(table) if table else []
    if rows and key.lower() not in {name.lower() for name in rows[0]}:
        raise CohortError(f"{table}: needs the column {key}; it has {', '.join(rows[0])}")
    both = [{**{name.lower(): cell for name, cell in row.items()}, **row} for row in rows]
    return {str(row[key.lower()]): row for row in both}


def _terms(waves: str, patients: Path | None) -> str:
    return f"{waves}; patients table: {_CREDENTIALED}" if patients else waves


def _age(born: str | None, when: datetime) -> float | None:
    """Age in whole years; 90 where the date of birth was moved 300 years back because the patient was older."""
    if not born:
        return None
    years = int((when - datetime.fromisoformat(born)).days / 365.25)
    return 90 if years > 89 else years


def _numerics(header: Path, broken: list[Path]) -> Cells:
    """Means of what the monitor measured during a record; nothing where its numerics are not there or `broken`."""
    try:
        signals = read_wfdb(header).signals if header.is_file() else ()
    except StethosError:
        broken.append(header)
        return {}
    held = {
        re.sub(r"[^A-Z]", "", name.upper()): values[values > 0]  # the monitor writes 0 for nothing
        for signal in signals
        for name, values in zip(signal.channels, signal.values, strict=True)
    }
    held = {name: values for name, values in held.items() if len(values)}
    source = {name: next((each for each in names if each in held), "") for name, names in _OF_MONITOR.items()}
    pressure = next((pair for pair in _PRESSURES if set(pair) <= set(held)), ("", ""))
    source |= dict(zip(("sbp", "dbp"), pressure, strict=True))
    return {name: round(float(np.mean(held[each])), 2) for name, each in source.items() if each}


def _measured(table: Path, spans: Mapping[str, tuple[str, datetime, datetime]]) -> dict[str, Cells]:
    """Means of the monitor's measurements between the start and the end of each recording."""
    lines = _scanned(table, ("CSN", "Measure", "Value", "Time"))
    moment = pl.col("Time").str.slice(0, 19).str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    recordings = pl.LazyFrame(
        [(name, *span) for name, span in spans.items()],
        schema={"id": pl.String, "CSN": pl.String, "start": pl.Datetime, "stop": pl.Datetime},
        orient="row",
    )
    means = (
        lines.filter(pl.col("Measure").is_in(list(_OF_NUMERICS)))
        .join(recordings, on="CSN")
        .filter((moment >= pl.col("start")) & (moment < pl.col("stop")))
        .group_by("id", "Measure")
        .agg(pl.col("Value").cast(pl.Float64, strict=False).mean().round(2))
        .collect()
    )
    held: dict[str, dict[str, object]] = {}
    for name, measure, mean in means.iter_rows():
        held.setdefault(name, {})[_OF_NUMERICS[measure]] = mean
    return dict(held)


def _scanned(table: Path, columns: tuple[str, ...]) -> pl.LazyFrame:
    """A CSV that may be larger than the memory, once its columns are known to be there."""
    try:
        lines = pl.scan_csv(table, infer_schema=False)
        held = lines.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CohortError(f"{table}: cannot be read as a table: {str(error).splitlines()[0]}") from None
    if not set(columns) <= set(held):
        raise CohortError(f"{table}: needs the columns {', '.join(columns)}; it has {', '.join(held)}")
    return lines
