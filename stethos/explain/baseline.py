"""What takes the place of an absent wave.

An explanation answers "as against what?". Two answers are here, and they differ; report both, with their spread.

- `Isoelectric`: nothing. An absent wave is a straight line at the level of the heart at rest. It needs no other
  patient, but a heartbeat without QRS is something no model has seen.
- `MeanBeat`: the usual. An absent wave is that of the mean beat of a reference group (the training cohort, or those
  without the disease), at this patient's beats. The values then say what is unusual about the patient, and a model
  that reads the times of beats finds them in every coalition.

Both act on the prepared signal, x_S = b + m_S · (x − b), which is neither filtered nor normalised again: a scale that
followed the coalition would hand the credit of QRS to every other wave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stethos.errors import QualityError
from stethos.explain.bounds import PLAYERS
from stethos.explain.segments import Segments, segments
from stethos.signal.prepare import Preparation
from stethos.types import Signal

_BEFORE, _AFTER = 0.36, 0.62  # seconds around R
_TAPER = 0.06
_END_OF_QRS = 0.08  # from here on the mean beat follows the heart rate


class Baseline(Protocol):
    """What a prepared window looks like without any of its waves."""

    @property
    def words(self) -> str:
        """What an absent wave is replaced by, for the report."""

    def __call__(self, prepared: np.ndarray, segments: Segments) -> np.ndarray:
        """The baseline of one prepared window, `(T,)` to `(T,)`."""


@dataclass(frozen=True)
class Isoelectric:
    """Straight lines through the ends of the PR segments.

    Args:
        seconds: Before each QRS onset; its median is the level there.
    """

    seconds: float = 0.02

    @property
    def words(self) -> str:
        """What an absent wave is replaced by."""
        return "the isoelectric line"

    def __call__(self, prepared: np.ndarray, segments: Segments) -> np.ndarray:
        """The line, `(T,)`; constant before the first onset and after the last."""
        onset = segments.times[:, PLAYERS.index("QRS"), 0] * segments.rate
        width = max(1, round(self.seconds * segments.rate))
        stop = np.clip(np.ceil(onset).astype(np.int64), 1, len(prepared))
        level = [np.median(prepared[max(0, k - width) : k]) for k in stop]
        return np.interp(np.arange(len(prepared)), stop - (width + 1) / 2, level)


@dataclass(frozen=True, eq=False)
class MeanBeat:
    """The mean beat of a reference group at each beat of the patient, on the isoelectric line.

    After QRS it is stretched by the cube root of the median RR, as QT is by Fridericia, and halfway between two beats
    one gives way to the next.

    Args:
        shape: The beat at an RR of 1 s over its isoelectric line, in units of the preparation, `(T,)`.
        rate: Of the preparation, Hz.
        recordings: How many it is the mean of.
    """

    shape: np.ndarray
    rate: float
    recordings: int

    @staticmethod
    def of(leads: Iterable[Signal], preparation: Preparation) -> MeanBeat:
        """The mean over recordings of each one's median beat; recordings without beats are left out.

        Args:
            leads: Of the reference group, one channel each, unprepared.
            preparation: What the model sees.

        Raises:
            QualityError: No recording has beats.
        """
        beats = [beat for lead in leads if (beat := _median_beat(lead, preparation)) is not None]
        if not beats:
            raise QualityError("a mean beat needs a recording in which beats are found; there is none")
        known = np.isfinite(beats)
        mean = np.where(known, beats, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return MeanBeat(mean * _fade(preparation.rate), preparation.rate, len(beats))

    @property
    def words(self) -> str:
        """What an absent wave is replaced by."""
        return f"the mean beat of {self.recordings} recordings"

    def __call__(self, prepared: np.ndarray, segments: Segments) -> np.ndarray:
        """The mean beat at every R, `(T,)`."""
        time = np.arange(len(prepared)) / segments.rate
        offset = time - segments.r[np.searchsorted(_halfway(segments), time)]
        usual = _stretched(offset, 1 / _stretch(segments))
        return Isoelectric()(prepared, segments) + np.interp(usual, _offsets(self.rate), self.shape, left=0, right=0)


def _offsets(rate: float) -> np.ndarray:
    """Seconds from R of the samples of a mean beat."""
    return np.arange(-round(_BEFORE * rate), round(_AFTER * rate) + 1) / rate


def _fade(rate: float) -> np.ndarray:
    """1, and at both ends down to 0."""
    offset = _offsets(rate)
    return np.clip(np.minimum(offset - offset[0], offset[-1] - offset) / _TAPER, 0, 1)


def _halfway(segments: Segments) -> np.ndarray:
    """When one beat gives way to the next, seconds, `(beats - 1,)`."""
    rest = segments.times[:-1, PLAYERS.index("TP")].mean(axis=1)
    return np.where(np.isfinite(rest), rest, (segments.r[:-1] + segments.r[1:]) / 2)


def _stretch(segments: Segments) -> float:
    """How much longer the QT is than at an RR of 1 s."""
    return float(np.cbrt(np.median(np.diff(segments.r))))


def _stretched(offset: np.ndarray, factor: float) -> np.ndarray:
    """Seconds from R, those after QRS multiplied."""
    return np.minimum(offset, _END_OF_QRS) + factor * np.maximum(offset - _END_OF_QRS, 0)


def _median_beat(lead: Signal, preparation: Preparation) -> np.ndarray | None:
    """Median beat of a recording at an RR of 1 s, NaN where no beat reaches; None if there are no beats."""
    try:
        parts = segments(lead, preparation)
    except QualityError:
        return None
    prepared = preparation.apply(lead)[0].astype(np.float64)
    over = prepared - Isoelectric()(prepared, parts)
    time = parts.r[:, None] + _stretched(_offsets(parts.rate), _stretch(parts))  # (beats, T)
    ends = np.array([0, *_halfway(parts), len(over) / parts.rate])
    own = (time >= ends[:-1, None]) & (time <= ends[1:, None])
    beats = np.where(own, np.interp(time, np.arange(len(over)) / parts.rate, over), np.nan)
    reached = own.any(axis=0)
    beat = np.full(len(reached), np.nan)
    beat[reached] = np.nanmedian(beats[:, reached], axis=0)
    return beat
