"""A pulse as another gain and a noisier sensor would have shown it; what carries the rates is left alone."""

from __future__ import annotations

import torch
from torch import Tensor

from stethos.augment import draws

GAIN = 0.2
NOISE = 0.1  # spreads of the signal


def as_seen_by(view: int, x: Tensor, seed: int, step: int, rows: Tensor, strength: float) -> Tensor:
    """Recordings with a gain of their own and noise of a level of their own, `(B, P, 2, S)`.

    Nothing is stretched, shifted or turned round: heart rate, breathing and pressure would be other ones.

    Args:
        view: Number of the pass; each draws anew.
        x: Values and validity; what is not valid stays 0.
        seed: Of the run.
        step: Of the training.
        rows: Place of each recording in the whole step's batch, `(B,)`.
        strength: 0 for none, 1 as recommended.
    """
    if strength == 0:
        return x
    u = draws.uniform(seed, step, rows, 2, stream=2 * view + 20).view(-1, 2, 1, 1)
    noise = draws.normal(seed, step, rows, (x.shape[1], x.shape[3]), stream=2 * view + 21)
    values, valid = x[:, :, 0], x[:, :, 1]
    values = values * (1 + GAIN * strength * (2 * u[:, 0] - 1)) + NOISE * strength * u[:, 1] * noise
    return torch.stack([values * valid, valid], dim=2)
