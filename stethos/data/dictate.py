"""Summaries of many patients, written by a language model and held to the patients' facts.

Each patient's facts are one question, and each answer is kept under `private/` the moment it comes: a run that was
stopped or killed goes on without asking again, at another server too. A patient without an answer, or whose answer does
not stand up to the facts, has the template's summary; how many and why is in the account.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stethos.data.answers import Answers, key_of
from stethos.errors import EndpointError
from stethos.io.endpoint import Endpoint, Question, Reply
from stethos.io.files import write_atomic
from stethos.text.chart import Chart, Summary
from stethos.text.faithful import NO_FACTS, SCHEMA, Checked, checked, longest, messages, template

ACCOUNT = "language_model.json"
ANSWERS = "language_model.jsonl"
_AT_FIRST = 3
_IN_A_ROW = 20
_LOG = logging.getLogger("stethos")


@dataclass(frozen=True)
class Account:
    """How summaries came about; holds nothing of any patient.

    Args:
        url: Of the server.
        model: As it was asked for.
        seed: That it was given.
        budget: Tokens of a summary, at most.
        patients: Whose summaries there are.
        written: Patients whose summary is the model's.
        template: Patients whose summary is the template's, by reason.
        asked: Questions put in this run; patients with the same facts are one question.
        kept: Questions that had been answered before.
        spoiled: Lines of the kept answers that could not be read.
        accepted: Sentences of the model that stand.
        dropped: Those that do not, by reason.
        servers: Answers used, by the server and the model that it said it is.
        tokens_read: Tokens of the questions, as the servers tell; of the answers used, from this run or before.
        tokens_written: Tokens of the answers, likewise.
        untold: Answers for which no tokens were told.
    """

    url: str
    model: str
    seed: int
    budget: int
    patients: int
    written: int
    template: Mapping[str, int]
    asked: int
    kept: int
    spoiled: int
    accepted: int
    dropped: Mapping[str, int]
    servers: Mapping[str, int]
    tokens_read: int
    tokens_written: int
    untold: int

    def lines(self) -> list[str]:
        """The account as text."""
        tokens = f"{self.tokens_read} tokens read, {self.tokens_written} written"
        untold = f", not told for {self.untold}" if self.untold else ""
        return [
            f"{self.model} at {self.url} wrote {self.written} of {self.patients} summaries",
            f"  questions: {self.asked} put now, {self.kept} answered before; {tokens}{untold}",
            f"  sentences: {self.accepted} stand, {sum(self.dropped.values())} dropped",
            *(f"    dropped: {count}: {reason}" for reason, count in self.dropped.items()),
            *(f"  template instead: {count}: {reason}" for reason, count in self.template.items()),
            *([f"  {self.spoiled} kept answers could not be read"] if self.spoiled else []),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def dictate(
    charts: Sequence[Chart],
    endpoint: Endpoint,
    folder: Path,
    budget: int,
    count: Callable[[str], int],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Summary], Account]:
    """A summary of each chart, in the order of the charts whatever the order of the answers.

    Args:
        charts: Whose facts are told.
        endpoint: Who is asked, and how many questions at once.
        folder: Takes `language_model.json`, the account, and `private/language_model.jsonl`, the answers.
        budget: Tokens of a summary, at most.
        count: Tokens of a text.
        progress: Called with (patients done, patients in all).

    Raises:
        EndpointError: The first three questions, or later twenty in a row, had no answer for a reason that the next
            one would meet too: nobody is there, or the server refuses the caller or does not know the model.
        FormatError: The answers cannot be kept.
    """
    questions = [
        Question(messages(chart, budget), SCHEMA, longest(budget)) if chart.facts else None for chart in charts
    ]
    keys = [key_of(each, endpoint.model, endpoint.seed) if each else "" for each in questions]
    answers = Answers(Path(folder) / "private" / ANSWERS)
    open_ = {key: each for key, each in zip(keys, questions, strict=True) if each and key not in answers}
    _LOG.info("%s at %s is asked %d questions", endpoint.model, endpoint.url, len(open_))
    silent = _ask(open_, endpoint, answers, _shown(keys, open_, progress))
    results = [_one(chart, key, answers, silent, (budget, count)) for chart, key in zip(charts, keys, strict=True)]
    used = {key: answers[key] for key in keys if key in answers}
    account = _account(results, endpoint, budget, used.values())
    account = replace(account, asked=len(open_), kept=len(used.keys() - open_.keys()), spoiled=answers.spoiled)
    write_atomic(Path(folder) / ACCOUNT, json.dumps(asdict(account), indent=2, ensure_ascii=False).encode())
    return [each.summary for each in results], account


def _one(
    chart: Chart, key: str, answers: Answers, silent: Mapping[str, str], length: tuple[int, Callable[[str], int]]
) -> Checked:
    """A chart's summary: of its answer where there is one."""
    if not key:
        return template(chart, *length, NO_FACTS)
    if key in silent:
        return template(chart, *length, f"no answer: {silent[key]}")
    result = checked(chart, answers[key].text, *length)
    if result.template and answers[key].cut:
        return replace(result, template="the answer was cut off")
    return result


def _shown(
    keys: Sequence[str], open_: Mapping[str, Question], progress: Callable[[int, int], None] | None
) -> Callable[[str], None]:
    """Tells the progress, in patients, whenever a question is done with."""
    patients = Counter(keys)
    done = len(keys) - sum(patients[key] for key in open_)

    def tell(key: str = "") -> None:
        nonlocal done
        done += patients[key] if key else 0
        if progress is not None:
            progress(done, len(keys))

    tell()
    return tell


def _ask(
    open_: Mapping[str, Question], endpoint: Endpoint, answers: Answers, done: Callable[[str], None]
) -> dict[str, str]:
    """Ask every open question; returns those without an answer, each with the kind of reason."""
    silent: dict[str, str] = {}
    watch = _Watch(_AT_FIRST if len(answers) else min(_AT_FIRST, len(open_)))

    def ask(key: str, stop: threading.Event) -> None:
        if not stop.is_set():
            answers.keep(key, endpoint.ask(open_[key], stop))

    with _asking(endpoint.at_once) as (pool, stop):
        futures: dict[Future[None], str] = {pool.submit(ask, key, stop): key for key in open_}
        for future in as_completed(futures):
            error = future.exception()
            if error is not None and not isinstance(error, EndpointError):
                raise error
            watch.saw(error)
            if error is not None:
                silent[futures[future]] = error.kind
            done(futures[future])
    return silent


@contextmanager
def _asking(at_once: int) -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """Threads that ask; when it is left early the answers under way are still waited for and kept, and no more."""
    pool, stop = ThreadPoolExecutor(at_once, "ask"), threading.Event()
    try:
        yield pool, stop
    except BaseException:
        _LOG.info("stopping: waiting for the answers under way")
        raise
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


class _Watch:
    """Whether it still makes sense to ask."""

    def __init__(self, at_first: int) -> None:
        self.at_first = at_first
        self.answered = False
        self.in_a_row = 0

    def saw(self, error: EndpointError | None) -> None:
        """Take note of a question that is done with; raises where the next ones have no better chance."""
        self.answered = self.answered or error is None
        self.in_a_row = self.in_a_row + 1 if error is not None and error.lasting else 0
        most = _IN_A_ROW if self.answered else self.at_first
        if error is not None and self.in_a_row >= most:
            raise EndpointError(
                f"{self.in_a_row} patients in a row had no answer, the last because: {error}; what was answered is "
                "kept, and the same command goes on from there",
                error.kind,
                error.lasting,
            ) from error


def _account(results: Sequence[Checked], endpoint: Endpoint, budget: int, used: Collection[Reply]) -> Account:
    """What came of all questions; how many were put now is not known here."""
    return Account(
        url=endpoint.url,
        model=endpoint.model,
        seed=endpoint.seed,
        budget=budget,
        patients=len(results),
        written=sum(not each.template for each in results),
        template=_counted([{each.template: 1} for each in results if each.template]),
        asked=0,
        kept=0,
        spoiled=0,
        accepted=sum(each.accepted for each in results),
        dropped=_counted([each.dropped for each in results]),
        servers=_counted([{f"{reply.model or 'unnamed'} at {reply.url}": 1} for reply in used]),
        tokens_read=sum(reply.read or 0 for reply in used),
        tokens_written=sum(reply.written or 0 for reply in used),
        untold=sum(reply.read is None or reply.written is None for reply in used),
    )


def _counted(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Sums by name, the largest first."""
    total = Counter[str]()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items(), key=lambda entry: (-entry[1], entry[0])))
