"""The parts of a prepared window that can be present or absent.

Every sample belongs to one part: P, PR, QRS, ST, T, or TP for all the rest. Labels w_p(t) ∈ {0, 1} are smoothed by a
short kernel h of sum 1, so

    m_p = w_p * h        Σ_p m_p(t) = 1        m_p ≥ 0

and a signal that is masked by all parts together is the signal itself. Bounds are found in the unprepared lead at its
own rate, since a preparation may bend what the delineation needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal.windows import hann

from stethos.explain.bounds import PLAYERS, beat_bounds
from stethos.signal.prepare import Preparation
from stethos.types import Signal

EDGE_SECONDS = 0.008  # half the width of an edge between two parts


@dataclass(frozen=True, eq=False)
class Segments:
    """The parts of one prepared window.

    Args:
        names: One a part.
        windows: Share of each part in each sample, summing to 1 over parts, `(parts, T)`; zero for an absent part.
        times: Start and stop of each part in each beat, seconds, NaN where absent, `(beats, parts, 2)`.
        r: R peaks, seconds, `(beats,)`.
        rate: Of the prepared window, Hz.
    """

    names: tuple[str, ...]
    windows: np.ndarray
    times: np.ndarray
    r: np.ndarray
    rate: float

    @property
    def present(self) -> np.ndarray:
        """Which parts have any sample, Boolean `(parts,)`."""
        return np.asarray(self.windows.any(axis=1))

    @property
    def bounds(self) -> np.ndarray:
        """Median start and stop of each part in seconds from R, NaN where absent, `(parts, 2)`."""
        offset = self.times - self.r[:, None, None]
        known = np.isfinite(offset).all(axis=2)  # (beats, parts)
        absent = np.full(2, np.nan)
        rows = [np.median(offset[of, part], axis=0) if of.any() else absent for part, of in enumerate(known.T)]
        return np.stack(rows)


def segments(lead: Signal, preparation: Preparation) -> Segments:
    """Parts of the window that `preparation` makes of a lead.

    Args:
        lead: One channel of ECG, unprepared; what is longer than the preparation's window is cut.
        preparation: What the model sees.

    Raises:
        QualityError: Fewer than two beats are found.
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    r, times = beat_bounds(lead.crop(0, preparation.seconds))
    labels = _labels(times, preparation.samples, preparation.rate)
    return Segments(PLAYERS, smoothed(labels, preparation.rate), times, r, preparation.rate)


def smoothed(labels: np.ndarray, rate: float) -> np.ndarray:
    """Windows that sum to one and cross over within `EDGE_SECONDS` of every edge.

    Args:
        labels: Number of each sample's part, `(T,)`.
        rate: Hz.

    Returns:
        `(parts, T)`.
    """
    kernel = hann(2 * max(1, round(EDGE_SECONDS * rate)) + 3)[1:-1]
    hard = (labels == np.arange(len(PLAYERS))[:, None]).astype(np.float64)
    return convolve1d(hard, kernel / kernel.sum(), axis=1, mode="nearest")


def _labels(times: np.ndarray, samples: int, rate: float) -> np.ndarray:
    """The part of each sample, `(T,)`."""
    labels = np.full(samples, PLAYERS.index("TP"))
    for part in range(len(PLAYERS) - 1):
        for start, stop in np.ceil(times[:, part] * rate):
            if np.isfinite(start + stop):
                labels[int(start) : int(stop)] = part
    return labels
