"""What the scores, rules and baselines of anomalous sound are called in a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from stethos.metrics.dcase import Evaluation
from stethos.study.sound_evidence import Detection
from stethos.types import Estimate

SCORES = {
    "official": "official",
    "mean.auc": "AUC",
    "mean.pauc": "pAUC",
    "pooled.auc": "pooled AUC",
    "pooled.pauc": "pooled pAUC",
    "mauc": "mAUC",
}
OFFICIAL = {
    2020: "mean of AUC and pAUC, each the mean over identities, then machines",
    2021: "harmonic mean of AUC and pAUC over machine, identity and domain",
    2022: "harmonic mean of AUC (source), AUC (target) and pAUC over machine and identity",
}
CURVES = 4  # with bands or bars, that one panel can hold
_BASELINES = {"nearest": "nearest mean spectrum", "twfr_gmm": "TWFR-GMM", "autoencoder": "autoencoder"}


def baseline(name: str) -> str:
    """What a baseline is called; any other name stays."""
    return _BASELINES.get(name, name)


def systems(found: Detection) -> dict[str, Evaluation]:
    """The model and every baseline, by what they are called."""
    return {"model": found.model} | {baseline(name): item for name, item in found.of_kind("baseline").items()}


def figures(title: str, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Names spread evenly over as few figures as can show them, each figure with its title.

    Args:
        title: Of them all.
        names: Of what is drawn, a curve each.
    """
    count = -(-len(names) // CURVES)
    for number, part in enumerate(np.array_split(np.array(names), count) if count else (), start=1):
        yield title + (f" ({number} of {count})" if count > 1 else ""), part.tolist()


def labelled(numbers: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Scores by what they are called, in order; other numbers are left out.

    Args:
        numbers: By their names in metrics.json.
    """
    return {label: numbers[name] for name, label in SCORES.items() if name in numbers}
