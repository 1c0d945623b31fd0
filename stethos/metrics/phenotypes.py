"""What a cine of a heart measures: areas, how much they shrink, and when, from label maps over one cardiac cycle.

A slice through the middle of the left ventricle shows its area, not its volume. Under the bullet model of area A and
length L, and with a length that shortens in proportion to the ejection fraction EF (as a share),

    V = 5/6 A L        L_ES = L_ED (1 − k EF)        k = 0.16 / 0.6

    1 − EF = V_ES / V_ED = (1 − FAC) (1 − k EF)        FAC = 1 − A_ES / A_ED

which is linear in EF:

    EF = FAC / (1 − k (1 − FAC))

The length shortens by 16 % at an EF of 60 %. Where the area does not change EF is 0, where the cavity vanishes it is 1.
"""

from __future__ import annotations

import numpy as np

from stethos.errors import ScoreError

LV, MYOCARDIUM, RV = 1, 2, 3
"""Labels of the left cavity, its muscle and the right cavity; 0 is what is none of them."""

SHORTENING = 0.16 / 0.6
"""k: share by which the long axis shortens, over the ejection fraction."""

_FEWEST = 3  # frames: a parabola


def area_curve(labels: np.ndarray, spacing: tuple[float, float], label: int) -> np.ndarray:
    """Area of a structure at every frame, mm².

    Args:
        labels: Integer label maps, `(..., F, H, W)`.
        spacing: Distance between pixels down and across (y, x), mm.
        label: Of the structure.

    Returns:
        `(..., F)`.

    Raises:
        ScoreError: The labels are not whole numbers over frames, rows and columns, or the spacing is not positive.
    """
    labels = np.asarray(labels)
    if labels.ndim < 3 or labels.dtype.kind not in "ui":
        raise ScoreError(f"areas need integer labels (..., F, H, W); got {labels.dtype} of shape {labels.shape}")
    down, across = spacing
    if not (0 < down < np.inf and 0 < across < np.inf):
        raise ScoreError(f"areas need a positive pixel spacing (y, x) in mm; got ({down:g}, {across:g})")
    frames = labels.reshape(-1, *labels.shape[-2:])
    pixels = np.array([np.count_nonzero(frame == label) for frame in frames], dtype=np.float64)
    return pixels.reshape(labels.shape[:-2]) * (down * across)


def ejection_fraction(change: np.ndarray) -> np.ndarray:
    """EF in % of the fractional area change of a slice through the middle of the left ventricle, as above.

    Args:
        change: FAC as a share, any shape.
    """
    return 100 * change / (1 - SHORTENING * (1 - change))


def phenotypes(labels: np.ndarray, spacing: tuple[float, float]) -> dict[str, np.ndarray]:
    """What each cine measures.

    Args:
        labels: 0 background, 1 left cavity, 2 myocardium, 3 right cavity, frame f at f / F of the cycle, F ≥ 3,
            `(..., F, H, W)`; one cine or any number.
        spacing: Distance between pixels down and across (y, x), mm.

    Returns:
        Columns `(...)`:

        - "ed_area", "es_area": largest and smallest area of the left cavity, mm².
        - "fac": 1 − es_area / ed_area. "ef": %, of the bullet model above.
        - "es_phase": when the left cavity is smallest, in [0, 1) of the cycle, between frames by a parabola.
        - "myocardium": mean area over the frames, mm².
        - "rv_ed_area", "rv_fac": the same of the right cavity, by its own largest and smallest area.

        NaN where the structure that it is measured on is missing in any frame.

    Raises:
        ScoreError: As in `area_curve`, a label is none of the four, or there are fewer than three frames.
    """
    left, muscle, right = (_seen(area_curve(labels, spacing, label)) for label in (LV, MYOCARDIUM, RV))
    if np.max(labels, initial=0) > RV or np.min(labels, initial=0) < 0:
        raise ScoreError(f"phenotypes need labels 0 to {RV}; got {np.min(labels)} to {np.max(labels)}; map them first")
    if left.shape[-1] < _FEWEST:
        raise ScoreError(f"phenotypes need a cycle of at least {_FEWEST} frames; got {left.shape[-1]}")
    largest, smallest = left.max(axis=-1), left.min(axis=-1)
    change = 1 - smallest / largest
    return {
        "ed_area": largest,
        "es_area": smallest,
        "fac": change,
        "ef": ejection_fraction(change),
        "es_phase": smallest_at(left),
        "myocardium": muscle.mean(axis=-1),
        "rv_ed_area": right.max(axis=-1),
        "rv_fac": 1 - right.min(axis=-1) / right.max(axis=-1),
    }


def _seen(area: np.ndarray) -> np.ndarray:
    """NaN over the whole cycle where a structure is missing in any frame."""
    return np.where((area > 0).all(axis=-1, keepdims=True), area, np.nan)


def smallest_at(course: np.ndarray) -> np.ndarray:
    """Phase of the smallest value of a periodic course, at the foot of the parabola through it and its neighbours.

    Args:
        course: Frame f at f / F of the cycle; of several equal smallest values the first is taken, `(..., F)`.

    Returns:
        In [0, 1), NaN where the course holds one, `(...)`.
    """
    frames = course.shape[-1]
    lowest = np.argmin(course, axis=-1)
    before, here, after = (
        np.take_along_axis(course, ((lowest + step) % frames)[..., None], axis=-1)[..., 0] for step in (-1, 0, 1)
    )
    bend = before - 2 * here + after
    shift = (before - after) / np.where(bend == 0, 1, 2 * bend)  # no bend: the three are equal
    return (lowest + shift) / frames % 1 % 1  # twice: the first makes 1 of the least below 0
