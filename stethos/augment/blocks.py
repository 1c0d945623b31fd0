"""Which stretches of a signal are hidden, so that a network has something to restore."""

from __future__ import annotations

import torch
from torch import Tensor


def hidden_blocks(u: Tensor, samples: int, block: int, share: float) -> Tensor:
    """Blocks of equal length, each hidden by itself; where they begin differs from row to row.

    Single samples can be restored from their neighbours; a block of several beats only by whoever knows the rhythm.

    Args:
        u: Draws `(B, n)`, n = 3 + samples // block: the first shifts all blocks, the others decide on one each.
        samples: Of a row.
        block: Samples of a block; 1 hides sample by sample.
        share: Chance that a block is hidden.

    Returns:
        True where hidden, `(B, samples)`.
    """
    shift = torch.floor(u[:, :1] * block).long()  # (B, 1)
    number = (torch.arange(samples, device=u.device) + shift) // block  # (B, samples)
    return (u[:, 1:] < share).gather(1, number)
