"""What an autoencoder keeps of cines that somebody has in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stethos.io.dicom_cine import read_cine_dicom
from stethos.io.nifti import read_nifti
from stethos.types import Record


def cines_of(path: Path) -> list[Record]:
    """The cines of a 4D NIfTI, or of a folder or zip of DICOM.

    Raises:
        FormatError: It is none, or it cannot be read.
    """
    return [read_nifti(path)] if path.name.endswith((".nii", ".nii.gz")) else read_cine_dicom(path)


def kept(cine: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """How far a reconstruction is from its cine, and how far a picture is that does not move.

    Args:
        cine: Blood near 1, `(F, H, W)`.
        seen: Reconstructed, `(F, H, W)`.

    Returns:
        Root mean squared errors in units of blood's brightness, that of the reconstruction also in dB below 1, and the
        share of what moves that is kept: 1 − (error / error of the mean picture)².
    """
    error, still = (float(np.sqrt(np.mean((cine - other) ** 2))) for other in (seen, cine.mean(0)))
    decibels = -20 * np.log10(max(error, 1e-9))
    moved = 1 - (error / still) ** 2 if still > 0 else float("nan")
    found = {"error": error, "psnr_db": float(decibels), "still_error": still, "motion_kept": moved}
    return {name: round(value, 4) for name, value in found.items()}
