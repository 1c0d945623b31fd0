"""Every number of a finished study of several labels, from nothing but its files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.compare import Difference
from stethos.metrics.interval import bootstrap
from stethos.metrics.macro import macro_auroc, macro_over_fits, paired_macro, usable
from stethos.metrics.ranking import average_precision
from stethos.study import controls
from stethos.study.classical import FEATURES, waves_control
from stethos.study.controls import vitals_control
from stethos.study.several import label
from stethos.study.several_parts import ZERO_SHOT, thresholds
from stethos.study.validate import Operate, agreement_with_truth, area, at_point, known, measured, operating, tested
from stethos.types import Estimate, Predictions, Run

AP_DRAWS = 300
ARMS = ("pretrained", "scratch")


@dataclass(frozen=True, eq=False)
class SeveralEvidence:
    """What a report of several labels is written from.

    Args:
        run: Where the files lie.
        said: Predictions of all labels, the mean logit over seeds.
        controls: Predictions of every control.
        numbers: Dotted name → estimate.
        against: "control.split" → difference in macro AUROC, model minus control.
        points: Operating point of every label, logit; None for none.
        zero: What prompts said, by the pretraining; None where there was none.
        shares: Share of labelled subjects → arm → predictions of every draw.
    """

    run: Run
    said: Predictions
    controls: Mapping[str, Predictions]
    numbers: Mapping[str, Estimate]
    against: Mapping[str, Difference]
    points: Sequence[float | None]
    zero: Predictions | None
    shares: Mapping[str, Mapping[str, Predictions]]

    @property
    def splits(self) -> list[str]:
        """Tested parts with a label that has enough subjects with and without."""
        return [split for split in tested(self.said) if f"{split}.macro_auroc" in self.numbers]


def gather_several(run: Run, operate: Operate, zero: Predictions | None = None) -> SeveralEvidence:
    """Every number of the labels, from the predictions of the model, its controls, its prompts and its label shares."""
    said = Predictions.load(run.predictions).mean_over_seeds()
    rivals = {"vitals": _each(said, vitals_control)}
    if any(name in said.facts for name in FEATURES[1:]):
        rivals["waves"] = _each(said, waves_control)
    for path in sorted(run.private.glob("control-*.npz")):
        rivals[path.stem.removeprefix("control-")] = Predictions.load(path).mean_over_seeds()
    points = thresholds(said, operate)
    numbers: dict[str, Estimate] = {}
    against: dict[str, Difference] = {}
    for split in tested(said):
        numbers |= _of_split(said, split, points)
        for name, rival in rivals.items():
            numbers |= {f"control.{name}.{split}.{key}": item for key, item in _macro(rival, split, said).items()}
            if (found := _compared(said, rival, split)) is not None:
                against[f"{name}.{split}"] = found
                numbers[f"difference.{name}.{split}.macro_auroc"] = found.estimate
    numbers |= {} if zero is None else zero_numbers(zero)
    shares = shares_of(run)
    numbers |= share_numbers(shares)
    return SeveralEvidence(run, said, rivals, numbers, against, points, zero, shares)


def _each(said: Predictions, control: Callable[..., Predictions]) -> Predictions:
    """A control of one label, fitted for every label with enough training subjects of both kinds; 0 for the others.

    Penalties are a factor of 30 apart, for there are many labels.
    """
    columns, strengths = [], controls.STRENGTHS[::3]
    for number, enough in enumerate(learnable(said, "train")):
        one = control(label(said, number), strengths=strengths).score[:, 0] if enough else np.zeros(len(said))
        columns.append(one)
    return replace(said, score=np.stack(columns, axis=1))


def learnable(said: Predictions, split: str) -> np.ndarray:
    """Labels that have enough subjects with and without in a part, `(K,)` bool."""
    part = said.part(split)
    return usable(part.truth, part.subject)


def numbers_of(said: Predictions, split: str) -> list[int]:
    """Numbers of those labels."""
    return [int(number) for number in np.flatnonzero(learnable(said, split))]


def _of_split(said: Predictions, split: str, points: Sequence[float | None]) -> dict[str, Estimate]:
    """Per label: AUROC, average precision, operating point, calibration; and the macro AUROC."""
    found: dict[str, Estimate] = {f"{split}.{key}": item for key, item in _macro(said, split, said).items()}
    for number in numbers_of(said, split):
        part, name = known(label(said, number), split), f"{split}.{said.names[number]}"
        found[f"{name}.auroc"] = measured(lambda part=part: area(part), part)  # type: ignore[misc]
        found[f"{name}.ap"] = measured(lambda part=part: _precision(part), part)  # type: ignore[misc]
        point = points[number]
        if point is not None:
            found |= {f"{name}.{key}": item for key, item in at_point(operating(part, point)).items()}
        found |= {f"{name}.{key}": item for key, item in agreement_with_truth(part).items()}
    return found


def _precision(part: Predictions) -> Estimate:
    return bootstrap(average_precision, part.subject, part.truth[:, 0], part.score[:, 0], draws=AP_DRAWS)


def _macro(said: Predictions, split: str, like: Predictions) -> dict[str, Estimate]:
    """Macro AUROC over the labels that have enough subjects in the part; nothing where none has."""
    kept, part = learnable(like, split), said.part(split)
    if not kept.any():
        return {}
    try:
        return {"macro_auroc": macro_auroc(part.truth[:, kept], part.score[:, kept], part.subject)}
    except ScoreError as error:
        logging.getLogger("stethos").warning("macro AUROC not estimated on %s: %s", split, error)
        return {}


def _compared(said: Predictions, rival: Predictions, split: str) -> Difference | None:
    kept, part, other = learnable(said, split), said.part(split), rival.part(split)
    if not kept.any():
        return None
    return paired_macro(part.truth[:, kept], part.score[:, kept], other.score[:, kept], part.subject)


def zero_numbers(zero: Predictions) -> dict[str, Estimate]:
    """Macro AUROC of prompts on every part, and per label on the last tested one, under `zeroshot.`."""
    found: dict[str, Estimate] = {}
    for split in tested(zero):
        found |= {f"zeroshot.{split}.{key}": item for key, item in _macro(zero, split, zero).items()}
        for number in numbers_of(zero, split):
            part = known(label(zero, number), split)
            found[f"zeroshot.{split}.{zero.names[number]}.auroc"] = measured(lambda part=part: area(part), part)  # type: ignore[misc]
    last = tested(zero)[-1]
    if f"zeroshot.{last}.macro_auroc" in found:
        found["zeroshot.macro_auroc"] = found[f"zeroshot.{last}.macro_auroc"]
    return found


def read_zero_shot(run: Run) -> Predictions | None:
    """What prompts said of records, by a run of `pretrain`; None where they were not asked."""
    path = run.private / ZERO_SHOT
    return Predictions.load(path) if path.is_file() else None


def shares_of(run: Run) -> dict[str, dict[str, Predictions]]:
    """Share, such as "0.01" → arm → what its networks said, one seed a draw."""
    found: dict[str, dict[str, Predictions]] = {}
    for path in sorted(run.private.glob("label-*-*.npz")):
        _, fraction, arm = path.stem.split("-")
        found.setdefault(fraction, {})[arm] = Predictions.load(path)
    return found


def share_numbers(shares: Mapping[str, Mapping[str, Predictions]]) -> dict[str, Estimate]:
    """Macro AUROC of both arms, mean over draws, and the paired difference, on the last tested part and on each."""
    found: dict[str, Estimate] = {}
    for fraction, arms in shares.items():
        name = f"labels_{100 * float(fraction):g}pct"
        for split in tested(next(iter(arms.values()))):
            stacks = {arm: stack for arm, said in arms.items() if (stack := _stacked(said, split)) is not None}
            for key, item in _of_arms(stacks):
                found[f"{name}.{split}.{key}"] = found[f"{name}.{key}"] = item
    return found


_Stack = tuple[np.ndarray, np.ndarray, np.ndarray]


def _stacked(said: Predictions, split: str) -> _Stack | None:
    """Truth `(N, K)`, scores of every draw `(R, N, K)` and subjects of a part, of the labels that can be told."""
    each = [_ordered(said.take((said.seed == seed) & (said.split == split))) for seed in np.unique(said.seed)]
    kept = usable(each[0].truth, each[0].subject)
    if not kept.any():
        return None
    return each[0].truth[:, kept], np.stack([item.score[:, kept] for item in each]), each[0].subject


def _ordered(part: Predictions) -> Predictions:
    return part.take(np.argsort(part.record, kind="stable"))


def _of_arms(stacks: Mapping[str, _Stack]) -> Iterator[tuple[str, Estimate]]:
    for arm, (truth, score, subject) in stacks.items():
        yield f"{arm}.macro_auroc", macro_over_fits(truth, score, subject)
    if len(stacks) == len(ARMS):
        truth, first, subject = stacks["pretrained"]
        yield "difference", paired_macro(truth, first, stacks["scratch"][1], subject).estimate
