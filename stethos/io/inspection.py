"""What a file holds, for a person to read before anything is made of it."""

from __future__ import annotations

import re
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

_ECG_LEADS = frozenset(
    ("I", "II", "III", "aVR", "aVL", "aVF", "MLII", "ECG", "chest", *(f"V{n}" for n in range(1, 10)))
)


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
class Level:
    """How loud one channel of a sound is; full scale is the largest number that the file's coding holds.

    Args:
        channel: Its name.
        decibels: Root mean square in dB of full scale; None for silence.
        peak: Largest magnitude in dB of full scale; None for silence.
        clipped: Share of the samples that stand at full scale.
    """

    channel: str
    decibels: float | None
    peak: float | None
    clipped: float


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
        levels: One entry per channel of a sound; empty for anything else.
        encoding: How the samples of a sound are stored, such as "PCM_16"; empty for anything else.
    """

    path: Path
    format: str
    signals: tuple[Channels, ...]
    gaps: tuple[Gaps, ...]
    when: datetime | None
    origin: str
    quality: tuple[Window, ...]
    levels: tuple[Level, ...] = ()
    encoding: str = ""

    def lines(self) -> list[str]:
        """One line a fact."""
        lines = [f"{self.path}: {self.format}, {self.origin}, start {self.when or 'not stated'}"]
        for each in self.signals:
            size = f"{each.samples} samples, {each.duration:.3f} s"
            coding = self.encoding or each.unit
            lines.append(f"  {', '.join(each.channels)}: {each.rate:g} Hz, {coding}, {size}")
        lines += [f"  {level.channel}: {_loudness(level)}" for level in self.levels]
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


def _loudness(level: Level) -> str:
    """What is said of a channel's level."""
    if level.decibels is None:
        return "silent"
    return f"{level.decibels:.1f} dBFS, peak {level.peak:.1f} dBFS, {100 * level.clipped:.3f} % at full scale"


def inspection_of(path: Path, kind: str, record: Record) -> Inspection:
    """What is to be said of a record that was read from a path."""
    signals = tuple(
        Channels(signal.channels, signal.rate, signal.unit, signal.values.shape[1], signal.duration)
        for signal in record.signals
    )
    gaps = tuple(gap for signal in record.signals for gap in _gaps(signal))
    if kind == "sound":
        encoding = str(record.facts["encoding"])
        levels = tuple(level for signal in record.signals for level in _levels(signal, encoding))
        return Inspection(path, kind, signals, gaps, record.when, record.origin, (), levels, encoding)
    return Inspection(path, kind, signals, gaps, record.when, record.origin, _quality(record))


def _levels(signal: Signal, encoding: str) -> list[Level]:
    """The level of each channel; a full-scale square wave has 0 dB, a full-scale sine −3.01 dB."""
    bits = re.search(r"(?:8|16|24)$", encoding)
    largest = 1 - 2.0 ** (1 - int(bits[0]) if bits else -15)  # 32767 of 32768; below it is minus full scale
    magnitude = np.abs(signal.values.astype(np.float64))  # (C, T)
    mean = np.sqrt(np.mean(magnitude**2, axis=1))
    clipped = np.mean(magnitude >= largest, axis=1)
    sizes = zip(signal.channels, mean, magnitude.max(axis=1), clipped, strict=True)
    return [Level(name, _decibels(rms), _decibels(peak), float(share)) for name, rms, peak, share in sizes]


def _decibels(magnitude: float) -> float | None:
    """A magnitude in dB of full scale; None for nothing."""
    return round(float(20 * np.log10(magnitude)), 2) + 0.0 if magnitude > 0 else None  # no minus zero


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
