"""Do a cohort's recordings and its table belong together?

Heart rate measured from the ECG against the charted one, age and sex within a subject, values that fit
another unit, and clocks that are hours apart. Findings are suspicions for a person to look at; nothing is
corrected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from stethos.data.parallel import Progress, each_record
from stethos.data.quantities import QUANTITIES
from stethos.errors import QualityError
from stethos.types import Cohort, Record, Signal

_SECONDS_A_YEAR = 365.25 * 86400
_CLOCK_MINUTES = 3.0
_CLOCK_PAIRS = 10
_CLOCK_SHARE = 0.9
_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """A suspicion.

    Args:
        kind: "swap", "heart rate", "age", "sex", "unit", "value" or "clock".
        ids: Records it concerns.
        says: One sentence.
    """

    kind: str
    ids: tuple[str, ...]
    says: str


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit looked at and what it suspects.

    Args:
        checked: Check → records it could be made on.
        measured: Heart rate from the ECG in beats per minute, NaN where none, `(N,)`.
        unmeasured: (id, reason) of records without a measured heart rate.
        findings: Suspicions, swaps first.
    """

    checked: dict[str, int]
    measured: np.ndarray
    unmeasured: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    def lines(self) -> list[str]:
        """The audit as text."""
        checks = [f"{name}: checked on {count} of {len(self.measured)} records" for name, count in self.checked.items()]
        rates = [f"heart rate cannot be measured in {len(self.unmeasured)} records"] if self.unmeasured else []
        kinds = list(dict.fromkeys(finding.kind for finding in self.findings))
        found = [line for kind in kinds for line in self._of_kind(kind)]
        return [*checks, *rates, *(found or ["nothing suspicious found"])]

    def _of_kind(self, kind: str) -> Iterator[str]:
        found = [finding for finding in self.findings if finding.kind == kind]
        yield f"suspected, {kind}: {len(found)}"
        for finding in found[:_SHOWN]:
            yield f"  {', '.join(finding.ids[:4])}{' …' if len(finding.ids) > 4 else ''}: {finding.says}"
        if len(found) > _SHOWN:
            yield f"  and {len(found) - _SHOWN} more"


def audit_pairs(
    cohort: Cohort,
    charted: str = "heart_rate",
    tolerance: float = 15.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Look for records that do not fit their row of the table.

    Args:
        cohort: Any; checks whose columns are absent are left out, which `checked` shows.
        charted: Column of the charted heart rate in beats per minute.
        tolerance: Largest difference of two heart rates that count as equal, beats per minute.
        workers: Processes; None for what suits.
        progress: Called with (records done, records in all).
    """
    measured = np.full(len(cohort), np.nan)
    unmeasured: list[tuple[str, str]] = []
    checked: dict[str, int] = {}
    findings: list[Finding] = []
    if _numeric(cohort, charted):
        measured, unmeasured = _measure(cohort, workers, progress)
        written = cohort.rows[charted]
        checked["heart rate"] = int(np.isfinite(measured - written).sum())
        findings += _rate_findings(cohort, measured, written, tolerance)
    for name in QUANTITIES:
        if _numeric(cohort, name):
            checked[f"range of {name}"] = int(np.isfinite(cohort.rows[name]).sum())
            findings += _range_findings(cohort, name)
    findings += [*_person_findings(cohort), *_clock_findings(cohort)]
    return Audit(checked, measured, tuple(unmeasured), tuple(findings))


def _numeric(cohort: Cohort, name: str) -> bool:
    return name in cohort.rows and cohort.rows[name].dtype.kind == "f"


def _measure(
    cohort: Cohort, workers: int | None, progress: Progress | None
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    measured = np.full(len(cohort), np.nan)
    unmeasured = []
    for outcome in each_record(cohort, measured_heart_rate, workers=workers, progress=progress):
        if outcome.value is None:
            unmeasured.append((str(cohort.rows["id"][outcome.row]), outcome.reason))
        else:
            measured[outcome.row] = outcome.value
    return measured, unmeasured


def measured_heart_rate(record: Record) -> float:
    """Beats per minute from lead II, else lead I, else the first channel.

    Raises:
        QualityError: There is no signal, or fewer than two beats are found.
    """
    from stethos.signal.beats import heart_rate, r_peaks

    lead = _rhythm_lead(record)
    rate = heart_rate(r_peaks(lead), lead.rate)
    if not np.isfinite(rate):
        raise QualityError("a heart rate needs at least two beats; fewer are found")
    return rate


def _rhythm_lead(record: Record) -> Signal:
    for name in ("II", "I"):
        for signal in record.signals:
            if name in signal.channels:
                return signal.pick(name)
    if not record.signals:
        raise QualityError("a heart rate needs a signal; the record has none")
    return record.signals[0].pick(record.signals[0].channels[0])


def _rate_findings(cohort: Cohort, measured: np.ndarray, written: np.ndarray, tolerance: float) -> Iterator[Finding]:
    """Pairs of one site and day that fit each other's heart rate, then those that fit nobody's."""
    apart = np.flatnonzero(np.abs(measured - written) > tolerance).tolist()
    ids, swapped = cohort.rows["id"], set()
    for place, rows in _by_place_and_day(cohort, apart).items():
        for i, j in combinations(rows, 2):
            if max(abs(measured[i] - written[j]), abs(measured[j] - written[i])) <= tolerance:
                swapped |= {i, j}
                rates = (
                    f"measured {measured[i]:.0f} and {measured[j]:.0f}, "
                    f"charted {written[i]:.0f} and {written[j]:.0f} per minute"
                )
                says = f"{rates}; each fits the other's ({place})"
                yield Finding("swap", (str(ids[i]), str(ids[j])), says)
    for row in apart:
        if row not in swapped:
            says = f"measured {measured[row]:.0f}, charted {written[row]:.0f} per minute"
            yield Finding("heart rate", (str(ids[row]),), says)


def _by_place_and_day(cohort: Cohort, rows: list[int]) -> dict[str, list[int]]:
    """Rows of a known day, by site and day."""
    groups: dict[str, list[int]] = {}
    if "when" not in cohort.rows:
        return groups
    for row in rows:
        when = cohort.rows["when"][row]
        site = cohort.rows["site"][row] if "site" in cohort.rows else None
        if not np.isnat(when):
            groups.setdefault(f"{site or 'site not stated'}, {str(when)[:10]}", []).append(row)
    return groups


def _range_findings(cohort: Cohort, name: str) -> Iterator[Finding]:
    """Values out of range, by the unit that would explain them."""
    quantity, values, ids = QUANTITIES[name], cohort.rows[name], cohort.rows["id"]
    outside = (values < quantity.low) | (values > quantity.high)
    for unit, factor in quantity.others:
        fits = outside & (values * factor >= quantity.low) & (values * factor <= quantity.high)
        if fits.any():
            says = f"{name} reads like {unit}, not {quantity.unit}: {_range(values[fits])}"
            yield Finding("unit", tuple(map(str, ids[fits])), says)
        outside &= ~fits
    if outside.any():
        span = f"{quantity.low:g} and {quantity.high:g} {quantity.unit}"
        says = f"{name} is not between {span}: {_range(values[outside])}"
        yield Finding("value", tuple(map(str, ids[outside])), says)


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _person_findings(cohort: Cohort) -> Iterator[Finding]:
    """Subjects whose sex changes, or whose age does not keep step with the date."""
    sex = cohort.rows.get("sex", np.full(len(cohort), None, dtype=object))
    order = np.argsort(cohort.subjects, kind="stable")
    _, first = np.unique(cohort.subjects[order], return_index=True)
    for rows in np.split(order, first[1:]):
        if len(rows) < 2:
            continue
        ids = tuple(str(cohort.rows["id"][row]) for row in rows)
        said = {item for item in map(str, sex[rows]) if item not in ("None", "nan")}
        if len(said) > 1:
            yield Finding("sex", ids, f"sex of one subject is {' and '.join(sorted(said))}")
        born = _birth(cohort, rows)
        # whole years on both sides: birth dates may seem up to a year apart, and rounding adds a little
        if len(born) > 1 and np.ptp(born) > 2:
            yield Finding("age", ids, f"ages of one subject mean births {np.ptp(born):.1f} years apart")


def _birth(cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    """Date − age in years, where both are known."""
    if not _numeric(cohort, "age") or "when" not in cohort.rows:
        return np.empty(0)
    when, age = cohort.rows["when"][rows], cohort.rows["age"][rows]
    known = ~np.isnat(when) & ~np.isnan(age)
    return when[known].astype("datetime64[s]").astype(np.int64) / _SECONDS_A_YEAR - age[known]


def _clock_findings(cohort: Cohort) -> Iterator[Finding]:
    """Sites whose joined values lie whole hours from the recordings."""
    site = cohort.rows.get("site", np.full(len(cohort), None, dtype=object)).astype(str)
    for name in (column for column in cohort.rows if column.endswith("_minutes") and _numeric(cohort, column)):
        for place in np.unique(site):
            here = (site == place) & np.isfinite(cohort.rows[name])
            minutes = cohort.rows[name][here]
            hours = np.round(minutes / 60)
            whole = (np.abs(minutes - 60 * hours) <= _CLOCK_MINUTES) & (hours != 0)
            if len(minutes) >= _CLOCK_PAIRS and whole.mean() >= _CLOCK_SHARE:
                away = f"{name} at {place} lies whole hours away ({np.median(hours):+g} h)"
                says = f"{away}: a clock or time zone differs"
                yield Finding("clock", tuple(map(str, cohort.rows["id"][here])), says)
