"""Cine MR in DICOM files: one file a frame, in whatever order, brought to one moving image a slice.

Frames are put in the order of their TriggerTime (ms after the R peak). What is mended is counted in the record's facts:
frames that are missing and repeat the one before, and times that were not stated.
"""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError
from stethos.types import Fact, Record, Volume

MOST_BYTES = 4 * 2**30  # of an archive, unpacked: ten times the largest examination
MOST_FILES = 50_000
MOST_RATIO = 200  # of unpacked over packed bytes; pictures reach 10


def read_cine_dicom(source: str | Path) -> list[Record]:
    """Every cine of a folder or zip of DICOM files: one a series and slice, in their order.

    Names, birth dates and free identifiers are not read.

    Returns:
        Records with a volume `(F, 1, H, W)`; id is the source's name with series and slice. Facts: "frames_repeated",
        "frames_without_time", "frames_at_the_same_time", "rr_ms" where stated, "series" (description).

    Raises:
        FormatError: There is no DICOM picture, a file is broken, or an archive unpacks to more than a heart can be.
        MissingExtraError: pydicom is not installed.
    """
    source = Path(source)
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for name, data in opened(source):
        file = picture(data, f"{source}: {name}")
        if file is not None:
            groups[_series(file)].append(file)
    if not groups:
        raise FormatError(f"{source}: needs DICOM files with pictures; it holds none")
    return [cine_of(f"{source.stem}-{n}", files) for n, (_, files) in enumerate(sorted(groups.items()))]


def opened(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of a folder or zip, in order of name.

    Raises:
        FormatError: It is neither, or the zip is one that must not be unpacked.
    """
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            yield path.name, path.read_bytes()
        return
    if not zipfile.is_zipfile(source):
        raise FormatError(f"{source}: needs a folder or zip of DICOM files")
    with zipfile.ZipFile(source) as archive:
        members = [item for item in archive.infolist() if not item.is_dir()]
        _refuse_bomb(source, members)
        for item in sorted(members, key=lambda one: one.filename):
            yield item.filename, archive.read(item)


def _refuse_bomb(source: Path, members: list[zipfile.ZipInfo]) -> None:
    size, packed = sum(item.file_size for item in members), sum(item.compress_size for item in members)
    if len(members) > MOST_FILES or size > MOST_BYTES or size > MOST_RATIO * max(packed, 1):
        raise FormatError(
            f"{source}: {len(members)} files of {size / 1e6:.0f} MB in {packed / 1e6:.1f} MB are no examination; "
            "it was not unpacked"
        )
    outside = [
        item.filename for item in members if ".." in PurePosixPath(item.filename).parts or item.filename[:1] == "/"
    ]
    if outside:
        raise FormatError(f"{source}: {outside[0]} leads out of the archive; it was not unpacked")


def picture(data: bytes, name: str) -> Any:
    """A DICOM file with pixels; None for a file that is no DICOM.

    Raises:
        FormatError: It is DICOM without pixels, or cannot be read.
    """
    if data[128:132] != b"DICM":
        return None
    try:
        import pydicom
    except ImportError as error:
        raise MissingExtraError(f'{name}: DICOM needs pydicom; pip install "stethos[imaging]"') from error
    try:
        file = pydicom.dcmread(io.BytesIO(data))
    except Exception as error:  # its exceptions have no common base
        raise FormatError(f"{name}: not readable ({error}); export it again") from error
    if "PixelData" not in file:
        raise FormatError(f"{name}: a DICOM file without pixels ({file.get('Modality', 'no modality')}); leave it out")
    return file


def _series(file: Any) -> tuple[str, str]:
    """What frames of one cine share: series, and place of the slice along its normal."""
    place = file.get("ImagePositionPatient") or (0.0, 0.0, float(file.get("SliceLocation", 0) or 0))
    turn = file.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)
    normal = np.cross([float(x) for x in turn[:3]], [float(x) for x in turn[3:]])
    along = float(np.dot(normal, [float(x) for x in place]))
    return str(file.get("SeriesInstanceUID", "")), f"{along:+012.2f}"


def cine_of(name: str, files: list[Any]) -> Record:
    """The frames of one slice as a record.

    Raises:
        FormatError: Frames differ in size, there is only one, or pixel spacing is not stated.
    """
    sizes = {(int(file.Rows), int(file.Columns)) for file in files}
    if len(sizes) > 1:
        raise FormatError(f"{name}: frames of one slice have one size; these have {sorted(sizes)}: split the series")
    if len(files) < 2:
        raise FormatError(f"{name}: a cine needs at least two frames; this slice has one")
    spacing = files[0].get("PixelSpacing")
    if not spacing:
        raise FormatError(f"{name}: needs PixelSpacing (mm); it is not stated")
    ordered, facts = _ordered(files)
    values = np.stack([_grey(file, name) for file in ordered])
    values, repeated = _complete(values, ordered)
    times = [time for time in map(_time, ordered) if time is not None]
    interval = _interval(times, ordered[0], len(values))
    thick = float(files[0].get("SpacingBetweenSlices") or files[0].get("SliceThickness") or np.nan)
    rr = float(files[0].get("NominalInterval") or np.nan)
    said: dict[str, Fact] = {"series": str(files[0].get("SeriesDescription", "")) or None}
    facts |= {"frames_repeated": float(repeated), **said} | ({"rr_ms": rr} if np.isfinite(rr) else {})
    volume = Volume(values[:, None], (thick, float(spacing[0]), float(spacing[1])), interval)
    return Record(name, name, (), volume=volume, facts=facts)


def _time(file: Any) -> float | None:
    """Milliseconds after the R peak."""
    said = file.get("TriggerTime")
    return None if said is None or str(said) == "" else float(said)


def _ordered(files: list[Any]) -> tuple[list[Any], dict[str, Fact]]:
    """By TriggerTime, equal ones by InstanceNumber; by InstanceNumber alone where any time is missing."""
    times = [_time(file) for file in files]
    absent = sum(time is None for time in times)
    number = [int(file.get("InstanceNumber") or 0) for file in files]
    keys = [(0.0 if absent else float(time or 0), count) for time, count in zip(times, number, strict=True)]
    order = sorted(range(len(files)), key=lambda at: keys[at])
    same = len(files) - len(set(times)) if not absent else 0
    facts: dict[str, Fact] = {"frames_without_time": float(absent), "frames_at_the_same_time": float(same)}
    return [files[at] for at in order], facts


def _grey(file: Any, name: str) -> np.ndarray:
    try:
        pixels = file.pixel_array
    except Exception as error:  # whatever a decoder says of broken pixels
        raise FormatError(f"{name}: its pixels cannot be read ({error}); export it uncompressed") from error
    slope, offset = float(file.get("RescaleSlope", 1) or 1), float(file.get("RescaleIntercept", 0) or 0)
    return (pixels * slope + offset).astype(np.float32)


def _complete(values: np.ndarray, files: list[Any]) -> tuple[np.ndarray, int]:
    """Frames that were announced and did not come repeat the one before; where, the gaps in time tell."""
    wanted = int(files[0].get("CardiacNumberOfImages") or 0)
    missing = wanted - len(values)
    times = [_time(file) for file in files]
    if missing <= 0 or any(time is None for time in times):
        return values, 0
    steps = np.diff(np.array(times, float))
    usual = float(np.median(steps[steps > 0])) if np.any(steps > 0) else 0.0
    copies = np.ones(len(values), int)
    for at in np.argsort(-steps, kind="stable"):
        lost = min(missing, max(0, round(steps[at] / usual) - 1)) if usual else 0
        copies[at] += lost
        missing -= lost
    copies[-1] += missing  # the end of the cycle did not come
    return np.repeat(values, copies, axis=0), wanted - len(values)


def _interval(times: list[float], file: Any, frames: int) -> float:
    """Seconds from frame to frame: of the times, or of the stated RR interval; NaN where neither is known."""
    steps = np.diff(np.array(times))
    if len(steps) and np.any(steps > 0):
        return float(np.median(steps[steps > 0])) / 1e3
    stated = float(file.get("NominalInterval") or np.nan)
    return stated / frames / 1e3
