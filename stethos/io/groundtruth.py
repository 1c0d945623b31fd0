"""Labels, domains and attributes of DCASE clips whose names do not tell them.

The organisers publish, after a challenge, one list a machine and section in `ground_truth_data` (1 anomalous) and
`ground_truth_domain` (1 target). Merged lists such as `eval_data_list_2022.csv`, made to rename the files, go
around as well; that of 2022 disagrees with the organisers about half the labels of two machines. So the
organisers' folders win, and every disagreement is counted. For 2020 the merged list is the organisers' own.

Reference:
    https://github.com/Kota-Dohi/dcase2022_evaluator; https://zenodo.org/records/3951620 (2020).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from stethos.errors import FormatError
from stethos.io.dcase import NO_ATTRIBUTE, Clip, parse_name
from stethos.io.files import read_rows
from stethos.io.submission import read_pairs

_OFFICIAL = re.compile(r"ground_truth_(?P<machine>.+)_section_\d\d(?:_(?P<domain>source|target))?(?:_test)?\.csv")
_MERGED = re.compile(r"\w*eval_data_list\w*\.csv")
_ATTRIBUTES = re.compile(r"attributes_\d\d\.csv")
_FOLDERS = ("ground_truth_data", "ground_truth_domain")


class Key(NamedTuple):
    """What tells clips to be judged apart, however the lists spell their names."""

    machine: str
    section: str
    domain: str  # "" but in 2021, which counts the clips of each domain from 0
    number: int


@dataclass(frozen=True)
class Truth:
    """What is true of clips, from one kind of list.

    Args:
        anomaly: Clip → 1 for anomalous, 0 for normal.
        domain: Clip → "source" or "target".
        names: Names of the lists.
    """

    anomaly: Mapping[Key, int] = field(default_factory=dict)
    domain: Mapping[Key, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lists:
    """All that the lists around a data set say.

    Args:
        official: Of the organisers.
        merged: Of anybody.
        attributes: (machine, file name) → attributes.
    """

    official: Truth
    merged: Truth
    attributes: Mapping[tuple[str, str], Mapping[str, str]]

    def tell(self, clip: Clip) -> Clip:
        """A clip with what its own name leaves open; for attributes the list wins over the name."""
        clip = replace(clip, attributes=self.attributes.get((clip.machine, clip.path.name)) or clip.attributes)
        if clip.anomaly is not None:
            return clip
        key = key_of(clip)
        anomaly = self.official.anomaly.get(key, self.merged.anomaly.get(key))
        domain = clip.domain or self.official.domain.get(key, self.merged.domain.get(key))
        return replace(clip, anomaly=anomaly, domain=domain)

    def notes(self, clips: Iterable[Clip]) -> list[str]:
        """Sentences on how far the lists can be trusted.

        Args:
            clips: As their names tell, before any list was asked.
        """
        keys = [key_of(clip) for clip in clips if clip.anomaly is None]
        unsure = sum(
            key in self.merged.anomaly and key not in self.official.anomaly
            for key in keys
            if not key.section.startswith("id_")
        )
        unofficial = f"{unsure} labels come from {', '.join(self.merged.names)}, not from the official ground truth"
        return [note for note in (self._disagreement(keys), unofficial if unsure else "") if note]

    def _disagreement(self, keys: Sequence[Key]) -> str:
        """How often the two kinds of lists differ about clips that both know; "" where they never do."""
        pairs = ((self.official.anomaly, self.merged.anomaly), (self.official.domain, self.merged.domain))
        counts = []
        for official, merged in pairs:
            both = [official[key] != merged[key] for key in keys if key in official and key in merged]
            counts.append((sum(both), len(both)))
        (labels, of_labels), (domains, of_domains) = counts
        if not labels + domains:
            return ""
        return (
            f"{', '.join(self.merged.names)} disagrees with the official ground truth on {labels} of {of_labels} "
            f"labels and {domains} of {of_domains} domains; the official ones were taken"
        )


def read_lists(files: Sequence[Path]) -> Lists:
    """All lists among some files.

    Args:
        files: Any; what is no list is left alone.

    Raises:
        FormatError: A list cannot be understood.
    """
    return Lists(official_truth(files), merged_truth(files), attribute_lists(files))


def key_of(clip: Clip) -> Key:
    """What a clip to be judged is looked up by; its domain counts where its own name tells it."""
    return Key(clip.machine, clip.section, clip.domain or "", clip.index)


def official_truth(files: Iterable[Path]) -> Truth:
    """The organisers' lists in `ground_truth_data` and `ground_truth_domain`.

    Args:
        files: Any; the others are left alone.

    Raises:
        FormatError: A line is not FILE,0 or FILE,1, or names no clip.
    """
    found: dict[str, dict[Key, int]] = {folder: {} for folder in _FOLDERS}
    names = []
    for path in files:
        said = _OFFICIAL.fullmatch(path.name)
        if said is None or path.parent.name not in found:
            continue
        names.append(path.name)
        for file, value in read_pairs(path):
            if value not in (0, 1):
                raise FormatError(f"{path}: {file} has the value {value:g}; needs 0 or 1")
            key = _key(said["machine"], file, path)
            found[path.parent.name][key._replace(domain=said["domain"] or key.domain)] = int(value)
    anomaly, domain = (found[folder] for folder in _FOLDERS)
    return Truth(anomaly, {key: ("source", "target")[value] for key, value in domain.items()}, tuple(names))


def merged_truth(files: Iterable[Path]) -> Truth:
    """Lists of all machines, such as `eval_data_list.csv`: a line with the machine, then file, full name[, label].

    Args:
        files: Any; the others are left alone.

    Raises:
        FormatError: A line names no clip, or stands before the first machine.
    """
    anomaly: dict[Key, int] = {}
    domain: dict[Key, str] = {}
    names = []
    for path in files:
        if not _MERGED.fullmatch(path.name):
            continue
        names.append(path.name)
        machine = ""
        for cells in read_rows(path):
            if len(cells) == 1 or not any(cells[1:]):
                machine = cells[0].strip()
                continue
            key, full = _key(machine, cells[0], path), _parsed(machine, cells[1], path)
            stated = cells[2].strip() if len(cells) > 2 else ""
            label = int(stated) if stated in ("0", "1") else full.anomaly
            if label is not None:
                anomaly[key] = label
            if full.domain is not None:
                domain[key] = full.domain
    return Truth(anomaly, domain, tuple(names))


def _parsed(machine: str, file: str, path: Path) -> Clip:
    """A clip by its name in a list."""
    if not machine:
        raise FormatError(f"{path}: needs a line with the machine's name before {file}")
    try:
        return parse_name(Path(machine) / Path(file.strip()).name)
    except FormatError:
        raise FormatError(f"{path}: {file!r} names no clip of DCASE Task 2; check the list") from None


def _key(machine: str, file: str, path: Path) -> Key:
    return key_of(_parsed(machine, file, path))


def attribute_lists(files: Iterable[Path]) -> dict[tuple[str, str], dict[str, str]]:
    """The lists `attributes_XX.csv` (file_name,d1p,d1v,d2p,d2v…): (machine, file name) → attributes.

    Args:
        files: Any; the others are left alone. The machine is the first part of `file_name`, or else the folder
            of the list.

    Raises:
        FormatError: A list has no column `file_name`.
    """
    found = {}
    for path in files:
        if not _ATTRIBUTES.fullmatch(path.name):
            continue
        columns, *rows = read_rows(path) or [[]]
        if "file_name" not in columns:
            raise FormatError(f"{path}: needs the column file_name; it has {', '.join(columns) or 'none'}")
        for cells in rows:
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            file = Path(row["file_name"])
            machine = file.parts[0] if len(file.parts) > 1 else path.parent.name
            found[machine, file.name] = _pairs(row)
    return found


def _pairs(row: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a row: what d1p names is d1v, and so on."""
    names = [column for column in row if re.fullmatch(r"d\d+p", column)]
    pairs = {row[name]: row.get(f"{name[:-1]}v", "") for name in names}
    return {name: value for name, value in pairs.items() if name and value and name != NO_ATTRIBUTE}


def is_list(path: Path) -> bool:
    """Whether a file's name is that of a list read here."""
    official = _OFFICIAL.fullmatch(path.name) and path.parent.name in _FOLDERS
    return bool(official or _MERGED.fullmatch(path.name) or _ATTRIBUTES.fullmatch(path.name))
