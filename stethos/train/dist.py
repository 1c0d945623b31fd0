"""One step on several processes, equal to the same step on one.

DDP averages the gradients of the processes. So a loss comes out as on one process when each process computes
that of the whole step (contrastive: `gather` first), or scales its part up to the whole (`global_mean`).
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as processes
from torch import Tensor, nn

from stethos.errors import RecipeError, RunError

_APART: ContextVar[bool] = ContextVar("apart", default=False)


def join() -> torch.device:
    """Meet the other processes that torchrun started, if any; returns this process's own GPU, or the CPU.

    Raises:
        RunError: There are GPUs, but fewer than processes on this machine.
    """
    local, here, gpus = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1), torch.cuda.device_count()
    if gpus and gpus < here:
        raise RunError(f"{here} processes need {here} GPUs, this machine has {gpus}; start at most {gpus}")
    device = torch.device("cuda", local) if gpus else torch.device("cpu")
    if _number("WORLD_SIZE", 1) > 1 and not processes.is_initialized():
        processes.init_process_group("nccl" if gpus else "gloo", device_id=device if gpus else None)
    return device


def device_of(module: nn.Module) -> torch.device:
    """Where a network's weights lie; the processor for one without any."""
    weight = next(module.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


def leave() -> None:
    """Part from the other processes; to be called before the program ends, however it ends."""
    if processes.is_initialized():
        gc.collect()  # DDP holds the group in a cycle; freed only at interpreter exit, it aborted 3 of 22 programs
        processes.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return processes.get_rank() if processes.is_initialized() and not _APART.get() else 0


def size() -> int:
    """How many processes train together."""
    return processes.get_world_size() if processes.is_initialized() and not _APART.get() else 1


@contextmanager
def alone() -> Iterator[None]:
    """Within, this process computes as if it were the only one, so that a look at an objective waits for nobody."""
    before = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(before)


def chief() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def share(batch: int) -> slice:
    """This process's rows of a batch; shares differ by one row where it does not divide.

    Raises:
        RecipeError: There are fewer rows than processes.
    """
    if batch < size():
        raise RecipeError(f"{size()} processes need a row each, got {batch}; raise batch or lower accumulate")
    return slice(batch * rank() // size(), batch * (rank() + 1) // size())


def wrap(model: nn.Module) -> nn.Module:
    """The model, its gradients averaged over the processes after each backward pass."""
    return nn.parallel.DistributedDataParallel(model) if size() > 1 else model


def same(value: Any) -> Any:
    """The chief's value, on every process."""
    box = [value]
    if size() > 1:
        processes.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def chief_first() -> Iterator[None]:
    """Within, the chief works before the others do, so that they find what it has written."""
    if not chief():
        same(None)
    yield
    if chief():
        same(None)


def total(x: Tensor) -> Tensor:
    """Sum over the processes, without a gradient."""
    x = x.detach().clone()
    if size() > 1:
        processes.all_reduce(x)
    return x


def global_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Σ_here values · processes / Σ_everywhere valid; averaged over the processes, the mean of the valid.

    Args:
        values: Any shape; this process's.
        valid: The same shape; True where a value counts. Nothing valid anywhere gives 0.
    """
    return torch.where(valid, values, 0.0).sum() * size() / total(valid.sum()).clamp(min=1)


def gather(x: Tensor) -> Tensor:
    """The rows of all processes in order of rank, `(n, ...)` → `(N, ...)`; n may differ between processes.

    The gradient is summed over the processes on its way back; without, DDP leaves 1 / processes of it.
    """
    return _Gather.apply(x) if size() > 1 else x


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        counts = torch.zeros(size(), dtype=torch.long, device=x.device)
        counts[rank()] = len(x)
        ctx.counts = total(counts).tolist()
        padded = torch.cat([x, x.new_zeros(max(ctx.counts) - len(x), *x.shape[1:])])
        parts = [torch.empty_like(padded) for _ in ctx.counts]
        processes.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return total(gradient.contiguous()).split(ctx.counts)[rank()]


def _number(variable: str, default: int) -> int:
    return int(os.environ.get(variable, default))
