"""The gradient of one step, in parts and on several processes as if it were whole and on one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stethos.train.dist import share, size, total
from stethos.types import Schedule

Draw = Callable[[int, slice], Any]
Count = Callable[[Any], Tensor | float]


def descend(
    model: nn.Module, draw: Draw, step: int, schedule: Schedule, count: Count | None = None
) -> dict[str, Tensor]:
    """Add the gradient of a step's loss to the network's.

    Args:
        model: As `dist.wrap` gives it; `model(batch)` gives the losses.
        draw: (step, rows of the step's batch) → NamedTuple of those rows.
        step: Counted from 0.
        schedule: Batch, parts, precision and seed.
        count: What a batch's mean divides by; its rows where None.

    Returns:
        The terms of the loss, this process's.
    """
    device = next(model.parameters()).device
    rows = [part_rows(schedule, part) for part in range(schedule.accumulate)]
    batches = [moved(draw(step, part), device) for part in rows]
    losses: dict[str, Tensor] = {}
    weights = part_weights(schedule, batches, count, device)
    for part, batch, weight in zip(rows, batches, weights, strict=True):
        _seed(device, (schedule.seed, step, part.start))
        with contextlib.nullcontext() if part is rows[-1] else _unshared(model):
            with torch.autocast(device.type, torch.bfloat16, schedule.precision == "bfloat16"):
                terms = model(batch)
            torch.stack(list(terms.values())).sum().mul(weight).backward()
        for name, value in terms.items():
            losses[name] = losses.get(name, 0.0) + value.detach() * weight
    return losses


def part_rows(schedule: Schedule, part: int) -> slice:
    """This process's rows of one part; parts are cut before shares, so they are those of a single process."""
    start, stop = _bounds(schedule, part)
    mine = share(stop - start)
    return slice(start + mine.start, start + mine.stop)


def part_weights(schedule: Schedule, batches: list[Any], count: Count | None, device: torch.device) -> list[float]:
    """What each part's mean counts for in the step's mean: its part of the rows, or of what `count` says."""
    if count is None or len(batches) == 1:
        bounds = [_bounds(schedule, part) for part in range(len(batches))]
        return [(stop - start) / schedule.batch for start, stop in bounds]
    mine = torch.tensor([float(count(batch)) for batch in batches], dtype=torch.float64, device=device)
    counts = total(mine)
    return (counts / counts.sum().clamp(min=1)).tolist()


def agree(values: dict[str, Tensor], asked: bool) -> tuple[dict[str, float], bool]:
    """The mean of each value over the processes, and whether any of these was asked to stop; one exchange."""
    numbers = torch.stack([value.detach().double() for value in values.values()])
    *means, stop = (total(torch.cat([numbers, numbers.new_tensor([asked])])) / size()).tolist()
    return dict(zip(values, means, strict=True)), stop > 0


def training_mode(model: nn.Module) -> None:
    """Training mode, except where every weight is frozen: batch-norm statistics are weights too."""
    model.train()
    for module in model.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()


def _bounds(schedule: Schedule, part: int) -> tuple[int, int]:
    batch, parts = schedule.batch, schedule.accumulate
    return batch * part // parts, batch * (part + 1) // parts


def _unshared(model: nn.Module) -> contextlib.AbstractContextManager:
    """Gradients stay with their process: only the last part's backward pass averages, for all parts."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()


def _seed(device: torch.device, keys: tuple[int, ...]) -> None:
    """Dropout and its like draw the same in a training that was cut off."""
    seed = int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)  # torch.manual_seed formats a stack trace for each idle backend
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def moved(batch: Any, device: torch.device) -> Any:
    """A NamedTuple with its tensors on a device."""
    return type(batch)(*(item.to(device, non_blocking=True) if isinstance(item, Tensor) else item for item in batch))
