"""The tables of MC-MED as events: visits to an emergency department, former diagnoses, drugs, values, reports.

Columns are found by one of several names each, whatever their case. Subjects are patients (MRN), stays visits (CSN).

Reference:
    Kansal et al. 2025, doi:10.13026/jz99-4j81 (MC-MED 1.0.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stethos.errors import FormatError
from stethos.io.mimic import moment, scan, shaped, whole

if TYPE_CHECKING:
    import polars as pl

TABLES = ("visits", "pmh", "meds", "labs", "rads", "numerics")
NAMES: Mapping[str, tuple[str, ...]] = {
    "subject": ("mrn", "patient_id", "subject_id"),
    "visit": ("csn", "visit_id", "encounter_id"),
    "age": ("age",),
    "sex": ("gender", "sex"),
    "arrival": ("arrival_time", "arrival"),
    "departure": ("departure_time", "departure"),
    "dx10": ("dx_icd10", "icd10"),
    "dx9": ("dx_icd9", "icd9"),
    "dx_name": ("dx_name", "diagnosis"),
    "code": ("code", "icd", "icd_code"),
    "code_type": ("codetype", "code_type"),
    "noted": ("noted_date", "date", "start_date"),
    "title": ("desc10", "desccc", "descccs", "description"),
    "drug": ("generic", "generic_name", "name", "med_name"),
    "start": ("start_date", "start", "entry_date", "date"),
    "test": ("component_name", "test", "name"),
    "value": ("component_value", "value", "result"),
    "unit": ("component_units", "units", "unit"),
    "resulted": ("result_time", "time", "order_time"),
    "study": ("study", "exam"),
    "impression": ("impression", "report", "text"),
    "measure": ("measure",),
}


def find_mcmed(folder: Path) -> dict[str, Path]:
    """Table → file, of the folder and its folder data; empty where there is no visits table with arrival times."""
    found: dict[str, Path] = {}
    for path in sorted([*Path(folder).glob("*.csv*"), *Path(folder).glob("data/*.csv*")]):
        stem, name = path.name.lower().split(".")[0], path.name.lower()
        if name.endswith((".csv", ".csv.gz")) and stem in TABLES:
            found.setdefault(stem, path)
    return found if "visits" in found else {}


def read_mcmed(folder: Path) -> tuple[pl.LazyFrame, dict[str, str], dict[str, int]]:
    """Events of all tables that are there, code → title, and reason → rows that are no event.

    Raises:
        FormatError: There is no visits table, or a table lacks a column under all names that it may have.
    """
    import polars as pl

    files = find_mcmed(folder)
    if not files:
        raise FormatError(f"{folder}: needs visits.csv of MC-MED; found none")
    tables = {name: _Table(name, scan(path)) for name, path in files.items()}
    parts: list[pl.LazyFrame] = [*_visits(tables["visits"])]
    titles: dict[str, str] = {}
    if "pmh" in tables:
        parts.append(_history(tables["pmh"]))
        titles |= _titles(tables["pmh"])
    if "meds" in tables:
        parts.append(_drugs(tables["meds"]))
    for name, read in (("labs", _values), ("rads", _reports), ("numerics", _vitals)):
        if name in tables:
            parts.append(read(tables[name], tables["visits"]))
    events, skipped = whole(pl.concat(parts, how="vertical_relaxed"))
    return events, titles, skipped


class _Table:
    """A table whose columns are found by one of several names."""

    def __init__(self, name: str, frame: pl.LazyFrame) -> None:
        self.name, self.frame = name, frame
        self.names = frame.collect_schema().names()

    def has(self, what: str) -> bool:
        return any(alias in self.names for alias in NAMES[what])

    def column(self, what: str) -> str:
        """The name under which the table has a column."""
        found = next((alias for alias in NAMES[what] if alias in self.names), "")
        if not found:
            raise FormatError(
                f"{self.name}.csv needs a column {' or '.join(NAMES[what])}; it has {', '.join(self.names)}"
            )
        return found

    def whose(self, visits: _Table | None = None) -> pl.LazyFrame:
        """The rows with `subject_id` and `hadm_id`; by the visit where a table has no patient."""
        import polars as pl

        frame = self.frame
        if not self.has("subject") and visits is not None:
            known = visits.frame.select(
                pl.col(visits.column("visit")).alias("_visit"), pl.col(visits.column("subject")).alias("_subject")
            ).unique("_visit")
            frame = frame.join(
                known, left_on=self.column("visit"), right_on="_visit", how="left", maintain_order="left"
            )
            subject = pl.col("_subject")
        else:
            subject = pl.col(self.column("subject"))
        stay = pl.col(self.column("visit")) if self.has("visit") else pl.lit(None, pl.String)
        return frame.with_columns(subject.alias("subject_id"), stay.alias("hadm_id"))


def _visits(table: _Table) -> Sequence[pl.LazyFrame]:
    """Sex, a birth that gives the age, and what was found, coded when the visit ended."""
    import polars as pl

    frame = table.whose()
    first = frame.unique("subject_id", keep="first", maintain_order=True)
    arrival = moment(table.column("arrival"))
    age = pl.col(table.column("age")).cast(pl.Float64, strict=False)
    birth = arrival - pl.duration(days=(age * 365.25).round(0).cast(pl.Int64))
    parts = [
        shaped(first, "visits/sex", pl.lit(None, pl.Datetime("us")), pl.lit("GENDER//") + pl.col(table.column("sex"))),
        shaped(first, "visits/age", birth, pl.lit("MEDS_BIRTH")),
    ]
    end = moment(table.column("departure")) if table.has("departure") else arrival + pl.duration(days=1)
    for what, version in (("dx10", "10"), ("dx9", "9")):
        if table.has(what):
            # the later of two revisions alone, or every diagnosis would count twice
            code = pl.col(table.column(what)).str.replace_all(".", "", literal=True)
            parts.append(shaped(frame, f"visits/{what}", end, pl.lit(f"DIAGNOSIS//ICD//{version}//") + code))
            break
    return parts


def _history(table: _Table) -> pl.LazyFrame:
    """Former diagnoses; without a date they are from before all else."""
    import polars as pl

    code = pl.col(table.column("code")).str.replace_all(".", "", literal=True)
    version = pl.lit("10")
    if table.has("code_type"):
        version = pl.when(pl.col(table.column("code_type")).str.contains("9")).then(pl.lit("9")).otherwise(pl.lit("10"))
    ago = pl.datetime(1900, 1, 1)
    time = pl.coalesce(moment(table.column("noted")), ago) if table.has("noted") else ago
    return shaped(table.whose(), "pmh", time, pl.lit("DIAGNOSIS//ICD//") + version + pl.lit("//") + code)


def _titles(table: _Table) -> dict[str, str]:
    import polars as pl

    if not table.has("title"):
        return {}
    code = pl.col(table.column("code")).str.replace_all(".", "", literal=True).alias("code")
    rows = table.frame.select(code, pl.col(table.column("title")).alias("title")).drop_nulls().collect().iter_rows()
    return {f"DIAGNOSIS//ICD//{version}//{code}": title for code, title in rows for version in ("10", "9")}


def _drugs(table: _Table) -> pl.LazyFrame:
    import polars as pl

    time = moment(table.column("start"))
    return shaped(table.whose(), "meds", time, pl.lit("MEDICATION//START//") + pl.col(table.column("drug")))


def _values(table: _Table, visits: _Table) -> pl.LazyFrame:
    import polars as pl

    unit = pl.col(table.column("unit")).fill_null("UNK") if table.has("unit") else pl.lit("UNK")
    code = pl.lit("LAB//") + pl.col(table.column("test")) + pl.lit("//") + unit
    value = pl.col(table.column("value"))
    return shaped(table.whose(visits), "labs", moment(table.column("resulted")), code, number=value, text=value)


def _reports(table: _Table, visits: _Table) -> pl.LazyFrame:
    import polars as pl

    text = pl.col(table.column("impression"))
    return shaped(table.whose(visits), "rads", moment(table.column("resulted")), pl.lit("NOTE//RADIOLOGY"), text=text)


_SIGNS = {"hr": "heart rate", "rr": "respiratory rate", "spo2": "oxygen saturation", "sbp": "systolic pressure",
          "dbp": "diastolic pressure"}  # fmt: skip


def _vitals(table: _Table, visits: _Table) -> pl.LazyFrame:
    import polars as pl

    measure = pl.col(table.column("measure")).str.to_lowercase()
    code = pl.lit("VITAL//") + measure.replace(_SIGNS)
    number = pl.col(table.column("value"))
    return shaped(table.whose(visits), "numerics", moment(table.column("resulted")), code, number=number)
