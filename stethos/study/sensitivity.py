"""How far a result hangs on definitions: how near in time the blood was drawn, and where the limit lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.threshold import OperatingPoint
from stethos.report.table import Cell, Table
from stethos.study.validate import area, has_both, known, measured, operating, tested
from stethos.types import Estimate, Predictions

HOURS = (1.0, 2.0, 4.0, 24.0)
Between = Literal["drop", "negative"]
CONVENTIONS: dict[Between, str] = {"drop": "left out", "negative": "counted without the event"}


@dataclass(frozen=True)
class Window:
    """The records whose blood was drawn near enough to the ECG.

    Args:
        hours: Largest distance, either way.
        records: How many, with a known truth.
        events: Those with the event.
        auroc: On them; `n` and `events` count subjects.
        same_as: Smaller window that holds the same records; None where there is none.
    """

    hours: float
    records: int
    events: int
    auroc: Estimate
    same_as: float | None


@dataclass(frozen=True)
class Pairing:
    """AUROC by pairing window.

    Args:
        windows: From the narrowest; each holds those before it.
        beyond: Records farther apart than the widest.
        unknown: Records whose distance is not known.
    """

    windows: tuple[Window, ...]
    beyond: int
    unknown: int

    def table(self, caption: str) -> Table:
        """One line a window."""
        rows: list[list[Cell]] = []
        before = 0
        for item in self.windows:
            added = f"{item.records - before:,}" if item.same_as is None else f"none: as ≤ {item.same_as:g} h"
            rows.append([f"≤ {item.hours:g} h", item.records, added, item.events, item.auroc])
            before = item.records
        note = f"Not in any window: {self.beyond} records farther apart, {self.unknown} at an unknown distance. "
        note += "A window holds all narrower ones, so the lines are not independent."
        return Table(("pairing window", "records", "added", "with the event", "AUROC"), rows, caption, note)


def by_window(part: Predictions, hours: Sequence[float] = HOURS, fact: str = "potassium_minutes") -> Pairing:
    """AUROC among the records whose value was measured within a time of the recording.

    Args:
        part: One split.
        hours: Windows; sorted here.
        fact: Minutes from the recording to the value, negative where the value came first.

    Raises:
        ScoreError: The fact is not known.
    """
    part = part.take(np.isfinite(part.truth[:, 0]))
    distance = np.abs(numbers(part, fact)) / 60
    found: list[Window] = []
    for limit in sorted(hours):
        inside = part.take(distance <= limit)
        same = next((item for item in found if item.records == len(inside)), None)
        value = same.auroc if same else _area(inside)
        found.append(Window(limit, len(inside), int(inside.truth.sum()), value, same.hours if same else None))
    unknown = int(np.isnan(distance).sum())
    return Pairing(tuple(found), len(part) - unknown - found[-1].records, unknown)


def numbers(part: Predictions, fact: str) -> np.ndarray:
    """A measured fact of every row, `(N,)`, NaN where unknown.

    Raises:
        ScoreError: The predictions do not hold it, or it is not measured.
    """
    if fact not in part.facts or part.facts[fact].dtype.kind not in "fiub":
        raise ScoreError(f"needs the measured fact {fact}; the predictions hold {', '.join(part.facts) or 'none'}")
    return part.facts[fact].astype(np.float64)


def _area(part: Predictions) -> Estimate:
    if not len(part):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    return measured(lambda: area(part), part)


def stricter(predictions: Predictions, cut: float, fact: str = "potassium", between: Between = "drop") -> Predictions:
    """The same scores against a higher limit: the event is `fact ≥ cut`.

    Args:
        predictions: Their truth is that of a lower limit on the same fact.
        cut: The higher limit, in the fact's unit.
        fact: What both limits are on.
        between: What becomes of the records above the first limit and below this one: "drop" makes their truth
            unknown, "negative" counts them without the event.

    Raises:
        ScoreError: The fact is not known, or a record at or above the cut is without the event: then the cut is
            not the higher limit.
    """
    value, truth = numbers(predictions, fact), predictions.truth[:, 0]
    if np.any((truth == 0) & (value >= cut)):
        raise ScoreError(
            f"needs a cut above the target's own limit; {int(np.sum((truth == 0) & (value >= cut)))} records without "
            f"the event have {fact} ≥ {cut:g}"
        )
    middle = np.nan if between == "drop" else 0.0
    fresh = np.where(truth == 0, 0.0, np.where(value >= cut, 1.0, middle))
    fresh = np.where(np.isnan(truth) | (np.isnan(value) & (truth == 1)), np.nan, fresh)
    return replace(predictions, truth=fresh[:, None], names=(f"{fact} >= {cut:g}",))


@dataclass(frozen=True)
class Cut:
    """One split against a higher limit under one convention.

    Args:
        split: Its name.
        between: Convention for the records between the limits.
        records: Records with a known truth.
        events: Those with the event.
        moved: Records between the limits.
        auroc: Of the same scores.
        point: At the operating point of the first limit; None where one class is missing.
    """

    split: str
    between: Between
    records: int
    events: int
    moved: int
    auroc: Estimate
    point: OperatingPoint | None


def cuts(predictions: Predictions, cut: float, threshold: float, fact: str = "potassium") -> tuple[Cut, ...]:
    """Every tested split against a higher limit, under both conventions, scores and operating point unchanged.

    Args:
        predictions: Of the model.
        cut: The higher limit.
        threshold: Operating point, logit.
        fact: What the limit is on.

    Raises:
        ScoreError: As in `stricter`.
    """
    found = []
    for split in tested(predictions):
        every = known(predictions, split)
        for between in CONVENTIONS:
            part = known(stricter(every, cut, fact, between), split)
            moved = int(np.sum((every.truth[:, 0] == 1) & (numbers(every, fact) < cut)))
            point = operating(part, threshold) if len(part) and has_both(part) else None
            found.append(Cut(split, between, len(part), int(part.truth.sum()), moved, _area(part), point))
    return tuple(found)


def cuts_tables(found: Sequence[Cut], cut: str) -> tuple[Table, Table]:
    """Discrimination, then the operating point; one line a split and convention.

    Args:
        found: From `cuts`.
        cut: The limit in words, such as "potassium ≥ 6.0".
    """
    counted: list[list[Cell]] = []
    decided: list[list[Cell]] = []
    for item in found:
        point, way = item.point, [item.split, CONVENTIONS[item.between]]
        counted.append([*way, item.records, item.events, item.moved, item.auroc])
        shares = [point.sensitivity, point.specificity, point.npv, point.trivial_npv] if point else [None] * 4
        decided.append([*way, *shares])
    way = ["part", "records between the limits"]
    note = "The same scores; only the truth is that of the higher limit. Between: records between the two limits."
    first = Table([*way, "records", "with the event", "between", "AUROC"], counted, f"Against {cut}", note)
    columns = [*way, "sensitivity", "specificity", "NPV", "NPV, trivial"]
    note = "The operating point is that of the lower limit. NPV, trivial: what calling everybody negative gives."
    return first, Table(columns, decided, f"Against {cut}, at the operating point", note)
