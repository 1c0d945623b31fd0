"""A cohort prepared once: every record's windows in a store, every refused record with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stethos.data.parallel import Outcome, Progress, each_record
from stethos.data.store import Store, StoreWriter, open_store
from stethos.types import Cohort, Fact, Record

Windows = tuple[np.ndarray, Mapping[str, Fact]] | tuple[np.ndarray, Mapping[str, Fact], Sequence[float]]
_SHARD_BYTES = 2**26
_SHARD_RECORDS = 4096


@dataclass(frozen=True)
class Preparation:
    """What is done to each record before a network sees it.

    Args:
        apply: Record → windows `(W, C, T)`, W from 0, facts found on the way, and, where windows do not count alike,
            what each weighs in a mean over the record; refuses by a `StethosError`. Must pickle: a function of a
            module, or a `functools.partial` of one.
        shape: Of one window, `(C, T)`.
        key: Name, version and settings, as JSON; a store of another key is refused.
    """

    apply: Callable[[Record], Windows]
    shape: tuple[int, int]
    key: object


@dataclass(frozen=True, eq=False)
class Prepared:
    """Windows of a cohort's records.

    Args:
        store: One row a window, `(C, T)`.
        window_record: Row of the cohort that each window is from, `(W,)`.
        refused: (id, reason) of records that could not be read or prepared.
        facts: What the preparation found out about each record of the cohort: name → `(N,)`.
        weight: What each window counts in a mean over its record, `(W,)`; None where all count alike.
    """

    store: Store
    window_record: np.ndarray
    refused: tuple[tuple[str, str], ...]
    facts: Mapping[str, np.ndarray]
    weight: np.ndarray | None = None

    def lines(self) -> list[str]:
        """What was prepared, as text."""
        records = len(np.unique(self.window_record))
        return [
            f"{len(self.store)} windows of {records} records",
            f"refused: {len(self.refused)} records",
            *(f"  {name}: {reason}" for name, reason in self.refused),
        ]


def prepare_cohort(
    cohort: Cohort,
    preparation: Preparation,
    folder: Path,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Prepare each record once; the same call again goes on, or opens what is there.

    Args:
        cohort: Any.
        preparation: What to do to each record.
        folder: Of the store.
        workers: Processes; 1 works in this one; None for what suits.
        progress: Called with (records done, records to do).

    Raises:
        CohortError: The folder holds another preparation or other records, a window has another shape, the
            disk is full, or a process died.
    """
    key = {"preparation": preparation.key, "records": _fingerprint(cohort)}
    with StoreWriter(folder, preparation.shape, key) as writer:
        if not (writer.folder / "index.json").exists():
            _fill(writer, cohort, preparation, workers, progress)
    return _prepared(cohort, open_store(folder, key))


def _fingerprint(cohort: Cohort) -> str:
    return hashlib.sha256("\n".join(map(str, cohort.rows["id"])).encode()).hexdigest()


def _fill(
    writer: StoreWriter,
    cohort: Cohort,
    preparation: Preparation,
    workers: int | None,
    progress: Progress | None,
) -> None:
    done = {entry["row"] for shard in writer.shards for entry in shard["note"]}
    rest = [row for row in range(len(cohort)) if row not in done]
    entries: list[dict] = []
    for outcome in each_record(cohort, preparation.apply, rest, workers, progress):
        entries.append(_add(writer, outcome))
        # a shard ends between two records, so that a killed writing leaves no record half done
        if writer.open_bytes >= _SHARD_BYTES or len(entries) >= _SHARD_RECORDS:
            writer.close_shard(entries)
            entries = []
    if entries:
        writer.close_shard(entries)
    writer.finish()


def _add(writer: StoreWriter, outcome: Outcome[Windows]) -> dict:
    """Write a record's windows; what to note about it."""
    if outcome.value is None:
        return {"row": outcome.row, "windows": 0, "reason": outcome.reason}
    windows, facts, *weights = outcome.value
    for number, window in enumerate(windows):
        writer.append(f"{outcome.row}/{number}", window)
    plain = {name: value if isinstance(value, str | None) else float(value) for name, value in facts.items()}
    weighed = {"weights": [float(weight) for weight in weights[0]]} if weights else {}
    return {"row": outcome.row, "windows": len(windows), "facts": plain, **weighed}


def _prepared(cohort: Cohort, store: Store) -> Prepared:
    entries = [entry for note in store.notes for entry in note]
    rows = np.array([entry["row"] for entry in entries], np.int64)
    windows = np.array([entry["windows"] for entry in entries], np.int64)
    refused = [(str(cohort.rows["id"][e["row"]]), e["reason"]) for e in entries if "reason" in e]
    weights = [weight for entry in entries for weight in entry.get("weights", ())]
    weight = np.array(weights) if weights else None
    return Prepared(store, np.repeat(rows, windows), tuple(refused), _facts(entries, len(cohort)), weight)


def _facts(entries: list[dict], count: int) -> dict[str, np.ndarray]:
    """One column a fact over all records, numbers as float64 with NaN for unknown."""
    names = dict.fromkeys(name for entry in entries for name in entry.get("facts", {}))
    columns = {}
    for name in names:
        column = np.full(count, None, dtype=object)
        for entry in entries:
            column[entry["row"]] = entry.get("facts", {}).get(name)
        words = any(isinstance(item, str) for item in column)
        columns[name] = column if words else column.astype(np.float64)
    return columns
