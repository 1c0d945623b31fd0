"""The straight path between a source and data, and the velocity that a network learns.

    x_t = (1 − t) x₀ + t x₁,    v = x₁ − x₀,    loss = mean w (u(x_t, t) − v)²

Reference:
    Lipman et al. 2023, arXiv:2210.02747. Liu et al. 2023, arXiv:2209.03003.
"""

from __future__ import annotations

from torch import Tensor


def along(source: Tensor, data: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Where a point is at a time, and its velocity.

    Args:
        source: x₀, `(B, …)`.
        data: x₁, `(B, …)`.
        time: t in [0, 1], `(B,)`.

    Returns:
        x_t and v, `(B, …)` each.
    """
    t = time.reshape(-1, *[1] * (data.dim() - 1))
    return (1 - t) * source + t * data, data - source
