"""Every number of a finished run, from nothing but its files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.compare import Difference
from stethos.study.classical import FEATURES, waves_control
from stethos.study.controls import vitals_control
from stethos.study.validate import (
    Operate,
    agreement_with_truth,
    area,
    control_numbers,
    differences,
    has_both,
    known,
    measured,
    recalibrated,
    tested,
    threshold_of,
    validate,
)
from stethos.types import Estimate, Predictions, Run


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a report is written from: nothing but files of the run.

    Args:
        run: Where they lie.
        said: Predictions, the mean logit over seeds.
        again: The same, recalibrated on the validation part; None where that part does not allow it.
        each: Predictions of every seed.
        controls: Predictions of every control.
        numbers: Dotted name → estimate.
        against: "control.split" → difference in AUROC, model minus control.
        operate: How the operating point was chosen.
        threshold: Operating point, logit.
    """

    run: Run
    said: Predictions
    again: Predictions | None
    each: Predictions
    controls: Mapping[str, Predictions]
    numbers: Mapping[str, Estimate]
    against: Mapping[str, Difference]
    operate: Operate
    threshold: float

    @property
    def splits(self) -> list[str]:
        """Tested parts that hold both classes."""
        return [split for split in tested(self.said) if f"{split}.auroc" in self.numbers]


def gather(run: Run, said: Predictions, each: Predictions, operate: Operate) -> Evidence:
    """Every number of a binary target, from the predictions of the model and of its controls."""
    rivals = {"vitals": vitals_control(said)}
    if any(name in said.facts for name in FEATURES[1:]):
        rivals["waves"] = waves_control(said)
    for path in sorted(run.private.glob("control-*.npz")):
        rivals[path.stem.removeprefix("control-")] = Predictions.load(path).mean_over_seeds()
    against = differences(said, rivals)
    numbers = validate(said, operate) | control_numbers(rivals)
    numbers |= {f"difference.{name}.auroc": item.estimate for name, item in against.items()}
    numbers |= {f"{split}.auroc.seed_sd": spread for split, spread in seed_spread(each).items()}
    again = refitted_on_valid(said)
    after = _agreement(again) if again else {}
    numbers |= {name.replace(".calibration.", ".recalibrated."): item for name, item in after.items()}
    return Evidence(run, said, again, each, rivals, numbers, against, operate, threshold_of(said, operate))


def _agreement(said: Predictions) -> dict[str, Estimate]:
    """Calibration of every tested split that holds both classes, by dotted name."""
    parts = {split: known(said, split) for split in tested(said)}
    return {
        f"{split}.{name}": item
        for split, part in parts.items()
        if has_both(part)
        for name, item in agreement_with_truth(part).items()
    }


def refitted_on_valid(said: Predictions) -> Predictions | None:
    """Recalibrated logits; None, and the reason in the log, where the validation part cannot be fitted."""
    try:
        return recalibrated(said)
    except ScoreError as error:
        logging.getLogger("stethos").warning("not recalibrated: %s", error)
        return None


def seed_spread(each: Predictions) -> dict[str, Estimate]:
    """Standard deviation of the AUROC over training seeds, with the lowest and the highest AUROC as its ends."""
    found = {}
    for split in tested(each):
        part = known(each, split)
        seeds = np.unique(part.seed)
        if len(seeds) > 1 and has_both(part):
            areas = [
                measured(partial(area, item), item).value for item in (part.take(part.seed == seed) for seed in seeds)
            ]
            subjects = len(np.unique(part.subject))
            found[split] = Estimate(float(np.std(areas, ddof=1)), min(areas), max(areas), subjects)
    return found
