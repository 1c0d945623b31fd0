"""Which waves every label of a finished model rests on, over many recordings, against what is expected."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stethos.errors import CohortError, ScoreError
from stethos.explain.baseline import Baseline, MeanBeat
from stethos.explain.cohort import contrast, shares
from stethos.explain.waves import ISOELECTRIC, explain, explain_outputs
from stethos.io.files import write_atomic
from stethos.signal.prepare import PREPARATIONS
from stethos.study.attribute import REFERENCE
from stethos.study.lead import LeadWindows
from stethos.study.progress import bar
from stethos.study.task import Score
from stethos.study.validate import tested
from stethos.types import Attribution, Cohort, Estimate, Predictions, Record, Run, Signal

FILE = "attribution-several.npz"


@dataclass(frozen=True, eq=False)
class LabelAttributions:
    """Attributions of the same recordings for every label.

    Args:
        names: Of the K labels.
        by_label: One attribution a label, over the isoelectric line.
        by_mean: The same over the mean beat of training recordings; empty where there was none.
        subject: Subject of each recording, `(N,)`.
        truth: 1, 0 or NaN, `(N, K)`.
    """

    names: tuple[str, ...]
    by_label: tuple[Attribution, ...]
    by_mean: tuple[Attribution, ...]
    subject: np.ndarray
    truth: np.ndarray


def chosen_for_all(said: Predictions, most: int, seed: int = 0) -> np.ndarray:
    """Tested rows to explain: of every label as many with it as fit into half of them, the rest at random.

    Args:
        said: One row a record.
        most: How many rows.
        seed: Of the draw.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(np.flatnonzero(np.isin(said.split, tested(said))))
    each = max(1, most // (2 * len(said.names)))
    picked = {row for column in said.truth.T for row in rows[column[rows] == 1][:each].tolist()}
    for row in rows.tolist():
        if len(picked) >= most:
            break
        picked.add(row)
    return np.sort(list(picked))


def attribute_several(
    run: Run, people: Cohort, score: Score, windows: LeadWindows, most: int = 200
) -> LabelAttributions:
    """Explain recordings of the tested parts for every label and keep the result in the run.

    Args:
        run: A finished run.
        people: Holds the recordings.
        score: The model, K logits.
        windows: How recordings are prepared.
        most: How many recordings.

    Raises:
        CohortError: None of the tested recordings is in the cohort.
    """
    said = Predictions.load(run.predictions).mean_over_seeds()
    place = {record: row for row, record in enumerate(people.rows["id"].astype(str))}
    rows = chosen_for_all(said, most)
    rows = rows[[said.record[row] in place for row in rows]]
    if not len(rows):
        raise CohortError("none of the run's tested records is in this cohort; give the cohort it was trained on")
    part, preparation = said.take(rows), PREPARATIONS[windows.preparation]
    leads = [_lead(people, place[record], windows) for record in part.record]
    calm = np.flatnonzero((said.split == "train") & ~(said.truth == 1).any(axis=1))[:REFERENCE]
    calm = calm[[said.record[row] in place for row in calm]]
    usual = MeanBeat.of((_lead(people, place[said.record[row]], windows) for row in calm), preparation)
    baselines: list[Baseline] = [ISOELECTRIC, usual] if len(calm) else [ISOELECTRIC]
    told = []
    with bar("explaining") as progress:
        for k, baseline in enumerate(baselines):
            done = k * len(leads)
            told.append(
                explain_outputs(
                    score, leads, preparation, len(said.names), baseline=baseline,
                    progress=lambda count, done=done: progress(done + count, len(baselines) * len(leads)),  # type: ignore[misc]
                )
            )  # fmt: skip
    by_mean = tuple(told[1]) if len(told) > 1 else ()
    found = LabelAttributions(said.names, tuple(told[0]), by_mean, part.subject, part.truth)
    _save(run, found)
    return found


def explain_labels(score: Score, windows: LeadWindows, record: Record, names: Sequence[str]) -> dict[str, Any]:
    """What every wave of one recording contributes to the logit of every label, over the isoelectric line."""
    told = explain(score, windows.first(record.pick(windows.lead)), PREPARATIONS[windows.preparation])
    found = {}
    for k, name in enumerate(names):
        waves = {wave: round(float(value), 6) for wave, value in zip(told.names, told.values[:, k], strict=True)}
        found[name] = {"logit": float(told.full[k]), "baseline_logit": float(told.empty[k]), "shapley": waves}
    bounds = {
        name: None if np.isnan(ends).any() else [round(float(end), 3) for end in ends]
        for name, ends in zip(told.names, told.bounds, strict=True)
    }
    return {"labels": found, "bounds": bounds, "baseline": told.baseline}


def _lead(people: Cohort, row: int, windows: LeadWindows) -> Signal:
    return windows.first(people[row].pick(windows.lead))


def _save(run: Run, found: LabelAttributions) -> None:
    arrays: dict[str, Any] = {
        "names": np.array(found.names),
        "subject": found.subject.astype(str),
        "truth": found.truth,
    }
    for kind, parts in (("line", found.by_label), ("mean", found.by_mean)):
        if parts:
            arrays |= {f"{kind}-values": np.stack([item.values for item in parts]), f"{kind}-bounds": parts[0].bounds}
            arrays |= {f"{kind}-waves": np.array(parts[0].names), f"{kind}-words": np.array(parts[0].baseline)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(run.private / FILE, buffer.getvalue())


def load_several(run: Run) -> LabelAttributions | None:
    """What `attribute_several` kept; None where nothing was explained."""
    path = run.private / FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:

        def parts(kind: str) -> tuple[Attribution, ...]:
            if f"{kind}-values" not in file.files:
                return ()
            names, bounds, words = (
                tuple(file[f"{kind}-waves"].tolist()),
                file[f"{kind}-bounds"],
                str(file[f"{kind}-words"]),
            )
            return tuple(Attribution(values, names, bounds, words) for values in file[f"{kind}-values"])

        return LabelAttributions(
            tuple(file["names"].tolist()), parts("line"), parts("mean"), file["subject"], file["truth"]
        )


def wave_contrasts(found: LabelAttributions) -> dict[str, dict[str, Estimate]]:
    """Label → wave → mean contribution with the label minus without it, logits; without labels that cannot be told."""
    told = {}
    for name, item, truth in zip(found.names, found.by_label, found.truth.T, strict=True):
        try:
            told[name] = contrast(item, truth, found.subject)
        except ScoreError:
            continue
    return told


def wave_shares(found: LabelAttributions) -> dict[str, dict[str, Estimate]]:
    """Label → wave → mean share of what moves the logit."""
    return {name: shares(item, found.subject) for name, item in zip(found.names, found.by_label, strict=True)}


def several_wave_numbers(run: Run) -> dict[str, Estimate]:
    """Shares and contrasts of every label by dotted name; none where nothing was explained."""
    found = load_several(run)
    if found is None:
        return {}
    numbers: dict[str, Estimate] = {}
    kinds: Sequence[tuple[str, Mapping[str, Mapping[str, Estimate]]]]
    kinds = (("share", wave_shares(found)), ("difference", wave_contrasts(found)))
    for kind, table in kinds:
        for name, waves in table.items():
            numbers |= {f"shapley.{name}.{kind}.{wave}": item for wave, item in waves.items()}
    return numbers
