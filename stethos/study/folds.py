"""Grouped cross-validation: every record tested once, by a model that never met its subject."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stethos.errors import SplitError
from stethos.study.missing import is_missing
from stethos.study.partition import Partition
from stethos.types import Cohort, refuse_overlap


def quarters(cohort: Cohort, count: int, column: str = "", seed: int = 0) -> np.ndarray:
    """The fold of every record, `(N,)`, 0 to count − 1; a subject is in one fold only.

    Args:
        cohort: At least `count` subjects.
        count: Number of folds.
        column: A column of published fold numbers, whose sorted values are grouped in `count` equal runs
            (1–8 in four: 1 2 | 3 4 | 5 6 | 7 8); empty to shuffle the subjects.
        seed: Of that shuffle.

    Raises:
        SplitError: The published folds share subjects, or do not divide into `count`.
    """
    people = len(np.unique(cohort.subjects))
    if not 2 <= count <= people:
        raise SplitError(f"folds must be at least 2 and at most the number of subjects, {people}; got {count}")
    if not column:
        shares = [1 / count] * count
        ids = [set(part.rows["id"]) for part in cohort.split_by_group(shares, seed=seed)]
        return np.array([next(k for k, part in enumerate(ids) if item in part) for item in cohort.rows["id"]])
    published = cohort.column(column)
    unknown = int(is_missing(published).sum())
    if unknown:
        raise SplitError(f"every record needs a fold; {unknown} have none in the column {column}")
    values, position = np.unique(published, return_inverse=True)
    if len(values) % count:
        raise SplitError(f"{count} folds need a multiple of {count} values in {column}; it has {len(values)}")
    fold = position // (len(values) // count)
    refuse_overlap(**{f"fold {k}": cohort.take(fold == k) for k in range(count)})
    return fold


def rotations(cohort: Cohort, fold: np.ndarray, plan: Partition) -> Iterator[dict[str, Cohort]]:
    """For every fold: {"train", "valid", "internal"}, validation taken from the training side only."""
    for k in range(int(fold.max()) + 1):
        rest = cohort.take(fold != k)
        valid, train = rest.split_by_group((plan.valid_fraction, 1 - plan.valid_fraction), seed=plan.split_seed)
        yield {"train": train, "valid": valid, "internal": cohort.take(fold == k)}
