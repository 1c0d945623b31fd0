"""An autoencoder of cines: eight times smaller in space, as many frames as before.

    x (B, F, H, W) ── three strided stages a frame ── mix over frames ──►  mean, log variance (B, 4, F, H/8, W/8)
    z ── mix over frames ── three stages up ──►  x̂ (B, F, H, W)

What mixes frames is a convolution around the cycle: the frame after the last is the first.

Reference:
    Kingma and Welling 2014, arXiv:1312.6114.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLER = 8  # times, in each direction of space


class CineVAE(nn.Module):
    """The autoencoder.

    Args:
        width: Channels of the first stage, a multiple of 16; the next have twice and four times as many.
        latent: Channels of the latent picture.
        turns: Whether frames are mixed.
    """

    def __init__(self, width: int, latent: int = 4, turns: bool = True) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.latent = latent
        self.down = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, padding=1),
            *_stage(width),
            nn.Conv2d(width, widths[1], 4, 2, padding=1),
            *_stage(widths[1]),
            nn.Conv2d(widths[1], widths[2], 4, 2, padding=1),
            *_stage(widths[2]),
        )
        self.mix_in = _Turn(widths[2]) if turns else nn.Identity()
        self.to_latent = nn.Conv2d(widths[2], 2 * latent, 1)
        self.from_latent = nn.Conv2d(latent, widths[2], 3, padding=1)
        self.mix_out = _Turn(widths[2]) if turns else nn.Identity()
        self.up = nn.Sequential(
            *_stage(widths[2]),
            *_doubled(widths[2], widths[1]),
            *_stage(widths[1]),
            *_doubled(widths[1], width),
            *_stage(width),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, 4, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, cine: Tensor) -> tuple[Tensor, Tensor]:
        """Cines `(B, F, H, W)` to mean and log variance, `(B, C, F, H / 8, W / 8)` each."""
        frames = cine.shape[1]
        hidden = self.mix_in(_Frames(frames).folded(self.down(cine.flatten(0, 1)[:, None])))
        both = _Frames(frames).folded(self.to_latent(_Frames(frames).single(hidden)))
        mean, log_variance = both.chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 6)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent cines `(B, C, F, h, w)` to cines `(B, F, H, W)`."""
        frames = _Frames(latent.shape[2])
        hidden = self.mix_out(frames.folded(self.from_latent(frames.single(latent))))
        return frames.folded(self.up(frames.single(hidden)))[:, 0]


class _Frames:
    """Between pictures one by one, `(B F, C, h, w)`, and cines, `(B, C, F, h, w)`."""

    def __init__(self, count: int) -> None:
        self.count = count

    def folded(self, pictures: Tensor) -> Tensor:
        return pictures.unflatten(0, (-1, self.count)).transpose(1, 2)

    def single(self, cines: Tensor) -> Tensor:
        return cines.transpose(1, 2).flatten(0, 1)


class _Turn(nn.Module):
    """Each place of the picture looks one frame back and one ahead, around the cycle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.look = nn.Conv1d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        course = self.norm(x).permute(0, 3, 4, 1, 2).flatten(0, 2)  # (B h w, C, F)
        seen = self.look(F.pad(F.silu(course), (1, 1), mode="circular"))
        return x + seen.unflatten(0, (len(x), *x.shape[3:])).permute(0, 3, 4, 1, 2)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _stage(width: int) -> tuple[nn.Module, ...]:
    return (_Residual(width),)


def _doubled(before: int, after: int) -> tuple[nn.Module, ...]:
    """Twice as large each way: a quarter of the channels becomes each of four neighbours."""
    return nn.Conv2d(before, 4 * after, 1), nn.PixelShuffle(2)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) of every latent number, nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def sampled(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A draw of the latent cine, given standard normal noise of its shape."""
    return mean + torch.exp(0.5 * log_variance) * noise
