"""What a pretraining is worth where few labels are known: the same subjects, the same steps, two beginnings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from stethos.study.ensemble import scorer
from stethos.study.lead import joined
from stethos.study.several import Case, several_scored
from stethos.study.stratify import stratified_share
from stethos.types import Predictions

Fit = Callable[[np.ndarray, int, str], nn.Module]
"""Training rows, a seed and the name of the stage → a fitted network with `score`."""


def with_few_labels(
    case: Case, rows: Mapping[str, np.ndarray], fraction: float, seeds: range, arms: Mapping[str, Fit]
) -> Iterator[tuple[str, Predictions]]:
    """Draw a share of the labelled subjects once a seed, fit every arm on it, and score all parts.

    Labels that some draw could not serve with enough subjects are unknown in what is returned, for all draws.

    Args:
        case: Records, labels, windows.
        rows: Row numbers of every part; the share is of "train".
        fraction: Share of the training subjects, in (0, 1].
        seeds: One a draw.
        arms: How each arm is fitted.

    Returns:
        Name of a file and what it holds, one an arm.
    """
    train = case.seen(rows["train"])
    subject, truth = case.told.cohort.subjects[train], case.told.truth[train]
    found: dict[str, list[Predictions]] = {arm: [] for arm in arms}
    kept = []
    for number, seed in enumerate(seeds):
        share = stratified_share(subject, truth, fraction, seed)
        kept.append(share.kept)
        used = {**rows, "train": train[np.isin(subject, share.subjects)]}
        for arm, fitted in arms.items():
            model = fitted(used["train"], seed, f"label-{fraction:g}-{number}-{arm}")
            found[arm].append(several_scored(case, used, scorer(model.score), number))  # type: ignore[arg-type]
    for arm, each in found.items():
        said = joined(each)
        yield f"label-{fraction:g}-{arm}", replace(said, truth=np.where(np.all(kept, axis=0), said.truth, np.nan))
