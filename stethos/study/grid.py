"""The lines of a live stream of one lead, as samples on a regular grid.

A line is "time,value" or a value. The recorder samples regularly; what jitters is the time it puts beside a sample. So
a line lies one place after the line before it, unless its time and those of the lines after it agree that samples
were lost or that it comes late. One time that is wrong therefore moves nothing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stethos.errors import ChannelError, FormatError, RateError, UnitError
from stethos.io.channels import declared_rate, declared_unit, known_unit, lead_name, standard_unit
from stethos.io.stated import RATE_KEYS, UNIT_KEYS, stated_origin, stated_rate
from stethos.signal.beats import LOWEST_RATE
from stethos.types import Origin

SETTLE_SECONDS = 10.0  # of times that the rate is taken from
_LAG = 16  # lines between two times that are compared for the rate: their jitter counts a sixteenth
_LONGEST_LINE = 4096  # bytes
_FOLLOWERS = 5  # lines after one; all of them but one must agree on a jump, which jitter of 0.3 samples hardly does
TRACK = 1 / 256  # of a line's deviation by which the clock is followed: 100 ppm of drift then count 0.03 samples
_SET_BACK_SECONDS = 2.0  # of nothing but late lines: the recorder's clock was set back
_MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", *(f"V{n}" for n in range(1, 10)))
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_HEADING = re.compile(r"(.*?)\s*[\[(]([^\])]*)[\])]")


@dataclass(frozen=True)
class Stated:
    """What is known of a stream besides its samples.

    Args:
        lead: The lead that is wanted.
        rate: Hz; None where nobody said so.
        unit: Of the values; None where nobody said so, which is mV.
        origin: "synthetic" or "generated" where a line "# origin: synthetic" says so.
        seconds: One unit of the times, in seconds.
    """

    lead: str
    rate: float | None = None
    unit: str | None = None
    origin: Origin = "real"
    seconds: float = 1.0


class Lines:
    """Bytes to lines to numbers; what is no line of numbers is counted.

    Args:
        stated: What the caller knows.
    """

    def __init__(self, stated: Stated) -> None:
        self.stated, self.malformed = stated, 0
        self.timed: bool | None = None  # whether lines have a time; None before the first
        self._held, self._broken, self._first = b"", False, True

    def feed(self, data: bytes) -> Iterator[tuple[float, float]]:
        """Time in seconds, NaN without one, and value in the stream's unit, of every line that is complete."""
        *lines, rest = (self._held + data).split(b"\n")
        for line in lines:
            yield from self._one(line)
        if len(rest) > _LONGEST_LINE:
            self._broken, rest = True, b""
        self._held = rest

    def end(self) -> Iterator[tuple[float, float]]:
        """The last line, where no line break follows."""
        last, self._held = self._held, b""
        if last.strip():
            yield from self._one(last)

    def _one(self, line: bytes) -> Iterator[tuple[float, float]]:
        if self._broken:
            self.malformed, self._broken = self.malformed + 1, False
            return
        text = line.decode("utf-8", "replace").strip("\ufeff\r\0 ")
        if text.startswith("#"):
            self._noted(text)
        elif text or self.timed is False:  # in a single column an empty line is a missing sample
            found = self._numbers(text)
            if found:
                yield found

    def _numbers(self, text: str) -> tuple[float, float] | None:
        separator = next((mark for mark in ("\t", ";", ",") if mark in text), None)
        cells = [cell.strip() for cell in text.split(separator)] if separator else [text]
        if separator in ("\t", ";"):
            cells = [cell.replace(",", ".") for cell in cells]
        numbers = [_number(cell) for cell in cells]
        if self.timed is None:
            if None in numbers and self._first:
                self._first = False
                self._headed(cells)
                return None
            if len(cells) > 2:
                raise FormatError(
                    f"a stream needs a time and one lead a line, or a value; a line has {len(cells)} cells"
                )
            self.timed = len(cells) == 2 if None not in numbers else None
        return self._kept(numbers)

    def _kept(self, numbers: list[float | None]) -> tuple[float, float] | None:
        """Time and value; None for a line that has none, but without times it stands for a sample all the same."""
        if self.timed and len(numbers) == 2:
            time, value = numbers
            if time is not None and value is not None and np.isfinite(time):
                return time * self.stated.seconds, value
        elif self.timed is False and len(numbers) == 1 and numbers[0] is not None:
            return np.nan, numbers[0]
        self.malformed += 1
        return None if self.timed in (True, None) else (np.nan, np.nan)

    def _headed(self, cells: list[str]) -> None:
        """Take units and the lead from a heading."""
        if len(cells) > 2:
            raise FormatError(
                f"a stream needs a time and one lead a line, or a value; the heading has {len(cells)} names"
            )
        split = [_HEADING.fullmatch(cell) for cell in cells]
        names = [match[1] if match else cell for match, cell in zip(split, cells, strict=True)]
        units = [match[2].strip() if match else "" for match in split]
        name = lead_name(names[-1])
        if name in _LEADS and name != self.stated.lead:
            raise ChannelError(
                f"needs lead {self.stated.lead}; the stream has {name}: pass --lead {name} if that is meant"
            )
        if len(cells) == 2 and units[0] in _SECONDS:
            self.stated = replace(self.stated, seconds=_SECONDS[units[0]])
        if known_unit(units[-1]):
            self._in(units[-1])

    def _noted(self, text: str) -> None:
        """Heed a line such as "# rate: 500"; others are remarks."""
        match = re.fullmatch(r"#\s*(\w[\w ]*?)\s*[:=]\s*(.+?)\s*", text)
        if match is None or self.timed is not None:
            return
        key = match[1].lower()
        if key in RATE_KEYS:
            self._at(declared_rate(stated_rate(match[2], Path("the stream"))))
        elif key in UNIT_KEYS:
            self._in(match[2])
        elif key == "origin":
            self.stated = replace(self.stated, origin=stated_origin(match[2]))

    def _at(self, rate: float) -> None:
        declared = self.stated.rate
        if declared and abs(declared - rate) > 0.01 * rate:
            raise RateError(f"the stream states {rate:g} Hz and --rate says {declared:g}; leave --rate away")
        self.stated = replace(self.stated, rate=rate)

    def _in(self, unit: str) -> None:
        declared = self.stated.unit
        if declared and standard_unit(declared_unit(declared)) != standard_unit(unit):
            raise UnitError(f"the stream states {unit} and --unit says {declared}; leave it away")
        self.stated = replace(self.stated, unit=unit)


def _number(cell: str) -> float | None:
    """A cell as a number, NaN where it is empty, None where it is something else."""
    if cell.lower() in _MISSING:
        return np.nan
    if "_" in cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def fitted_rate(times: np.ndarray, lowest: float = LOWEST_RATE) -> float:
    """The rate of times that jitter and jump, Hz: the slope of time over place, once lost lines have their places.

    Rounded to a whole number where that is as good within the jitter.

    Args:
        times: In seconds, in the order of the lines, `(N,)`.
        lowest: Rate that the stream must have at least, Hz; that of an ECG.

    Raises:
        RateError: There are fewer than two, or they do not rise as those of such a stream.
    """
    if len(times) < 2:
        raise RateError("a rate needs two lines with times or more; pass --rate HZ")
    lag = max(1, min(_LAG, len(times) // 4))
    apart = (times[lag:] - times[:-lag]) / lag
    step = float(np.median(apart))
    if not step > 0 or 1 / step < lowest:
        raise RateError(
            f"the times of the stream rise by {step:g} s a line, and {lowest:g} lines a second are the least that is "
            f"needed; head the column time [ms] if they are milliseconds, or leave it away and pass --rate HZ"
        )
    step = float(apart[np.abs(apart - step) <= 0.5 * step / lag].mean())  # without those that hold a gap
    for track in (1 / _LAG, 1 / _LAG, TRACK):  # the first steps may be 1 % off, which only a quick clock follows
        grid, rows = Grid(1 / step, anchor(times, 1 / step), track), []
        for time in times.tolist():
            rows += list(grid.put(time, time))
        place, when = np.array([*rows, *grid.end()]).T
        step, start = (float(item) for item in np.polyfit(place, when, 1))
    spread = float(np.median(np.abs(when - start - step * place)))
    slack = 1e-9 + 2 * spread / (step * len(times))
    rate = 1 / step
    return float(round(rate)) if abs(rate - round(rate)) <= slack * rate else rate


def anchor(times: np.ndarray, rate: float) -> float:
    """When the first line was recorded, in seconds: its time, freed of jitter by those that follow.

    Args:
        times: In seconds, in the order of the lines, `(N,)`.
        rate: Hz.
    """
    first = times[:_LAG]
    middle = float(np.median(first - np.arange(len(first)) / rate))
    return middle if abs(middle - first[0]) <= 1 / rate else float(first[0])


class Grid:
    """Gives every line its place, counted from the first.

    Args:
        rate: Hz.
        first: Time of the first line in seconds; None for lines without times, which follow each other.
        track: Part of a line's deviation by which the clock is followed.
    """

    def __init__(self, rate: float, first: float | None, track: float = TRACK) -> None:
        self.rate, self.late, self.next = rate, 0, 0
        self._origin, self._track, self._behind = first, track, 0
        self._ahead: deque[tuple[float, float]] = deque()

    def put(self, time: float, value: float) -> Iterator[tuple[int, float]]:
        """Places and values of the lines that can be placed now; a place before `next` is that of a late line."""
        self._ahead.append((time, value))
        if self._origin is None or len(self._ahead) > _FOLLOWERS:
            yield self._placed()

    def end(self) -> Iterator[tuple[int, float]]:
        """The lines that waited for those after them."""
        while self._ahead:
            yield self._placed()

    def time_of(self, place: int) -> float | None:
        """The recorder's own time of a place near the last one, in seconds; None without times."""
        return None if self._origin is None else self._origin + place / self.rate

    def _placed(self) -> tuple[int, float]:
        time, value = self._ahead[0]
        off, jump = self._jump()
        self._ahead.popleft()
        if jump < 0:
            self.late, self._behind = self.late + 1, self._behind + 1
            if self._behind <= _SET_BACK_SECONDS * self.rate:
                return self.next + jump, value
            self._origin, off, jump = time - self.next / self.rate, 0.0, 0
        place = self.next + jump
        self.next, self._behind = place + 1, 0
        if self._origin is not None:
            self._origin += self._track * float(np.clip(off - jump, -0.5, 0.5)) / self.rate
        return place, value

    def _jump(self) -> tuple[float, int]:
        """Samples by which the next line is off its place, and how many of them the lines after it bear out."""
        if self._origin is None:
            return 0.0, 0
        first = (self._ahead[0][0] - self._origin) * self.rate - self.next
        if abs(first) <= 0.5:
            return first, 0
        off = sorted((time - self._origin) * self.rate - self.next - j for j, (time, _) in enumerate(self._ahead))
        mild = off[:2][-1] if first > 0 else off[-2:][0]  # all lines but one are off by so much or more
        if mild * first <= 0 or round(mild) == 0:
            return first, 0
        # a late line has a place of its own; how late the lines after it are says nothing of it
        return first, round(min(mild, first)) if first > 0 else round(first)
