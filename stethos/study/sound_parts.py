"""Sections of a report on sound that verbs of their own leave behind: each keeps a file, and the report reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stethos.io.files import write_atomic
from stethos.report import sound_picture
from stethos.report.page import Section
from stethos.report.picture import Picture
from stethos.report.table import Cell, Table
from stethos.report.words import spoken
from stethos.study.alarm import Alarm
from stethos.study.sound_names import figures
from stethos.types import Estimate, Run

KINDS = {
    "alarm": "an alarm budget",
    "enrolment": "enrolling a new machine",
    "audit": "planted faults",
    "ablation": "an ablation",
}
STOP = "10 dB"
DRAWN = 6  # curves of false alarms; of more machines only the table tells
ENROLLED = (
    "The networks stay as they are. Bars: 2.5th to 97.5th percentile over draws of which recordings are enrolled; the "
    "tested recordings are the same throughout. No interval, and an open point: all draws are the same."
)


def keep(run: Run, kind: str, told: Any) -> None:
    """Keep plain values with a run, for its report.

    Args:
        run: Whose.
        kind: One of `KINDS`.
        told: Plain values; an `Estimate` as `plain` gives it.
    """
    write_atomic(run.folder / f"{kind}.json", (json.dumps(told, indent=2) + "\n").encode())


def kept(run: Run, kind: str) -> Any:
    """What was kept; None where nothing was."""
    path = run.folder / f"{kind}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def plain(item: Estimate) -> dict[str, Any]:
    """An estimate as plain values."""
    return {"value": item.value, "low": item.low, "high": item.high, "n": item.n, "events": item.events}


def _estimates(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Estimate]]:
    return {row: {name: Estimate(**item) for name, item in columns.items()} for row, columns in rows.items()}


def kept_sections(run: Run) -> list[Section]:
    """The sections of whatever was kept, in order."""
    makers = {"alarm": alarm, "enrolment": enrolment, "audit": audit, "ablation": ablation}
    return [makers[kind](told) for kind in KINDS if (told := kept(run, kind))]


def missing_parts(run: Run) -> list[str]:
    """What was never kept, in words."""
    return [words for kind, words in KINDS.items() if not kept(run, kind)]


def alarm(told: Mapping[str, Any]) -> Section:
    """The budget of false alarms and what the later normal sound says of it, by machine."""
    alarms = {name: Alarm.from_json(item) for name, item in told["machines"].items()}
    rows: list[list[Cell]] = [
        [name, item.threshold, f"{item.k} of {item.n}", item.observed_hours, item.alarms, item.upper_per_week,
         item.budget, "yes" if item.within_budget else "no"]
        for name, item in alarms.items()
    ]  # fmt: skip
    columns = ("machine", "threshold", "blocks above", "later hours", "false alarms", "a week, at most", "budget",
               "shown to be kept")  # fmt: skip
    note = (
        "Threshold and blocks were set on earlier normal sound, false alarms counted on later normal sound, which had "
        "no part in that. At most: one-sided 95 % bound of the rate, exact where alarms come as a Poisson process."
    )
    table = [Table(columns, rows, "Alarm budget", note)] if rows else []
    curves = [_budget(name, item, alarms[name]) for name, item in [*told.get("curves", {}).items()][:DRAWN]]
    rest = len(told.get("curves", {})) - len(curves)
    refused = [f"{name}: {why}." for name, why in told.get("refused", {}).items()]
    return Section("Alarm budget", [*table, *curves, *([f"{rest} more curves: alarm.json."] if rest else []), *refused])


def _budget(name: str, curve: Mapping[str, Any], own: Alarm) -> Picture:
    rates = {"all normal sound, upper bound (95 %)": np.array(curve["upper"])}
    note = (
        f"Bound over earlier and later normal sound together, at {own.k} of {own.n} blocks; a higher threshold can "
        "give more alarms, where one excursion falls into two."
    )
    title = f"False alarms, {name}"
    return sound_picture.alarm_budget(title, np.array(curve["threshold"]), rates, own.budget, own.threshold, note)


def enrolment(told: Mapping[str, Any]) -> Section:
    """AUROC on machines that no network was trained on, against the number of normals enrolled."""
    counts = np.array(told["counts"])
    areas = {name: [_sure(Estimate(**item)) for item in found] for name, found in told["areas"].items()}
    note = told.get("note", ENROLLED)
    columns = ("machine", *(f"{count} enrolled" for count in counts.tolist()))
    title = "AUC on machines that no network was trained on"
    table = Table(columns, [[name, *found] for name, found in areas.items()], title, note)
    shown = [
        sound_picture.enrolment(over, counts, {name: areas[name] for name in names}, "AUC", "Bars: as in the table.")
        for over, names in figures("Enrolment", list(areas))
    ]
    return Section("Enrolling a new machine", [table, *shown])


def _sure(item: Estimate) -> Estimate:
    """Without an interval where all draws are the same one, which says nothing of how sure it is."""
    return item if item.high > item.low else replace(item, low=np.nan, high=np.nan)


def audit(told: Mapping[str, Any]) -> Section:
    """Share of planted faults that stay below the threshold, by fault and severity."""
    rates = _estimates(told["rates"])
    note = (
        f"Synthetic faults of known severity in {told['recordings']} normal recordings that no network was trained on; "
        f"threshold: {told['threshold']}. Severity: dB by which a fault raises (leak, spall, looseness, imbalance) or "
        "alters (clogging) its own band. At 0 dB nothing is planted: what is missed there is the share of normal "
        "recordings that raise no alarm. Events: missed recordings. Intervals: Wilson's, over source recordings."
    )
    at_stop = [f"{fault} {spoken(row[STOP])}" for fault, row in rates.items() if STOP in row]
    words = f"Synthetic faults missed at {STOP}, from where standards ask to stop a machine: {', '.join(at_stop)}."
    shown = sound_picture.miss_rates("Miss rate of synthetic faults", rates, note)
    return Section("Planted faults", [shown, *([words] if at_stop else [])])


def ablation(told: Mapping[str, Any]) -> Section:
    """The same recipe with one part changed at a time."""
    found, reference = _estimates(told["found"]), told.get("reference")
    shown = sound_picture.ablation(told["title"], found, told["unit"], reference, told.get("note", ""))
    return Section("Ablation", [shown])
