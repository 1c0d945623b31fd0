"""Cine MR in DICOM files: one file a frame, in whatever order, brought to one moving image a slice.

Frames are put in the order of their TriggerTime (ms after the R peak). What is mended is counted in the record's facts:
frames that are missing and repeat the one before, files that came twice, and times that were not stated.
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError
from stethos.io.files import read_bytes
from stethos.types import Fact, Record, Volume

MOST_BYTES = 4 * 2**30  # of an archive, unpacked: ten times the largest examination
MOST_FILES = 50_000
MOST_RATIO = 200  # of unpacked over packed bytes; pictures reach 10
APART = 0.5  # mm along the normal: slices lie further apart, and positions of one slice nearer together
TURNED = 0.99  # cosine between normals of one slice
ENOUGH = 0.5  # of the frames that were announced: with fewer a slice is no cycle
_DIRECTORY = "1.2.840.10008.1.3.10"  # DICOMDIR, a table of contents


@dataclass(frozen=True, eq=False)
class Frame:
    """What one DICOM file with a picture says, without whose it is.

    Args:
        name: Of the file, for messages.
        file: Opened; its pixels are decoded when they are needed.
        series: Identifier of the series.
        said: Description of the series.
        identifier: Of the picture; a file that came twice has the same.
        size: Rows and columns.
        spacing: mm, (z, y, x); NaN where not stated.
        normal: Unit vector across the slice.
        along: mm, where the slice lies on its normal.
        time: ms after the R peak; None where not stated.
        number: InstanceNumber; 0 where not stated.
        announced: Frames a cycle; 0 where not stated.
        rr_ms: Stated length of a cycle; NaN where not stated.
        when: When it was taken.
    """

    name: str
    file: Any
    series: str
    said: str
    identifier: str
    size: tuple[int, int]
    spacing: tuple[float, float, float]
    normal: np.ndarray
    along: float
    time: float | None
    number: int
    announced: int
    rr_ms: float
    when: datetime | None


def read_cine_dicom(source: str | Path) -> list[Record]:
    """Every cine of a folder or zip of DICOM files: one a series and slice, in order along the slices' normal.

    Names, birth dates and free identifiers are not read. Pictures that are no cine, such as those that plan an
    examination, are left out.

    Returns:
        Records with a volume `(F, 1, H, W)`; id is the source's name with a number. Facts: "frames_repeated",
        "frames_without_time", "frames_at_the_same_time", "files_twice", "rr_ms" where stated, "series" (description),
        and "pictures_left_out" of the whole source.

    Raises:
        FormatError: There is no cine, a file is broken, or an archive unpacks to more than a heart can be.
        MissingExtraError: pydicom is not installed.
    """
    source = Path(source)
    series: dict[str, list[Frame]] = defaultdict(list)
    for name, data in opened(source):
        frame = picture(data, f"{source}: {name}")
        if frame is not None:
            series[frame.series].append(frame)
    if not series:
        raise FormatError(f"{source}: needs DICOM files with pictures; it holds none")
    places = [frames for _, files in sorted(series.items()) for frames in slices(files)]
    whole = [frames for frames in places if is_cine(frames)]
    if not whole:
        raise FormatError(
            f"{source}: a cine needs at least two frames, and half of those it announces; this holds "
            f"{sum(map(len, places))} pictures of {len(places)} slices and no cine"
        )
    left_out = float(sum(map(len, places)) - sum(map(len, whole)))
    records = [cine_of(f"{source.stem}-{n}", frames) for n, frames in enumerate(whole)]
    return [replace(record, facts={**record.facts, "pictures_left_out": left_out}) for record in records]


def opened(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of a folder or zip, in order of name.

    Raises:
        FormatError: It is neither, or the zip is broken or must not be unpacked.
    """
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            yield path.relative_to(source).as_posix(), read_bytes(path)
        return
    if not zipfile.is_zipfile(source):
        raise FormatError(f"{source}: needs a folder or zip of DICOM files")
    try:
        with zipfile.ZipFile(source) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            _refuse_bomb(source, members)
            for item in sorted(members, key=lambda one: one.filename):
                yield item.filename, archive.read(item)  # never more than it declares
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise FormatError(f"{source}: a zip that cannot be unpacked ({error}); copy the file again") from error


def _refuse_bomb(source: Path, members: list[zipfile.ZipInfo]) -> None:
    size, packed = sum(item.file_size for item in members), sum(item.compress_size for item in members)
    packed = min(packed, source.stat().st_size)  # members that share their bytes count once
    if len(members) > MOST_FILES or size > MOST_BYTES or size > MOST_RATIO * max(packed, 1):
        raise FormatError(
            f"{source}: {len(members)} files of {size / 1e6:.0f} MB in {packed / 1e6:.1f} MB are no examination; "
            "it was not unpacked"
        )
    for item in members:
        name = item.filename.replace("\\", "/")
        if ".." in PurePosixPath(name).parts or name[:1] == "/" or name[1:2] == ":":
            raise FormatError(f"{source}: {item.filename} leads out of the archive; it was not unpacked")


def picture(data: bytes, name: str) -> Frame | None:
    """A DICOM file with pixels; None for a file that is no DICOM, or the table of contents of a disc.

    Raises:
        FormatError: It is DICOM without pixels, or cannot be read.
        MissingExtraError: pydicom is not installed.
    """
    if data[128:132] != b"DICM":
        return None
    try:
        import pydicom
    except ImportError as error:
        raise MissingExtraError(f'{name}: DICOM needs pydicom; pip install "stethos[imaging]"') from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of values that do not keep to the standard
            file = pydicom.dcmread(io.BytesIO(data))
            if str(file.file_meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
                return None
            if "PixelData" in file:
                return _frame(file, name)
            modality = str(file.get("Modality", "no modality"))
    except Exception as error:  # its exceptions have no common base
        raise FormatError(f"{name}: not readable ({error}); export it again") from error
    raise FormatError(f"{name}: a DICOM file without pixels ({modality}); leave it out")


def _frame(file: Any, name: str) -> Frame:
    place = file.get("ImagePositionPatient") or (0.0, 0.0, float(file.get("SliceLocation") or 0))
    turn = [float(x) for x in file.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)]
    normal = np.cross(turn[:3], turn[3:])
    pixel = [_positive(x) for x in file.get("PixelSpacing") or (np.nan, np.nan)]
    thick = file.get("SpacingBetweenSlices") or file.get("SliceThickness")
    time = file.get("TriggerTime")
    return Frame(
        name=name,
        file=file,
        series=str(file.get("SeriesInstanceUID", "")),
        said=str(file.get("SeriesDescription", "")),
        identifier=str(file.get("SOPInstanceUID", "")) or name,
        size=(int(file.Rows), int(file.Columns)),
        spacing=(_positive(abs(float(thick or np.nan))), pixel[0], pixel[1]),
        normal=normal,
        along=float(normal @ [float(x) for x in place]),
        time=None if time is None or str(time) == "" else float(time),
        number=int(file.get("InstanceNumber") or 0),
        announced=int(file.get("CardiacNumberOfImages") or 0),
        rr_ms=_positive(file.get("NominalInterval") or np.nan),
        when=_when(file),
    )


def _positive(said: Any) -> float:
    value = float(said)
    return value if 0 < value < np.inf else float("nan")


def _when(file: Any) -> datetime | None:
    day, time = (str(file.get(f"Acquisition{what}") or "").partition(".")[0] for what in ("Date", "Time"))
    try:
        return datetime.strptime(f"{day}{time or '000000'}", "%Y%m%d%H%M%S")
    except ValueError:
        return None


def slices(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one series by slice, in the order in which slices lie along their normal."""
    found: list[list[Frame]] = []
    for frame in frames:
        here = next((one for one in found if _same_place(one[0], frame)), None)
        if here is None:
            found.append([frame])
        else:
            here.append(frame)
    return sorted(found, key=lambda one: one[0].along)


def _same_place(one: Frame, other: Frame) -> bool:
    return bool(abs(one.along - other.along) < APART and one.normal @ other.normal > TURNED)


def is_cine(frames: list[Frame]) -> bool:
    """Whether there are two frames or more, and at least half of those that are announced; copies count once."""
    return len({frame.identifier for frame in frames}) >= max(2.0, ENOUGH * max(frame.announced for frame in frames))


def cine_of(name: str, frames: list[Frame]) -> Record:
    """The frames of one slice as a record.

    Raises:
        FormatError: Frames differ in size or spacing, there are too few, or pixel spacing is not stated.
    """
    forms = {(*frame.size, *frame.spacing[1:]) for frame in frames}
    if not np.isfinite([spacing for form in forms for spacing in form[2:]]).all():
        raise FormatError(f"{name}: needs PixelSpacing (mm) of each frame; it is not stated")
    if len(forms) > 1:
        raise FormatError(f"{name}: frames of one slice have one size; these have {sorted(forms)}: split the series")
    if not is_cine(frames):
        raise FormatError(
            f"{name}: a cine needs at least two frames, and half of those it announces ({frames[0].announced}); "
            f"this slice has {len(frames)}"
        )
    once = list({frame.identifier: frame for frame in frames}.values())
    ordered, facts = _ordered(once)
    values, repeated = _complete(np.stack([_grey(frame) for frame in ordered]), ordered)
    facts |= {"frames_repeated": float(repeated), "files_twice": float(len(frames) - len(once))}
    facts |= {"series": ordered[0].said or None}
    if np.isfinite(ordered[0].rr_ms):
        facts["rr_ms"] = ordered[0].rr_ms
    volume = Volume(values[:, None], ordered[0].spacing, _interval(ordered, len(values)))
    return Record(name, name, (), when=ordered[0].when, volume=volume, facts=facts)


def _ordered(frames: list[Frame]) -> tuple[list[Frame], dict[str, Fact]]:
    """By TriggerTime, equal ones by InstanceNumber; by InstanceNumber alone where any time is missing."""
    times = [frame.time for frame in frames]
    absent = sum(time is None for time in times)
    same = len(times) - len(set(times)) if not absent else 0
    facts: dict[str, Fact] = {"frames_without_time": float(absent), "frames_at_the_same_time": float(same)}
    return sorted(frames, key=lambda one: (0.0 if absent else one.time or 0.0, one.number)), facts


def _grey(frame: Frame) -> np.ndarray:
    file = frame.file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            slope, offset = float(file.get("RescaleSlope", 1) or 1), float(file.get("RescaleIntercept", 0) or 0)
            grey = np.asarray(file.pixel_array * slope + offset, np.float32)
    except Exception as error:  # whatever a decoder says of broken pixels
        raise FormatError(f"{frame.name}: its pixels cannot be read ({error}); export it uncompressed") from error
    if grey.shape != frame.size or not np.isfinite(grey).all():
        raise FormatError(f"{frame.name}: needs one grey picture a file; its pixels have shape {grey.shape}")
    return grey


def _complete(values: np.ndarray, frames: list[Frame]) -> tuple[np.ndarray, int]:
    """Frames that were announced and did not come repeat the one before; gaps in time, or in numbers, tell where."""
    missing = max(0, frames[0].announced - len(values))
    untimed = any(frame.time is None for frame in frames)
    steps = np.diff([frame.number if untimed or frame.time is None else frame.time for frame in frames])
    usual = _usual(steps)
    copies, rest = np.ones(len(values), int), missing
    for at in np.argsort(-steps, kind="stable"):
        lost = 0 if np.isnan(usual) else min(rest, max(0, round(steps[at] / usual) - 1))
        copies[at] += lost
        rest -= lost
    copies[-1] += rest  # the end of the cycle did not come
    return np.repeat(values, copies, axis=0), missing


def _usual(steps: np.ndarray) -> float:
    """The lower median of the positive steps, which is one of them; NaN where there is none."""
    positive = np.sort(steps[steps > 0])
    return float(positive[(len(positive) - 1) // 2]) if len(positive) else float("nan")


def _interval(frames: list[Frame], count: int) -> float:
    """Seconds from frame to frame: of the times, or of the stated RR interval; NaN where neither is known."""
    usual = _usual(np.diff([frame.time for frame in frames if frame.time is not None]))
    return (frames[0].rr_ms / count if np.isnan(usual) else usual) / 1e3
