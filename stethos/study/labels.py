"""How many labelled subjects a model needs: the same protocol on nested shares of the training subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stethos.errors import SplitError
from stethos.metrics.clusters import Clusters
from stethos.metrics.interval import resampled
from stethos.metrics.resample import of_auroc
from stethos.report.table import Cell, Table
from stethos.study.validate import DRAWS, area, known, measured, tested
from stethos.types import Estimate, Predictions

FitAndScore = Callable[[np.ndarray, int], Predictions]
"""Training subjects `(S,)` and a seed → what the model fitted on them says of the tested splits."""


@dataclass(frozen=True)
class LabelPoint:
    """What a share of the training subjects gives.

    Args:
        fraction: The share.
        subjects: How many subjects that is.
        events: How many of them have the event in any row, one number a seed.
        auroc: Split → mean over seeds; the interval is over tested subjects.
        seed_sd: Split → standard deviation of the AUROC over seeds, which draw other subjects; NaN with one seed.
    """

    fraction: float
    subjects: int
    events: tuple[int, ...]
    auroc: Mapping[str, Estimate]
    seed_sd: Mapping[str, float]


def nested_fractions(subjects: np.ndarray, fractions: Sequence[float], seed: int) -> dict[float, np.ndarray]:
    """Shares of the subjects, each within the next larger one.

    Args:
        subjects: With or without repeats.
        fractions: In (0, 1].
        seed: Of the order in which subjects are taken.

    Returns:
        Fraction → subjects, at least one; the same whatever other fractions are asked for.

    Raises:
        SplitError: A fraction is outside (0, 1].
    """
    wrong = [fraction for fraction in fractions if not 0 < fraction <= 1]
    if wrong or not len(fractions):
        raise SplitError(f"label fractions must be above 0 and at most 1; got {wrong or 'none'}")
    order = np.random.default_rng(seed).permutation(np.unique(subjects))
    return {fraction: order[: max(1, round(fraction * len(order)))] for fraction in sorted(fractions)}


def label_efficiency(
    fit_and_score: FitAndScore,
    subject: np.ndarray,
    truth: np.ndarray,
    fractions: Sequence[float],
    seeds: Sequence[int],
) -> tuple[LabelPoint, ...]:
    """Fit on nested shares of the training subjects with every seed, score the same tested splits each time.

    Args:
        fit_and_score: The whole protocol but the choice of subjects; what it chooses, it chooses on the same
            validation part every time.
        subject: Subject of each training row, `(N,)`.
        truth: Target of each training row, `(N,)`.
        fractions: In (0, 1].
        seeds: Each draws its own nested subjects and its own weights.

    Raises:
        SplitError: A fraction is outside (0, 1].
    """
    sick = np.unique(np.asarray(subject)[np.asarray(truth) == 1])
    drawn = {seed: nested_fractions(subject, fractions, seed) for seed in seeds}
    found = []
    for fraction in sorted(fractions):
        chosen = {seed: shares[fraction] for seed, shares in drawn.items()}
        said = [fit_and_score(people, seed) for seed, people in chosen.items()]
        events = tuple(int(np.isin(people, sick).sum()) for people in chosen.values())
        parts = {split: [_ordered(known(one, split)) for one in said] for split in tested(said[0])}
        mean = {split: mean_auroc(each) for split, each in parts.items()}
        spread = {split: seed_sd(each) for split, each in parts.items()}
        found.append(LabelPoint(fraction, len(next(iter(chosen.values()))), events, mean, spread))
    return tuple(found)


def _ordered(part: Predictions) -> Predictions:
    return part.take(np.lexsort((part.record, part.subject)))


def mean_auroc(parts: Sequence[Predictions]) -> Estimate:
    """Mean of the AUROCs of several fits on the same tested rows; the interval is over their subjects.

    How much the fits themselves differ is no part of the interval: `seed_sd` says that.

    Args:
        parts: The same rows in the same order, other scores.

    Raises:
        SplitError: The rows differ.
    """
    first = parts[0]
    if any(not np.array_equal(first.record, part.record) for part in parts):
        raise SplitError("fits can only be averaged on the same tested records; these were scored on different ones")
    if len(parts) == 1:
        return measured(lambda: area(first), first)
    clusters, event = Clusters.of(first.subject), first.truth[:, 0] == 1
    each = [of_auroc(event, part.score[:, 0], clusters) for part in parts]

    def mean(times: np.ndarray) -> np.ndarray:
        return np.mean([one(times) for one in each], axis=0)  # (D, 1)

    return measured(lambda: resampled(mean, clusters, clusters.with_any(event), DRAWS, 0.95, 0)[0], first)


def seed_sd(parts: Sequence[Predictions]) -> float:
    """Standard deviation of the AUROC over several fits; NaN for one."""
    if len(parts) < 2:
        return float("nan")
    return float(np.std([measured(lambda part=part: area(part), part).value for part in parts], ddof=1))  # type: ignore[misc]


def label_table(points: Sequence[LabelPoint]) -> Table:
    """One line a fraction and split."""
    rows: list[list[Cell]] = []
    for point in points:
        low, high = min(point.events), max(point.events)
        events = f"{low}" if low == high else f"{low} to {high}"
        for split, value in point.auroc.items():
            rows.append([f"{point.fraction:g}", point.subjects, events, split, value, point.seed_sd[split]])
    columns = ("fraction", "training subjects", "with the event", "part", "AUROC, mean over seeds", "SD over seeds")
    note = "Each seed takes its own subjects, a smaller share within the larger; intervals are over tested subjects."
    return Table(columns, rows, "Label efficiency", note)
