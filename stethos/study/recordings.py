"""Recordings as a source: a file, or a folder that grows while it is watched."""

from __future__ import annotations

import heapq
import os
import re
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stethos.errors import FormatError, StethosError
from stethos.io import read
from stethos.study.seen import SeenNames
from stethos.study.source import LACKING, Block, Cut, Missing, refuse_name
from stethos.types import Origin, Record, Signal

SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff", ".aifc")
LOOK_SECONDS = 2.0  # between two looks at a folder
_AT_A_TIME = 1000  # new files that are held in memory
_STATED = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)[T_ -]?(\d\d)[-:_.]?(\d\d)[-:_.]?(\d\d)(?!\d)")


@dataclass(frozen=True, eq=False)
class _Opened:
    """A recording that is being heard: one channel, its start in seconds, and the next sample."""

    file: str
    sound: Signal
    start: float
    stated: bool
    origin: Origin
    sample: int = 0


class Recordings:
    """Sound files, each once, in the order of their names, with the numbers in them taken as numbers.

    A file of a folder that is followed is complete when its size is the same at two looks, 2 s apart. Hidden files and
    those that do not end as sounds do are passed over. A file that cannot be read is missing sound, with the reason.
    Where recordings state when they began, or names do (20260301_120000), so is the time between two of them that
    exceeds `gap`.

    Args:
        name: Of the source.
        path: A file, or a folder that is looked through with all below it.
        cut: Into blocks.
        follow: Whether to wait for more files; never for more of a single file.

    Raises:
        RecipeError: The name cannot be used.
        FormatError: There is no such file or folder.
    """

    def __init__(self, name: str, path: Path, cut: Cut, follow: bool = True) -> None:
        refuse_name(name)
        path = Path(path)
        if not path.exists():
            raise FormatError(f"{path}: there is no such file or folder; check the path")
        self.name, self.cut = name, cut
        self._alone = "" if path.is_dir() else path.name
        self._folder = path if path.is_dir() else path.parent
        self._follow = follow and not self._alone
        self._opened: _Opened | None = None
        self._resumed: dict[str, Any] | None = None
        self._queue: deque[str] = deque()
        self._sizes: dict[str, int] = {}  # of files that are not complete yet
        self._looked = -float("inf")
        self._recent: list[str] = []  # heard, not on the list of seen names yet
        self._told: list[str] = []  # the part of them that the state tells
        self._end, self._end_stated = 0.0, False  # of the last recording
        self._since: float | None = None  # when the last file was begun, or one was first asked for
        self._usual = cut.seconds  # of the last file
        self._gone = self._over = self._silent = False

    @property
    def finished(self) -> bool:
        """Whether all files were heard and no more are waited for."""
        return self._over

    @property
    def waiting(self) -> int:
        """Files that are there and not complete, or not heard yet."""
        return len(self._sizes) + len(self._queue)

    def next(self, now: float) -> Block | Missing | None:
        """The next block, or what is missing before it; None where there is no complete file for now."""
        if self._opened is not None:
            return self._block()
        if self._resumed is None and not self._queue:
            missing = self._look(now) if self._due(now) else None
            if missing or not self._queue:
                return missing or self._silence(now)
        self._since, self._silent = now, False
        return self._begin() or self._block()

    def _due(self, now: float) -> bool:
        """Whether to look again; at once where the clock was put back."""
        return not self._follow or not 0 <= now - self._looked < LOOK_SECONDS

    def _look(self, now: float) -> Missing | None:
        """Queue the complete files that were not heard; a folder that is gone is said once."""
        self._looked = now
        if not self._folder.is_dir():
            said, self._gone, self._over, self._since = self._gone, True, not self._follow, now
            return None if said else Missing(f"{self._folder}: the folder is gone")
        self._gone = False
        new = self._seen.unseen(self._present()) - set(self._recent)
        sizes = {name: size for name in heapq.nsmallest(_AT_A_TIME, new, _in_order) if (size := self._size(name)) >= 0}
        whole = [name for name, size in sizes.items() if not self._follow or 0 < size == self._sizes.get(name)]
        self._queue.extend(whole)
        self._sizes = {name: size for name, size in sizes.items() if name not in set(whole)}
        self._over = not self._follow and not whole
        return None

    def _silence(self, now: float) -> Missing | None:
        """What is said once when no file has come for long: twice the last one's length and the gap."""
        self._since = now if self._since is None else self._since
        longest = self.cut.gap + 2 * (self._usual + LOOK_SECONDS)
        if not self._follow or self._silent or self._gone or now - self._since <= longest:
            return None
        self._silent = True
        return Missing(f"no new file for {now - self._since:.0f} s")

    def _present(self) -> set[str]:
        if self._alone:
            return {self._alone} if (self._folder / self._alone).exists() else set()
        found: set[str] = set()
        for top, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            sounds = [name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
            found.update((Path(top) / name).relative_to(self._folder).as_posix() for name in sounds)
        return found

    def _size(self, name: str) -> int:
        """In bytes; −1 where it is gone."""
        try:
            return (self._folder / name).stat().st_size
        except OSError:
            return -1

    def _begin(self) -> Missing | None:
        """Open the next file, or the one that was being heard; what is missing before it."""
        resumed, self._resumed = self._resumed, None
        file = resumed["file"] if resumed else self._queue.popleft()
        try:
            record = read(self._folder / file)
            sound = record.pick(self.cut.channel) if self.cut.channel else _first(record)
        except StethosError as error:
            self._recent.append(file)
            return Missing(str(error), file)
        stated = _stated_start(record, file)
        start = self._end if stated is None else stated
        opened = _Opened(file, sound, start, stated is not None, record.origin)
        if resumed:
            self._opened = replace(opened, start=resumed["start"], sample=resumed["sample"])
            return None
        return self._missing_before(opened)

    def _missing_before(self, opened: _Opened) -> Missing | None:
        """Begin a file unless it is too short; what is missing up to there."""
        duration, known = opened.sound.duration, opened.stated and self._end_stated
        self._usual = max(duration, self.cut.seconds)
        jump = opened.start - self._end if known else 0.0
        if duration < (1 - LACKING) * self.cut.seconds:
            self._recent.append(opened.file)
            return Missing(f"holds {duration:.3g} s, a block takes {self.cut.seconds:g} s", opened.file, duration)
        self._opened, self._end, self._end_stated = opened, opened.start, opened.stated
        if jump > self.cut.gap:
            return Missing(f"nothing was recorded for {jump:.1f} s before it", opened.file, jump)
        return None

    def _block(self) -> Block:
        """The next block of the opened file, which is closed after its last one."""
        opened = self._opened
        assert opened is not None
        sound, sample = opened.sound, opened.sample
        length, rate = round(self.cut.seconds * sound.rate), sound.rate
        part = replace(sound, values=sound.values[:, sample : sample + length])
        rest = sound.values.shape[1] - sample - part.values.shape[1]
        last = rest < (1 - LACKING) * length
        offset = sample / rate
        self._opened = None if last else replace(opened, sample=sample + length)
        self._end = opened.start + (sound.duration if last else (sample + length) / rate)
        self._end_stated = opened.stated
        if last:
            self._recent.append(opened.file)
        left_out = rest / rate if last else 0.0
        return Block(part, opened.start + offset, opened.stated, opened.file, offset, left_out, opened.origin)

    def to_json(self) -> dict[str, Any]:
        """Where it stands, as plain values."""
        self._told = self._recent.copy()
        opened = self._opened
        at = {"file": opened.file, "sample": opened.sample, "start": opened.start} if opened else self._resumed
        return {"at": at, "recent": self._told, "end": self._end, "end_stated": self._end_stated}

    def restore(self, saved: dict[str, Any] | None, folder: Path) -> None:
        """Go on from there, or begin."""
        self._seen = SeenNames(Path(folder) / "seen" / f"{self.name}.txt")
        if saved:
            self._resumed, self._recent = saved["at"], list(saved["recent"])
            self._end, self._end_stated = float(saved["end"]), bool(saved["end_stated"])

    def settle(self) -> None:
        """Put names that the state tells on the list of those seen."""
        self._seen.add(self._told)
        self._recent = self._recent[len(self._told) :]
        self._told = []


def _first(record: Record) -> Signal:
    """The first channel of a record."""
    return record.signals[0].pick(record.signals[0].channels[0])


def _stated_start(record: Record, file: str) -> float | None:
    """When a recording began in POSIX seconds, by its own word or its name's; times without a zone count as UTC."""
    found = _STATED.search(Path(file).name)
    when = record.when
    if when is None and found:
        try:
            when = datetime(*(int(part) for part in found.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
        except ValueError:
            return None
    if when is None:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _in_order(name: str) -> tuple[list[str | int], str]:
    """A name with its numbers as numbers, so that 9 comes before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name
