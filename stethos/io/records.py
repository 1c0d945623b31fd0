"""Patients' records of whatever layout, as events of one form.

Every layout becomes rows of

    subject_id  Int64          event  String  id of the row it is from, the same whenever it is read
    time        Datetime (µs)  stay   String  admission or visit; null where not known
    code        String         numeric_value  Float32         text_value  String
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stethos.errors import FormatError
from stethos.io.mcmed import find_mcmed, read_mcmed
from stethos.io.meds import read_meds
from stethos.io.mimic import find_mimic, lost_zeros, mimic_titles, read_mimic

if TYPE_CHECKING:
    import polars as pl

_STAYS = ("hadm_id", "stay_id", "visit_id", "encounter_id")
CREDENTIALED = "credentialed: see the data use agreement"


@dataclass(frozen=True)
class Records:
    """Records of many patients.

    Args:
        events: With the columns above.
        kind: "MEDS", "MIMIC" or "MC-MED".
        terms: Licence or agreement; empty where not known.
        titles: Code → what it means.
        skipped: Reason → rows that are no event.
        notes: What a person should know of them, a sentence each.
    """

    events: pl.LazyFrame
    kind: str
    terms: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_records(folder: Path) -> Records:
    """The records in a folder: MEDS, MIMIC-III or MIMIC-IV tables, or MC-MED.

    Raises:
        FormatError: The folder holds none of them, or one that lacks a column.
    """
    folder = Path(folder)
    if (folder / "data").is_dir() and any((folder / "data").rglob("*.parquet")):
        return Records(_with_ids(read_meds(folder)), "MEDS", "", _meds_titles(folder))
    if find_mimic(folder):
        events, skipped = read_mimic(folder)
        notes = tuple(note for note in (lost_zeros(folder),) if note)
        return Records(events, "MIMIC", CREDENTIALED, mimic_titles(folder), skipped, notes)
    if find_mcmed(folder):
        events, titles, skipped = read_mcmed(folder)
        return Records(events, "MC-MED", CREDENTIALED, titles, skipped)
    raise FormatError(
        f"{folder}: needs patients' records: a MEDS folder (data/*/*.parquet), MIMIC tables (admissions.csv, "
        "diagnoses_icd.csv, …) or MC-MED (visits.csv); found none of them"
    )


def _with_ids(events: pl.LazyFrame) -> pl.LazyFrame:
    """MEDS rows with an id, which is their number, and the admission where a column tells it."""
    import polars as pl

    names = events.collect_schema().names()
    stay = next((pl.col(name).cast(pl.String) for name in _STAYS if name in names), pl.lit(None, pl.String))
    return events.with_row_index("row").select(
        pl.col("subject_id").cast(pl.Int64),
        pl.col("time").cast(pl.Datetime("us")),
        pl.col("code"),
        pl.col("numeric_value").cast(pl.Float32),
        pl.col("text_value").cast(pl.String),
        (pl.lit("meds/") + pl.col("row").cast(pl.String)).alias("event"),
        stay.alias("stay"),
    )


def _meds_titles(folder: Path) -> dict[str, str]:
    """Code → description, of metadata/codes.parquet; nothing where there is none."""
    import polars as pl

    path = folder / "metadata" / "codes.parquet"
    if not path.is_file():
        return {}
    table = pl.read_parquet(path)
    if not {"code", "description"} <= set(table.columns):
        return {}
    rows = table.select("code", "description").drop_nulls().iter_rows()
    return {code: description for code, description in rows if description}
