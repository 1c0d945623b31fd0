"""A small network that says what each 4 ms of an ECG lead is: nothing, P, QRS or T.

A U-Net of one dimension, 56,000 weights, kept as float16 beside this file. Six levels see the lead ever more coarsely,
down to 128 ms, and what the finer ones saw is put beside them again on the way up:

    h₀ = x,   hᵢ = relu(Wᵢ ∗ pool(hᵢ₋₁) + bᵢ),   uᵢ = relu(Vᵢ ∗ [repeat(uᵢ₊₁), hᵢ] + cᵢ),   shares = softmax(W u₀ + b)

The batch norms of its training are within the weights. Every convolution is zero-padded and as long as what goes in,
so any length of lead will do.

The weights were learnt from the recordings and cardiologists' marks of the Lobachevsky University Database (LUDB,
Kalyakulina et al. 2020, doi:10.1109/ACCESS.2020.3029211), made available under the Open Data Commons Attribution
License v1.0 (ODC-By 1.0).

Reference:
    Ronneberger, Fischer and Brox 2015, doi:10.1007/978-3-319-24574-4_28.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from stethos.signal.filter import bandpass
from stethos.signal.gaps import bridge
from stethos.types import Signal

RATE = 250.0  # Hz
BAND = (0.5, 40.0)  # Hz
STEP = 32  # samples that are one at the coarsest level
SCALE_SECONDS = 2.0  # a span in which even a slow heart beats once
NOTHING, P, QRS, T = range(4)

Weights = Mapping[str, np.ndarray]
"""Of layer i: `wi`, (taps, out, in), and `bi`, `(out,)`."""


def prepared(lead: Signal) -> np.ndarray:
    """What the network sees: 0.5 to 40 Hz at 250 Hz, in units of the usual distance of top and bottom, `(T,)`.

    Args:
        lead: One channel of ECG above 50 Hz, a second or longer; NaN is bridged.
    """
    passed = bandpass(lead, BAND[0], min(BAND[1], 0.4 * lead.rate), order=2)
    trace = bridge(passed.values)[0][0]
    count = int(np.ceil(len(trace) * RATE / lead.rate))
    trace = np.interp(np.arange(count) / RATE, np.arange(len(trace)) / lead.rate, trace)
    parts = np.array_split(trace, max(1, round(count / RATE / SCALE_SECONDS)))
    # median: an artefact in one part does not make all beats small
    height = np.median([np.ptp(part) for part in parts])
    return trace / height if height > 0 else np.zeros(count)


def shares(trace: np.ndarray, weights: Weights) -> np.ndarray:
    """Probability of nothing, P, QRS and T at each sample, `(4, T)`.

    Args:
        trace: From `prepared`, `(T,)`.
        weights: From `trained`.
    """
    x = np.pad(trace, (0, -len(trace) % STEP)).astype(np.float32)[None]  # (1, T')
    layers = len(weights) // 2
    levels = layers // 2 - 1
    aside = []
    for i in range(levels):
        aside.append(_layer(x, weights, i))
        x = np.maximum(aside[-1][:, ::2], aside[-1][:, 1::2])  # (C, T' / 2)
    x = _layer(_layer(x, weights, levels), weights, levels + 1)
    for i in range(levels):
        x = _layer(np.concatenate([np.repeat(x, 2, axis=1), aside.pop()]), weights, levels + 2 + i)
    logit = weights[f"w{layers - 1}"][0] @ x + weights[f"b{layers - 1}"][:, None]  # (4, T')
    raised = np.exp(logit - logit.max(axis=0))
    return (raised / raised.sum(axis=0))[:, : len(trace)]


@lru_cache(maxsize=1)
def trained() -> Weights:
    """The weights that lie beside this file, float32."""
    with np.load(Path(__file__).with_suffix(".npz")) as held:
        return {name: held[name].astype(np.float32) for name in held.files}


def _layer(x: np.ndarray, weights: Weights, i: int) -> np.ndarray:
    """Convolution with layer i's weights and rectification, (in, T) to (out, T)."""
    weight, length = weights[f"w{i}"], x.shape[1]
    half = len(weight) // 2
    padded = np.pad(x, ((0, 0), (half, half)))
    total = np.repeat(weights[f"b{i}"][:, None], length, axis=1)
    for tap, matrix in enumerate(weight):
        total += matrix @ padded[:, tap : tap + length]
    return np.maximum(total, 0, out=total)
