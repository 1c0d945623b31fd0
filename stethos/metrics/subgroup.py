"""The same number in parts of the cohort; a part too small for a number is listed with the reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import known
from stethos.metrics.interval import clustered_auroc
from stethos.types import Estimate

UNKNOWN = "unknown"
_LEAST = 5


@dataclass(frozen=True)
class Subgroup:
    """AUROC in one part of the cohort.

    Args:
        name: Level of the grouping.
        rows: Rows with a known truth.
        subjects: Subjects they come from.
        auroc: None where there is a reason not to state it.
        reason: Why there is none; "" where there is one.
    """

    name: str
    rows: int
    subjects: int
    auroc: Estimate | None
    reason: str = ""


def by_group(
    truth: np.ndarray, score: np.ndarray, subject: np.ndarray, group: np.ndarray, least: int = _LEAST
) -> list[Subgroup]:
    """AUROC in every level of a grouping, in the order of the numbers in their names, unknown last.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`.
        subject: Subject of each row, `(N,)`.
        group: Level of each row; None, NaN and "" are unknown, `(N,)`.
        least: Subjects with and without the event below which no number is stated.
    """
    label = np.array([UNKNOWN if _missing(level) else str(level) for level in np.asarray(group).tolist()])
    truth, score, subject, label = known(truth, score, subject, label)
    levels = sorted(set(label.tolist()), key=_natural)
    parts = [(name, label == name) for name in levels]
    return [_one(name, truth[rows], score[rows], subject[rows], least) for name, rows in parts]


def _one(name: str, truth: np.ndarray, score: np.ndarray, subject: np.ndarray, least: int) -> Subgroup:
    counts = [len(np.unique(subject[truth == kind])) for kind in (1, 0)]
    size = len(truth), len(np.unique(subject))
    if min(counts) < least:
        reason = f"{counts[0]} subjects with the event and {counts[1]} without; needs {least} of each"
        return Subgroup(name, *size, None, reason)
    return Subgroup(name, *size, clustered_auroc(truth, score, subject))


def _missing(level: object) -> bool:
    return level is None or level == "" or (isinstance(level, float) and np.isnan(level))


def _natural(name: str) -> tuple[bool, float, bool, str]:
    number = re.search(r"\d+(?:\.\d+)?", name)
    return name == UNKNOWN, float(number[0]) if number else -np.inf, name[:1].isdigit(), name


def bands(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Names of the bands that values fall into, such as "< 40", "40 to < 65", "≥ 65" and "unknown".

    Args:
        values: NaN unknown, `(N,)`.
        edges: Lower ends of all bands but the first, rising.

    Returns:
        Text, `(N,)`.

    Raises:
        ScoreError: No edges, or they do not rise.
    """
    if not len(edges) or np.any(np.diff(edges) <= 0):
        raise ScoreError(f"bands need at least one edge, in rising order; got {list(edges)}")
    between = [f"{low:g} to < {high:g}" for low, high in pairwise(edges)]
    names = np.array([f"< {edges[0]:g}", *between, f"≥ {edges[-1]:g}", UNKNOWN])
    value = np.asarray(values, dtype=np.float64)
    return names[np.where(np.isnan(value), len(names) - 1, np.searchsorted(edges, value, "right"))]
