"""One function over every record of a cohort, on several processes, in order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from stethos.errors import CohortError, StethosError
from stethos.types import Cohort, Record

Result = TypeVar("Result")
Opener = Callable[[int], Record]
Progress = Callable[[int, int], None]

# Starting a process costs about a second of imports: so many records must wait for each before it pays.
_RECORDS_PER_WORKER = 256
_CHUNK = 8


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What came of one record.

    Args:
        row: Row number in the cohort.
        value: What the function returned; None where the record was refused.
        reason: Why it was refused; empty where it was not.
    """

    row: int
    value: Result | None
    reason: str = ""


def each_record(
    cohort: Cohort,
    work: Callable[[Record], Result],
    rows: Sequence[int] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome[Result]]:
    """Apply a function to records; yields in the order of `rows` whatever the number of processes.

    A record that cannot be read, or that the function refuses with a `StethosError`, yields its reason.

    Args:
        cohort: Whose records.
        work: Record → result; both must pickle where there is more than one process.
        rows: Row numbers; None for all.
        workers: Processes; 1 works in this one; None for what suits the machine and the number of records.
        progress: Called with (records done, records in all).

    Raises:
        CohortError: A process died, most often for lack of memory.
    """
    chosen = range(len(cohort)) if rows is None else rows
    count = _suitable(len(chosen)) if workers is None else workers
    outcomes = _inline(cohort, work, chosen) if count <= 1 else _pooled(cohort, work, chosen, count)
    for done, outcome in enumerate(outcomes, start=1):
        yield outcome
        if progress is not None:
            progress(done, len(chosen))


def _suitable(records: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, records // _RECORDS_PER_WORKER))


def _attempt(open_record: Opener, work: Callable[[Record], Result], number: int, row: int) -> Outcome[Result]:
    try:
        return Outcome(row, work(open_record(number)))
    except (StethosError, OSError) as error:
        return Outcome(row, None, str(error) or type(error).__name__)


def _inline(cohort: Cohort, work: Callable[[Record], Result], rows: Sequence[int]) -> Iterator[Outcome[Result]]:
    assert cohort.index is not None
    return (_attempt(cohort.open, work, int(cohort.index[row]), row) for row in rows)


def _pooled(
    cohort: Cohort, work: Callable[[Record], Result], rows: Sequence[int], workers: int
) -> Iterator[Outcome[Result]]:
    assert cohort.index is not None
    # spawn: a forked copy of a process that has threads (polars, torch) can hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (cohort.open, work))
    waiting: deque[Future[list[Outcome[Result]]]] = deque()
    try:
        # bounded: results that the reader has not taken yet stay few
        for first in range(0, len(rows), _CHUNK):
            chunk = [(int(cohort.index[row]), row) for row in rows[first : first + _CHUNK]]
            waiting.append(pool.submit(_work_on, chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        yield from chain.from_iterable(future.result() for future in waiting)
    except BrokenProcessPool:
        raise CohortError(
            f"a worker process died: for lack of memory (use fewer workers than {workers}), or because the script "
            'that was started does its work outside of `if __name__ == "__main__":`'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[Opener, Callable] | None = None


def _begin(open_record: Opener, work: Callable) -> None:
    global _task  # noqa: PLW0603 (sent once to each process: the table of a large cohort is large)
    _task = (open_record, work)


def _work_on(chunk: list[tuple[int, int]]) -> list[Outcome]:
    assert _task is not None
    return [_attempt(*_task, number, row) for number, row in chunk]
