"""Findings and measurements of an echo report, each with the words behind it.

A report in English, Chinese or both → for each concept of a table (`findings.toml`) 1 present, 0 absent, NaN unknown:

    sections → sentences → clauses → (place ∩ quantity ∩ finding) × (denied, graded, hedged, past)

1 is only what is stated; 0 what is denied, called normal, or below the grade that counts; what is hedged, past, not
assessable or not mentioned stays unknown. Within a section 1 wins over doubt, doubt over 0; the conclusion wins over
the findings. A measurement decides where words do not, and is set against them where they do.

Reference:
    Chapman 2001, doi:10.1006/jbin.2001.1029 (negation); Harkema 2009, doi:10.1016/j.jbi.2009.05.002 (context).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

from stethos.text.clauses import language, plain, sentences
from stethos.text.concepts import Concept
from stethos.text.lexicon import Lexicon, load_lexicon
from stethos.text.meaning import Reading as _SentenceReading
from stethos.text.meaning import Said
from stethos.text.numbers import Measured, measurements
from stethos.text.phrases import Item, Token, tokenise
from stethos.text.statements import Topic, cut

__all__ = ["Found", "Lexicon", "Measured", "Reading", "load_lexicon", "read_report"]


@dataclass(frozen=True)
class Found:
    """What a report says about one concept.

    Args:
        value: 1.0 present, 0.0 absent, NaN unknown.
        phrase: The words behind it; empty if there are none.
        why: Such as "stated", "denied", "hedged", "measured: LVEF 38 %" or "not mentioned".
    """

    value: float
    phrase: str
    why: str


@dataclass(frozen=True)
class Reading:
    """What a report says.

    Args:
        labels: Of every concept of the lexicon, in its order.
        measurements: Those that it gives, by name.
        conflicts: Words against numbers, one sentence each.
        language: "en", "zh" or "other".
    """

    labels: Mapping[str, Found]
    measurements: Mapping[str, Measured]
    conflicts: tuple[str, ...]
    language: str


@dataclass
class _Notes:
    """Everything said in a report, by section."""

    said: dict[str, list[Said]] = field(default_factory=lambda: {"findings": [], "conclusion": []})
    measured: dict[str, tuple[str, Measured, bool]] = field(default_factory=dict)
    current: set[str] = field(default_factory=set)


def read_report(text: str, lexicon: Lexicon, sex: str | None = None) -> Reading:
    """Labels and measurements of a report.

    Args:
        text: English, Chinese or both.
        lexicon: The table of findings, from `load_lexicon`.
        sex: "male" or "female" ("m", "f") where known; some limits depend on it.
    """
    notes = _noted(text, lexicon)
    measured = _measures(notes, lexicon)
    found, conflicts = dict[str, Found](), list[str]()
    for name, concept in lexicon.known.items():
        stated = _stated(name, notes)
        number = _by_number(concept, measured, lexicon, sex, stated)
        current = any(limit.measure in notes.current for limit in concept.limits)
        found[name] = _decided(stated, number, lexicon.numbers_first or current)
        if name in lexicon.concepts:
            conflicts.append(_conflict(concept, stated, number))
    _imply(found, lexicon)
    return Reading(
        {name: found[name] for name in lexicon.concepts},
        measured,
        tuple(conflict for conflict in conflicts if conflict),
        language(text),
    )


def _noted(text: str, lexicon: Lexicon) -> _Notes:
    notes, line, heading, earlier = _Notes(), -1, list[Topic](), list[list[Topic]]()
    for sentence in sentences(plain(text, lexicon), lexicon):
        tokens = tokenise(sentence.text)
        items = lexicon.phrases.find(tokens)
        clauses = cut(items, tokens, lexicon)
        if sentence.line != line:
            line, heading, earlier = sentence.line, _heading(items, tokens, lexicon), []
        reading = _SentenceReading(lexicon, tokens, sentence.text, [heading] if heading else [], earlier)
        if sentence.section == "history":
            continue
        _add(notes.said[sentence.section], reading.read(clauses))
        for name, measured in measurements(sentence.text, items, tokens, lexicon, _places(heading, earlier)):
            _keep(notes, name, measured, sentence.section, lexicon)
            if any("now" in clause.flags for clause in clauses):
                notes.current.add(name)
        earlier = reading.history
    return notes


def _places(heading: list[Topic], earlier: list[list[Topic]]) -> list[frozenset[str]]:
    """Concepts of the places that the line began with, and of those of the sentence before."""
    return [topic.place for group in ([heading], earlier) for topics in group for topic in topics if topic.place]


def _heading(items: Sequence[Item], tokens: Sequence[Token], lexicon: Lexicon) -> list[Topic]:
    """Places before the colon that a line begins with, for its later sentences: "Mitral valve: thickened. No ..."."""
    colon = next((number for number, token in enumerate(tokens) if token.text == ":"), 0)
    before = [item for item in items if item.stop <= colon]
    if not 0 < len(before) <= 3:
        return []
    clauses = cut(before, tokens, lexicon)
    return [topic for clause in clauses for topic in clause.topics]


def _add(notes: list[Said], said: Iterable[Said]) -> None:
    """Put what a sentence says behind the rest; what is so now takes the place of what the sentence said before."""
    fresh: list[Said] = []
    for one in said:
        if one.now:
            fresh = [other for other in fresh if other.concept != one.concept]
        fresh.append(one)
    notes += fresh


def _keep(notes: _Notes, name: str, measured: Measured, section: str, lexicon: Lexicon) -> None:
    """The last of several, or the largest where the table says so; the conclusion's before those of the findings."""
    last = notes.measured.get(name)
    if last and last[0] == "conclusion" and section != "conclusion":
        return
    if last and last[0] == section and lexicon.measures[name].largest and last[1].value > measured.value:
        return
    notes.measured[name] = (section, measured, False)


def _measures(notes: _Notes, lexicon: Lexicon) -> dict[str, Measured]:
    found = {name: notes.measured[name][1] for name in lexicon.measures if name in notes.measured}
    for name, measure in lexicon.measures.items():
        parts = [found[part] for part in (*measure.largest_of, name) if part in found]
        if measure.largest_of and parts:
            found[name] = max(parts, key=lambda part: part.value)
    return {name: found[name] for name in lexicon.measures if name in found}


def _stated(name: str, notes: _Notes) -> Said | None:
    """The strongest thing said in the conclusion, or else in the findings."""
    past = None
    for section in ("conclusion", "findings"):
        said = [one for one in notes.said[section] if one.concept == name]
        told = max(said, key=_strength, default=None)
        if told and _strength(told) > 0:
            return told
        past = past or told
    return past


def _strength(said: Said) -> int:
    """1 over doubt over 0 over what is past or could not be seen."""
    if said.value is None:
        return 2 if said.why in ("hedged", "borderline") else 0
    return 3 if said.value else 1


def _by_number(
    concept: Concept, measured: Mapping[str, Measured], lexicon: Lexicon, sex: str | None, stated: Said | None
) -> Found | None:
    """What the measurements say about a concept; None where they do not decide.

    The middle of a range decides, unless the words express doubt: then both its ends must agree. A number that the
    words call borderline decides nothing.
    """
    found: Found | None = None
    if stated is not None and stated.why == "borderline":
        return None
    doubt = stated is not None and stated.value is None
    for limit in concept.limits:
        number = measured.get(limit.measure)
        value = limit.beyond(number.value, sex) if number else None
        if number is None or value is None or (found and found.value >= value):
            continue
        if doubt and limit.beyond(number.low, sex) != limit.beyond(number.high, sex):
            continue
        words = lexicon.measures[limit.measure].words
        found = Found(value, number.phrase, f"measured: {words} {_shown(number)}")
    return found


def _shown(number: Measured) -> str:
    if number.low < number.value < number.high and number.high - number.low < number.value:
        return f"{number.low:g} to {number.high:g} {number.unit}"
    return f"{number.value:g} {number.unit}"


def _decided(stated: Said | None, number: Found | None, number_first: bool) -> Found:
    """Words where they are definite, else numbers."""
    if number and (number_first or stated is None or stated.value is None):
        return number
    if stated is None:
        return Found(nan, "", "not mentioned")
    return Found(nan if stated.value is None else stated.value, stated.phrase, stated.why)


def _imply(found: dict[str, Found], lexicon: Lexicon) -> None:
    """A whole from its parts and parts from a whole, where nothing was said of them."""
    for name, concept in lexicon.known.items():
        parts = concept.all_of
        if parts and found[name].value == 1.0:
            for part in parts:
                if found[part].value != found[part].value:
                    found[part] = Found(1.0, found[name].phrase, f"implied by {concept.words}")
        if parts and found[name].value != found[name].value:
            _whole(found, name, parts)
    for name, concept in lexicon.known.items():
        told = [found[part] for part in concept.any_of if found[part].value == found[part].value]
        if told and found[name].value != found[name].value:
            found[name] = max(told, key=lambda part: part.value)
        elif concept.any_of and found[name].why == "not mentioned":
            found[name] = next((found[part] for part in concept.any_of if found[part].phrase), found[name])


def _whole(found: dict[str, Found], name: str, parts: Sequence[str]) -> None:
    values = {found[part].value for part in parts}
    if values in ({1.0}, {0.0}) and found[name].why == "not mentioned":
        phrases = dict.fromkeys(found[part].phrase for part in parts)
        found[name] = Found(values.pop(), "; ".join(phrases), "implied by its parts")


def _conflict(concept: Concept, stated: Said | None, number: Found | None) -> str:
    if stated is None or stated.value is None or number is None or stated.value == number.value:
        return ""
    words = "present" if stated.value else "absent"
    return f"{concept.words}: the words say {words} ({stated.phrase}), {number.why}"
