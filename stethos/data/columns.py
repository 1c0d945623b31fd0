"""Table cells to typed columns.

A cohort's columns are text on disk. Here they become what `stethos.types.Cohort` holds: float64 with NaN for
unknown where every cell that is not empty is a number, an object array of str and None otherwise, and
datetime64[s] with NaT for dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from stethos.errors import CohortError
from stethos.types import Fact


def read_table(path: Path) -> pl.DataFrame:
    """A CSV, TSV (`.tsv`, `.tab`) or Parquet table; CSV and TSV cells stay text.

    Raises:
        CohortError: The file is not there or is no such table.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(path)
        separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
        return pl.read_csv(path, separator=separator, infer_schema=False, encoding="utf8")
    except FileNotFoundError:
        raise CohortError(f"{path}: needs a table here, and there is no such file") from None
    except pl.exceptions.NoDataError:
        raise CohortError(f"{path}: needs a table with a line of column names; the file is empty") from None
    except (pl.exceptions.ComputeError, pl.exceptions.ShapeError) as error:
        raise CohortError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from None


def as_text(column: pl.Series) -> np.ndarray:
    """Cells as stripped text, None where empty, `(N,)` object; whole floats lose their `.0`."""
    if column.dtype in (pl.Float32, pl.Float64) and column.drop_nulls().drop_nans().round().equals(
        column.drop_nulls().drop_nans()
    ):
        column = column.fill_nan(None).cast(pl.Int64, strict=False)
    elif column.dtype == pl.Boolean:
        column = column.cast(pl.Int8)
    text = column.cast(pl.String).str.strip_chars()
    return text.replace("", None).to_numpy(allow_copy=True).astype(object)


def as_numbers(cells: np.ndarray) -> np.ndarray | None:
    """Cells as float64 with NaN for empty, `(N,)`; None where a cell is no number."""
    text = pl.Series(cells.tolist(), dtype=pl.String)
    numbers = text.cast(pl.Float64, strict=False)
    if (numbers.is_null() & text.is_not_null()).any():
        return None
    return numbers.fill_null(float("nan")).to_numpy().astype(np.float64)


def as_column(cells: np.ndarray) -> np.ndarray:
    """Numbers where every cell that is not empty is one; text with None for empty otherwise."""
    numbers = as_numbers(cells)
    return cells if numbers is None else numbers


def as_times(cells: np.ndarray | Sequence[str | None], what: str) -> np.ndarray:
    """ISO dates as datetime64[s], NaT for empty, `(N,)`; a date with an offset becomes UTC.

    Args:
        cells: Text such as "2021-03-04T10:20:00"; None for unknown, `(N,)`.
        what: The table, for the message.

    Raises:
        CohortError: A cell is no ISO date, or only some of them state their offset from UTC.
    """
    times = np.full(len(cells), np.datetime64("NaT", "s"))
    zoned = set()
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            raise CohortError(
                f"{what}, row {row + 1}: needs an ISO date such as 2021-03-04T10:20:00; got {cell!r}"
            ) from None
        zoned.add(moment.tzinfo is not None)
        times[row] = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    if len(zoned) > 1:
        raise CohortError(f"{what}: either all dates state their offset from UTC or none does; here some do")
    return times


def as_isoformat(times: np.ndarray) -> list[str | None]:
    """datetime64[s] as ISO text, None for NaT."""
    return [None if np.isnat(moment) else str(moment) for moment in times.astype("datetime64[s]")]


def cell(column: np.ndarray, row: int) -> Fact:
    """A number or text of a typed column; None where unknown."""
    value = column[row]
    if column.dtype.kind == "f":
        return None if np.isnan(value) else float(value)
    return None if value is None else str(value)


def moment(column: np.ndarray, row: int) -> datetime | None:
    """A date of a datetime64 column; None where unknown."""
    return cast("datetime | None", column[row].astype("datetime64[s]").astype(object))
