"""A patient's events up to a time, as ranked facts, and as a text of them that keeps to a number of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


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
