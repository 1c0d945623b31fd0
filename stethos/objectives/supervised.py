"""Objectives with a known answer, element by element, NaN where the answer is unknown.

Each returns the values and which of them count, so that whoever takes the mean can divide by the count of the
whole step, on however many processes it is spread:

    loss = global_mean(*masked_bce(logits, truth))
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_bce(logits: Tensor, truth: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of each class by itself.

        ℓ = log(1 + e^z) − y z,   y = (1 − s) truth + s/2

    Args:
        logits: z, `(N, K)`.
        truth: 0, 1 or a probability between; NaN where unknown, `(N, K)`.
        smoothing: s in [0, 1), the part of the certainty that is taken from the truth.

    Returns:
        The values, 0 where unknown, and whether each is known; both `(N, K)`.
    """
    known, target = _known(truth, logits)
    target = target * (1 - smoothing) + smoothing / 2
    values = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return torch.where(known, values, 0.0), known


def masked_mse(estimate: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Squared difference of each element.

    Args:
        estimate: Any shape.
        truth: The same shape; NaN where unknown.

    Returns:
        The values, 0 where unknown, and whether each is known.
    """
    known, target = _known(truth, estimate)
    return torch.where(known, (estimate - target).square(), 0.0), known


def _known(truth: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Which truths are known, and the truths with 0 for the rest: a masked NaN still reaches the gradient."""
    known = ~torch.isnan(truth)
    return known, torch.where(known, truth, 0.0).to(like.dtype)
