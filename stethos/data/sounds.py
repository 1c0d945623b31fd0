"""Machine sounds to a cohort's table: the DCASE data sets, or any folder of sounds.

Beside path, id and subject the table has

    machine, section   what was recorded; its class is machine/section, such as "fan/id_00"
    split              "train" or "test"; empty where it is to be divided later
    domain             "source" or "target"; empty where it is not said
    anomaly            1 for anomalous, 0 for normal; empty where it is not known
    year               of the challenge
    attributes         operating conditions, such as "vel_6_loc_A", each also in a column of its own, `attr_vel`

Nothing is copied. Each sound is its own subject: the sounds of a machine stand on both sides of a split on purpose.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stethos.data.layout import places
from stethos.data.listing import Cells, ImportResult, write_listing
from stethos.errors import CohortError, FormatError
from stethos.io.dcase import RENAMED, Clip, attributes_text, parse_name
from stethos.io.groundtruth import Lists, is_list, read_lists
from stethos.io.sound import SoundHeader, sound_header

COLUMNS = ("machine", "section", "split", "domain", "anomaly", "year", "attributes")
_YEAR = re.compile(r"dcase[-_ ]?(20[2-9]\d)(?!\d).*", re.IGNORECASE)
_TABLES = ("cohort.csv", "cohort.parquet")


@dataclass(frozen=True)
class _Found:
    """The sounds of a folder, and what is none."""

    headers: Mapping[Path, SoundHeader]
    skipped: list[tuple[str, str]]


def import_dcase(source: Path, out: Path, truth: Path | None = None, year: int | None = None) -> ImportResult:
    """DCASE Task 2 of any year to a cohort.

    What a clip is stands in its name, its attributes also in `attributes_XX.csv`, which wins. What the names of
    the clips to be judged leave open stands in the organisers' `ground_truth_data` and `ground_truth_domain`, or
    in a merged list such as `eval_data_list.csv`; where they differ the organisers win, and the result says how
    often. The year is told by the name (2020), by the folders (2021), or by a folder such as `dcase2023`.

    Args:
        source: Holds `dev_data` and `eval_data`, or machines.
        out: Where `cohort.csv` goes.
        truth: Folder of the lists, where they are not in `source`.
        year: Of the challenge, where nothing tells it.

    Raises:
        CohortError: No clip is there, or `truth` holds no list.
        FormatError: A list cannot be understood.
    """
    source = Path(source).absolute()
    files = _files(source)
    elsewhere = [path for path in _files(Path(truth).absolute()) if is_list(path)] if truth else []
    if truth and not elsewhere:
        raise CohortError(f"{truth}: needs ground_truth_data, ground_truth_domain or an eval_data_list.csv")
    lists = {path for path in files if is_list(path)} | set(elsewhere)
    known = read_lists(sorted(lists))
    found = _sounds(source, [path for path in files if path not in lists])
    clips = _with_years(_parsed(source, found), year)
    told = [known.tell(clip) for clip in clips]
    rows = _rows(source, found, {clip.path: _dcase_cells(clip) for clip in told})
    result = write_listing(source, out, rows, found.skipped, COLUMNS)
    return replace(result, notes=tuple(_dcase_notes(known, clips, told)))


def _parsed(source: Path, found: _Found) -> list[Clip]:
    """The clips among the sounds; what has another name joins what was left out."""
    clips = []
    for path in found.headers:
        if path.parent.name == RENAMED and path.parent.with_name("test").is_dir():
            reason = "a copy of a clip in test, renamed by a merged list"
            found.skipped.append((path.relative_to(source).as_posix(), reason))
            continue
        try:
            clips.append(parse_name(path))
        except FormatError:
            found.skipped.append((path.relative_to(source).as_posix(), "its name is none of DCASE Task 2"))
    return clips


def _with_years(clips: Sequence[Clip], year: int | None) -> list[Clip]:
    """The clips with the year that their name, their machine's folders, the caller or a folder's name tells."""
    machines_of_2021 = {clip.path.parents[1] for clip in clips if clip.year == 2021}

    def told(clip: Clip) -> int | None:
        if clip.year:
            return clip.year
        if clip.path.parents[1] in machines_of_2021:
            return 2021
        named = (_YEAR.fullmatch(folder.name) for folder in clip.path.parents)
        return year or next((int(found[1]) for found in named if found), None)

    return [replace(clip, year=told(clip)) for clip in clips]


def _dcase_cells(clip: Clip) -> Cells:
    return {
        "machine": clip.machine,
        "section": clip.section,
        "split": clip.split,
        "domain": clip.domain,
        "anomaly": clip.anomaly,
        "year": clip.year,
        "attributes": attributes_text(clip.attributes) or None,
        **{f"attr_{name}": value for name, value in clip.attributes.items()},
        "terms": "CC BY-NC-SA 4.0" if clip.year == 2020 else "CC BY 4.0",
    }


def _dcase_notes(known: Lists, clips: Sequence[Clip], told: Sequence[Clip]) -> list[str]:
    """What a person should know about the labels and years."""
    notes = [_counts("clips", Counter((clip.split or "no split", clip.anomaly) for clip in told)), *known.notes(clips)]
    if any(clip.year is None for clip in told):
        notes.append("the year is not known: name it with --year")
    open_ = sum(clip.anomaly is None for clip in told)
    if open_:
        notes.append(f"without a label: {open_}; name the folder of the ground truth with --table")
    return notes


def _counts(what: str, counts: Counter[tuple[str, int | None]]) -> str:
    """How many there are of each split and label."""
    label = {0: "normal", 1: "anomalous", None: "unlabelled"}
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], str(item[0][1])))
    return f"{what}: " + ", ".join(f"{count} {label[anomaly]} ({split})" for (split, anomaly), count in ordered)


def import_sounds(source: Path, out: Path) -> ImportResult:
    """Any folder of sounds to a cohort, by the words of its folders (`stethos.data.layout.FOLDER_WORDS`).

    MACHINE/{train,test}/…, MACHINE/{normal,fault,…}/…, {normal,…}/… and {normal,…}/MACHINE/… are understood.
    Where no folder says anything, all are taken for normal sounds of one machine; the result says so.

    Args:
        source: Searched with all its sub-folders.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: There is no readable sound.
    """
    source = Path(source).absolute()
    found = _sounds(source, _files(source))
    paths = list(found.headers)
    placed, notes = places([path.relative_to(source) for path in paths], source.name)
    cells = {
        path: {name: getattr(place, name, None) for name in COLUMNS} for path, place in zip(paths, placed, strict=True)
    }
    result = write_listing(source, out, _rows(source, found, cells), found.skipped, COLUMNS)
    machines = Counter(f"{place.machine}/{place.section}" for place in placed)
    counted = _counts("sounds", Counter((place.split or "no split", place.anomaly) for place in placed))
    listed = "machines: " + ", ".join(f"{name} ({count})" for name, count in sorted(machines.items()))
    telling = sum(_is_dcase(path) for path in paths)
    more = [f"names of DCASE Task 2: {telling}; the layout dcase reads more from them"] if telling else []
    return replace(result, notes=(listed, counted, *notes, *more))


def _is_dcase(path: Path) -> bool:
    try:
        return bool(parse_name(path))
    except FormatError:
        return False


def _files(folder: Path) -> list[Path]:
    """All files that are not hidden and not a cohort's table."""
    if not folder.is_dir():
        raise CohortError(f"{folder}: needs a folder of sounds, and there is none")
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in _TABLES)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _sounds(source: Path, files: Iterable[Path]) -> _Found:
    """What the sounds among some files say of themselves."""
    headers, skipped = {}, []
    for path in files:
        try:
            headers[path] = sound_header(path)
        except FormatError as error:
            reason = str(error).removeprefix(f"{path}: ")
            # what the file begins with would make a reason of its own of every file
            counted = reason.partition(";")[0] if reason.startswith("not a sound") else reason
            skipped.append((path.relative_to(source).as_posix(), counted))
    return _Found(headers, skipped)


def _rows(source: Path, found: _Found, cells: Mapping[Path, Cells]) -> list[Cells]:
    """Rows of the table, in the order of `cells`."""
    names = _names([path.relative_to(source) for path in cells])
    return [
        {
            "path": path.relative_to(source).as_posix(),
            "id": name,
            "subject": name,
            "origin": found.headers[path].origin,
            **row,
        }
        for name, (path, row) in zip(names, cells.items(), strict=True)
    ]


def _names(paths: Collection[Path]) -> list[str]:
    """A name for each file: its path without the suffix, unless two would have the same."""
    short = [path.as_posix().removesuffix(path.suffix) for path in paths]
    times = Counter(short)
    return [name if times[name] == 1 else path.as_posix() for name, path in zip(short, paths, strict=True)]
