"""Whether an exported model of the pulse answers as the run that it comes from, each answer in its own unit.

One side is Python's answer to a recording: the preparation, the network in torch, the run's own operating points. The
other is the folder's: `model.onnx` as its `run.py` calls it, and the operating points of its metadata. An estimate has
a unit, but a tenth of it may be little or much, so a difference is held against the standard deviation of what is known
of the run's recordings; an embedding has none, and is held against the distance between two recordings that are usual
among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stethos.errors import ScoreError
from stethos.export import run_pulse
from stethos.export.graph import library
from stethos.export.pulse import Spoken
from stethos.export.score import activations, block_outputs, blocks_of, session
from stethos.metrics.ranking import auroc

PREPARED = 1e-3  # largest distance of a prepared sample, in standard deviations
SHOWN = 8  # recordings, the worst, that blocks are compared on
SAME = 1e-6  # operating points are copied, not computed


@dataclass(frozen=True)
class Limits:
    """How far an export may be from its run.

    Args:
        logit: Largest distance of log odds.
        chance: Largest distance of a probability.
        near: Distance of log odds from the operating point below which another decision is listed and not counted.
        flips: Share of the decisions that may be others, those near the operating point not counted.
        dauroc: Largest change of an AUROC over the recordings.
        estimate: Largest distance of an estimate, in standard deviations of what is known.
        embedding: Largest distance of an embedding, in distances of two recordings.
        block: Relative distance of a block's output, in the Euclidean norm, that makes it a suspect.
    """

    logit: float
    chance: float
    near: float
    flips: float
    dauroc: float
    estimate: float
    embedding: float
    block: float


LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        # rounding in another order: 1e-5 at most in practice, so that a thousandth means a mistake
        "fp32": Limits(1e-3, 1e-3, 1e-3, 0.0, 1e-3, 1e-3, 1e-3, 1e-3),
        # weights keep 11 bits; two hundredths of a standard deviation add 0.02 % to an error as large as that
        "fp16": Limits(np.inf, 0.01, 0.01, 0.005, 0.002, 0.02, 0.05, 0.02),
        # 256 steps; a tenth of a standard deviation adds half a percent
        "int8": Limits(np.inf, 0.05, 0.05, 0.01, 0.005, 0.1, 0.1, 0.1),
    }
)


@dataclass(frozen=True, eq=False)
class Recording:
    """A pulse as a device has it.

    Args:
        values: At the export's rate; NaN where nothing was recorded, `(T,)`.
        refused: True where the program around the model lets it not count, `(T,)`.
        x: The same prepared in Python, `(P, 2, S)`.
    """

    values: np.ndarray
    refused: np.ndarray
    x: np.ndarray


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Tested recordings, and what Python says of them.

    Args:
        recordings: N of them.
        said: Log odds and estimates, or embeddings of unit length, `(N, K)`.
        names: Of the answers; none for embeddings.
        truth: What is known, NaN where nothing is, `(N, K)`; `(N, 0)` for embeddings.
        measured: Which answers are estimates, Boolean `(K,)`.
        thresholds: Operating points in log odds, NaN for none, `(K,)`.
        spread: Standard deviation of what is known of each estimate, `(K,)`.
    """

    recordings: list[Recording]
    said: np.ndarray
    names: tuple[str, ...]
    truth: np.ndarray
    measured: np.ndarray
    thresholds: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Parity:
    """How far an export is from its run.

    Args:
        records: Compared.
        patches: Of them.
        dlogit: Largest |Δ log odds|; None where nothing is answered by yes or no.
        dp: Largest |Δ probability|, or None.
        decisions: Recordings times answers with an operating point.
        flips: Decisions that differ, away from it.
        flips_near: Decisions that differ, near it.
        dauroc: Largest |Δ AUROC| over the answers with both kinds of recordings; None where there is none.
        estimates: Largest |Δ| of each estimate, in its unit.
        shares: The same in standard deviations of what is known.
        distance: Largest distance of an embedding; None where there is none.
        usual: Median distance of the embeddings of two recordings, or None.
    """

    records: int
    patches: int
    dlogit: float | None
    dp: float | None
    decisions: int
    flips: int
    flips_near: int
    dauroc: float | None
    estimates: dict[str, float]
    shares: dict[str, float]
    distance: float | None
    usual: float | None

    def failures(self, limits: Limits) -> list[str]:
        """Every measure beyond its limit, in words; what is not a number is beyond any."""
        share = 0.0 if self.distance is None or self.usual is None else self.distance / self.usual
        measures = {
            "largest |Δ log odds|": (self.dlogit or 0.0, limits.logit),
            "largest |Δ probability|": (self.dp or 0.0, limits.chance),
            f"{self.flips} of {self.decisions} decisions flipped": (self.flips / max(1, self.decisions), limits.flips),
            "|Δ AUROC|": (self.dauroc or 0.0, limits.dauroc),
            **{f"largest |Δ {name}| in spreads": (far, limits.estimate) for name, far in self.shares.items()},
            "largest distance of an embedding in usual distances": (share, limits.embedding),
        }
        return [f"{name} {value:.3g} > {most:g}" for name, (value, most) in measures.items() if not value <= most]

    def facts(self, limits: Limits) -> dict[str, Any]:
        """Measures and limits as JSON holds them; a limit that is not set is left out."""
        return {**asdict(self), "limits": {name: most for name, most in asdict(limits).items() if np.isfinite(most)}}


def measured(folder: Path, held: HeldOut, limits: Limits) -> Parity:
    """What a folder says, as its reader hears it, beside what Python says."""
    model, facts = run_pulse.opened(folder)
    return compared(held, heard(model, held), thresholds_of(facts), limits.near)


def heard(model: Any, held: HeldOut) -> np.ndarray:
    """What a folder's joined graph says of each recording, `(N, K)`."""
    return np.stack([run_pulse.spoken(model, one.values, one.refused) for one in held.recordings]).astype(np.float64)


def scored(score: Any, held: HeldOut) -> np.ndarray:
    """What a network's graph, ready to run, says of each recording as Python prepared it, `(N, K)`."""
    return np.concatenate([score.run(None, {"x": one.x[None]})[0] for one in held.recordings]).astype(np.float64)


def thresholds_of(facts: Mapping[str, Any]) -> np.ndarray:
    """Operating points of the metadata, `(K,)`; NaN for none."""
    return np.array([np.nan if one["threshold"] is None else one["threshold"] for one in facts["answers"]], np.float64)


def compared(held: HeldOut, said: np.ndarray, thresholds: np.ndarray, near: float) -> Parity:
    """Python's answers beside others to the same recordings.

    Args:
        held: With Python's answers and operating points.
        said: The other side's answers, `(N, K)`.
        thresholds: The other side's operating points, `(K,)`.
        near: Distance from the operating point below which another decision is listed apart.
    """
    count = len(said), sum(len(one.x) for one in held.recordings)
    if not held.names:
        distance = float(np.linalg.norm(said - held.said, axis=1).max())
        return Parity(*count, None, None, 0, 0, 0, None, {}, {}, distance, usual_distance(held.said))
    far = np.abs(said - held.said).max(axis=0)  # (K,)
    yes_or_no, named = ~held.measured, np.array(held.names)
    chance = np.abs(_sigmoid(said) - _sigmoid(held.said))[:, yes_or_no]
    flips, close = _flips(held, said, thresholds, near)
    return Parity(
        *count,
        dlogit=float(far[yes_or_no].max()) if yes_or_no.any() else None,
        dp=float(chance.max()) if yes_or_no.any() else None,
        decisions=int(np.isfinite(held.thresholds).sum() * len(said)),
        flips=int((flips & ~close).sum()),
        flips_near=int((flips & close).sum()),
        dauroc=_dauroc(held, said),
        estimates=dict(zip(named[held.measured].tolist(), far[held.measured].tolist(), strict=True)),
        shares=dict(zip(named[held.measured].tolist(), (far / held.spread)[held.measured].tolist(), strict=True)),
        distance=None,
        usual=None,
    )


def usual_distance(z: np.ndarray) -> float:
    """Median distance of two of several rows `(N, W)`; the length of a row where there is one."""
    if len(z) < 2:
        return float(np.linalg.norm(z))
    one, other = np.triu_indices(min(len(z), 200), 1)
    return max(float(np.median(np.linalg.norm(z[one] - z[other], axis=1))), 1e-12)


def suspect(folder: Path, held: HeldOut, network: Spoken, limits: Limits) -> str:
    """What differs first between Python and a folder: "prepare", a block's name, "threshold" or "model.onnx".

    Args:
        folder: Of the export.
        held: Recordings and Python's answers.
        network: In torch.
        limits: Of the precision.
    """
    model, facts = run_pulse.opened(folder)
    far = np.abs(heard(model, held) - held.said).max(axis=1)
    worst = [held.recordings[row] for row in np.argsort(-np.nan_to_num(far, nan=np.inf))[:SHOWN]]
    prepare = session(str(folder / "prepare.onnx"))
    if not max(_prepared_apart(prepare, one) for one in worst) <= PREPARED:
        return "prepare"
    distances = block_distances(folder, worst, network)
    above = [block for block, distance in distances.items() if not distance <= limits.block]
    if above:
        return above[0]
    points = thresholds_of(facts)
    if compared(held, scored(session(str(folder / "score.onnx")), held), held.thresholds, limits.near).failures(limits):
        return max(distances, key=lambda block: distances[block])
    if points.shape != held.thresholds.shape or not np.allclose(points, held.thresholds, 0, SAME, equal_nan=True):
        return "threshold"
    return "model.onnx"


def block_distances(folder: Path, recordings: list[Recording], network: Spoken) -> dict[str, float]:
    """Largest ‖ONNX − torch‖ / ‖torch‖ of what each block puts out for prepared recordings, in order of calling."""
    graph = library().load(str(folder / "score.onnx"))
    outputs = block_outputs(graph, list(blocks_of(network)))
    ready, found = session(graph, list(outputs.values())), dict[str, float]()
    for one in recordings:
        mine = activations(network, network.score, one.x[None])
        theirs = dict(zip(outputs, ready.run(list(outputs.values()), {"x": one.x[None]}), strict=True))
        for block in (block for block in mine if block in theirs):
            apart = float(np.linalg.norm(theirs[block] - mine[block]))
            found[block] = max(found.get(block, 0.0), apart / max(float(np.linalg.norm(mine[block])), 1e-12))
    return found


def by_torch(network: Spoken, x: np.ndarray) -> np.ndarray:
    """What a network says of one prepared recording `(P, 2, S)`, `(K,)`."""
    with torch.inference_mode():
        return network.score(torch.from_numpy(x)[None])[0].double().numpy()


def _prepared_apart(prepare: Any, one: Recording) -> float:
    """Largest distance of a prepared sample, in standard deviations; infinite where validity differs."""
    x = run_pulse.spoken(prepare, one.values, one.refused)  # (P, 2, S)
    if x.shape != one.x.shape or not np.array_equal(x[:, 1], one.x[:, 1]):
        return np.inf
    return float(np.abs(x[:, 0] - one.x[:, 0]).max() / max(float(one.x[:, 0].std()), 1e-12))


def _flips(held: HeldOut, said: np.ndarray, thresholds: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Which decisions are others, and which were near the operating point, both Boolean `(N, K)`."""
    with np.errstate(invalid="ignore"):
        flipped = np.isfinite(held.thresholds) & ((held.said >= held.thresholds) != (said >= thresholds))
        close = (np.abs(held.said - held.thresholds) <= near) & (np.abs(held.thresholds - thresholds) <= SAME)
    return flipped, close


def _dauroc(held: HeldOut, said: np.ndarray) -> float | None:
    changes = []
    for number in np.flatnonzero(~held.measured):
        known = np.isin(held.truth[:, number], (0, 1)) & np.isfinite(said[:, number])
        try:
            areas = [auroc(held.truth[known, number], side[known, number]) for side in (held.said, said)]
        except ScoreError:
            continue
        changes.append(abs(areas[0] - areas[1]))
    return float(max(changes)) if changes else None


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # NaN is judged later
        return np.exp(-np.logaddexp(0, -logit))
