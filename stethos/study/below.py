"""Who is called high risk although the measured value is below the limit?

Among the records without the event, the share flagged at the operating point is told for every level of what is
known of them, with odds ratios adjusted for the measured value itself,

    logit P(flagged) = a + b · level + c · value        odds ratio = exp(b)

A jackknife that leaves out one subject at a time, by one Newton step, gives the variance of b:

    V = (S − 1) / S Σ_s δ_s δ_sᵀ        δ_s = (A − A_s)⁻¹ g_s

with g_s the gradient of the log likelihood and A_s its curvature over the rows of subject s, A = Σ_s A_s.

Reference:
    Bell and McCaffrey 2002, Survey Methodology 28:169–181.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr, ndtri

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters
from stethos.metrics.interval import fraction
from stethos.metrics.subgroup import UNKNOWN, bands
from stethos.report.table import Cell, Table
from stethos.types import Estimate, Predictions

LEAST = 5  # subjects flagged, and subjects not, below which a level has no odds ratio
_STEPS = 50
_LARGEST_STEP = 2.0


@dataclass(frozen=True)
class Factor:
    """Something that records are told apart by.

    Args:
        name: In words.
        fact: Column of the predictions' facts; 0 and 1 read as "no" and "yes".
        edges: Lower ends of all bands but the first, for a measured fact.
        reference: Level that odds are compared with; the first where empty, the largest where nobody is in it.
    """

    name: str
    fact: str
    edges: tuple[float, ...] = ()
    reference: str = ""


FACTORS = (
    Factor("chronic kidney disease", "ckd"),
    Factor("heart failure", "heart_failure"),
    Factor("age, years", "age", (45, 65, 80), "45 to < 65"),
    Factor("sex", "sex"),
    Factor("potassium, mmol/L", "potassium", (3.5, 4, 4.5, 5), "4 to < 4.5"),
)


@dataclass(frozen=True)
class Odds:
    """An odds ratio.

    Args:
        ratio: With its interval; `n` counts the subjects of the whole fit.
        p: Two-sided, of a ratio of 1.
    """

    ratio: Estimate
    p: float


@dataclass(frozen=True)
class Level:
    """The records without the event at one level of a factor.

    Args:
        factor: Its name.
        level: "all" where it is no factor but everybody.
        records: How many.
        flagged: Share of them at or above the operating point.
        odds: Against the reference level; None where there is a note.
        note: Why there is no odds ratio.
    """

    factor: str
    level: str
    records: int
    flagged: Estimate
    odds: Odds | None
    note: str = ""


@dataclass(frozen=True)
class BelowThreshold:
    """Who is flagged without the event.

    Args:
        levels: Everybody first, then every level of every factor.
        absent: Names of factors that this cohort does not know.
        adjusted_for: Fact that the odds ratios are adjusted for; empty where the cohort does not know it.
    """

    levels: tuple[Level, ...]
    absent: tuple[str, ...]
    adjusted_for: str

    def table(self, caption: str) -> Table:
        """One line a level."""
        rows: list[list[Cell]] = [
            [item.factor, item.level, item.records, item.flagged, *_told(item)] for item in self.levels
        ]
        columns = ("factor", "level", "records", "share flagged", "odds ratio", "p")
        note = "Records without the event only."
        note += f" Odds ratios adjusted for {self.adjusted_for} (its own bands are not); intervals by subject."
        if not self.adjusted_for:
            note = "Records without the event only. Odds ratios not adjusted: the value is not in this cohort."
        if self.absent:
            note += f" Not known in this cohort: {', '.join(self.absent)}."
        return Table(columns, rows, caption, note)


def _told(item: Level) -> list[Cell]:
    return [item.odds.ratio, item.odds.p] if item.odds else [item.note, None]


def below_threshold(
    part: Predictions, threshold: float, factors: Sequence[Factor] = FACTORS, adjust: str = "potassium"
) -> BelowThreshold:
    """Who is flagged among the records whose truth is 0.

    Args:
        part: One split.
        threshold: Operating point, chosen elsewhere.
        factors: What records are told apart by; one that the cohort does not know is listed as absent.
        adjust: Fact that the odds ratios are adjusted for.

    Raises:
        ScoreError: No record is without the event.
    """
    without = part.take(part.truth[:, 0] == 0)
    if not len(without):
        raise ScoreError("needs records without the event; this part has none")
    flagged = without.score[:, 0] >= threshold
    value = np.asarray(without.facts[adjust], float) if _known_at_all(without, adjust) else None
    levels = [Level("all", "all", len(without), fraction(flagged, without.subject), None)]
    present = [factor for factor in factors if _known_at_all(without, factor.fact)]
    for factor in present:
        levels += _of_factor(without, flagged, factor, None if factor.fact == adjust else value)
    absent = tuple(factor.name for factor in factors if factor not in present)
    return BelowThreshold(tuple(levels), absent, adjust if value is not None else "")


def _known_at_all(part: Predictions, fact: str) -> bool:
    return fact in part.facts and any(label != UNKNOWN for label in labels(part.facts, Factor(fact, fact)))


def labels(facts: Mapping[str, np.ndarray], factor: Factor) -> np.ndarray:
    """The level of every row, text, `(N,)`."""
    column = np.asarray(facts[factor.fact])
    if factor.edges:
        return bands(column.astype(float), factor.edges)
    if column.dtype.kind in "fiub":
        words = {0.0: "no", 1.0: "yes"}
        return np.array([UNKNOWN if np.isnan(x) else words.get(x, f"{x:g}") for x in column.astype(float).tolist()])
    return np.array([str(item) if item not in (None, "") else UNKNOWN for item in column.tolist()])


def _in_order(label: np.ndarray, column: np.ndarray) -> list[str]:
    """Levels by the smallest value or word in them, unknown last."""
    held = [name for name in np.unique(label).tolist() if name != UNKNOWN]
    held.sort(key=lambda name: min(column[label == name].tolist()))
    return held + [UNKNOWN] * bool(np.any(label == UNKNOWN))


def _of_factor(part: Predictions, flagged: np.ndarray, factor: Factor, value: np.ndarray | None) -> list[Level]:
    """Every level of one factor with its odds against the reference."""
    label = labels(part.facts, factor)
    order = _in_order(label, np.asarray(part.facts[factor.fact]))
    reference = _reference(factor, label, order)
    notes = {name: _too_few(flagged[label == name], part.subject[label == name]) for name in order}
    notes[UNKNOWN] = UNKNOWN
    if notes[reference]:
        notes |= {name: f"the reference {reference} has too few" for name in order if name != reference}
    compared = [name for name in order if name != reference and not notes[name]]
    odds, failed = _fitted(part.subject, flagged, label, [reference, *compared], value)
    told = notes | dict.fromkeys(compared, failed) | {reference: notes[reference] or "reference"}
    told[UNKNOWN] = ""
    shares = {name: fraction(flagged[label == name], part.subject[label == name]) for name in order}
    return [
        Level(factor.name, name, int(np.sum(label == name)), shares[name], odds.get(name), told[name]) for name in order
    ]


def _reference(factor: Factor, label: np.ndarray, order: Sequence[str]) -> str:
    known = [name for name in order if name != UNKNOWN]
    if not factor.reference:
        return known[0]
    return factor.reference if factor.reference in known else max(known, key=lambda name: int(np.sum(label == name)))


def _too_few(flagged: np.ndarray, subject: np.ndarray) -> str:
    """Why a level is too small for an odds ratio; empty where it is not."""
    counts = [len(np.unique(subject[flagged == kind])) for kind in (True, False)]
    if min(counts) >= LEAST:
        return ""
    return f"{counts[0]} subjects flagged and {counts[1]} not; needs {LEAST} of each"


def _fitted(
    subject: np.ndarray, flagged: np.ndarray, label: np.ndarray, names: Sequence[str], value: np.ndarray | None
) -> tuple[dict[str, Odds], str]:
    """Odds of every level but the first against the first, or why there are none."""
    if len(names) < 2:
        return {}, ""
    kept = np.isin(label, names) & (True if value is None else np.isfinite(value))
    columns = [label[kept] == name for name in names[1:]]
    if value is not None:
        columns.append(value[kept])
    try:
        found = odds_ratios(flagged[kept], np.column_stack(columns).astype(float), subject[kept])
    except ScoreError as error:
        return {}, str(error)
    return dict(zip(names[1:], found, strict=False)), ""


def odds_ratios(event: np.ndarray, columns: np.ndarray, subject: np.ndarray, level: float = 0.95) -> list[Odds]:
    """Odds ratio of every column, all in one logistic regression, with intervals over subjects.

    Args:
        event: Whether it happened, Boolean, `(N,)`.
        columns: Without a constant, `(N, P)`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of the intervals.

    Returns:
        One a column: per unit of it.

    Raises:
        ScoreError: A column says nothing of its own, or the columns separate the events.
    """
    event, clusters = np.asarray(event, bool), Clusters.of(subject)
    design = np.column_stack([np.ones(len(event)), columns - columns.mean(axis=0)])  # (N, 1 + P)
    chosen = _newton(design, event)
    error = np.sqrt(np.diag(_jackknife(design, event - expit(design @ chosen), chosen, clusters)))[1:]
    reach = float(ndtri((1 + level) / 2)) * error
    value, low, high = (np.exp(chosen[1:] + side * reach).tolist() for side in (0, -1, 1))
    p = (2 * ndtr(-np.abs(chosen[1:]) / error)).tolist()
    size = clusters.count, clusters.with_any(event)
    return [Odds(Estimate(value[k], low[k], high[k], *size, level), p[k]) for k in range(len(p))]


def _newton(design: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Maximum likelihood, `(P,)`."""
    chosen = np.zeros(design.shape[1])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ScoreError("an odds ratio needs columns that do not follow from each other")
    for _ in range(_STEPS):
        share = expit(design @ chosen)
        bend = design.T @ (design * (share * (1 - share))[:, None])
        try:
            step = np.linalg.solve(bend, design.T @ (event - share))
        except np.linalg.LinAlgError:
            break
        chosen = chosen + step * min(1.0, _LARGEST_STEP / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-9:
            return chosen
    raise ScoreError("an odds ratio needs classes that overlap; these columns separate them without error")


def _jackknife(design: np.ndarray, excess: np.ndarray, chosen: np.ndarray, clusters: Clusters) -> np.ndarray:
    """V of the module's head, `(P, P)`."""
    width, share = design.shape[1], expit(design @ chosen)
    slope = np.zeros((clusters.count, width))
    bend = np.zeros((clusters.count, width, width))
    np.add.at(slope, clusters.code, design * excess[:, None])
    np.add.at(bend, clusters.code, design[:, :, None] * design[:, None, :] * (share * (1 - share))[:, None, None])
    try:
        moved = np.linalg.solve(bend.sum(axis=0) - bend, slope[:, :, None])[:, :, 0]  # (S, P)
    except np.linalg.LinAlgError:
        raise ScoreError("an odds ratio needs more than one subject at every level") from None
    return (clusters.count - 1) / clusters.count * moved.T @ moved
