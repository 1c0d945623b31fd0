"""Two processes learn what one learns.

This file is also the program that torchrun starts: it trains the network below and saves its weights.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.errors import RecipeError, RunError
from stethos.objectives.supervised import masked_bce
from stethos.train import dist
from stethos.train.loop import Options, fit
from stethos.types import Run, Schedule

WHOLE = Schedule(steps=10, batch=7, lr=0.01, warmup=0.2, ema=0.9, clip=0.5)  # 3 rows + 4 rows
PARTS = Schedule(steps=10, batch=9, lr=0.01, warmup=0.2, accumulate=2)


class Batch(NamedTuple):
    wave: Tensor  # (B, 1, T)
    pair: Tensor  # (B, 1, T)
    truth: Tensor  # (B, K), NaN = unknown


class Pupil(nn.Module):
    """A small encoder with a masked and a contrastive term."""

    def __init__(self, gather):
        super().__init__()
        self.gather = gather
        self.encode = nn.Sequential(nn.Conv1d(1, 6, 5), nn.GELU(), nn.AdaptiveAvgPool1d(4), nn.Flatten())
        self.head = nn.Linear(24, 3)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        z, w = (F.normalize(self.encode(x), dim=-1) for x in (batch.wave, batch.pair))  # (B, D)
        likeness = self.scale * self.gather(z) @ self.gather(w).T  # (N, N)
        align = F.cross_entropy(likeness, torch.arange(len(likeness)))
        known = dist.global_mean(*masked_bce(self.head(self.encode(batch.wave)), batch.truth))
        return {"known": known, "align": 0.5 * align}


def draw(step: int, rows: slice) -> Batch:
    chance = torch.Generator().manual_seed(step)
    wave = torch.randn(16, 1, 32, generator=chance, dtype=torch.float64)
    truth = (wave[:, 0, :3] > 0).double()
    truth[:3, 1:] = torch.nan  # most of the unknown fall to the first process
    return Batch(wave[rows], wave.flip(-1)[rows], truth[rows])


def draw_and_stop(step: int, rows: slice) -> Batch:
    """`draw`, and a signal at the fifth step to the process that has not the first row."""
    if step == 4 and rows.start > 0:
        signal.raise_signal(signal.SIGTERM)
    return draw(step, rows)


def known(batch: Batch) -> Tensor:
    return (~batch.truth.isnan()).sum()


class MaskedPupil(Pupil):
    """The masked term alone: a contrastive loss of parts is not that of the whole."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"known": super().forward(batch)["known"]}


def detached(x: Tensor) -> Tensor:
    """The gather that everyone writes first: only one's own rows carry a gradient, and it is not summed."""
    rows = dist.gather(x.detach())
    start = dist.rank() * (len(rows) // dist.size())
    return torch.cat([rows[:start], x, rows[start + len(x) :]])


def learn(folder: Path) -> dict[str, dict[str, Tensor]]:
    cases = {
        "gather": (Pupil(dist.gather), WHOLE, Options()),
        "detached": (Pupil(detached), WHOLE, Options()),
        "parts": (MaskedPupil(dist.gather), PARTS, Options(count=known)),
        "together": (MaskedPupil(dist.gather), replace(PARTS, accumulate=1), Options()),
    }
    for name, (pupil, schedule, options) in cases.items():
        torch.manual_seed(dist.rank())  # DDP hands the chief's weights to all
        pupil = pupil.double()
        for weight in pupil.parameters():
            nn.init.normal_(weight, std=0.3)
        if name in ("parts", "together"):
            pupil.scale.requires_grad_(False)
        fit(pupil, draw, schedule, Run(folder / name), options=options)
        cases[name] = {key: value.clone() for key, value in pupil.state_dict().items()}
    return cases


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    launch(2, folder / "two")
    return learn(folder / "one"), torch.load(folder / "two" / "weights.pt", weights_only=True), folder


def kin() -> dict[str, Tensor]:
    """Two rows of the first process and three of the second, gathered, in the types a descriptor of a row may have."""
    rows = torch.arange(2) if dist.chief() else torch.arange(2, 5)
    return {str(kind): dist.gather(rows.to(kind)) for kind in (torch.long, torch.bool, torch.bfloat16, torch.float32)}


def resume(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """What a training says that is asked to stop on one process, and what it learns when it goes on."""
    pupils = [Pupil(dist.gather).double(), Pupil(dist.gather).double()]
    for pupil in pupils:
        for number, weight in enumerate(pupil.parameters()):
            nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(number))
    said = ""
    try:
        fit(pupils[0], draw_and_stop, WHOLE, Run(folder / "stopped"))
    except RunError as error:
        said = str(error)
        fit(pupils[1], draw_and_stop, WHOLE, Run(folder / "stopped"))
    return said, pupils[bool(said)].state_dict()


def launch(processes: int, folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    loopback = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    program = [*start, "--master-addr", "127.0.0.1", "--master-port", port, __file__, str(folder)]
    ended = subprocess.run(program, env=loopback, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest difference relative to the largest weight."""
    return max(((one[k] - other[k]).abs().max() / one[k].abs().max()).item() for k in one)


def test_two_processes_learn_what_one_learns(learned):
    one, two, _ = learned
    assert difference(one["gather"], two["gather"]) < 1e-6


def test_a_detached_gather_does_not(learned):
    one, two, _ = learned
    assert difference(one["gather"], one["detached"]) == 0
    assert difference(one["detached"], two["detached"]) > 1e-3


def test_unequal_parts_on_two_processes_are_the_whole_on_one(learned):
    one, two, _ = learned
    assert difference(one["together"], one["parts"]) < 1e-9
    assert difference(one["together"], two["parts"]) < 1e-6


def test_a_signal_to_one_process_stops_both_and_they_go_on_together(learned):
    _, _, folder = learned
    said, two = torch.load(folder / "two" / "resumed.pt", weights_only=True)
    undisturbed, one = resume(folder / "one")
    assert (said, undisturbed) == ("stopped as asked after step 5 of 10; the same command goes on from there", "")
    assert difference(one, two) < 1e-6


def test_uneven_rows_of_any_type_are_gathered_in_order(learned):
    gathered = torch.load(learned[2] / "two" / "kin.pt", weights_only=True)
    assert {kind: rows.tolist() for kind, rows in gathered.items()} == {
        "torch.int64": [0, 1, 2, 3, 4],
        "torch.bool": [False, True, True, True, True],
        "torch.bfloat16": [0, 1, 2, 3, 4],
        "torch.float32": [0, 1, 2, 3, 4],
    }


def test_two_processes_log_what_one_logs_and_only_the_chief_writes(learned):
    _, _, folder = learned
    one, two = ((folder / name / "gather" / "log.jsonl").read_text().splitlines() for name in ("one", "two"))
    assert len(one) == len(two) == WHOLE.steps
    for line, other in zip(one, two, strict=True):
        assert json.loads(line) == pytest.approx(json.loads(other), rel=1e-6)


def test_alone_nothing_is_exchanged():
    x = torch.randn(3, 2)
    assert dist.join() == torch.device("cpu") or torch.cuda.is_available()
    assert (dist.rank(), dist.size(), dist.chief(), dist.share(5)) == (0, 1, True, slice(0, 5))
    assert dist.gather(x) is x
    assert torch.equal(dist.total(x), x)


def test_shares_cover_the_batch_once_and_differ_by_one_row(monkeypatch):
    monkeypatch.setattr(dist, "size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        shares.append(dist.share(8))
    assert [row for rows in shares for row in range(8)[rows]] == list(range(8))
    assert sorted(len(range(8)[rows]) for rows in shares) == [2, 3, 3]
    with pytest.raises(RecipeError, match="3 processes need a row each, got 2"):
        dist.share(2)


def test_a_mean_over_nothing_valid_is_zero_and_leaves_no_gradient():
    x = torch.tensor([1.0, torch.inf], requires_grad=True)
    dist.global_mean(x, torch.tensor([False, False])).backward()
    assert x.grad.tolist() == [0, 0]


if __name__ == "__main__":
    dist.join()
    folder = Path(sys.argv[1])
    weights, rows, resumed = learn(folder), kin(), resume(folder)
    assert all(
        torch.equal(dist.total(w), 2 * w) for case in weights.values() for w in case.values()
    )  # both hold the same
    if dist.chief():
        torch.save(weights, folder / "weights.pt")
        torch.save(rows, folder / "kin.pt")
        torch.save(resumed, folder / "resumed.pt")
    dist.leave()
