"""Networks of several seeds, scored by the mean of their logits, and what is asked of one while it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stethos.metrics.ranking import auroc
from stethos.study.lead import record_scores
from stethos.study.task import Score, Task
from stethos.train.dist import device_of
from stethos.types import Signal


class Ensemble(nn.Module):
    """Networks of several seeds that speak with the mean of their logits.

    Args:
        members: At least one, each with `prepare` and `score`.
        threshold: Operating point, chosen on the validation part, in logits; NaN for a measured target.
    """

    def __init__(self, members: Sequence[nn.Module], threshold: float = float("nan")) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.threshold = threshold

    def prepare(self, signal: Signal) -> Tensor:
        """A signal of one window to what the networks read, `(1, C, T)`."""
        return self.members[0].prepare(signal)  # type: ignore[operator]

    def score(self, x: Tensor) -> Tensor:
        """Mean logit of the members, `(B, C, T)` to `(B, K)`."""
        return torch.stack([member.score(x) for member in self.members]).mean(0)  # type: ignore[operator]

    def scores(self) -> list[Score]:
        """Every member as a function of arrays."""
        return [scorer(member.score) for member in self.members]  # type: ignore[arg-type]


def scorer(method: Callable[[Tensor], Tensor], chunk: int = 32) -> Score:
    """A network's method as a function of arrays, without gradients: `(W, C, T)` to `(W, K)`, float64.

    Windows go to where the network is, and the answers come back.

    Args:
        method: Such as `score` or `embed`.
        chunk: Windows at a time; a processor's cache holds about so many.
    """
    owner = getattr(method, "__self__", None)

    def score(windows: np.ndarray) -> np.ndarray:
        there = device_of(owner) if isinstance(owner, nn.Module) else torch.device("cpu")
        with torch.inference_mode():
            parts = torch.from_numpy(np.asarray(windows, np.float32)).split(chunk)
            return torch.cat([method(part.to(there)).cpu() for part in parts]).double().numpy()

    return score


def validation(task: Task, rows: np.ndarray) -> Callable[[nn.Module], dict[str, float]]:
    """What `fit` asks of a network now and then: minus its error on the validation records.

    The error is the log loss, or the squared error of a measured target; both are proper, and less coarse than an
    AUROC over few events, which is logged beside them.
    """
    rows = task.seen(rows)
    truth = task.truth[rows]

    def look(model: nn.Module) -> dict[str, float]:
        score = record_scores(scorer(model.score), task.prepared, rows)[:, 0]  # type: ignore[arg-type]
        if task.graded:
            return {"monitor": -float(np.mean((score - truth) ** 2))}
        loss = float(np.mean(np.logaddexp(0, score) - truth * score))
        ranked = {"auroc": auroc(truth, score)} if len(np.unique(truth)) == 2 else {}
        return {"monitor": -loss, **ranked}

    return look
