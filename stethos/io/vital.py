"""Vital Recorder's files (`.vital`), as VitalDB is published: the waves of all devices of an operation.

A file is gzip. In it stand a header ("VITA", version, length, minutes between UTC and local time, …) and packets,
each with a type (1 byte) and a length (4 bytes), all numbers little-endian:

    9  a device: number, type, name
    0  a track: number, type (1 wave, 2 number, 5 text), format, name, unit, …, rate, gain, offset, …, device
    1  a piece of a track: time (s since 1970, UTC), number of the track, samples

Reference:
    VitalDB, Vital File Format, version 3.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from stethos.errors import FormatError
from stethos.io.channels import Trace, signals_from
from stethos.types import Record

_WAVE, _NUMBER = 1, 2
_CODES = {1: "<f4", 2: "<f8", 3: "<i1", 4: "<u1", 5: "<i2", 6: "<u2", 7: "<i4", 8: "<u4"}
_LARGEST = 1_000_000_000  # samples over all tracks; a file that promises more is not read into memory
_LONGEST = 2**30  # bytes of one packet


@dataclass(frozen=True)
class Track:
    """A track as its file describes it.

    Args:
        name: Device and track, such as "SNUADC/PLETH".
        kind: 1 for a wave, 2 for numbers, 5 for text.
        code: How a sample is stored.
        unit: As written; often empty.
        rate: Hz; 0 for what is not a wave.
        gain: Factor of stored integers.
        offset: Added after the factor.
    """

    name: str
    kind: int
    code: str
    unit: str
    rate: float
    gain: float
    offset: float

    def scaled(self, stored: np.ndarray) -> np.ndarray:
        """Stored samples as float32 in the track's unit; what stands for nothing becomes NaN."""
        if stored.dtype.kind == "f":
            values = stored.astype(np.float32)
        else:
            bounds = np.iinfo(stored.dtype)
            nothing = bounds.max if stored.dtype.kind == "u" else bounds.min
            with np.errstate(over="ignore", invalid="ignore"):
                values = (stored * self.gain + self.offset).astype(np.float32)
            values[stored == nothing] = np.nan
        values[~(np.abs(values) < 4e9)] = np.nan
        return values


@dataclass
class _Content:
    """What was read of a file so far."""

    bias: float = 0.0  # seconds to add to local time for UTC
    devices: dict[int, str] = field(default_factory=dict)
    tracks: dict[int, Track] = field(default_factory=dict)
    waves: dict[int, list[tuple[float, np.ndarray]]] = field(default_factory=dict)
    numbers: dict[int, list[float]] = field(default_factory=dict)


def read_vital(path: str | Path) -> Record:
    """Read the waves of a `.vital` file; where a device sent nothing, NaN.

    All waves begin with the earliest of them and end with the last. A track keeps its name without the device
    ("PLETH", "ART"). Where no unit is stated it is "a.u.". A start of 2100 or later, or before 1990, stands for a
    date that was removed.

    Args:
        path: The file.

    Raises:
        FormatError: It is damaged, or holds no wave.
    """
    path = Path(path)
    content = _read(path)
    waves = {tid: pieces for tid, pieces in content.waves.items() if content.tracks[tid].rate > 0}
    if not waves:
        raise FormatError(f"{path}: needs a wave, such as SNUADC/PLETH; the file holds none")
    rates = {tid: content.tracks[tid].rate for tid in waves}
    start = min(time for pieces in waves.values() for time, _ in pieces)
    stop = max(time + len(values) / rates[tid] for tid, pieces in waves.items() for time, values in pieces)
    samples = (stop - start) * sum(rates.values())
    if samples > _LARGEST:
        raise FormatError(f"{path}: its waves would hold {samples:.3g} samples; at most {_LARGEST} are read at once")
    traces = [_placed(content.tracks[tid], pieces, start, stop - start) for tid, pieces in waves.items()]
    local = datetime.fromtimestamp(start, UTC).replace(tzinfo=None) - timedelta(seconds=content.bias)
    return Record(path.stem, path.stem, signals_from(traces), when=local if 1990 <= local.year < 2100 else None)


def vital_tracks(path: str | Path) -> tuple[str, ...]:
    """Names of a file's tracks, from its beginning alone.

    Raises:
        FormatError: It is not such a file.
    """
    content = _Content()
    for kind, packet in _packets(Path(path), content):
        if kind == 1:
            break
        _note(kind, packet, content, Path(path))
    return tuple(track.name for track in content.tracks.values())


def vital_means(path: str | Path) -> dict[str, float]:
    """Mean of every track of numbers, such as "Solar8000/HR", over the whole file.

    Raises:
        FormatError: It is damaged.
    """
    content = _read(Path(path), waves=False)
    held = {content.tracks[tid].name: np.array(values) for tid, values in content.numbers.items()}
    return {name: float(values.mean()) for name, values in held.items() if len(values)}


def _placed(track: Track, pieces: list[tuple[float, np.ndarray]], start: float, seconds: float) -> Trace:
    """A track's pieces at their places on the time axis that all share."""
    joined = np.full(round(seconds * track.rate), np.nan, np.float32)
    for time, values in pieces:
        place = round((time - start) * track.rate)
        joined[place : place + len(values)] = values[: max(len(joined) - place, 0)]
    return Trace(track.name.rpartition("/")[2], joined, track.rate, track.unit or "a.u.")


def _read(path: Path, waves: bool = True) -> _Content:
    """A whole file; its waves only where they are asked for."""
    content = _Content()
    for kind, packet in _packets(path, content):
        if kind != 1:
            _note(kind, packet, content, path)
            continue
        try:
            _take(packet, content, waves)
        except (struct.error, ValueError) as error:
            raise FormatError(f"{path}: a piece of a track is shorter than it says ({error}); copy it again") from error
    return content


def _take(packet: bytes, content: _Content, waves: bool) -> None:
    """Put a piece of a track where its track is."""
    head, time, tid = struct.unpack_from("<HdH", packet)
    track = content.tracks.get(tid)
    if track is None or not math.isfinite(time):
        return
    if track.kind == _NUMBER:
        value = float(track.scaled(np.frombuffer(packet, track.code, 1, 2 + head))[0])
        content.numbers.setdefault(tid, []).extend([value] if math.isfinite(value) else [])
    elif track.kind == _WAVE and waves:
        count = struct.unpack_from("<I", packet, 2 + head)[0]
        stored = np.frombuffer(packet, track.code, count, 6 + head)
        content.waves.setdefault(tid, []).append((time, track.scaled(stored)))


def _packets(path: Path, content: _Content) -> Iterator[tuple[int, bytes]]:
    """Type and content of every packet; notes what the header says.

    Raises:
        FormatError: The file is not one of Vital Recorder, or ends early.
    """
    try:
        with gzip.open(path, "rb") as file:
            if file.read(4) != b"VITA":
                raise FormatError(f"{path}: not a file of Vital Recorder: it does not begin with VITA")
            head = file.read(struct.unpack("<4xH", file.read(6))[0])
            content.bias = 60.0 * struct.unpack_from("<h", head)[0]
            while len(start := file.read(5)) == 5:
                kind, length = struct.unpack("<BI", start)
                packet = file.read(min(length, _LONGEST))
                if len(packet) < length:
                    raise FormatError(f"{path}: a packet of {length} bytes ends after {len(packet)}; copy it again")
                yield kind, packet
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: a damaged file of Vital Recorder ({error}); copy it again") from error


def _note(kind: int, packet: bytes, content: _Content, path: Path) -> None:
    """Take down a device or a track."""
    fields = _Fields(packet)
    try:
        if kind == 9:
            number, device = fields.number("I"), fields.text()
            content.devices[int(number)] = fields.text() or device
        elif kind == 0:
            tid, kind, code = (int(fields.number(each)) for each in "HBB")
            if kind not in (_WAVE, _NUMBER) or code in _CODES:
                content.tracks[tid] = _track(fields, kind, _CODES.get(code, "<f4"), content.devices)
    except (struct.error, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: a device or track is not described whole ({error}); copy it again") from error


def _track(fields: _Fields, kind: int, code: str, devices: dict[int, str]) -> Track:
    """The rest of a track's description; what its end leaves out is 0 or empty."""
    name, unit = fields.text(), fields.text()
    for each in "ffI":  # lowest and highest shown, colour
        fields.number(each)
    rate, gain, offset = (fields.number(each) for each in "fdd")
    fields.number("B")  # what the monitor shows it as
    device = devices.get(int(fields.number("I")), "")
    return Track(f"{device}/{name}" if device else name, kind, code, unit, rate, gain or 1.0, offset)


class _Fields:
    """Reads one field of a packet after another."""

    def __init__(self, packet: bytes) -> None:
        self._packet, self._at = packet, 0

    def number(self, code: str) -> float:
        """The next number, 0 past the end."""
        if self._at >= len(self._packet):
            return 0
        value = struct.unpack_from(f"<{code}", self._packet, self._at)[0]
        self._at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        """The next text, empty past the end."""
        length = int(self.number("I"))
        start, self._at = self._at, self._at + length
        return self._packet[start : self._at].decode("utf8", "replace")
