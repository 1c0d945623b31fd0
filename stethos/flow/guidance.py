"""Guidance without a classifier: the velocity pushed away from what would be said without a condition.

Reference:
    Ho and Salimans 2022, arXiv:2207.12598.
"""

from __future__ import annotations

import torch
from torch import Tensor


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """U + g (c − u): g = 1 is the condition as learned, 0 none, above 1 more of it than the data have."""
    return unconditional + scale * (conditional - unconditional)


def dropped(chance: float, draws: Tensor) -> Tensor:
    """Which rows are trained without their condition, `(B,)` bool.

    Args:
        chance: 0 to 1.
        draws: Uniform numbers of the rows, `(B,)`.
    """
    return torch.as_tensor(draws) < chance
