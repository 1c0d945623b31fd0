"""Recordings blended with one another, and their labels with them.

    w x + (1 − w) x′,   w y + (1 − w) y′,   w ~ Beta(α, α)

Partners are drawn over the whole step's batch. A process that holds only some of its rows computes the same
partners from the ids of all rows, and loads or gathers those that it needs.

    place = partners(seed, step, rows)                          # (B,), rows of the whole step
    weight = beta(draws.uniform(seed, step, rows, 1, stream), 0.2)
    x, y = mixup(x, x[place], weight), mixup(y, y[place], weight)

Reference:
    Zhang et al. 2018, arXiv:1710.09412.
"""

import torch
from scipy.special import betaincinv
from torch import Tensor

from stethos.augment.draws import uniform


def partners(seed: int, step: int, rows: Tensor, stream: int = 0) -> Tensor:
    """A partner for each row: the batch in a random circle, each with the one before it.

    Args:
        seed: Of the run.
        step: Of the training.
        rows: Ids of all rows of the step, int64 `(B,)`.
        stream: As in `draws.uniform`; one that no other draw of the step uses.

    Returns:
        Places in the batch, int64 `(B,)`; no row is its own partner unless it is alone.
    """
    order = torch.argsort(uniform(seed, step, rows, 1, stream)[:, 0], stable=True)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def beta(u: Tensor, alpha: float) -> Tensor:
    """Weights with the distribution Beta(α, α), by its inverse; α = 0 gives one.

    Args:
        u: Draws `(B, 1)`.
        alpha: Near 0 the weight is nearly 0 or 1, at 1 it is uniform.

    Returns:
        Weight of the row itself, float32 `(B,)`.
    """
    if alpha == 0:
        return torch.ones_like(u[:, 0])
    weight = betaincinv(alpha, alpha, u[:, 0].double().cpu().numpy())
    return torch.from_numpy(weight).to(u)


def mixup(x: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Blend rows with their partners; used alike for signals and for labels.

    Args:
        x: Rows `(B, …)`.
        partner: Their partners, of the same shape.
        weight: Of the row itself, `(B,)`.
    """
    weight = weight.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return weight * x + (1 - weight) * partner
