"""Whether an exported detector answers as the run that it comes from, in the detector's own measure.

One side is Python's score of a recording. The other is that of the folder: the samples through `run.py`, its windows,
its resampling, both graphs, and the thresholds of their metadata. A score has no unit, so a difference is held against
what scores of normal recordings differ by among themselves, within a machine. An error of a tenth of that spread widens
it by half a percent, one of a quarter by three percent: √(1 + e²) − 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from stethos.errors import ScoreError
from stethos.export import run_sound
from stethos.export.run_sound import Graphs
from stethos.metrics.ranking import auroc


@dataclass(frozen=True)
class Limits:
    """How far an export may be from its run.

    Args:
        score: Largest distance of a score, in spreads of the normal scores.
        near: Distance from the threshold, in the same, below which a flipped alarm is listed and not counted.
        flips: Share of the alarms that may be flipped, those near the threshold not counted.
        dauroc: Largest change of the mean over the machines of their AUROC.
    """

    score: float
    near: float
    flips: float
    dauroc: float


LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        # rounding in another order: 1e-4 at most in practice, so that a thousandth means a mistake
        "fp32": Limits(score=1e-3, near=1e-3, flips=0.0, dauroc=1e-3),
        # weights keep 11 bits, which moves a score by 0.03 of the spread in practice
        "fp16": Limits(score=0.1, near=0.05, flips=0.005, dauroc=0.002),
        # 256 steps; 0.005 of AUROC is less than the interval of a test with some hundred anomalies can show
        "int8": Limits(score=0.25, near=0.1, flips=0.01, dauroc=0.005),
    }
)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Tested recordings, and what Python says of them.

    Args:
        sounds: One channel and its rate each, in fractions of full scale.
        machine: Place of the machine that each is judged by, `(N,)`.
        score: Python's, `(N,)`.
        truth: 1 for anomalous, 0 for normal, NaN where unknown, `(N,)`.
    """

    sounds: list[tuple[np.ndarray, float]]
    machine: np.ndarray
    score: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Parity:
    """How far an export is from its run.

    Args:
        records: Compared.
        dscore: Largest |Δ score|; NaN where one side is no number.
        spread: Of Python's scores of normal recordings, as `spread_of` has it.
        alarms: Decisions against the thresholds, those of set alarms included.
        flips: That differ, away from the threshold.
        flips_near: That differ, near it.
        dauroc: |Δ| of the mean over the machines of their AUROC; None where none has both kinds of recordings.
    """

    records: int
    dscore: float
    spread: float
    alarms: int
    flips: int
    flips_near: int
    dauroc: float | None

    def failures(self, limits: Limits) -> list[str]:
        """Every measure beyond its limit, in words; what is not a number is beyond any."""
        told = []
        if not self.dscore <= limits.score * self.spread:
            told.append(f"largest |Δ score| {self.dscore:.3g} > {limits.score:g} of {self.spread:.3g}, their spread")
        if not self.flips <= limits.flips * self.alarms:
            told.append(f"{self.flips} of {self.alarms} alarms flipped")
        if not (self.dauroc or 0.0) <= limits.dauroc:
            told.append(f"|Δ AUROC| {self.dauroc:.3g} > {limits.dauroc:g}")
        return told


def measured(graphs: Graphs, held: HeldOut, limits: Limits) -> Parity:
    """What opened graphs say of the same samples, beside what Python says."""
    return compared(held, heard(graphs, held), points_of(graphs.facts, held.machine), limits.near)


def heard(graphs: Graphs, held: HeldOut) -> np.ndarray:
    """Score of each recording by its machine, as `run.py` has it, float64 `(N,)`."""
    every = (run_sound.prepared(values, rate, graphs.facts) for values, rate in held.sounds)
    scores = np.array([run_sound.scores(graphs, windows) for windows in every], np.float64)  # (N, M)
    return scores[np.arange(len(scores)), held.machine]


def points_of(facts: Mapping[str, Any], machine: np.ndarray) -> np.ndarray:
    """Usual threshold and set alarm of each recording's machine, `(2, N)`; NaN where there is none."""
    usual = [one["threshold"] for one in facts["machines"]]
    alarm = [math.nan if one["alarm"] is None else one["alarm"]["threshold"] for one in facts["machines"]]
    return np.array([usual, alarm], np.float64)[:, machine]


def compared(held: HeldOut, score: np.ndarray, points: np.ndarray, near: float) -> Parity:
    """Python's scores beside others of the same recordings.

    Args:
        held: With Python's.
        score: The other side's, `(N,)`.
        points: Thresholds of each recording's machine, `(P, N)`; NaN for none.
        near: Distance from a threshold, in spreads, below which a flipped alarm is listed apart.
    """
    spread = spread_of(held)
    flipped = np.isfinite(points) & ((held.score > points) != (score > points))
    close = np.abs(held.score - points) <= near * spread
    return Parity(
        records=len(score),
        dscore=float(np.abs(score - held.score).max()),
        spread=spread,
        alarms=int(np.isfinite(points).sum()),
        flips=int((flipped & ~close).sum()),
        flips_near=int((flipped & close).sum()),
        dauroc=_dauroc(held, score),
    )


def spread_of(held: HeldOut) -> float:
    """Standard deviation of the normal scores around the mean of their machine; of all scores where no machine has two.

    How machines differ, and how anomalies do, is left out: either would excuse a larger error.
    """
    normal = held.truth == 0
    score = held.score[normal]
    _, place, count = np.unique(held.machine[normal], return_inverse=True, return_counts=True)
    if len(score) <= len(count):
        return max(float(np.std(held.score)), 1e-12)
    apart = score - (np.bincount(place, score) / count)[place]
    return max(math.sqrt(float(np.sum(apart**2)) / (len(score) - len(count))), 1e-12)


def _dauroc(held: HeldOut, score: np.ndarray) -> float | None:
    changes = []
    for machine in np.unique(held.machine):
        rows = (held.machine == machine) & np.isfinite(held.truth) & np.isfinite(score)
        try:
            mine, other = (auroc(held.truth[rows], side[rows]) for side in (held.score, score))
        except ScoreError:
            continue
        changes.append(other - mine)
    return abs(float(np.mean(changes))) if changes else None
