"""Long phrases that a training report shares with a tested one: what would let a text tower know the answer.

Reports are written from habit, and a phrase that many reports share tells nothing. A long phrase that stands in one
training report and one tested report only, of two people, was copied: by a template filled for the wrong patient, by a
report filed twice, by a careless join. Phrases are looked for within clauses: where one habitual clause ends and the
next begins, runs of words are unusual that nobody copied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethos.text.grams import tokens

WORDS = 12  # words in a row that are too many to be shared by chance; of Chinese characters twice as many
_CLAUSE = re.compile(r"[.,;:!?\n，。、；：！？()（）]+(?!\d)")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Shared:
    """A phrase in two reports and no third.

    Args:
        train: Row of the training report.
        tested: Row of the tested report.
        phrase: Its tokens, joined by spaces.
    """

    train: int
    tested: int
    phrase: str


def shared_phrases(
    train: Sequence[str],
    tested: Sequence[str],
    train_subject: np.ndarray,
    tested_subject: np.ndarray,
    words: int = WORDS,
) -> list[Shared]:
    """The first phrase of each pair of reports, of different subjects, that no third report holds.

    Args:
        train: Texts that are learned from.
        tested: Texts of records that will be scored.
        train_subject: Whose each is.
        tested_subject: Likewise.
        words: In a row that make a phrase.

    Returns:
        In order of the training rows.
    """
    holders: dict[tuple[str, ...], set[int]] = {}
    for row, text in enumerate([*train, *tested]):
        for run in _runs(text, words):
            holders.setdefault(run, set()).add(row)
    found: dict[tuple[int, int], str] = {}
    for run, rows in holders.items():
        if len(rows) == 2 and min(rows) < len(train) <= max(rows):
            pair = min(rows), max(rows) - len(train)
            if train_subject[pair[0]] != tested_subject[pair[1]]:
                found.setdefault(pair, " ".join(run))
    return [Shared(one, other, phrase) for (one, other), phrase in sorted(found.items())]


def _runs(text: str, words: int) -> set[tuple[str, ...]]:
    """The shortest runs within a clause that are long enough, a Chinese character counting half."""
    found: set[tuple[str, ...]] = set()
    for clause in _CLAUSE.split(text):
        held = tokens(clause)
        length = np.cumsum([0.0, *(0.5 if _CHINESE.match(token) else 1.0 for token in held)])
        stops = np.searchsorted(length, length + words)  # of the run that begins at each token
        found.update(tuple(held[start:stop]) for start, stop in enumerate(stops) if stop < len(length))
    return found
