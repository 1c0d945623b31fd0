"""A monitor: one line about every block of sound as it comes, from any number of sources, for months.

    source.next → Judging.said → lines → state.json

A block is judged, its lines are given, and only then is it put down as dealt with. So a monitor that is stopped in
any way goes on with the same alarms as if it had not been; one that is killed outright may say the lines of its last
second twice and loses none. The memory it takes does not grow.

Every line is a dictionary of plain values with `status`, `time` (UTC) and, but for the heartbeat, `source`:

    ok          the block was judged; `score`, `above` (the threshold), `excursion` (an alarm went off, not over yet)
    alarm       the same, and an alarm goes off at it
    sensor      the block says nothing of the machine, with the `reason`; it counts neither for an alarm nor against
    drift       the usual score or level has moved, with the `reason`
    gap         sound is missing, with the `reason`
    rebaseline  maintenance was reported, with its `reason`
    heartbeat   the monitor is alive; counts by source, and `ended` in the last line of all
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stethos.errors import RecipeError, StethosError
from stethos.study.judging import Judging, Line, Model, Rules, moment
from stethos.study.memory import new_reports, new_state, read_state, write_state
from stethos.study.source import Source

_IDLE_SECONDS = 0.2  # to wait where no source has anything
_SAVE_SECONDS = 1.0  # between two writes of the state where nothing but "ok" is said


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Pace:
    """Time, as the monitor knows it.

    Args:
        clock: POSIX time in seconds; it may jump, backwards too.
        wait: Waits for so many seconds, when no source has anything.
        stopped: Whether to stop after this block; `stethos.train.interrupt.stop_request` gives one.
        heartbeat: Seconds between two lines that say it is alive.
    """

    clock: Callable[[], float] = time.time
    wait: Callable[[float], None] = time.sleep
    stopped: Callable[[], bool] = _never
    heartbeat: float = 60.0


def watch(
    sources: Sequence[Source],
    model: Model | Mapping[str, Model],
    rules: Rules | Mapping[str, Rules],
    state: Path,
    pace: Pace | None = None,
) -> Iterator[Line]:
    """Judge what the sources give until all are finished or it is stopped.

    Args:
        sources: Of different names; they take turns, block by block.
        model: One for all, or source name → model.
        rules: One for all, or source name → rules.
        state: Folder that remembers how far it has come; the same folder goes on from there. For one monitor at a time.
        pace: The clock, how to stop, and the heartbeat; real time by default.

    Returns:
        One line a block, gap, onset of drift, report of maintenance, and heartbeat.

    Raises:
        RecipeError: Two sources have one name, or one has no model or rules.
        RunError: The state is broken or of another version.
        FormatError: The state cannot be written at the start; later that is said in the heartbeat.
    """
    _refuse_unnamed(sources, model, rules)
    judges = {each.name: Judging(each.name, _of(model, each.name), _of(rules, each.name)) for each in sources}
    monitor = _Monitor(sources, judges, Path(state), pace or Pace())
    monitor.write()
    return monitor.lines()


class _Monitor:
    """The sources, what is said of them, and what was last put down as dealt with."""

    def __init__(self, sources: Sequence[Source], judges: dict[str, Judging], state: Path, pace: Pace) -> None:
        self.sources, self.judges, self.state, self.pace = sources, judges, state, pace
        self.beat = self.saved_at = pace.clock()
        self.unsaved, self.dirty = "", False
        self.dealt: dict[str, Any] = read_state(state) or new_state(state)
        for source in sources:
            known = self.dealt["sources"].get(source.name)
            source.restore(known["source"] if known else None, state)
            if known:
                judges[source.name].restore(known["judging"])
            self.commit(source)

    def lines(self) -> Iterator[Line]:
        """All that is said; however it ends, what was dealt with is put down."""
        try:
            yield from self._pieces()
            yield self._alive(ended="stopped" if self.pace.stopped() else "finished")
        finally:
            self.save(urgent=True)

    def _pieces(self) -> Iterator[Line]:
        """Until all sources are finished, or it is stopped."""
        while not self.pace.stopped():
            yield from self._maintenance()
            busy = False
            for source in self.sources:
                piece = None if self.pace.stopped() else source.next(self.pace.clock())
                if piece is not None:
                    busy = True
                    yield from self._told(source, self.judges[source.name].said(piece, self.pace.clock()))
                yield from self._heartbeat()
            if all(source.finished for source in self.sources):
                break
            if not busy:
                self.save()
                self.pace.wait(_IDLE_SECONDS)

    def _told(self, source: Source, lines: list[Line]) -> Iterator[Line]:
        """Give the lines about a piece; it is dealt with once the last one is given."""
        *first, last = lines
        yield from first
        self.commit(source)
        yield last
        self.save(urgent=any(line["status"] != "ok" for line in lines))

    def _maintenance(self) -> Iterator[Line]:
        """Heed what was reported since the last block, all of it before any of it is said."""
        new, heeded = new_reports(self.state, self.dealt["heeded"])
        said: list[Line] = []
        for report in new:
            for source in self.sources:
                if not report["sources"] or source.name in report["sources"]:
                    said += self.judges[source.name].restart(report["reason"], self.pace.clock())
                    self.commit(source)
        self.dealt["heeded"] = heeded
        yield from said
        self.save(urgent=bool(said))

    def _heartbeat(self) -> Iterator[Line]:
        """A line where it is time; a clock that was put back starts the time anew."""
        now = self.pace.clock()
        if now - self.beat >= self.pace.heartbeat:
            yield self._alive()
        if not 0 <= now - self.beat < self.pace.heartbeat:
            self.beat = now

    def _alive(self, ended: str = "") -> Line:
        line: Line = {"status": "heartbeat", "time": moment(self.pace.clock())}
        line |= {"ended": ended} if ended else {}
        line |= {"unsaved": self.unsaved} if self.unsaved else {}
        return line | {"sources": {each.name: self.judges[each.name].summary(each) for each in self.sources}}

    def commit(self, source: Source) -> None:
        """Put down that what a source gave so far is dealt with."""
        self.dealt["sources"][source.name] = {
            "source": source.to_json(),
            "judging": self.judges[source.name].to_json(),
        }
        self.dirty = True

    def save(self, urgent: bool = False) -> None:
        """Write the state where it changed, at most once a second unless it is urgent; a failure stops nothing."""
        due = urgent or not 0 <= self.pace.clock() - self.saved_at < _SAVE_SECONDS
        if not (self.dirty and due):
            return
        try:
            self.write()
            self.unsaved = ""
        except StethosError as error:
            self.unsaved = str(error)

    def write(self) -> None:
        """Write the state, all or nothing."""
        write_state(self.state, self.dealt)
        for source in self.sources:
            source.settle()
        self.dirty, self.saved_at = False, self.pace.clock()


def _refuse_unnamed(sources: Sequence[Source], *given: Any) -> None:
    names = [source.name for source in sources]
    if len(set(names)) != len(names) or not names:
        raise RecipeError(f"a monitor needs sources of different names; got {', '.join(names) or 'none'}")
    for name in names:
        if any(isinstance(each, Mapping) and name not in each for each in given):
            raise RecipeError(f"the source {name} needs a model and rules of its own; add them under its name")


def _of(given: Any, name: str) -> Any:
    return given[name] if isinstance(given, Mapping) else given
