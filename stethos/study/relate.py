"""How the outputs of a model move with what an echocardiogram measured.

A model taught labels alone has not seen the measurements, so an output that follows one has found more than the class.
Three questions are asked of every pair: is there a rank correlation; is it there beyond age, sex and heart
rate; and, of the label that a measurement defines, is it there among those without the label, where it cannot be the
separation of two classes. Adjusted p values are Benjamini and Hochberg's over all pairs of the split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.association import Association, associate, benjamini_hochberg
from stethos.metrics.clusters import Clusters
from stethos.metrics.trend import Trend, clustered_mean, jonckheere
from stethos.study.measurements import MEASUREMENTS, Measurement
from stethos.types import Estimate, Predictions

ADJUST = ("age", "sex", "ecg_heart_rate")
FEWEST = 20  # known values
TENTHS = 10
IN_A_GROUP = 15  # subjects, at least


@dataclass(frozen=True)
class Relation:
    """A measurement and an output.

    Args:
        found: Rank correlations with their intervals.
        q: p adjusted over all pairs of the split.
        partial_q: Likewise of the partial correlation.
    """

    found: Association
    q: float
    partial_q: float


@dataclass(frozen=True)
class Own:
    """A measurement and the output of the label that it defines.

    Args:
        label: That label.
        within: Correlation among the rows without the label; None where there are too few.
        means: Mean measurement by group of the output, from the lowest to the highest.
        trend: Over groups of subjects, each its mean output and mean measurement; None of one group.
    """

    label: str
    within: Association | None
    means: Sequence[Estimate]
    trend: Trend | None


@dataclass(frozen=True, eq=False)
class Related:
    """Every measurement against every output of one split.

    Args:
        split: Its name.
        measurements: Those that were related.
        names: Labels, one an output.
        relations: Column and label → relation.
        own: Column → what there is about the label that it defines.
        left_out: Column → why it was not related, or a covariate → why it was not adjusted for.
        adjusted: Covariates of the partial correlations.
    """

    split: str
    measurements: Sequence[Measurement]
    names: Sequence[str]
    relations: Mapping[tuple[str, str], Relation]
    own: Mapping[str, Own]
    left_out: Mapping[str, str]
    adjusted: Sequence[str]


def relate(
    said: Predictions,
    split: str,
    measurements: Sequence[Measurement] = MEASUREMENTS,
    adjust: Sequence[str] = ADJUST,
    draws: int = 1000,
    seed: int = 0,
) -> Related:
    """Every measurement against every output, with intervals of drawing subjects.

    Args:
        said: Predictions whose facts hold the measurements, one row a record; rows without a score are left out.
        split: Which rows.
        measurements: Those with fewer than 20 known values are left out and named.
        adjust: Covariates of the partial correlations: numbers, or "sex"; those that are not known are named.
        draws: Number of resamples.
        seed: Of the draws.
    """
    part = said.part(split)
    part = part.take(np.isfinite(part.score).all(axis=1))
    columns = {name: _numbers(part, name) for name in adjust}
    given = [name for name, column in columns.items() if len(np.unique(column[np.isfinite(column)])) > 1]
    left_out = dict.fromkeys(sorted(set(adjust) - set(given)), "not adjusted for: unknown, or the same for all")
    held = np.column_stack([np.empty((len(part), 0)), *(columns[name] for name in given)])
    found: dict[tuple[str, str], Association] = {}
    own: dict[str, Own] = {}
    for item in measurements:
        try:
            each = _related(part, item, held, draws, seed)
        except ScoreError as error:
            left_out[item.column] = str(error)
            continue
        found |= {(item.column, label): one for label, one in each.items()}
        if label := item.own(part.names):
            within = _within(part, item, held, draws, seed)
            own[item.column] = Own(label, within, *_rise(part, item, label))
    kept = [item for item in measurements if item.column not in left_out]
    return Related(split, kept, part.names, _adjusted(found), own, left_out, given)


def numbers(related: Related) -> dict[str, Estimate]:
    """Correlations of every measurement with the output of its own label, by dotted name."""
    found: dict[str, Estimate] = {}
    for column, own in related.own.items():
        relation = related.relations.get((column, own.label))
        if relation:
            found[f"relate.{column}.rho"] = relation.found.rho
            found[f"relate.{column}.partial.rho"] = relation.found.partial
        if own.within:
            found[f"relate.{column}.within_negatives.rho"] = own.within.rho
            found[f"relate.{column}.within_negatives.partial.rho"] = own.within.partial
    return found


def _numbers(part: Predictions, name: str) -> np.ndarray:
    """A fact as numbers, NaN where it is unknown or words; sex is 1 for "M" and 0 for "F", `(N,)`."""
    column = part.facts.get(name, np.empty(0))
    if name == "sex" and column.dtype.kind in "OUS":
        return np.array([{"M": 1.0, "F": 0.0}.get(str(item).upper()[:1], np.nan) for item in column])
    if column.dtype.kind not in "fiub" or not len(column):
        return np.full(len(part), np.nan)
    return np.where(np.isfinite(column), column, np.nan)


def _related(part: Predictions, item: Measurement, held: np.ndarray, draws: int, seed: int) -> dict[str, Association]:
    """Label → correlation, of the outputs that differ.

    Raises:
        ScoreError: Fewer than 20 values are known, or they have no correlation.
    """
    value = _numbers(part, item.column)
    known = np.isfinite(value)
    if known.sum() < FEWEST:
        raise ScoreError(f"known of {known.sum()} records; needs {FEWEST}")
    names = [label for label, score in zip(part.names, part.score[known].T, strict=True) if np.ptp(score) > 0]
    scores = part.score[:, [part.names.index(label) for label in names]]
    return dict(zip(names, associate(value, scores, part.subject, held, draws, seed), strict=True))


def _within(part: Predictions, item: Measurement, held: np.ndarray, draws: int, seed: int) -> Association | None:
    """The correlation with the output of its own label among the rows known to be without that label."""
    place = part.names.index(str(item.own(part.names)))
    without = part.truth[:, place] == 0
    alone = replace(part, score=part.score[:, [place]], truth=part.truth[:, [place]], names=(part.names[place],)).take(
        without
    )
    try:
        return _related(alone, item, held[without], draws, seed).get(part.names[place])
    except ScoreError:
        return None


def _rise(part: Predictions, item: Measurement, label: str) -> tuple[list[Estimate], Trend | None]:
    """Means of the measurement by group of the output over rows, and the trend over subjects."""
    value = _numbers(part, item.column)
    known = np.isfinite(value)
    value, subject, score = value[known], part.subject[known], part.score[known, part.names.index(label)]
    clusters = Clusters.of(subject)
    groups = min(TENTHS, max(2, clusters.count // IN_A_GROUP))
    group = _grouped(score, groups)
    means = [clustered_mean(value[group == place], subject[group == place]) for place in range(group.max() + 1)]
    rows = clusters.total(np.ones(len(value)))
    try:
        return means, jonckheere(clusters.total(value) / rows, _grouped(clusters.total(score) / rows, groups))
    except ScoreError:
        return means, None


def _grouped(score: np.ndarray, groups: int) -> np.ndarray:
    """Number of the group, from 0, of about equally many rows each; equal scores stay together, `(N,)`."""
    edges = np.quantile(score, np.arange(1, groups) / groups)
    return np.unique(np.searchsorted(edges, score, "right"), return_inverse=True)[1]


def _adjusted(found: Mapping[tuple[str, str], Association]) -> dict[tuple[str, str], Relation]:
    """Relations with their p values adjusted over all pairs."""
    plain, partial = (
        benjamini_hochberg(np.array([getattr(item, name) for item in found.values()])) for name in ("p", "partial_p")
    )
    return {
        pair: Relation(item, float(q), float(partial_q))
        for (pair, item), q, partial_q in zip(found.items(), plain, partial, strict=True)
    }
