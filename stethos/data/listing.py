"""The table that an importer writes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stethos.data.columns import as_text, read_table
from stethos.errors import CohortError
from stethos.io.files import write_atomic

ABSENT = "the recording is not in the folder"
Cells = Mapping[str, object]


@dataclass(frozen=True)
class ImportResult:
    """What an import wrote.

    Args:
        table: The `cohort.csv`.
        rows: Recordings in it.
        skipped: (path, reason) of every recording left out.
        notes: What a person should know of how the table came about, a sentence each.
    """

    table: Path
    rows: int
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The result as text, reasons counted."""
        reasons = Counter(reason for _, reason in self.skipped)
        left_out = [f"  left out: {count}: {reason}" for reason, count in reasons.most_common()]
        return [f"{self.table}: {self.rows} recordings", *(f"  {note}" for note in self.notes), *left_out]


def read_cells(path: Path) -> list[dict[str, str | None]]:
    """The rows of a table as text, None where empty.

    Raises:
        CohortError: The file is not there or is no table.
    """
    table = read_table(path)
    columns = {name: as_text(table[name]) for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def number(cell: str | None) -> float | None:
    """A cell as a number; None where it is empty or none."""
    try:
        value = float(cell or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def write_listing(
    source: Path,
    out: Path,
    rows: Iterable[Cells],
    skipped: Iterable[tuple[str, str]] = (),
    keep: Collection[str] = (),
) -> ImportResult:
    """Write `out/cohort.csv` with the rows whose recording is there.

    Args:
        source: What the rows' "path" is relative to; written relative to `out` where it lies under it.
        out: A folder, made if missing.
        rows: Column → cell.
        skipped: (path, reason) of what was left out before.
        keep: Columns that are written even if no cell is filled.

    Raises:
        CohortError: No recording is there.
    """
    source, out = Path(source).absolute(), Path(out).absolute()
    present, left_out = [], list(skipped)
    for row in rows:
        file = source / str(row["path"])
        if not file.is_file():
            left_out.append((str(row["path"]), ABSENT))
            continue
        place = file.relative_to(out) if file.is_relative_to(out) else file
        present.append({**row, "path": place.as_posix()})
    if not present:
        raise CohortError(
            f"{source}: needs at least one readable recording; {len(left_out)} were left out "
            f"({', '.join(sorted({reason for _, reason in left_out})[:3]) or 'the folder is empty'})"
        )
    write_atomic(out / "cohort.csv", _csv(present, {"path", *keep}).encode())
    return ImportResult(out / "cohort.csv", len(present), tuple(left_out))


def _csv(rows: list[dict[str, object]], keep: Collection[str]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [pl.Series(name, [_spelt(row.get(name)) for row in rows], dtype=pl.String) for name in names]
    return pl.DataFrame([column for column in columns if column.name in keep or column.is_not_null().any()]).write_csv()


def _spelt(cell: object) -> str | None:
    if cell is None:
        return None
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
