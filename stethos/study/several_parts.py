"""What a study of several labels keeps in its run besides predictions, and what it refuses."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from stethos.errors import CohortError, QualityError, RunError, ScoreError
from stethos.io.files import write_atomic
from stethos.signal.prepare import PREPARATIONS, prepare_windows
from stethos.study import controls
from stethos.study.controls import linear_probe
from stethos.study.ensemble import scorer
from stethos.study.judge import ADULTS
from stethos.study.lead import LeadWindows, joined, mean_of_windows, record_scores
from stethos.study.paired import Pairs, kinship
from stethos.study.partition import Step
from stethos.study.several import Case, Told, label, several_scored
from stethos.study.task import EXTERNAL, Score, refuse_mixed
from stethos.study.validate import Operate, known, sigmoid, threshold_of
from stethos.text.overlap import Shared
from stethos.train.run import read_config
from stethos.train.weights import read_metadata, sha256
from stethos.types import Cohort, Predictions, Record, Run

ZERO_SHOT = "zero-shot.npz"
READING = "reading.json"
CENTRED = 512  # training records that a mean logit is taken of


def prepared_here(told: Told, windows: LeadWindows) -> Pairs:
    """Pairs of a small cohort, prepared in memory; refused recordings are left out."""
    preparation = PREPARATIONS[windows.preparation]
    held = [prepare_windows(record.pick(windows.lead), preparation)[0] for record in told.cohort]
    record = np.repeat(np.arange(len(held)), [len(item) for item in held])
    kin = kinship(told.cohort.subjects, told.text, told.truth)
    return Pairs(np.concatenate(held).__getitem__, record, kin[record], told.truth[record])


def languages_of(told: Told) -> list[str]:
    """Languages of the reports, the commonest first."""
    found = {
        name.removeprefix("language "): count for name, count in told.counts.items() if name.startswith("language ")
    }
    return sorted(found, key=lambda name: -found[name])


def shared_step(case: Case, train: np.ndarray, shared: Sequence[Shared]) -> Step:
    """The box of the cohort flow that says how many training reports were left out for a phrase of a tested one."""
    rows = len({item.train for item in shared})
    lost = f"{rows} whose report shares a long phrase with one tested report alone" if rows else ""
    return Step("pretrained on", len(train), len(np.unique(case.told.cohort.subjects[train])), lost)


def write_reading(run: Run, told: Told, tower: str = "", unknown: float = 0.0) -> None:
    """Keep which languages the reports are in, which tower read them, and how much of it had no word for."""
    stated = {name: [int((column == value).sum()) for value in (1, 0)] for name, column in _columns(told)}
    held = {"tower": tower, "unknown_tokens": unknown, "counts": told.counts, "stated": stated}
    write_atomic(run.folder / READING, (json.dumps(held, indent=2, ensure_ascii=False) + "\n").encode())


def _columns(told: Told) -> Sequence[tuple[str, np.ndarray]]:
    return list(zip(told.names, told.truth.T, strict=True))


def refuse_unlearnable(case: Case, train: np.ndarray) -> None:
    """Labels without a training record of either kind are named in the log; without any other there is nothing to do.

    Raises:
        CohortError: No label has training records with and without it.
    """
    truth = case.told.truth[case.seen(train)]
    bad = [name for name, column in zip(case.told.names, truth.T, strict=True) if not {0, 1} <= set(column.tolist())]
    if len(bad) == len(case.told.names):
        raise CohortError(f"needs training records with and without a label; {', '.join(bad)} have one kind or none")
    if bad:
        logging.getLogger("stethos").warning("not learned, for want of records of both kinds: %s", ", ".join(bad))


def start_at_prevalence(model: Any, case: Case, rows: np.ndarray) -> None:
    """Set biases such that the mean logit of the training rows is the log odds of each label among them.

    Args:
        model: With `embed` and a linear `head` on what it gives.
        case: Records, labels, windows.
        rows: Row numbers of training records with a usable window.
    """
    truth = case.told.truth[rows]
    known = np.isfinite(truth)
    base = np.clip(np.where(known, truth, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), 1e-2, 1 - 1e-2)
    centre = record_scores(scorer(model.embed), case.prepared, rows[:CENTRED]).mean(axis=0)
    with torch.no_grad():
        mean = model.head.weight @ torch.from_numpy(centre).to(model.head.weight)
        model.head.bias.copy_(torch.from_numpy(np.log(base / (1 - base))).to(mean) - mean)


def probes(features: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A tuned linear probe for every label, weights `(K, D)` and biases `(K,)`; 0 where a label has one kind only.

    Penalties are a factor of 30 apart, for there are many labels.
    """
    weight, bias = np.zeros((truth.shape[1], features.shape[1])), np.zeros(truth.shape[1])
    for number, column in enumerate(truth.T):
        there = np.isfinite(column)
        if len(np.unique(column[there])) == 2:
            weight[number], bias[number] = linear_probe(
                features[there], column[there], subject[there], strengths=controls.STRENGTHS[::3]
            )
    return weight, bias


def thresholds(said: Predictions, operate: Operate) -> list[float | None]:
    """Operating point of every label, chosen on the validation part, in logits; None where it does not allow one."""
    found: list[float | None] = []
    for number in range(len(said.names)):
        one = label(said, number)
        try:
            found.append(threshold_of(one, operate) if len(known(one, "valid")) else None)
        except ScoreError as error:
            logging.getLogger("stethos").warning("%s has no operating point: %s", said.names[number], error)
            found.append(None)
    return found


def thresholds_of(run: Run) -> list[float]:
    """The same of a finished run, NaN for none; empty for a run that has none at all."""
    held = json.loads(read_metadata(run.weights).get("thresholds", "[]"))
    return [math.nan if item is None else float(item) for item in held]


def judged_several(
    run: Run,
    score: Score,
    points: Sequence[float],
    windows: LeadWindows,
    record: Record,
    names: Sequence[str],
) -> dict[str, Any]:
    """Score and decision of every label, quality and the model's hash for one recording.

    Args:
        run: Of the model.
        score: The model.
        points: Operating point of every label in logits, NaN for none; empty for scores without decisions.
        windows: How recordings are cut and prepared.
        record: The recording, with what is known of the person among its facts.
        names: Of the labels.
    """
    told: dict[str, Any] = {"model": sha256(run.weights)}
    if read_config(run)["origin"] != "real":
        told["warning"] = "the model was trained on a simulated world"
    refused = ADULTS.check(record)
    try:
        values, facts, weights = (None, {}, []) if refused else windows(record)
    except QualityError as error:
        values, facts, weights, refused = None, {}, [], [str(error)]
    if values is None:
        return {"decision": "abstain", "reason": "; ".join(refused), "labels": {}, **told}
    logits = mean_of_windows(score(values), weights)
    labels = {name: _decided(logits[k], points[k] if points else math.nan) for k, name in enumerate(names)}
    seen = {
        "quality": facts["quality"],
        "windows_used": int(facts["windows_used"]),
        "not_checked": ADULTS.unchecked(record),
    }
    return {"decision": "answered", "labels": labels, **seen, **told}


def _decided(logit: float, point: float) -> dict[str, Any]:
    decision = "none" if math.isnan(point) else "above threshold" if logit >= point else "below threshold"
    return {"logit": float(logit), "score": float(sigmoid(np.array(logit))), "decision": decision}


def add_external_several(run: Run, name: str, case: Case, networks: Mapping[str, Sequence[tuple[int, Score]]]) -> None:
    """Score another cohort and put it beside the run's own parts, in place of an earlier one of that name.

    Raises:
        RunError: The name is taken by a part of the run, or the cohort shares subjects with it.
        OriginError: One is simulated and the other is not.
    """
    for file, members in networks.items():
        path = run.private / f"{file}.npz"
        held = Predictions.load(path)
        refuse_mixed(held, name, case.told.cohort)
        rows = {EXTERNAL + name: np.arange(len(case.told.cohort))}
        new = [several_scored(case, rows, score, seed) for seed, score in members]
        joined([held.take(held.split != EXTERNAL + name), *new]).save(path)


def refuse_pretrained_on(before: Run | None, parts: Mapping[str, Cohort]) -> None:
    """Whoever a pretraining learned from, or chose by, must not be tested afterwards.

    Args:
        before: A run of `pretrain`, or another that it says nothing of; None for none.
        parts: Named parts of a cohort; all but "train" and "valid" are tested.

    Raises:
        RunError: A tested part has subjects that the pretraining has met.
    """
    path = before.private / ZERO_SHOT if before else None
    if path is None or not path.is_file():
        return
    held = Predictions.load(path)
    met = held.subject[np.isin(held.split, ("train", "valid"))]
    for name, part in parts.items():
        shared = np.intersect1d(met, part.subjects.astype(str))
        if name not in ("train", "valid") and len(shared):
            raise RunError(
                f"{len(shared)} subjects of the part {name} were pretrained on; take the parts (split_seed, sites, "
                f"dates) that the pretraining had"
            )


def keep_zero_shot(run: Run, said: Predictions) -> None:
    """Keep what prompts say of records; of another cohort beside what is there, in place of an earlier one."""
    path = run.private / ZERO_SHOT
    if path.is_file():
        held = Predictions.load(path)
        said = joined([held.take(~np.isin(held.split, said.split)), said])
    said.save(path)
