"""The same recipe trained with one part changed at a time: what the paired differences say of that part."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stethos.errors import CohortError, RunError
from stethos.metrics import dcase
from stethos.metrics.compare import Difference, holm
from stethos.report.words import decimal, spoken
from stethos.study import clips, sound_parts
from stethos.study.clips import Listening
from stethos.study.sound_evidence import clips_of, year_of
from stethos.train.run import write_metrics
from stethos.types import Cohort, Estimate, Predictions, Run


@dataclass(frozen=True)
class Gain:
    """How much better one variant is than another on the same recordings, by the official score.

    Args:
        other: Official score of the other variant.
        difference: Paired; its interval is over recordings, of the mean score over seeds.
        p: Two-sided, after Holm's correction over all variants compared.
        seeds: The same difference by the networks of each seed.
    """

    other: Estimate
    difference: Difference
    p: float
    seeds: tuple[float, ...]

    @property
    def sign(self) -> int:
        """1 for better, −1 for worse, 0 where the corrected p is 0.05 or more: not shown to differ."""
        return int(np.sign(self.difference.estimate.value)) if self.p < 0.05 else 0


def gains(own: Run, others: Mapping[str, Run]) -> dict[str, Gain]:
    """A variant against each of the others.

    Args:
        own: A finished run.
        others: Name of each other variant → its finished run.

    Raises:
        RunError: A training has not finished, or the runs were tested on other recordings or with other seeds.
    """
    mine = _tested(own)
    mean = mine.mean_over_seeds()
    held, rule = clips_of(mean), dcase.official(year_of(mean))
    found = {}
    for name, run in others.items():
        theirs = _tested(run)
        _refuse_unlike(mine, theirs, f"{own.folder} and {run.folder}")
        score = theirs.mean_over_seeds().score[:, 0]
        difference = dcase.paired(rule, held, mean.score[:, 0], score)
        pairs = ([part.score[part.seed == seed, 0] for part in (mine, theirs)] for seed in np.unique(mine.seed))
        each = tuple(dcase.point(rule, held, one) - dcase.point(rule, held, two) for one, two in pairs)
        found[name] = (dcase.estimate(rule, held, score), difference, each)
    corrected = holm(np.array([difference.p for _, difference, _ in found.values()]))
    return {
        name: Gain(other, difference, float(p), each)
        for (name, (other, difference, each)), p in zip(found.items(), corrected, strict=True)
    }


def keep_gains(run: Run, title: str, own: str, found: Mapping[str, Gain], said: str) -> None:
    """Keep a variant's differences from the others with its run, in metrics.json and for the section Ablation.

    Args:
        run: Of the variant.
        title: Of the figure.
        own: Name of the variant.
        found: From `gains`.
        said: What follows from them, in a sentence or two.
    """
    unit = f"score, {own} minus this"
    rows = {name: {unit: sound_parts.plain(gain.difference.estimate)} for name, gain in found.items()}
    told = {"title": title, "unit": unit, "found": rows, "reference": 0.0, "note": f"{said} {_note(found)}"}
    sound_parts.keep(run, "ablation", told)
    origin = Predictions.load(run.predictions).origin
    numbers = {f"ablation.{own}_minus_{name}.official": gain.difference.estimate for name, gain in found.items()}
    write_metrics(run, numbers, origin)


def _note(found: Mapping[str, Gain]) -> str:
    scores = "; ".join(f"{name} {spoken(gain.other)}" for name, gain in found.items())
    chances = ", ".join(f"{name} {gain.p:.3g}" for name, gain in found.items())
    words = (
        f"Official score of the others: {scores}. Holm's p of no difference: {chances}. Paired: the same draws of the "
        "same recordings for both, the same steps and seeds. The intervals are over recordings, not over trainings"
    )
    first = next(iter(found.values()))
    if len(first.seeds) < 2:
        return f"{words}: with one seed each, a difference may be the seed's."
    spans = (f"{name} {decimal(min(gain.seeds), 3)} to {decimal(max(gain.seeds), 3)}" for name, gain in found.items())
    return f"{words}. By each of {len(first.seeds)} seeds alone the difference is: {'; '.join(spans)}."


def refuse_untestable(people: Cohort, listening: Listening) -> None:
    """Raise before anything is trained where no tested recording could tell variants apart.

    Raises:
        CohortError: The tested part has not both normal and anomalous recordings.
    """
    parts, _ = clips.divide(people, listening)
    anomaly = people.rows["anomaly"] if "anomaly" in people.rows else np.full(len(people), np.nan)
    kinds = set(anomaly[parts["internal"]].tolist())
    if not {0.0, 1.0} <= kinds:
        raise CohortError(
            f"an ablation needs tested recordings that are normal and others that are anomalous; of "
            f"{len(parts['internal'])} tested ones "
            f"{int(np.sum(anomaly[parts['internal']] == 1))} are known to be anomalous: add labelled ones"
        )


def share_windows(first: Run, other: Run) -> None:
    """Give a run that is about to begin the windows that another run cut of the same recordings, without a copy.

    Where the disk knows no hard links nothing is shared, and the windows are cut again.

    Args:
        first: Has its windows.
        other: A folder that need not exist yet.
    """
    there, partial = other.private / "prepared", other.private / "prepared.part"
    if there.exists():
        return
    other.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(first.private / "prepared", partial, copy_function=_link)
        partial.rename(there)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)


def _link(source: str, destination: str) -> str:
    Path(destination).hardlink_to(source)
    return destination


def _tested(run: Run) -> Predictions:
    """Tested recordings of known truth, by every seed."""
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions; finish its training with the same command first")
    part = Predictions.load(run.predictions).part("internal")
    return part.take(np.isfinite(part.truth[:, 0]))


def _refuse_unlike(one: Predictions, two: Predictions, names: str) -> None:
    for what in ("record", "truth", "seed"):
        if not np.array_equal(getattr(one, what), getattr(two, what)):
            raise RunError(
                f"{names} differ in what they were tested on ({what}); compare runs of one cohort, one division and "
                "the same seeds"
            )
