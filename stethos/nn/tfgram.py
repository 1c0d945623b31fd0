"""Learnt spectrograms: two ways from a waveform to a picture of the shape of a log-mel spectrogram.

Both give 128 rows and, from a clip of T samples, 1 + ⌊T / 512⌋ columns, so that they can be laid over a `LogMel` of
hop 512 as channels:

    x (B, 1, T) ─┬─ LogMel ─ (B, 128, F) ─┐
                 ├─ Tgram ── (B, 128, F) ─┼─ stack ─ (B, 3, 128, F)
                 └─ TFgram ─ (B, 128, F) ─┘

Reference:
    Liu et al. 2022, arXiv:2201.05510 (Tgram, as in STgram-MFN).
    Kong et al. 2020, arXiv:1912.10211 (the Wavegram, whose front is TFgram).
    Huang et al. 2025, arXiv:2509.13853 (TFgram beside them, in OS-SCL).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethos.errors import RecipeError
from stethos.nn.norm import BatchNorm

HOP = 512


class TimeNorm(nn.Module):
    """Norm over time of each row of each clip by itself, `(B, C, F)`, for clips of any length.

    The scale and offset belong to a channel. (Those of `nn.LayerNorm(F)` belong to a time step, so that it fits one
    length of clip and can tell the beginning of a clip from its end.)

    Args:
        channels: C.
        eps: Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Mean 0 and variance 1 over time, then scale and offset."""
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * self.weight + self.bias


class Tgram(nn.Module):
    """A filterbank learnt in the time domain, `(B, 1, T)` to `(B, width, 1 + ⌊T / 512⌋)`.

    A convolution as long as 1024 samples, then three of norm over time, leaky ReLU and a convolution.

    Args:
        width: Rows.
        frames: Columns of the only length of clip that it will read, with the published norm; 313 are 10 s at
            16 kHz. None reads clips of any length, with `TimeNorm`.
    """

    def __init__(self, width: int = 128, frames: int | None = 313) -> None:
        super().__init__()
        self.frames = frames
        self.filters = nn.Conv1d(1, width, 2 * HOP, stride=HOP, padding=HOP, bias=False)
        self.layers = nn.Sequential()
        for _ in range(3):
            norm = TimeNorm(width) if frames is None else nn.LayerNorm(frames)
            convolution = nn.Conv1d(width, width, 3, padding=1, bias=False)
            self.layers.extend([norm, nn.LeakyReLU(0.2, inplace=True), convolution])

    def forward(self, wave: Tensor) -> Tensor:
        """A picture of each clip.

        Raises:
            RecipeError: The clips are not of the one length that was built for.
        """
        picture = self.filters(wave)
        if self.frames is not None and picture.shape[-1] != self.frames:
            low = (self.frames - 1) * HOP
            raise RecipeError(
                f"a Tgram of {self.frames} frames reads clips of {low} to {low + HOP - 1} samples, got "
                f"{wave.shape[-1]}; crop or pad them, or build it with frames=None"
            )
        return self.layers(picture)


class TFgram(nn.Module):
    """A filterbank of stacked convolutions and maxima, `(B, 1, T)` to `(B, width, F)`.

    T samples are halved in number five times over by the stem, four times by the first block, and brought to 2 F
    columns by the second and F by the third. The front of a Wavegram, without what follows it there.

    Its convolutions are written as two-dimensional, of height 1, since torch offers `channels_last` to these alone:
    on a CPU with bfloat16 a convolution then takes a third of the time.

    Args:
        width: Rows; the first two layers have half of it. Even.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        half = width // 2
        stem = nn.Conv2d(1, half, (1, 11), stride=(1, 5), padding=(0, 5), bias=False)
        self.stem = nn.Sequential(stem, BatchNorm(half), nn.ReLU(inplace=True))
        self.block1 = _pair(half, half)
        self.block2 = _pair(half, width)
        self.block3 = _pair(width, width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, wave: Tensor, frames: int | None = None) -> Tensor:
        """A picture of each clip.

        Args:
            wave: Clips `(B, 1, T)` of 20 samples or more.
            frames: F; None gives 1 + ⌊T / 512⌋.
        """
        columns = 1 + wave.shape[-1] // HOP if frames is None else frames
        h = F.max_pool2d(self.block1(self.stem(wave[:, :, None])), (1, 4))  # (B, width / 2, 1, ⌊⌈T / 5⌉ / 4⌋)
        h = _largest(self.block2(h), 2 * columns)  # (B, width, 1, 2 F)
        return _largest(self.block3(h), columns)[:, :, 0]


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions of three samples, the second with gaps."""
    layers = nn.Sequential()
    for step, channels in ((1, inputs), (2, outputs)):
        convolution = nn.Conv2d(channels, outputs, (1, 3), padding=(0, step), dilation=(1, step), bias=False)
        layers.extend([convolution, BatchNorm(outputs), nn.ReLU(inplace=True)])
    return layers


def _largest(x: Tensor, columns: int) -> Tensor:
    """Largest value of each of `columns` parts of the time axis, `(B, C, 1, L)` to `(B, C, 1, columns)`.

    Part i is of the samples from ⌊i L / columns⌋ to before ⌈(i + 1) L / columns⌉.
    """
    if not torch.compiler.is_compiling():
        return F.adaptive_max_pool2d(x, (1, columns))
    # ONNX has no pooling to a given number of columns; picking the samples of each part, some twice, is the same.
    edge, length = torch.arange(columns + 1), x.shape[-1]
    start, stop = edge[:-1] * length // columns, -(-edge[1:] * length // columns)
    part = start[:, None] + torch.arange(-(-length // columns) + 1)  # (columns, longest)
    return x[..., torch.minimum(part, stop[:, None] - 1)].amax(-1)
