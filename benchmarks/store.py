"""Reading PTB-XL records from the memory-mapped store against reading them with wfdb.

Both sides end with float32 arrays of the same values; ratios are taken within one run, on one thread.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stethos.data.store import Store, write_store

ROUNDS = 5


def measure() -> dict[str, float]:
    """How many times faster the store is: "store.lead_i" and "store.leads_12"; empty without recordings."""
    folder = os.environ.get("STETHOS_DATA")
    if not folder:
        print("store: skipped, STETHOS_DATA is not set")
        return {}
    headers = sorted(Path(folder, "ecg", "ptbxl", "records500").rglob("*.hea"))
    if not headers:
        print(f"store: skipped, {folder} holds no PTB-XL records")
        return {}
    names = [str(path.with_suffix("")) for path in headers]
    ratios = {"store.lead_i": _ratio(names, [0]), "store.leads_12": _ratio(names, list(range(12)))}
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.0f} times as fast as wfdb, {len(names)} records")
    return ratios


def _ratio(names: list[str], leads: list[int]) -> float:
    """Time of wfdb over time of the store: alternating, the best of each over several rounds."""
    with tempfile.TemporaryDirectory() as folder:
        rows = ((name, _from_wfdb(name, leads)) for name in names)
        store = write_store(Path(folder), rows, (len(leads), 5000))
        slow, fast = [], []
        for _ in range(ROUNDS):
            slow.append(_seconds(lambda: _all_from_wfdb(names, leads)))
            fast.append(_seconds(lambda: _all_from_store(store)))
        np.testing.assert_array_equal(_all_from_store(store), _all_from_wfdb(names, leads))
    return min(slow) / min(fast)


def _from_wfdb(name: str, leads: list[int]) -> np.ndarray:
    import wfdb

    record = wfdb.rdrecord(name, channels=leads)
    return record.p_signal.T.astype(np.float32)


def _all_from_wfdb(names: list[str], leads: list[int]) -> np.ndarray:
    values = np.empty((len(names), len(leads), 5000), np.float32)
    for row, name in enumerate(names):
        values[row] = _from_wfdb(name, leads)
    return values


def _all_from_store(store: Store) -> np.ndarray:
    return store.take(np.arange(len(store)))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    measure()
