"""Missing samples: bridged for a filter, put back afterwards."""

import numpy as np


def bridge(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill NaN by straight lines between neighbours; ends are held, a channel without any sample is 0.

    Args:
        values: NaN where nothing was recorded, `(C, T)`.

    Returns:
        The filled values, float64, and where they were missing, both `(C, T)`.
    """
    filled = np.array(values, dtype=np.float64)  # (C, T)
    missing = ~np.isfinite(filled)
    for row, gap in zip(filled, missing, strict=True):
        if gap.all():
            row[:] = 0.0
        elif gap.any():
            row[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), row[~gap])
    return filled, missing


def reopen(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Put NaN back where samples were missing.

    Args:
        values: `(C, T)`.
        missing: True where nothing was recorded, `(C, T)`.
    """
    return np.where(missing, np.nan, values)
