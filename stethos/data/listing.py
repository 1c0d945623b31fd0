"""The table that an importer writes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from stethos.data.columns import as_text, read_table
from stethos.errors import CohortError, MissingExtraError, StethosError
from stethos.io.files import write_atomic

ABSENT = "the recording is not in the folder"
MEANS = "hr, resp_rate, sbp and dbp are means over whole recordings, which may last hours or days"
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

    def noted(self, *notes: str) -> ImportResult:
        """The result with more notes; empty ones are left out."""
        return replace(self, notes=(*self.notes, *(note for note in notes if note)))

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


def found(files: Iterable[Path], source: Path, what: str) -> list[Path]:
    """The files of a data set, absolute and in order.

    Args:
        files: Those that were found.
        source: Where they were looked for.
        what: What was looked for, for the message.

    Raises:
        CohortError: There is no such folder, or none of them.
    """
    if not Path(source).is_dir():
        raise CohortError(f"{source}: needs a folder with {what}, and there is no such folder")
    ordered = sorted(path.absolute() for path in files if path.is_file() and not path.name.startswith("."))
    if not ordered:
        raise CohortError(f"{source}: needs {what}, and there is none in the folder or below it")
    return ordered


def reason(error: Exception) -> str:
    """Why a file was left out, without its path, so that equal reasons can be counted."""
    return re.sub(r"^(?:/|[A-Za-z]:\\).*?: ", "", str(error))


def each_file(files: Iterable[Path], source: Path, out: Path, cells: Callable[[Path], Cells]) -> ImportResult:
    """Write a row a file; one that cannot be read is left out with its reason.

    Args:
        files: Absolute.
        source: What paths are relative to.
        out: Where `cohort.csv` goes.
        cells: What a row says of a file, without its path.

    Raises:
        CohortError: None can be read.
        MissingExtraError: They need a package that is not installed.
    """
    rows, skipped = [], []
    for path in files:
        name = path.relative_to(Path(source).absolute()).as_posix()
        try:
            rows.append({"path": name, **cells(path)})
        except MissingExtraError:
            raise
        except (StethosError, OSError) as error:
            skipped.append((name, reason(error)))
    return write_listing(source, out, rows, skipped)


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
