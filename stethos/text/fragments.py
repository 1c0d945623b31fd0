"""What one event of a record says: a family of codes, a class of drugs, an abnormal value, a vital sign.

The tables stand in `chart.toml`. A code of no family is told under its own title.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TABLE = Path(__file__).with_name("chart.toml")
SECTIONS = (
    *("Demographics", "Cardiovascular", "Respiratory", "Metabolic and renal", "Other", "Procedures", "Drugs"),
    *("Laboratory", "Vital signs"),
)
GIVEN = frozenset({"administered", "started", "restarted", "start"})
_UNSAID_MEDICATION = "drugs of no class, or not given"
_OTHER = "kinds of event that are not told"
_NORMAL = "laboratory values that are normal, or not told"
_NO_TITLE = "codes without a title"
_CATEGORY = re.compile(r"[,;(].*$")


class Event(NamedTuple):
    """A row of a record.

    Args:
        time: When; NaT for what never changes.
        code: With its kind before it, such as `DIAGNOSIS//ICD//10//I10`.
        number: A measured value; NaN for none.
        text: Free text; empty for none.
        id: Of the row.
        stay: Of the admission; empty where not known.
    """

    time: np.datetime64
    code: str
    number: float
    text: str
    id: str
    stay: str = ""


@dataclass(frozen=True)
class Said:
    """What an event says.

    Args:
        key: The same for all events that say the same.
        name: In plain words.
        section: Of the summary.
        chronic: Whether it stays with a patient.
        relevance: To heart, vessels and lungs, 0 to 3.
        rank: Added to what relevance makes of it.
    """

    key: str
    name: str
    section: str
    chronic: bool = False
    relevance: int = 0
    rank: float = 0.0


@cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """`family`, `drug`, `laboratory`, `vital` → key → entry."""
    return tomllib.loads(TABLE.read_text(encoding="utf8"))


@cache
def family(code: str, version: str) -> str:
    """Key of the family of an ICD code without dots; empty for none.

    Args:
        code: In capitals; leading zeros count.
        version: "9" or "10".
    """
    best, found = 0, ""
    for key, entry in table()["family"].items():
        for start in entry["nine" if version == "9" else "ten"]:
            if len(start) > best and code.startswith(start):
                best, found = len(start), key
    return found


def of_family(key: str) -> Said:
    """What a code of a family says, or a note that mentions it."""
    entry = table()["family"][key]
    return Said(key, entry["name"], entry["section"], entry["chronic"], entry["relevance"])


def said(event: Event, title: str) -> Said | str:
    """What an event says, or why it is not told.

    Args:
        event: A row.
        title: What its code means; empty where not known.
    """
    kind, *rest = event.code.split("//")
    reader = _READERS.get(kind.upper())
    if reader is not None:
        return reader(rest, event, title)
    found = _vital(event, title)
    return _OTHER if found is None else found


def _diagnosis(rest: list[str], event: Event, title: str) -> Said | str:
    if len(rest) < 3 or rest[0].upper() != "ICD":
        return _named(title, "Other")
    version, code = rest[1], rest[2].replace(".", "").strip().upper()
    key = family(code, version)
    return of_family(key) if key else _named(title, "Other")


def _procedure(rest: list[str], event: Event, title: str) -> Said | str:
    if len(rest) < 3 or rest[0].upper() != "ICD":
        return _OTHER
    return _named(title, "Procedures")


def _named(title: str, section: str) -> Said | str:
    """A code under its own title up to the first comma, which joins the codes of a category and of both revisions."""
    name = " ".join(_CATEGORY.sub("", title).split())
    if not name:
        return _NO_TITLE
    small = name[:1].lower() + name[1:] if not name[:2].isupper() else name
    return Said(f"{section} {small}", small, section)


def _medication(rest: list[str], event: Event, title: str) -> Said | str:
    """A drug that was given or prescribed, as its class."""
    words = [part.lower() for part in rest]
    if words[:1] == ["atc"]:
        code = rest[1].upper() if len(rest) > 1 else ""
        key = next((k for k, v in table()["drug"].items() if any(code.startswith(start) for start in v["atc"])), "")
    else:
        given = words[0] in GIVEN or len(words) == 1 or words[-1] in GIVEN
        named = " ".join([*words, title.lower()])
        key = _drug_of(named) if given else ""
    if not key:
        return _UNSAID_MEDICATION
    entry = table()["drug"][key]
    return Said(f"drug {key}", entry["name"], "Drugs", relevance=entry["relevance"], rank=-1.5)


@cache
def _drug_of(named: str) -> str:
    words = re.findall(r"[a-z]+", named)
    return next((key for key, entry in table()["drug"].items() if any(w in entry["words"] for w in words)), "")


def _laboratory(rest: list[str], event: Event, title: str) -> Said | str:
    """A value beyond its limit."""
    key = _test_of("//".join(rest[:-1] or rest).lower(), title.lower())
    if not key or not np.isfinite(event.number):
        found = _vital(event, title)
        return found if found is not None else _NORMAL
    entry, unit = table()["laboratory"][key], rest[-1]
    low, high = entry.get("low", {}).get(unit, -np.inf), entry.get("high", {}).get(unit, np.inf)
    if low <= event.number <= high:
        return _NORMAL
    word = "low" if event.number < low else "raised"
    return Said(f"{word} {key}", f"{word} {entry['name']}", "Laboratory", False, entry["relevance"], -1.0)


@cache
def _test_of(code: str, title: str) -> str:
    """Key of a laboratory test by its LOINC code, or by how its title begins."""
    for key, entry in table()["laboratory"].items():
        if any(loinc in code for loinc in entry["loinc"]) or any(title.startswith(t) for t in entry["titles"]):
            return key
    return ""


def _vital(event: Event, title: str) -> Said | None:
    """A vital sign with its value; None for anything else."""
    key = _sign_of(event.code.lower(), title.lower())
    if not key:
        return None
    entry = table()["vital"][key]
    value = f"{event.number:.0f}" if np.isfinite(event.number) else event.text.strip()
    return Said(f"vital {key}", f"{entry['name']} {value} {entry['unit']}".strip(), "Vital signs", relevance=3)


@cache
def _sign_of(code: str, title: str) -> str:
    for key, entry in table()["vital"].items():
        named = any(title.startswith(word) or code.startswith(word) for word in entry["titles"])
        if named or any(loinc in code for loinc in entry["loinc"]):
            return key
    return ""


def _vital_or_nothing(rest: list[str], event: Event, title: str) -> Said | str:
    found = _vital(event, title)
    return _OTHER if found is None else found


_READERS = {
    "DIAGNOSIS": _diagnosis,
    "PROCEDURE": _procedure,
    "MEDICATION": _medication,
    "LAB": _laboratory,
    "VITAL": _vital_or_nothing,
}
