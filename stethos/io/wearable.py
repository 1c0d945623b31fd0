"""Recordings that people export from their watches.

An Apple Watch writes a text of "key,value" lines, an empty line, lead and unit, and one sample a line. Keys
and values are in the language of the telephone, decimals may have a comma, "µ" is one of two letters, spaces
may not break. So the file is read by its shape, not by its words: values that look like a rate, a lead and a
unit. Recordings of the same shape by other makers are read as well.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stethos.errors import FormatError, UnitError
from stethos.io.channels import Trace, declared_unit, signals_from
from stethos.io.files import read_text
from stethos.io.stated import known_rate
from stethos.types import Fact, Record

_SPACES = re.compile("[\u00a0\u2007\u2009\u202f]")
_INVISIBLE = re.compile("[\u200e\u200f\u061c\ufeff]")  # marks of the direction of writing
_NUMBER = re.compile(r'"?[-+\u2212]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?"?,?')
_HERTZ = r"(?:hz|hertz(?:ios)?|hercios?|赫兹|赫茲|赫|ヘルツ|헤르츠|герц)\.?"
_RATE = re.compile(rf"(\d+(?:[.,]\d+)?)\s*{_HERTZ}", re.IGNORECASE)
_UNIT = re.compile(r"[µμumn]v|微伏|毫伏", re.IGNORECASE)
_WORDS = {"微伏": "uV", "毫伏": "mV"}
_LEAD = re.compile(r"(?<![A-Za-z0-9])(I{1,3}|aV[RLF]|V[1-9])(?![A-Za-z0-9.])", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d).*")
_CLASS = re.compile(r"[ck]lass?ifi|clasific|分类|分類", re.IGNORECASE)
_DEVICE = re.compile(r"device|gerät|appareil|dispositi|apparat|设备|設備|裝置|装置", re.IGNORECASE)
_PAIRED = ("lead", "voltage")
_FEWEST = 10  # samples; fewer numbers in a row are no recording
_SHAPES = (_RATE.fullmatch, _UNIT.fullmatch, _LEAD.search)


class _Line(NamedTuple):
    """One line of the header."""

    key: str
    value: str


def looks_like_watch(text: str) -> bool:
    """Whether a text has the shape: "key,value" lines, among them a voltage unit and a rate or a lead."""
    header = _header(_lines(text)[:60])
    rate, unit, lead = (any(shape(line.value) for line in header) for shape in _SHAPES)
    return (unit and (rate or lead)) or (rate and _is_paired(header))


def read_watch(
    path: str | Path, *, rate: float | None = None, unit: str | None = None, keep_identity: bool = False
) -> Record:
    """Read an Apple Watch CSV, in any language, or one of the same shape such as Samsung Health Monitor's.

    The lead is what stands beside the unit; a name that is no lead is kept, so that no model of lead I takes it.
    The stated rate is used as it is (512.844 Hz, not 512). The time zone of the start is dropped. Name and birth
    date are dropped as well, unless asked for.

    Args:
        path: The file.
        rate: Hz, for a file that does not state it.
        unit: For a file that does not state it, such as the old one with lines "lead,voltage".
        keep_identity: Whether name and birth date become facts.

    Raises:
        FormatError: A sample is not a number, or there are too few of them.
        RateError: The rate is not stated.
        UnitError: The unit is not stated.
    """
    path = Path(path)
    lines = _lines(read_text(path))
    header = _header(lines)
    values = _samples(lines, header, path)
    stated = next((match[1] for line in header if (match := _RATE.fullmatch(line.value))), None)
    hertz = known_rate(path, float(stated.replace(",", ".")) if stated else None, rate)
    facts = _facts(header) | (_identity(header) if keep_identity else {})
    signals = signals_from([Trace(_lead(header), values, hertz, _unit(header, unit, path))])
    return Record(path.stem, path.stem, signals, when=_start(header), facts=facts)


def _lines(text: str) -> list[str]:
    """Lines with ordinary spaces and no ends."""
    return [line.strip() for line in _INVISIBLE.sub("", _SPACES.sub(" ", text)).splitlines()]


def _header(lines: list[str]) -> list[_Line]:
    """The "key,value" lines before the samples; a value may be quoted and hold commas."""
    header = []
    for line in lines:
        if _NUMBER.fullmatch(line):
            break
        key, _, value = line.partition(",")
        header.append(_Line(key.strip(' "'), value.strip(' "').rstrip(",")))
        if _is_paired(header):
            break
    return header


def _is_paired(header: list[_Line]) -> bool:
    """Whether the samples come as lines "lead,voltage"."""
    return bool(header) and (header[-1].key.lower(), header[-1].value.lower()) == _PAIRED


def _samples(lines: list[str], header: list[_Line], path: Path) -> np.ndarray:
    """The samples below the header, `(T,)`, in the unit of the file."""
    cells = [line for line in lines[len(header) :] if line.strip(',"')]
    if _is_paired(header):
        cells = [line.rpartition(",")[2].strip() for line in cells]
    wrong = next((cell for cell in cells if not _NUMBER.fullmatch(cell)), None)
    if wrong is not None and any(_UNIT.fullmatch(line.value) for line in header):
        raise FormatError(f"{path}: every line below the unit must be one number; got {wrong[:20]!r}; export it again")
    if wrong is not None:
        cells = _longest_run(cells)
    if len(cells) < _FEWEST:
        raise FormatError(f"{path}: needs one sample a line below its header; found {len(cells)}; export it again")
    return np.array([float(cell.strip('",').replace(",", ".").replace("\u2212", "-")) for cell in cells])


def _longest_run(cells: list[str]) -> list[str]:
    """The longest run of lines that are a number each, for a file whose header is not understood."""
    runs = (list(run) for numeric, run in groupby(cells, lambda cell: bool(_NUMBER.fullmatch(cell))) if numeric)
    return max(runs, key=len, default=[])


def _lead(header: list[_Line]) -> str:
    """The lead, which stands beside the unit; I where nothing does. A person may be called "II" and is no lead."""
    at = next((n for n, line in enumerate(header) if _UNIT.fullmatch(line.value)), None)
    if at is None:
        return "I"
    beside = [line.value for line in (*header[max(0, at - 1) : at], *header[at + 1 : at + 2]) if line.value]
    known = next((match[1] for value in beside if (match := _LEAD.search(value))), None)
    alone = at < 2 or not header[at - 2].value  # lead and unit form a paragraph of their own
    return known or (beside[0] if beside and alone else "I")


def _unit(header: list[_Line], declared: str | None, path: Path) -> str:
    """The unit that the header states, or else the caller.

    Raises:
        UnitError: Neither does.
    """
    stated = next((line.value for line in header if _UNIT.fullmatch(line.value)), None)
    if stated is None and declared is None:
        raise UnitError(f"{path}: needs the unit of the voltage, which the file does not state; pass --unit mV")
    return _WORDS.get(stated, stated) if stated else declared_unit(declared or "")


def _start(header: list[_Line]) -> datetime | None:
    """Start of the recording in the time of the place; the first moment that the header names."""
    match = next((match for line in header if (match := _MOMENT.fullmatch(line.value))), None)
    try:
        return datetime.fromisoformat(f"{match[1]} {match[2]}") if match else None
    except ValueError:
        return None


def _facts(header: list[_Line]) -> dict[str, Fact]:
    """What the watch said of the recording and of itself."""
    found = {"classification": _CLASS, "device": _DEVICE}
    facts = {fact: next((line.value for line in header if key.search(line.key)), None) for fact, key in found.items()}
    return {fact: value for fact, value in facts.items() if value}


def _identity(header: list[_Line]) -> dict[str, Fact]:
    """Name and birth date: the first two lines, where the start comes after them."""
    before = next((n for n, line in enumerate(header) if _MOMENT.fullmatch(line.value)), 0)
    return {fact: line.value or None for fact, line in zip(("name", "birth_date"), header[:before], strict=False)}
