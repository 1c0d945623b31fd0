"""The optimiser: which weights learn how fast, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from stethos.errors import RecipeError
from stethos.types import Schedule


def rate_factor(step: int, schedule: Schedule) -> float:
    """Learning rate of a step as a fraction of its peak: a straight rise, then half a cosine.

        (k + 1) / (w + 1)                  k < w
        ½ [1 + cos(π (k − w) / (n − w))]   k ≥ w

    It is 0 just before the first step and just after the last, so that no step is wasted.

    Args:
        step: k, counted from 0.
        schedule: n steps, of which w = round(n · warmup) rise.
    """
    rise = min(round(schedule.steps * schedule.warmup), schedule.steps - 1)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (schedule.steps - rise)))


def adamw(model: nn.Module, schedule: Schedule, factors: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW over the trainable weights; only those of two or more dimensions decay.

    Args:
        model: Weights with `requires_grad` off are left out.
        schedule: Peak rate and decay.
        factors: Part of the network, such as "encoder.stem", → factor of its learning rate; the longest name
            that fits decides, 1 where none does.

    Raises:
        RecipeError: Nothing is trainable, a part has no trainable weight, or a number of the schedule is impossible.
    """
    _refuse_impossible(schedule)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    used = set()
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            part = max((part for part in factors if f"{name}.".startswith(f"{part}.")), key=len, default=None)
            used.add(part)
            factor = 1.0 if part is None else factors[part]
            groups.setdefault((factor, schedule.decay if weight.ndim > 1 else 0.0), []).append(weight)
    if not groups:
        raise RecipeError("training needs a trainable weight; all of the network is frozen")
    if set(factors) - used:
        missing = ", ".join(sorted(set(factors) - used))
        raise RecipeError(f"a learning rate is set for {missing}, which holds no trainable weight; correct the name")
    settings = [{"params": weights, "factor": f, "weight_decay": decay} for (f, decay), weights in groups.items()]
    return torch.optim.AdamW(settings, lr=schedule.lr)


def _refuse_impossible(schedule: Schedule) -> None:
    least = {name: getattr(schedule, name) for name in ("lr", "decay", "clip", "ema", "warmup")}
    wrong = {name: value for name, value in least.items() if not 0 <= value < math.inf}
    wrong |= {name: least[name] for name in ("ema", "warmup") if least[name] > 1}
    if wrong:
        said = ", ".join(f"--{name} {value:g}" for name, value in wrong.items())
        raise RecipeError(f"lr, decay and clip are 0 or more, ema and warmup lie between 0 and 1; got {said}")


def set_rate(optimiser: torch.optim.Optimizer, step: int, schedule: Schedule) -> float:
    """Give every group the learning rate of a step; returns the rate of a group with factor 1."""
    rate = schedule.lr * rate_factor(step, schedule)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
