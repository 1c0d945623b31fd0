"""A running mean of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn


def average_decay(updates: int, largest: float) -> float:
    """Decay of the next update: short memory at first, while the weights still run.

        min(largest, (1 + n) / (10 + n))

    Args:
        updates: n, the updates made so far.
        largest: In [0, 1).
    """
    return min(largest, (1 + updates) / (10 + updates))


@final
class Average:
    """Exponential moving average of the trainable weights; all else is the network's own.

    Args:
        model: Whose weights; their present values are the start.
        largest: Largest decay, in [0, 1).
    """

    def __init__(self, model: nn.Module, largest: float) -> None:
        self.largest = largest
        self.updates = 0
        self.weights = {name: weight.detach().clone() for name, weight in _trainable(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the network's weights: mean ← d · mean + (1 − d) · weight."""
        decay = average_decay(self.updates, self.largest)
        for name, weight in _trainable(model):
            self.weights[name].lerp_(weight, 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The network with the mean weights; its own come back at the end, bit for bit."""
        own = {name: weight.detach().clone() for name, weight in _trainable(model)}
        _put(model, self.weights)
        try:
            yield
        finally:
            _put(model, own)

    def state(self) -> dict[str, int | dict[str, Tensor]]:
        """What `restore` needs."""
        return {"updates": self.updates, "weights": self.weights}

    def restore(self, state: dict) -> None:
        """Take up where `state` left off."""
        self.updates = state["updates"]
        for name, weight in state["weights"].items():
            self.weights[name].copy_(weight)


def _trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


@torch.no_grad()
def _put(model: nn.Module, weights: dict[str, Tensor]) -> None:
    for name, weight in _trainable(model):
        weight.copy_(weights[name])
