"""What a finished classifier says of a live stream of one channel: a line for every window, as the stream goes.

    lines ──► samples on a regular grid ──► windows of 10 s, cut from the first sample ──► judge ──► lines of JSON

The cuts, the quality and the preparation of an ECG are those of `predict` on the whole recording, so that a window
has the same logit; a stretch of a pulse is judged as `predict` judges a recording that is no longer
(`stethos.study.pulse_live`). What is held is one window and a few lines, however long the stream. Every line has a
`status`:

    window   ten seconds were judged, or refused with the reason; `mean` is the running mean over the last three
             windows, each weighing as much as its quality score, refused ones nothing
    gap      whole windows without any sample
    end      the last line: what the windows say together, as of a recording, and what was lost on the way
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from stethos.errors import FormatError, RateError, RecipeError
from stethos.io.channels import declared_rate, declared_unit, standard_unit
from stethos.signal.beats import LOWEST_RATE
from stethos.signal.prepare import PREPARATIONS
from stethos.signal.quality import windows as judge_windows
from stethos.study.cutter import Cut, Cutter
from stethos.study.grid import SETTLE_SECONDS, Grid, Lines, Stated, anchor, fitted_rate
from stethos.study.lead import LeadWindows
from stethos.study.validate import sigmoid
from stethos.train.interrupt import stop_request
from stethos.types import Record, Signal

STDIN = ("-", "stdin=-")  # the second is what the command line makes of a lone hyphen
LAST = 3  # windows in the running mean
IDLE_SECONDS = 60.0  # a file that has not grown for so long has ended
_POLL_SECONDS = 0.1
_CHUNK = 1 << 16  # bytes
_AHEAD = 256  # chunks that are read ahead of the judging at most: 16 MiB
_MOST_HELD = 100_000  # lines that are looked at for the rate: 10 s at 10 kHz

Line = dict[str, Any]
Say = Callable[[Record], Line]


class Followed(Protocol):
    """What a stream is and what becomes of the answers about its windows."""

    @property
    def rate(self) -> float | None:
        """Hz; taken from the times where None."""

    @property
    def unit(self) -> str | None:
        """Of the values; the usual one where None."""

    @property
    def usual_unit(self) -> str:
        """Of a stream that does not say it."""

    @property
    def lead(self) -> str:
        """Name of the channel."""

    @property
    def seconds(self) -> float:
        """Length of a window."""

    @property
    def lowest(self) -> float:
        """Rate that the stream must have at least, Hz."""

    def quality(self, lead: Signal, told: Line) -> tuple[str, float]:
        """In words, and what a window counts in a mean, of one that `told` is about."""

    def numbers(self, told: Line) -> dict[str, float]:
        """What can be averaged of an answer, by name; nothing where it was refused."""

    def words(self, means: dict[str, float]) -> Line:
        """What such means say."""


@dataclass(frozen=True)
class Live:
    """What is known of a stream of one lead and of the model.

    Args:
        windows: How recordings are cut and prepared, and which lead it is.
        points: Operating point in logits, NaN for a measured target; of several labels by name.
        rate: Hz; taken from the times where None.
        unit: Of the values; mV where None.
    """

    windows: LeadWindows
    points: float | Mapping[str, float]
    rate: float | None = None
    unit: str | None = None
    usual_unit: str = "mV"
    lowest: float = LOWEST_RATE

    @property
    def lead(self) -> str:
        """Name of the lead."""
        return self.windows.lead

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return PREPARATIONS[self.windows.preparation].seconds

    def quality(self, lead: Signal, told: Line) -> tuple[str, float]:
        """First reason to refuse a window, or "ok", and its quality score."""
        (judged,) = judge_windows(lead, self.seconds)
        return judged.reason or "ok", judged.score

    def numbers(self, told: Line) -> dict[str, float]:
        """Logits by label, or the measured value, of what was said of one window; none where it was refused."""
        if "labels" in told:
            return {name: item["logit"] for name, item in told["labels"].items()}
        value = told["logit"] if told.get("logit") is not None else told.get("score")
        return {} if value is None else {"": float(value)}

    def words(self, means: dict[str, float]) -> Line:
        """Logits with score and decision."""
        if isinstance(self.points, Mapping):
            return {name: _decided(value, self.points.get(name, math.nan)) for name, value in means.items()}
        (value,) = means.values()
        return {"score": value, "decision": "measured"} if math.isnan(self.points) else _decided(value, self.points)


def refuse_both(files: Sequence[Path], source: str, recording: int | None = None) -> None:
    """Raise unless there are recordings, or a stream to follow, and not both.

    Args:
        files: The recordings.
        source: The stream; empty for none.
        recording: Which one of several in a file; a stream has no several.

    Raises:
        RecipeError: There are both or neither, or a recording of a stream is asked for.
    """
    if bool(files) == bool(source):
        raise RecipeError("predict needs recordings, or a live stream with --follow; give one of the two")
    if source and recording is not None:
        raise RecipeError(f"a live stream is one recording; leave --recording {recording} away")


def follow(source: str, say: Say, live: Followed) -> Iterator[Line]:
    """Judge a file that grows, or standard input, until it ends or Ctrl-C is pressed.

    A file has ended when it has not grown for a minute.

    Args:
        source: Path of the file, or "-".
        say: What is said of a recording of one window, such as `judged` does.
        live: What the stream is.

    Raises:
        FormatError: There is no such file, or its lines are no samples of one lead.
        RateError: The rate is not known, or is not that of an ECG.
        ChannelError: The stream names another lead.
        UnitError: The unit is unknown, or another than declared.
    """
    with contextlib.suppress(KeyboardInterrupt), stop_request() as asked:
        chunks = piped(sys.stdin.buffer) if source in STDIN else _opened(Path(source))
        yield from said(chunks, "-" if source in STDIN else source, say, live, asked)


def said(
    chunks: Iterator[bytes], name: str, say: Say, live: Followed, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Line]:
    """The lines about a stream of bytes.

    Args:
        chunks: Bytes as they come; b"" where there are none for now.
        name: Of the stream.
        say: What is said of a recording of one window.
        live: What is known.
        stopped: Whether to stop.
    """
    stream = _Stream(name, say, live)
    ended = "end of input"
    for data in chunks:
        if stopped():
            ended = "stopped"
            break
        yield from stream.feed(data)
    yield from stream.end(ended)


def piped(stream: BinaryIO) -> Iterator[bytes]:
    """Bytes of a pipe as soon as there are any, b"" now and then where there are none; a thread reads ahead."""
    held: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
    number = stream.fileno()

    def read() -> None:
        with contextlib.suppress(OSError):  # a device that is unplugged: the end, as any other
            # not through the buffer: it waits until it is full, and its lock outlives the interpreter
            while data := os.read(number, _CHUNK):
                held.put(data)
        held.put(None)

    threading.Thread(target=read, name="reading", daemon=True).start()
    while True:
        try:
            data = held.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            yield b""
            continue
        if data is None:
            return
        yield data


def grown(path: Path, wait: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """Bytes of a file as it grows, b"" where it has not; ends when it has not grown for a minute, or is cut short.

    Args:
        path: Of the file.
        wait: Waits for so many seconds.
    """
    idle = 0.0
    with path.open("rb") as file:
        while idle < IDLE_SECONDS and os.fstat(file.fileno()).st_size >= file.tell():
            data = file.read(_CHUNK)
            yield data
            idle = 0.0 if data else idle + _POLL_SECONDS
            if not data:
                wait(_POLL_SECONDS)


def _opened(path: Path) -> Iterator[bytes]:
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return grown(path)
        return piped(path.open("rb", buffering=0))
    except OSError as error:
        why = error.strerror or error
        raise FormatError(f"{path} cannot be followed ({why}); give a file that is being written, or -") from error


class _Stream:
    """Lines, grid, windows and what was said of them."""

    def __init__(self, name: str, say: Say, live: Followed) -> None:
        self.name, self.say, self.live = name, say, live
        rate = None if live.rate is None else declared_rate(live.rate)
        unit = None if live.unit is None else declared_unit(live.unit)
        self.lines = Lines(Stated(live.lead, rate, unit))
        self.waiting: list[tuple[float, float]] | None = []  # lines from which the rate is to be taken
        self.grid: Grid | None = None
        self.cutter: Cutter | None = None
        self.factor, self.unit = 1.0, live.usual_unit
        self.mean, self.total = deque[_Weighed](maxlen=LAST), _Total()

    def feed(self, data: bytes) -> Iterator[Line]:
        """What is said after some more bytes."""
        for pair in self.lines.feed(data):
            yield from self._taken(*pair)

    def end(self, ended: str) -> Iterator[Line]:
        """What the end completes, and the last line."""
        for pair in self.lines.end():
            yield from self._taken(*pair)
        if self.waiting:
            yield from self._settled()
        if self.grid and self.cutter:
            for place, value in self.grid.end():
                yield from self._cuts(self.cutter.put(place, value * self.factor))
            yield from self._cuts(self.cutter.end(self.grid.next))
        yield self._summary(ended)

    def _taken(self, at: float, value: float) -> Iterator[Line]:
        """What is said after one more line."""
        self.total.lines += 1
        if self.waiting is None:
            yield from self._placed(at, value)
            return
        self.waiting.append((at, value))
        long = at - self.waiting[0][0] > SETTLE_SECONDS or len(self.waiting) >= _MOST_HELD
        if not self.lines.timed or long:
            yield from self._settled()

    def _settled(self) -> Iterator[Line]:
        """Choose the rate, and give the lines that waited for it their places."""
        held, self.waiting = self.waiting or [], None
        self.factor, self.unit = standard_unit(self.lines.stated.unit or self.unit)
        rate, first = self._rate(np.array([at for at, _ in held]))
        self.grid, self.cutter = Grid(rate, first), Cutter(rate, self.live.seconds)
        for pair in held:
            yield from self._placed(*pair)

    def _rate(self, times: np.ndarray) -> tuple[float, float | None]:
        """The rate, and the time of the first line where lines have one."""
        stated = self.lines.stated.rate
        if not self.lines.timed:
            if stated is None:
                raise RateError(f"{self.name}: a stream of values alone needs its sampling rate; pass --rate HZ")
            return stated, None
        fitted = stated
        if fitted is None or times[-1] - times[0] > SETTLE_SECONDS:
            fitted = fitted_rate(times, self.live.lowest)
        if stated is not None and abs(fitted - stated) > 0.01 * fitted:
            raise RateError(
                f"{self.name}: its times say {fitted:g} Hz and the rate is given as {stated:g}; leave it away"
            )
        rate = stated or fitted
        return rate, anchor(times, rate)

    def _placed(self, at: float, value: float) -> Iterator[Line]:
        assert self.grid
        assert self.cutter
        for place, sample in self.grid.put(at, value):
            yield from self._cuts(self.cutter.put(place, sample * self.factor))

    def _cuts(self, cuts: Iterator[Cut]) -> Iterator[Line]:
        for cut in cuts:
            yield self._window(cut) if len(cut.values) else self._gap(cut)

    def _gap(self, cut: Cut) -> Line:
        self.mean.extend([_Weighed({}, 0.0)] * min(cut.windows, LAST))
        self.total.windows += cut.windows
        return {**self._where("gap", cut), "windows": cut.windows, "quality": "missing", **self._losses()}

    def _window(self, cut: Cut) -> Line:
        """Judge one window."""
        assert self.cutter
        lead = Signal(cut.values[None], self.cutter.rate, (self.live.lead,), self.unit)
        told = self.say(Record(self.name, self.name, (lead,), origin=self.lines.stated.origin))
        for needless in ("windows", "windows_used", "file"):
            told.pop(needless, None)
        words, weight = self.live.quality(lead, told)
        window = _Weighed(self.live.numbers(told), weight)
        self.mean.append(window)
        self.total.add(window)
        quality = {"quality": words, "quality_score": round(weight, 4)}
        missing = {"missing": round(float(np.isnan(cut.values).mean()), 4)}
        mean = {
            "mean": self._told(_pooled(self.mean)),
            "windows_in_mean": sum(bool(item.logits and item.weight) for item in self.mean),
        }
        return {**self._where("window", cut), **told, **quality, **missing, **mean, **self._losses()}

    def _where(self, status: str, cut: Cut) -> Line:
        assert self.grid
        assert self.cutter
        at = self.grid.time_of(cut.start)
        when = {} if at is None else {"time": round(at, 3)}
        return {
            "source": self.name,
            "status": status,
            "window": cut.number,
            "start": cut.start / self.cutter.rate,
            **when,
        }

    def _losses(self) -> Line:
        return {"late": self.grid.late if self.grid else 0, "malformed": self.lines.malformed}

    def _told(self, means: dict[str, float]) -> Line | None:
        return self.live.words(means) if means else None

    def _summary(self, ended: str) -> Line:
        rate = self.cutter.rate if self.cutter else None
        seconds = self.grid.next / rate if self.grid and rate else 0.0
        counts = {"windows": self.total.windows, "windows_used": self.total.used, "lines": self.total.lines}
        line = {"source": self.name, "status": "end", "ended": ended, "seconds": round(seconds, 3), "rate": rate}
        return {**line, **counts, **self._losses(), "all": self._told(self.total.mean())}


class _Weighed(NamedTuple):
    """Numbers of one window by name, none where it was refused, and its quality score."""

    logits: dict[str, float]
    weight: float


class _Total:
    """Counts and sums over all windows."""

    def __init__(self) -> None:
        self.lines = self.windows = self.used = 0
        self._weight, self._sums = 0.0, dict[str, float]()

    def add(self, window: _Weighed) -> None:
        """One window more."""
        self.windows += 1
        if window.logits and window.weight > 0:
            self.used += 1
            self._weight += window.weight
            for name, value in window.logits.items():
                self._sums[name] = self._sums.get(name, 0.0) + window.weight * value

    def mean(self) -> dict[str, float]:
        """Mean logits over the usable windows, as of a recording; none where there was none."""
        return {name: value / self._weight for name, value in self._sums.items()}


def _pooled(items: deque[_Weighed]) -> dict[str, float]:
    """Means over windows, each weighing as much as its quality."""
    used = [item for item in items if item.logits and item.weight > 0]
    whole = sum(item.weight for item in used)
    names = used[0].logits if used else {}
    return {name: sum(item.weight * item.logits[name] for item in used) / whole for name in names}


def _decided(logit: float, point: float) -> Line:
    decision = "none" if math.isnan(point) else "above threshold" if logit >= point else "below threshold"
    return {"logit": logit, "score": float(sigmoid(np.array(logit))), "decision": decision}
