"""The table of findings: what is read from echo reports, and from which words and numbers.

The table is a TOML file, `findings.toml` beside this module, whose head explains how to edit it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stethos.errors import LexiconError
from stethos.text.concepts import Concept, Limit, Measure
from stethos.text.phrases import Phrases
from stethos.text.vocabulary import RANKS, entries, phrases_of, said_of_concepts, said_of_measures

TABLE = Path(__file__).with_name("findings.toml")
WAVES = ("P", "PR", "QRS", "ST", "T", "TP")
SECTIONS = ("findings", "conclusion", "history", "aside")
_JOINING = ("range", "change", "become", "alternative", "list", "ellipsis", "severity")
_SIDES = ("above", "below", "from", "upto")


@dataclass(frozen=True)
class Lexicon:
    """A table of findings, ready for reading.

    Args:
        concepts: Those of the preset, in order.
        known: All that the table has, parts included.
        measures: By name.
        phrases: Index of all words that say something of a concept.
        names: Index of the names of measurements.
        headings: Kind of section by heading, in small letters.
        abbreviations: Words behind which a full stop ends no sentence.
        characters: Simplified by traditional character, for `str.translate`.
        spelling: Long words by what is left of them without one letter.
        expand: Regular expressions, what is meant by what they match, and whether that is always Chinese.
        words: Lists of grade-joining words by use.
        numbers_first: Whether a number counts before words.
    """

    concepts: Mapping[str, Concept]
    known: Mapping[str, Concept]
    measures: Mapping[str, Measure]
    phrases: Phrases
    names: Phrases
    headings: Mapping[str, str]
    abbreviations: frozenset[str]
    characters: Mapping[int, int]
    spelling: Mapping[str, str]
    expand: tuple[tuple[re.Pattern[str], str, bool], ...]
    words: Mapping[str, frozenset[str]]
    numbers_first: bool


@cache
def load_lexicon(path: Path | None = None, preset: str = "shd13") -> Lexicon:
    """The table of findings.

    Args:
        path: An edited copy of the table; the package's own where None.
        preset: Which concepts are read: "shd13", "extras", "all", "echonext11", or one of the file's own.

    Raises:
        LexiconError: The file cannot be read, an entry is broken, or there is no such preset.
    """
    source = Path(path) if path else TABLE
    try:
        table = tomllib.loads(source.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LexiconError(f"{source}: needs a table of findings (TOML) here: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise LexiconError(f"{source}: cannot be read as TOML: {error}; mend that line") from None
    try:
        return _lexicon(table, preset)
    except LexiconError as error:
        raise LexiconError(f"{source}: {error}") from None


def _lexicon(table: Mapping[str, Any], preset: str) -> Lexicon:
    for section in ("role", "grade", "section", "characters", "words", "measure", "preset", "concept"):
        if not isinstance(table.get(section), dict):
            raise LexiconError(f"needs the section [{section}]; take it from the package's own table")
    chosen, changed = _chosen(table["preset"], preset), table["preset"][preset]
    known = {name: _concept(name, {**entry, **_changed(changed, name)}) for name, entry in entries(table)}
    measures = {name: _measure(name, entry) for name, entry in table["measure"].items() if name != "none"}
    _check_names(chosen, known, measures)
    section = table["section"]
    return Lexicon(
        concepts={name: known[name] for name in chosen},
        known=known,
        measures=measures,
        phrases=Phrases(phrases_of(said_of_concepts(table))),
        names=Phrases(phrases_of(said_of_measures(table))),
        headings={word: kind for kind in SECTIONS for word in section.get(kind, ())},
        abbreviations=frozenset(section["abbreviations"]),
        characters=_characters(table["characters"]),
        spelling=_slips(table.get("spelling", {}).get("words", ())),
        expand=tuple(_expansion(pair) for pair in table.get("expand", {}).get("patterns", ())),
        words={use: frozenset(table["grade"][use]) for use in _JOINING},
        numbers_first=bool(changed.get("numbers_first", False)),
    )


def _expansion(pair: Sequence[str]) -> tuple[re.Pattern[str], str, bool]:
    """What is written, compiled; what is meant; whether the expression has Chinese characters and no Latin words."""
    try:
        before, after = pair
        latin = re.search(r"[A-Za-z]{2}", re.sub(r"\\.|\(\?i\)", "", before))
        return re.compile(before), after, not before.isascii() and not latin
    except (ValueError, TypeError, re.error) as error:
        raise LexiconError(
            f"expand.patterns: needs a regular expression and a meaning; got {pair!r}: {error}"
        ) from None


def _slips(words: Sequence[str]) -> dict[str, str]:
    """Each word, by itself and by what is left of it without one letter."""
    found = {short(word, place): word for word in words for place in range(len(word))}
    return {**found, **{word: word for word in words}}


def short(word: str, place: int) -> str:
    """A word without one letter."""
    return word[:place] + word[place + 1 :]


def _characters(entry: Mapping[str, Any]) -> dict[int, int]:
    traditional, simplified = (str(_needed(entry, key, "characters")) for key in ("traditional", "simplified"))
    if len(traditional) != len(simplified):
        raise LexiconError("characters: needs as many simplified as traditional characters")
    return str.maketrans(traditional, simplified)


def _chosen(presets: Mapping[str, Any], preset: str) -> list[str]:
    if preset not in presets:
        raise LexiconError(f"there is no preset {preset}; there are {', '.join(presets)}")
    names: list[str] = []
    for name in presets[preset].get("concepts", ()):
        names += _chosen(presets, name[1:]) if name.startswith("@") else [name]
    return names


def _changed(preset: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a preset says otherwise about a concept."""
    said: dict[str, Any] = {}
    if name in preset.get("least", {}):
        said["least"] = preset["least"][name]
    if name in preset.get("limit", {}):
        said["limit"] = preset["limit"][name]
    return said


def _concept(name: str, entry: Mapping[str, Any]) -> Concept:
    where = f"concept.{name}"
    waves = tuple(_needed(entry, "waves", where))
    if set(waves) - set(WAVES):
        raise LexiconError(f"{where}.waves: needs some of {', '.join(WAVES)}; got {', '.join(waves)}")
    least = entry.get("least", "mild")
    if least not in RANKS:
        raise LexiconError(f"{where}.least: needs one of {', '.join(RANKS)}; got {least}")
    status = entry.get("status", "inferred")
    if status not in ("published", "inferred"):
        raise LexiconError(f"{where}.status: needs published or inferred; got {status}")
    return Concept(
        name,
        words=_needed(entry, "words", where),
        group=_needed(entry, "group", where),
        status=status,
        waves=waves,
        prompts=_prompts(_needed(entry, "prompts", where), where),
        least=RANKS[least],
        limits=tuple(_limit(limit, where) for limit in entry.get("limit", ())),
        plain=bool(entry.get("plain", False)),
        diffuse=entry.get("diffuse", ""),
        any_of=tuple(entry.get("any_of", ())),
        all_of=tuple(entry.get("all_of", ())),
    )


def _prompts(entry: Mapping[str, Any], where: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Present and absent sentences by language."""
    return {
        language: (
            tuple(_needed(said, "present", f"{where}.prompts.{language}")),
            tuple(_needed(said, "absent", f"{where}.prompts.{language}")),
        )
        for language, said in entry.items()
    }


def _needed(entry: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in entry:
        raise LexiconError(f"{where}: needs {key}")
    return entry[key]


def _limit(entry: Mapping[str, Any], where: str) -> Limit:
    side = [name for name in _SIDES if name in entry]
    if len(side) != 1:
        raise LexiconError(f"{where}.limit: needs exactly one of {', '.join(_SIDES)}; got {', '.join(side) or 'none'}")
    men, women = _both(entry[side[0]], f"{where}.limit.{side[0]}")
    absent = _both(entry["absent"], f"{where}.limit.absent") if "absent" in entry else None
    measure = str(_needed(entry, "measure", f"{where}.limit"))
    citation = str(_needed(entry, "citation", f"{where}.limit"))
    return Limit(measure, side[0], men, women, absent, bool(entry.get("one_sided", False)), citation)


def _both(given: Any, where: str) -> tuple[float, float]:
    numbers = given if isinstance(given, list) else [given, given]
    if len(numbers) != 2 or not all(isinstance(number, int | float) for number in numbers):
        raise LexiconError(f"{where}: needs a number, or [men, women]; got {given}")
    return float(numbers[0]), float(numbers[1])


def _measure(name: str, entry: Mapping[str, Any]) -> Measure:
    where = f"measure.{name}"
    low, high = _both(_needed(entry, "range", where), f"{where}.range")
    return Measure(
        name,
        words=_needed(entry, "words", where),
        unit=_needed(entry, "unit", where),
        low=low,
        high=high,
        bare=bool(entry.get("bare", False)),
        at=entry.get("at", ""),
        largest=bool(entry.get("largest", False)),
        largest_of=tuple(entry.get("largest_of", ())),
    )


def _check_names(chosen: list[str], known: Mapping[str, Concept], measures: Mapping[str, Measure]) -> None:
    for name in chosen:
        if name not in known:
            raise LexiconError(f"the preset names {name}, and there is no concept of that name")
    for concept in known.values():
        others = (*concept.any_of, *concept.all_of, *((concept.diffuse,) if concept.diffuse else ()))
        for other in others:
            if other not in known:
                raise LexiconError(f"concept.{concept.name} names {other}, and there is no such concept")
        for limit in concept.limits:
            if limit.measure not in measures:
                raise LexiconError(f"concept.{concept.name}.limit names {limit.measure}, and there is no such measure")
