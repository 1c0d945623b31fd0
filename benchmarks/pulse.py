"""What tokens of a second buy: patches that an encoder learns from in a core-second, against a token a sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from stethos.systems import cap
from stethos.types import Signal

PATCHES = 4  # of the reference in one pass: it is slow
RECORD = 300.0  # s


def measure() -> dict[str, float]:
    """Ratios of this library's encoder to the published one at the same width, on one thread."""
    torch.manual_seed(0)
    ours, theirs = cap.Pulse(cap.Recipe()).train(), cap.Pulse(cap.reference()).train()
    fast = 16 * PATCHES / cpu(lambda: step(ours, 16 * PATCHES), 3)
    slow = PATCHES / cpu(lambda: step(theirs, PATCHES), 1)
    signal = Signal(
        np.random.default_rng(0).normal(size=(1, int(125 * RECORD))).astype(np.float32), 125.0, ("PLETH",), "1"
    )
    return {
        "pulse.patches_per_core_second": fast / slow,
        "pulse.embedding_of_five_minutes": embedding(cap.reference(), signal, 1) / embedding(cap.Recipe(), signal, 3),
    }


def step(network: cap.Pulse, patches: int) -> None:
    """Forward and backward over patches of the network's own length."""
    samples = network.encoder.shape.samples
    x = torch.ones(patches, 1, 2, samples)
    x[:, 0, 0] = torch.randn(patches, samples)
    network.describe(x).square().mean().backward()


def embedding(recipe: cap.Recipe, signal: Signal, times: int) -> float:
    """Core-seconds to prepare and embed a recording."""
    network = cap.CAP(replace(recipe, text="bag", text_layers=0)).eval()

    def once() -> None:
        with torch.inference_mode():
            network.embed(network.prepare(signal))

    return cpu(once, times)


def cpu(work: Callable[[], None], times: int) -> float:
    """Core-seconds of one call, after one that is not counted."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times
