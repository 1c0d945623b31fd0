"""Recordings of wrist and chest in one pickle a subject, as WESAD and PPG-DaLiA are published.

The file is a dictionary: signal → wrist → BVP, ACC; signal → chest → ECG, Resp and others. It does not state
rates and units; the publications do, and they are the same for both sets:

    wrist   BVP 64 Hz (arbitrary) · ACC 32 Hz (1/64 g, or g)          chest   ECG 700 Hz (mV) · Resp 700 Hz (%)

Reference:
    Schmidt et al. 2018, doi:10.1145/3242969.3242985 (WESAD); Reiss et al. 2019, doi:10.3390/s19143079 (PPG-DaLiA).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError
from stethos.io.channels import Trace, signals_from
from stethos.io.unpickle import read_pickle
from stethos.types import Fact, Record

_CHEST = {"ECG": ("ECG", "mV"), "Resp": ("RESP", "%")}
_BETWEEN = 8.0  # a wrist at rest feels 1 g: a median below this is in g, one above it in 1/64 g


def read_wrist(path: str | Path) -> Record:
    """Read a subject's pickle: the pulse as PLETH, the wrist's movement, the chest's ECG and breathing.

    Facts are what the file knows of the subject (age, sex, height in cm, weight in kg) and, where it holds heart
    rates of windows, their mean as `hr` (1/min).

    Args:
        path: The file; only arrays and plain data in it are opened.

    Raises:
        FormatError: It asks for anything else, or has another layout.
    """
    path = Path(path)
    held = read_pickle(path)
    signal = _within(held, "signal")
    wrist = _within(signal, "wrist")
    if "BVP" not in wrist:
        seen = ", ".join(map(str, held))[:60] if isinstance(held, dict) else type(held).__name__
        raise FormatError(f"{path}: a pickle needs signal, wrist, BVP as WESAD and PPG-DaLiA have; it has {seen}")
    traces = [*_wrist(wrist, path), *_chest(_within(signal, "chest"), path)]
    return Record(path.stem, path.stem, signals_from(traces), facts=_facts(held))


def _wrist(wrist: Mapping[str, Any], path: Path) -> Iterator[Trace]:
    yield Trace("PLETH", _columns(wrist["BVP"], 1, path)[:, 0], 64.0, "a.u.")
    if "ACC" in wrist:
        moved = _columns(wrist["ACC"], 3, path)
        felt = float(np.nanmedian(np.linalg.norm(moved[: 32 * 3600], axis=1)))
        scale = 1.0 if felt < _BETWEEN else 1 / 64
        yield from (Trace(f"ACC_{axis}", moved[:, at] * scale, 32.0, "g") for at, axis in enumerate("XYZ"))


def _within(held: object, key: str) -> dict[str, Any]:
    """A dictionary in another; empty where it is not there."""
    inner = held.get(key) if isinstance(held, dict) else None
    return inner if isinstance(inner, dict) else {}


def _chest(chest: Mapping[str, Any], path: Path) -> Iterator[Trace]:
    for key, (name, unit) in _CHEST.items():
        if key in chest:
            yield Trace(name, _columns(chest[key], 1, path)[:, 0], 700.0, unit)


def _columns(values: object, count: int, path: Path) -> np.ndarray:
    """An array `(T, count)` of numbers."""
    array = np.asarray(values)
    if array.ndim == 1 and count == 1:
        array = array[:, None]
    if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] != count or len(array) == 0:
        raise FormatError(f"{path}: needs {count} columns of numbers; got shape {array.shape} of {array.dtype}")
    return array


def _facts(held: Mapping[str, Any]) -> dict[str, Fact]:
    """What the file knows of its subject."""
    asked = held.get("questionnaire")
    said = {str(key).lower(): value for key, value in asked.items()} if isinstance(asked, dict) else {}
    facts: dict[str, Fact] = {}
    for name in ("age", "height", "weight"):
        if isinstance(said.get(name), int | float):
            facts[name] = float(said[name])
    sex = re.match(r"\s*([mf])", str(said.get("gender", "")), re.IGNORECASE)
    if sex:
        facts["sex"] = sex[1].upper()
    rates = np.asarray(held.get("label", ()))
    if "activity" in held and rates.dtype.kind in "iuf" and rates.size:  # WESAD's label is a condition, not a rate
        facts["hr"] = round(float(np.nanmean(rates)), 2)
    return facts
