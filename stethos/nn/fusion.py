"""The shape of a pulse beside what an encoder knows of it, and a gate between the two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stethos.nn.net1d import Net1d


class Morphology(nn.Module):
    """A residual network on the pulse and its first two differences, `(N, S)` to `(N, M)`.

    The second difference is what wave detectors of the accelerated pulse read; here a network learns what to read.

    Args:
        widths: Channels of each stage, multiples of 16.
        blocks: Residual blocks in each stage.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.net = Net1d(3, widths=widths, blocks=blocks)
        self.net.head.requires_grad_(False)  # features alone are used
        self.width = self.net.width

    def forward(self, x: Tensor) -> Tensor:
        """Features of patches; the differences are of the patch as it is, invalid samples are 0."""
        return self.net.features(torch.stack([x, *differences(x)], dim=1))


def differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """First and second difference of patches `(N, S)`, each of the patch's own spread and length."""
    first = nn.functional.pad(x.diff(dim=1), (1, 0))
    second = nn.functional.pad(first.diff(dim=1), (0, 1))
    return tuple(each / each.std(dim=1, keepdim=True).clamp(min=1e-3) for each in (first, second))  # type: ignore[return-value]


class GatedFusion(nn.Module):
    """Two rows as one, `(B, A)` and `(B, M)` to `(B, F)`: a gate says of each number which row it is from.

        a, b = W_a one, W_b other,   g = σ(MLP [a; b]),   row = LN(W (g a + (1 − g) b))

    Args:
        one: A.
        other: M.
        width: F.

    Reference:
        He et al. 2026, arXiv:2606.15284.
    """

    def __init__(self, one: int, other: int, width: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(one, width), nn.Linear(other, width)
        self.gate = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width))
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """The row."""
        a, b = self.one(one), self.other(other)
        share = self.gate(torch.cat([a, b], dim=1)).sigmoid()
        return self.norm(self.out(share * a + (1 - share) * b))

    def shares(self, one: Tensor, other: Tensor) -> Tensor:
        """How much the first row counts, mean over its numbers, `(B,)`."""
        a, b = self.one(one), self.other(other)
        return self.gate(torch.cat([a, b], dim=1)).sigmoid().mean(1)
