"""Long phrases that a training report shares with a tested one: what would let a text tower know the answer.

Reports are written from habit, and a phrase that many reports share tells nothing. A long phrase that stands in one
training report and one tested report only, of two people, was copied: by a template filled for the wrong patient, by a
report filed twice, by a careless join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethos.text.grams import tokens

WORDS = 12  # tokens in a row that are too many to be shared by chance


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
        words: Tokens in a row that make a phrase; a report that is shorter is a phrase as a whole.

    Returns:
        In order of the training rows.
    """
    holders: dict[tuple[str, ...], set[int]] = {}
    for row, text in enumerate([*train, *tested]):
        for run in _runs(tokens(text), words):
            holders.setdefault(run, set()).add(row)
    found: dict[tuple[int, int], str] = {}
    for run, rows in holders.items():
        if len(rows) == 2 and min(rows) < len(train) <= max(rows):
            pair = min(rows), max(rows) - len(train)
            if train_subject[pair[0]] != tested_subject[pair[1]]:
                found.setdefault(pair, " ".join(run))
    return [Shared(one, other, phrase) for (one, other), phrase in sorted(found.items())]


def _runs(words: list[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + length]) for start in range(max(1, len(words) - length + 1)) if words}
