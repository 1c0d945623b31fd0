"""From a cohort of pulse recordings to the patches that a network reads, and back to one row a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stethos.data.cohort import report_texts
from stethos.data.prepared import Preparation, Prepared, prepare_cohort
from stethos.data.target import parse_target
from stethos.errors import ChannelError, CohortError, QualityError, RecipeError
from stethos.signal.morphology import pulse_features
from stethos.signal.patches import reference_patches, unify
from stethos.signal.pulse import pulse_rate, traced
from stethos.signal.pulse_quality import judged_windows, spans
from stethos.study.lead import as_predictions, joined
from stethos.study.partition import Step, step
from stethos.study.progress import bar
from stethos.study.several import Case, Told
from stethos.study.task import Score, fingerprint
from stethos.train.dist import chief_first
from stethos.types import Cohort, Predictions, Record, Run, Signal

MOTION = ("ACC_X", "ACC_Y", "ACC_Z")
UNIFIED, PUBLISHED = "pulse-v1", "pulse-published"
PATCHES = 256  # that are scored at a time


@dataclass(frozen=True)
class PulseWindows:
    """Cuts a recording into patches, refuses the poor ones, measures what a classical model can know.

    Args:
        channel: Name of the pulse in the recordings.
        prepare: "pulse-v1" (band-limited, upright, robust scale, refused patches not valid) or "pulse-published".
        rate: Of the patches, Hz.
        seconds: Length of a patch.
        motion: Refuse what moved, where the recording holds an accelerometer.
        measure: Measure the shape, irregularity and breath of every recording too, for the classical control.
    """

    channel: str = "PLETH"
    prepare: str = UNIFIED
    rate: float = 40.0
    seconds: float = 30.0
    motion: bool = True
    measure: bool = False

    @property
    def samples(self) -> int:
        """Of a patch."""
        return round(self.rate * self.seconds)

    def __call__(self, record: Record) -> tuple[np.ndarray, dict[str, Any]]:
        """Patches `(P, 2, S)`, values and where they are valid (1) or not (0), and what was seen on the way.

        Raises:
            ChannelError: The channel is missing.
            QualityError: No patch is usable; the message names the reasons.
        """
        return self.of(record.pick(self.channel), self.motion_of(record) if self.motion else None)

    def motion_of(self, record: Record) -> Signal | None:
        """The accelerometer of a recording that has one."""
        try:
            return record.pick(*MOTION)
        except ChannelError:
            return None

    def of(self, pulse: Signal, motion: Signal | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """The same for a pulse that is at hand."""
        found = traced(pulse)
        windows = judged_windows(pulse, found, spans(pulse.duration, self.seconds), motion)
        if not any(window.ok for window in windows):
            raise QualityError(f"no usable patch: {', '.join(sorted({window.reason for window in windows}))}")
        patches = self.cut(pulse, [(window.start, window.stop) for window in windows if not window.ok])
        facts: dict[str, Any] = {
            "patches": float(len(windows)),
            "patches_used": float(sum(window.ok for window in windows)),
            "pulse_quality": float(np.mean([window.score for window in windows])),
            "quality": ", ".join(window.reason or "ok" for window in windows[:20]),
            "pulse_hr": pulse_rate(found.beats.onset, pulse.rate),
        }
        return patches, facts | ({f"pulse_{k}": v for k, v in self.features(pulse, motion).items()})

    def cut(self, pulse: Signal, invalid: Sequence[tuple[float, float]] = ()) -> np.ndarray:
        """Patches `(P, 2, S)` without judging them.

        Args:
            pulse: One channel of it.
            invalid: Spans in seconds that do not count.
        """
        if self.prepare == PUBLISHED:
            values, valid = reference_patches(pulse, self.samples, self.seconds)
        else:
            values, valid = unify(pulse, self.rate, self.seconds, invalid)
        return np.stack([values, valid.astype(np.float32)], axis=1)  # (P, 2, S)

    def features(self, pulse: Signal, motion: Signal | None) -> dict[str, float]:
        """What a classical model can know; empty where it is not asked for."""
        return pulse_features(pulse, motion) if self.measure else {}


def tell_pulses(people: Cohort, tasks: Sequence[str], exclude: Sequence[str] = ()) -> Told:
    """The records of a cohort, their texts, and what is known of each task; columns that are missing are unknown.

    Args:
        people: Any cohort of pulse recordings.
        tasks: Columns, or conditions such as "mean_pressure > 100".
        exclude: Conditions; a record that meets one is left out and counted.
    """
    flow = [step("all records", people)]
    for condition in exclude:
        held = parse_target(condition).apply(people) == 1
        people = people.take(~held)
        flow.append(step(f"not: {condition}", people, f"{int(held.sum())} with {condition}"))
    unknown = np.full(len(people), np.nan)
    columns = [parse_target(task).apply(people) if _held(people, task) else unknown for task in tasks]
    truth = np.stack(columns, axis=1) if columns else np.zeros((len(people), 0))
    return Told(people, tuple(map(_named, tasks)), truth, tuple(report_texts(people)), flow)


def _named(task: str) -> str:
    """A task as part of the name of a number: without spaces and points."""
    return "".join(task.split()).replace(".", "_")


def _held(people: Cohort, task: str) -> bool:
    """Whether a task is a column that is there, or a condition, which must hold up by itself."""
    return task in people.rows or not task.isidentifier()


def begin_pulses(told: Told, run: Run, windows: PulseWindows, workers: int = 1, before: Run | None = None) -> Case:
    """Prepare the patches of all that were told of.

    Args:
        told: The records.
        run: Where the patches are kept.
        windows: How recordings are cut and judged.
        workers: Processes that prepare.
        before: A run that may have prepared and measured the same records already; then its patches are taken.

    Raises:
        CohortError: No recording is usable.
    """
    folder, windows = _folder(told, run, windows, before)
    with chief_first(), bar("preparing") as progress:
        preparation = Preparation(windows, (2, windows.samples), asdict(windows))
        prepared = prepare_cohort(told.cohort, preparation, folder, workers, progress)
    if not len(prepared.window_record):
        reasons = ", ".join(sorted({reason.split(": ", 1)[-1] for _, reason in prepared.refused})[:3])
        raise CohortError(f"none of {len(told.cohort)} recordings is usable: {reasons}")
    return Case(run, told, prepared)


def _folder(told: Told, run: Run, windows: PulseWindows, before: Run | None) -> tuple[Path, PulseWindows]:
    """Where the patches are, and how they were cut: with features too, where those are there already."""
    name = fingerprint(told.cohort)
    measured = f"{name}-measured"
    there = before.private / "prepared" / measured if before else None
    if there and (there / "index.json").is_file():
        return there, replace(windows, measure=True)
    return run.private / "prepared" / (measured if windows.measure else name), windows


@dataclass(frozen=True, eq=False)
class PulseRows:
    """Recordings as steps of a training draw them.

    Args:
        take: Number of a recording → its patches `(P, 2, S)`.
        record: Row of the case of each recording, `(N,)`.
        kin: Ids of subject and text of each, `(N, 2)`.
        truth: What is known of each, `(N, K)`.
    """

    take: Callable[[int], np.ndarray]
    record: np.ndarray
    kin: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.record)


def pulse_rows(case: Case, rows: np.ndarray, text: Sequence[str] | None = None) -> PulseRows:
    """Those of a case's records that have a usable patch.

    Args:
        case: Records and their patches.
        rows: Row numbers.
        text: What is told of each record of the case, where that is not its own text.
    """
    rows = np.sort(case.seen(rows))
    kin = kin_of(case.told.cohort.subjects, case.told.text if text is None else text)[rows]
    return PulseRows(lambda i: patches_of(case.prepared, rows[i]), rows, kin, case.told.truth[rows])


def kin_of(subject: np.ndarray, text: Sequence[str]) -> np.ndarray:
    """Ids of each record's subject and text, `(N, 2)`; a record without a text is kin to none by it."""
    columns = [np.unique(np.asarray(item).astype(str), return_inverse=True)[1].ravel() for item in (subject, text)]
    told = np.array([bool(item) for item in text], dtype=bool)
    return np.stack([columns[0], np.where(told, columns[1], -1)], axis=1).astype(np.int64)


def patches_of(prepared: Prepared, row: int) -> np.ndarray:
    """The patches of one record, `(P, 2, S)`."""
    first, last = np.searchsorted(prepared.window_record, (row, row + 1))
    return prepared.store.take(np.arange(first, last))


def filled(parts: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Recordings of different length as one array, the shorter filled up with patches that are not valid.

    Args:
        parts: Patches `(P, 2, S)` of each.
        most: Patches of the array.

    Returns:
        `(B, most, 2, S)`.
    """
    whole = np.zeros((len(parts), most, *parts[0].shape[1:]), np.float32)
    for place, part in enumerate(parts):
        whole[place, : min(most, len(part))] = part[:most]
    return whole


def pulse_scores(score: Score, prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """What a network says of each recording, `(N, K)`; NaN where every patch was refused.

    Recordings of one length are scored together, so that none is filled up.

    Args:
        score: Recordings `(B, P, 2, S)` to `(B, K)`.
        prepared: Patches of a cohort.
        rows: Row numbers in that cohort, `(N,)`.
    """
    found: dict[int, np.ndarray] = {}
    for chunk in _of_one_length(prepared, rows):
        told = score(np.stack([patches_of(prepared, row) for row in chunk]))
        found |= dict(zip(chunk, told, strict=True))
    width = next((len(row) for row in found.values()), 1)
    return np.stack([found.get(row, np.full(width, np.nan)) for row in rows.tolist()]).reshape(len(rows), width)


def _of_one_length(prepared: Prepared, rows: np.ndarray) -> Iterator[list[int]]:
    """Rows with patches, those of equal length together, at most `PATCHES` patches at a time."""
    held, count = np.unique(prepared.window_record[np.isin(prepared.window_record, rows)], return_counts=True)
    for length in np.unique(count):
        alike = held[count == length].tolist()
        size = max(1, PATCHES // int(length))
        yield from (alike[i : i + size] for i in range(0, len(alike), size))


def pulses_scored(case: Case, rows: Mapping[str, np.ndarray], table: np.ndarray, seed: int) -> Predictions:
    """What was said of every part's records, all tasks, with all that is known of them but the text.

    Args:
        case: Records, truths, patches.
        rows: Row numbers of every part by name.
        table: What is said of each record of the case, `(N, K)`; NaN for those that were refused.
        seed: Of the network.
    """
    known = case.told.cohort.with_columns(**case.prepared.facts)
    names = case.told.names
    parts = [
        as_predictions(known.take(part), table[part], case.told.truth[part], split=split, seed=seed, name=names)
        for split, part in rows.items()
    ]
    return joined(parts)


def refuse_no_task(case: Case, rows: np.ndarray, graded: np.ndarray) -> np.ndarray:
    """Which tasks can be learned from these records, `(K,)` Boolean.

    Raises:
        RecipeError: None of them can.
    """
    truth = case.told.truth[case.seen(rows)]
    kinds = [np.unique(column[np.isfinite(column)]) for column in truth.T]
    able = np.array([len(kind) >= (10 if of else 2) for kind, of in zip(kinds, graded, strict=True)], dtype=bool)
    if not able.any():
        raise RecipeError(
            f"needs a column that tells one of {', '.join(case.told.names)} of some training recordings; "
            "the cohort has none: add it to cohort.csv, or name other --tasks"
        )
    return able


def lost_step(case: Case, rows: np.ndarray) -> Step:
    """The box of the flow that says how many recordings of a part have no usable patch."""
    seen = case.seen(rows)
    lost = len(rows) - len(seen)
    subjects = len(np.unique(case.told.cohort.subjects[seen]))
    return Step("usable", len(seen), subjects, f"{lost} without a usable patch" if lost else "")


def rows_here(told: Told, windows: PulseWindows, text: Sequence[str]) -> PulseRows:
    """Recordings of a small cohort, prepared in memory; refused ones are left out."""
    held = []
    for row, record in enumerate(told.cohort):
        with suppress(QualityError):
            held.append((row, windows(record)[0]))
    rows = np.array([row for row, _ in held])
    return PulseRows(lambda i: held[i][1], rows, kin_of(told.cohort.subjects, text)[rows], told.truth[rows])


def diseases_in_words(people: Cohort) -> list[str]:
    """The diseases of a simulated cohort's columns as a text, for where none is distilled."""
    names = ("atrial_fibrillation", "hypertension", "heart_failure", "copd", "diabetes", "ckd", "stroke")
    held = {name: people.rows[name] for name in names if name in people.rows}
    told = [[name.replace("_", " ") for name, column in held.items() if column[row] == 1] for row in range(len(people))]
    return [f"{', '.join(words) or 'no known disease'}." for words in told]


def stretches(rows: PulseRows, chosen: np.ndarray, most: int, seed: int, step: int) -> np.ndarray:
    """Patches of the chosen recordings, `(B, P, 2, S)`; of one longer than `most` a part that begins anywhere.

    Where it begins belongs to the recording's place in the whole set and the step, not to the share of a process.
    """
    parts = []
    for row in chosen.tolist():
        patches = rows.take(row)
        spare = len(patches) - most
        begin = int(np.random.default_rng((seed, step, row, 3)).integers(spare + 1)) if spare > 0 else 0
        parts.append(patches[begin : begin + most])
    return filled(parts, most)
