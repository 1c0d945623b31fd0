"""A network that outlines: every pixel of a picture gets the logits of its labels.

Reference:
    Ronneberger et al. 2015, arXiv:1505.04597.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """Two stages down, two up, joined across.

    Args:
        labels: K, background among them.
        width: Channels of the first stage, a multiple of 16.
        block: Pixels, each way, that the first stage takes as one; 2 makes it four times as fast.
    """

    def __init__(self, labels: int = 4, width: int = 16, block: int = 2) -> None:
        super().__init__()
        self.block = block
        self.first = _Pair(block**2, width)
        self.second = _Pair(width, 2 * width)
        self.third = _Pair(2 * width, 4 * width)
        self.fourth = _Pair(6 * width, 2 * width)
        self.fifth = _Pair(3 * width, width)
        self.out = nn.Conv2d(width, labels * block**2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures `(N, H, W)`, sides multiples of four blocks, to logits `(N, K, H, W)`."""
        return self.both(pictures)[0]

    def both(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and what the narrowest stage holds of each picture, averaged over space, `(N, 4 width)`."""
        fine = self.first(F.pixel_unshuffle(pictures[:, None], self.block))
        middle = self.second(F.max_pool2d(fine, 2))
        coarse = self.third(F.max_pool2d(middle, 2))
        middle = self.fourth(torch.cat([F.interpolate(coarse, scale_factor=2), middle], dim=1))
        last = self.fifth(torch.cat([F.interpolate(middle, scale_factor=2), fine], dim=1))
        return F.pixel_shuffle(self.out(last), self.block), coarse.mean((2, 3))


class _Pair(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1),
            nn.GroupNorm(8, after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.GroupNorm(8, after),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
