"""A cohort of machine sounds: who is trained on, what is told apart, and the windows that a network hears."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stethos import __version__
from stethos.data.prepared import Preparation, Prepared, prepare_cohort
from stethos.errors import CohortError, RecipeError
from stethos.signal.clip import ClipWindows
from stethos.study.listening import FACTS, TOLD, Listening, anomaly_of, identity_of, words
from stethos.study.partition import Step
from stethos.study.progress import bar
from stethos.train.dist import chief_first
from stethos.types import Cohort, Fact, Predictions, Record, Run


@dataclass(frozen=True, eq=False)
class Classes:
    """What a network learns to tell apart, and the machines that a recording is judged by.

    Args:
        names: Of the classes, such as "fan/id_00" or "fan/section_00/vel_6".
        label: Class of every recording, −1 where no recording of it is trained on, `(N,)`.
        machines: Machine and section, such as "fan/id_00"; a recording is compared with normals of its own.
        machine: Machine of every recording, −1 where no recording of it is trained on, `(N,)`.
        owner: Machine of every class, one a name.
        copies: Transformed copies of each class that are classes too; 1 for none but the recording itself.
    """

    names: tuple[str, ...]
    label: np.ndarray
    machines: tuple[str, ...]
    machine: np.ndarray
    owner: np.ndarray
    copies: int = 1

    @property
    def outputs(self) -> int:
        """Classes of the network: all copies of all classes; those of copy c begin at c · len(names)."""
        return len(self.names) * self.copies


@dataclass(frozen=True, eq=False)
class Hearing:
    """A cohort of sounds, cut and divided, and the run that is being made of it.

    Args:
        run: Where everything goes.
        cohort: N recordings.
        parts: Rows of "train", "valid" and "internal".
        classes: What is told apart.
        windows: How a recording is cut.
        prepared: Windows of the recordings.
        flow: How many recordings came this far, and why the others did not.
    """

    run: Run
    cohort: Cohort
    parts: Mapping[str, np.ndarray]
    classes: Classes
    windows: ClipWindows
    prepared: Prepared
    flow: list[Step]

    def windows_of(self, part: str) -> np.ndarray:
        """Numbers of a part's windows in the store."""
        return np.flatnonzero(np.isin(self.prepared.window_record, self.parts[part]))

    def label_of(self, windows: np.ndarray) -> np.ndarray:
        """Class of each of these windows."""
        return self.classes.label[self.prepared.window_record[windows]]

    def column(self, name: str) -> np.ndarray:
        """A text column of the cohort, "" where unknown or absent, `(N,)`."""
        return words(self.cohort, name)


@dataclass(frozen=True, eq=False)
class Divided:
    """A cohort of sounds and what becomes of each recording.

    Args:
        cohort: N recordings.
        parts: Rows of "train", "valid" and "internal".
        classes: What is told apart.
        flow: How many recordings came this far.
    """

    cohort: Cohort
    parts: Mapping[str, np.ndarray]
    classes: Classes
    flow: list[Step]


def begin(divided: Divided, run: Run, listening: Listening, workers: int = 1) -> Hearing:
    """Cut the recordings of a cohort.

    Args:
        divided: The cohort.
        run: Where the windows are kept.
        listening: What is heard.
        workers: Processes that cut.

    Raises:
        CohortError: Nothing is left to train on.
    """
    people, parts, classes = divided.cohort, divided.parts, divided.classes
    folder = run.private / "prepared" / fingerprint(people)
    with chief_first():
        prepared = prepare_sounds(people, listening.windows, folder, workers)
    usable = {name: rows[np.isin(rows, prepared.window_record)] for name, rows in parts.items()}
    known = np.unique(classes.machine[usable["train"]])
    heard = {name: rows[np.isin(classes.machine[rows], known)] for name, rows in usable.items()}
    flow = list(divided.flow)
    for name, rows in heard.items():
        flow.append(Step(name, len(rows), _subjects(people, rows), _lost(parts[name], usable[name], rows)))
    for name, least in (("train", 2), ("valid", 1)):
        if np.isin(prepared.window_record, heard[name]).sum() < least:
            why = ", ".join(sorted({reason for _, reason in prepared.refused})[:3]) or "there are too few"
            raise CohortError(f"not enough normal recordings are left for the part {name}: {why}; add recordings")
    return Hearing(run, people, heard, classes, listening.windows, prepared, flow)


def _lost(before: np.ndarray, usable: np.ndarray, after: np.ndarray) -> str:
    told = []
    if len(before) > len(usable):
        told.append(f"{len(before) - len(usable)} unusable")
    if len(usable) > len(after):
        told.append(f"{len(usable) - len(after)} of machines without normal recordings to train on")
    return ", ".join(told)


def divide(people: Cohort, listening: Listening) -> tuple[dict[str, np.ndarray], list[Step]]:
    """Rows of "train", "valid" and "internal"; what is trained and validated on is normal.

    A source recording is on one side only. Every class keeps at least one recording to train on.

    Raises:
        CohortError: Nothing is normal, a recording has no machine, or neither a split nor a label, or a column holds a
            word that it cannot hold.
    """
    split, anomaly = words(people, "split"), anomaly_of(people)
    _refuse_unlabelled(people, split, anomaly)
    normal = (split != "test") & (anomaly != 1)
    if not normal.any():
        raise CohortError("a detector needs normal recordings to learn from; the cohort has none outside of its tests")
    group, seed = _groups(people), listening.split_seed
    held = np.zeros(len(people), bool)
    if (split[normal] == "").any() and listening.test_fraction:
        held = normal & (split == "") & _share(people, normal, group, listening.test_fraction, seed)
    rest = normal & ~held
    valid = rest & _share(people, rest, group, listening.valid_fraction, seed + 1)
    left_out = (split == "train") & (anomaly == 1)
    tested = ~normal & ~left_out | held
    crossed = tested & np.isin(people.subjects, people.subjects[rest])
    if crossed.any():
        raise CohortError(
            f"{int(crossed.sum())} tested recordings come from a source that is trained on too; give the parts of one "
            "recording one subject and one split"
        )
    rows = {"train": rest & ~valid, "valid": valid, "internal": tested}
    return {name: np.flatnonzero(chosen) for name, chosen in rows.items()}, _flow(people, left_out)


def _refuse_unlabelled(people: Cohort, split: np.ndarray, anomaly: np.ndarray) -> None:
    nameless = int((words(people, "machine") == "").sum())
    if nameless:
        raise CohortError(
            f"{nameless} of {len(people)} recordings have nothing in the column machine; name it, such as fan, or let "
            "`stethos cohort import sounds` write the table"
        )
    for name, allowed in (("split", ("train", "test")), ("domain", ("source", "target"))):
        strange = sorted(set(words(people, name).tolist()) - {"", *allowed})
        if strange:
            raise CohortError(f"the column {name} holds {', '.join(allowed)} or nothing; got {', '.join(strange[:3])}")
    unknown = int(((split == "") & np.isnan(anomaly)).sum())
    if unknown:
        raise CohortError(
            f"{unknown} recordings have neither split nor anomaly; fill one of these columns: split train or test, "
            "anomaly 0 or 1"
        )


def _flow(people: Cohort, left_out: np.ndarray) -> list[Step]:
    """All recordings, and those that are left without the anomalies that were to be trained on."""
    flow = [Step("all recordings", len(people), _subjects(people, np.arange(len(people))))]
    if left_out.any():
        why = f"{int(left_out.sum())} anomalies among the training recordings"
        flow.append(Step("usable as labelled", int((~left_out).sum()), _subjects(people, ~left_out), why))
    return flow


def _subjects(people: Cohort, rows: np.ndarray) -> int:
    return len(np.unique(people.subjects[rows]))


def _groups(people: Cohort) -> np.ndarray:
    """Machine, section, domain and attributes in one word, within which the parts are drawn, `(N,)`."""
    joined = [words(people, name) for name in FACTS]
    return np.array(["/".join(row) for row in zip(*joined, strict=True)])


def _share(people: Cohort, among: np.ndarray, group: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A Boolean a row: about a fraction of the sources of every group, never all of a group and at least one of all.

    A source with recordings in several groups is never chosen: it would be missing in each.
    """
    generator, subject = np.random.default_rng([seed, 77]), people.subjects
    chosen, alone = np.zeros(len(people), bool), among & _in_one_group(subject, among, group)
    most: tuple[int, np.ndarray] = (1, chosen)
    for name in np.unique(group[among]):
        here = among & (group == name)
        sources = generator.permutation(np.unique(subject[here]))
        count = min(round(fraction * len(sources) + generator.random() - 0.5), len(sources) - 1)
        free = sources[np.isin(sources, subject[here & alone])]
        chosen = chosen | here & np.isin(subject, free[: max(count, 0)])
        if len(free) and len(sources) > most[0]:
            most = (len(sources), here & (subject == free[0]))
    return chosen if chosen.any() else most[1]


def _in_one_group(subject: np.ndarray, among: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Whether all recordings among these of a row's source are of one group, `(N,)`."""
    seen: dict[str, set[str]] = {}
    for source, name in zip(subject[among], group[among], strict=True):
        seen.setdefault(source, set()).add(name)
    return np.array([len(seen.get(source, ())) == 1 for source in subject])


def classes_of(people: Cohort, train: np.ndarray, kind: str, copies: int) -> Classes:
    """What is told apart, and the class of every recording.

    Args:
        people: N recordings.
        train: Rows that are trained on.
        kind: As in `Listening.classes`.
        copies: How many transformed copies there are.

    Raises:
        RecipeError: The kind that was asked for gives one class only.
    """
    section = identity_of(words(people, "machine"), words(people, "section"))
    finer = np.char.add(np.char.add(section, "/"), words(people, "attributes"))
    if kind == "copies":
        return _labelled(section, section, train, copies)
    for name, column in (("section", section), ("attributes", finer)):
        if kind in (name, "auto") and len(np.unique(column[train])) > 1:
            return _labelled(column, section, train)
    if kind == "auto":
        return _labelled(section, section, train, copies)
    raise RecipeError(f"--classes {kind} gives one class only; take --classes copies, or auto")


def _labelled(column: np.ndarray, section: np.ndarray, train: np.ndarray, copies: int = 1) -> Classes:
    names, first = np.unique(column[train], return_index=True)
    machines = np.unique(section[train])
    owner = np.searchsorted(machines, section[train][first])
    return Classes(
        tuple(names.tolist()), _coded(column, names), tuple(machines.tolist()), _coded(section, machines), owner, copies
    )


def _coded(column: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Place of each item among the sorted names, −1 where it is none of them."""
    place = np.minimum(np.searchsorted(names, column), len(names) - 1)
    return np.where(names[place] == column, place, -1)


def prepare_sounds(people: Cohort, windows: ClipWindows, folder: Path, workers: int = 1) -> Prepared:
    """Cut every recording once, into memory-mapped shards that a later call finds again."""
    key = {"name": windows.name, **asdict(windows)}
    with bar("preparing") as progress:
        preparation = Preparation(partial(cut, windows), (1, windows.samples), key)
        return prepare_cohort(people, preparation, folder, workers, progress)


def cut(windows: ClipWindows, record: Record) -> tuple[np.ndarray, dict[str, Fact]]:
    """The windows of a record that holds a sound, `(W, 1, T)`, and its length."""
    sound = record.pick(windows.channel)
    return windows.apply(sound), {"clip_seconds": sound.duration}


def fingerprint(people: Cohort) -> str:
    """Sixteen hexadecimal digits for which recordings these are and what is known of them."""
    columns = [people.rows["id"].astype(str), people.subjects.astype(str)]
    columns += [words(people, name) for name in (*FACTS, "split", "anomaly")]
    text = "\n".join("\t".join(row) for row in zip(*columns, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_predictions(hearing: Hearing, score: np.ndarray, seed: int, parts: Sequence[str] = ()) -> Predictions:
    """Scored recordings of all parts, or of some, as `Predictions`.

    Args:
        hearing: The recordings, N of them.
        score: Higher is more anomalous, `(N,)`.
        seed: Training seed of the model.
        parts: Names of parts; all where empty.
    """
    chosen = {name: hearing.parts[name] for name in parts or hearing.parts}
    rows = np.concatenate(list(chosen.values()))
    people = hearing.cohort
    truth = np.where(words(people, "split") == "train", 0.0, anomaly_of(people))
    return Predictions(
        score=score[rows, None],
        truth=truth[rows, None],
        record=people.rows["id"][rows],
        subject=people.subjects[rows],
        split=np.repeat(list(chosen), [len(item) for item in chosen.values()]),
        seed=np.full(len(rows), seed),
        facts={name: words(people, name)[rows] for name in TOLD},
        names=("anomaly",),
        origin=people.origin,
    )


def config(people: Cohort, recipe: Any, listening: Listening, classes: Classes) -> dict[str, Any]:
    """What a run of sounds remembers of itself."""
    windows = listening.windows
    prepare = {"name": windows.name, **asdict(windows), "records": len(people), "cohort": fingerprint(people)}
    told = {"version": __version__, "recipe": asdict(recipe), "prepare": prepare | {"outputs": classes.outputs}}
    return told | {"origin": people.origin, "terms": people.terms}
