"""Cine MR in NIfTI files, and the label maps that go with them.

A file holds `(X, Y, Z, T)`; a volume is `(F, Z, H, W)` with H along Y and W along X. Time steps of many public data
sets are unset or placeholders: an interval that cannot be one of a beating heart is NaN, and the fact says so.

Reference:
    Bernard 2018, doi:10.1109/TMI.2018.2837502 (ACDC). Campello 2021, doi:10.1109/TMI.2021.3090082 (M&Ms).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError
from stethos.types import Record, Volume

STANDARD = {"LV": 1, "MYO": 2, "RV": 3}
ACDC = {"RV": 1, "MYO": 2, "LV": 3}
MNMS = {"LV": 1, "MYO": 2, "RV": 3}
PLAUSIBLE = (0.005, 0.2)  # s between two frames of a heart
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_GENERATED = "stethos: generated"
_SYNTHETIC = "stethos: synthetic"


def read_nifti(path: str | Path) -> Record:
    """A cine, with the file's name as subject and id.

    Returns:
        Record with a volume `(F, Z, H, W)`; the interval is NaN, and the fact "frame_interval_known" 0, where the file
        does not state one that a beating heart can have.

    Raises:
        FormatError: It is no NIfTI, is cut short, has no frames, or holds numbers that are none.
        MissingExtraError: nibabel is not installed.
    """
    path = Path(path)
    image = _image(path)
    values = _values(image, path)
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] < 2):
        raise FormatError(f"{path}: a cine needs pictures over time (X, Y, Z, T); this file holds {values.shape}")
    if values.ndim == 3:
        raise FormatError(
            f"{path}: a cine needs pictures over time (X, Y, Z, T); this file holds one moment {values.shape}"
        )
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: {int((~np.isfinite(values)).sum())} voxels are no numbers; mend the file")
    interval = _interval(image.header)
    x, y, z = (abs(float(step)) for step in image.header.get_zooms()[:3])
    if not min(x, y, z) > 0:
        raise FormatError(f"{path}: needs voxel sizes in mm; the header says {x:g}, {y:g}, {z:g}")
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    facts = {"frame_interval_known": float(np.isfinite(interval))}
    said = bytes(image.header["descrip"]).decode("latin1").strip("\x00")
    origin: Any = "generated" if said == _GENERATED else "synthetic" if said == _SYNTHETIC else "real"
    return Record(
        name, name, (), volume=Volume(values.transpose(3, 2, 1, 0), (z, y, x), interval), facts=facts, origin=origin
    )


def write_nifti(path: str | Path, volume: Volume, origin: str = "real") -> None:
    """A volume as `(X, Y, Z, T)`, float32, mm and seconds; `.nii` or `.nii.gz` by the name.

    Args:
        path: Of the file.
        volume: What to write.
        origin: "real", "synthetic" or "generated"; the latter two stand in the header.
    """
    interval = volume.interval if np.isfinite(volume.interval) else 0.0
    _write(Path(path), volume.values, (*volume.spacing[::-1], interval), origin)


def write_labels(path: str | Path, labels: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """A label map `(F, Z, H, W)` of uint8, coded as `STANDARD`.

    Args:
        path: Of the file.
        labels: 0 background, 1 left ventricle, 2 muscle, 3 right ventricle.
        spacing: mm, (z, y, x).
    """
    _write(Path(path), np.asarray(labels, np.uint8), (*spacing[::-1], 0.0), "real")


def _write(path: Path, values: np.ndarray, zooms: tuple[float, ...], origin: str) -> None:
    nibabel = _nibabel(path)
    image = nibabel.Nifti1Image(values.transpose(3, 2, 1, 0), np.diag([*zooms[:3], 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms(zooms)
    image.header["descrip"] = {"generated": _GENERATED, "synthetic": _SYNTHETIC}.get(origin, "")
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}")  # so that a killed writing leaves no half file of that name
    nibabel.save(image, waiting)
    waiting.replace(path)


def read_labels(path: str | Path, coding: Mapping[str, int] = STANDARD) -> np.ndarray:
    """A label map in this library's code: `(F, Z, H, W)`, 0 background, 1 left ventricle, 2 muscle, 3 right ventricle.

    Args:
        path: Of the file; a map of one moment has F = 1.
        coding: What the file's numbers mean: `STANDARD`, `ACDC` or `MNMS` (ACDC's cavities are the other way round).

    Raises:
        FormatError: The file holds other numbers, or its muscle does not surround what it calls the left ventricle.
    """
    path = Path(path)
    values = np.asarray(_values(_image(path), path))
    values = values[..., None] if values.ndim == 3 else values
    held = set(np.unique(values).tolist())
    strange = sorted(held - {0, *coding.values()})
    if strange:
        raise FormatError(f"{path}: label maps hold 0 and {sorted(coding.values())}; this one also {strange[:5]}")
    found = np.zeros(values.shape, np.uint8)
    for name, number in coding.items():
        found[values == number] = STANDARD[name]
    found = found.transpose(3, 2, 1, 0)
    if _surrounded(found, STANDARD["LV"]) < 0.5 < _surrounded(found, STANDARD["RV"]):
        raise FormatError(
            f"{path}: the muscle surrounds what is called the right ventricle, not the left; the two seem exchanged: "
            "ACDC codes RV 1 and LV 3, M&Ms LV 1 and RV 3"
        )
    return found


def _surrounded(labels: np.ndarray, cavity: int) -> float:
    """Share of a cavity's neighbours in the picture, outside of itself, that are muscle; 1 where there is no cavity."""
    here = labels == cavity
    near = np.zeros_like(here)
    near[..., 1:, :] |= here[..., :-1, :]
    near[..., :-1, :] |= here[..., 1:, :]
    near[..., :, 1:] |= here[..., :, :-1]
    near[..., :, :-1] |= here[..., :, 1:]
    edge = near & ~here
    return float((labels[edge] == STANDARD["MYO"]).mean()) if edge.any() else 1.0


def _interval(header: Any) -> float:
    unit = _SECONDS.get(header.get_xyzt_units()[1])
    step = float(header.get_zooms()[3]) * unit if unit and len(header.get_zooms()) > 3 else float("nan")
    return step if PLAUSIBLE[0] <= step <= PLAUSIBLE[1] else float("nan")


def _image(path: Path) -> Any:
    nibabel = _nibabel(path)
    try:
        return nibabel.load(path)
    except FileNotFoundError as error:
        raise FormatError(f"{path}: there is no such file; check the path") from error
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        raise FormatError(f"{path}: not a NIfTI file that can be read ({error})") from error


def _values(image: Any, path: Path) -> np.ndarray:
    try:
        return np.asarray(image.dataobj, np.float32)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise FormatError(f"{path}: its pictures are cut short or broken ({error}); copy the file again") from error


def _nibabel(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError(f'{path}: NIfTI needs nibabel; pip install "stethos[imaging]"') from error
    return nibabel
