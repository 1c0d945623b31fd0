"""The words of the table of findings: every phrase once, with all that it can mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stethos.errors import LexiconError
from stethos.text.phrases import Phrase, tokenise

RANKS = {"trace": 0.5, "mild": 1.0, "mild_moderate": 1.5, "moderate": 2.0, "moderate_severe": 2.5, "severe": 3.0}
KINDS = {
    "anatomy": "anatomy",
    "aspects": "aspect",
    "findings": "finding",
    "aspect_findings": "aspect_finding",
    "terms": "term",
    "graded_terms": "graded_term",
    "normal": "normal",
    "alone": "alone",
}
_ROLES = (
    "normal",
    "no",
    "none",
    "hedge",
    "borderline",
    "unclear",
    "history",
    "recovered",
    "ask",
    "same",
    "now",
    "diffuse",
    "join",
    "break",
    "of",
    "skip",
    "filler",
)


def entries(table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Concepts, and the parts that they are made of."""
    yield from table["concept"].items()
    for name, entry in table.get("part", {}).items():
        yield name, {"group": "part", "waves": [], "prompts": {}, **entry}


def phrases_of(all_uses: Iterable[tuple[str, Any, str]]) -> list[Phrase]:
    """Every phrase once, with all that it can mean."""
    said: dict[str, dict[str, Any]] = {}
    for kind, key, text in all_uses:
        if not tokenise(text):
            raise LexiconError(f"{kind} {key}: needs words; got {text!r}")
        uses = said.setdefault(text, {"role": "", "rank": 0.0, "meanings": {}, "measures": [], "generic": []})
        if kind in ("role", "rank"):
            uses[kind] = key
        elif kind in ("measures", "generic"):
            uses[kind].append(key)
        else:
            uses["meanings"].setdefault(kind, set()).add(key)
    return [
        Phrase(
            text,
            role=uses["role"],
            rank=uses["rank"],
            meanings={kind: frozenset(names) for kind, names in uses["meanings"].items()},
            measures=tuple(uses["measures"]),
            generic=tuple(uses["generic"]),
        )
        for text, uses in said.items()
    ]


def said_of_concepts(table: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Kind of use, to what, and the phrase, for every use of every phrase."""
    shared = table["words"]
    for role in _ROLES:
        yield from (("role", role, text) for text in _listed(table["role"], role, shared, "role"))
    yield from (("role", "upper", text) for text in table["grade"]["upper"])
    yield from (("role", "no_more", text) for text in table["grade"]["no_more"])
    yield from (("other", "", text) for text in shared.get("other", ()))
    for grade, rank in RANKS.items():
        yield from (("rank", rank, text) for text in _listed(table["grade"], grade, shared, "grade"))
    for name, entry in entries(table):
        for key, kind in KINDS.items():
            yield from ((kind, name, text) for text in _listed(entry, key, shared, f"concept.{name}"))


def said_of_measures(table: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """The same for the names of measurements."""
    shared = table["words"]
    for name, entry in table["measure"].items():
        yield from (("measures", name, text) for text in _listed(entry, "names", shared, f"measure.{name}"))
        yield from (("generic", name, text) for text in _listed(entry, "at_names", shared, f"measure.{name}"))


def _listed(entry: Mapping[str, Any], key: str, shared: Mapping[str, list[str]], where: str) -> Iterator[str]:
    given = entry.get(key, [])
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise LexiconError(f"{where}.{key}: needs a list of words; got {given!r}")
    for text in given:
        if not text.startswith("@"):
            yield text
        elif text[1:] in shared:
            yield from shared[text[1:]]
        else:
            raise LexiconError(f"{where}.{key} names the list {text}, and [words] has none of that name")
