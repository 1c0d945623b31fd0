"""MobileFaceNet: a small convolutional network from a picture to one vector, used on spectrograms of sound.

    picture (B, C, 128, 313) ─ 3×3, s 2 ─ depthwise 3×3 ─ 6 inverted residuals, the map halved by the 1st, 3rd and 5th
        ─ 1×1 to 512 ─ depthwise over the whole map ─ 1×1 ─ (B, D)

An inverted residual widens by a 1×1 convolution, filters each channel by itself, and narrows again without an
activation; where the map keeps its size, its input is added. Each convolution is followed by batch norm over all
processes, and by a PReLU with a slope a channel, but for the narrowing ones and the last two. It gains from
`memory_format=torch.channels_last`.

A mean over the map gives every place the same say; the depthwise convolution over it learns which places count.

Reference:
    Chen et al. 2018, arXiv:1804.07573.
    Liu et al. 2022, arXiv:2201.05510 (these strides and widths).
"""

import math

import torch
from torch import Tensor, nn

from stethos.errors import RecipeError
from stethos.nn.norm import BatchNorm
from stethos.nn.prelu import PReLU

STEM, TRUNK, WIDE = 64, 128, 512  # channels at full scale
STAGES = ((2, 2), (4, 2), (4, 2))  # how much wider inside, how many blocks; the first of each halves the map


class Depthwise(nn.Conv2d):
    """A filter of its own for each channel, 3×3, `(B, C, H, W)` to `(B, C, ⌈H/stride⌉, ⌈W/stride⌉)`.

    Its backward pass with a stride takes four times as long in bfloat16 on a CPU as in float32 (torch 2.13), and was a
    quarter of a training step; so there it is computed in float32 whatever the autocast around it.

    Args:
        channels: C.
        stride: 1 keeps the map, 2 halves it.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filtered."""
        if self.stride == (1, 1) or not x.is_cpu:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.to(self.weight.dtype))


class InvertedResidual(nn.Module):
    """Widen, filter, narrow, `(B, inputs, H, W)` to `(B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)`.

    Args:
        inputs: Channels that come in.
        outputs: Channels that leave.
        stride: 2 halves the map; 1 keeps it, and adds the input where the channels allow.
        widening: Channels inside, as a multiple of `inputs`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, widening: int) -> None:
        super().__init__()
        inside = widening * inputs
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *_pointwise(inputs, inside),
            PReLU(inside),
            Depthwise(inside, stride),
            BatchNorm(inside),
            PReLU(inside),
            *_pointwise(inside, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileFace(nn.Module):
    """Pictures to vectors, `(B, C, H, W)` to `(B, D)`.

    Args:
        channels: C, of the picture.
        width: D, of the vector.
        grid: Rows and columns of the last map, a sixteenth of the picture's, rounded up; (8, 20) for 128 bands and
            313 frames. Columns of None take a mean over time in place of learnt weights, and read clips of any
            length; None alone is (8, None).
        scale: Of all channels inside, rounded to multiples of 8; 1 is the published network.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 128,
        grid: tuple[int, int | None] | None = (8, 20),
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.width, self.grid = width, (8, None) if grid is None else grid
        stem, trunk, wide = (max(8, 8 * round(scale * count / 8)) for count in (STEM, TRUNK, WIDE))
        self.stem = nn.Sequential(
            nn.Conv2d(channels, stem, 3, 2, 1, bias=False),
            BatchNorm(stem),
            PReLU(stem),
            Depthwise(stem),
            BatchNorm(stem),
            PReLU(stem),
        )
        self.blocks = nn.Sequential()
        for stage, (widening, count) in enumerate(STAGES):
            for block in range(count):
                inputs = stem if stage + block == 0 else trunk
                self.blocks.append(InvertedResidual(inputs, trunk, 1 if block else 2, widening))
        self.widen = nn.Sequential(*_pointwise(trunk, wide), PReLU(wide))
        rows, columns = self.grid
        self.fold = nn.Sequential(nn.Conv2d(wide, wide, (rows, columns or 1), groups=wide, bias=False), BatchNorm(wide))
        self.project = nn.Sequential(*_pointwise(wide, width))
        self.apply(_spread)

    def forward(self, picture: Tensor) -> Tensor:
        """One vector a picture.

        Raises:
            RecipeError: The picture ends in a map of another grid.
        """
        h = self.widen(self.blocks(self.stem(picture)))  # (B, 512, rows, columns)
        rows, columns = self.grid
        if h.shape[2] != rows or columns not in (None, h.shape[3]):
            raise RecipeError(
                f"this MobileFace needs a last map of {rows} × {columns or 'any'}, got {h.shape[2]} × {h.shape[3]} "
                f"from a picture of {picture.shape[2]} × {picture.shape[3]}; crop or pad the clips, or change grid"
            )
        if columns is None:
            h = h.mean(3, keepdim=True)  # a depthwise kernel that is the same at all times
        return self.project(self.fold(h)).flatten(1)


def _pointwise(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 1, bias=False), BatchNorm(outputs)


def _spread(module: nn.Module) -> None:
    """Draw the weights of a convolution from N(0, 2 / (kernel area · outputs))."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0, math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))
