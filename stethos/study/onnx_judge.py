"""Judges from outside: a network that outlines short-axis pictures in an ONNX file, or label maps in a folder.

Nothing of this library was used to train them, so what they measure does not flatter what was generated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import CohortError, FormatError, MissingExtraError, RecipeError
from stethos.io.nifti import ACDC, STANDARD, read_labels
from stethos.metrics.phenotypes import LV, area_curve, ejection_fraction

SIDE = 256  # pixels that such networks read


def outlined(cine: np.ndarray, path: Path, coding: Mapping[str, int] = ACDC) -> np.ndarray:
    """Labels of a cine by an ONNX network, `(F, H, W)` uint8 in this library's code.

    The whole cine is brought to 0 … 1, and each picture to 256² by lines. Of each structure the largest connected part
    is kept.

    Args:
        cine: Square pictures `(F, H, W)`.
        path: ONNX file that takes `(N, 1, 256, 256)` and gives logits `(N, 4, 256, 256)`.
        coding: What its labels mean.

    Raises:
        FormatError: The file is no such network.
        MissingExtraError: onnxruntime is not installed.
    """
    from scipy.ndimage import zoom

    low, high = float(cine.min()), float(cine.max())
    scale = SIDE / cine.shape[1]
    large = zoom((cine - low) / max(high - low, 1e-6), (1, scale, scale), order=1, grid_mode=True, mode="nearest")
    session = _session(path)
    name, pictures = session.get_inputs()[0].name, large[:, None, None].astype(np.float32)  # (F, 1, 1, 256, 256)
    # one at a time: sixteen would take 7 GB
    logits = np.concatenate([session.run(None, {name: picture})[0] for picture in pictures])
    if logits.shape != (len(cine), 4, SIDE, SIDE):
        raise FormatError(f"{path}: a judge gives logits (N, 4, {SIDE}, {SIDE}); this one gives {logits.shape}")
    said = logits.argmax(1)
    found = np.zeros(said.shape, np.uint8)
    for name, number in coding.items():
        for frame, picture in enumerate(said == number):
            found[frame][_largest(picture)] = STANDARD[name]
    return found


def fraction_by(path: Path, cines: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Ejection fractions by an ONNX network, %, `(N,)`; NaN where it finds no cavity.

    It is asked about two frames of each cine, those in which other labels have the largest and the smallest cavity.

    Args:
        path: Of the network.
        cines: `(N, F, H, W)`.
        labels: Of another judge, `(N, F, H, W)`.
    """
    found = np.full(len(cines), np.nan)
    for place, (cine, told) in enumerate(zip(cines, labels, strict=True)):
        area = area_curve(told, (1.0, 1.0), LV)
        ends = outlined(cine[[int(area.argmax()), int(area.argmin())]], path)
        large, small = area_curve(ends, (1.0, 1.0), LV)
        if small > 0 and large > 0:
            found[place] = ejection_fraction(np.array(1 - small / large))
    return found


_sessions: dict[Path, Any] = {}


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(f'{path}: an ONNX judge needs onnxruntime; pip install "stethos[edge]"') from error
    if path not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            _sessions[path] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base
            raise FormatError(f"{path}: no ONNX network that can be opened ({error})") from error
    return _sessions[path]


def _largest(picture: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask."""
    from scipy.ndimage import label

    parts, count = label(picture)
    if count < 2:
        return picture
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def judge_of(said: str) -> tuple[str, Path]:
    """`masks:DIR` or `onnx:FILE`, taken apart.

    Raises:
        RecipeError: It is neither, or is not there.
    """
    kind, _, place = said.partition(":")
    path = Path(place)
    if kind not in ("masks", "onnx") or not (path.is_dir() if kind == "masks" else path.is_file()):
        raise RecipeError(f"a judge is masks:DIR or onnx:FILE, and must be there; got {said}")
    return kind, path


def masks_of(folder: Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Label maps `NAME.nii` or `NAME.nii.gz` of a folder: whose were found, and `(N, F, H, W)`.

    Raises:
        CohortError: None was found.
    """
    found, maps = [], []
    for name in names:
        path = next((p for p in (folder / f"{name}.nii.gz", folder / f"{name}.nii") if p.is_file()), None)
        if path is not None:
            found.append(name)
            maps.append(read_labels(path)[:, 0])
    if not found:
        raise CohortError(f"{folder} holds none of {len(names)} label maps, such as {names[0]}.nii.gz")
    return found, np.stack(maps)
