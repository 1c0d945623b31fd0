"""Sounds (WAV, FLAC, OGG, AIFF) through `soundfile`.

Samples are fractions of full scale: 1 is the largest number that the file's coding can hold. A file says where
it comes from in its comment ("origin=synthetic"), the one field that all these formats have.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stethos.errors import FormatError, RateError, StethosError, UnitError
from stethos.io.container import Container, refuse_cut_off
from stethos.io.files import write_atomic
from stethos.io.stated import stated_origin
from stethos.types import Origin, Record, Signal

if TYPE_CHECKING:
    from soundfile import SoundFile

UNIT = "1"  # of full scale
_BLOCK = 1 << 20  # frames decoded at a time: a header may promise more than there is memory
_LONGEST = 1 << 40  # frames; a stream of unknown length has 2^63
_STEPS = 32768  # of 16-bit samples, on each side of zero
_ORIGIN = re.compile(r"(?:^|[\s;,])origin=(\w+)")


@dataclass(frozen=True)
class SoundHeader:
    """What a sound file says of itself.

    Args:
        container: "WAV", "AIFF", "FLAC" or "OGG".
        encoding: Of the samples, such as "PCM_16".
        rate: Hz.
        channels: How many.
        frames: Samples of each channel.
        origin: "real" unless the file says otherwise.
    """

    container: Container
    encoding: str
    rate: float
    channels: int
    frames: int
    origin: Origin


def sound_header(path: str | Path) -> SoundHeader:
    """What a sound file says of itself; its samples are not decoded.

    Args:
        path: The file.

    Raises:
        FormatError: It is no sound, is cut off, or holds no frames.
    """
    with _opened(Path(path)) as (container, file):
        return _header(container, file)


def read_sound(path: str | Path) -> Record:
    """Read a sound: one signal of all channels, named "1", "2", …, in fractions of full scale.

    The fact `encoding` names how the samples are stored, such as "PCM_16".

    Args:
        path: The file.

    Raises:
        FormatError: It is no sound, holds less than its header promises, no frames, or samples that are no
            numbers.
    """
    path = Path(path)
    with _opened(path) as (container, file):
        header = _header(container, file)
        values = _samples(file, path)  # (C, T)
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise FormatError(f"{path}: {wrong} of {values.size} samples are no numbers (NaN, infinity); export it again")
    values.flags.writeable = False  # so that the noun keeps this array and makes no copy
    signal = Signal(values, header.rate, tuple(str(n + 1) for n in range(header.channels)), UNIT)
    return Record(path.stem, path.stem, (signal,), facts={"encoding": header.encoding}, origin=header.origin)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Container, SoundFile]]:
    """A sound file that holds what its header promises; whatever a decoder says of it becomes one sentence."""
    import soundfile

    try:
        with path.open("rb") as file:
            container = refuse_cut_off(file, path)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            # by its number, so that the decoder goes by the content and not by the suffix
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                if sound.frames == 0:
                    raise FormatError(f"{path}: holds 0 frames; record or export it again")
                if sound.frames > _LONGEST:
                    raise FormatError(f"{path}: its header does not say how long it is; encode it again")
                yield container, sound
    except StethosError:
        raise
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        said = getattr(error, "error_string", str(error)).strip(" .")
        raise FormatError(f"{path}: cannot be decoded as a sound ({said}); copy or export it again") from error


def _header(container: Container, file: SoundFile) -> SoundHeader:
    stated = _ORIGIN.search(file.comment)
    origin = stated_origin(stated[1]) if stated else "real"
    return SoundHeader(container, file.subtype, float(file.samplerate), file.channels, file.frames, origin)


def _samples(file: SoundFile, path: Path) -> np.ndarray:
    """All samples, `(C, T)` float32.

    Raises:
        FormatError: Fewer come than the header promises.
    """
    blocks = []
    while True:
        block = file.read(_BLOCK, dtype="float32", always_2d=True)  # (T, C)
        blocks.append(block)
        if len(block) < _BLOCK:
            break
    values = np.ascontiguousarray(np.concatenate(blocks).T)
    if values.shape[1] != file.frames:
        raise FormatError(
            f"{path}: header promises {file.frames} frames, {values.shape[1]} can be decoded; copy it again"
        )
    return values


def write_sound(sound: Record | Signal, path: str | Path, origin: Origin) -> None:
    """Write a 16-bit PCM WAV that says where it comes from; samples beyond full scale are clipped, never wrapped.

    Args:
        sound: In fractions of full scale, at a whole number of Hz; of a record, its only signal.
        path: Where the file shall lie.
        origin: "real", "synthetic" or "generated"; stands in the file's comment.

    Raises:
        FormatError: The record has several signals, there are no samples, a sample is NaN, or the disk is full.
        RateError: The rate is no whole number of Hz.
        UnitError: The sound is in another unit.
    """
    import soundfile

    signal = _writable(sound, Path(path))
    whole = np.clip(np.rint(signal.values.T * float(_STEPS)), -_STEPS, _STEPS - 1).astype(np.int16)  # (T, C)
    buffer = io.BytesIO()
    shape = {"samplerate": int(signal.rate), "channels": whole.shape[1], "format": "WAV", "subtype": "PCM_16"}
    with soundfile.SoundFile(buffer, "w", **shape) as file:
        file.comment = f"origin={origin}"  # before the samples: what comes after them is not found by all readers
        file.write(whole)
    write_atomic(Path(path), buffer.getvalue())


def _writable(sound: Record | Signal, path: Path) -> Signal:
    """The signal to be written, checked."""
    signals = (sound,) if isinstance(sound, Signal) else sound.signals
    if len(signals) != 1 or signals[0].values.size == 0:
        held = "none" if not signals else f"{len(signals)} of {signals[0].values.shape[1]} samples"
        raise FormatError(f"{path}: a WAV holds one signal with samples; got {held}; write each to its own file")
    signal = signals[0]
    if signal.unit != UNIT:
        raise UnitError(f"{path}: a WAV holds fractions of full scale (unit {UNIT}); got {signal.unit}; scale it first")
    if not float(signal.rate).is_integer():
        raise RateError(f"{path}: a WAV needs a whole number of Hz; got {signal.rate:g}; resample it first")
    if not np.isfinite(signal.values).all():
        raise FormatError(f"{path}: a WAV cannot hold missing samples (NaN); fill or cut them first")
    return signal
