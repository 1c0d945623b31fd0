"""Whom a model may be asked about: outside of that it abstains, with a reason, and the cost is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stethos.metrics.interval import fraction
from stethos.metrics.selective import CoverageCurve, error_against_coverage
from stethos.report.table import Cell, Table
from stethos.types import Estimate, Fact, Predictions, Record

ANSWERED = "answered"
REFUSED = "refused for any reason"


@dataclass(frozen=True)
class IntendedUse:
    """Whom and what a model was made for.

    A fact that is not known refuses nobody; `unchecked` names it, so that the answer can say so.

    Args:
        youngest_age: In years.
        paced: Whether paced rhythms may be judged (fact "paced").
        dialysis: Whether people on dialysis may be (fact "dialysis").
        leads: Names of the leads that it may be used on; empty for any.
        least_windows: Fewest usable windows of a recording (fact "windows_used").
    """

    youngest_age: float = 18.0
    paced: bool = False
    dialysis: bool = True
    leads: tuple[str, ...] = ("I",)
    least_windows: int = 1

    def check(self, asked: Record | Mapping[str, Fact], lead: str = "") -> list[str]:
        """Reasons to abstain, none where the model may answer.

        Args:
            asked: A recording, or what is known of one.
            lead: Name of the lead to be judged; not checked where empty.
        """
        facts = asked.facts if isinstance(asked, Record) else asked
        age, used = number(facts.get("age")), number(facts.get("windows_used"))
        reasons = {
            f"younger than {self.youngest_age:g} years": age < self.youngest_age,
            "paced rhythm": not self.paced and number(facts.get("paced")) == 1,
            "on dialysis": not self.dialysis and number(facts.get("dialysis")) == 1,
            f"not one of the leads {', '.join(self.leads)}": bool(lead and self.leads) and lead not in self.leads,
            f"fewer than {self.least_windows} usable windows": used < self.least_windows,
        }
        return [reason for reason, holds in reasons.items() if holds]

    def unchecked(self, asked: Record | Mapping[str, Fact]) -> list[str]:
        """Names of the facts that would have been checked but are not known."""
        facts = asked.facts if isinstance(asked, Record) else asked
        names = ["age", *["paced"] * (not self.paced), *["dialysis"] * (not self.dialysis)]
        return [name for name in names if np.isnan(number(facts.get(name)))]


def number(fact: object) -> float:
    """A fact as a number; words for yes count 1, NaN where it is neither."""
    words = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
    try:
        return float(fact)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return words.get(str(fact).strip().lower(), float("nan"))


def reasons_by_row(said: Predictions, use: IntendedUse, lead: str = "") -> list[list[str]]:
    """Reasons to abstain from every row, from the predictions' own facts."""
    names = [name for name in ("age", "paced", "dialysis", "windows_used") if name in said.facts]
    columns = [said.facts[name].tolist() for name in names]
    rows = zip(*columns, strict=True) if columns else ([] for _ in range(len(said)))
    return [use.check(dict(zip(names, row, strict=True)), lead) for row in rows]


@dataclass(frozen=True)
class Group:
    """Records answered, or refused for a reason, and how they would have been decided.

    Args:
        name: "answered", "refused for any reason", or the reason; a record may have several.
        records: With a known truth.
        subjects: They come from.
        events: Records with the event.
        error: Share decided wrongly at the operating point, had they been answered.
        missed: Share not flagged of those with the event.
    """

    name: str
    records: int
    subjects: int
    events: int
    error: Estimate
    missed: Estimate


def refusals(part: Predictions, use: IntendedUse, threshold: float, lead: str = "") -> tuple[Group, ...]:
    """What is answered, what is refused and why, and the error on each side.

    Recordings without a usable window were never scored, so that their error is not known; the cohort flow counts
    them.

    Args:
        part: One split.
        use: Whom the model may be asked about.
        threshold: Operating point, logit.
        lead: Name of the lead that was judged.
    """
    part = part.take(np.isfinite(part.truth[:, 0]))
    reasons = reasons_by_row(part, use, lead)
    refused = np.array([bool(held) for held in reasons], dtype=bool)
    named = {reason: None for held in reasons for reason in held}
    rows = {ANSWERED: ~refused, REFUSED: refused}
    rows |= {name: np.array([name in held for held in reasons]) for name in named}
    return tuple(_group(name, part.take(kept), threshold) for name, kept in rows.items())


def _group(name: str, part: Predictions, threshold: float) -> Group:
    event, flagged = part.truth[:, 0] == 1, part.score[:, 0] >= threshold
    error = _share(flagged != event, part.subject)
    missed = _share(~flagged[event], part.subject[event])
    return Group(name, len(part), len(np.unique(part.subject)), int(event.sum()), error, missed)


def _share(success: np.ndarray, subject: np.ndarray) -> Estimate:
    return fraction(success, subject) if len(success) else Estimate(np.nan, 0.0, 1.0, 0, 0)


def refusals_table(groups: Sequence[Group], caption: str) -> Table:
    """One line a group."""
    rows: list[list[Cell]] = [
        [item.name, item.records, item.subjects, item.events, item.error, item.missed] for item in groups
    ]
    columns = ("", "records", "subjects", "with the event", "decided wrongly", "events missed")
    note = "The refused are decided here only to show what refusing costs; a record may have several reasons."
    return Table(columns, rows, caption, note)


def margin(part: Predictions, threshold: float) -> np.ndarray:
    """Distance of every logit from the operating point, `(N,)`.

    Where the event is rare and the operating point sensitive, most flagged records are without the event, and those
    with the highest scores are wrong as surely as they are far from the threshold: refusing by this then leaves a
    larger error, and the curve shows it.
    """
    return np.abs(part.score[:, 0] - threshold)


def agreement(each: Predictions) -> np.ndarray:
    """How well the seeds agree on every record: minus the standard deviation of their logits, `(N,)`.

    Args:
        each: Predictions of every seed.

    Returns:
        In the order of the rows of `each.mean_over_seeds()`; 0 everywhere with one seed.
    """
    mean = each.mean_over_seeds().score[:, 0]
    square = replace(each, score=each.score**2).mean_over_seeds().score[:, 0]
    return -np.sqrt(np.maximum(0.0, square - mean**2))


def coverage(part: Predictions, threshold: float, confidence: np.ndarray, points: int = 20) -> CoverageCurve:
    """Error against coverage as the least sure records are refused.

    Args:
        part: One split.
        threshold: Operating point, logit.
        confidence: Of every row, higher is answered for longer, `(N,)`: `margin`, `agreement`, or a quality.
        points: Steps of coverage from 1 down.

    Raises:
        ScoreError: One class only.
    """
    return error_against_coverage(part.truth[:, 0], part.score[:, 0], confidence, part.subject, threshold, points)


def coverage_table(part: Predictions, threshold: float, curves: Mapping[str, np.ndarray], split: str) -> Table:
    """Five steps of every way to refuse.

    Args:
        part: One split.
        threshold: Operating point, logit.
        curves: What the least sure are refused by → confidence of every row, `(N,)`.
        split: Its name.

    Raises:
        ScoreError: One class only.
    """
    rows: list[list[Cell]] = []
    subjects, events = len(np.unique(part.subject)), int(part.truth.sum())
    for name, confidence in curves.items():
        curve = coverage(part, threshold, confidence)
        for place in np.unique(np.linspace(0, len(curve.cut) - 1, 5).round().astype(int)):
            ends = float(curve.error[place]), float(curve.low[place]), float(curve.high[place])
            kept = float(curve.events_kept[place])
            left = f"{kept:.0%}, {round(kept * events)} of {events}"
            rows.append([name, f"{curve.coverage[place]:.0%}", Estimate(*ends, subjects), left])
    columns = ("least sure refused by", "answered", "decided wrongly", "records with the event answered")
    return Table(columns, rows, f"Error against coverage, {split}")
