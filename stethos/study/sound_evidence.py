"""Every number of a finished detector of anomalous sound, from nothing but its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stethos.errors import RunError, ScoreError
from stethos.metrics import dcase
from stethos.metrics.compare import Difference, holm
from stethos.metrics.curves import Clips
from stethos.metrics.dcase import Evaluation
from stethos.study.detector import Memory
from stethos.study.sound_rates import fault_areas, threshold_rates
from stethos.types import Estimate, Predictions, Run

NAMED = {
    "mean.auc": "auc_2020",
    "mean.pauc": "pauc_2020",
    "pooled.auc": "pooled_auc",
    "pooled.pauc": "pooled_pauc",
    "mauc": "mauc",
}
COMPARED = ("model", "baseline.nearest")  # by fault
LATEST_RULE = 2022  # the official score of that year stands for the years after it too


@dataclass(frozen=True, eq=False)
class Detection:
    """How well normal and anomalous recordings are told apart.

    Args:
        clips: What the metrics need to know of the N recordings.
        scores: "model", "baseline.NAME" or "backend.NAME" → score of every recording, `(N,)`.
        found: The same names → all scores with their intervals.
        against: Name of a baseline → official score of the model minus its own.
        p_corrected: Name of a baseline → p of no difference after Holm's correction.
        faults: Named fault → "model" and "baseline.nearest" → AUC, None where it has none.
        seed_spread: SD of the official score over seeds, from the lowest seed to the highest; None for one seed.
    """

    clips: Clips
    scores: Mapping[str, np.ndarray]
    found: Mapping[str, Evaluation]
    against: Mapping[str, Difference]
    p_corrected: Mapping[str, float]
    faults: Mapping[str, Mapping[str, Estimate | None]]
    seed_spread: Estimate | None

    @property
    def model(self) -> Evaluation:
        """All scores of the model."""
        return self.found["model"]

    def of_kind(self, kind: str) -> dict[str, Evaluation]:
        """Scores of every "baseline" or "backend", by its own name."""
        return {name.partition(".")[2]: item for name, item in self.found.items() if name.startswith(f"{kind}.")}

    def numbers(self) -> dict[str, Estimate]:
        """Dotted name → estimate, as in metrics.json."""
        told = by_name(self.model)
        for machine, row in self.model.per_machine.items():
            told |= {f"machine.{machine}.{name}": item for name, item in row.items()}
        for system, found in self.found.items():
            told |= {f"{system}.{name}": item for name, item in by_name(found).items() if system != "model"}
        told |= {f"difference.{name}.official": item.estimate for name, item in self.against.items()}
        for fault, areas in self.faults.items():
            told |= {f"fault.{fault}.{system}.auc": item for system, item in areas.items() if item is not None}
        return told | ({"official.seed_sd": self.seed_spread} if self.seed_spread else {})


@dataclass(frozen=True, eq=False)
class SoundEvidence:
    """What a report on sound is written from.

    Args:
        run: Where the files lie.
        said: The tested recordings whose truth is known, the mean score over seeds.
        valid: The normal validation recordings, likewise.
        year: Of the challenge; None for a folder of none.
        rates: Machine, or "" for all, → share of normal and of anomalous recordings above the thresholds.
        detection: None where the tested recordings do not allow a score.
        unscored: Why not; empty where they do.
    """

    run: Run
    said: Predictions
    valid: Predictions
    year: float | None
    rates: Mapping[str, Mapping[str, Estimate]]
    detection: Detection | None
    unscored: str = ""

    @property
    def rule(self) -> int:
        """Year of the rule that the official score follows; 2020 for a folder of no challenge."""
        return min(int(self.year), LATEST_RULE) if self.year else 2020

    def numbers(self) -> dict[str, Estimate]:
        """Dotted name → estimate, as in metrics.json."""
        told = self.detection.numbers() if self.detection else {}
        for machine, row in self.rates.items():
            told |= {f"machine.{machine}.{name}" if machine else name: item for name, item in row.items()}
        return told


def by_name(found: Evaluation) -> dict[str, Estimate]:
    """The official score and every other score of all machines, by its name in metrics.json."""
    held = {name: found.named[rule] for name, rule in NAMED.items() if rule in found.named}
    return {"official": found.official, **held}


def gather(run: Run) -> SoundEvidence:
    """Every number of a run, from its predictions and those of its baselines and back ends.

    Raises:
        RunError: The training has not finished, or the private part of the run is missing.
        ScoreError: The recordings are of several years of the challenge.
    """
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions; finish its training with the same command first")
    whole, memory = Predictions.load(run.predictions), Memory.load(run)
    each = _tested(whole)
    said, valid = each.mean_over_seeds(), whole.part("valid").mean_over_seeds()
    year, limits = year_of(said), dict(zip(memory.machines, memory.threshold.tolist(), strict=True))
    rates = threshold_rates(said, limits)
    reason = _not_both(said, len(np.unique(whole.part("internal").record)))
    if reason:
        return SoundEvidence(run, said, valid, year, rates, None, reason)
    try:
        return SoundEvidence(run, said, valid, year, rates, _detection(run, each, said, year))
    except ScoreError as error:
        return SoundEvidence(run, said, valid, year, rates, None, str(error))


def _not_both(said: Predictions, tested: int) -> str:
    """Why nothing can be told apart; empty where it can."""
    kinds = set(said.truth[:, 0].tolist())
    if not kinds:
        return f"of none of the {tested} tested recordings is it known whether it is anomalous"
    if len(kinds) == 1:
        return f"all {len(said)} tested recordings of a known kind are {'anomalous' if 1.0 in kinds else 'normal'}"
    return ""


def _detection(run: Run, each: Predictions, said: Predictions, year: float | None) -> Detection:
    clips, rule = clips_of(said), dcase.official(year)
    scores = {"model": said.score[:, 0]}
    for kind in ("baseline", "backend"):
        for path in sorted(run.private.glob(f"{kind}-*.npz")):
            other = _tested(Predictions.load(path)).mean_over_seeds()
            scores[f"{kind}.{path.stem.removeprefix(f'{kind}-').replace('-', '_')}"] = other.score[:, 0]
    found = {name: dcase.evaluate(clips, score, year) for name, score in scores.items()}
    against = {
        name.partition(".")[2]: dcase.paired(rule, clips, scores["model"], score)
        for name, score in scores.items()
        if name.startswith("baseline.")
    }
    corrected = holm(np.array([item.p for item in against.values()])) if against else np.zeros(0)
    p_values = dict(zip(against, corrected.tolist(), strict=True))
    faults = fault_areas(said, clips, {name: item for name, item in scores.items() if name in COMPARED})
    return Detection(clips, scores, found, against, p_values, faults, _spread(rule, clips, each))


def _spread(rule: dcase.Rule, clips: Clips, each: Predictions) -> Estimate | None:
    """Standard deviation of the official score over seeds, from the lowest seed to the highest; None for one."""
    parts = [each.take(each.seed == seed) for seed in np.unique(each.seed)]
    points = [dcase.point(rule, clips, part.score[:, 0]) for part in parts]
    if len(points) < 2:
        return None
    return Estimate(float(np.std(points, ddof=1)), min(points), max(points), len(clips))


def _tested(said: Predictions) -> Predictions:
    """The tested recordings whose truth is known."""
    part = said.part("internal")
    return part.take(np.isfinite(part.truth[:, 0]))


def clips_of(said: Predictions) -> Clips:
    """What the metrics need to know of recordings."""
    facts = said.facts
    return Clips(said.truth[:, 0], facts["machine"], facts["section"], facts["domain"], said.subject)


def year_of(said: Predictions) -> float | None:
    """The year of the challenge that all recordings are of; None where they are of none.

    Raises:
        ScoreError: They are of several, whose official scores differ.
    """
    years = sorted(set(np.asarray(said.facts.get("year", [""])).astype(str).tolist()) - {""})
    if len(years) > 1:
        raise ScoreError(f"one official score belongs to one year of the challenge; these are of {', '.join(years)}")
    return float(years[0]) if years else None
