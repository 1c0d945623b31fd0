"""Net1D: the convolutional residual network of ECGFounder, at any width.

A stem halves the time axis; then come stages, and the first block of each halves it again. With σ for the
logistic function and swish(v) = v σ(v), a block is

    h = conv₃(swish(conv₂(swish(conv₁(swish(x))))))            1 × 1, 16 in groups of 16 channels, 1 × 1
    y = x̃ + h · σ(W₂ swish(W₁ mean_t h))

where x̃ is x, max-pooled by two where the block halves time and padded with zero channels where it widens.
There is no normalisation: the published weights were trained with their batch norms switched off, so those
norms are not part of this network. Logits are a linear map of the mean over time; any length will do.

SAME padding for a kernel of 16 asks for 7 zeros before and 7 or 8 behind, depending on stride and parity.
Always adding 8 gives the same outputs, since with 7 asked for the eighth is never read; so an exported graph
computes no shapes.

Reference:
    Li et al. 2025, NEJM AI 2(7) AIoa2401033, arXiv:2410.04133 (ECGFounder).
    Hong et al. 2020, doi:10.1016/j.compbiomed.2020.103801 (Net1D).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethos.errors import RecipeError, WeightsError
from stethos.nn.ecgfounder import published_name, read_ecgfounder
from stethos.nn.strict import refuse_misfit

KERNEL = 16
GROUP_WIDTH = 16

WIDTHS = (64, 160, 160, 400, 400, 1024, 1024)
BLOCKS = (2, 2, 2, 3, 3, 4, 4)

# Widths and blocks. The fractions are rough, for every width has to be a multiple of the group width.
LADDERS = {
    1.0: (WIDTHS, BLOCKS),
    0.5: ((32, 64, 64, 160, 160, 512, 512), BLOCKS),
    0.25: ((16, 32, 32, 80, 80, 256, 256), (2, 2, 2, 2, 2, 2, 2)),
}


def pad_same(x: Tensor) -> Tensor:
    """Zeros around `(B, C, T)` so that a kernel of 16 returns ⌈T / stride⌉ samples: 7 before, 8 behind."""
    return F.pad(x, ((KERNEL - 1) // 2, KERNEL // 2))


def halve(x: Tensor) -> Tensor:
    """Largest of each two neighbours, `(B, C, T)` to `(B, C, ⌈T/2⌉)`; an odd last sample is paired with 0."""
    return F.max_pool1d(F.pad(x, (0, 1)), 2)


def widen(x: Tensor, width: int) -> Tensor:
    """Zero channels around `(B, C, T)` up to `width`: ⌊(width − C) / 2⌋ in front, the rest behind."""
    more = width - x.shape[-2]
    return F.pad(x, (0, 0, more // 2, more - more // 2))


class Block(nn.Module):
    """One residual block with squeeze and excitation, `(B, inputs, T)` to `(B, outputs, ⌈T/stride⌉)`.

    Args:
        inputs: Channels that come in.
        outputs: Channels that leave, a multiple of 16, at least `inputs`.
        stride: 2 halves the time axis, 1 keeps it.
        opening: The first block of the network, whose input is already activated.
        dropout: Chance that an activation before a convolution is zeroed in training.
        skip: Chance that a row passes by the identity alone in training.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, opening: bool, dropout: float, skip: float) -> None:
        super().__init__()
        self.stride, self.opening, self.dropout, self.skip = stride, opening, dropout, skip
        self.conv1 = nn.Conv1d(inputs, outputs, 1)
        self.conv2 = nn.Conv1d(outputs, outputs, KERNEL, stride, groups=outputs // GROUP_WIDTH)
        self.conv3 = nn.Conv1d(outputs, outputs, 1)
        self.squeeze = nn.Linear(outputs, outputs // 2)
        self.excite = nn.Linear(outputs // 2, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Identity plus gated residual."""
        h = self.conv1(x if self.opening else self._activate(x))
        h = self.conv2(pad_same(self._activate(h)))  # (B, outputs, ⌈T/stride⌉)
        h = self.conv3(self._activate(h))
        gate = self.excite(F.silu(self.squeeze(h.mean(-1)))).sigmoid()  # (B, outputs)
        identity = x if self.stride == 1 else halve(x)
        return widen(identity, self.conv3.out_channels) + self._survive(h * gate.unsqueeze(-1))

    def _activate(self, x: Tensor) -> Tensor:
        return F.dropout(F.silu(x), self.dropout, self.training)

    def _survive(self, residual: Tensor) -> Tensor:
        if not self.training or self.skip == 0:
            return residual
        alive = torch.rand(residual.shape[0], 1, 1, device=residual.device) >= self.skip
        return residual * alive / (1 - self.skip)


class Net1d(nn.Module):
    """The network of ECGFounder: a stem, stages of residual blocks, the mean over time, a linear head.

    Weights are drawn from torch's own generator, as by every module of torch; so are dropout and stochastic
    depth, both off by default.

    Args:
        channels: Leads that come in.
        classes: Logits that leave.
        widths: Channels of each stage, multiples of 16 that never shrink; the stem has the first.
        blocks: Residual blocks in each stage.
        dropout: Chance that an activation before a convolution is zeroed in training.
        stochastic_depth: Chance that the last block is skipped for a row in training; it grows linearly
            from zero at the first block.

    Raises:
        RecipeError: The widths and blocks do not make a network.

    Reference:
        Huang et al. 2016, arXiv:1603.09382 (stochastic depth).
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 1,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        _refuse_shape(widths, blocks)
        self.channels, self.classes = channels, classes
        self.widths, self.blocks, self.width = tuple(widths), tuple(blocks), widths[-1]
        skips = iter(torch.linspace(0, stochastic_depth, sum(blocks), device="cpu").tolist())
        self.stem = nn.Conv1d(channels, widths[0], KERNEL, stride=2)
        self.stages = nn.Sequential()
        for stage, (inputs, outputs) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            rows = [
                Block(outputs if b else inputs, outputs, 1 if b else 2, stage + b == 0, dropout, next(skips))
                for b in range(blocks[stage])
            ]
            self.stages.append(nn.Sequential(*rows))
        self.head = nn.Linear(self.width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Mean over time of the last stage, `(B, C, T)` to `(B, D)`; D is `width`."""
        return self.stages(F.silu(self.stem(pad_same(x)))).mean(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, `(B, C, T)` to `(B, K)`."""
        return self.head(self.features(x))

    def replace_head(self, classes: int) -> Self:
        """Put a new, untrained head of `classes` logits in place of the old one; returns the network."""
        self.head = nn.Linear(self.width, classes, device=self.head.weight.device, dtype=self.head.weight.dtype)
        self.classes = classes
        return self

    @classmethod
    def scaled(
        cls,
        fraction: float,
        channels: int = 1,
        classes: int = 1,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> Self:
        """A narrower one: 1 (30.6 M parameters), 0.5 (8.0 M) or 0.25 (1.2 M, and two blocks a stage).

        Raises:
            RecipeError: There is no ladder of that fraction.
        """
        if fraction not in LADDERS:
            raise RecipeError(
                f"Net1d comes at {', '.join(f'{part:g}' for part in LADDERS)} of its width, not at "
                f"{fraction:g}; give the widths of the stages themselves for another ladder"
            )
        widths, blocks = LADDERS[fraction]
        return cls(channels, classes, widths, blocks, dropout, stochastic_depth)

    @classmethod
    def from_ecgfounder(cls, path: str | Path, dropout: float = 0.0, stochastic_depth: float = 0.0) -> Self:
        """The network of a published ECGFounder checkpoint, with its weights and its head.

        Leads, classes, widths and blocks are read from the tensors. What is left behind (unused batch norms,
        optimiser, …) is logged by name; see `read_ecgfounder`.

        Raises:
            WeightsError: The file is no such checkpoint, or a tensor is missing, unexpected or misshapen.
        """
        found = read_ecgfounder(path)
        try:
            with torch.device("meta"):
                net = cls(found.channels, found.classes, found.widths, found.blocks, dropout, stochastic_depth)
        except RecipeError as error:
            raise WeightsError(f"{path}: holds the weights of another architecture: {error}") from error
        needed = {published_name(name): tensor for name, tensor in net.state_dict().items()}
        refuse_misfit(needed, found.tensors, str(path))
        net.load_state_dict({name: found.tensors[published_name(name)] for name in net.state_dict()}, assign=True)
        return net


def _refuse_shape(widths: Sequence[int], blocks: Sequence[int]) -> None:
    if not widths or len(widths) != len(blocks) or min(blocks) < 1:
        raise RecipeError(f"Net1d needs a width and a block or more per stage, got {widths} and {blocks}")
    if any(width <= 0 or width % GROUP_WIDTH for width in widths) or list(widths) != sorted(widths):
        raise RecipeError(f"Net1d needs multiples of {GROUP_WIDTH} that never shrink as widths, got {widths}")
