"""A patient's events up to a time, as ranked facts, and as a text of them that keeps to a number of tokens.

    events before a time → what each says (`fragments`) → facts: each once, how often, from when to when
    facts, by rank → sentences, one a section, as many facts as the tokens allow → text, and the events behind each

A fact's rank is 10 × relevance to heart, vessels and lungs, + 3 where it is chronic, + up to 2 for how recent it
is, and up to 2 for how often it was said. The weights are our own choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stethos.text.fragments import SECTIONS, Event, Said, of_family, said, table
from stethos.text.mentions import mentions

NOTHING = "Nothing is recorded before this time."
_OLDEST = 89  # years; whoever is older is not told apart
_DECADES = ("first decade", "teens", "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties")
_YEAR = np.timedelta64(365 * 24 + 6, "h")
_SENTENCE = re.compile(r"[.;!?\n]+")
_LATER = "events from after the time"
_VITALS = "vital signs"
_NO_VITALS = "all but vital signs"
_DEMOGRAPHICS = "age and sex"
_NOTES = "notes"
_NO_TIME = "events without a time"


@dataclass(frozen=True)
class Fact:
    """What several events say of a patient.

    Args:
        name: In plain words.
        section: Of the summary, such as "Cardiovascular".
        codes: That say it.
        count: How often it was coded: admissions, or days where there are none.
        first: The first time; NaT where not known.
        last: The last time; NaT where not known.
        chronic: Whether it stays with a patient.
        rank: The higher, the earlier it is told.
        events: Ids of the events behind it.
    """

    name: str
    section: str
    codes: tuple[str, ...]
    count: int
    first: np.datetime64
    last: np.datetime64
    chronic: bool
    rank: float
    events: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """What is known of a patient at a time.

    Args:
        subject: Whose.
        until: Only events from before it count.
        facts: The highest rank first.
        left_out: Reason → events that are in no fact.
    """

    subject: str
    until: np.datetime64
    facts: tuple[Fact, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Sentence:
    """A sentence of a summary, and the ids of the events that it rests on."""

    text: str
    events: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """A patient's record as text.

    Args:
        subject: Whose.
        until: Nothing later is in it.
        sentences: In order.
        tokens: Of the text.
        unsaid: Facts that the budget left no room for.
    """

    subject: str
    until: np.datetime64
    sentences: tuple[Sentence, ...]
    tokens: int
    unsaid: int

    @property
    def text(self) -> str:
        """The sentences, joined by spaces."""
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True)
class Switches:
    """What a summary may tell, and at what length.

    Args:
        budget: Tokens, at most.
        vitals: Vital signs, which give heart rate, breathing and pressure away.
        after: Diagnoses that were coded after the time, as those of a stay are at its end.
        demographics: Age and sex.
        notes: Problems that notes mention.
        only_vitals: Vital signs and nothing else, as a control.
    """

    budget: int = 256
    vitals: bool = False
    after: bool = False
    demographics: bool = True
    notes: bool = True
    only_vitals: bool = False


USUAL = Switches()


def chart_of(
    subject: str,
    events: Iterable[Event],
    until: np.datetime64,
    titles: Mapping[str, str] | None = None,
    switches: Switches = USUAL,
) -> Chart:
    """What the events from before a time say of a patient; the order of the events does not matter.

    Args:
        subject: Whose.
        events: Of this patient; those at `until` or later do not count.
        until: NaT for no limit.
        titles: Code → what it means.
        switches: What may be told.
    """
    left, held, marks = Counter[str](), dict[str, list[Event]](), dict[str, Said]()
    titles, person = titles or {}, list[Event]()
    for event in sorted(events, key=lambda each: (str(each.time), each.code, each.id)):
        kind = event.code.split("//")[0].upper()
        reason = _untold(event, kind, until, switches)
        if reason:
            left[reason] += 1
        elif kind in ("GENDER", "MEDS_BIRTH"):
            person.append(event)
        else:
            for found in _fragments(event, kind, titles, switches, left):
                marks[found.key] = found
                held.setdefault(found.key, []).append(event)
    facts = [_fact(marks[key], group, until) for key, group in held.items()]
    facts += _person(person, until)
    facts.sort(key=lambda fact: (-fact.rank, fact.name))
    return Chart(subject, until, tuple(facts), dict(sorted(left.items())))


def _untold(event: Event, kind: str, until: np.datetime64, switches: Switches) -> str:
    """Why an event is not told, whatever it says; empty if it is."""
    if kind in ("GENDER", "MEDS_BIRTH"):
        return "" if switches.demographics and not switches.only_vitals else _DEMOGRAPHICS
    if np.isnat(event.time):
        return _NO_TIME
    later = not np.isnat(until) and event.time >= until
    if later and not (switches.after and kind == "DIAGNOSIS"):
        return _LATER
    return _NOTES if kind == "NOTE" and not switches.notes else ""


def _fragments(
    event: Event, kind: str, titles: Mapping[str, str], switches: Switches, left: Counter[str]
) -> Iterator[Said]:
    """What an event says that may be told; why nothing is, is counted."""
    if kind == "NOTE":
        if switches.only_vitals:
            left[_NO_VITALS] += 1
        else:
            yield from (of_family(key) for key in noted(event.text))
        return
    found = said(event, titles.get(event.code, ""))
    if isinstance(found, str):
        left[found] += 1
        return
    vital = found.section == "Vital signs"
    if vital and not (switches.vitals or switches.only_vitals):
        left[_VITALS] += 1
    elif not vital and switches.only_vitals:
        left[_NO_VITALS] += 1
    else:
        yield found


_read = lru_cache(maxsize=2**14)(mentions)  # notes repeat their sentences


def noted(text: str) -> list[str]:
    """Families that a note says there are: not what it denies, doubts, or tells of relatives."""
    found = dict[str, None]()
    for part in _SENTENCE.split(text):
        read = _read(part)
        if not read.marks & {"others", "possible"}:
            found |= dict.fromkeys(sorted(read.said & table()["family"].keys()))
    return list(found)


def _fact(found: Said, group: Sequence[Event], until: np.datetime64) -> Fact:
    """Events that say the same, as one fact; of values the last one is told."""
    times = np.array([event.time for event in group], "datetime64[s]")
    first, last = times.min(), times.max()
    stays = {event.stay or str(event.time)[:10] for event in group}
    age = 0.0 if np.isnat(until) else max(0.0, float((until - last) / _YEAR))
    rank = 10 * found.relevance + 3 * found.chronic + 2 / (1 + age) + 2 * (1 - 1 / len(stays)) + found.rank
    codes = tuple(sorted({event.code for event in group}))
    ids = tuple(event.id for event in group)
    return Fact(found.name, found.section, codes, len(stays), first, last, found.chronic, round(rank, 6), ids)


def _person(events: Sequence[Event], until: np.datetime64) -> Iterator[Fact]:
    """Sex and age, as one fact: the decade in words, which a reader of words can compare, and the years.

    Whoever is 90 or older is over 89.
    """
    if not events:
        return
    nouns = {"F": "woman", "M": "man"}
    sexes = {event.code.split("//")[-1].upper()[:1] for event in events if event.code.upper().startswith("GENDER")}
    noun = next((nouns[sex] for sex in sorted(sexes) if sex in nouns), "patient")
    births = [event.time for event in events if event.code.upper() == "MEDS_BIRTH" and not np.isnat(event.time)]
    name = noun if noun != "patient" else ""
    if births and not np.isnat(until):
        years = int((until - births[0]) / _YEAR)
        decade = f"in the {_DECADES[years // 10]}; {years} years old" if 0 <= years <= _OLDEST else ""
        name = f"{noun} {decade or f'over {_OLDEST} years old'}"
    if name:
        never = np.datetime64("NaT")
        codes, ids = tuple(event.code for event in events), tuple(event.id for event in events)
        yield Fact(name, "Demographics", codes, 1, never, never, True, 100.0, ids)


def render(chart: Chart, budget: int, count: Callable[[str], int]) -> Summary:
    """A text of as many facts, the highest rank first, as the tokens allow.

    Args:
        chart: Facts.
        budget: Tokens, at most; not even one fact may fit, then the text is empty.
        count: Tokens of a text; more facts are never fewer tokens.
    """
    if not chart.facts:
        fits = count(NOTHING) <= budget
        nothing = (Sentence(NOTHING, ()),) if fits else ()
        return Summary(chart.subject, chart.until, nothing, count(NOTHING) if fits else 0, 0)
    low, high = 0, len(chart.facts)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_joined(_sentences(chart.facts[:middle]))) <= budget:
            low = middle
        else:
            high = middle - 1
    sentences = _sentences(chart.facts[:low])
    tokens = count(_joined(sentences)) if sentences else 0
    return Summary(chart.subject, chart.until, sentences, tokens, len(chart.facts) - low)


def _sentences(facts: Sequence[Fact]) -> tuple[Sentence, ...]:
    """One sentence a section, in the order of the sections."""
    found = []
    for section in SECTIONS:
        own = [fact for fact in facts if fact.section == section]
        if own:
            told = "; ".join(_told(fact) for fact in own)
            text = told[:1].upper() + told[1:] if section == "Demographics" else f"{section}: {told}"
            events = tuple(dict.fromkeys(event for fact in own for event in fact.events))
            found.append(Sentence(f"{text}.", events))
    return tuple(found)


def _told(fact: Fact) -> str:
    """A fact with how often, and from when to when."""
    if np.isnat(fact.first) or fact.section == "Vital signs":
        return fact.name
    years = dict.fromkeys(str(moment)[:4] for moment in (fact.first, fact.last))
    times = f"{fact.count} times, " if fact.count > 1 else ""
    return f"{fact.name} ({times}{' to '.join(years)})"


def _joined(sentences: Sequence[Sentence]) -> str:
    return " ".join(sentence.text for sentence in sentences)
