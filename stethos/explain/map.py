"""Which times and frequencies of a sound an anomaly score rests on.

A model is a function of prepared waveforms to a score. One patch after another is made usual in the waveform, and the
model listens again:

    v(f, t) = score(x) − score(x with patch (f, t) made usual)

Positive where the patch raises the score. This is occlusion, not Shapley: values need not add up to the score, and two
patches of which either would do alone (a click and its echo) get nothing each. With the rest of the clip as the usual,
a fault that sounds all the time is usual; compare with normal recordings to find it.

Reference:
    Zeiler and Fergus 2014, arXiv:1311.2901 (occlusion of images).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from stethos.errors import ScoreError
from stethos.explain.patches import Patches

Score = Callable[[np.ndarray], np.ndarray]
"""Prepared waveforms, float32 `(N, 1, T)` → one score each, `(N,)` or `(N, 1)`; higher means more anomalous."""

_WINDOWS_AT_ONCE = 16
_NOTHING = 1e-6  # of the score: what single precision does not resolve


@dataclass(frozen=True, eq=False)
class OcclusionMap:
    """What each patch of one sound adds to its score.

    Args:
        values: v, `(F, L)`, the lowest band first.
        hertz: Edges of the bands, `(F + 1,)`.
        seconds: Edges of the pieces of time, `(L + 1,)`.
        full: Score of the whole sound.
        baseline: What an occluded patch was replaced by, in words.
    """

    values: np.ndarray
    hertz: np.ndarray
    seconds: np.ndarray
    full: float
    baseline: str

    @property
    def names(self) -> tuple[str, ...]:
        """One a patch, such as "0.5–1 kHz, 2–3 s", in the order of `values.ravel()`."""
        bands = [f"{low / 1000:g}–{high / 1000:g} kHz" for low, high in pairwise(self.hertz)]
        pieces = [f"{start:g}–{stop:g} s" for start, stop in pairwise(self.seconds)]
        return tuple(f"{band}, {piece}" for band, piece in product(bands, pieces))


class Region(NamedTuple):
    """A rectangle of time and frequency, and how much of a score it holds.

    Args:
        low: Lower edge, Hz.
        high: Upper edge, Hz.
        start: From, seconds.
        stop: To, seconds.
        share: Of all that raises the score, in (0, 1].
    """

    low: float
    high: float
    start: float
    stop: float
    share: float


def occlude(
    score: Score,
    x: np.ndarray,
    rate: float,
    *,
    usual: np.ndarray | None = None,
    hertz: np.ndarray | None = None,
    seconds: np.ndarray | None = None,
) -> OcclusionMap:
    """How far a score falls when each patch of a sound is made usual.

    Args:
        score: Of prepared waveforms; asked for 1 + F · L of them, 16 at a time.
        x: The prepared waveform, `(1, T)`.
        rate: Of `x`, Hz.
        usual: Usual levels of the machine, from `patches.usual_levels`; None for the rest of the clip itself.
        hertz: Edges of the bands, Hz; None for eight edges from 0 to 8 kHz, as far as the rate goes.
        seconds: Edges of the pieces of time; None for one every second, for halves of a sound too short for two.

    Raises:
        ChannelError: There are several channels.
        QualityError: The sound is too short.
        RecipeError: The edges do not make patches, or `usual` belongs to another rate.
        ScoreError: The score is not one finite number a waveform.
    """
    patches = Patches.of(x, rate, usual, hertz, seconds)
    shape = len(patches.hertz) - 1, len(patches.seconds) - 1
    full = _asked(score, np.asarray(x, np.float32)[None])[0]
    values = full - np.concatenate([_asked(score, shown) for shown in _shown(patches, shape)])
    return OcclusionMap(values.reshape(shape), patches.hertz, patches.seconds, float(full), patches.words)


def driving_region(found: OcclusionMap) -> Region | None:
    """The rectangle around the patch that raises a score most, and its neighbours of at least half as much.

    Args:
        found: From `occlude`.

    Returns:
        The region; None where no patch raises the score.
    """
    from scipy.ndimage import label

    raised = np.maximum(found.values, 0)
    if raised.max() <= _NOTHING * max(1.0, abs(found.full)):
        return None
    joined, _ = label(raised >= raised.max() / 2)
    bands, pieces = np.nonzero(joined == joined.flat[raised.argmax()])
    low, high, start, stop = bands.min(), bands.max() + 1, pieces.min(), pieces.max() + 1
    share = raised[low:high, start:stop].sum() / raised.sum()
    (bottom, top), (first, last) = found.hertz[[low, high]], found.seconds[[start, stop]]
    return Region(float(bottom), float(top), float(first), float(last), float(share))


def _shown(patches: Patches, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """The sound without each of its patches, some at a time, float32 `(16, 1, T)`."""
    cells = list(product(range(shape[0]), range(shape[1])))
    for first in range(0, len(cells), _WINDOWS_AT_ONCE):
        yield np.stack([patches.occluded(*cell) for cell in cells[first : first + _WINDOWS_AT_ONCE]])


def _asked(score: Score, shown: np.ndarray) -> np.ndarray:
    """What the model says of each waveform, float64 `(N,)`."""
    told = np.asarray(score(shown), dtype=np.float64)
    if told.shape not in ((len(shown),), (len(shown), 1)) or not np.isfinite(told).all():
        raise ScoreError(
            f"an occlusion needs one finite score for each of {len(shown)} waveforms; got shape {told.shape}"
            f"{'' if np.isfinite(told).all() else ' with values that are not finite'}; of several scores, pick one"
        )
    return told.reshape(-1)
