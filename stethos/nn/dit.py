"""A transformer whose layers are steered by a condition: the velocity of a flow on tokens.

    tokens ─ W ─ + place (+ a condition of its own) ─ blocks ─ norm (scaled, shifted by c) ─ W′ ─►  velocity
    block:   x + g₁(c) attention(n₁(x, c)),  then  x + g₂(c) feedforward(n₂(x, c)),    n(x, c) = (1 + s(c)) LN(x) + b(c)

The last layer starts at zero; the gates do not quite, so that the condition is heard from the first step.

Reference:
    Peebles and Xie 2023, arXiv:2212.09748.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DiT(nn.Module):
    """The transformer.

    Args:
        tokens: L, places.
        channels: C of a token, in and out.
        width: D.
        depth: Blocks.
        heads: Of the attention, a divisor of the width.
        start: Standard deviation of the steering weights before training.
    """

    def __init__(self, tokens: int, channels: int, width: int, depth: int, heads: int, start: float = 0.02) -> None:
        super().__init__()
        self.into = nn.Linear(channels, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.clock = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(_Steered(width, heads, start) for _ in range(depth))
        self.steer = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor, own: Tensor | None = None) -> Tensor:
        """The velocity.

        Args:
            x: Tokens `(B, L, C)`.
            time: t in [0, 1], `(B,)`.
            condition: c `(B, D)`.
            own: A condition of each token, `(B, L, D)`.
        """
        steering = F.silu(self.clock(clock_face(time, self.place.shape[1])) + condition)
        hidden = self.into(x) + self.place
        hidden = hidden if own is None else hidden + own
        for block in self.blocks:
            hidden = block(hidden, steering)
        shift, scale = self.steer(steering)[:, None].chunk(2, dim=2)
        return self.out(F.layer_norm(hidden, hidden.shape[-1:]) * (1 + scale) + shift)


class _Steered(nn.Module):
    def __init__(self, width: int, heads: int, start: float) -> None:
        super().__init__()
        self.heads = heads
        self.steer = nn.Linear(width, 6 * width)
        self.keys = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        nn.init.normal_(self.steer.weight, std=start)
        nn.init.zeros_(self.steer.bias)

    def forward(self, x: Tensor, steering: Tensor) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.steer(steering)[:, None].chunk(6, dim=2)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        x = x + (1 + gate) * self.join(self._attended(seen))
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale2) + shift2
        return x + (1 + gate2) * self.think(seen)

    def _attended(self, seen: Tensor) -> Tensor:
        query, key, value = self.keys(seen).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def clock_face(time: Tensor, width: int) -> Tensor:
    """Sines and cosines of t ∈ [0, 1] at frequencies from 1 to 1000 radians, `(B, width)`."""
    turns = torch.exp(math.log(1000) * torch.arange(width // 2, device=time.device, dtype=time.dtype) / (width // 2))
    angle = time[:, None] * turns
    return torch.cat([angle.sin(), angle.cos()], dim=1)
