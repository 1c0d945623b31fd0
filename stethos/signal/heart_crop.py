"""Where the heart is in a cine: it moves, and what is around lies still."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SMOOTH = 12.0  # mm; a heart is several times as wide
STILL = 0.4  # of the largest change: what changes less lies still


def heart_centre(values: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Row and column about which pictures change once a cycle, in pixels.

    The energy of the first harmonic over time, smoothed over 12 mm; the middle of all that changes by more
    than 0.4 of the most.

    Args:
        values: One cycle, `(F, Z, H, W)`.
        spacing: mm, (z, y, x).
    """
    change = np.abs(np.fft.rfft(values, axis=0)[1]).sum(0)  # (Z, H, W) summed over slices
    smooth = gaussian_filter(change, (SMOOTH / spacing[1], SMOOTH / spacing[2]))
    weight = (smooth > STILL * smooth.max()).astype(float)
    if not weight.sum() > 0:
        return (values.shape[2] - 1) / 2, (values.shape[3] - 1) / 2
    rows, columns = np.indices(weight.shape)
    return float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum())


def crop_to_heart(
    values: np.ndarray, spacing: tuple[float, float, float], side: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """A square about the heart.

    Args:
        values: One cycle, `(F, Z, H, W)`.
        spacing: mm, (z, y, x).
        side: mm; as much of it as the picture has.

    Returns:
        The cropped cine, and the row and column of its first pixel.
    """
    centre = heart_centre(values, spacing)
    spans = []
    for middle, step, size in zip(centre, spacing[1:], values.shape[2:], strict=True):
        count = min(size, round(side / step))
        spans.append((int(np.clip(round(middle - count / 2 + 0.5), 0, size - count)), count))
    (top, high), (left, wide) = spans
    return values[:, :, top : top + high, left : left + wide], (top, left)
