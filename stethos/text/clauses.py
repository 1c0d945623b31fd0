"""From a report to its sentences: signs made plain, numeric grades made words, headings recognised."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stethos.text.lexicon import Lexicon, short

_SIGNS = str.maketrans(
    {
        "º": "°",
        "˚": "°",
        "–": "-",
        "—": "-",
        "~": "-",
        "∼": "-",
        "～": "-",
        "−": "-",
        "’": "'",
        "′": "'",
        "“": " ",
        "”": " ",
        '"': " ",
    }
)
_ENUMERATED = re.compile(r"(?:(?<=[\s:;,.。])|^)\(?1?\d(?:[)、]|\.(?!\d))(?=\s*\D)")
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
_NUMERAL = r"iv|i{1,3}|[1-4]"
_GRADES = [
    re.compile(
        rf"\b(?:grade|gr\.?|stage)\s*({_NUMERAL})\b(?:\s*(?:-|to)\s*({_NUMERAL})\b)?(?:\s*/\s*(?:4|iv)\b)?", re.I
    ),
    re.compile(rf"(?<![\w.])({_NUMERAL})\s*(?:-\s*({_NUMERAL})\s*)?(?:°|度|级)", re.I),
    re.compile(r"(?<![\w.])([1-4])\s*(?:-\s*([1-4])\s*)?\+(?!\s*\d)"),
    re.compile(r"(?<![\w.])([1-4])\s*\+?\s*(?:-\s*([1-4])\s*)?\+(?!\s*\d)"),
    re.compile(r"(?<![\w./])([1-4])()\s*/\s*4(?![\w.])"),
    re.compile(r"()()\(\+\)"),
]
_UNITS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80}
_SPOKEN = re.compile(rf"(?i)\b({'|'.join(_TENS)})(?:[ -]({'|'.join(_UNITS)}))?(?=(?: to [a-z -]+)? per ?cent\b)")
_PLUSES = re.compile(r"(?<![\w+])\(?(\+{2,4})\)?(?![\w+])")
_ONE_PLUS = re.compile(r"(?i)(?<=[流全R])\s*\(\s*\+\s*\)|(?<=regurgitation)\s*\(\s*\+\s*\)")
_WORD = {1: "mild", 2: "moderate", 3: "severe", 4: "severe"}
_END = re.compile(r"[;。!\n]|\.(?=\s|$)|(?<=[\u3400-\u9fff])\.(?!\d)")
_LAST_WORD = re.compile(r"([a-z.]+)$")
_LONG_WORD = re.compile(r"(?<![A-Za-z])[A-Za-z]{6,}(?![A-Za-z])")
_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report.

    Args:
        text: With plain signs; its end is left away.
        section: "findings", "conclusion" or "history".
        line: Number of the line that it stands on.
    """

    text: str
    section: str
    line: int


def language(text: str) -> str:
    """The language: "zh" for as many Chinese characters as Latin words or more, "en" for fewer, else "other"."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    if han >= latin and han:
        return "zh"
    return "en" if latin else "other"


def plain(text: str, lexicon: Lexicon) -> str:
    """Full-width signs as plain ones, simplified characters, grades in words, coordinated places written out."""
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    text = text.translate(lexicon.characters)
    text = _ENUMERATED.sub("\n", text)
    text = _SPOKEN.sub(lambda found: str(_TENS[found[1].lower()] + _UNITS.get((found[2] or "").lower(), 0)), text)
    text = _ONE_PLUS.sub(" mild ", text)
    text = _PLUSES.sub(lambda found: f" {_WORD[len(found[1])]} ", text)
    for pattern in _GRADES:
        text = pattern.sub(_in_words, text)
    latin = text.isascii()
    for before, after, chinese in lexicon.expand:
        if not (latin and chinese):
            text = before.sub(after, text)
    return _LONG_WORD.sub(lambda found: _spelt(found.group(), lexicon.spelling), text)


def _spelt(word: str, spelling: Mapping[str, str]) -> str:
    """A word with one letter missing, wrong, too many or exchanged, as it should be; any other as it is."""
    small = word.lower()
    if spelling.get(small) == small:
        return word
    for left in (small, *(short(small, place) for place in range(len(small)))):
        meant = spelling.get(left, "")
        if meant and meant[0] == small[0] and meant[-1] == small[-1] and abs(len(meant) - len(small)) <= 1:
            return meant
    return word


def _in_words(found: re.Match[str]) -> str:
    """A numeric grade, or a range of two, in words; nothing for a bare plus."""
    ranks = [_ROMAN.get(mark.lower()) or int(mark) for mark in found.groups() if mark]
    return f" {' to '.join(_WORD[rank] for rank in ranks)} " if ranks else " "


def sentences(text: str, lexicon: Lexicon) -> Iterator[Sentence]:
    """Sentences in order, each with the section that it stands in.

    Args:
        text: As `plain` leaves it.
        lexicon: Knows headings and abbreviations.
    """
    section, heading = "findings", False
    for line, row in enumerate(text.split("\n")):
        # reasons for the examination end with their line, or with an empty one where the heading has a line of its own
        if section == "history" and not (heading and row.strip()):
            section = "findings"
        for part in _split(row, lexicon):
            kind, rest = _headed(part, lexicon)
            if kind and kind != "aside":
                section, heading = kind, not rest
            if rest:
                yield Sentence(rest, "history" if kind == "aside" else section, line)


def _split(row: str, lexicon: Lexicon) -> Iterator[str]:
    start = 0
    for end in _END.finditer(row):
        word = _LAST_WORD.search(row[start : end.start()].lower()) if end.group() == "." else None
        if word and word.group().lstrip(".") in lexicon.abbreviations:
            continue
        yield row[start : end.start()].strip()
        start = end.end()
    yield row[start:].strip()


def _headed(part: str, lexicon: Lexicon) -> tuple[str, str]:
    """Kind of section that begins here (empty if none), and what follows its heading."""
    heading, colon, rest = part.partition(":")
    kind = lexicon.headings.get(heading.strip(" *#[]【】<>").lower(), "")
    if kind and (colon or not rest):
        return kind, rest.strip()
    return "", part
