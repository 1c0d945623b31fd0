"""A pretrained encoder beside its controls: the numbers of every arm, and paired differences on the same recordings.

An arm is what was fitted and tested in one way: the pretrained encoder frozen (`pretrained`), fused with a network on
the shape (`fused`), the same encoder never trained (`untrained`) or trained on the tasks alone (`scratch`), the
network on the shape alone (`raw_only`), a classical model (`classical`), the mean (`mean`), and other pretrainings,
such as with strangers' records (`shuffled`) or with none (`no_anchor`).

    <task>.<arm>.<part>.<metric>           with its interval over subjects; without <part>, of the first tested part
    <task>.<own>.<part>.minus_<arm>        own minus arm: AUROC, higher is better; or MAE, lower is better
    record.<task>.<part>.minus_<rival>     how much better the own records make it; above 0 they help, whatever the task

Intervals draw subjects, the same for both sides of a difference. An arm may have been trained from several seeds: then
its number is the mean over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stethos.errors import RunError, ScoreError
from stethos.metrics import resample
from stethos.metrics.clusters import Clusters
from stethos.study.validate import sigmoid, tested
from stethos.types import Estimate, Predictions

ORDER = ("pretrained", "fused", "untrained", "scratch", "raw_only", "classical", "mean")
WORDS: Mapping[str, str] = {
    "pretrained": "pretrained, frozen, linear probe",
    "fused": "pretrained and frozen, fused with the shape",
    "untrained": "the same encoder at random, same probe",
    "scratch": "the same encoder trained on the tasks alone",
    "raw_only": "the network on the shape alone",
    "classical": "classical model on measured features",
    "mean": "always the training mean",
    "shuffled": "pretrained with strangers' records",
    "no_anchor": "pretrained without records",
    "no_restore": "pretrained without restoring",
    "no_stay": "pretrained without the two passes",
    "vitals_only": "pretrained with vital signs alone",
}
RIVALS = ("shuffled", "no_anchor", "vitals_only")
PRESSURES = ("sbp", "dbp")
UNITS: Mapping[str, str] = {"hr": "1/min", "resp_rate": "1/min", "sbp": "mmHg", "dbp": "mmHg"}
TASKS: Mapping[str, str] = {
    "af": "atrial fibrillation",
    "hr": "heart rate",
    "resp_rate": "respiratory rate",
    "sbp": "systolic pressure, estimated",
    "dbp": "diastolic pressure, estimated",
}
DRAWS = 1000
LEVEL = 0.95
_LIMIT = 1.959964  # standard deviations to each side hold 95 %
_FEWEST = 5  # subjects, with and without the event

Arms = Mapping[str, Sequence[Predictions]]


@dataclass(frozen=True, eq=False)
class Common:
    """What all arms say of one task of one part, on the same recordings.

    Args:
        truth: `(N,)`.
        said: Arm → `(seeds, N)`.
        clusters: Subjects.
        graded: Whether the task is measured.
    """

    truth: np.ndarray
    said: Mapping[str, np.ndarray]
    clusters: Clusters
    graded: bool

    @property
    def metric(self) -> str:
        """That by which arms are compared."""
        return "mae" if self.graded else "auroc"


def common(arms: Arms, task: int, part: str) -> Common | None:
    """One task of one part; None where too few subjects are known.

    Raises:
        RunError: The arms were not tested on the same recordings.
    """
    first = next(iter(arms.values()))[0]
    rows = first.split == part
    for name, each in arms.items():
        for said in each:
            if not np.array_equal(said.record[said.split == part], first.record[rows]):
                raise RunError(f"the arm {name} was not tested on the recordings of the others in {part}; run it again")
    truth = first.truth[rows, task]
    known = np.isfinite(truth)
    truth, subject = truth[known], first.subject[rows][known]
    everywhere = first.truth[:, task]
    graded = not np.isin(everywhere[np.isfinite(everywhere)], (0, 1)).all()
    kinds = [subject] if graded else [subject[truth == kind] for kind in (0, 1)]
    if any(len(np.unique(kind)) < _FEWEST for kind in kinds):
        return None
    scores = {name: np.stack([s.score[s.split == part, task][known] for s in each]) for name, each in arms.items()}
    return Common(truth, scores, Clusters.of(subject), graded)


def arm_numbers(arms: Arms, own: str = "pretrained", seed: int = 0) -> dict[str, Estimate]:
    """Every number of every task, part and arm, by the names above.

    Args:
        arms: Name → predictions, one a seed; all of the same recordings.
        own: The arm that the others are compared with.
        seed: Of the draws.
    """
    first = next(iter(arms.values()))[0]
    numbers: dict[str, Estimate] = {}
    for number, task in enumerate(first.names):
        for part in tested(first):
            held = common(arms, number, part)
            if held is not None:
                numbers |= _of_part(held, task, part, own, seed)
    return numbers | _headlines(numbers, first)


def _of_part(held: Common, task: str, part: str, own: str, seed: int) -> dict[str, Estimate]:
    drawn = {name: _drawn(held, name, seed) for name in held.said}
    numbers: dict[str, Estimate] = {}
    for name, found in drawn.items():
        numbers |= {f"{task}.{name}.{part}.{metric}": _estimate(held, *pair) for metric, pair in found.items()}
    for base in dict.fromkeys((own, "fused")):
        for name in drawn:
            if base in drawn and name != base:
                pair = _minus(drawn[base][held.metric], drawn[name][held.metric])
                numbers[f"{task}.{base}.{part}.minus_{name}"] = _estimate(held, *pair)
    for name in RIVALS:
        if own in drawn and name in drawn:
            sides = (drawn[own][held.metric], drawn[name][held.metric])
            better = _minus(*(sides[::-1] if held.graded else sides))
            numbers[f"record.{task}.{part}.minus_{name}"] = _estimate(held, *better)
    return numbers


def _headlines(numbers: Mapping[str, Estimate], first: Predictions) -> dict[str, Estimate]:
    """The numbers of the first tested part, by names without the part."""
    parts = tested(first)
    if not parts:
        return {}
    return {name.replace(f".{parts[0]}.", ".", 1): item for name, item in numbers.items() if f".{parts[0]}." in name}


Pair = tuple[float, np.ndarray]


def _minus(one: Pair, other: Pair) -> Pair:
    return one[0] - other[0], one[1] - other[1]


def _estimate(held: Common, value: float, drawn: np.ndarray) -> Estimate:
    low, high = resample.percentile(drawn, LEVEL)
    events = None if held.graded else held.clusters.with_any(held.truth == 1)
    return Estimate(float(value), min(low, float(value)), max(high, float(value)), held.clusters.count, events, LEVEL)


def _drawn(held: Common, arm: str, seed: int) -> dict[str, Pair]:
    """Every metric of an arm: its value, and its values on draws of subjects, the same draws for every arm."""
    clusters = held.clusters
    times = resample.multiplicity(clusters.count, DRAWS, np.random.default_rng(seed))
    every = np.concatenate([np.ones((1, clusters.count), times.dtype), times])
    said = held.said[arm]
    found = _graded(held.truth, said, clusters, every) if held.graded else _binary(held.truth, said, clusters, every)
    return {name: (float(row[0]), row[1:][np.isfinite(row[1:])] if name == "r" else row[1:])
            for name, row in found.items() if np.isfinite(row[0])}  # fmt: skip


def _graded(truth: np.ndarray, said: np.ndarray, clusters: Clusters, times: np.ndarray) -> dict[str, np.ndarray]:
    """Errors in the unit of the truth, limits of agreement of estimate minus truth, and the correlation."""
    error = said - truth
    columns = [np.ones(len(truth)), np.abs(error).mean(axis=0), (error**2).mean(axis=0), error.mean(axis=0)]
    count, size, square, bias = (times @ clusters.total(column) for column in columns)
    bias = bias / count
    spread = np.sqrt(np.maximum(square / count - bias**2, 0))
    each = [_pearson(truth, row, clusters, times) for row in said]
    return {
        "mae": size / count,
        "rmse": np.sqrt(square / count),
        "bias": bias,
        "lower": bias - _LIMIT * spread,
        "upper": bias + _LIMIT * spread,
        "r": np.mean(each, axis=0),
    }


def _pearson(truth: np.ndarray, said: np.ndarray, clusters: Clusters, times: np.ndarray) -> np.ndarray:
    """Pearson's correlation on each draw; NaN where one side is constant."""
    x, y = truth - truth.mean(), said - said.mean()
    if np.ptp(said) == 0:
        return np.full(len(times), np.nan)
    n, sx, sy, sxx, syy, sxy = (times @ clusters.total(c) for c in (np.ones_like(x), x, y, x * x, y * y, x * y))
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = (n * sxy - sx * sy) / np.sqrt((n * sxx - sx**2) * (n * syy - sy**2))
    return result


def _binary(truth: np.ndarray, said: np.ndarray, clusters: Clusters, times: np.ndarray) -> dict[str, np.ndarray]:
    """AUROC, and the Brier score of the probabilities."""
    areas = [_areas(truth == 1, row, clusters, times) for row in said]
    square = ((sigmoid(said) - truth) ** 2).mean(axis=0)
    count = times @ clusters.total(np.ones(len(truth)))
    return {"auroc": np.mean(areas, axis=0), "brier": times @ clusters.total(square) / count}


def _areas(event: np.ndarray, score: np.ndarray, clusters: Clusters, times: np.ndarray) -> np.ndarray:
    """AUROC on each draw; where a draw has one kind only, that of all."""
    weighted = resample.of_auroc(event, score, clusters)
    found = np.concatenate([weighted(part)[:, 0] for part in np.array_split(times, max(1, len(times) // 64))])
    return np.where(np.isfinite(found), found, found[0])


def gates(said: Predictions, mean: Predictions) -> dict[str, bool]:
    """Which measured tasks may be given out: on the validation part the error is surely below that of the mean.

    Args:
        said: Of the model.
        mean: Of always saying the training mean, of the same recordings.

    Returns:
        Task → whether the interval of the paired difference of the mean absolute errors lies below zero; tasks of yes
        or no are not in it.
    """
    found = {}
    for number, task in enumerate(said.names):
        held = common({"own": [said], "mean": [mean]}, number, "valid")
        everywhere = said.truth[:, number]
        if np.isin(everywhere[np.isfinite(everywhere)], (0, 1)).all():
            continue
        if held is None:
            found[task] = False
            continue
        pair = _minus(_drawn(held, "own", 0)["mae"], _drawn(held, "mean", 0)["mae"])
        found[task] = _estimate(held, *pair).high < 0
    return found


def few_numbers(few: Mapping[str, Arms], own: str = "pretrained") -> dict[str, Estimate]:
    """What few labels are worth: `<task>.labels.<share>.<arm>` and `….minus_<arm>`, of the first tested part.

    Args:
        few: Share of the training subjects as text → arms, one prediction a draw of the subjects.
        own: The arm that the others are compared with.
    """
    numbers: dict[str, Estimate] = {}
    for share, arms in few.items():
        for name, item in arm_numbers(arms, own).items():
            task, arm, *rest = name.split(".")
            if rest and rest[0] in ("mae", "auroc"):
                numbers[f"{task}.labels.{share}.{arm}"] = item
            elif rest and rest[0].startswith("minus_") and arm == own:
                numbers[f"{task}.labels.{share}.{rest[0]}"] = item
    return numbers


def ordered(names: Sequence[str]) -> list[str]:
    """Arms as they are told: the own, its controls, other pretrainings."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def split_seeds(said: Predictions) -> Iterator[Predictions]:
    """Predictions of several seeds, one by one."""
    for seed in np.unique(said.seed):
        yield said.take(said.seed == seed)


def refuse_nobody(said: Predictions) -> None:
    """Without a tested part there is nothing to tell.

    Raises:
        ScoreError: Nobody was tested.
    """
    if not tested(said):
        raise ScoreError("nobody was tested: give a test part, or --external NAME=DIR")
