"""What is in a cohort: counts, rates, leads or machines, prevalences, what is missing, and what cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stethos.data.cohort import NOT_FACTS
from stethos.data.columns import cell
from stethos.data.parallel import Progress, each_record
from stethos.types import Cohort, Record

_IDENTITY = ("id", "path", "subject")
_ATTRIBUTE = "attr_"  # one operating condition of a machine
_LINES = 12


@dataclass(frozen=True, eq=False)
class Survey:
    """A cohort in numbers; `lines()` for people.

    Args:
        records: Rows of the table.
        subjects: Different subjects.
        sites: Site → records.
        span: First and last date, ISO; empty where no date is known.
        rates: Sampling rate in Hz → readable signals.
        leads: Channel names → readable signals.
        units: Unit → readable signals.
        durations: Seconds of each record's first signal, NaN where unreadable, `(N,)`.
        prevalences: Column that holds only 0 and 1 → (ones, known).
        missing: Column → rows without a value; columns without a gap are left out.
        unreadable: (id, reason) of every record that cannot be read.
        shifted: Whether dates are shifted per subject.
        origin: Where the records come from.
        terms: Licence and site rules.
        sounds: Of a cohort of machine sounds, "machines", "sections", "splits" and "domains", each name →
            records; empty for anything else.
    """

    records: int
    subjects: int
    sites: Mapping[str, int]
    span: tuple[str, ...]
    rates: Mapping[float, int]
    leads: Mapping[tuple[str, ...], int]
    units: Mapping[str, int]
    durations: np.ndarray
    prevalences: Mapping[str, tuple[int, int]]
    missing: Mapping[str, int]
    unreadable: tuple[tuple[str, str], ...]
    shifted: bool
    origin: str
    terms: str
    sounds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The survey as text."""
        return [*self._about(), *self._recordings(), *self._columns(), *self._failures()]

    def _about(self) -> list[str]:
        dates = " to ".join(day[:10] for day in self.span) or "unknown"
        note = " (shifted per subject: earlier and later mean nothing between subjects)" if self.shifted else ""
        if self.sounds:
            counted = [f"{what}: {_counted(counts)}" for what, counts in self.sounds.items() if counts]
            about = f"{self.records} sounds of {self.subjects} sources, {self.origin}"
            return [about, *counted, f"terms: {self.terms or 'not stated'}"]
        return [
            f"{self.records} records of {self.subjects} subjects, {self.origin}",
            f"sites: {_counted(self.sites)}",
            f"dates: {dates}{note}",
            f"terms: {self.terms or 'not stated'}",
        ]

    def _recordings(self) -> list[str]:
        known = self.durations[np.isfinite(self.durations)]
        if len(known) == 0:
            return ["no record can be read"]
        low, middle, high = np.quantile(known, (0, 0.5, 1))
        if self.sounds:
            shape = [f"channels: {_counted({_width(names): n for names, n in self.leads.items()})}"]
        else:
            leads = {" ".join(names): n for names, n in self.leads.items()}
            shape = [f"leads: {_counted(leads)}", f"units: {_counted(self.units)}"]
        return [
            f"rates: {_counted({f'{rate:g} Hz': n for rate, n in self.rates.items()})}",
            *shape,
            f"durations: median {middle:.1f} s ({low:.1f} to {high:.1f} s)",
        ]

    def _columns(self) -> list[str]:
        shares = [
            f"  {name}: {ones} of {known} ({100 * ones / known:.1f} %)"
            for name, (ones, known) in self.prevalences.items()
        ]
        gaps = [f"  {name}: {n} ({100 * n / self.records:.1f} %)" for name, n in self.missing.items()]
        return [
            *(["prevalences:", *shares] if shares else []),
            *(["missing values:", *gaps] if gaps else ["no missing values"]),
        ]

    def _failures(self) -> list[str]:
        if not self.unreadable:
            return ["unreadable files: none"]
        return [
            f"unreadable files: {len(self.unreadable)} of {self.records}",
            *(f"  {name}: {reason}" for name, reason in self.unreadable),
        ]


def survey(cohort: Cohort, workers: int | None = None, progress: Progress | None = None) -> Survey:
    """Read every record of a cohort and count what there is.

    Args:
        cohort: Any.
        workers: Processes; None for what suits.
        progress: Called with (records done, records in all).
    """
    durations = np.full(len(cohort), np.nan)
    signals: list[tuple[float, tuple[str, ...], str]] = []
    unreadable = []
    for outcome in each_record(cohort, _describe, workers=workers, progress=progress):
        if outcome.value is None:
            unreadable.append((str(cohort.rows["id"][outcome.row]), outcome.reason))
            continue
        durations[outcome.row], described = outcome.value
        signals += described
    return Survey(
        records=len(cohort),
        subjects=len(np.unique(cohort.subjects)),
        sites=_most_common("not stated" if site is None else str(site) for site in _site(cohort)),
        span=_span(cohort),
        rates=_most_common(rate for rate, _, _ in signals),
        leads=_most_common(names for _, names, _ in signals),
        units=_most_common(unit for _, _, unit in signals),
        durations=durations,
        prevalences=_prevalences(cohort),
        missing=_missing(cohort),
        unreadable=tuple(unreadable),
        shifted=bool(np.any(cohort.rows["shifted"] == 1)) if "shifted" in cohort.rows else False,
        origin=cohort.origin,
        terms=cohort.terms,
        sounds=_sounds(cohort),
    )


def _describe(record: Record) -> tuple[float, list[tuple[float, tuple[str, ...], str]]]:
    duration = record.signals[0].duration if record.signals else float("nan")
    return duration, [(signal.rate, signal.channels, signal.unit) for signal in record.signals]


def _site(cohort: Cohort) -> np.ndarray:
    return cohort.rows.get("site", np.full(len(cohort), None, dtype=object))


def _span(cohort: Cohort) -> tuple[str, ...]:
    when = cohort.rows.get("when", np.array([], "datetime64[s]"))
    known = when[~np.isnat(when)]
    return (str(known.min()), str(known.max())) if len(known) else ()


def _sounds(cohort: Cohort) -> dict[str, dict[str, int]]:
    """How many sounds there are of each machine, section, split and domain; nothing where there are no machines."""
    if "machine" not in cohort.rows:
        return {}
    machine, section, split, domain = (_words(cohort, name) for name in ("machine", "section", "split", "domain"))
    sections = [f"{first}/{second}" for first, second in zip(machine, section, strict=True)]
    divided = ["to be divided" if item == "" else item for item in split]
    return {
        "machines": _most_common(machine),
        "sections": _most_common(sections),
        "splits": _most_common(divided),
        "domains": _most_common(item for item in domain if item),
    }


def _words(cohort: Cohort, name: str) -> list[str]:
    """A text column, "" where unknown or absent."""
    column = cohort.rows.get(name, np.full(len(cohort), None, dtype=object))
    values = (cell(column, row) for row in range(len(cohort)))
    return ["" if value is None else str(value) for value in values]


def _width(names: tuple[str, ...]) -> str:
    """How many channels, in the words of sound."""
    return {1: "mono", 2: "stereo"}.get(len(names), f"{len(names)} channels")


def _prevalences(cohort: Cohort) -> dict[str, tuple[int, int]]:
    shares = {}
    for name, column in cohort.rows.items():
        if name in NOT_FACTS or name.startswith(_ATTRIBUTE) or column.dtype.kind != "f":
            continue
        known = column[~np.isnan(column)]
        if len(known) and np.isin(known, (0, 1)).all():
            shares[name] = (int(known.sum()), len(known))
    return shares


def _missing(cohort: Cohort) -> dict[str, int]:
    gaps = {name: _unknown(column) for name, column in cohort.rows.items() if name not in _IDENTITY}
    if "machine" in cohort.rows:  # a column that no machine fills, or one condition of some, is no gap
        gaps = {name: gap for name, gap in gaps.items() if gap < len(cohort) and not name.startswith(_ATTRIBUTE)}
    return {name: gap for name, gap in gaps.items() if gap}


def _unknown(column: np.ndarray) -> int:
    if column.dtype.kind == "M":
        return int(np.isnat(column).sum())
    if column.dtype.kind == "f":
        return int(np.isnan(column).sum())
    return sum(item is None for item in column)


def _most_common(items: object) -> dict:
    return dict(Counter(items).most_common())  # type: ignore[call-overload]


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:_LINES]]
    more = [f"and {len(counts) - _LINES} more"] if len(counts) > _LINES else []
    return ", ".join(shown + more)
