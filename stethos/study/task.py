"""One target on one cohort of single-lead recordings, from opening it to scoring its parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stethos import __version__
from stethos.data.prepared import Prepared
from stethos.data.target import parse_target
from stethos.errors import CohortError, OriginError, RecipeError, RunError
from stethos.signal.prepare import PREPARATIONS, prepare_windows
from stethos.study.lead import LeadWindows, as_predictions, joined, prepare_lead, record_scores
from stethos.study.partition import Step, step
from stethos.train.dist import chief_first, join
from stethos.train.run import start_run
from stethos.types import Cohort, Predictions, Run

EXTERNAL = "external-"  # in front of the names of cohorts that are added later

Score = Callable[[np.ndarray], np.ndarray]  # prepared windows (W, 1, T) → logits (W, K)


@dataclass(frozen=True, eq=False)
class Task:
    """A cohort with a target and prepared windows, and the run that is being made of it.

    Args:
        run: Where everything goes.
        target: The target, as the user wrote it.
        cohort: Records whose target is known, N of them.
        truth: 0 or 1, or measured, `(N,)`.
        graded: The target is measured.
        prepared: Windows of the cohort's records.
        flow: How many records came this far, and why the others did not.
    """

    run: Run
    target: str
    cohort: Cohort
    truth: np.ndarray
    graded: bool
    prepared: Prepared
    flow: list[Step]

    def rows_of(self, part: Cohort) -> np.ndarray:
        """Row numbers of a part's records, `(n,)`."""
        return np.flatnonzero(np.isin(self.cohort.rows["id"], part.rows["id"]))

    def rows(self, parts: Mapping[str, Cohort]) -> dict[str, np.ndarray]:
        """Row numbers of every part by name."""
        return {name: self.rows_of(part) for name, part in parts.items()}

    def seen(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows that have a usable window."""
        return rows[np.isin(rows, self.prepared.window_record)]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Windows and what is true of each.

    Args:
        take: Window numbers `(B,)` → prepared windows `(B, 1, T)`.
        truth: Target of each window, `(W,)`; NaN where unknown.
    """

    take: Callable[[np.ndarray], np.ndarray]
    truth: np.ndarray


def labelled(task: Task, rows: np.ndarray, truth: np.ndarray) -> Labelled:
    """The windows of some of a task's records.

    Args:
        task: A cohort and its windows.
        rows: Row numbers of the records.
        truth: Target of every record of the task, `(N,)`.
    """
    windows = np.flatnonzero(np.isin(task.prepared.window_record, rows))
    return Labelled(
        lambda chosen: task.prepared.store.take(windows[chosen]), truth[task.prepared.window_record[windows]]
    )


def labelled_here(people: Cohort, question: Question) -> Labelled:
    """The windows of a small cohort, prepared in memory; refused recordings are left out."""
    held = [
        prepare_windows(record.pick(question.windows.lead), PREPARATIONS[question.windows.preparation])[0]
        for record in people
    ]
    truth = np.repeat(parse_target(question.target).apply(people), [len(item) for item in held])
    return Labelled(np.concatenate(held).__getitem__, truth)


@dataclass(frozen=True)
class Question:
    """What is asked of a recording.

    Args:
        target: "potassium > 5.5", "scp_codes has AFIB", or a column.
        exclude: Conditions in the same words; a record that meets one is left out and counted.
        windows: How recordings are cut and prepared.
    """

    target: str
    exclude: tuple[str, ...]
    windows: LeadWindows


@dataclass(frozen=True, eq=False)
class Asked:
    """Whom a question is about, and the answers.

    Args:
        cohort: Records whose target is known, N of them.
        truth: 0 or 1, or measured, `(N,)`.
        graded: The target is measured.
        flow: How many records came this far, and why the others did not.
    """

    cohort: Cohort
    truth: np.ndarray
    graded: bool
    flow: list[Step]


def ask(people: Cohort, question: Question, graded: bool | None = None) -> Asked:
    """Leave out whom the question is not about.

    Args:
        people: Whose recordings.
        question: Target, exclusions, windows.
        graded: The target is measured; None to see it from the values.

    Raises:
        CohortError: The target is known for no record, or is the same for all.
        RecipeError: The target cannot be parsed, or the preparation is unknown.
    """
    if question.windows.preparation not in PREPARATIONS:
        named = ", ".join(PREPARATIONS)
        raise RecipeError(f"--prepare is one of {named}; got {question.windows.preparation}")
    asked, flow = people, [step("all records", people)]
    for condition in question.exclude:
        held = parse_target(condition).apply(asked) == 1
        asked = asked.take(~held)
        flow.append(step(f"not: {condition}", asked, f"{int(held.sum())} with {condition}"))
    parsed = parse_target(question.target)
    truth = parsed.apply(asked)
    known = np.isfinite(truth)
    asked, truth = asked.take(known), truth[known]
    flow.append(step("target known", asked, f"{int((~known).sum())} without a known target" if (~known).any() else ""))
    if not len(asked):
        raise CohortError(f"{question.target} is unknown for all records; fill the column {parsed.column}")
    measured = parsed.graded and not parsed.binary(people) if graded is None else graded
    return Asked(asked, truth, measured, flow)


def begin(people: Cohort, run: Run, question: Question, graded: bool | None = None, workers: int = 1) -> Task:
    """Ask a cohort and prepare the windows of those who can answer.

    Args:
        people: Whose recordings.
        run: Where the prepared windows are kept.
        question: Target, exclusions, windows.
        graded: The target is measured; None to see it from the values.
        workers: Processes that prepare.

    Raises:
        CohortError: The target is known for no record, or no recording is usable.
    """
    asked = ask(people, question, graded)
    folder = run.private / "prepared" / fingerprint(asked.cohort)
    with chief_first():
        prepared = prepare_lead(asked.cohort, question.windows, folder, workers=workers)
    if not len(prepared.window_record):
        reasons = ", ".join(sorted({reason.split(": ", 1)[-1] for _, reason in prepared.refused})[:3])
        raise CohortError(f"none of {len(asked.cohort)} recordings is usable: {reasons}")
    return Task(run, question.target, asked.cohort, asked.truth, asked.graded, prepared, asked.flow)


def refuse_one_class(task: Task, parts: Mapping[str, Cohort], names: Sequence[str] = ("train", "valid")) -> None:
    """Some parts need records with and without the event: training, and validation where it chooses a threshold.

    Raises:
        CohortError: One of them holds one kind only.
    """
    for name in names:
        truth = task.truth[task.seen(task.rows_of(parts[name]))]
        if not task.graded and len(np.unique(truth)) < 2:
            raise CohortError(
                f"{task.target}: needs records with and without in the part {name}; its {len(truth)} usable records "
                f"are all {'with' if truth.any() else 'without'}: take another target, split_seed, or more records"
            )


def open_run(
    system: str, out: Path, recipe: Any, asked: Asked, windows: LeadWindows, protocol: Mapping[str, Any]
) -> Run:
    """The run's folder with its config; an existing one must have the same recipe, records, truths and protocol.

    Args:
        system: Name of the page.
        out: The folder.
        recipe: A dataclass.
        asked: The records and their truths.
        windows: How recordings are cut and prepared.
        protocol: The verb, and what it was given beside the recipe.
    """
    join()
    people = asked.cohort
    answers = hashlib.sha256(asked.truth.tobytes()).hexdigest()[:16]
    prepare = asdict(windows) | {"records": len(people), "cohort": fingerprint(people), "answers": answers}
    config = {"system": system, "version": __version__, "recipe": asdict(recipe), "prepare": prepare}
    return start_run(out, config | {"protocol": dict(protocol), "origin": people.origin, "terms": people.terms})


def fingerprint(cohort: Cohort) -> str:
    """Sixteen hexadecimal digits that stand for which records of which subjects these are."""
    words = "\n".join(
        f"{record}\t{subject}" for record, subject in zip(cohort.rows["id"], cohort.subjects, strict=True)
    )
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def scored(task: Task, rows: Mapping[str, np.ndarray], score: Score, seed: int) -> Predictions:
    """What one network says of every part's records, with all that is known of them."""
    table = task.cohort.with_columns(**task.prepared.facts)
    parts = []
    for name, part in rows.items():
        logits = record_scores(score, task.prepared, part)
        parts.append(
            as_predictions(table.take(part), logits, task.truth[part], split=name, seed=seed, name=task.target)
        )
    return joined(parts)


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR as a name and a folder.

    Raises:
        CohortError: It is not of that form.
    """
    name, equals, folder = text.partition("=")
    if not (name.isidentifier() and equals and folder):
        raise CohortError(f"an external cohort is given as NAME=DIR, such as tianjin=cohorts/tianjin; got {text!r}")
    return name, Path(folder)


def add_external(run: Run, name: str, task: Task, networks: Mapping[str, Sequence[tuple[int, Score]]]) -> None:
    """Score another cohort and put it beside the run's own parts, in place of an earlier one of that name.

    Args:
        run: A finished run.
        name: Of the cohort.
        task: Its records with the run's target.
        networks: File of predictions ("predictions", "control-untrained") → seed and score of each network.

    Raises:
        RunError: The name is taken by a part of the run, or the cohort shares subjects with it.
        OriginError: One is simulated and the other is not.
    """
    for file, members in networks.items():
        path = run.private / f"{file}.npz"
        held = Predictions.load(path)
        refuse_mixed(held, name, task.cohort)
        new = [scored(task, {EXTERNAL + name: np.arange(len(task.cohort))}, score, seed) for seed, score in members]
        joined([held.take(held.split != EXTERNAL + name), *new]).save(path)


def refuse_mixed(held: Predictions, name: str, cohort: Cohort) -> None:
    """Another cohort needs a name, subjects and an origin that do not mix with what is held.

    Args:
        held: Predictions of a run.
        name: Of the other cohort.
        cohort: Its records.

    Raises:
        RunError: The name is taken by a part of the run, or the cohort shares subjects with it.
        OriginError: One is simulated and the other is not.
    """
    own = held.take(~np.char.startswith(held.split, EXTERNAL))
    shared = np.intersect1d(own.subject, cohort.subjects.astype(str))
    if name in own.split or len(shared):
        raise RunError(
            f"{name}: needs a new name and subjects that the run has not met; {len(shared)} were seen in it; if "
            f"they are other people, give them other names in the cohort's column subject"
        )
    if cohort.origin != held.origin:
        raise OriginError(f"{name} is {cohort.origin} and the run is {held.origin}: numbers of two worlds do not mix")
