"""Batch norm over the batch of all processes, and the re-estimation of its running statistics.

    y = w (x − m) / √(v + ε) + b

In training m and v are the mean and the variance of a channel over the whole step's batch, on however many
processes it is spread and whatever their shares, so two processes learn what one learns; in evaluation they are the
running ones. `torch.nn.SyncBatchNorm` computes the same but refuses tensors on a CPU.

Reference:
    Ioffe & Szegedy 2015, arXiv:1502.03167.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as processes
import torch.nn.functional as F
from torch import Tensor, nn

from stethos.errors import RecipeError


class BatchNorm(nn.Module):
    """Batch norm of `(B, C, …)` over all processes; alone, it is `nn.BatchNorm1d`, `2d` and `3d` in one.

    Names in the state dict are those of torch.

    Args:
        channels: C.
        eps: ε, added to the variance.
        momentum: Weight of the newest batch in the running statistics; None gives every batch since the last reset
            the same weight.
    """

    running_mean: Tensor  # (C,)
    running_var: Tensor  # (C,)
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def extra_repr(self) -> str:
        """Channels and settings."""
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"

    def reset_running_stats(self) -> None:
        """Forget every batch so far."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalised, the same shape.

        Raises:
            RecipeError: In training, the step has one value a channel: it has no variance.
        """
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        share = self._share()
        if _size() > 1:
            return self._over_processes(x, share)
        _refuse_one_value(x.numel() // x.shape[1])
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True, share, self.eps)

    def _share(self) -> float:
        """Weight of this batch in the running statistics."""
        self.num_batches_tracked.add_(1)
        return 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum

    def _over_processes(self, x: Tensor, share: float) -> Tensor:
        # Sums of a long clip lose digits in half precision.
        wide = x.to(torch.promote_types(x.dtype, self.weight.dtype))
        y, mean, variance, count = _Normalise.apply(wide, self.eps)
        if x.numel() // x.shape[1] < 2:  # asking for the count of all makes a GPU wait
            _refuse_one_value(int(count))
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), share)
        along = (-1, *[1] * (x.ndim - 2))
        return (y * self.weight.view(along) + self.bias.view(along)).to(x.dtype)


@torch.no_grad()
def restate(model: nn.Module, batches: Iterable[Tensor | Callable[[], Any]]) -> None:
    """Estimate the running statistics of every batch norm anew, under the present weights.

    Running statistics trail the weights that they were measured under, and belong to no average of weights at all.
    Each batch counts the same, so keep batches of one size. Weights stay, dropout is off, and every module is in the
    mode (training or evaluation) that it was in before.

    Args:
        model: Holds `BatchNorm` or torch's own; those without running statistics are left alone.
        batches: For each batch the input of the network, or a call that passes the batch through it, such as
            `partial(model.embed, x)`. On several processes each gives its share, and as many of them.

    Raises:
        RecipeError: There is no batch.
    """
    norms: list[Any] = [module for module in model.modules() if _tracks(module)]
    with _counting(model, norms):
        seen = 0
        for seen, batch in enumerate(batches, start=1):
            if seen == 1:
                for norm in norms:
                    norm.reset_running_stats()
            model(batch) if isinstance(batch, Tensor) else batch()
    if not seen:
        raise RecipeError("batch norms are re-estimated from at least one batch, got none; give some clips")


@contextmanager
def _counting(model: nn.Module, norms: list[Any]) -> Iterator[None]:
    """Batch norms measure, each batch with the same weight, and all else is in evaluation."""
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    model.eval()
    for norm in norms:
        norm.training, norm.momentum = True, None
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for norm, momentum in momenta:
            norm.momentum = momentum


def _tracks(module: nn.Module) -> bool:
    torchs = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    return torchs or isinstance(module, BatchNorm)


class _Normalise(torch.autograd.Function):
    """(x − m) / √(v + ε) with m and v over all processes, and m, v and the number of values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.ndim)]
        along = (1, -1, *[1] * (x.ndim - 2))
        here = x.new_full((1,), x.numel() // x.shape[1])
        sums = _total(torch.cat([x.sum(axes), here]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centred = x - mean.view(along)
        # A second exchange: the mean of squares less the square of the mean would cancel digits.
        variance = _total(centred.square().sum(axes)) / count
        scale = (variance + eps).rsqrt()
        y = centred * scale.view(along)
        ctx.save_for_backward(y, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        y, scale, count = ctx.saved_tensors
        (gradient, *_) = gradients
        axes = [0, *range(2, y.ndim)]
        along = (1, -1, *[1] * (y.ndim - 2))
        sums = _total(torch.stack([gradient.sum(axes), (gradient * y).sum(axes)])) / count
        centred = gradient - sums[0].view(along) - y * sums[1].view(along)
        return centred * scale.view(along), None


def _refuse_one_value(count: int) -> None:
    if count < 2:
        raise RecipeError("batch norm needs two values a channel in training, got one; raise batch")


def _size() -> int:
    there = processes.is_available() and processes.is_initialized()
    return processes.get_world_size() if there else 1


def _total(x: Tensor) -> Tensor:
    """Sum over the processes."""
    processes.all_reduce(x)
    return x
