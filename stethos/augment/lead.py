"""One ECG lead as another electrode, another rate, another moment would have shown it."""

from __future__ import annotations

from torch import Tensor

from stethos.augment import draws
from stethos.augment.time import add_noise, hide_block, scale, shift, stretch, wander


def augmented(x: Tensor, seed: int, step: int, rows: Tensor, strength: float) -> Tensor:
    """Windows shifted, stretched, scaled, with noise and wander added and a block hidden, `(B, 1, T)`.

    Args:
        x: Prepared windows `(B, 1, T)`.
        seed: Of the run.
        step: Of the training.
        rows: Place of each window in the whole step's batch, `(B,)`.
        strength: 0 for none, 1 as recommended.
    """
    if strength == 0:
        return x
    u = [draws.uniform(seed, step, rows, 1, stream) for stream in range(5)]
    x = shift(x, u[0], most=x.shape[-1] // 2)
    x = stretch(x, u[1], most=0.1 * strength)
    x = scale(x, u[2], spread=0.2 * strength)
    noise = draws.normal(seed, step, rows, tuple(x.shape[1:]), stream=5) * u[3][..., None]
    x = add_noise(x, noise, spread=0.1 * strength)
    x = wander(x, draws.uniform(seed, step, rows, 3, stream=6), amplitude=0.1 * strength)
    return hide_block(x, u[4], fraction=0.2 * strength)
