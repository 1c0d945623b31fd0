"""The first sheet of an Excel workbook (`.xlsx`): a zip archive of XML.

Reference:
    ISO/IEC 29500-1 (Office Open XML), SpreadsheetML.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from stethos.errors import FormatError

_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_REFERENCE = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_LARGEST = 2**28  # bytes that a part of the archive may unfold to


def read_workbook(path: str | Path) -> list[list[str]]:
    """The cells of a workbook's first sheet as text, row by row, "" where empty; formulas as their last value.

    Args:
        path: The `.xlsx` file.

    Raises:
        FormatError: There is no such file, or it is no workbook.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            texts = _shared(archive)
            sheet = _part(archive, _first_sheet(archive))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, ValueError, NotImplementedError) as error:
        raise FormatError(f"{path}: not a readable .xlsx workbook ({error}); save it as CSV") from error
    return [_row(row, texts, path) for row in sheet.iter(f"{_SPACE}row")]


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} unfolds to more than {_LARGEST} bytes")
    return ElementTree.fromstring(archive.read(name))


def _shared(archive: zipfile.ZipFile) -> list[str]:
    """The texts that cells refer to by number."""
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    items = _part(archive, "xl/sharedStrings.xml").iter(f"{_SPACE}si")
    return ["".join(part.text or "" for part in item.iter(f"{_SPACE}t")) for item in items]


def _first_sheet(archive: zipfile.ZipFile) -> str:
    """The part that holds the sheet which the workbook lists first."""
    listed = next(_part(archive, "xl/workbook.xml").iter(f"{_SPACE}sheet"), None)
    named = {part.get("Id"): part.get("Target", "") for part in _part(archive, "xl/_rels/workbook.xml.rels")}
    target = named.get(listed.get(_REFERENCE)) if listed is not None else None
    if not target:
        raise ValueError("it lists no sheet")
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _row(row: ElementTree.Element, texts: list[str], path: Path) -> list[str]:
    cells: dict[int, str] = {}
    for place, cell in enumerate(row.iter(f"{_SPACE}c")):
        cells[_column(cell.attrib, place)] = _text(cell, texts, path)
    return [cells.get(column, "") for column in range(max(cells, default=-1) + 1)]


def _column(attributes: Mapping[str, str], place: int) -> int:
    """A cell's column from 0: "C7" is 2; its place in the row where it does not say."""
    letters = re.match(r"[A-Z]{1,3}", attributes.get("r", ""))
    if letters is None:
        return place
    number = 0
    for letter in letters[0]:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _text(cell: ElementTree.Element, texts: list[str], path: Path) -> str:
    if cell.get("t") == "inlineStr":
        return "".join(part.text or "" for part in cell.iter(f"{_SPACE}t")).strip()
    value = cell.findtext(f"{_SPACE}v", "")
    if cell.get("t") != "s":
        return value.strip()
    if not value.isdigit() or int(value) >= len(texts):
        raise FormatError(f"{path}: a cell refers to text {value!r} of {len(texts)}; save the workbook again")
    return texts[int(value)].strip()
