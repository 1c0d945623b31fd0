"""What the page needs beside its model, as text that a browser reads."""

from __future__ import annotations

import base64
import json

import numpy as np

from stethos.signal.delineator import trained


def delineator_json() -> str:
    """The network that marks the waves, as JSON.

    Returns:
        An object with a list `layers`, in the order they are applied; each has `shape` [taps, out, in], `weight` and
        `bias`, which are base64 of little-endian float16, as they are kept.
    """
    weights = trained()
    layers = [
        {"shape": weights[f"w{i}"].shape, "weight": _halves(weights[f"w{i}"]), "bias": _halves(weights[f"b{i}"])}
        for i in range(len(weights) // 2)
    ]
    return json.dumps({"layers": layers})


def _halves(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode()
