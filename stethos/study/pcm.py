"""Raw samples as they come, on standard input or from any other stream of bytes, as a source."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from stethos.errors import ChannelError, RecipeError
from stethos.study.source import Block, Cut, Missing, refuse_name
from stethos.types import Signal

PcmFormat = Literal["s16le", "s24le", "s32le", "f32le"]

_WIDTH = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}  # bytes of a sample
_CHUNK = 1 << 16  # bytes that are read at most at once
_AHEAD = 512  # chunks that are read ahead of the judging at most: 32 MiB


@dataclass(frozen=True)
class Pcm:
    """How samples are written as bytes, channel after channel.

    Args:
        rate: Hz.
        format: Signed whole numbers or floats of that many bits, the low byte first.
        channels: How many.

    Raises:
        RecipeError: The rate or the number of channels is not positive, or the format is unknown.
    """

    rate: float
    format: PcmFormat = "s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.channels >= 1 and self.format in _WIDTH):
            raise RecipeError(
                f"raw samples need a positive rate, at least one channel and one of {', '.join(_WIDTH)}; "
                f"got {self.rate:g} Hz, {self.channels} and {self.format}"
            )

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        return _WIDTH[self.format] * self.channels

    def decode(self, data: bytes) -> np.ndarray:
        """Bytes of whole frames as fractions of full scale, `(C, T)` float32."""
        if self.format == "f32le":
            flat = np.frombuffer(data, "<f4")
        elif self.format == "s24le":
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)  # the lowest byte stays 0
            flat = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
        else:
            bits = 8 * _WIDTH[self.format]
            flat = (np.frombuffer(data, f"<i{bits // 8}") / 2.0 ** (bits - 1)).astype(np.float32)
        return np.ascontiguousarray(flat.reshape(-1, self.channels).T)


@dataclass(frozen=True)
class Chunk:
    """Bytes that came together.

    Args:
        data: None are the end of the stream.
        when: POSIX time at which they came.
        waited: Seconds for which nothing had come.
    """

    data: bytes
    when: float
    waited: float = 0.0


class PcmStream:
    """A stream of raw samples, in chunks of any size.

    A thread reads ahead, so that sound is not lost while a block is judged. Where nothing comes for longer than
    `gap`, that time and the block begun before it are missing sound; so is a block that the end cuts off.

    Args:
        name: Of the source.
        stream: Bytes, such as `sys.stdin.buffer`.
        pcm: How to read them.
        cut: Into blocks.
        clock: POSIX time in seconds.

    Raises:
        RecipeError: The name cannot be used.
        ChannelError: The channel is not among those of the stream.
    """

    def __init__(self, name: str, stream: BinaryIO, pcm: Pcm, cut: Cut, clock: Callable[[], float] = time.time) -> None:
        refuse_name(name)
        names = [str(number + 1) for number in range(pcm.channels)]
        if cut.channel is not None and cut.channel not in names:
            raise ChannelError(f"{name}: needs channel {cut.channel}; the stream has {', '.join(names)}")
        self.name, self.pcm, self.cut, self.clock = name, pcm, cut, clock
        self._row = names.index(cut.channel or "1")
        self._need = round(cut.seconds * pcm.rate) * pcm.frame
        self._read = _reader(stream)
        self._chunks: queue.Queue[Chunk] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        self._held = bytearray()
        self._until: float | None = None  # when the last bytes came
        self._end, self._heard = 0.0, 0.0  # seconds: of the time axis, and of sound in blocks
        self._since: float | None = None  # when the last bytes came, or were first asked for
        self._over = self._resumed = self._silent = False

    @property
    def finished(self) -> bool:
        """Whether the stream has ended and all of it was given."""
        return self._over and len(self._held) < self._need

    @property
    def waiting(self) -> int:
        """There are no files."""
        return 0

    def next(self, now: float) -> Block | Missing | None:
        """The next block, or what is missing before it; None where not enough bytes have come."""
        while len(self._held) < self._need:
            chunk = self._arrived()
            if chunk is None:
                return self._silence(now)
            missing = self.take(chunk)
            if missing:
                return missing
        return self._block()

    def take(self, chunk: Chunk) -> Missing | None:
        """Take in what came; what is missing before it.

        Args:
            chunk: The next bytes, in any amount.
        """
        away = chunk.when - self._until if self._resumed and self._until is not None else 0.0
        waited, self._resumed, self._until = max(chunk.waited, away), False, chunk.when
        self._since, self._silent = chunk.when, False
        if not chunk.data:
            return self._ended()
        missing = self._broken_off(waited) if waited > self.cut.gap else None
        self._held += chunk.data
        return missing

    def _silence(self, now: float) -> Missing | None:
        """What is said once when nothing has come for long; what comes next tells how long it was."""
        self._since = now if self._since is None else self._since
        if self._over or self._silent or now - self._since <= self.cut.gap:
            return None
        self._silent = True
        return Missing(f"nothing has come for {now - self._since:.1f} s")

    def _broken_off(self, waited: float) -> Missing:
        """Drop what was held but for the part of a frame, without which all that follows would be out of step."""
        whole = len(self._held) // self.pcm.frame * self.pcm.frame
        lost = whole / self.pcm.frame / self.pcm.rate
        del self._held[:whole]
        self._end += lost + waited
        before = f"; the {lost:.1f} s before are not judged" if lost else ""
        return Missing(f"nothing came for {waited:.1f} s{before}", seconds=lost + waited)

    def _ended(self) -> Missing | None:
        self._over = True
        lost = len(self._held) / self.pcm.frame / self.pcm.rate
        self._held.clear()
        if not lost:
            return None
        return Missing(f"the stream ended {lost:.3g} s into a block of {self.cut.seconds:g} s", seconds=lost)

    def _block(self) -> Block:
        """The next block of what is held."""
        values = self.pcm.decode(bytes(self._held[: self._need]))[self._row, None]  # (1, T)
        del self._held[: self._need]
        sound = Signal(values, self.pcm.rate, (str(self._row + 1),), "1")
        block = Block(sound, self._end, offset=self._heard)
        self._end += sound.duration
        self._heard += sound.duration
        return block

    def _arrived(self) -> Chunk | None:
        """What the thread has read, begun with the first call; None where there is nothing for now."""
        if self._over:
            return None
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name=f"{self.name}: reading", daemon=True)
            self._thread.start()
        try:
            return self._chunks.get_nowait()
        except queue.Empty:
            return None

    def _listen(self) -> None:
        """Read until the end; time spent on a full queue is not time without sound."""
        data = b"begun"
        while data:
            data, before = b"", self.clock()
            with contextlib.suppress(OSError):  # a device that is unplugged: the end, as any other
                data = self._read()
            now = self.clock()
            self._chunks.put(Chunk(data, now, now - before))

    def to_json(self) -> dict[str, Any]:
        """Where it stands, as plain values; bytes that make no block yet are not kept."""
        return {"until": self._until, "end": self._end, "heard": self._heard}

    def restore(self, saved: dict[str, Any] | None, folder: Path) -> None:
        """Go on from there, or begin."""
        if saved:
            self._until, self._end, self._heard = saved["until"], float(saved["end"]), float(saved["heard"])
            self._resumed = True

    def settle(self) -> None:
        """There is nothing to do."""


def _reader(stream: BinaryIO) -> Callable[[], bytes]:
    """What gives the next bytes as soon as there are any, b"" at the end."""
    try:
        number = stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return lambda: stream.read(_CHUNK)
    # not through the buffer: it waits until it is full, and its lock outlives the interpreter
    return lambda: os.read(number, _CHUNK)
