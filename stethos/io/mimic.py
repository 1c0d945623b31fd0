"""Raw tables of MIMIC-III and MIMIC-IV as events, with the codes that the MEDS form of MIMIC-IV has.

Tables lie in the folder or one below it (`hosp`, `icu`, `note`), as .csv or .csv.gz; names of files and columns may be
in capitals. Rows are read as far as they are asked for. Codes are text: leading zeros count.

Reference:
    Johnson et al. 2016, doi:10.1038/sdata.2016.35 (MIMIC-III); 2023, doi:10.1038/s41597-022-01899-x (MIMIC-IV).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stethos.errors import FormatError

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("subject_id", "time", "code", "numeric_value", "text_value", "event", "stay")
_SHIFTED_YEARS = 200  # a birth so long before an admission was moved, for an age of 90 or more
_MANY = 500  # codes; of so many some begin with 0
_NEEDED = ("patients", "admissions", "diagnoses_icd")


def find_mimic(folder: Path) -> dict[str, Path]:
    """Table → file, of the folder and those directly below it; empty where it is no MIMIC."""
    found: dict[str, Path] = {}
    files = [path for pattern in ("*.csv*", "*/*.csv*") for path in sorted(Path(folder).glob(pattern))]
    for path in files:
        name = path.name.lower()
        if name.endswith((".csv", ".csv.gz")):
            found.setdefault(name.split(".")[0], path)
    return found if all(name in found for name in _NEEDED) else {}


def read_mimic(folder: Path) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Events of all tables that are there, and reason → rows that are none.

    Args:
        folder: Holds at least patients, admissions and diagnoses_icd.

    Raises:
        FormatError: A table is missing or lacks a column.
    """
    import polars as pl

    tables = find_mimic(folder)
    if not tables:
        raise FormatError(f"{folder}: needs the tables {', '.join(_NEEDED)} of MIMIC, as .csv or .csv.gz")
    scanned = {name: scan(path) for name, path in tables.items()}
    parts = [part for name, reader in _READERS.items() if name in scanned for part in reader(scanned)]
    return whole(pl.concat(parts, how="vertical_relaxed"))


def whole(events: pl.LazyFrame) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The rows that have a subject and a code, and how many others there are, and how many have no time."""
    import polars as pl

    nobody = pl.col("subject_id").is_null() | pl.col("code").is_null()
    undated = ~nobody & pl.col("time").is_null() & ~pl.col("code").str.starts_with("GENDER")
    counted = events.select(nobody.sum().alias("a"), undated.sum().alias("b")).collect().row(0)
    reasons = ("rows without a subject or a code", "rows without a time")
    skipped = {reason: int(count) for reason, count in zip(reasons, counted, strict=True) if count}
    return events.filter(~nobody), skipped


def lost_zeros(folder: Path) -> str:
    """A sentence where no ICD-9 code of many begins with 0, as if they had been read as numbers; empty otherwise."""
    import polars as pl

    tables = find_mimic(folder)
    frame = scan(tables["diagnoses_icd"])
    code, version = _code_and_version(frame, tables["diagnoses_icd"])
    ninth = frame.select(code, version).filter(pl.col("version") == "9")
    count, zeros = ninth.select(pl.len(), pl.col("code").str.starts_with("0").sum()).collect().row(0)
    if count < _MANY or zeros:
        return ""
    return (
        f"none of {count} ICD-9 codes begins with 0: leading zeros seem to be lost, and 0389, sepsis, then reads as "
        "389, hearing loss; take the tables as they were published"
    )


def mimic_titles(folder: Path) -> dict[str, str]:
    """Code → title, of the dictionaries of diagnoses, procedures and laboratory tests that are there."""
    tables, titles = find_mimic(folder), dict[str, str]()
    for name, kind in (("d_icd_diagnoses", "DIAGNOSIS"), ("d_icd_procedures", "PROCEDURE")):
        if name in tables:
            frame = scan(tables[name])
            rows = frame.select(*_code_and_version(frame, tables[name]), "long_title").collect().iter_rows()
            titles |= {f"{kind}//ICD//{version}//{code}": title for code, version, title in rows if title}
    return titles


def scan(path: Path) -> pl.LazyFrame:
    """A table with its columns in small letters, all as text."""
    import polars as pl

    try:
        frame = pl.scan_csv(path, infer_schema=False)
        names = frame.collect_schema().names()
    except Exception as error:
        raise FormatError(f"{path}: not a readable CSV ({error}); restore it") from error
    return frame.rename({name: name.strip().lower() for name in names})


def columns_of(frame: pl.LazyFrame, what: str, *needed: str) -> list[str]:
    """Names of a table's columns.

    Raises:
        FormatError: One that is needed is missing.
    """
    names = frame.collect_schema().names()
    missing = [name for name in needed if name not in names]
    if missing:
        raise FormatError(f"the table {what} needs the column {', '.join(missing)}; it has {', '.join(names)}")
    return names


def moment(name: str) -> pl.Expr:
    """A column of dates, with or without a time of day, as moments; null where it is neither."""
    import polars as pl

    text = pl.col(name).str.strip_chars()
    whole = text.str.replace("T", " ").str.slice(0, 19)
    seconds = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    days = text.str.slice(0, 10).str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    return pl.coalesce(seconds, days)


def shaped(frame: pl.LazyFrame, table: str, time: pl.Expr, code: pl.Expr, **more: pl.Expr) -> pl.LazyFrame:
    """Rows of a table as events; `event` is the table and the number of the row.

    Args:
        frame: With `subject_id`, and `hadm_id` where admissions are known.
        table: Its name.
        time: When.
        code: What.
        more: `number` and `text`, as they apply.
    """
    import polars as pl

    stay = pl.col("hadm_id") if "hadm_id" in frame.collect_schema().names() else pl.lit(None, pl.String)
    number = more.get("number", pl.lit(None, pl.Float32)).cast(pl.Float32, strict=False)
    rows = frame.with_row_index("row")
    return rows.select(
        pl.col("subject_id").cast(pl.Int64, strict=False),
        time.cast(pl.Datetime("us")).alias("time"),
        code.cast(pl.String).alias("code"),
        number.alias("numeric_value"),
        more.get("text", pl.lit(None, pl.String)).cast(pl.String).alias("text_value"),
        (pl.lit(f"{table}/") + pl.col("row").cast(pl.String)).alias("event"),
        stay.cast(pl.String).alias("stay"),
    )


def _code_and_version(frame: pl.LazyFrame, table: object) -> tuple[pl.Expr, pl.Expr]:
    """ICD code and its revision: MIMIC-III has the ninth alone."""
    import polars as pl

    names = columns_of(frame, str(table))
    code = next((name for name in ("icd_code", "icd9_code") if name in names), "")
    if not code:
        raise FormatError(f"the table {table} needs the column icd_code or icd9_code; it has {', '.join(names)}")
    version = pl.col("icd_version").str.strip_chars() if "icd_version" in names else pl.lit("9")
    return pl.col(code).str.strip_chars().alias("code"), version.alias("version")


Tables = Mapping[str, "pl.LazyFrame"]


def _people(tables: Tables) -> Sequence[pl.LazyFrame]:
    """Sex, and the birth that gives the age; one that was moved back is that of an age of 91."""
    import polars as pl

    frame = tables["patients"]
    names = columns_of(frame, "patients", "subject_id", "gender")
    gender = shaped(frame, "patients/sex", pl.lit(None, pl.Datetime("us")), pl.lit("GENDER//") + pl.col("gender"))
    if "anchor_age" in names:
        year = pl.col("anchor_year").cast(pl.Int32, strict=False) - pl.col("anchor_age").cast(pl.Int32, strict=False)
        birth = pl.datetime(year, 1, 1)
    elif "dob" in names:
        first = tables["admissions"].group_by("subject_id").agg(moment("admittime").min().alias("first"))
        frame = frame.join(first, on="subject_id", how="left", maintain_order="left")
        moved = pl.col("first").dt.year() - moment("dob").dt.year() > _SHIFTED_YEARS
        birth = pl.when(moved).then(pl.col("first").dt.offset_by("-91y")).otherwise(moment("dob"))
    else:
        raise FormatError(f"the table patients needs anchor_age and anchor_year, or dob; it has {', '.join(names)}")
    return gender, shaped(frame, "patients/birth", birth, pl.lit("MEDS_BIRTH"))


def _coded(table: str, kind: str) -> Callable[[Tables], Sequence[pl.LazyFrame]]:
    """Diagnoses or procedures, which are coded when the admission ends, but for those with a date of their own."""

    def read(tables: Tables) -> Sequence[pl.LazyFrame]:
        import polars as pl

        frame = tables[table]
        names = columns_of(frame, table, "subject_id", "hadm_id")
        code, version = _code_and_version(frame, table)
        columns_of(tables["admissions"], "admissions", "hadm_id", "dischtime")
        ends = tables["admissions"].select("hadm_id", moment("dischtime").alias("end")).unique("hadm_id")
        joined = frame.join(ends, on="hadm_id", how="left", maintain_order="left").with_columns(code, version)
        time = pl.coalesce(moment("chartdate"), "end") if "chartdate" in names else pl.col("end")
        whole = pl.lit(f"{kind}//ICD//") + pl.col("version") + pl.lit("//") + pl.col("code")
        return [shaped(joined, table, time, whole)]

    return read


def _prescriptions(tables: Tables) -> Sequence[pl.LazyFrame]:
    import polars as pl

    frame = tables["prescriptions"]
    names = columns_of(frame, "prescriptions", "subject_id", "drug")
    start = next((name for name in ("starttime", "startdate") if name in names), "")
    if not start:
        raise FormatError(f"the table prescriptions needs starttime or startdate; it has {', '.join(names)}")
    return [shaped(frame, "prescriptions", moment(start), pl.lit("MEDICATION//START//") + pl.col("drug"))]


def _laboratory(tables: Tables) -> Sequence[pl.LazyFrame]:
    """Values with the test's name, which its number alone would not tell."""
    import polars as pl

    frame = tables["labevents"]
    columns_of(frame, "labevents", "subject_id", "itemid", "charttime", "valuenum", "valueuom")
    frame = frame.with_columns(pl.col("itemid").str.strip_chars())
    name = pl.lit("LAB//") + pl.col("itemid")
    if "d_labitems" in tables:
        labels = tables["d_labitems"].select(pl.col("itemid").str.strip_chars(), "label").unique("itemid")
        frame = frame.join(labels, on="itemid", how="left", maintain_order="left")
        name = name + pl.lit("//") + pl.col("label").fill_null("")
    code = name + pl.lit("//") + pl.col("valueuom").fill_null("UNK")
    number = pl.col("valuenum")
    return [shaped(frame, "labevents", moment("charttime"), code, number=number, text=pl.col("value"))]


def _measures(tables: Tables) -> Sequence[pl.LazyFrame]:
    """Blood pressure, weight and height of the outpatient record."""
    import polars as pl

    frame = tables["omr"]
    columns_of(frame, "omr", "subject_id", "chartdate", "result_name", "result_value")
    return [shaped(frame, "omr", moment("chartdate"), pl.col("result_name"), text=pl.col("result_value"))]


def _notes(table: str) -> Callable[[Tables], Sequence[pl.LazyFrame]]:
    """Notes that are no mistake, at their time; a note of which the day alone is known counts from the next day on."""

    def read(tables: Tables) -> Sequence[pl.LazyFrame]:
        import polars as pl

        frame = tables[table]
        names = columns_of(frame, table, "subject_id", "charttime", "text")
        if "iserror" in names:
            frame = frame.filter(pl.col("iserror").fill_null("") != "1")
        day = (moment("chartdate") + pl.duration(days=1)) if "chartdate" in names else moment("charttime")
        time = pl.coalesce(moment("charttime"), day)
        return [shaped(frame, table, time, pl.lit(f"NOTE//{table.upper()}"), text=pl.col("text"))]

    return read


_READERS: Mapping[str, Callable[[Tables], Sequence[pl.LazyFrame]]] = {
    "patients": _people,
    "diagnoses_icd": _coded("diagnoses_icd", "DIAGNOSIS"),
    "procedures_icd": _coded("procedures_icd", "PROCEDURE"),
    "prescriptions": _prescriptions,
    "labevents": _laboratory,
    "omr": _measures,
    "noteevents": _notes("noteevents"),
    "discharge": _notes("discharge"),
    "radiology": _notes("radiology"),
}
