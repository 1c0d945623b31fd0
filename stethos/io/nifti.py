"""Cine MR in NIfTI files, and the label maps that go with them.

A file holds `(X, Y, Z, T)`; a volume is `(F, Z, H, W)` with H along Y and W along X. Time steps of many public data
sets are unset or placeholders: an interval that cannot be one of a beating heart is NaN, and the fact says so.

Reference:
    Bernard 2018, doi:10.1109/TMI.2018.2837502 (ACDC). Campello 2021, doi:10.1109/TMI.2021.3090082 (M&Ms).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError, RateError
from stethos.io.files import read_bytes
from stethos.types import Record, Volume

STANDARD = {"LV": 1, "MYO": 2, "RV": 3}
ACDC = {"RV": 1, "MYO": 2, "LV": 3}
MNMS = {"LV": 1, "MYO": 2, "RV": 3}
PLAUSIBLE = (0.005, 0.2)  # s between two frames of a heart
MOSTLY = 0.55  # of an edge: a right ventricle has less muscle about it in every view, and muscle less cavity
MOST_BYTES = 4 * 2**30  # of a compressed file, unpacked
_MILLIMETRES = {"meter": 1e3, "micron": 1e-3}  # "mm", and where nothing is said, 1
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_GENERATED = "stethos: generated"
_SYNTHETIC = "stethos: synthetic"


def read_nifti(path: str | Path, interval: float | None = None) -> Record:
    """A cine, with the file's name as subject and id.

    Args:
        path: Of the file; compressed or not, whatever its suffix.
        interval: Seconds between frames, for a file that does not state it.

    Returns:
        Record with a volume `(F, Z, H, W)`; the interval is NaN, and the fact "frame_interval_known" 0, where neither
        the file nor the caller states one that a beating heart can have. The distance between slices is NaN where it is
        not stated and there is one slice.

    Raises:
        FormatError: It is no NIfTI, is cut short, has no frames, or holds numbers that are none.
        RateError: The caller states an interval that no heart has, or other than the file's.
        MissingExtraError: nibabel is not installed.
    """
    path = Path(path)
    image = _image(path)
    if len(image.shape) != 4 or image.shape[3] < 2:
        raise FormatError(f"{path}: a cine needs pictures over time (X, Y, Z, T); this file holds {image.shape}")
    values = _values(image, path)
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: {int((~np.isfinite(values)).sum())} voxels are no numbers; mend the file")
    step = _interval(image.header, path, interval)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    said = bytes(image.header["descrip"]).decode("latin1").strip("\x00")
    origin: Any = "generated" if said == _GENERATED else "synthetic" if said == _SYNTHETIC else "real"
    volume = Volume(values.transpose(3, 2, 1, 0), _spacing(image, path), step)
    facts = {"frame_interval_known": float(np.isfinite(step))}
    return Record(name, name, (), volume=volume, facts=facts, origin=origin)


def read_still(path: str | Path) -> np.ndarray:
    """One moment of a heart, `(1, Z, H, W)` float32.

    Raises:
        FormatError: It is no NIfTI, is cut short, or holds several moments.
    """
    path = Path(path)
    values = _values(_image(path), path)
    values = values[..., None] if values.ndim == 3 else values
    if values.ndim != 4 or values.shape[3] != 1:
        raise FormatError(f"{path}: needs one moment (X, Y, Z); this file holds {values.shape}")
    return values.transpose(3, 2, 1, 0)


def write_nifti(path: str | Path, volume: Volume, origin: str = "real") -> None:
    """A volume as `(X, Y, Z, T)`, float32, mm and seconds; `.nii` or `.nii.gz` by the name.

    Args:
        path: Of the file.
        volume: What to write; an interval or slice distance of NaN becomes 0, which means that it is not known.
        origin: "real", "synthetic" or "generated"; the latter two stand in the header.

    Raises:
        FormatError: The name ends otherwise, or the file cannot be written.
    """
    zooms = (*volume.spacing[::-1], volume.interval)
    _write(Path(path), volume.values, tuple(step if np.isfinite(step) else 0.0 for step in zooms), origin)


def write_labels(path: str | Path, labels: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """A label map `(F, Z, H, W)` of uint8, coded as `STANDARD`.

    Args:
        path: Of the file.
        labels: 0 background, 1 left ventricle, 2 muscle, 3 right ventricle.
        spacing: mm, (z, y, x).

    Raises:
        FormatError: The name ends otherwise, or the file cannot be written.
    """
    zooms = tuple(step if np.isfinite(step) else 0.0 for step in spacing[::-1])
    _write(Path(path), np.asarray(labels, np.uint8), (*zooms, 0.0), "real")


def _write(path: Path, values: np.ndarray, zooms: tuple[float, ...], origin: str) -> None:
    nibabel = _nibabel(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise FormatError(f"{path}: a NIfTI file needs a name that ends in .nii or .nii.gz")
    image = nibabel.Nifti1Image(values.transpose(3, 2, 1, 0), np.diag([*(step or 1.0 for step in zooms[:3]), 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms(zooms)
    image.header["descrip"] = {"generated": _GENERATED, "synthetic": _SYNTHETIC}.get(origin, "")
    waiting = path.with_name(f".{path.name}")  # so that a killed writing leaves no half file of that name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, waiting)
        waiting.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            waiting.unlink()
        raise FormatError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or change it"
        ) from error


def read_labels(
    path: str | Path, coding: Mapping[str, int] = STANDARD, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """A label map in this library's code: `(F, Z, H, W)`, 0 background, 1 left ventricle, 2 muscle, 3 right ventricle.

    Args:
        path: Of the file; a map of one moment has F = 1.
        coding: What the file's numbers mean: `STANDARD`, `ACDC` or `MNMS` (ACDC's cavities are the other way round).
        shape: `(F, Z, H, W)` of the pictures that it outlines; None where that is not held against it.

    Raises:
        FormatError: The file holds other numbers, has another shape, or its muscle does not surround what it calls
            the left ventricle.
    """
    path = Path(path)
    values = _values(_image(path), path)
    values = values[..., None] if values.ndim == 3 else values
    if values.ndim != 4 or (shape is not None and values.shape[::-1] != shape):
        wanted = "(X, Y, Z) or (X, Y, Z, T)" if shape is None else f"{shape[::-1]} like its pictures"
        raise FormatError(f"{path}: a label map needs shape {wanted}; this one has {values.shape}")
    strange = [value for value in np.unique(values).tolist() if value not in {0, *coding.values()}]
    if strange:
        raise FormatError(f"{path}: label maps hold 0 and {sorted(coding.values())}; this one also {strange[:5]}")
    found = np.zeros(values.shape, np.uint8)
    for name, number in coding.items():
        found[values == number] = STANDARD[name]
    found = found.transpose(3, 2, 1, 0)
    _refuse_wrong_code(found, path)
    return found


def _refuse_wrong_code(labels: np.ndarray, path: Path) -> None:
    """Raise where the muscle is about the right ventricle, or inside the left; maps without muscle tell nothing."""
    left, right, muscle = STANDARD["LV"], STANDARD["RV"], STANDARD["MYO"]
    if surrounded(labels, right, muscle) > max(MOSTLY, surrounded(labels, left, muscle)):
        raise FormatError(
            f"{path}: the muscle surrounds what is called the right ventricle, not the left; the two seem exchanged: "
            "ACDC codes RV 1 and LV 3, M&Ms LV 1 and RV 3"
        )
    inside = surrounded(labels, muscle, left)
    if inside > MOSTLY:
        raise FormatError(
            f"{path}: what is called the left ventricle is about {inside:.0%} of the muscle, which in a heart is about "
            "the ventricle; check the coding"
        )


def surrounded(labels: np.ndarray, inner: int, outer: int) -> float:
    """Share of a label's neighbours in the picture, outside of itself, that are of another; 0 where it is absent.

    Args:
        labels: `(..., H, W)`.
        inner: Label whose edge is looked at.
        outer: Label that is counted along it.
    """
    here = labels == inner
    near = np.zeros_like(here)
    near[..., 1:, :] |= here[..., :-1, :]
    near[..., :-1, :] |= here[..., 1:, :]
    near[..., :, 1:] |= here[..., :, :-1]
    near[..., :, :-1] |= here[..., :, 1:]
    edge = near & ~here
    return float((labels[edge] == outer).mean()) if edge.any() else 0.0


def _spacing(image: Any, path: Path) -> tuple[float, float, float]:
    """Millimetres between voxels, (z, y, x)."""
    scale = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    x, y, z = (abs(float(step)) * scale for step in image.extra["zooms"])
    if image.shape[2] == 1 and not z > 0:
        z = float("nan")
    if not all(0 < step < np.inf for step in (x, y, *([z] if image.shape[2] > 1 else []))):
        raise FormatError(f"{path}: needs voxel sizes in mm; the header says {x:g}, {y:g}, {z:g}")
    return z, y, x


def _interval(header: Any, path: Path, stated: float | None) -> float:
    """Seconds between frames, of the file or else of the caller."""
    unit = _SECONDS.get(header.get_xyzt_units()[1])
    step = float(header.get_zooms()[3]) * unit if unit else float("nan")
    known = step if PLAUSIBLE[0] <= step <= PLAUSIBLE[1] else float("nan")
    if stated is None:
        return known
    if not PLAUSIBLE[0] <= stated <= PLAUSIBLE[1]:
        raise RateError(f"{path}: frames of a heart are {PLAUSIBLE[0]:g} to {PLAUSIBLE[1]:g} s apart, not {stated:g}")
    if abs(known - stated) > 0.01 * stated:
        raise RateError(f"{path}: the file states {known:g} s between frames, the caller {stated:g}; leave it away")
    return stated


def _image(path: Path) -> Any:
    """An opened file, whose pictures are all there."""
    nibabel = _nibabel(path)
    data = _unpacked(path)
    second = data[4:7] == b"n+2"
    if not second and data[344:347] != b"n+1":
        raise FormatError(f"{path}: not a NIfTI file in one piece; it begins with {data[:8]!r}")
    try:
        kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
        image = kind.from_bytes(data)
        stated = kind.header_class(data[: kind.header_class.sizeof_hdr], check=False)
        image.extra["zooms"] = stated.get_zooms()[:3]  # opening an image turns 0 into 1
        size = int(np.prod([int(length) for length in image.shape], dtype=object)) * image.get_data_dtype().itemsize
    except Exception as error:  # its exceptions have no common base
        raise FormatError(f"{path}: not a NIfTI file that can be read ({error}); copy the file again") from error
    if min(image.shape, default=0) < 1 or size > len(data):
        raise FormatError(
            f"{path}: its pictures are cut short or broken; {image.shape} need {size} bytes, and there are {len(data)}"
        )
    if image.get_data_dtype().kind not in "iuf":
        raise FormatError(f"{path}: needs one number a voxel; this file holds {image.get_data_dtype()}")
    return image


def _unpacked(path: Path) -> bytes:
    """A file's bytes, of a compressed one what is in it."""
    data = read_bytes(path)
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            found = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: its pictures are cut short or broken ({error}); copy the file again") from error
    if len(found) > MOST_BYTES:
        raise FormatError(f"{path}: unpacks to more than {MOST_BYTES >> 30} GiB, which no heart needs; it was not read")
    return found


def _values(image: Any, path: Path) -> np.ndarray:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(image.dataobj, np.float32)
    except Exception as error:  # whatever numpy says of bytes that are not there
        raise FormatError(f"{path}: its pictures are cut short or broken ({error}); copy the file again") from error


def _nibabel(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError(f'{path}: NIfTI needs nibabel; pip install "stethos[imaging]"') from error
    return nibabel
