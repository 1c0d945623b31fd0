"""DCASE Challenge Task 2 (2020 to 2024): what a clip's name says.

    2020   normal_id_00_00000000.wav, anomaly_id_00_00000000.wav; to be judged: id_01_00000000.wav
    2021   section_00_source_train_normal_0000_strength_1_ambient.wav, in source_test/ and target_test/
    2022+  section_00_target_test_anomaly_0021_vel_8_loc_G.wav; to be judged: section_03_0000.wav

Only the file's name and the two folders it lies in (MACHINE/train/…) are looked at, never another part of the
path.

Reference:
    https://dcase.community/challenge2020 to challenge2024, Task 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stethos.errors import FormatError

NO_ATTRIBUTE = "noAttribute"  # what 2024 writes where a machine's attributes are withheld
RENAMED = "test_rename"  # copies of test/ that the organisers' tools rename by a merged list
_FOLDERS = {
    "train": ("train", None),
    "test": ("test", None),
    RENAMED: ("test", None),
    "source_test": ("test", "source"),
    "target_test": ("test", "target"),
}
_SUFFIX = re.compile(r"\.(?:wav|flac|ogg|aif[fc]?)$", re.IGNORECASE)  # only these: 0.08 in a name is a value
_NAME_2020 = re.compile(r"(?:(?P<label>normal|anomaly)_)?(?P<section>id_\d\d)_(?P<index>\d{4,})")
_NAME = re.compile(
    r"(?P<section>section_\d\d)(?:_(?P<domain>source|target))?(?:_(?P<split>train|test))?"
    r"(?:_(?P<label>normal|anomaly))?_(?P<index>\d{4,})(?:_(?P<attributes>.+))?"
)


@dataclass(frozen=True)
class Clip:
    """What the name of a DCASE clip says.

    Args:
        path: The file.
        year: Of the challenge; None where the name fits several.
        machine: Type, such as "fan".
        section: As written: "id_00" (2020) or "section_00".
        split: "train" or "test"; None where it is not said.
        domain: "source" or "target"; None where it is not said.
        anomaly: 1 for anomalous, 0 for normal; None where it is not said.
        index: Number of the clip.
        attributes: Operating conditions, such as {"vel": "6", "loc": "A"}.
    """

    path: Path
    year: int | None
    machine: str
    section: str
    split: str | None
    domain: str | None
    anomaly: int | None
    index: int
    attributes: Mapping[str, str] = field(default_factory=dict)


def parse_name(path: str | Path) -> Clip:
    """What a clip's file name says, and the folders MACHINE/train, test, source_test or target_test around it.

    Args:
        path: Of a file that need not be there.

    Raises:
        FormatError: The name is none of DCASE's.
    """
    path = Path(path)
    folder_split, folder_domain = _FOLDERS.get(path.parent.name, (None, None))
    machine = (path.parent.parent if folder_split else path.parent).name
    name = _SUFFIX.sub("", path.name)
    year: int | None
    if found := _NAME_2020.fullmatch(name):
        year, said = 2020, found.groupdict()
        split = folder_split or (None if said["label"] else "test")
    elif found := _NAME.fullmatch(name):
        year, said = 2021 if folder_domain else None, found.groupdict()
        split = said["split"] or folder_split or (None if said["label"] else "test")
    else:
        raise FormatError(
            f"{path}: needs a name of DCASE Task 2, such as normal_id_00_00000000.wav or "
            f"section_00_source_train_normal_0000.wav; for other names use the layout `sounds`"
        )
    anomaly = {"normal": 0, "anomaly": 1, None: None}[said["label"]]
    attributes = attributes_from(said.get("attributes") or "")
    domain = said.get("domain") or folder_domain
    return Clip(path, year, machine, said["section"], split, domain, anomaly, int(said["index"]), attributes)


def name_of(clip: Clip, suffix: str = ".wav") -> str:
    """The file name that says what a clip holds, as the challenge of its year spells it."""
    label = None if clip.anomaly is None else ("normal", "anomaly")[clip.anomaly]
    if clip.section.startswith("id_"):
        words = [label, clip.section, f"{clip.index:08d}"]
    else:
        words = [clip.section, clip.domain, clip.split, label, f"{clip.index:04d}", attributes_text(clip.attributes)]
    return "_".join(word for word in words if word) + suffix


def attributes_from(text: str) -> Mapping[str, str]:
    """Pairs of name and value: "vel_6_loc_A" → {"vel": "6", "loc": "A"}.

    A word that is left over belongs to the last value ("strength_1_ambient": strength is "1_ambient"); a single
    word is the value of "attribute".
    """
    words = [word for word in text.split("_") if word]
    if not words or words == [NO_ATTRIBUTE]:
        return {}
    if len(words) == 1:
        return {"attribute": words[0]}
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2:
        pairs[words[-3]] += f"_{words[-1]}"
    return pairs


def attributes_text(attributes: Mapping[str, str]) -> str:
    """Pairs as they stand in a name: {"vel": "6", "loc": "A"} → "vel_6_loc_A"."""
    return "_".join(f"{name}_{value}" for name, value in attributes.items())
