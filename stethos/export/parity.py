"""Whether an export answers as the run that it comes from: measured end to end, on recordings held out from training.

One side is Python: a window as a `Signal`, the preparation, the network in torch, the run's own operating points. The
other is the folder as a reader finds it: `model.onnx`, and the operating points of its metadata. If they differ by more
than the limits of the precision, the export is not given away, and what is at fault is named: the preparation, the
first block whose output differs, the joined graph, or the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from stethos.errors import ScoreError, StethosError
from stethos.export.graph import library, read_metadata
from stethos.export.score import activations, block_outputs, blocks_of, session
from stethos.metrics.clusters import cluster_means
from stethos.metrics.ranking import auroc

SHOWN = 16  # windows, the worst, that blocks are compared on
PREPARED = 1e-3  # largest distance of a prepared sample, in standard deviations
SAME = 1e-6  # operating points are copied, not computed


class ParityError(StethosError, ArithmeticError):
    """An export does not answer as the run that it comes from."""


@dataclass(frozen=True)
class Limits:
    """How far an export may be from its run.

    Args:
        dlogit: Largest distance of a window's logit.
        dp: Largest distance of a window's probability.
        flips: Share of the decisions about records that may be others, those near the threshold not counted.
        near: Distance of a logit from the threshold below which a decision is no difference, but listed.
        dauroc: Largest change of the AUROC over the records.
        block: Relative distance of a block's output, in the Euclidean norm, that makes it a suspect.
    """

    dlogit: float
    dp: float
    flips: float
    near: float
    dauroc: float
    block: float


LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        # rounding in another order: 1e-5 at most in practice, so that a thousandth means a mistake
        "fp32": Limits(dlogit=1e-3, dp=1e-3, flips=0.0, near=1e-3, dauroc=1e-3, block=1e-3),
        # weights keep 11 bits, which moves a probability by 1e-3 or less in practice
        "fp16": Limits(dlogit=np.inf, dp=0.01, flips=0.005, near=0.01, dauroc=0.002, block=0.02),
        # 256 steps; 0.005 of AUROC is less than the interval of a test with some hundred events can show
        "int8": Limits(dlogit=np.inf, dp=0.05, flips=0.01, near=0.05, dauroc=0.005, block=0.1),
    }
)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Recordings that nothing was trained on, and what Python says of them.

    Args:
        windows: In mV at the export's rate, `(W, T)`.
        x: The same, prepared in Python, `(W, C, samples)`.
        logit: What torch says of each window, `(W, K)`.
        owner: Number of the record that each is from, from 0 to N − 1, `(W,)`.
        truth: 0, 1 or measured of each record; NaN where unknown, `(N, K)`.
        thresholds: The run's operating points in logits; NaN for none, `(K,)`.
        weight: What each window counts in the mean over its record, above 0, `(W,)`; None where all count alike.
    """

    windows: np.ndarray
    x: np.ndarray
    logit: np.ndarray
    owner: np.ndarray
    truth: np.ndarray
    thresholds: np.ndarray
    weight: np.ndarray | None = None


@dataclass(frozen=True)
class Parity:
    """How far an export is from its run.

    Args:
        windows: Compared.
        records: That they are from.
        dlogit: Largest |Δ logit| of a window; NaN if one side is not a number.
        dp: Largest |Δ probability|; None where the target is measured.
        decisions: Records times classes with an operating point.
        flips: Decisions that differ, away from the threshold.
        flips_near: Decisions that differ, near it.
        dauroc: Largest |Δ AUROC| over the classes with both kinds of records; None where there is none.
    """

    windows: int
    records: int
    dlogit: float
    dp: float | None
    decisions: int
    flips: int
    flips_near: int
    dauroc: float | None

    def failures(self, limits: Limits) -> list[str]:
        """Every measure beyond its limit, in words; what is not a number is beyond any."""
        share = self.flips / max(1, self.decisions)
        measures = {
            "largest |Δ logit|": (self.dlogit, limits.dlogit),
            "largest |Δ probability|": (self.dp or 0.0, limits.dp),
            f"{self.flips} of {self.decisions} decisions flipped": (share, limits.flips),
            "|Δ AUROC|": (self.dauroc or 0.0, limits.dauroc),
        }
        return [f"{name} {value:.3g} > {most:g}" for name, (value, most) in measures.items() if not value <= most]

    def facts(self, limits: Limits) -> dict[str, Any]:
        """Measures and limits as JSON holds them; a limit that is not set is left out."""
        told = {name: value for name, value in asdict(limits).items() if np.isfinite(value)}
        return {**asdict(self), "limits": told}


def heard(folder: Path, windows: np.ndarray) -> np.ndarray:
    """Logits of the joined graph of a folder, window by window as a device has them, `(W, K)`."""
    ready = session(str(folder / "model.onnx"))
    return np.concatenate([ready.run(None, {"signal": window[None]})[0] for window in windows])


def compared(held: HeldOut, logit: np.ndarray, thresholds: np.ndarray, near: float) -> Parity:
    """Python's answers beside others for the same windows.

    Args:
        held: With Python's logits and operating points.
        logit: The other side's logits, `(W, K)`.
        thresholds: The other side's operating points, `(K,)`.
        near: Distance from the threshold below which a flipped decision is listed apart.
    """
    yes_or_no = np.isin(held.truth[np.isfinite(held.truth)], (0, 1)).all()
    chance = [_sigmoid(side) for side in (held.logit, logit)]
    mine, other = (cluster_means(side, held.owner, len(held.truth), held.weight) for side in (held.logit, logit))
    asked = np.broadcast_to(np.isfinite(held.thresholds), mine.shape)
    with np.errstate(invalid="ignore"):
        flipped = asked & ((mine >= held.thresholds) != (other >= thresholds))
        close = (np.abs(mine - held.thresholds) <= near) & (np.abs(held.thresholds - thresholds) <= SAME)
    return Parity(
        windows=len(logit),
        records=len(held.truth),
        dlogit=float(np.abs(held.logit - logit).max()),
        dp=float(np.abs(chance[0] - chance[1]).max()) if yes_or_no else None,
        decisions=int(asked.sum()),
        flips=int((flipped & ~close).sum()),
        flips_near=int((flipped & close).sum()),
        dauroc=_dauroc(held.truth, mine, other),
    )


def measured(folder: Path, held: HeldOut, limits: Limits) -> Parity:
    """What a folder says, as its reader hears it, beside what Python says."""
    return compared(held, heard(folder, held.windows), thresholds_of(folder), limits.near)


def thresholds_of(folder: Path) -> np.ndarray:
    """Operating points of the metadata of a folder's joined graph, `(K,)`; NaN for none."""
    told = read_metadata(folder / "model.onnx")["threshold"]["logit"]
    return np.array([np.nan if item is None else item for item in (told if isinstance(told, list) else [told])])


def suspect(folder: Path, held: HeldOut, model: nn.Module, limits: Limits) -> str:
    """What differs first between Python and a folder: "prepare", a block's name, "model.onnx" or "threshold".

    Args:
        folder: Of the export.
        held: Recordings and Python's answers.
        model: The network, with `score`.
        limits: Of the precision.
    """
    worst = _worst_windows(folder, held)
    prepared = session(str(folder / "prepare.onnx"))
    x = np.concatenate([prepared.run(None, {"signal": window[None]})[0] for window in held.windows[worst]])
    if not _far(x, held.x[worst]) <= PREPARED:
        return "prepare"
    distances = block_distances(folder, held.x[worst], model)
    above = [block for block, distance in distances.items() if not distance <= limits.block]
    if above:
        return above[0]
    (logit,) = session(str(folder / "score.onnx")).run(None, {"x": held.x})
    if compared(held, logit, held.thresholds, limits.near).failures(limits):
        return max(distances, key=lambda block: distances[block])
    points, mine = thresholds_of(folder), held.thresholds
    if points.shape != mine.shape or not np.allclose(points, mine, rtol=0, atol=SAME, equal_nan=True):
        return "threshold"
    return "model.onnx"


def block_distances(folder: Path, x: np.ndarray, model: nn.Module) -> dict[str, float]:
    """‖ONNX − torch‖ / ‖torch‖ of what each block puts out for the same prepared windows, in order of calling."""
    mine = activations(model, model.score, x)  # type: ignore[arg-type]
    score = library().load(str(folder / "score.onnx"))
    outputs = block_outputs(score, list(blocks_of(model)))
    held = session(score, list(outputs.values()))
    theirs = dict(zip(outputs, held.run(list(outputs.values()), {"x": x}), strict=True))
    return {
        block: float(np.linalg.norm(theirs[block] - value)) / max(float(np.linalg.norm(value)), 1e-12)
        for block, value in mine.items()
        if block in theirs
    }


def _worst_windows(folder: Path, held: HeldOut) -> np.ndarray:
    distance = np.abs(heard(folder, held.windows) - held.logit).max(axis=1)
    return np.argsort(-np.nan_to_num(distance, nan=np.inf))[:SHOWN]


def _far(x: np.ndarray, want: np.ndarray) -> float:
    """Largest distance of a sample, in the standard deviations of its window."""
    spread = np.maximum(want.std(axis=(1, 2), keepdims=True), 1e-12)
    return float((np.abs(x - want) / spread).max()) if x.shape == want.shape else np.inf


def _dauroc(truth: np.ndarray, mine: np.ndarray, other: np.ndarray) -> float | None:
    changes = []
    for number, column in enumerate(truth.T):
        known = np.isin(column, (0, 1)) & np.isfinite(other[:, number])
        try:
            areas = [auroc(column[known], side[known, number]) for side in (mine, other)]
        except ScoreError:
            continue
        changes.append(abs(areas[0] - areas[1]))
    return float(max(changes)) if changes else None


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # NaN is judged later
        return np.exp(-np.logaddexp(0, -np.asarray(logit, np.float64)))
