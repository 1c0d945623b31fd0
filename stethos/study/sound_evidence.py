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
from stethos.types import Estimate, Predictions, Run

NAMED = {"pooled.auc": "pooled_auc", "pooled.pauc": "pooled_pauc", "mauc": "mauc", "mean.auc": "auc_2020"}


@dataclass(frozen=True, eq=False)
class SoundEvidence:
    """What a report on sound is written from.

    Args:
        run: Where the files lie.
        said: The tested recordings, the mean score over seeds, N of them.
        valid: The same of the normal validation recordings.
        each: The tested recordings by every seed.
        clips: What the metrics need to know of the tested recordings.
        year: Of the challenge; None for a folder of none.
        found: "model", "baseline.NAME" or "backend.NAME" → all scores.
        scores: The same names → score of every recording, `(N,)`.
        against: Name of a baseline → official score of the model minus its own.
        p_corrected: Name of a baseline → p of no difference after Holm's correction.
    """

    run: Run
    said: Predictions
    valid: Predictions
    each: Predictions
    clips: Clips
    year: float | None
    found: Mapping[str, Evaluation]
    scores: Mapping[str, np.ndarray]
    against: Mapping[str, Difference]
    p_corrected: Mapping[str, float]

    @property
    def model(self) -> Evaluation:
        """All scores of the model."""
        return self.found["model"]

    def of_kind(self, kind: str) -> dict[str, Evaluation]:
        """Scores of every "baseline" or "backend", by its own name."""
        return {name.partition(".")[2]: item for name, item in self.found.items() if name.startswith(f"{kind}.")}

    def numbers(self) -> dict[str, Estimate]:
        """Dotted name → estimate, as in metrics.json."""
        told = _named("", self.model) | {
            f"machine.{machine}.{name}": item
            for machine, row in self.model.per_machine.items()
            for name, item in row.items()
        }
        for name, item in self.found.items():
            told |= {} if name == "model" else _named(f"{name}.", item)
        told |= {f"difference.{name}.official": item.estimate for name, item in self.against.items()}
        spread = self.seed_spread()
        return told | ({"official.seed_sd": spread} if spread else {})

    def seed_spread(self) -> Estimate | None:
        """Standard deviation of the official score over seeds, from the lowest seed to the highest; None for one."""
        rule = dcase.official(self.year)
        seeds = np.unique(self.each.seed)
        points = [dcase.point(rule, self.clips, self.each.take(self.each.seed == seed).score[:, 0]) for seed in seeds]
        if len(points) < 2:
            return None
        return Estimate(float(np.std(points, ddof=1)), min(points), max(points), len(self.clips))


def _named(prefix: str, found: Evaluation) -> dict[str, Estimate]:
    held = {name: found.named[rule] for name, rule in NAMED.items() if rule in found.named}
    return {f"{prefix}{name}": item for name, item in ({"official": found.official} | held).items()}


def gather(run: Run) -> SoundEvidence:
    """Every number of a run, from its predictions and those of its baselines and back ends.

    Raises:
        RunError: The training has not finished, or the tested recordings are all of one kind.
    """
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions; finish its training with the same command first")
    whole = Predictions.load(run.predictions)
    each = _tested(whole)
    said = each.mean_over_seeds()
    clips = clips_of(said)
    if len(np.unique(said.truth)) < 2:
        raise RunError(
            f"{run.folder} was tested on {len(said)} labelled recordings that are not both normal and anomalous; "
            "`threshold` and `audit` need no anomaly, the scores of this report do"
        )
    scores = {"model": said.score[:, 0]}
    for kind in ("baseline", "backend"):
        for path in sorted(run.private.glob(f"{kind}-*.npz")):
            other = _tested(Predictions.load(path)).mean_over_seeds()
            scores[f"{kind}.{path.stem.removeprefix(f'{kind}-').replace('-', '_')}"] = other.score[:, 0]
    year = year_of(said)
    found = {name: dcase.evaluate(clips, score, year) for name, score in scores.items()}
    against = {
        name.partition(".")[2]: dcase.paired(dcase.official(year), clips, scores["model"], score)
        for name, score in scores.items()
        if name.startswith("baseline.")
    }
    corrected = holm(np.array([item.p for item in against.values()])) if against else np.zeros(0)
    valid = whole.part("valid").mean_over_seeds()
    return SoundEvidence(
        run, said, valid, each, clips, year, found, scores, against, dict(zip(against, corrected, strict=True))
    )


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
