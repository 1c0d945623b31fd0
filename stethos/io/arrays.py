"""NPZ, NPY and MATLAB files: one array of all channels, or one a channel."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError, RateError
from stethos.io.channels import distinct
from stethos.io.files import read_bytes
from stethos.io.matlab import numeric_arrays
from stethos.io.stated import RATE_KEYS, UNIT_KEYS, Table, record_from, stated_origin, stated_rate, with_channels
from stethos.io.table import TIME, rate_of
from stethos.types import Record

_NAME_KEYS = ("channels", "leads")
_VALUE_KEYS = ("values", "signal", "signals", "x", "data", "val", "sig", "feats")


def read_arrays(
    path: str | Path, *, rate: float | None = None, unit: str | None = None, channels: str | None = None
) -> Record:
    """Read NPZ, NPY or MATLAB arrays: one `(T,)` or `(C, T)`, or one `(T,)` a channel.

    An NPZ may state `rate` (or `fs`, `sampling_rate`), `unit`, `channels` and `origin`. An array `timestamp` (or
    `time`; seconds or dates) is no channel; it gives the rate where neither the file nor the caller states it.
    Pickled objects are never opened.

    Args:
        path: The file.
        rate: Hz; needed where the file does not state it.
        unit: Needed where the file does not state it.
        channels: Names and units of the rows; see `stethos.io.read`.

    Raises:
        FormatError: The arrays are of another shape, or not readable.
        RateError: The rate is unknown.
        UnitError: The unit is unknown.
        ChannelError: The channels are declared otherwise than the file has them.
    """
    path = Path(path)
    arrays = _load_arrays(read_bytes(path), path)
    times = _times(arrays)
    stated = {key.lower(): _scalar(array) for key, array in arrays.items()}
    names = next((np.atleast_1d(arrays[key]).astype(str).tolist() for key in _NAME_KEYS if key in arrays), None)
    table = Table(
        _channels(arrays, names, path),
        rate=next((stated_rate(stated[key], path) for key in RATE_KEYS if key in stated), None),
        unit=next((str(stated[key]) for key in UNIT_KEYS if key in stated), None),
        origin=stated_origin(str(stated.get("origin", "real"))),
    )
    if times is not None and table.rate is None and rate is None:
        table = replace(table, rate=rate_of(_seconds(times, path), path))
    return record_from(path, with_channels(table, channels, path), rate, unit)


def _times(arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """The array that times the samples, taken out of the others."""
    keys = [key for key in arrays if key.lower() in TIME and arrays[key].size > 1]
    return arrays.pop(keys[0]) if keys and len(arrays) > 1 else None


def _seconds(times: np.ndarray, path: Path) -> np.ndarray:
    """Times as seconds from the first, `(T,)`; dates may be numpy's or ISO text."""
    try:
        moments = times.astype("datetime64[ns]") if times.dtype.kind in "US" else times
    except ValueError as error:
        raise RateError(f"{path}: timestamps must be seconds or ISO dates ({error}); pass --rate HZ") from error
    if moments.dtype.kind == "M":
        moments = (moments - moments.reshape(-1)[0]) / np.timedelta64(1, "s")
    if moments.dtype.kind not in "iuf":
        raise RateError(f"{path}: timestamps must be seconds or dates; they are {times.dtype}; pass --rate HZ")
    return moments.reshape(-1).astype(np.float64)


def _load_arrays(data: bytes, path: Path) -> dict[str, np.ndarray]:
    """The named arrays of an NPZ, NPY or MATLAB file."""
    try:
        if data.startswith(b"\x93NUMPY"):
            return {"values": np.load(io.BytesIO(data), allow_pickle=False)}
        if data.startswith(b"PK"):
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        if data.startswith(b"MATLAB 5"):
            return numeric_arrays(data)
        from scipy.io import loadmat  # MATLAB 4, which it reads in Python alone

        loaded = loadmat(io.BytesIO(data))
    except Exception as error:
        raise FormatError(f"{path}: arrays that cannot be read ({error}); pickled objects are not opened") from error
    return {key: array for key, array in loaded.items() if not key.startswith("__") and isinstance(array, np.ndarray)}


def _scalar(array: np.ndarray) -> Any:
    """The only element of an array, or None where it has several."""
    return array.reshape(-1)[0] if array.size == 1 else None


def _channels(arrays: Mapping[str, np.ndarray], names: list[str] | None, path: Path) -> dict[str, np.ndarray]:
    """One `(T,)` a channel, from one array of all or one array each."""
    numeric = {key: array for key, array in arrays.items() if array.dtype.kind in "iuf" and array.size > 1}
    numeric = {key: array for key, array in numeric.items() if key not in _NAME_KEYS}
    whole = next((key for key in _VALUE_KEYS if key in numeric), None)
    if whole is None and len(numeric) == 1:
        whole = next(iter(numeric))
    if whole is not None:
        return _rows(numeric[whole], names or [whole], path)
    if not numeric or any(
        array.ndim != 1 or len(array) != len(next(iter(numeric.values()))) for array in numeric.values()
    ):
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
        raise FormatError(
            f"{path}: needs one array (channels, samples), or equally long ones by channel; holds {shapes}"
        )
    return numeric


def _rows(values: np.ndarray, names: list[str], path: Path) -> dict[str, np.ndarray]:
    """The rows of `(T,)` or `(C, T)` under their names; without such, "ch1" and so on."""
    if values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1):
        values = values.reshape(1, -1)
    if values.ndim != 2 or values.shape[0] > values.shape[1]:
        raise FormatError(f"{path}: needs an array of shape (channels, samples); got {values.shape}; transpose it")
    if len(names) > 1 and len(names) != len(values):
        raise FormatError(f"{path}: names {len(names)} channels for an array of shape {values.shape}")
    unnamed = len(names) != len(values) or names[0] in _VALUE_KEYS
    return dict(zip(distinct([""] * len(values) if unnamed else names), values, strict=True))
