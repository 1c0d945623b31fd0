"""Several labels of one cohort of single-lead recordings: what reports or columns say, windows, scores."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import nn

from stethos.data.cohort import report_texts
from stethos.data.prepared import Prepared
from stethos.data.target import parse_target
from stethos.errors import CohortError, RecipeError
from stethos.signal.prepare import PREPARATIONS
from stethos.study.ensemble import scorer
from stethos.study.lead import LeadWindows, as_predictions, joined, prepare_lead, record_scores
from stethos.study.partition import Step, step
from stethos.study.task import Score, fingerprint
from stethos.text.findings import Lexicon, Reading, read_report
from stethos.train.dist import chief_first
from stethos.types import Cohort, Predictions, Run


@dataclass(frozen=True)
class Asking:
    """What is asked of a cohort.

    Args:
        lexicon: Concepts that are read from the reports.
        labels: Conditions such as "NORM == 1" that are the labels instead; empty for the concepts.
        exclude: Conditions in the same words; a record that meets one is left out and counted.
        windows: How recordings are cut and prepared.
    """

    lexicon: Lexicon
    labels: tuple[str, ...]
    exclude: tuple[str, ...]
    windows: LeadWindows

    @property
    def names(self) -> tuple[str, ...]:
        """What the K labels are called."""
        return self.labels or tuple(self.lexicon.concepts)


@dataclass(frozen=True, eq=False)
class Told:
    """Records that something is known of.

    Args:
        cohort: N of them; measurements that only the report gives are in its columns too.
        names: Of the K labels.
        truth: 1, 0, NaN where unknown, `(N, K)`.
        text: Report of each, "" where there is none.
        flow: How many records came this far, and why the others did not.
        counts: How many reports are in which language, and how many contradict their own measurements.
    """

    cohort: Cohort
    names: tuple[str, ...]
    truth: np.ndarray
    text: tuple[str, ...]
    flow: list[Step]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Case:
    """What was told of a cohort, its windows, and the run that is made of them."""

    run: Run
    told: Told
    prepared: Prepared

    def rows_of(self, part: Cohort) -> np.ndarray:
        """Row numbers of a part's records, `(n,)`."""
        return np.flatnonzero(np.isin(self.told.cohort.rows["id"], part.rows["id"]))

    def rows(self, parts: Mapping[str, Cohort]) -> dict[str, np.ndarray]:
        """Row numbers of every part by name."""
        return {name: self.rows_of(part) for name, part in parts.items()}

    def seen(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows that have a usable window."""
        return rows[np.isin(rows, self.prepared.window_record)]


def tell(people: Cohort, asking: Asking) -> Told:
    """Read the labels of a cohort from its reports, or from its columns.

    A record stays if it has a report or a known label.

    Raises:
        CohortError: Nothing is known of any record.
        RecipeError: A label cannot be parsed, or the preparation is unknown.
    """
    if asking.windows.preparation not in PREPARATIONS:
        raise RecipeError(f"--prepare is one of {', '.join(PREPARATIONS)}; got {asking.windows.preparation}")
    flow = [step("all records", people)]
    for condition in asking.exclude:
        held = parse_target(condition).apply(people) == 1
        people = people.take(~held)
        flow.append(step(f"not: {condition}", people, f"{int(held.sum())} with {condition}"))
    text = report_texts(people)
    readings = _readings(people, text, asking.lexicon)
    truth = _conditions(people, asking.labels) if asking.labels else _stated(readings, asking.lexicon)
    known = np.isfinite(truth).any(axis=1) | np.array([bool(item) for item in text], dtype=bool)
    if not known.any():
        raise CohortError(
            "needs a column report (texts, or names of text files), or labels that are known of some record"
        )
    told = _measured(people, readings).take(known)
    lost = f"{int((~known).sum())} without a report or a known label" if (~known).any() else ""
    flow.append(step("report or label known", told, lost))
    counts = Counter(f"language {item.language}" for item in readings if item)
    counts["text against measurement"] = sum(bool(item.conflicts) for item in readings if item)
    kept = tuple(item for item, keep in zip(text, known, strict=True) if keep)
    return Told(told, asking.names, truth[known], kept, flow, dict(counts))


def told_of(source: Cohort | Told, asking: Asking) -> Told:
    """What is told of a cohort; what was told already is not read again."""
    return source if isinstance(source, Told) else tell(source, asking)


def _readings(people: Cohort, text: list[str], lexicon: Lexicon) -> list[Reading | None]:
    """Every report read once; None where there is none."""
    sexes = people.rows.get("sex", np.full(len(people), None, dtype=object))
    held: dict[tuple[str, str], Reading] = {}
    found: list[Reading | None] = []
    for item, sex in zip(text, sexes, strict=True):
        key = (item, str(sex))
        if item and key not in held:
            held[key] = read_report(item, lexicon, sex if isinstance(sex, str) else None)
        found.append(held.get(key))
    return found


def _stated(readings: list[Reading | None], lexicon: Lexicon) -> np.ndarray:
    names, unknown = tuple(lexicon.concepts), np.full(len(lexicon.concepts), np.nan)
    rows = [unknown if item is None else [item.labels[name].value for name in names] for item in readings]
    return np.array(rows, dtype=np.float64).reshape(-1, len(names))


def _conditions(people: Cohort, labels: tuple[str, ...]) -> np.ndarray:
    truth = np.stack([parse_target(label).apply(people) for label in labels], axis=1)
    wrong = [
        label
        for label, column in zip(labels, truth.T, strict=True)
        if not np.isin(column[np.isfinite(column)], (0, 1)).all()
    ]
    if wrong:
        raise RecipeError(
            f"a label is a condition or a column of 0 and 1; {wrong[0]} is measured: compare it, as in {wrong[0]} > 5"
        )
    return truth


def _measured(people: Cohort, readings: list[Reading | None]) -> Cohort:
    """The cohort with what its reports measure, where the table leaves it open."""
    names = dict.fromkeys(name for item in readings if item for name in item.measurements)
    columns = {}
    for name in names:
        read = np.array(
            [item.measurements[name].value if item and name in item.measurements else np.nan for item in readings]
        )
        held = people.rows.get(name)
        columns[name] = read if held is None or held.dtype.kind != "f" else np.where(np.isfinite(held), held, read)
    return people.with_columns(**columns)


def begin_case(told: Told, run: Run, windows: LeadWindows, workers: int = 1, before: Run | None = None) -> Case:
    """Prepare the windows of all that were told of.

    Args:
        told: The records.
        run: Where the windows are kept.
        windows: How recordings are cut and prepared.
        workers: Processes that prepare.
        before: A run that may have prepared the same records already; then its windows are taken.

    Raises:
        CohortError: No recording is usable.
    """
    folder = _prepared_folder(told, run, before)
    with chief_first():
        prepared = prepare_lead(told.cohort, windows, folder, workers=workers)
    if not len(prepared.window_record):
        reasons = ", ".join(sorted({reason.split(": ", 1)[-1] for _, reason in prepared.refused})[:3])
        raise CohortError(f"none of {len(told.cohort)} recordings is usable: {reasons}")
    return Case(run, told, prepared)


def _prepared_folder(told: Told, run: Run, before: Run | None) -> Path:
    name = fingerprint(told.cohort)
    there = before.private / "prepared" / name if before else None
    return there if there and (there / "index.json").is_file() else run.private / "prepared" / name


def answers(told: Told) -> str:
    """Sixteen hexadecimal digits that stand for all labels and texts."""
    words = "\x1f".join(told.text).encode()
    return hashlib.sha256(told.truth.tobytes() + words).hexdigest()[:16]


def several_scored(case: Case, rows: Mapping[str, np.ndarray], score: Score, seed: int) -> Predictions:
    """What one network says of every part's records, all labels, with all that is known of them but the text."""
    table = case.told.cohort.with_columns(**case.prepared.facts)
    parts = []
    for name, part in rows.items():
        logits = record_scores(score, case.prepared, part)
        truth = case.told.truth[part]
        parts.append(as_predictions(table.take(part), logits, truth, split=name, seed=seed, name=case.told.names))
    return joined(parts)


def label(said: Predictions, number: int) -> Predictions:
    """One label of several, as predictions of it alone."""
    return replace(said, score=said.score[:, [number]], truth=said.truth[:, [number]], names=(said.names[number],))


def several_valid(case: Case, rows: np.ndarray) -> Callable[[nn.Module], dict[str, float]]:
    """What `fit` asks of a network now and then: minus its mean log loss on the known labels of these records."""
    rows = case.seen(rows)
    truth = case.told.truth[rows]
    known = np.isfinite(truth)

    def look(model: nn.Module) -> dict[str, float]:
        score = record_scores(scorer(model.score), case.prepared, rows)  # type: ignore[arg-type]
        loss = np.logaddexp(0, score) - np.where(known, truth, 0) * score
        return {"monitor": -float(loss[known].mean())}

    return look
