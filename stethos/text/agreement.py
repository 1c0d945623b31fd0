"""How well labels read from text agree with a person's: the measure of any change to the table of findings.

    precision = right / said        recall = right / true        accuracy = same of {1, 0, unknown} / all

for 1 ("present") and for 0 ("absent"), each concept over all texts, and all concepts pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan


@dataclass(frozen=True)
class Agreement:
    """Agreement on one concept, or on all.

    Args:
        name: The concept; "all" for the pool.
        present: Texts in which it is present.
        absent: Texts in which it is absent.
        precision: Of 1; NaN if none was said.
        recall: Of 1; NaN if there is none.
        precision_absent: Of 0.
        recall_absent: Of 0.
        accuracy: Share of texts with the same of 1, 0 and unknown.
    """

    name: str
    present: int
    absent: int
    precision: float
    recall: float
    precision_absent: float
    recall_absent: float
    accuracy: float

    def line(self) -> str:
        """Its numbers in one line, as the heading of `table`."""
        numbers = (self.precision, self.recall, self.precision_absent, self.recall_absent, self.accuracy)
        return f"{self.name:26} {self.present:5} {self.absent:5} " + " ".join(f"{number:6.3f}" for number in numbers)


def agreement(
    truth: Sequence[Mapping[str, float | None]], said: Sequence[Mapping[str, float | None]], names: Sequence[str]
) -> list[Agreement]:
    """Agreement on each concept, then on all.

    Args:
        truth: For each text 1, 0 or None (NaN) by concept; what is not named is unknown.
        said: What was read from it.
        names: The concepts.
    """
    pairs = {
        name: [(_state(true.get(name)), _state(told.get(name))) for true, told in zip(truth, said, strict=True)]
        for name in names
    }
    everything = [pair for of_one in pairs.values() for pair in of_one]
    return [*(_agreement(name, of_one) for name, of_one in pairs.items()), _agreement("all", everything)]


def table(rows: Sequence[Agreement]) -> str:
    """The numbers of each row under one heading; no text of any report."""
    heading = f"{'concept':26} {'n 1':>5} {'n 0':>5} {'prec 1':>6} {'rec 1':>6} {'prec 0':>6} {'rec 0':>6} {'exact':>6}"
    return "\n".join([heading, *(row.line() for row in rows)])


def _state(value: float | None) -> int | None:
    return None if value is None or isnan(value) else int(value)


def _agreement(name: str, pairs: Sequence[tuple[int | None, int | None]]) -> Agreement:
    count = {(true, told): pairs.count((true, told)) for true in (1, 0, None) for told in (1, 0, None)}
    true = {value: sum(count[value, told] for told in (1, 0, None)) for value in (1, 0)}
    told = {value: sum(count[other, value] for other in (1, 0, None)) for value in (1, 0)}
    return Agreement(
        name,
        present=true[1],
        absent=true[0],
        precision=_share(count[1, 1], told[1]),
        recall=_share(count[1, 1], true[1]),
        precision_absent=_share(count[0, 0], told[0]),
        recall_absent=_share(count[0, 0], true[0]),
        accuracy=_share(count[1, 1] + count[0, 0] + count[None, None], len(pairs)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else nan
