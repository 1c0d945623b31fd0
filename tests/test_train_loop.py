"""The loop, on a network small enough to follow. Run as a program it trains until it is told to die."""

import io
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.errors import FormatError, RecipeError, RunError
from stethos.train.loop import Options, fit
from stethos.types import Run, Schedule

SCHEDULE = Schedule(steps=12, batch=8, lr=0.05, ema=0.9, validate_every=5, seed=3)


class Batch(NamedTuple):
    x: Tensor  # (B, 4)
    y: Tensor  # (B, 1), NaN = unknown


class Line(nn.Module):
    """A regression through a dropout and a batch norm."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(6, 1)

    def score(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        known = ~batch.y.isnan()
        return {"fit": F.mse_loss(self.score(batch.x)[known], batch.y[known])}


def line(**settings: float) -> Line:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Line(**settings)


def draw(step: int, rows: slice) -> Batch:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return Batch(x[rows], x.sum(1, keepdim=True)[rows])


def validate(model: Line) -> dict[str, float]:
    batch = draw(10**6, slice(None))
    return {"monitor": -F.mse_loss(model.score(batch.x), batch.y).item(), "bias": model.head.bias.item()}


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def dying(number: int, at: int):
    """`draw`, and a signal to the own process at one step."""

    def draw_and_die(step: int, rows: slice) -> Batch:
        if step == at:
            os.kill(os.getpid(), number)
        return draw(step, rows)

    return draw_and_die


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run, model = Run(tmp_path_factory.mktemp("undisturbed")), line()
    return run, model, fit(model, draw, SCHEDULE, run, validate=validate)


def test_training_learns_and_the_log_can_be_read(undisturbed):
    run, _, fitted = undisturbed
    rows = [json.loads(row) for row in run.log.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "valid.monitor" in row] == [5, 10, 12]
    assert set(rows[0]) == {"step", "loss", "loss.fit", "gradient", "lr"}
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert fitted.metrics["monitor"] == max(row.get("valid.monitor", -torch.inf) for row in rows)


def test_the_best_weights_are_the_ones_kept(undisturbed):
    _, model, fitted = undisturbed
    assert validate(model) == fitted.metrics


def test_weights_are_settled_before_each_look_and_nothing_else_moves(undisturbed, tmp_path):
    """The judged weights are the averaged ones in evaluation mode; the training goes on as if nothing had been done."""
    looks: list[tuple[bool, float]] = []

    def settle(model: Line) -> None:
        looks.append((model.training, model.head.bias.item()))
        model.body[1].running_mean.fill_(float(len(looks)))

    model = line()
    found = fit(model, draw, SCHEDULE, Run(tmp_path), validate=validate, options=Options(settle=settle))
    said = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert looks == [(False, row["valid.bias"]) for row in said if "valid.bias" in row]
    assert len(looks) == 3
    assert set(model.body[1].running_mean.tolist()) == {{5: 1.0, 10: 2.0, 12: 3.0}[found.best_step]}
    losses = [json.loads(row)["loss"] for row in (undisturbed[0].log).read_text().splitlines()]
    assert [row["loss"] for row in said] == losses


def test_without_validation_the_last_weights_are_settled_once(tmp_path):
    model, calls = line(), []
    fit(model, draw, SCHEDULE, Run(tmp_path), options=Options(settle=calls.append))
    assert calls == [model]
    again = line()
    fit(again, draw, SCHEDULE, Run(tmp_path), options=Options(settle=calls.append))  # finished: nothing is left to do
    assert len(calls) == 1
    assert same_weights(model, again)


def test_a_training_that_settles_ends_the_same_when_it_was_stopped(tmp_path):
    def settle(model: Line) -> None:
        model.body[1].running_mean.fill_(2.0)

    options = Options(settle=settle)
    whole, parts = line(), line()
    fit(whole, draw, SCHEDULE, Run(tmp_path / "whole"), validate=validate, options=options)
    with pytest.raises(RunError, match="stopped as asked"):
        fit(line(), dying(signal.SIGTERM, 7), SCHEDULE, Run(tmp_path / "parts"), validate=validate, options=options)
    fit(parts, draw, SCHEDULE, Run(tmp_path / "parts"), validate=validate, options=options)
    assert same_weights(whole, parts)


def test_a_finished_training_returns_at_once(undisturbed):
    run, model, fitted = undisturbed
    again = line()
    assert fit(again, dying(signal.SIGKILL, 0), SCHEDULE, run, validate=validate) == fitted
    assert same_weights(model, again)


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(undisturbed, tmp_path):
    run, model, fitted = undisturbed
    killed = subprocess.run([sys.executable, __file__, str(tmp_path)], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    resumed, steps = line(), []

    def seen(step: int, rows: slice) -> Batch:
        steps.append(step)
        return draw(step, rows)

    assert fit(resumed, seen, SCHEDULE, Run(tmp_path), validate=validate) == fitted
    assert steps == [*range(5, 12)]  # the checkpoint of the look after step 5
    assert same_weights(model, resumed)
    assert (tmp_path / "log.jsonl").read_text() == run.log.read_text()


def test_asked_to_stop_it_leaves_a_checkpoint_and_says_how_to_go_on(undisturbed, tmp_path):
    _, model, fitted = undisturbed
    stopped, before = line(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(RunError, match="after step 8 of 12; the same command goes on from there"):
        fit(stopped, dying(signal.SIGTERM, 7), SCHEDULE, Run(tmp_path), validate=validate)
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = line()
    assert fit(resumed, draw, SCHEDULE, Run(tmp_path), validate=validate) == fitted
    assert same_weights(model, resumed)


def test_a_full_disk_leaves_the_checkpoint_before(undisturbed, tmp_path):
    _, model, fitted = undisturbed
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(step: int, rows: slice) -> Batch:
        if step == 7:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        return draw(step, rows)

    try:
        with pytest.raises(FormatError, match=r"checkpoint\.pt: needs \d+ bytes"):
            fit(line(), filling, SCHEDULE, Run(tmp_path), validate=validate)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    resumed = line()
    assert fit(resumed, draw, SCHEDULE, Run(tmp_path), validate=validate) == fitted
    assert same_weights(model, resumed)


def test_the_global_generator_is_left_alone(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(4711)
        before = torch.get_rng_state()
        fit(line(), draw, SCHEDULE, Run(tmp_path))
        assert torch.equal(torch.get_rng_state(), before)


def partly(step: int, rows: slice) -> Batch:
    """`draw` in float64, the first three truths unknown."""
    x, y = (item.double() for item in draw(step, slice(None)))
    y[:3] = torch.nan
    return Batch(x[rows], y[rows])


def trained(run: Run, drawn, parts: int, count=None) -> Tensor:
    model = line(dropout=0.0)
    model.body[1] = nn.Identity()  # a batch norm sees the parts
    fit(model.double(), drawn, replace(SCHEDULE, accumulate=parts), run, options=Options(count=count))
    return nn.utils.parameters_to_vector(model.parameters())


def test_parts_of_unequal_rows_are_the_whole(tmp_path):
    def doubled(step: int, rows: slice) -> Batch:
        return Batch(*(item.double() for item in draw(step, rows)))

    whole, thirds = trained(Run(tmp_path / "a"), doubled, 1), trained(Run(tmp_path / "b"), doubled, 3)
    assert torch.allclose(whole, thirds, rtol=1e-9, atol=0)


def test_parts_with_unequal_unknowns_are_the_whole_only_if_counted(tmp_path):
    def known(batch: Batch) -> Tensor:
        return (~batch.y.isnan()).sum()

    whole, counted = trained(Run(tmp_path / "a"), partly, 1), trained(Run(tmp_path / "b"), partly, 2, known)
    assert torch.allclose(whole, counted, rtol=1e-9, atol=0)
    assert not torch.allclose(whole, trained(Run(tmp_path / "c"), partly, 2), rtol=1e-3)


def test_it_stops_when_looks_bring_nothing(tmp_path):
    looks = iter([0.5, 0.7, float("nan"), 0.6, 0.65, 0.9])
    seen = []

    def scripted(model: Line) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"monitor": next(looks)}

    model = line()
    fitted = fit(model, draw, replace(SCHEDULE, validate_every=1, patience=3), Run(tmp_path), validate=scripted)
    assert (fitted.steps, fitted.best_step, fitted.metrics) == (5, 2, {"monitor": 0.7})
    assert all(torch.equal(seen[1][name], value) for name, value in model.state_dict().items())
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[2])["valid.monitor"] is None


def test_a_loss_that_is_not_finite_is_named_with_its_step(tmp_path):
    def broken(step: int, rows: slice) -> Batch:
        batch = draw(step, rows)
        return batch._replace(y=batch.y * torch.inf) if step == 4 else batch

    with pytest.raises(RunError, match=r"step 5: loss\.fit is inf, gradient is nan"):
        fit(line(), broken, SCHEDULE, Run(tmp_path))


def test_validation_without_a_monitor_is_refused(tmp_path):
    with pytest.raises(RunError, match="named monitor; got auroc"):
        fit(line(), draw, SCHEDULE, Run(tmp_path), validate=lambda model: {"auroc": 0.5})


def test_a_look_can_stop_a_training_with_its_reason(tmp_path):
    options = Options(refuse=lambda found: "it has collapsed" if found["monitor"] < 0.5 else "")
    looks = iter([0.9, 0.4])
    plan = replace(SCHEDULE, validate_every=2)
    with pytest.raises(RunError, match="step 4: it has collapsed"):
        fit(line(), draw, plan, Run(tmp_path), validate=lambda model: {"monitor": next(looks)}, options=options)


def test_a_batch_smaller_than_its_parts_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="raise batch or lower accumulate"):
        fit(line(), draw, replace(SCHEDULE, accumulate=9), Run(tmp_path))


def test_the_gradient_is_clipped(tmp_path):
    class Steep(nn.Module):
        """Its gradient is (3, 4) everywhere."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, batch: Batch) -> dict[str, Tensor]:
            return {"slope": self.w @ torch.tensor([3.0, 4.0])}

    clipped = []
    for clip in (0.0, 1.0):
        steep = Steep()
        fit(steep, draw, Schedule(steps=1, batch=8, clip=clip), Run(tmp_path / str(clip)))
        clipped.append(steep.w.grad.tolist())
    assert clipped[0] == [3, 4]
    assert clipped[1] == pytest.approx([0.6, 0.8], rel=1e-5)


def test_a_frozen_part_keeps_its_weights_and_its_statistics(tmp_path):
    model = line()
    model.body.requires_grad_(False)
    before = {name: value.clone() for name, value in model.body.state_dict().items()}
    fit(model, draw, SCHEDULE, Run(tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in model.body.state_dict().items())
    assert not torch.equal(model.head.weight, line().head.weight)


def test_stages_of_one_run_keep_apart(tmp_path):
    run, model = Run(tmp_path), line()
    fit(model, draw, replace(SCHEDULE, steps=2), run, options=Options(stage="probe"))
    fit(model, draw, replace(SCHEDULE, steps=3), run, options=Options(stage="full"))
    rows = [json.loads(row) for row in run.log.read_text().splitlines()]
    assert [(row["stage"], row["step"]) for row in rows] == [
        ("probe", 1), ("probe", 2), ("full", 1), ("full", 2), ("full", 3),
    ]  # fmt: skip
    assert (
        fit(model, dying(signal.SIGKILL, 0), replace(SCHEDULE, steps=2), run, options=Options(stage="probe")).steps == 2
    )


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    with pytest.raises(RunError, match="stopped as asked"):
        fit(line(), dying(signal.SIGINT, 1), SCHEDULE, Run(tmp_path))
    other = line()
    other.head = nn.Linear(6, 2)
    with pytest.raises(RunError, match="is of another network"):
        fit(other, draw, SCHEDULE, Run(tmp_path))
    fit(line(), draw, SCHEDULE, Run(tmp_path))
    with pytest.raises(RunError, match="is of another network"):
        fit(other, draw, SCHEDULE, Run(tmp_path))
    (tmp_path / "private" / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(RunError, match="is no checkpoint"):
        fit(line(), draw, SCHEDULE, Run(tmp_path))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_with_loss_and_monitor(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with caplog.at_level(logging.INFO, "stethos"):
        fit(line(), draw, SCHEDULE, Run(tmp_path), validate=validate)
    assert re.search(r"train loss [\d.]+ monitor -[\d.]+ .*12/12", sys.stderr.getvalue())
    assert not caplog.records


def test_without_a_terminal_there_is_a_plain_line_for_each_row(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "stethos"):
        fit(line(), draw, SCHEDULE, Run(tmp_path), validate=validate, options=Options(log_every=4))
    starts = [message.split("  ")[0] for message in caplog.messages]
    assert starts == [f"train step {step} of 12" for step in (4, 5, 8, 10, 12)]


def test_bfloat16_learns_too(tmp_path):
    model = line(dropout=0.0)
    start = validate(model.eval())["monitor"]
    fit(model, draw, replace(SCHEDULE, precision="bfloat16"), Run(tmp_path))
    assert model.head.weight.dtype == torch.float32
    assert validate(model)["monitor"] > start


if __name__ == "__main__":
    fit(line(), dying(signal.SIGKILL, 7), SCHEDULE, Run(Path(sys.argv[1])), validate=validate)
