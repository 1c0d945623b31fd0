"""Measurements in a sentence: a name, a number or a range, a unit.

A number belongs to the nearest name before it within its clause whose unit it can have; a number in front belongs to
the name right behind it ("a 45 mm ascending aorta"). Names of what is not measured here ("pericardial effusion",
"gradient") take their numbers away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stethos.text.concepts import Measure
from stethos.text.lexicon import Lexicon
from stethos.text.phrases import Item, Token

_UNIT = (
    r"%|percent|per\s+cent|mm\s*hg|mm|cm\s*/\s*s(?:ec)?|cm\s*\^?\s*2|sq\.?\s*cm|square\s+c\w+|cm"
    r"|ml\s*/\s*m\s*\^?\s*2|m\s*/\s*s(?:ec)?|毫米汞柱|平方厘米|毫米|厘米|米/秒|厘米/秒"
)
_TO = r"-|to|至|到"
_CHANGED = (
    r"(?:下降|上升|提高|增加|增大|降低|升高|回升|回落|减少|减低|改善|恢复|好转|缩小|减小|增|降|升|减|变)(?:至|为|到)"
)
_NUMBER = re.compile(
    rf"(?P<sign>[<>≥≤]=?|不足|超过|大于|小于)?\s*(?<![A-Za-z\d.])(?P<one>\d+(?:\.\d+)?)(?![\d.]*\d)"
    rf"(?:\s*(?:{_UNIT})?\s*(?P<join>{_CHANGED}|{_TO})\s*(?:now\s+)?(?P<two>\d+(?:\.\d+)?)(?![\d.]*\d))?"
    rf"\s*(?P<unit>{_UNIT})?(?P<glued>[A-Za-z])?",
    re.I,
)
_NOW = re.compile(
    r"\b(?:now|currently|today|(?:improved|recovered|risen|rose|increased|decreased|declined|dropped|fell|fallen) to)\b"
    r"|现|目前|本次",
    re.I,
)
_FACTORS = {
    ("mm", "mm"): 1.0,
    ("cm", "mm"): 10.0,
    ("%", "%"): 1.0,
    ("mmhg", "mmhg"): 1.0,
    ("cm2", "cm2"): 1.0,
    ("m/s", "m/s"): 1.0,
    ("cm/s", "m/s"): 0.01,
    ("ml/m2", "ml/m2"): 1.0,
}
_PLAIN = {
    "percent": "%",
    "毫米汞柱": "mmhg",
    "平方厘米": "cm2",
    "毫米": "mm",
    "厘米": "cm",
    "米/秒": "m/s",
    "厘米/秒": "cm/s",
}
_FAR = 45  # characters between a name and its number
_AHEAD = 6  # characters between a number and the name behind it


@dataclass(frozen=True)
class Measured:
    """A measurement as a report gives it.

    Args:
        value: In `unit`; the middle of a range.
        low: Lower bound, of a range or of "over 55 %"; the value itself otherwise.
        high: Upper bound.
        unit: "mm", "%", "mmHg", "cm2", "m/s" or "ml/m2".
        phrase: The words.
    """

    value: float
    low: float
    high: float
    unit: str
    phrase: str


@dataclass(frozen=True)
class _Number:
    """A number in a sentence, before it is known what it measures."""

    one: float
    two: float | None
    sign: str
    unit: str
    changed: bool
    start: int
    end: int


def measurements(
    text: str, items: Sequence[Item], tokens: Sequence[Token], lexicon: Lexicon, places: Sequence[frozenset[str]] = ()
) -> Iterator[tuple[str, Measured]]:
    """Name of the measure, and the measurement, for every number that has both, in order.

    Args:
        text: The sentence.
        items: Its phrases.
        tokens: Its tokens.
        lexicon: The table of findings.
        places: Concepts of places named before the sentence, the nearest first, for a generic name without any.
    """
    names, taken, last = _names(tokens, lexicon), set[int](), 0
    for number in _numbers(text) if names else ():
        updated, last = _NOW.search(text[last : number.start]), number.end
        for item in _near(text, number, names, tokens):
            if item.first in taken and not updated:
                break
            name = _name(item, items, lexicon, places)
            found = _measured(number, lexicon.measures.get(name), text, tokens[item.first].start)
            if found or not name:
                taken.add(item.first)
                yield from [(name, found)] if found else ()
                break


def _names(tokens: Sequence[Token], lexicon: Lexicon) -> list[Item]:
    """Names of measures in a sentence; none where it has no number."""
    if not any(token.text[0].isdigit() for token in tokens):
        return []
    return [item for item in lexicon.names.find(tokens) if item.phrase]


def _numbers(text: str) -> Iterator[_Number]:
    for found in _NUMBER.finditer(text):
        if found["glued"] and not found["unit"]:
            continue
        one, two = float(found["one"]), float(found["two"]) if found["two"] else None
        unit = re.sub(r"[\s^.]", "", (found["unit"] or "").lower()).replace("sec", "s")
        unit = {"sqcm": "cm2", "percent": "%", **_PLAIN}.get(unit, "cm2" if unit.startswith("square") else unit)
        ahead = text[: found.start("one")].rstrip().lower()
        changed = found["join"] is not None and (
            (found["join"][-1] in "至为到" and len(found["join"]) > 1) or ahead.endswith(("from", "由", "从", "自"))
        )
        yield _Number(one, two, found["sign"] or "", unit, changed, found.start(), found.end())


def _near(text: str, number: _Number, names: Sequence[Item], tokens: Sequence[Token]) -> Iterator[Item]:
    """Names that a number may belong to, the nearest first: before it in its clause, else right behind it."""
    any_before = False
    for item in reversed(names):
        end = tokens[item.stop - 1].end
        if end <= number.start:
            between = text[end : number.start]
            aside = number.unit in ("%", "mmhg") and len(names) == 1  # "ejection fraction, by eye, is 45 %"
            if len(between) > _FAR or (re.search(r"[,、].*\w|\band\b", between) and not aside):
                break
            any_before = True
            yield item
    if not any_before:
        for item in names:
            start = tokens[item.first].start
            if start >= number.end and start - number.end <= _AHEAD and "," not in text[number.end : start]:
                yield item
                return


def _name(item: Item, items: Sequence[Item], lexicon: Lexicon, places: Sequence[frozenset[str]]) -> str:
    """The measure that an item names, a generic name by the last place before it; empty for a name of nothing."""
    assert item.phrase
    if "none" in item.phrase.measures:
        return ""
    if item.phrase.measures:
        return item.phrase.measures[0]
    fitting = {lexicon.measures[name].at: name for name in item.phrase.generic}
    before = [other.phrase for other in items if other.first < item.first and other.phrase]
    for concepts in (*(phrase.of("anatomy") | phrase.of("term") for phrase in reversed(before)), *places):
        found = [name for concept, name in fitting.items() if concept in concepts]
        if len(found) == 1:
            return found[0]
    return ""


def _measured(number: _Number, measure: Measure | None, text: str, start: int) -> Measured | None:
    """The measurement, in the measure's unit; None where number and measure do not fit."""
    if measure is None:
        return None
    if number.unit:
        factor = _FACTORS.get((number.unit, measure.unit.lower()))
    elif not measure.bare:
        factor = None
    else:
        factor = 100.0 if measure.unit == "%" and number.one < 1 else 1.0
    if factor is None:
        return None
    one = number.one * factor
    two = None if number.two is None else number.two * factor
    if number.changed and two is not None:
        one, two = two, None
    low, high = (one, one) if two is None else (min(one, two), max(one, two))
    value = (low + high) / 2
    if not measure.low <= low <= high <= measure.high:
        return None
    if two is None and number.sign:
        over = number.sign[0] in ">≥超大"
        low, high = (one, measure.high) if over else (measure.low, one)
    phrase = text[min(start, number.start) : number.end].strip()
    return Measured(round(value, 4), round(low, 4), round(high, 4), measure.unit, phrase)
