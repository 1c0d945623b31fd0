"""Docstrings are plain text with formulas and diagrams; here they become reStructuredText that looks the same.

An indented block outside of `Args:` and the like is kept letter by letter, and no letter of the prose is taken for
markup except backticks and one *stressed* word.
"""

import re
from collections.abc import Iterator
from typing import Any

_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Reference|Source|Departures):")
_MARKUP = re.compile(r"(`[^`]*`|(?<!\w)\*\w+\*(?!\w))|([|*\\]|(?<=\w)_(?!\w))")


def as_rest(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    return list(_literal_blocks(lines))


def _literal_blocks(lines: list[str]) -> Iterator[str]:
    section = block = False
    for line, before in zip(lines, ["", *lines], strict=False):
        if line and not line.startswith(" "):
            section, block = bool(_SECTION.fullmatch(line.rstrip())), False
        elif line and not section and not block and not before.strip():
            block = True
            yield from ("::", "")
        yield line if block else _plain(line)


def _plain(line: str) -> str:
    """A line of prose whose marks stand for themselves."""
    return _MARKUP.sub(lambda match: match[1] or f"\\{match[2]}", line)


def _process(_app: Any, _kind: str, _name: str, _item: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_rest(lines)


def _skip(_app: Any, _kind: str, _name: str, item: Any, _skipped: bool, _options: Any) -> bool | None:
    """Fields of a named tuple say nothing of their own."""
    return True if str(getattr(item, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Before napoleon, which comes at 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
