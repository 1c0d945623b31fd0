"""One self-contained HTML page: no script, nothing fetched, readable in print and without colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from stethos.io.files import write_atomic
from stethos.report import style
from stethos.report.film import Film
from stethos.report.picture import Picture
from stethos.report.svg import inline
from stethos.report.table import MISSING, Cell, Table, shown
from stethos.report.wording import PEOPLE, Wording
from stethos.report.words import counts, spoken
from stethos.types import Estimate, Origin

if TYPE_CHECKING:
    from jinja2 import Environment

Block = str | Table | Picture | Film

SHEET = 120  # letters of 8.5 pt, about 160 of the 170 mm between the margins of A4
LONG = 24  # letters; a longer word, such as a hash, is broken


@dataclass(frozen=True)
class Tile:
    """A key number at the top of the page.

    Args:
        label: What it is, and where it was measured.
        number: An estimate, or words.
        remark: Small print, such as the prevalence an NPV belongs to.
    """

    label: str
    number: Estimate | str
    remark: str = ""

    @property
    def value(self) -> str:
        """The large print."""
        if isinstance(self.number, str):
            return self.number
        return f"{self.number.value:.3f}" if isfinite(self.number.value) else MISSING

    @property
    def interval(self) -> str:
        """The interval; empty where the number is words."""
        if isinstance(self.number, str):
            return ""
        if not isfinite(self.number.low + self.number.high):
            return "no interval"
        inside = spoken(self.number).partition("(")[2].rstrip(")")
        return f"{100 * self.number.level:g} % interval {inside}"

    @property
    def basis(self) -> str:
        """How many subjects and events it rests on."""
        return "" if isinstance(self.number, str) else counts(self.number)


@dataclass(frozen=True, eq=False)
class Section:
    """A heading and what stands under it.

    Args:
        title: The heading; also in the list of contents.
        blocks: Paragraphs (plain text, an empty line between two), tables, pictures and films, in order.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, eq=False)
class Page:
    """A report.

    Args:
        title: Of the page.
        origin: Where the records come from; anything but "real" is said beside every number.
        lead: The result in a few sentences.
        tiles: Key numbers.
        sections: The rest, in order.
        facts: Name → value, small print under the title: version, date, command.
        wording: What depends on whether it is about people or machines.
    """

    title: str
    origin: Origin
    lead: str
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = ()
    facts: Mapping[str, str] | None = None
    wording: Wording = PEOPLE

    @cached_property
    def html(self) -> str:
        """The whole page as text."""
        mark = "" if self.origin == "real" else self.origin
        return _environment().get_template("page.html.j2").render(page=self, mark=mark, sections=self._numbered())

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        write_atomic(path, self.html.encode())

    def _numbered(self) -> list[tuple[str, str, list[dict[str, object]]]]:
        """Sections with their anchors, and their blocks with number, kind and file."""
        figures = tables = 0
        numbered = []
        for place, section in enumerate(self.sections, start=1):
            blocks: list[dict[str, object]] = []
            for block in section.blocks:
                if isinstance(block, Picture):
                    figures += 1
                    blocks.append(_pictured(block, figures, self.origin))
                elif isinstance(block, Film):
                    figures += 1
                    blocks.append(_filmed(block, figures))
                elif isinstance(block, Table):
                    tables += 1
                    blocks.append(_tabled(block, tables))
                else:
                    blocks.append(_written(block))
            numbered.append((f"section-{place}", section.title, blocks))
        return numbered


def _written(text: str) -> dict[str, object]:
    """Paragraphs, and whether each holds a number, which is then marked as synthetic where it is."""
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    return {
        "kind": "text",
        "paragraphs": [(part, any(letter.isdigit() for letter in part)) for part in parts],
    }


def _pictured(picture: Picture, number: int, origin: Origin) -> dict[str, object]:
    """What the template needs to show a picture."""
    from markupsafe import Markup

    key = f"figure-{number}"
    mark = "" if origin == "real" else origin
    svg = Markup(inline(picture.drawing, key, picture.title, picture.alt, mark, picture.fixed))  # escaped inside
    narrow = picture.drawing.get_figwidth() * style.INCH <= style.NARROW + 1
    shared = {"kind": "figure", "key": key, "number": number, "csv": _link(picture.data)}
    return {**shared, "picture": picture, "svg": svg, "narrow": narrow}


def _filmed(film: Film, number: int) -> dict[str, object]:
    """What the template needs to show moving pictures."""
    from markupsafe import Markup

    html = Markup(film.html)  # escaped inside
    return {"kind": "film", "key": f"figure-{number}", "number": number, "film": film, "html": html}


def _tabled(table: Table, number: int) -> dict[str, object]:
    """What the template needs to show a table."""
    rows = [[_cell(cell, right) for cell, right in zip(row, table.numeric, strict=True)] for row in table.rows]
    shared = {"kind": "table", "key": f"table-{number}", "number": number, "csv": _link(table)}
    return {**shared, "table": table, "rows": rows, "wide": _wide(table, rows)}


def _wide(table: Table, rows: list[list[tuple[str, str, str]]]) -> bool:
    """Whether unbroken words and numbers would not fit a printed sheet, so that they must break anywhere."""
    columns = zip(*rows, strict=True) if rows else [()] * len(table.columns)
    return sum(_least(name, column) for name, column in zip(table.columns, columns, strict=True)) > SHEET


def _least(heading: str, column: Iterable[tuple[str, str, str]]) -> int:
    """Letters across that a column needs: its longest word or unbroken number, and the gap to the next."""
    parts = heading.split()
    for text, _, kind in column:
        parts += text.split(" (") if kind == "number" else text.split()
    return 2 + min(LONG, max(map(len, parts), default=0))


def _cell(cell: Cell, right: bool) -> tuple[str, str, str]:
    """Text, small print and kind of a cell: "number", "long" where a word must be broken, "prose", or "text"."""
    text, small = shown(cell)
    if right:
        return text, small, "number"
    longest = max(map(len, text.split()), default=0)
    return text, small, "long" if longest > LONG else "prose" if len(text) > LONG else "text"


def _link(table: Table) -> str:
    """The CSV as an address that a browser saves; its first character tells spreadsheets that it is UTF-8."""
    return "data:text/csv;charset=utf-8," + quote("\ufeff" + table.csv(), safe=",.:;()_-+")


def _environment() -> Environment:
    """Templates of this package, every value escaped, an unknown name an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("stethos.report", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
