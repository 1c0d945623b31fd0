"""A training on a GPU is the training on the processor, up to rounding; skipped where there is none."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stethos.nn.net1d import Net1d
from stethos.nn.norm import BatchNorm
from stethos.objectives.supervised import masked_bce
from stethos.train import loop
from stethos.train.dist import device_of, global_mean
from stethos.train.loop import fit
from stethos.types import Run, Schedule

PLAN = Schedule(steps=12, batch=16, lr=3e-3, ema=0.9, validate_every=4)


class Batch(NamedTuple):
    lead: Tensor
    truth: Tensor


class Small(nn.Module):
    """A network with batch norm, as those of sound have."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = BatchNorm(1)
        self.net = Net1d(widths=(16, 16), blocks=(1, 1))
        self.double()  # Adam's first steps turn the rounding of a small gradient into a step

    def score(self, x: Tensor) -> Tensor:
        return self.net(self.norm(x))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"bce": global_mean(*masked_bce(self.score(batch.lead), batch.truth))}


def draw(step: int, share: slice) -> Batch:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(PLAN.batch, 1, 256, generator=generator, dtype=torch.float64)
    return Batch(x[share], (x.mean((1, 2)) > 0).double()[share, None])


def learned(folder: Path, plan: Schedule = PLAN) -> tuple[dict[str, Tensor], list[torch.device]]:
    """Weights at the end, and where the network was at every look."""
    torch.manual_seed(0)
    model, seen = Small(), []
    held = draw(1000, slice(0, 16))

    def look(network: nn.Module) -> dict[str, float]:
        seen.append(device_of(network))
        said = network.score(held.lead.to(seen[-1])).cpu()
        return {"monitor": -float(nn.functional.binary_cross_entropy_with_logits(said, held.truth))}

    (folder / "private").mkdir(parents=True)
    fit(model, draw, plan, Run(folder), validate=look)
    assert device_of(model) == torch.device("cpu")
    return model.state_dict(), seen


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_on_a_gpu_ends_where_that_on_the_processor_does(tmp_path: Path, monkeypatch):
    there, seen = learned(tmp_path / "gpu")
    assert {device.type for device in seen} == {"cuda"}
    monkeypatch.setattr(loop, "join", lambda: torch.device("cpu"))
    here, seen = learned(tmp_path / "cpu")
    assert {device.type for device in seen} == {"cpu"}
    for name, item in here.items():
        np.testing.assert_allclose(there[name], item, rtol=1e-6, atol=1e-8, err_msg=name)


def test_without_a_gpu_the_network_stays_where_it_is(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(loop, "join", lambda: torch.device("cpu"))
    assert {device.type for device in learned(tmp_path / "run")[1]} == {"cpu"}
