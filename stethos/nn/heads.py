"""Small heads between an encoder and its objective."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethos.nn.norm import BatchNorm


class Bottleneck(nn.Module):
    """Two linear layers with a narrow middle, each with ReLU and then batch norm, `(B, D)` to `(B, D)`.

    Norm comes after the activation, so what leaves is centred and may be negative. It adds no noise, though it was
    published as a perturbation of features, and it stays in place when clips are scored.

    Args:
        width: D.
        hidden: Width of the middle.

    Reference:
        Huang et al. 2025, arXiv:2509.13853 (feature-perturbed head).
    """

    def __init__(self, width: int = 128, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            BatchNorm(hidden),
            nn.Linear(hidden, width),
            nn.ReLU(),
            BatchNorm(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same width."""
        return self.layers(features)


class CosineHead(nn.Module):
    """Cosine between each row and a learnt direction of each class, `(B, D)` to `(B, K)`.

    It computes in float32 or better whatever the autocast around it: a scale of 30 makes a cosine's rounding matter.

    Args:
        width: D.
        classes: K.

    Reference:
        Deng et al. 2019, arXiv:1801.07698.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, width)))

    def forward(self, features: Tensor) -> Tensor:
        """Cosines in [−1, 1]; rows need not be of unit length."""
        with torch.autocast(features.device.type, enabled=False):
            rows = F.normalize(features.to(self.weight.dtype), dim=-1)
            return rows @ F.normalize(self.weight, dim=-1).T
