"""Where a training stands, so that it can be cut off at any time."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stethos.errors import RunError
from stethos.io.files import write_atomic
from stethos.train.dist import chief, same


@dataclass
class Standing:
    """How far a training has come, and the best it has seen.

    Args:
        step: Steps made.
        best_step: Step after which the monitor was highest; 0 before the first look.
        monitor: Its value then.
        metrics: All that `validate` gave then.
        stale: Looks since.
        best: The network's state then.
        done: Nothing is left to do.
    """

    step: int = 0
    best_step: int = 0
    monitor: float = -math.inf
    metrics: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    best: dict[str, Tensor] | None = None
    done: bool = False

    def see(self, metrics: dict[str, float]) -> bool:
        """Take note of a look at the validation set; whether it was the best so far (NaN never is)."""
        better = metrics["monitor"] > self.monitor
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best_step, self.monitor, self.metrics = self.step, metrics["monitor"], metrics
        return better


def write_checkpoint(path: Path, standing: Standing, parts: dict[str, Any]) -> None:
    """Write everything, all or nothing; the chief alone does.

    Args:
        path: Where to.
        standing: How far it has come.
        parts: Further state: name → state of tensors and plain values.

    Raises:
        FormatError: The disk is full; the checkpoint before is untouched.
    """
    if chief():
        buffer = io.BytesIO()
        plain = {item.name: getattr(standing, item.name) for item in fields(standing)}
        torch.save({"standing": plain, **parts}, buffer)
        write_atomic(path, buffer.getvalue())


def read_checkpoint(path: Path) -> tuple[Standing, dict[str, Any]]:
    """What `write_checkpoint` wrote, from the chief to every process; a fresh start where there is none.

    Raises:
        RunError: The file is not a checkpoint.
    """
    parts = same(_read(path) if chief() and path.exists() else {})
    return Standing(**parts.pop("standing", {})), parts


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch lets nearly any error through when it is given another's bytes
        raise RunError(f"{path} is no checkpoint ({error}); remove it to start again") from error
