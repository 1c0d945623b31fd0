"""Sections of a report on sound that verbs of their own leave behind: each keeps a file, and the report reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from stethos.io.files import write_atomic
from stethos.report import sound_picture
from stethos.report.page import Section
from stethos.report.table import Table
from stethos.types import Estimate, Run

KINDS = ("alarm", "enrolment", "audit", "ablation")


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


def alarm(told: Mapping[str, Any]) -> Section:
    """The budget of false alarms and what the later normal sound says of it, by machine."""
    rows = [
        [name, item["threshold"], f"{item['k']} of {item['n']}", item["observed_hours"], item["alarms"],
         item["upper_per_week"], item["budget"]]
        for name, item in told["machines"].items()
    ]  # fmt: skip
    columns = ("machine", "threshold", "blocks above", "later hours", "false alarms", "at most a week (95 %)", "budget")
    note = "Set on earlier normal sound, counted on later; one-sided exact bound of a Poisson rate."
    pictures = [
        sound_picture.alarm_budget(
            f"False alarms, {name}",
            np.array(item["threshold"]),
            {"later normal sound, upper bound": np.array(item["upper"])},
            told["machines"][name]["budget"],
            told["machines"][name]["threshold"],
        )
        for name, item in told.get("curves", {}).items()
    ]
    refused = [f"{name}: {why}." for name, why in told.get("refused", {}).items()]
    table = [Table(columns, rows, "Alarm budget", note)] if rows else []
    return Section("Alarm budget", [*table, *pictures, *refused])


def enrolment(told: Mapping[str, Any]) -> Section:
    """AUROC on machines that no network was trained on, against the number of normals enrolled."""
    counts = np.array(told["counts"])
    areas = {name: [Estimate(**item) for item in found] for name, found in told["areas"].items()}
    note = (
        "The networks stay as they are. Bars: 2.5th to 97.5th percentile over draws of which recordings are enrolled."
    )
    return Section("Enrolling a new machine", [sound_picture.enrolment("Enrolment", counts, areas, "AUC", note)])


def audit(told: Mapping[str, Any]) -> Section:
    """Share of planted faults that stay below the threshold, by fault and severity."""
    rates = _estimates(told["rates"])
    note = (
        f"Faults of known severity were planted in {told['recordings']} normal recordings that no network was trained "
        f"on; threshold: {told['threshold']}. Severity: dB by which the fault raises (leak, spall, looseness, imbalance) "
        "or alters (clogging) its own band. Intervals over source recordings."
    )
    return Section("Planted faults", [sound_picture.miss_rates("Expected miss rate", rates, note)])


def ablation(told: Mapping[str, Any]) -> Section:
    """The same recipe with one part changed at a time."""
    note = told.get("note", "")
    return Section(
        "Ablation", [sound_picture.ablation(told["title"], _estimates(told["found"]), told["unit"], None, note)]
    )
