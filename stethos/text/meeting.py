"""Where a place, a quantity and a finding meet, and the grade and denial that belong to a finding of a clause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stethos.text.lexicon import Lexicon
from stethos.text.phrases import Phrase
from stethos.text.statements import Clause, Topic


def met(topics: Iterable[Topic], phrase: Phrase, lexicon: Lexicon) -> frozenset[str]:
    """Concepts that a finding means at some places."""
    found: frozenset[str] = frozenset()
    for topic in topics:
        if phrase.role == "normal":
            found |= topic.concepts if topic.aspect is not None else plain_concepts(topic, lexicon)
        else:
            found |= topic.concepts & (phrase.of("finding") | phrase.of("normal"))
            if topic.aspect is not None:
                found |= topic.concepts & phrase.of("aspect_finding")
    return found


def plain_concepts(topic: Topic, lexicon: Lexicon) -> frozenset[str]:
    """Concepts that are denied where the bare place is called normal."""
    return frozenset(name for name in topic.concepts if lexicon.known[name].plain)


def anything(phrase: Phrase) -> frozenset[str]:
    """Concepts of which a phrase says anything."""
    return phrase.of("finding") | phrase.of("aspect_finding") | phrase.of("normal")


def spread(waiting: list[Topic], own: list[Topic]) -> list[Topic]:
    """Waiting places and a clause's own; its quantity is theirs too: "LA, LV and RA size"."""
    aspect = own[0].aspect if own and own[0].place is not None else None
    if aspect is None:
        return waiting + own
    return [
        replace(topic, aspect=aspect) if topic.aspect is None and topic.place and topic.place & aspect else topic
        for topic in waiting
    ] + own


def grade_of(clause: Clause, number: int) -> float:
    """Grade of a finding: the last one before it, or the first one behind it; 0 if none."""
    place = clause.findings[number][0]
    start = clause.findings[number - 1][0] if number else -1
    stop = clause.findings[number + 1][0] if number + 1 < len(clause.findings) else clause.stop
    before = [rank for where, rank, _ in clause.grades if start < where < place]
    behind = [rank for where, rank, _ in clause.grades if place < where < stop]
    return before[-1] if before else behind[0] if behind else 0.0


def is_denied(clause: Clause, number: int) -> bool:
    """Whether a finding of a clause is denied, from before it or, for the last one, from behind."""
    place = clause.findings[number][0]
    start = clause.findings[number - 1][0] if number else -1
    trailing = number == len(clause.findings) - 1 and any(where > place for where in clause.denials)
    return clause.denied or trailing or any(start < where < place for where in clause.denials)
