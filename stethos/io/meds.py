"""Patient histories as events in the Medical Event Data Standard, written and read.

A folder holds `data/<part>/0.parquet` with one event a row (`subject_id`, `time`, `code`, `numeric_value`,
`text_value`), `metadata/codes.parquet`, `metadata/dataset.json` and, where subjects are split,
`metadata/subject_splits.parquet`.

Reference:
    Medical Event Data Standard 0.4, the schemas of the package `meds`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethos.errors import FormatError
from stethos.io.files import write_atomic

if TYPE_CHECKING:
    import polars as pl

_REQUIRED = ("subject_id", "time", "code")


def write_meds(
    folder: str | Path,
    events: pl.DataFrame,
    *,
    name: str = "stethos",
    descriptions: Mapping[str, str] | None = None,
    splits: Mapping[int, str] | None = None,
) -> None:
    """Write events as a MEDS folder.

    Args:
        folder: Where to; made if missing.
        events: `subject_id`, `time` (null for what never changes), `code`, and as they apply `numeric_value`,
            `text_value` and further columns; sorted here by subject and time.
        name: Of the data set.
        descriptions: Code → what it means.
        splits: Subject → "train", "tuning" or "held_out"; each part becomes one file. Without it all subjects
            are in `data/train`.

    Raises:
        FormatError: A column is missing or of another type, or the disk is full.
    """
    import meds
    import polars as pl

    folder = Path(folder)
    events = _ordered(events)
    part = {int(subject): split for subject, split in (splits or {}).items()}
    of_row = events["subject_id"].replace_strict(part, default=meds.train_split, return_dtype=pl.String)
    for split in of_row.unique(maintain_order=True):
        path = folder / meds.data_subdirectory / split / "0.parquet"
        write_atomic(path, _parquet(events.filter(of_row == split), meds.DataSchema))
    if splits:
        table = pl.DataFrame({"subject_id": list(part), "split": list(part.values())})
        write_atomic(folder / meds.subject_splits_filepath, _parquet(table, meds.SubjectSplitSchema))
    codes = _codes(events, descriptions or {})
    write_atomic(folder / meds.code_metadata_filepath, _parquet(codes, meds.CodeMetadataSchema))
    about = {"dataset_name": name, "etl_name": "stethos", "meds_version": meds.__version__}
    write_atomic(folder / meds.dataset_metadata_filepath, json.dumps(about, indent=2).encode())


def read_meds(folder: str | Path) -> pl.LazyFrame:
    """The events of a MEDS folder, all parts, read as far as they are asked for.

    Args:
        folder: The folder that holds `data` and `metadata`.

    Returns:
        One row an event: at least `subject_id`, `time`, `code`, `numeric_value`, `text_value`.

    Raises:
        FormatError: There is no event file, or one lacks a column.
    """
    import polars as pl

    files = sorted(Path(folder, "data").rglob("*.parquet"))
    if not files:
        raise FormatError(f"{folder}: needs event files data/*/*.parquet of a MEDS folder; found none")
    frames = []
    for file in files:
        try:
            frame = pl.scan_parquet(file)
            columns = frame.collect_schema().names()
        except Exception as error:
            raise FormatError(f"{file}: not a readable Parquet file ({error}); restore it") from error
        missing = [column for column in _REQUIRED if column not in columns]
        if missing:
            raise FormatError(f"{file}: MEDS events need the column {', '.join(missing)}; it has {', '.join(columns)}")
        frames.append(frame)
    events = pl.concat(frames, how="diagonal_relaxed")
    absent = {"numeric_value": pl.Float32, "text_value": pl.String}
    held = events.collect_schema().names()
    return events.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in absent.items() if name not in held
    )


def _ordered(events: pl.DataFrame) -> pl.DataFrame:
    """Events in the standard's types and order: by subject, then time, what never changes first."""
    import polars as pl

    missing = [column for column in _REQUIRED if column not in events.columns]
    if missing:
        raise FormatError(f"MEDS events need the column {', '.join(missing)}; got {', '.join(events.columns)}")
    types: dict[str, Any] = {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
    }
    try:
        events = events.with_columns(pl.col(name).cast(kind) for name, kind in types.items() if name in events.columns)
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"MEDS events need whole-number subjects, date-times and text codes; {error}") from error
    return events.sort("subject_id", "time", nulls_last=False, maintain_order=True)


def _codes(events: pl.DataFrame, descriptions: Mapping[str, str]) -> pl.DataFrame:
    """Every code that occurs, with what it means where that is known."""
    import polars as pl

    codes = events.select(pl.col("code").unique().sort())
    meanings = codes["code"].replace_strict(dict(descriptions), default=None, return_dtype=pl.String)
    return codes.with_columns(description=meanings, parent_codes=pl.lit(None, dtype=pl.List(pl.String)))


def _parquet(frame: pl.DataFrame, schema: Any) -> bytes:
    """A table checked against a schema of the standard, as Parquet bytes."""
    import pyarrow.parquet

    try:
        table = schema.align(frame.to_arrow())
    except Exception as error:
        raise FormatError(f"the table does not fit {schema.__name__} of MEDS: {error}") from error
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()
