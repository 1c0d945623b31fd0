"""Echo reports from text files, tables and cohorts, and what they say as lines and as a table."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stethos.data.columns import as_text, read_table
from stethos.errors import CohortError, FormatError
from stethos.io.files import read_bytes, write_atomic
from stethos.text.findings import Found, Reading, read_report
from stethos.text.lexicon import Lexicon

_SHOWN = 5
_TABLES = (".csv", ".tsv", ".parquet", ".pq")
_LABEL = {1.0: "1", 0.0: "0"}


@dataclass(frozen=True)
class Report:
    """A report.

    Args:
        id: Of the record, or the file's path.
        text: What it says.
        sex: Of the patient, where the table tells.
    """

    id: str
    text: str
    sex: str | None = None


@dataclass(frozen=True)
class Reports:
    """Reports, and what was left out.

    Args:
        found: Those with text, in order.
        skipped: Identifiers of those without.
    """

    found: tuple[Report, ...]
    skipped: tuple[str, ...]


def open_reports(paths: Sequence[Path]) -> Reports:
    """Reports of text files, of tables with a column `report`, and of cohort folders.

    Args:
        paths: `.txt` files, CSV, TSV or Parquet tables, folders with a cohort.csv or cohort.parquet.

    Raises:
        FormatError: A path is none of these.
        CohortError: A table has no column `report`, or names a text file that is not there.
    """
    rows = [row for path in paths for row in _rows(Path(path))]
    return Reports(
        tuple(row for row in rows if row.text.strip()), tuple(row.id for row in rows if not row.text.strip())
    )


def _rows(path: Path) -> Iterator[Report]:
    if path.is_dir():
        tables = [path / name for name in ("cohort.csv", "cohort.parquet") if (path / name).is_file()]
        if not tables:
            raise CohortError(f"{path}: needs cohort.csv or cohort.parquet in this folder; name the files themselves")
        yield from _of_table(tables[0])
    elif path.suffix.lower() in _TABLES:
        yield from _of_table(path)
    elif path.suffix.lower() == ".txt":
        yield Report(str(path), _text(path))
    else:
        raise FormatError(f"{path}: needs a .txt file, a CSV or Parquet table, or a cohort's folder")


def _text(path: Path) -> str:
    """A report's text: UTF-8, UTF-16 with its mark, or GB 18030, in which Chinese hospitals write."""
    data = read_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030", "replace")


def _of_table(path: Path) -> Iterator[Report]:
    table = read_table(path)
    cells = {name.strip(): as_text(table[name]) for name in table.columns}
    if "report" not in cells:
        raise CohortError(f"{path}: needs the column report, with the text or the name of a .txt file in each row")
    names = cells.get("id", cells.get("path"))
    sexes = cells.get("sex")
    for row, said in enumerate(cells["report"]):
        name = str(names[row]) if names is not None and names[row] is not None else f"{path.name} row {row + 1}"
        yield Report(name, _said(said, path), None if sexes is None else sexes[row])


def _said(cell: str | None, table: Path) -> str:
    """The text, or that of the file it names."""
    if cell is None or "\n" in cell or not cell.endswith(".txt"):
        return cell or ""
    file = table.parent / cell
    if not file.is_file():
        raise CohortError(f"{table}: a row names the report {cell}, and there is no such file beside the table")
    return _text(file)


def read_all(reports: Reports, lexicon: Lexicon) -> list[Reading]:
    """What each report says, in order."""
    return [read_report(report.text, lexicon, report.sex) for report in reports.found]


def lines(reports: Reports, readings: Sequence[Reading], lexicon: Lexicon) -> Iterator[str]:
    """Each report's labels with words and reasons, its measurements and conflicts, and what was skipped."""
    for report, reading in zip(reports.found, readings, strict=True):
        yield f"{report.id} ({reading.language})"
        for name, found in reading.labels.items():
            if found.why != "not mentioned":
                yield f"  {lexicon.concepts[name].words:52} {_shown(found)}"
        silent = [lexicon.concepts[name].words for name, found in reading.labels.items() if _silent(found)]
        if silent:
            yield f"  not mentioned: {'; '.join(silent)}"
        for name, measured in reading.measurements.items():
            span = f" ({measured.low:g} to {measured.high:g})" if measured.high > measured.low else ""
            yield f"  {lexicon.measures[name].words:52} {measured.value:g} {measured.unit}{span}  “{measured.phrase}”"
        yield from (f"  conflict: {conflict}" for conflict in reading.conflicts)
    yield _count(reports)


def _silent(found: Found) -> bool:
    return found.why == "not mentioned"


def _shown(found: Found) -> str:
    quoted = f"  “{found.phrase}”" if found.phrase else ""
    return f"{_LABEL.get(found.value, 'unknown'):7}  {found.why}{quoted}"


def _count(reports: Reports) -> str:
    """How many were read, and which were not."""
    read = f"{len(reports.found)} report{'' if len(reports.found) == 1 else 's'} read"
    if not reports.skipped:
        return read
    some = ", ".join(reports.skipped[:_SHOWN]) + (", …" if len(reports.skipped) > _SHOWN else "")
    return f"{read}; {len(reports.skipped)} skipped for want of text: {some}"


def write_readings(path: Path, reports: Reports, readings: Sequence[Reading], lexicon: Lexicon) -> None:
    """A CSV with a row a report: labels as 1, 0 or empty, measurements in their units, conflicts.

    Args:
        path: Where it shall lie.
        reports: The reports.
        readings: What they say.
        lexicon: Names the columns.
    """
    columns: dict[str, list[str | None]] = {
        "id": [report.id for report in reports.found],
        "language": [reading.language for reading in readings],
    }
    for name in lexicon.concepts:
        columns[name] = [_LABEL.get(reading.labels[name].value) for reading in readings]
    for name in lexicon.measures:
        given = [reading.measurements.get(name) for reading in readings]
        columns[name] = [None if measured is None else f"{measured.value:g}" for measured in given]
    columns["conflicts"] = ["; ".join(reading.conflicts) or None for reading in readings]
    buffer = io.BytesIO()
    pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_csv(buffer)
    write_atomic(path, buffer.getvalue())
