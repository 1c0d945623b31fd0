"""Tables: for people as HTML, for machines as CSV, from the same cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethos.errors import FormatError
from stethos.report.words import counts, spoken
from stethos.types import Estimate

Cell = str | float | int | Estimate | None
MISSING = "–"


@dataclass(frozen=True)
class Table:
    """Rows and columns with a caption.

    Args:
        columns: Headings.
        rows: One sequence of cells a row; None or NaN where there is no value.
        caption: What the table shows.
        note: Under the table: how it was measured, and why a value is missing.

    Raises:
        FormatError: A row has more or fewer cells than there are headings.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        ragged = [len(row) for row in self.rows if len(row) != len(self.columns)]
        if ragged:
            raise FormatError(
                f"a table of {len(self.columns)} columns needs as many cells a row; a row has {ragged[0]}"
            )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and are therefore aligned to the right."""
        columns = [[row[place] for row in self.rows] for place in range(len(self.columns))]
        kinds = [[cell for cell in column if not isinstance(cell, str | None)] for column in columns]
        texts = [any(isinstance(cell, str) for cell in column) for column in columns]
        return tuple(bool(kind) and not text for kind, text in zip(kinds, texts, strict=True))

    @property
    def remark(self) -> str:
        """The note, with the dash explained where a value is missing."""
        dash = any(shown(cell)[0] == MISSING for row in self.rows for cell in row)
        explained = MISSING in self.note
        return f"{self.note} {MISSING}: not available.".strip() if dash and not explained else self.note

    def csv(self) -> str:
        """Every cell in full precision; an estimate takes five columns: value, low, high, n, events."""
        wide = [any(isinstance(row[place], Estimate) for row in self.rows) for place in range(len(self.columns))]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow([name for pair in zip(self.columns, wide, strict=True) for name in _headings(*pair)])
        for row in self.rows:
            writer.writerow([item for pair in zip(row, wide, strict=True) for item in _items(*pair)])
        return out.getvalue()


def shown(cell: Cell) -> tuple[str, str]:
    """A cell as people read it, and the small print under it."""
    if isinstance(cell, Estimate):
        return spoken(cell), counts(cell) if np.isfinite(cell.value) else ""
    if cell is None or cell == "":
        return MISSING, ""
    if isinstance(cell, str):
        return cell, ""
    return (f"{cell:,}" if isinstance(cell, int | np.integer) else _decimal(float(cell))), ""


def _decimal(value: float) -> str:
    """About three figures: 0.912, 63.4, 1,240; never a zero that is not one."""
    if not np.isfinite(value):
        return MISSING
    if 0 < abs(value) < 0.0005:
        return f"{value:.1g}".replace("-", "−")
    places = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{places}f}".replace("-", "−")


def _headings(name: str, wide: bool) -> list[str]:
    """Names of the CSV columns behind one column of the table."""
    return [name, f"{name} low", f"{name} high", f"{name} n", f"{name} events"] if wide else [name]


def _items(cell: Cell, wide: bool) -> list[str]:
    """CSV cells behind one cell of the table."""
    if isinstance(cell, Estimate):
        return [_plain(item) for item in (cell.value, cell.low, cell.high, cell.n, cell.events)]
    return [_plain(cell), "", "", "", ""] if wide else [_plain(cell)]


def _plain(cell: str | float | int | None) -> str:
    """Text that reads back as the same number; nothing where there is no value."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    return cell if isinstance(cell, str) else repr(cell.item() if isinstance(cell, np.generic) else cell)
