"""Walking an ordinary differential equation from t = 0 to t = 1 in equal steps: Euler, midpoint, Heun.

Each step of Euler errs by O(h²) and the whole way by O(h); midpoint and Heun ask twice a step and err by O(h²).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from stethos.errors import RecipeError

Velocity = Callable[[Tensor, Tensor], Tensor]


def euler(velocity: Velocity, x: Tensor, time: Tensor, step: Tensor) -> Tensor:
    """X + h v(x, t)."""
    return x + step * velocity(x, time)


def midpoint(velocity: Velocity, x: Tensor, time: Tensor, step: Tensor) -> Tensor:
    """X + h v(x + ½ h v, t + ½ h)."""
    return x + step * velocity(x + step / 2 * velocity(x, time), time + step / 2)


def heun(velocity: Velocity, x: Tensor, time: Tensor, step: Tensor) -> Tensor:
    """X + ½ h (v + v′), v′ where Euler's step ends."""
    first = velocity(x, time)
    return x + step / 2 * (first + velocity(x + step * first, time + step))


SOLVERS = {"euler": euler, "midpoint": midpoint, "heun": heun}


def solve(velocity: Velocity, start: Tensor, steps: int, method: str = "euler") -> Tensor:
    """Where a point that starts at t = 0 is at t = 1.

    Args:
        velocity: (x `(B, …)`, t `(B,)`) → dx/dt `(B, …)`.
        start: x at t = 0, `(B, …)`.
        steps: How many equal steps.
        method: "euler", "midpoint" or "heun".

    Raises:
        RecipeError: The method is none of these, or there is no step.
    """
    if method not in SOLVERS or steps < 1:
        raise RecipeError(f"needs at least one step of {', '.join(SOLVERS)}; got {steps} of {method!r}")
    move, x = SOLVERS[method], start
    times = torch.linspace(0, 1, steps + 1, dtype=start.dtype, device=start.device)
    for now, then in pairwise(times):
        x = move(lambda at, time: velocity(at, time.expand(len(at))), x, now, then - now)
    return x
