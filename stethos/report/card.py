"""The model card: what a model is, on what it was measured, and where it must not be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stethos.report.page import Section
from stethos.report.table import Table, shown
from stethos.report.wording import PEOPLE, Wording
from stethos.types import Estimate, Origin

Entry = str | Sequence[str] | Mapping[str, Estimate | str]

HEADINGS = {
    "what": "What it is",
    "use": "Intended use",
    "outside": "Not for",
    "data": "Data",
    "terms": "Terms of the data",
    "results": "Results",
    "limits": "Limits",
    "reproduce": "How to reproduce",
    "hashes": "Hashes",
}
UNSTATED = "Not stated."


def markdown(name: str, origin: Origin, entries: Mapping[str, Entry], wording: Wording = PEOPLE) -> str:
    """The card as Markdown, for the README of a run.

    Args:
        name: Of the model.
        origin: Where the records come from.
        entries: What stands under each of `HEADINGS`; a heading without an entry is printed as not stated,
            an entry under another name follows at the end. Text, points of a list, or name → value.
        wording: Of people or of machines.
    """
    parts = [f"# {_line(name)}", f"**{wording.card_warning}**", f"## Origin\n\n{wording.origins[origin]}"]
    parts += [f"## {heading}\n\n{_written(entry, origin)}" for heading, entry in _entries(entries)]
    return "\n\n".join(parts) + "\n"


def section(origin: Origin, entries: Mapping[str, Entry], wording: Wording = PEOPLE) -> Section:
    """The same card as a section of the report."""
    blocks: list[str | Table] = [wording.card_warning, wording.origins[origin]]
    rows: list[tuple[str, str]] = []
    for heading, entry in _entries(entries):
        if isinstance(entry, Mapping) and any(isinstance(value, Estimate) for value in entry.values()):
            blocks.append(Table(("measure", "value"), list(entry.items()), f"Model card: {heading}"))
        else:
            rows.append((heading, _joined(entry)))
    return Section("Model card", [*blocks, Table(("item", "statement"), rows, "Model card: statements")])


def _entries(entries: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """Heading and entry, in order, what is missing filled in as not stated."""
    known = [(heading, entries.get(key) or UNSTATED) for key, heading in HEADINGS.items()]
    return known + [(key, entry) for key, entry in entries.items() if key not in HEADINGS]


def _written(entry: Entry, origin: Origin) -> str:
    """An entry as Markdown."""
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, Mapping):
        return "\n".join(f"- {_line(item)}" for item in entry)
    head = "value" if origin == "real" else f"value ({origin})"
    cells = [(_line(name), *(_line(part) for part in shown(value))) for name, value in entry.items()]
    return "\n".join([f"| | {head} | |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in cells)])


def _joined(entry: Entry) -> str:
    """An entry as plain text in one cell."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Mapping):
        return "; ".join(f"{name}: {value}" for name, value in entry.items())
    return "; ".join([*(item.rstrip(".") for item in entry[:-1]), *entry[-1:]])


def _line(text: str) -> str:
    """Text that stays in its cell or line, whatever was typed: no line break, bar or HTML."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
