"""Which waves a finished model rests on, over many recordings; kept with the run, read by the report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import CohortError
from stethos.explain.baseline import Baseline, MeanBeat
from stethos.explain.waves import ISOELECTRIC, explain, explain_many
from stethos.io.files import write_atomic
from stethos.report.words import decimal
from stethos.signal.prepare import PREPARATIONS
from stethos.study.lead import LeadWindows
from stethos.study.progress import bar
from stethos.study.task import Score
from stethos.types import Attribution, Cohort, Predictions, Record, Run, Signal

EXAMPLES = 5
REFERENCE = 200  # recordings without the event behind the mean beat


@dataclass(frozen=True, eq=False)
class Attributed:
    """Attributions of the same recordings over several baselines.

    Args:
        by_baseline: The isoelectric line first.
        record: Record identifiers, `(N,)`.
        subject: Subject of each, `(N,)`.
        truth: 0 or 1, or measured, `(N,)`.
        examples: Strips with the contribution of every sample in logits, `(T,)`, and a caption.
    """

    by_baseline: tuple[Attribution, ...]
    record: np.ndarray
    subject: np.ndarray
    truth: np.ndarray
    examples: tuple[tuple[Signal, np.ndarray, str], ...]


def chosen(said: Predictions, splits: Sequence[str], most: int, seed: int = 0) -> np.ndarray:
    """Rows to explain: half with the event as far as there are so many, the rest without, drawn at random.

    Args:
        said: One row a record.
        splits: Parts to draw from.
        most: How many rows.
        seed: Of the draw.
    """
    generator = np.random.default_rng(seed)
    tested = np.isin(said.split, splits)
    events = generator.permutation(np.flatnonzero(tested & (said.truth[:, 0] == 1)))[: most // 2]
    others = generator.permutation(np.flatnonzero(tested & (said.truth[:, 0] != 1)))[: most - len(events)]
    return np.sort(np.concatenate([events, others]))


def attribute(
    run: Run, people: Cohort, said: Predictions, score: Score, windows: LeadWindows, most: int = 200
) -> Attributed:
    """Explain recordings of the tested parts and keep the result in the run.

    Args:
        run: Of the model.
        people: Holds the recordings.
        said: What the model said of them, one row a record.
        score: The model.
        windows: How recordings are prepared.
        most: How many recordings.

    Raises:
        CohortError: None of the tested recordings is in the cohort.
    """
    place = {record: row for row, record in enumerate(people.rows["id"].astype(str))}
    rows = chosen(said, sorted(set(said.split.tolist()) - {"train", "valid"}), most)
    rows = rows[[said.record[row] in place for row in rows]]
    if not len(rows):
        raise CohortError("none of the run's tested records is in this cohort; give the cohort it was trained on")
    part, preparation = said.take(rows), PREPARATIONS[windows.preparation]
    leads = [_lead(people, place[record], windows) for record in part.record]
    calm = np.flatnonzero((said.split == "train") & (said.truth[:, 0] == 0))[:REFERENCE]
    usual = MeanBeat.of((_lead(people, place[said.record[row]], windows) for row in calm), preparation)
    baselines: list[Baseline] = [ISOELECTRIC, usual] if len(calm) else [ISOELECTRIC]
    found = []
    with bar("explaining") as progress:
        for k, baseline in enumerate(baselines):
            done = k * len(leads)
            found.append(
                explain_many(
                    score,
                    leads,
                    preparation,
                    baseline=baseline,
                    progress=lambda count, done=done: progress(done + count, len(baselines) * len(leads)),  # type: ignore[misc]
                )
            )
    examples = _examples(part, leads, score, windows)
    result = Attributed(tuple(found), part.record, part.subject, part.truth[:, 0], examples)
    _save(run.private / "attribution.npz", result)
    return result


def explain_record(score: Score, windows: LeadWindows, record: Record) -> dict[str, Any]:
    """What every wave of one recording contributes to its logit, over the isoelectric line.

    Args:
        score: The model.
        windows: How recordings are prepared.
        record: The recording; its first usable window is explained.

    Returns:
        Plain values: the logits of the recording and of the baseline, the contribution of every wave (they add up to
        the difference), and its median start and stop in seconds from R.

    Raises:
        ChannelError: The lead is missing.
        QualityError: Fewer than two beats are found, or the lead is too short.
    """
    told = explain(score, windows.first(record.pick(windows.lead)), PREPARATIONS[windows.preparation])
    waves = {name: round(float(value), 6) for name, value in zip(told.names, told.values[:, 0], strict=True)}
    bounds = {
        name: None if np.isnan(ends).any() else [round(float(end), 3) for end in ends]
        for name, ends in zip(told.names, told.bounds, strict=True)
    }
    logit, empty = float(told.full[0]), float(told.empty[0])
    return {"logit": logit, "baseline_logit": empty, "shapley": waves, "bounds": bounds, "baseline": told.baseline}


def attribute_fold(
    people: Cohort, tested: Predictions, calm: Sequence[str], score: Score, windows: LeadWindows
) -> Attributed:
    """Explain every tested record of one fold by that fold's own networks; no examples.

    Args:
        people: Holds the recordings.
        tested: What the fold's networks said of its tested records, one row a record.
        calm: Identifiers of training records without the event, for the mean beat.
        score: The fold's networks.
        windows: How recordings are prepared.
    """
    place = {record: row for row, record in enumerate(people.rows["id"].astype(str))}
    preparation = PREPARATIONS[windows.preparation]
    leads = [_lead(people, place[record], windows) for record in tested.record]
    usual = MeanBeat.of((_lead(people, place[record], windows) for record in calm[:REFERENCE]), preparation)
    found = tuple(explain_many(score, leads, preparation, baseline=baseline) for baseline in (ISOELECTRIC, usual))
    return Attributed(found, tested.record, tested.subject, tested.truth[:, 0], ())


def keep_folds(run: Run, folds: Sequence[Attributed]) -> None:
    """Keep the attributions of all folds, one below the other, with the run."""
    first = folds[0]
    stacked = tuple(
        replace(
            item,
            values=np.concatenate([fold.by_baseline[k].values for fold in folds]),
            bounds=np.concatenate([fold.by_baseline[k].bounds for fold in folds]),
            interaction=_stacked([fold.by_baseline[k].interaction for fold in folds]),
        )
        for k, item in enumerate(first.by_baseline)
    )
    rows = {name: np.concatenate([getattr(fold, name) for fold in folds]) for name in ("record", "subject", "truth")}
    _save(run.private / "attribution.npz", Attributed(stacked, **rows, examples=()))


def _stacked(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """One below the other; None where a part was not kept."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _lead(people: Cohort, row: int, windows: LeadWindows) -> Signal:
    """The lead as the model saw it: the first usable window, the right way up."""
    return windows.first(people[row].pick(windows.lead))


def _examples(
    part: Predictions, leads: Sequence[Signal], score: Score, windows: LeadWindows
) -> tuple[tuple[Signal, np.ndarray, str], ...]:
    """Strips from the highest score to the lowest, evenly spaced in rank."""
    order = np.argsort(-part.score[:, 0])
    picked = order[np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).round().astype(int)]
    shown = []
    for row in picked:
        told = explain(score, leads[row], PREPARATIONS[windows.preparation])
        words = f"{part.names[0]}: {'yes' if part.truth[row, 0] == 1 else 'no'}; logit {decimal(part.score[row, 0], 2)}"
        shown.append((leads[row], told.along(leads[row]), words))
    return tuple(shown)


def _save(path: Path, found: Attributed) -> None:
    baselines = [item.baseline for item in found.by_baseline]
    arrays: dict[str, Any] = {"names": np.array(found.by_baseline[0].names), "baselines": np.array(baselines)}
    arrays |= {"record": found.record, "subject": found.subject, "truth": found.truth}
    for k, item in enumerate(found.by_baseline):
        arrays |= {f"values-{k}": item.values, f"bounds-{k}": item.bounds}
        if item.interaction is not None:
            arrays[f"interaction-{k}"] = item.interaction
    for k, (lead, weight, words) in enumerate(found.examples):
        arrays |= {f"lead-{k}": lead.values, f"rate-{k}": np.array(lead.rate), f"weight-{k}": weight}
        arrays |= {f"said-{k}": np.array([lead.channels[0], lead.unit, words])}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def load_attributed(run: Run) -> Attributed | None:
    """What `attribute` kept; None where nothing was explained."""
    path = run.private / "attribution.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        names, baselines = tuple(file["names"].tolist()), file["baselines"].tolist()
        kept = {k: file[f"interaction-{k}"] for k in range(len(baselines)) if f"interaction-{k}" in file.files}
        parts = [
            Attribution(file[f"values-{k}"], names, file[f"bounds-{k}"], words, kept.get(k))
            for k, words in enumerate(baselines)
        ]
        shown = []
        for k in range(sum(name.startswith("lead-") for name in file.files)):
            channel, unit, words = file[f"said-{k}"].tolist()
            lead = Signal(file[f"lead-{k}"], float(file[f"rate-{k}"]), (channel,), unit)
            shown.append((lead, file[f"weight-{k}"], words))
        return Attributed(tuple(parts), file["record"], file["subject"], file["truth"], tuple(shown))
