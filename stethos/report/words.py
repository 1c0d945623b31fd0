"""Numbers and labels in words, the same in a figure and in a table."""

from __future__ import annotations

import textwrap

import numpy as np

from stethos.types import Estimate


def spoken(estimate: Estimate) -> str:
    """An estimate in words; a missing value is a dash, a missing interval is said to be missing."""
    if not np.isfinite(estimate.value):
        return "–"
    known = np.isfinite([estimate.low, estimate.high]).all()
    words = str(estimate) if known else f"{estimate.value:.3f} (no interval)"
    return words.replace("-", "−")


def decimal(value: float, places: int) -> str:
    """A number with so many places, and a minus where it is below 0."""
    return f"{value:.{places}f}".replace("-", "−")


def counts(estimate: Estimate) -> str:
    """What an estimate rests on: `n 412, 23 events`."""
    events = "" if estimate.events is None else f", {estimate.events:,} event" + "s" * (estimate.events != 1)
    return f"n {estimate.n:,}{events}"


def shortened(label: str, letters: int) -> str:
    """A label cut to so many letters, an ellipsis where something is missing; the CSV holds the whole of it."""
    return label if len(label) <= letters else label[: letters - 1].rstrip() + "…"


def wrapped(label: str) -> str:
    """A legend's label, broken where it would leave the figure."""
    return textwrap.fill(label, 58)
