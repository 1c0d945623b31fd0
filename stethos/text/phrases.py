"""Finding the known phrases of a sentence: the longest that fits at each place.

A Latin word, a number, a Chinese character and a sign are one token each, so that one matcher serves both languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

GAP = "~"
WIDEST_GAP = 4  # tokens
MOST_PAIRS = 50_000  # words in a row of which the fitting phrases are remembered
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_\u3400-\u9fff]+|[\u3400-\u9fff]|[^\w\s]|_")


class Token(NamedTuple):
    """A word, number, character or sign.

    Args:
        text: As written.
        small: In small letters.
        start: Place in the sentence, in characters.
        end: Behind its last character.
    """

    text: str
    small: str
    start: int
    end: int


def tokenise(text: str) -> list[Token]:
    """Tokens of a sentence, in order; blanks are dropped."""
    return [Token(found.group(), found.group().lower(), found.start(), found.end()) for found in _TOKEN.finditer(text)]


_NOTHING: frozenset[str] = frozenset()
_FINDINGS = ("finding", "aspect_finding", "term", "graded_term", "normal")


@dataclass(frozen=True)
class Phrase:
    """What a phrase can mean.

    Args:
        text: As it stands in the lexicon.
        role: What it does to a statement, such as "no" or "hedge"; empty if nothing.
        rank: Grade that it names, 0.5 to 3; 0 if none.
        meanings: Concepts by what the phrase is to them, such as "anatomy" or "finding".
        measures: Measurements that it names.
        generic: Measurements that it names at a certain place only.
    """

    text: str
    role: str = ""
    rank: float = 0.0
    meanings: Mapping[str, frozenset[str]] = field(default_factory=dict)
    measures: tuple[str, ...] = ()
    generic: tuple[str, ...] = ()

    def of(self, kind: str) -> frozenset[str]:
        """Concepts to which the phrase is that kind of word."""
        return self.meanings.get(kind, _NOTHING)

    @cached_property
    def is_finding(self) -> bool:
        """Whether it says how something is."""
        return self.role == "normal" or any(map(self.meanings.get, _FINDINGS))

    @cached_property
    def is_topic(self) -> bool:
        """Whether it names a place or a quantity."""
        return any(kind in self.meanings for kind in ("anatomy", "aspect", "other")) and not self.is_finding


class Item(NamedTuple):
    """A phrase found, or a token that is none.

    Args:
        phrase: None for an unknown token.
        first: Number of its first token.
        stop: Number of the token behind it.
    """

    phrase: Phrase | None
    first: int
    stop: int


@dataclass(frozen=True)
class _Pattern:
    """Token patterns of one phrase."""

    parts: tuple[str, ...]
    cased: bool
    loose: bool
    phrase: Phrase

    def precedence(self) -> tuple[int, bool, bool]:
        """Longer before shorter, exact before loose."""
        words = [part for part in self.parts if part != GAP]
        return len(words), not self.loose, self.cased

    def end(self, tokens: Sequence[Token], start: int) -> int:
        """Number of the token behind the phrase that starts here; 0 if it does not."""
        place = start
        for number, part in enumerate(self.parts):
            if part == GAP:
                return self._behind_gap(tokens, place, self.parts[number + 1 :])
            if place == len(tokens) or not _fits(part, tokens[place], self.cased):
                return 0
            place += 1
        return place

    def _behind_gap(self, tokens: Sequence[Token], place: int, rest: tuple[str, ...]) -> int:
        for start in range(place, min(place + WIDEST_GAP + 1, len(tokens) - len(rest) + 1)):
            if all(_fits(part, token, self.cased) for part, token in zip(rest, tokens[start:], strict=False)):
                return start + len(rest)
            if tokens[start].text in ",;:()":
                break
        return 0


def _fits(part: str, token: Token, cased: bool) -> bool:
    word = token.text if cased else token.small
    return word.startswith(part[:-1]) if part.endswith("*") else word == part


class Phrases:
    """An index of phrases.

    Args:
        phrases: All of them; each text stands once.
    """

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._by_letter: dict[str, list[_Pattern]] = {}
        for phrase in phrases:
            pattern = _pattern(phrase)
            self._by_letter.setdefault(pattern.parts[0][0].lower(), []).append(pattern)
        for patterns in self._by_letter.values():
            patterns.sort(key=_Pattern.precedence, reverse=True)
        self._starting: dict[str, list[_Pattern]] = {}
        self._pairs: dict[tuple[str, str], list[_Pattern]] = {}

    def find(self, tokens: Sequence[Token]) -> list[Item]:
        """Phrases and unknown tokens, in order, that cover all tokens."""
        items: list[Item] = []
        small = tuple(token.small for token in tokens)
        place = 0
        while place < len(tokens):
            item = self._longest(tokens, small, place)
            items.append(item)
            place = item.stop
        return items

    def _longest(self, tokens: Sequence[Token], small: tuple[str, ...], place: int) -> Item:
        behind = small[place + 1] if place + 1 < len(small) else ""
        for pattern in self._candidates(tokens[place].text, behind):
            if pattern.loose or pattern.cased:
                end = pattern.end(tokens, place)
            else:
                stop = place + len(pattern.parts)
                end = stop if small[place:stop] == pattern.parts else 0
            if end:
                return Item(pattern.phrase, place, end)
        return Item(None, place, place + 1)

    def _candidates(self, word: str, behind: str) -> list[_Pattern]:
        """Patterns whose first two parts fit a word and the one behind it, longest first; kept while they are few."""
        known = self._pairs.get((word, behind))
        if known is None:
            token = Token(behind, behind, 0, 0)
            known = [
                pattern
                for pattern in self._beginning(word)
                if len(pattern.parts) == 1 or pattern.parts[1] == GAP or _fits(pattern.parts[1].lower(), token, False)
            ]
            if len(self._pairs) >= MOST_PAIRS:
                self._pairs.clear()
            self._pairs[word, behind] = known
        return known

    def _beginning(self, word: str) -> list[_Pattern]:
        """Patterns whose first part fits a word, longest first; kept, for reports use few words."""
        known = self._starting.get(word)
        if known is None:
            token = Token(word, word.lower(), 0, 0)
            patterns = self._by_letter.get(token.small[:1], ())
            known = [pattern for pattern in patterns if _fits(pattern.parts[0], token, pattern.cased)]
            self._starting[word] = known
        return known


def _pattern(phrase: Phrase) -> _Pattern:
    words = phrase.text.replace(GAP, f" {GAP} ").split()
    parts: list[str] = []
    for word in words:
        found = [GAP] if word == GAP else [token.text for token in tokenise(word.rstrip("*"))]
        if word.endswith("*"):
            found[-1] += "*"
        parts += found
    cased = any(character.isupper() for character in phrase.text)
    loose = any(part == GAP or part.endswith("*") for part in parts)
    return _Pattern(tuple(parts), cased, loose, phrase)
