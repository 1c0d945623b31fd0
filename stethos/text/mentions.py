"""What a sentence about a patient mentions: problems, whether they are denied, about whom, and numbers.

It reads to refuse, not to label: where it is in doubt a denial reaches further, and a word counts as an illness. The
words stand in `faithful.toml`; an ending such as -itis or -olol betrays further ones, and what is neither of these nor
a plain word is told apart, in whatever language or alphabet it is.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stethos.text.phrases import Item, Phrase, Phrases, Token, tokenise

TABLE = Path(__file__).with_name("faithful.toml")
_NUMBER = re.compile(r"(\d+(?:,\d{3})*(?:\.\d+)?)(s\b)?")
_WORD = re.compile(r"[a-z]+")
_TIMES = re.compile(
    r"(?:[\s-]+(?:recorded|separate|hospital|documented))?"
    r"[\s-]+(?:times?|occasions?|episodes?|occurrences?|admissions?|stays?|records?|recordings?|entries|encounters?)\b"
)
_ROMAN = re.compile(r"\b(?:stage|class|type|grade|degree|nyha|killip)\s+(i{1,3}|iv|v)\b", re.I)
_ROMANS = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5"}
_END = frozenset(".;!?")
SEXES = frozenset({"female", "male"})
MARKS = frozenset({"others", "possible", "months", *SEXES})
_SPELLING = [
    (re.compile(before), after)
    for before, after in (
        ("aem", "em"),
        ("^oe", "e"),
        ("oea", "ea"),
        ("(?<=rrh)o(?=ea|ag)", ""),
        ("itides$|itic$", "itis"),
        ("oses$|otic$", "osis"),
        ("omas$|omata$|omatous$", "oma"),
        ("emic$", "emia"),
        ("pathies$|pathic$", "pathy"),
        ("plegic$", "plegia"),
        ("cardic$", "cardia"),
        ("tomies$", "tomy"),
        ("(?<=[a-z]{4}[^isu])s$", ""),
    )
]


@dataclass(frozen=True)
class Mentions:
    """What a text mentions.

    Args:
        said: Problems and drugs that it says there are.
        denied: Those that it says there are not.
        marks: Of "others" (somebody else is meant), "possible" (it is not known to be so), "months" (a date finer
            than a year), and "female" and "male".
        numbers: As of `numbers`.
        words: That are in no table, in one spelling: neither a problem nor plain words of any report.
    """

    said: frozenset[str]
    denied: frozenset[str]
    marks: frozenset[str]
    numbers: frozenset[str]
    words: frozenset[str]


@dataclass(frozen=True)
class _Found:
    """A phrase or word: the problems that it names, what it does to others, and the words of it that no table has."""

    problems: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()


class Names:
    """Names whose meaning is known, such as those of a patient's facts.

    Args:
        names: What they are called.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.read = {name: mentions(name) for name in dict.fromkeys(names)}
        spelt: dict[str, set[str]] = {}
        for name in self.read:
            if tokenise(name):
                spelt.setdefault(name.lower(), set()).add(name)
        self._phrases = Phrases(Phrase(small, meanings={"name": frozenset(all_)}) for small, all_ in spelt.items())

    def find(self, tokens: Sequence[Token]) -> Iterator[tuple[Item, _Found]]:
        """Where the names stand, and what is said by them."""
        for item in self._phrases.find(tokens):
            if item.phrase:
                read = [self.read[name] for name in item.phrase.of("name")]
                yield item, _Found(*(_all(getattr(each, part) for each in read) for part in ("said", "marks", "words")))


def mentions(text: str, names: Names | None = None) -> Mentions:
    """What a text mentions.

    Args:
        text: A sentence or a name.
        names: Names that the text may use as a whole: it then says what the name says, and words within the name deny
            nothing outside of it.
    """
    said, denied, marks, words = set[str](), set[str](), set[str](), set[str]()
    for clause in _clauses(_found(text, names)):
        before = next((place for place, found in enumerate(clause) if "denied" in found.roles), len(clause))
        behind = max((place for place, found in enumerate(clause) if "gone" in found.roles), default=-1)
        for place, found in enumerate(clause):
            marks |= found.roles & MARKS
            words |= found.words
            (denied if before < place or place < behind else said).update(found.problems)
    return Mentions(frozenset(said), frozenset(denied), frozenset(marks), numbers(text), frozenset(words))


def roots(text: str) -> frozenset[str]:
    """Every word of a text, in the spelling of `Mentions.words`."""
    return frozenset(_root(token.small) for token in tokenise(text))


def _all(parts: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*parts)


def numbers(text: str) -> frozenset[str]:
    """Numbers of a text: digits, words from two on, and Roman numerals behind "stage" and the like, all as digits.

    How often something was is told apart from what else a number can be: "three admissions" is "3 times".
    """
    small, words = text.lower(), _table().numbers
    found = {
        _counted(small, each.end(), each[1].replace(",", "")) + (each[2] or "") for each in _NUMBER.finditer(small)
    }
    found |= {
        _counted(small, each.end(), words[each.group()]) for each in _WORD.finditer(small) if each.group() in words
    }
    return frozenset(found | {_ROMANS[each] for each in _ROMAN.findall(small)})


def _counted(text: str, end: int, number: str) -> str:
    return f"{number} times" if _TIMES.match(text, end) else number


def _found(text: str, names: Names | None) -> list[_Found]:
    """Phrases and words in order; a whole name in place of its words, unless a longer phrase reaches out of it."""
    tokens = tokenise(text.replace("’", "'"))
    table = _table()
    items = table.phrases.find(tokens)
    whole: dict[int, tuple[Item, _Found]] = {}
    for item, found in names.find(tokens) if names else ():
        if not any(other.first < edge < other.stop for other in items for edge in (item.first, item.stop)):
            whole[item.first] = item, found
    result: list[_Found] = []
    stop = 0
    for item in items:
        if item.first in whole:
            stop = whole[item.first][0].stop
            result.append(whole[item.first][1])
        elif item.first >= stop:
            result.append(table.meaning(item, tokens))
    return result


def _clauses(found: Iterable[_Found]) -> Iterator[list[_Found]]:
    clause: list[_Found] = []
    for each in found:
        if each.roles & {"but", "end"}:
            yield clause
            clause = []
        clause.append(each)
    yield clause


@dataclass(frozen=True)
class _Table:
    """The words of `faithful.toml`."""

    phrases: Phrases
    endings: tuple[str, ...]
    usual: frozenset[str]
    plain: frozenset[str]
    numbers: Mapping[str, str]

    def meaning(self, item: Item, tokens: Sequence[Token]) -> _Found:
        if item.phrase:
            roles = frozenset(role for role in item.phrase.meanings if role != "problem")
            return _Found(item.phrase.of("problem"), roles)
        word = tokens[item.first].small
        if word in _END:
            return _Found(roles=frozenset({"end"}))
        root = _root(word)
        if len(word) > 5 and root.endswith(self.endings) and word not in self.usual:
            return _Found(frozenset({f"word {root}"}))
        known = (
            not word[0].isalnum()
            or word[0].isdecimal()
            or not self.plain.isdisjoint((word, root))
            or word in self.numbers
        )
        return _Found(words=frozenset() if known else frozenset({root}))


def _root(word: str) -> str:
    """A word in the spelling and the number that the endings have, an adjective as its noun."""
    for before, after in _SPELLING:
        word = before.sub(after, word)
    return word


@cache
def _table() -> _Table:
    table = tomllib.loads(TABLE.read_text(encoding="utf8"))
    said: dict[str, dict[str, frozenset[str]]] = {}
    for name, words in (entry for kind in ("problem", "value", "drug") for entry in table[kind].items()):
        for word in words:
            meanings = said.setdefault(word, {})
            meanings["problem"] = meanings.get("problem", frozenset()) | {name}
    for role, words in table["about"].items():
        for word in words:
            said.setdefault(word, {})[role] = frozenset({role})
    phrases = Phrases(Phrase(word, meanings=meanings) for word, meanings in said.items())
    endings, usual = tuple(table["ending"]["all"]), frozenset(table["ending"]["except"])
    plain = frozenset(word for words in table["plain"].values() for word in words.split())
    return _Table(phrases, endings, usual, plain, {word: str(number) for word, number in table["number"].items()})
