"""Which machine, split and condition the folders of a collection of sounds say.

    MACHINE/train/normal/a.wav · MACHINE/test/fault/a.wav · MACHINE/normal/a.wav · normal/a.wav · healthy/MACHINE/a.wav

A folder is taken at its word if that stands in `FOLDER_WORDS`, in capitals or not. A folder beside one of normal
sounds is a condition as well, and not a normal one. The machine is the folder above the first such word, or else
the one below it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NamedTuple

FOLDER_WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "normal": ("normal", "healthy", "good", "ok", "nominal", "intact", "undamaged"),
    "anomaly": (
        *("anomaly", "anomalies", "anomalous", "abnormal", "fault", "faults", "faulty", "failure"),
        *("broken", "damage", "damaged", "defect", "defects", "defective", "bad", "ng"),
    ),
}
_MEANING = {word: meaning for meaning, words in FOLDER_WORDS.items() for word in words}
_SECTION = re.compile(r"(?:id|section)_\d\d")


@dataclass(frozen=True)
class Place:
    """What the folders of a sound say about it.

    Args:
        machine: Name of a folder.
        section: "section_00", or the folder's name where it is id_NN or section_NN.
        split: "train" or "test"; None where it is to be divided later.
        anomaly: 1 for anomalous, 0 for normal; None where it is not known.
    """

    machine: str
    section: str
    split: str | None
    anomaly: int | None


class _Words(NamedTuple):
    """What one sound's folders say, before the others are looked at."""

    machine: tuple[str, ...]  # folders down to the machine's
    section: str
    split: str | None
    condition: str | None


def places(files: Sequence[PurePath], root: str) -> tuple[list[Place], list[str]]:
    """What the folders say about each sound, and what had to be assumed, a sentence each.

    Args:
        files: Relative to the collection.
        root: Name of the collection, for a machine that no folder names.
    """
    folders = {folder for file in files for folder in file.parents if folder.name}
    stated = {folder: word for folder in folders if (word := _MEANING.get(folder.name.casefold()))}
    beside = _beside_normal(folders, stated)
    meaning = stated | dict.fromkeys(beside, "anomaly")
    said = [_words(file, meaning) for file in files]
    if not any(words.split or words.condition for words in said):
        note = (
            f"no folder says train, test, normal or anomalous: all are taken for normal sounds of one machine, {root}"
        )
        return [Place(root, "section_00", None, 0)] * len(files), [note]
    names = _machine_names(words.machine for words in said)
    found = [_place(words, names.get(words.machine, root)) for words in said]
    return found, _assumed(said, sorted({folder.name for folder in beside}))


def _beside_normal(folders: Collection[PurePath], stated: Mapping[PurePath, str]) -> set[PurePath]:
    """Folders without a word of their own, above or below, that lie beside one of normal sounds."""
    parents = {folder.parent for folder, word in stated.items() if word == "normal"}
    speaking = {parent for folder in stated for parent in folder.parents}
    return {folder for folder in folders if folder.parent in parents and folder not in stated} - speaking


def _words(file: PurePath, meaning: Mapping[PurePath, str]) -> _Words:
    chain = [folder for folder in reversed(file.parents) if folder.name]  # from the top
    words = [meaning.get(folder) for folder in chain]
    first = next((n for n, word in enumerate(words) if word), len(words))
    silent = [folder.name for folder, word in zip(chain, words, strict=True) if word is None]
    named = silent[:first] or silent[:1]
    section = named.pop() if named and _SECTION.fullmatch(named[-1]) else "section_00"
    split = next((word for word in reversed(words) if word in ("train", "test")), None)
    condition = next((word for word in reversed(words) if word in ("normal", "anomaly")), None)
    return _Words(tuple(named), section, split, condition or _condition_of_name(file))


def _condition_of_name(file: PurePath) -> str | None:
    """The condition that a file's name begins with, as in normal_001.wav."""
    word = _MEANING.get(re.split(r"[-_. ]", file.name.casefold())[0])
    return word if word in ("normal", "anomaly") else None


def _machine_names(machines: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """A name for each machine: its folder's, with those above it where two machines' folders have one name."""
    different = {machine for machine in machines if machine}
    last = [machine[-1] for machine in different]
    names = {machine: machine[-1] if last.count(machine[-1]) == 1 else "_".join(machine) for machine in different}
    # a column of numbers alone would lose its leading zeros
    return {machine: f"machine_{name}" if _is_number(name) else name for machine, name in names.items()}


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _place(words: _Words, machine: str) -> Place:
    if words.condition is None:
        # what is trained on is normal by the custom of the field; what says nothing at all can only be scored
        known = Place(machine, words.section, words.split or "test", None)
        return replace(known, anomaly=0) if words.split == "train" else known
    return Place(machine, words.section, words.split, int(words.condition == "anomaly"))


def _assumed(said: Sequence[_Words], beside: Sequence[str]) -> list[str]:
    """Sentences on what the folders do not say."""
    silent = [words for words in said if words.condition is None]
    trained = sum(words.split == "train" for words in silent)
    unsplit = sum(words.split is None and words.condition is not None for words in said)
    counted = {
        f"taken for normal, because they are for training: {trained}": trained,
        f"neither normal nor anomalous is said, so that they can only be scored: {len(silent) - trained}": len(silent)
        - trained,
        f"without a split, to be divided by the training: {unsplit}": unsplit,
        f"taken for anomalous, because they lie beside normal sounds: {', '.join(beside)}": len(beside),
    }
    return [sentence for sentence, count in counted.items() if count]
