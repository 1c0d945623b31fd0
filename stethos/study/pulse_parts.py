"""What a study of the pulse keeps in its run: whom a pretraining met, and what each arm said of whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from stethos.errors import RunError, SplitError
from stethos.io.files import write_atomic
from stethos.study.arms import gates
from stethos.study.ensemble import scorer
from stethos.study.lead import joined
from stethos.study.partition import Step
from stethos.study.pulse_arms import classical_answers, constant, feature_table, graded_of, linear_probes
from stethos.study.pulses import PATCHES, pulse_scores, pulses_scored
from stethos.study.several import Case
from stethos.study.several_parts import thresholds
from stethos.study.task import EXTERNAL, refuse_mixed
from stethos.study.validate import Operate
from stethos.train.weights import save_weights
from stethos.types import Cohort, Predictions, Run

MET = "met.json"
ARM = "arm-"
FITTED_ON = "features.npz"


def keep_met(run: Run, subjects: np.ndarray) -> None:
    """Keep whom a pretraining learned from or chose by."""
    write_atomic(run.private / MET, json.dumps(sorted({str(subject) for subject in subjects})).encode())


def met_by(run: Run) -> np.ndarray:
    """Whom a pretraining learned from or chose by; nobody where it keeps no list."""
    path = run.private / MET
    return np.array(json.loads(path.read_text()) if path.is_file() else [], dtype=str)


def refuse_met(pretrainings: Sequence[Run], parts: Mapping[str, Cohort]) -> None:
    """Whoever a pretraining met must not be tested afterwards.

    Args:
        pretrainings: Runs of `pretrain`.
        parts: Named parts of a cohort; all but "train" and "valid" are tested.

    Raises:
        RunError: A tested part has subjects that a pretraining has met.
    """
    for run in pretrainings:
        for name, part in parts.items():
            shared = np.intersect1d(met_by(run), part.subjects.astype(str))
            if name not in ("train", "valid") and len(shared):
                raise RunError(
                    f"{len(shared)} subjects of the part {name} were pretrained on in {run.folder}; take the parts "
                    "(split_seed, sites, dates) that the pretraining had, or leave them out of it"
                )


def table_of(method: Callable, case: Case) -> np.ndarray:
    """What a network's method says of every record of a case, `(N, K)`; NaN for those without a usable patch."""
    return pulse_scores(scorer(method, PATCHES), case.prepared, np.arange(len(case.told.cohort)))


def few_labels(
    case: Case,
    rows: Mapping[str, np.ndarray],
    tables: Mapping[str, np.ndarray],
    graded: np.ndarray,
    draw: tuple[float, range],
) -> Iterator[tuple[str, Predictions]]:
    """Linear probes on a share of the training subjects, drawn once a seed, the same for every encoder.

    Args:
        case: Records and their truths.
        rows: Row numbers of every part; the share is of "train".
        tables: Rows of each encoder, `(N, D)`.
        graded: Which tasks are measured, `(K,)`.
        draw: The share, in (0, 1], and the seeds.

    Returns:
        Name of an arm, and what it says under every seed.
    """
    fraction, seeds = draw
    train, subject = case.seen(rows["train"]), case.told.cohort.subjects
    people = np.unique(subject[train])
    for arm, table in tables.items():
        parts = []
        for seed in seeds:
            few = np.random.default_rng((seed, 5)).permutation(people)[: max(2, round(fraction * len(people)))]
            chosen = train[np.isin(subject[train], few)]
            weight, bias = linear_probes(table[chosen], case.told.truth[chosen], subject[chosen], graded)
            parts.append(pulses_scored(case, dict(rows), table @ weight.T + bias, seed))
        yield arm, joined(parts)


def keep_features(run: Run, case: Case, train: np.ndarray) -> None:
    """Keep what the classical control and the mean were fitted on, so that another cohort can be scored by them."""
    rows = case.seen(train)
    features, names = feature_table(case)
    path = run.private / FITTED_ON
    subjects = case.told.cohort.subjects[rows].astype(str)
    np.savez(path, features=features[rows], truth=case.told.truth[rows], subject=subjects, names=np.array(names))


def add_external_arms(run: Run, name: str, case: Case, load: Callable[[Path], Any]) -> None:
    """Score another cohort by every arm of a run, in place of an earlier one of that name.

    Args:
        run: Of `probe` or `train`.
        name: Of the cohort.
        case: Its records.
        load: File of weights → network with `score`.

    Raises:
        RunError: The name is taken by a part of the run, or the cohort shares subjects with it.
        OriginError: One is simulated and the other is not.
    """
    for path in sorted(run.private.glob(f"{ARM}*.npz")):
        arm, said = path.stem.removeprefix(ARM), Predictions.load(path)
        refuse_mixed(said, name, case.told.cohort)
        weights = path.with_suffix(".safetensors")
        table = table_of(load(weights).score, case) if weights.is_file() else _fitted_table(run, arm, case)
        new = pulses_scored(case, {EXTERNAL + name: np.arange(len(table))}, table, int(said.seed[0]))
        joined([said.take(said.split != EXTERNAL + name), new]).save(path)


def _fitted_table(run: Run, arm: str, case: Case) -> np.ndarray:
    """What the mean, or the classical control refitted on what was kept, says of every record, `(N, K)`."""
    with np.load(run.private / FITTED_ON) as kept:
        features, truth, subject, names = (kept[name] for name in ("features", "truth", "subject", "names"))
    table, graded = np.full(case.told.truth.shape, np.nan), graded_of(truth)
    seen = case.seen(np.arange(len(table)))
    if arm == "mean":
        table[seen] = [constant(c[np.isfinite(c)], bool(g)) for c, g in zip(truth.T, graded, strict=True)]
        return table
    new, own = feature_table(case)
    at = {name: place for place, name in enumerate(own)}
    aligned = np.stack([new[:, at[n]] if n in at else np.full(len(new), np.nan) for n in names.tolist()], axis=1)
    table[seen] = classical_answers((features, truth, subject), aligned[seen], graded)
    return table


def keep_arms(
    case: Case,
    rows: Mapping[str, np.ndarray],
    said: Mapping[str, np.ndarray],
    networks: Mapping[str, nn.Module],
    seed: int,
) -> None:
    """Keep what each arm says of every part's records, its weights if it has any, and what the others were fitted on.

    Args:
        case: Records, truths and the run.
        rows: Row numbers of every part.
        said: Answers of each arm for every record of the case, `(N, K)`.
        networks: Those of the arms that are networks.
        seed: Of them.
    """
    for arm, table in said.items():
        pulses_scored(case, rows, table, seed).save(case.run.private / f"{ARM}{arm}.npz")
    for arm, model in networks.items():
        told = {"arm": getattr(model, "arm", arm)}
        save_weights(model, case.run.private / f"{ARM}{arm}.safetensors", told)
    keep_features(case.run, case, rows["train"])


def keep_few(run: Run, fraction: float, few: Iterable[tuple[str, Predictions]]) -> None:
    """Keep what probes on a share of the labels say."""
    for arm, said in few:
        said.save(run.private / f"label-{fraction:g}-{arm}.npz")


def keep_main(run: Run, model: nn.Module, arm: str, operate: Operate) -> None:
    """Make one arm the run's own: its predictions, its weights, its operating points, and what it may give out."""
    said = Predictions.load(run.private / f"{ARM}{arm}.npz")
    said.save(run.predictions)
    mean = Predictions.load(run.private / f"{ARM}mean.npz")
    told = {"arm": getattr(model, "arm", arm), "named": arm}
    allowed = gates(said, mean)
    yes_or_no = [name not in allowed for name in said.names]
    points = iter(thresholds(_only(said, yes_or_no), operate) if any(yes_or_no) else [])
    told["thresholds"] = json.dumps([next(points) if kind else None for kind in yes_or_no])
    told["gates"] = json.dumps(allowed)
    save_weights(model, run.weights, told)


def _only(said: Predictions, kept: Sequence[bool]) -> Predictions:
    """Some of the tasks."""
    places = np.flatnonzero(kept)
    names = tuple(said.names[place] for place in places)
    return replace(said, score=said.score[:, places], truth=said.truth[:, places], names=names)


def unmet(case: Case, pretrainings: Sequence[Run]) -> tuple[np.ndarray, Step]:
    """Rows with a usable patch of subjects that no pretraining met, and the box of the flow that counts the others."""
    subjects = case.told.cohort.subjects.astype(str)
    met = np.isin(subjects, np.concatenate([met_by(run) for run in pretrainings] or [np.array([], str)]))
    rows = case.seen(np.flatnonzero(~met))
    lost = f"{int(met.sum())} of subjects that a pretraining met" if met.any() else ""
    return rows, Step("cross-validated", len(rows), len(np.unique(subjects[rows])), lost)


def crossed(
    case: Case, rows: np.ndarray, tables: Mapping[str, np.ndarray], graded: np.ndarray, folds: int
) -> dict[str, Predictions]:
    """Every record answered once, by what was fitted on the other folds; folds are of whole subjects.

    Args:
        case: Records and their truths.
        rows: Row numbers, all with a usable patch.
        tables: Rows of each encoder for every record of the case, `(N, D)`; each gets a linear probe.
        graded: Which tasks are measured, `(K,)`.
        folds: How many; at most one a subject.

    Raises:
        SplitError: There are fewer than three subjects.
    """
    truth, subject = case.told.truth, case.told.cohort.subjects
    features, _ = feature_table(case)
    said = {arm: np.full(truth.shape, np.nan) for arm in (*tables, "classical", "mean")}
    for inside, outside in subject_folds(subject[rows], folds):
        train, test = rows[inside], rows[outside]
        for arm, table in tables.items():
            weight, bias = linear_probes(table[train], truth[train], subject[train], graded)
            said[arm][test] = table[test] @ weight.T + bias
        fitted_on = (features[train], truth[train], subject[train])
        said["classical"][test] = classical_answers(fitted_on, features[test], graded)
        known = [truth[train, k][np.isfinite(truth[train, k])] for k in range(len(graded))]
        said["mean"][test] = [constant(column, bool(of)) for column, of in zip(known, graded, strict=True)]
    return {arm: pulses_scored(case, {"folds": rows}, table, 0) for arm, table in said.items()}


def subject_folds(subject: np.ndarray, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of row numbers, to fit on and to test, of folds of whole subjects.

    Raises:
        SplitError: There are fewer than three subjects, or fewer than two folds.
    """
    from sklearn.model_selection import GroupKFold

    people = len(np.unique(subject))
    if people < 3 or folds < 2:
        raise SplitError(f"cross-validation needs three subjects and two folds or more; got {people} and {folds}")
    splitter = GroupKFold(min(folds, people), shuffle=True, random_state=0)
    yield from splitter.split(subject, subject, subject)
