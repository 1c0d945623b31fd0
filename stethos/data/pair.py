"""Recordings paired with their patients' records: each with a text that was written before it began.

A text made for a recording wins; otherwise it is the latest of the subject. What a text says must end
(`until`) not after the recording starts: a text from later may tell the answer. Every step counts what it loses.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stethos.data.cohort import open_cohort
from stethos.data.columns import as_text, as_times, read_table
from stethos.data.write import write_table
from stethos.errors import CohortError
from stethos.types import Cohort

SUMMARIES = "summaries.csv"
_NO_SUBJECT = "their subject has no text"
_NO_DATE = "not known whether a text is older than the recording, for lack of a date"
_TOO_LATE = "no text from before the recording"
_EMPTY = "the text is empty"


@dataclass(frozen=True)
class Summary:
    """A patient's record as text.

    Args:
        key: Of the recording it was made for, or else its subject.
        subject: Whose.
        until: Nothing later is in it; NaT where not known.
        text: What it says.
    """

    key: str
    subject: str
    until: np.datetime64
    text: str


@dataclass(frozen=True)
class Paired:
    """What pairing wrote, and what it lost.

    Args:
        table: The `cohort.csv`.
        recordings: Recordings there were.
        kept: Recordings with a text.
        subjects: Subjects among those.
        lost: (reason, recordings) at each step, in order.
        own: Texts that were made for their recording.
        unused: Texts whose subject has no recording.
        notes: What else a person should know, a sentence each.
    """

    table: Path
    recordings: int
    kept: int
    subjects: int
    lost: tuple[tuple[str, int], ...]
    own: int
    unused: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Every step and what it lost, as text."""
        return [
            f"{self.table}: {self.kept} of {self.recordings} recordings have a text ({self.subjects} subjects)",
            *(f"  lost: {count}: {reason}" for reason, count in self.lost),
            f"  made for their recording: {self.own}; the subject's latest: {self.kept - self.own}",
            f"  texts of subjects without a recording: {self.unused}",
            *(f"  {note}" for note in self.notes),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def pair(waves: Path, records: Path, out: Path, *, allow_undated: bool = False, subject_digits: bool = False) -> Paired:
    """Give each recording of a cohort the text of its patient's record, in the column `report`.

    Args:
        waves: Folder of the cohort.
        records: A folder with `summaries.csv`, or a CSV; columns subject and text, optionally key (or id) of the
            recording a text was made for, and until, the date that nothing in it is later than.
        out: Where the new `cohort.csv` goes; its paths point at the recordings where they are.
        allow_undated: Whether a text is taken where it or the recording has no date. It may have been written
            after the recording and say how things turned out.
        subject_digits: Whether subjects are the same whose digits are, without leading zeros: "p000123", "123".

    Raises:
        CohortError: The texts lack a column, two subjects have the same digits, the folder is that of the cohort,
            or no recording finds a text.
    """
    if Path(out).absolute() == Path(waves).absolute():
        raise CohortError(f"{out}: pairing would write over the cohort it reads; choose another folder")
    cohort, texts = open_cohort(waves), _texts(Path(records))
    spelt = _spelling(cohort, texts, subject_digits)
    chosen, fates = _choose(cohort, texts, spelt, allow_undated)
    lost = tuple((fate, count) for fate in (_NO_SUBJECT, _NO_DATE, _TOO_LATE, _EMPTY) if (count := fates[fate]))
    kept = [row for row, text in enumerate(chosen) if text is not None]
    notes = _notes(cohort, texts, subject_digits)
    if not kept:
        why = "; ".join([f"{count}: {reason}" for reason, count in lost] + notes)
        raise CohortError(f"{records}: no recording of {waves} finds a text ({why}); check subjects and dates")
    found = [text for text in chosen if text is not None]
    table = write_table(_with_texts(cohort, kept, found), out)
    names, whose = cohort.rows["id"][kept], {spelt(subject) for subject in cohort.subjects}
    own = sum(text.key == name for text, name in zip(found, names, strict=True))
    unused = sum(spelt(text.subject) not in whose for text in texts)
    subjects = len(np.unique(cohort.subjects[kept]))
    return Paired(table, len(cohort), len(kept), subjects, lost, own, unused, tuple(notes))


def _texts(records: Path) -> list[Summary]:
    """The texts of a folder or table, in its order."""
    path = records / SUMMARIES if records.is_dir() else records
    table = read_table(path)
    for name in ("subject", "text"):
        if name not in table.columns:
            raise CohortError(f"{path}: needs the column {name}; it has {', '.join(table.columns)}")
    columns = {name: as_text(table[name]) for name in table.columns}
    unknown = np.full(len(table), None, dtype=object)
    keys = columns.get("key", columns.get("id", unknown))
    until = as_times(columns.get("until", unknown), f"{path}, column until")
    rows = zip(keys, columns["subject"], until, columns["text"], strict=True)
    return [Summary(key or subject or "", subject or "", moment, text or "") for key, subject, moment, text in rows]


def _as_is(subject: str) -> str:
    return str(subject)


def _by_digits(subject: str) -> str:
    """A subject's digits without leading zeros; one without digits stays as it is."""
    digits = re.sub(r"\D", "", str(subject))
    return (digits.lstrip("0") or "0") if digits else str(subject)


def _spelling(cohort: Cohort, texts: Iterable[Summary], subject_digits: bool) -> Callable[[str], str]:
    """What of a subject's spelling counts."""
    if not subject_digits:
        return _as_is
    _refuse_alike(cohort.subjects, "the cohort")
    _refuse_alike((text.subject for text in texts), "the texts")
    return _by_digits


def _refuse_alike(subjects: Iterable[str], what: str) -> None:
    """Raise where two subjects have the same digits."""
    first: dict[str, str] = {}
    for subject in subjects:
        other = first.setdefault(_by_digits(subject), subject)
        if other != subject:
            raise CohortError(f"{what}: {other} and {subject} have the same digits; leave --subject-digits away")


def _choose(
    cohort: Cohort, texts: Iterable[Summary], spelt: Callable[[str], str], allow_undated: bool
) -> tuple[list[Summary | None], Counter[str]]:
    """The text of each recording, and how many recordings were lost for which reason."""
    of_subject: dict[str, list[Summary]] = defaultdict(list)
    for text in texts:
        of_subject[spelt(text.subject)].append(text)
    chosen: list[Summary | None] = []
    fates: Counter[str] = Counter()
    for name, subject, when in zip(cohort.rows["id"], cohort.subjects, cohort.column("when"), strict=True):
        held = of_subject.get(spelt(subject), [])
        usable = [text for text in held if _before(text, when, allow_undated)]
        filled = [text for text in usable if text.text]
        if not filled:
            fates[_fate(held, usable, when)] += 1
        # of equally late texts the last in the table
        ranked = sorted(filled, key=lambda text: (text.key == name, not np.isnat(text.until), text.until))
        chosen.append(ranked[-1] if ranked else None)
    return chosen, fates


def _before(text: Summary, when: np.datetime64, allow_undated: bool) -> bool:
    """Whether a text is from before a recording, or may be where that is not known and allowed."""
    if np.isnat(text.until) or np.isnat(when):
        return allow_undated
    return bool(text.until <= when)


def _fate(held: list[Summary], usable: list[Summary], when: np.datetime64) -> str:
    """Why a recording has no text."""
    if usable:
        return _EMPTY
    if not held:
        return _NO_SUBJECT
    undated = np.isnat(when) or any(np.isnat(text.until) for text in held)
    return _NO_DATE if undated else _TOO_LATE


def _with_texts(cohort: Cohort, kept: list[int], found: list[Summary]) -> Cohort:
    reports = np.array([text.text for text in found], dtype=object)
    until = [None if np.isnat(text.until) else str(text.until) for text in found]
    return cohort.take(kept).with_columns(report=reports, report_until=np.array(until, dtype=object))


def _notes(cohort: Cohort, texts: list[Summary], subject_digits: bool) -> list[str]:
    """What else a person should know."""
    here, there = {str(subject) for subject in cohort.subjects}, {text.subject for text in texts}
    alike = {_by_digits(subject) for subject in here - there} & {_by_digits(subject) for subject in there - here}
    notes = []
    if alike and subject_digits:
        notes.append(f"subjects matched by their digits alone, as their spelling differs: {len(alike)}")
    elif alike:
        notes.append(f"subjects that would match by their digits alone: {len(alike)}; pass --subject-digits")
    whose = dict(zip(cohort.rows["id"].tolist(), cohort.subjects.tolist(), strict=True))
    spelt = _by_digits if subject_digits else _as_is
    strange = sum(spelt(whose.get(text.key, text.subject)) != spelt(text.subject) for text in texts)
    if strange:
        notes.append(f"texts that name a recording of another subject, not taken for it: {strange}")
    replaced = sum(cell is not None for cell in cohort.rows.get("report", ()))
    if replaced:
        notes.append(f"reports that the cohort had before, replaced: {replaced}")
    return notes
