"""Batch norm on two processes is batch norm on one, which is torch's.

This file is also the program that torchrun starts: it normalises its rows and saves what came of them.
"""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.errors import RecipeError
from stethos.nn.norm import BatchNorm, restate
from stethos.train import dist

SHARES = {"even": (3, 3), "uneven": (2, 4), "one": (1, 5)}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(norm: nn.Module) -> nn.Module:
    """Scale and offset away from one and zero, the same each time."""
    with torch.no_grad():
        norm.weight.copy_(draw(*norm.weight.shape, seed=1))
        norm.bias.copy_(draw(*norm.bias.shape, seed=2))
    return norm


class Pupil(nn.Module):
    def __init__(self, norm: type[nn.Module]):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv1d(1, 4, 3), norm(4), nn.Linear(4, 1)
        for number, weight in enumerate((self.conv.weight, self.head.weight)):
            nn.init.normal_(weight, generator=torch.Generator().manual_seed(number))
        for bias in (self.conv.bias, self.head.bias):
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean(-1))


def normalise(shape: tuple[int, ...], shares: tuple[int, ...] | None) -> dict[str, Tensor]:
    """Outputs, gradients and running statistics after two steps; of the share of this process where there are two."""
    norm = shaken(BatchNorm(shape[1]).double())
    rows = slice(None) if shares is None else slice(sum(shares[: dist.rank()]), sum(shares[: dist.rank() + 1]))
    for step in range(2):
        x = (1 + step + 3 * draw(*shape, seed=3 + step))[rows].requires_grad_()
        y = norm(x)
        (y * draw(*shape, seed=9)[rows]).sum().backward()
    found = {"y": dist.gather(y.detach()), "x.grad": dist.gather(x.grad)}
    found |= {"weight.grad": dist.total(norm.weight.grad), "bias.grad": dist.total(norm.bias.grad)}
    return found | {name: value.clone() for name, value in norm.named_buffers()}


def learn(norm: type[nn.Module]) -> dict[str, Tensor]:
    """Weights and statistics after four steps of seven rows, then statistics anew."""
    torch.set_default_dtype(torch.float64)
    pupil = Pupil(norm)
    torch.set_default_dtype(torch.float32)
    wrapped = dist.wrap(pupil)
    optimiser = torch.optim.SGD(pupil.parameters(), lr=0.1)
    for step in range(4):
        x = draw(7, 1, 20, seed=step)[dist.share(7)]
        error = (wrapped(x) - x.square().mean(-1)).square()
        optimiser.zero_grad()
        dist.global_mean(error, torch.ones_like(error, dtype=torch.bool)).backward()
        optimiser.step()
    trained = {f"trained.{name}": value.clone() for name, value in pupil.state_dict().items()}
    restate(pupil, (draw(5, 1, 20, seed=step)[dist.share(5)] for step in range(6, 9)))
    return trained | {f"restated.{name}": value.clone() for name, value in pupil.state_dict().items()}


def everything() -> dict[str, dict[str, Tensor]]:
    found = {f"{name} {length}": normalise((6, 3, *length), SHARES[name]) for name in SHARES for length in ((), (4,))}
    return found | {"learn": learn(BatchNorm)}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("norm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    loopback = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    program = [*start, "--master-port", port, __file__, str(folder)]
    ended = subprocess.run(program, env=loopback, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return torch.load(folder / "found.pt", weights_only=True)


def agree(one: dict[str, Tensor], other: dict[str, Tensor], within: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], rtol=within, atol=within), name


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("length", [(), (4,)])
def test_two_shares_of_a_batch_are_normalised_as_the_whole(two, name: str, length: tuple[int, ...]):
    agree(two[f"{name} {length}"], normalise((6, 3, *length), None), 1e-12)


def test_two_processes_learn_what_one_learns(two):
    agree(two["learn"], learn(BatchNorm), 1e-9)


def test_one_process_learns_what_it_learns_with_the_norm_of_torch():
    agree(learn(BatchNorm), learn(nn.BatchNorm1d), 1e-12)


@pytest.mark.parametrize(("shape", "torchs"), [((5, 3), nn.BatchNorm1d), ((5, 3, 7), nn.BatchNorm1d)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_alone_it_is_the_norm_of_torch(shape: tuple[int, ...], torchs: type[nn.Module], momentum: float | None):
    ours, theirs = shaken(BatchNorm(3, momentum=momentum)), shaken(torchs(3, momentum=momentum))
    for step in range(3):
        x = draw(*shape, seed=step).float()
        assert torch.equal(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_images_keep_their_memory_format_and_half_precision():
    norm = BatchNorm(3)
    x = draw(2, 3, 4, 5).float().to(memory_format=torch.channels_last)
    assert norm(x).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(norm(x), nn.BatchNorm2d(3)(x))
    y = norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), norm(x), atol=0.02)


def test_the_shared_path_is_right_about_its_own_gradient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stethos.nn.norm._size", lambda: 2)
    monkeypatch.setattr("stethos.nn.norm._total", lambda x: x)  # as if the other process had no rows
    x, norm = draw(3, 2, 4).requires_grad_(), shaken(BatchNorm(2).double())
    torch.autograd.gradcheck(norm, (x,))
    plain = shaken(nn.BatchNorm1d(2).double())
    norm.reset_running_stats()
    assert torch.allclose(norm(x), plain(x), atol=1e-12)
    assert torch.allclose(norm.running_var, plain.running_var, atol=1e-12)


def test_the_shared_path_survives_a_large_offset_and_half_precision(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stethos.nn.norm._size", lambda: 2)
    monkeypatch.setattr("stethos.nn.norm._total", lambda x: x)
    x = draw(8, 2, 500)
    want = F.batch_norm(x, None, None, training=True)
    assert torch.allclose(BatchNorm(2)((x + 1000).float()).double(), want, atol=2e-3)  # 1000 in float32 ± 3e-5
    y = BatchNorm(2)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.double(), want, atol=0.02)


def test_a_single_value_has_no_variance(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RecipeError, match="two values a channel in training, got one; raise batch"):
        BatchNorm(3)(torch.ones(1, 3))
    assert BatchNorm(3).eval()(torch.ones(1, 3)).shape == (1, 3)
    monkeypatch.setattr("stethos.nn.norm._size", lambda: 2)
    monkeypatch.setattr("stethos.nn.norm._total", lambda x: x)
    with pytest.raises(RecipeError, match="two values a channel"):
        BatchNorm(3)(torch.ones(1, 3))


class Two(nn.Module):
    """A norm of ours, one of torch's, one without statistics, and dropout, which would change them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.9), BatchNorm(2), nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False)
        )

    def embed(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("training", [False, True])
def test_statistics_are_restated_by_hand(training: bool):
    model = Two().train(training)
    model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    ours, theirs = model.layers[1], model.layers[2]
    nn.init.constant_(ours.weight, 2.0)
    ours.running_mean.fill_(77)
    x = torch.tensor([[[0.0, 2.0], [1.0, 1.0]]])  # means 1 and 1, variances (divided by one) 2 and 0
    y = torch.tensor([[[4.0, 8.0], [0.0, 2.0]]])  # means 6 and 1, variances 8 and 2
    restate(model, [partial(model.embed, x), partial(model.embed, y)])
    assert ours.running_mean.tolist() == [3.5, 1]
    assert ours.running_var.tolist() == [5, 1]
    assert theirs.running_mean.abs().max() < 1e-6  # what comes out of ours has mean 0
    assert theirs.running_var.tolist() == pytest.approx([8, 4], rel=1e-4)  # 4 · 2 and (0 + 8) / 2
    assert int(ours.num_batches_tracked) == 2
    assert (ours.momentum, theirs.momentum) == (0.1, 0.1)
    assert [module.training for module in model.modules()] == modes
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_restated_statistics_normalise_the_clips_they_came_from():
    pupil = Pupil(BatchNorm)
    x = draw(8, 1, 50).float()
    for _ in range(3):
        pupil(100 * x)
    restate(pupil, [x])
    level = pupil.eval().norm(pupil.conv(x))
    assert torch.allclose(level.mean((0, 2)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(level.var((0, 2)), torch.ones(4), atol=1e-4)


def test_without_clips_nothing_is_forgotten():
    norm = BatchNorm(2)
    norm.running_mean.fill_(3)
    with pytest.raises(RecipeError, match="at least one batch, got none"):
        restate(norm, [])
    assert norm.running_mean.tolist() == [3, 3]


def test_after_an_error_the_modes_come_back():
    norm = BatchNorm(2).eval()
    with pytest.raises(RecipeError):
        restate(norm, [torch.ones(1, 2)])
    assert not norm.training
    assert norm.momentum == 0.1


if __name__ == "__main__":
    dist.join()
    found = everything()
    if dist.chief():
        torch.save(found, Path(sys.argv[1]) / "found.pt")
    dist.leave()
