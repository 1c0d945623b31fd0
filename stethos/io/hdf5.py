"""MATLAB 7.3 files of CapnoBase: HDF5 in which structures are groups.

    signal/{pleth,ecg,co2}/y       waves                    param/samplingrate/{pleth,ecg,co2}    Hz
    labels/co2/startinsp/x         samples of breaths       labels/{ecg,pleth}/peak/x             samples of beats
    meta/subject/{age,weight}      years, kg

`h5py` comes with the extra `hdf5`.

Reference:
    Karlen et al. 2013, doi:10.1109/TBME.2013.2246160.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError
from stethos.io.channels import Trace, signals_from
from stethos.io.stated import stated_rate
from stethos.signal.marked import marked_rate
from stethos.types import Fact, Record

_NAMES = {"pleth": "PLETH", "ecg": "ECG", "co2": "CO2"}


def read_hdf5(path: str | Path) -> Record:
    """Read a case of CapnoBase: pulse, ECG and carbon dioxide, in no stated unit ("a.u.").

    Facts are age (years), weight (kg), and by the expert's marks `resp_rate` (from the breaths in the carbon
    dioxide) and `hr` (from the R peaks, or else the pulses), both 1/min.

    Args:
        path: The file.

    Raises:
        FormatError: It is damaged, or HDF5 of another layout.
        MissingExtraError: The extra `hdf5` is not installed.
    """
    path = Path(path)
    try:
        import h5py  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: MATLAB 7.3 and HDF5 need h5py; pip install 'stethos[hdf5]', or save it as MATLAB 5 or NPZ"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            traces, facts = list(_traces(file, path)), _facts(file, path)
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise FormatError(f"{path}: a damaged HDF5 file ({error}); copy it again") from error
    if "PLETH" not in {trace.name for trace in traces}:
        raise FormatError(f"{path}: HDF5 of another layout than CapnoBase's (signal/pleth/y); save as MATLAB 5 or NPZ")
    return Record(path.stem, path.stem, signals_from(traces), facts=facts)


def _traces(file: Any, path: Path) -> Iterator[Trace]:
    for key, name in _NAMES.items():
        values = _numbers(file, f"signal/{key}/y")
        if len(values):
            yield Trace(name, values, _rate(file, key, path), "a.u.")


def _facts(file: Any, path: Path) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for name in ("age", "weight"):
        said = _numbers(file, f"meta/subject/{name}")
        if len(said) == 1 and np.isfinite(said[0]):
            facts[name] = float(said[0])
    for name, places in {"resp_rate": ("co2/startinsp",), "hr": ("ecg/peak", "pleth/peak")}.items():
        for place in places:
            marks = _numbers(file, f"labels/{place}/x")
            if name not in facts and len(marks) > 2:
                facts[name] = marked_rate(marks / _rate(file, place.partition("/")[0], path))
    return facts


def _rate(file: Any, key: str, path: Path) -> float:
    said = _numbers(file, f"param/samplingrate/{key}")
    if len(said) != 1:
        raise FormatError(f"{path}: needs the sampling rate param/samplingrate/{key}; it is not there")
    return stated_rate(said[0], path)


def _numbers(file: Any, name: str) -> np.ndarray:
    """A data set as one row of numbers; empty where it is absent, empty, or no numbers."""
    found = file.get(name)
    if found is None or not hasattr(found, "dtype") or found.attrs.get("MATLAB_empty", 0):
        return np.zeros(0)
    return np.asarray(found, np.float64).reshape(-1) if found.dtype.kind in "iuf" else np.zeros(0)
