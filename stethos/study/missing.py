"""What is not known of whom, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stethos.metrics.interval import proportion
from stethos.report.table import Cell, Table
from stethos.study.classical import FEATURES
from stethos.types import Estimate, Predictions

TARGET = "target"
COMPLETE = "complete case: left out of every number that needs it"
IMPUTED = "median of the training part, and a column that marks it"
DESCRIBED = "described only, never filled in"
RULES: Mapping[str, str] = {TARGET: COMPLETE} | dict.fromkeys(("age", "sex", *FEATURES), IMPUTED)
_WORDS = ("", "nan", "NaT", "None")


@dataclass(frozen=True)
class Missing:
    """How much of one fact is missing in one split.

    Args:
        fact: Its name; "target" for the truth.
        split: Name of the part.
        known: Records that have it.
        missing: Records that do not.
        share: Missing among all, with its interval over subjects.
        rule: What is done where it is missing.
    """

    fact: str
    split: str
    known: int
    missing: int
    share: Estimate
    rule: str


def is_missing(column: np.ndarray) -> np.ndarray:
    """True where a fact is not known: NaN, no date, None or empty text, `(N,)`."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind in "mM":
        return np.isnat(column)
    if column.dtype.kind in "OUS":
        return np.array([item is None or str(item) in _WORDS for item in column.tolist()], dtype=bool)
    return np.zeros(len(column), dtype=bool)


def missing_data(
    said: Predictions, facts: Sequence[str] | None = None, rules: Mapping[str, str] = RULES
) -> tuple[Missing, ...]:
    """Known and missing by fact and split, the target first.

    Args:
        said: One row a record.
        facts: Which; all that the predictions hold where None. One that they do not hold is missing everywhere.
        rules: Fact → what is done where it is missing; a fact without a rule is only described.
    """
    names = list(said.facts) if facts is None else list(facts)
    everywhere = np.full(len(said), np.nan)
    columns = {TARGET: said.truth[:, 0]} | {name: said.facts.get(name, everywhere) for name in names}
    found = []
    for name, column in columns.items():
        absent = is_missing(column)
        for split in dict.fromkeys(said.split.tolist()):
            rows = said.split == split
            count = int(absent[rows].sum())
            share = proportion(absent[rows], said.subject[rows])
            rule = rules.get(name, DESCRIBED)
            found.append(Missing(name, split, int(rows.sum()) - count, count, share, rule))
    return tuple(found)


def missing_table(found: Sequence[Missing]) -> Table:
    """One line a fact of which something is missing anywhere, one column a split; complete facts stand in the note."""
    splits = list(dict.fromkeys(item.split for item in found))
    by_fact: dict[str, list[Missing]] = {}
    for item in found:
        by_fact.setdefault(item.fact, []).append(item)
    complete = [name for name, items in by_fact.items() if not any(item.missing for item in items)]
    rows: list[list[Cell]] = [
        [name, *(f"{item.missing:,} of {item.known + item.missing:,} ({item.share.value:.1%})" for item in items),
         items[0].rule]
        for name, items in by_fact.items() if name not in complete
    ]  # fmt: skip
    note = "Records without a known target were left out before scoring; the cohort flow counts them."
    if complete:
        note += f" Known of every record: {', '.join(complete)}."
    return Table(("fact", *splits, "rule"), rows, "Missing data", note)
