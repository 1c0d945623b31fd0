"""What a file holds, for a person to read before anything is made of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import RateError
from stethos.types import Record, Signal

if TYPE_CHECKING:
    from stethos.signal.quality import Window

_ECG_LEADS = frozenset(("I", "II", "III", "aVR", "aVL", "aVF", "MLII", "ECG", *(f"V{n}" for n in range(1, 10))))


@dataclass(frozen=True)
class Channels:
    """One signal of a recording: what was sampled together.

    Args:
        channels: Names.
        rate: Hz.
        unit: As in `Signal`.
        samples: Number of samples of each channel.
        duration: Seconds.
    """

    channels: tuple[str, ...]
    rate: float
    unit: str
    samples: int
    duration: float


@dataclass(frozen=True)
class Gaps:
    """Where nothing was recorded in one channel.

    Args:
        channel: Its name.
        seconds: Without a sample, in total.
        runs: Number of separate gaps.
    """

    channel: str
    seconds: float
    runs: int


@dataclass(frozen=True)
class Inspection:
    """What a file holds; prints as lines for a person.

    Args:
        path: The file.
        format: Which reader reads it.
        signals: One entry per rate and unit.
        gaps: One entry per channel that has any.
        when: Start of the recording.
        origin: "real" unless the file says otherwise.
        quality: Windows of the first ECG lead; empty where there is none.
    """

    path: Path
    format: str
    signals: tuple[Channels, ...]
    gaps: tuple[Gaps, ...]
    when: datetime | None
    origin: str
    quality: tuple[Window, ...]

    def lines(self) -> list[str]:
        """One line a fact."""
        lines = [f"{self.path}: {self.format}, {self.origin}, start {self.when or 'not stated'}"]
        for each in self.signals:
            size = f"{each.samples} samples, {each.duration:.3f} s"
            lines.append(f"  {', '.join(each.channels)}: {each.rate:g} Hz, {each.unit}, {size}")
        lines += [f"  {gap.channel}: {gap.seconds:.3f} s missing in {gap.runs} gaps" for gap in self.gaps]
        for said, group in groupby(self.quality, key=_verdict):
            windows = list(group)
            lines.append(f"  {windows[0].start:g} to {windows[-1].stop:g} s: {said}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """The same as plain values that `json` can write."""
        return asdict(self) | {"path": str(self.path), "when": self.when.isoformat() if self.when else None}


def _verdict(window: Window) -> str:
    """What is said of a window."""
    return (window.reason or "good") + (", inverted" if window.inverted else "")


def inspection_of(path: Path, kind: str, record: Record) -> Inspection:
    """What is to be said of a record that was read from a path."""
    signals = tuple(
        Channels(signal.channels, signal.rate, signal.unit, signal.values.shape[1], signal.duration)
        for signal in record.signals
    )
    gaps = tuple(gap for signal in record.signals for gap in _gaps(signal))
    return Inspection(path, kind, signals, gaps, record.when, record.origin, _quality(record))


def _gaps(signal: Signal) -> list[Gaps]:
    """The channels of a signal that have gaps."""
    missing = np.isnan(signal.values)  # (C, T)
    starts = missing & ~np.pad(missing, ((0, 0), (1, 0)))[:, :-1]
    counts = zip(signal.channels, missing.sum(axis=1), starts.sum(axis=1), strict=True)
    return [Gaps(name, float(samples / signal.rate), int(runs)) for name, samples, runs in counts if samples]


def _quality(record: Record) -> tuple[Window, ...]:
    """The quality of the first ECG lead in windows of 10 s, where there is one."""
    from stethos.signal import quality

    for signal in record.signals:
        leads = [name for name in signal.channels if name in _ECG_LEADS]
        if leads:
            try:
                return tuple(quality.windows(signal.pick(leads[0])))
            except RateError:  # too slow to tell beats: there is nothing to be said
                return ()
    return ()
