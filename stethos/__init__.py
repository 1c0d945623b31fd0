"""Encoders for one-dimensional signals, anchored in what the waveform alone does not say."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Attribution": "stethos.types",
    "Cohort": "stethos.types",
    "Estimate": "stethos.types",
    "Predictions": "stethos.types",
    "Record": "stethos.types",
    "Run": "stethos.types",
    "Schedule": "stethos.types",
    "Signal": "stethos.types",
    "StethosError": "stethos.errors",
    "Volume": "stethos.types",
    "inspect": "stethos.io",
    "load": "stethos.systems",
    "open_cohort": "stethos.data.cohort",
    "read": "stethos.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'stethos' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOME])
