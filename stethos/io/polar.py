"""The ECG of a chest strap (Polar H10), as its Bluetooth frames.

    0 (ECG) · time of the last sample, ns since 2000 (u64) · 0 (frame type) · samples of 3 bytes, signed, µV

All numbers are little-endian. The strap samples at about 130 Hz; how fast in truth, its time stamps tell. A frame
that was lost on the way is a gap as long as its time; one that came twice or late is put where it belongs.

A strap lies across the chest. What it records is no lead I, so its channel is named `chest`.

Reference:
    Polar Measurement Data Specification, ECG, frame type 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stethos.errors import FormatError, RateError
from stethos.io.channels import Trace, signals_from
from stethos.io.files import read_text
from stethos.types import Fact, Record

CHANNEL = "chest"
NOMINAL = 130.0  # Hz
_EPOCH = datetime(2000, 1, 1)
_HEAD = 10  # bytes before the samples
_ECG = 0
_SET = 2020  # a clock that was never set begins in 2019
_LONGEST = 600.0  # seconds of a gap; a longer one is a clock that was set
_BYTES = re.compile(r"(?:0x)?[0-9a-f]{2}(?:[ :\t-]?[0-9a-f]{2})*", re.IGNORECASE)


class Stream(NamedTuple):
    """What frames hold together."""

    trace: Trace  # µV; NaN where frames were lost
    start: datetime | None  # None where the strap's clock was not set
    facts: dict[str, Fact]


class _Frame(NamedTuple):
    """One frame."""

    moment: int  # of its last sample, ns
    values: np.ndarray  # (T,), µV


def polar_frames(frames: bytes | Iterable[bytes], *, rate: float | None = None) -> Stream:
    """The channel that frames hold together.

    Facts are the counts `frames` (that were used), `frames_lost`, `frames_repeated` and `frames_late`, and
    `frames_other` for those that are no ECG.

    Args:
        frames: One frame or several, in the order in which they came.
        rate: Hz, roughly; 130 unless given. Where time stamps are, they tell the rate.

    Raises:
        FormatError: A frame is cut off or of an unknown type, or the times contradict one another.
        RateError: The time stamps tell no rate near the one given.
    """
    given = [frames] if isinstance(frames, bytes) else list(frames)
    came = [_frame(frame, number) for number, frame in enumerate(given, start=1) if frame[:1] == bytes([_ECG])]
    if not came:
        raise FormatError(f"needs frames of an ECG (that begin with 00); got {len(given)} others")
    late = int(np.sum(np.diff(np.maximum.accumulate([frame.moment for frame in came])) == 0))
    kept = _in_order(came)
    repeated = len(came) - len(kept)
    hertz, missing = _timing(kept, rate)
    values = _joined(kept, missing)
    size = float(np.median([len(frame.values) for frame in kept]))
    lost = int(np.rint(missing / size).sum())
    facts: dict[str, Fact] = {"frames": float(len(kept)), "frames_lost": float(lost)}
    facts |= {"frames_repeated": float(repeated), "frames_late": float(late - repeated)}
    facts |= {"frames_other": float(len(given) - len(came))}
    return Stream(Trace(CHANNEL, values, hertz, "uV"), _start(kept[0], hertz), facts)


def read_polar(path: str | Path, *, rate: float | None = None) -> Record:
    """Read a text with one frame a line in hexadecimal; lines that begin with "#" are passed over.

    Args:
        path: The file.
        rate: As for `polar_frames`.

    Raises:
        FormatError: A line is no frame, or as for `polar_frames`.
        RateError: As for `polar_frames`.
    """
    path = Path(path)
    try:
        stream = polar_frames([_bytes(line, number) for number, line in _lines(read_text(path))], rate=rate)
    except (FormatError, RateError) as error:
        raise type(error)(f"{path}: {error}") from error
    facts = {"device": "chest strap"} | stream.facts
    return Record(path.stem, path.stem, signals_from([stream.trace]), when=stream.start, facts=facts)


def looks_like_polar(text: str) -> bool:
    """Whether the first lines of a text are frames in hexadecimal, one of them at least an ECG."""
    lines = [line for _, line in _lines(text)][:20]
    lines = lines[:-1] or lines  # the last one may be seen in part
    if not lines or not all(_BYTES.fullmatch(line) for line in lines):
        return False
    frames = [_bytes(line, 0) for line in lines]
    return any(len(frame) >= _HEAD + 3 and frame[0] == _ECG and frame[_HEAD - 1] == 0 for frame in frames)


def _lines(text: str) -> list[tuple[int, str]]:
    """The lines that are to be read, numbered from 1."""
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _bytes(line: str, number: int) -> bytes:
    """A line in hexadecimal as bytes."""
    if not _BYTES.fullmatch(line):
        raise FormatError(f"line {number} must be one frame in hexadecimal; got {line[:20]!r}; remove it")
    return bytes.fromhex(re.sub(r"0[xX]|[ :\t-]", "", line))


def _frame(frame: bytes, number: int) -> _Frame:
    """The time and the samples of a frame."""
    size = len(frame) - _HEAD
    if size < 3 or size % 3:
        raise FormatError(f"frame {number} has {len(frame)} bytes, not 10 and 3 a sample; it is cut off, remove it")
    if frame[_HEAD - 1] != 0:
        raise FormatError(f"frame {number} is of type {frame[_HEAD - 1]}; only type 0 is understood; record that one")
    triples = np.frombuffer(frame, np.uint8, offset=_HEAD).reshape(-1, 3).astype(np.int32)  # (T, 3)
    unsigned = triples @ np.array([1, 1 << 8, 1 << 16], np.int32)  # (T,)
    values = ((unsigned ^ 0x800000) - 0x800000).astype(np.float64)
    return _Frame(int.from_bytes(frame[1:9], "little"), values)


def _in_order(came: Sequence[_Frame]) -> list[_Frame]:
    """The frames by their time, each once.

    Raises:
        FormatError: Two that differ bear the same time.
    """
    kept: list[_Frame] = []
    for frame in sorted(came, key=lambda frame: frame.moment):
        if not kept or kept[-1].moment != frame.moment:
            kept.append(frame)
        elif not np.array_equal(kept[-1].values, frame.values):
            raise FormatError(f"two frames with other samples bear the same time ({frame.moment} ns); record it again")
    return kept


def _timing(frames: Sequence[_Frame], rate: float | None) -> tuple[float, np.ndarray]:
    """The true rate, Hz, and the number of samples missing before each frame but the first, `(F - 1,)`."""
    roughly = rate or NOMINAL
    if len(frames) == 1 and rate is None:
        raise RateError("needs two frames or more, whose times tell the rate; got one; pass --rate HZ")
    if len(frames) == 1:
        return roughly, np.zeros(0, int)
    sizes = np.array([len(frame.values) for frame in frames])
    seconds = np.diff(np.array([frame.moment - frames[0].moment for frame in frames], np.float64)) / 1e9
    _refuse_jump(seconds)
    slack = np.maximum(0.1 * sizes[1:], 2)  # samples; a lost frame is far more
    joined = np.abs(seconds * roughly - sizes[1:]) <= slack
    if not joined.any():
        raise RateError(f"the times of the frames tell no rate near {roughly:g} Hz; pass --rate HZ")
    true = float(sizes[1:][joined].sum() / seconds[joined].sum())
    missing = np.where(joined, 0, np.rint(seconds * true).astype(int) - sizes[1:])
    _refuse_overlap(missing, sizes)
    return true, missing


def _refuse_jump(seconds: np.ndarray) -> None:
    """Raise where the clock of the strap was set between two frames."""
    if seconds.max() > _LONGEST:
        worst = int(np.argmax(seconds))
        raise FormatError(
            f"frames must follow one another; {seconds[worst]:.0f} s lie between frames {worst + 1} and {worst + 2}; "
            "the clock was set or the strap taken off: cut the log there"
        )


def _refuse_overlap(missing: np.ndarray, sizes: np.ndarray) -> None:
    """Raise where a frame has more samples than its time allows, or fewer because it is cut off."""
    if (missing < 0).any():
        worst = int(np.argmin(missing))
        raise FormatError(f"frame {worst + 2} by time overlaps the one before by {-missing[worst]} samples; remove it")
    cut = (missing > 0) & (np.abs(missing + sizes[1:] - sizes[:-1]) <= 1)
    if cut.any():
        worst = int(np.argmax(cut)) + 1
        raise FormatError(
            f"frame {worst + 1} by time is cut off: it holds {sizes[worst]} of {sizes[worst - 1]} samples; remove it"
        )


def _joined(frames: Sequence[_Frame], missing: np.ndarray) -> np.ndarray:
    """All samples with the gaps between them, `(T,)`."""
    parts = [frames[0].values]
    for frame, gap in zip(frames[1:], missing, strict=True):
        parts += [np.full(gap, np.nan), frame.values]
    return np.concatenate(parts)


def _start(frame: _Frame, rate: float) -> datetime | None:
    """Time of the first sample; None where the strap's clock was not set."""
    try:
        last = _EPOCH + timedelta(microseconds=frame.moment // 1000)
    except OverflowError:
        return None
    return last - timedelta(seconds=(len(frame.values) - 1) / rate) if last.year >= _SET else None
