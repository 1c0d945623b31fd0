"""Power spectra."""

import numpy as np
from scipy import signal as _scipy

from stethos.signal.gaps import bridge
from stethos.types import Signal

SEGMENT_SECONDS = 4.0


def welch(signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    """One-sided power spectral density, averaged over Hann-windowed 4 s segments that overlap by half.

    Args:
        signal: Any channels and unit; NaN is bridged, the mean of each segment removed.

    Returns:
        Frequencies in Hz `(F,)` and density in unit² / Hz `(C, F)`.
    """
    filled, _ = bridge(signal.values)
    segment = min(filled.shape[1], round(SEGMENT_SECONDS * signal.rate))
    hertz, density = _scipy.welch(filled, fs=signal.rate, nperseg=segment, axis=1)
    return hertz, density


def band_power(signal: Signal, low: float, high: float) -> np.ndarray:
    """Power between two frequencies, low ≤ f < high.

    Args:
        signal: Any channels and unit.
        low: Lower edge, Hz.
        high: Upper edge, Hz.

    Returns:
        Power in unit², `(C,)`.
    """
    hertz, density = welch(signal)
    inside = (low <= hertz) & (hertz < high)
    return density[:, inside].sum(axis=1) * (hertz[1] - hertz[0])
