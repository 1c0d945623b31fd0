"""The one training loop.

A network's `forward(batch)` is its objective: it returns named, weighted scalars whose sum is the loss. The
loop asks for the rows of each step, follows the gradient of that sum, and looks at the validation set now and
then. It can be killed at any time: the same call goes on from its checkpoint and ends with the same weights,
to the last bit on one machine's CPU.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from stethos.errors import RunError
from stethos.train.average import Average
from stethos.train.checkpoint import read_checkpoint, write_checkpoint
from stethos.train.dist import chief, device_of, join, same, wrap
from stethos.train.gradient import Draw, agree, descend, training_mode
from stethos.train.interrupt import stop_request
from stethos.train.optimise import adamw, set_rate
from stethos.train.progress import Narrator, Row
from stethos.train.run import sole_writer
from stethos.types import Run, Schedule

Validate = Callable[[nn.Module], Mapping[str, float]]


@dataclass(frozen=True)
class Options:
    """What a training seldom needs said.

    Args:
        stage: Name, where one run trains more than once; it goes into the log and the checkpoint's name.
        factors: Part of the network → factor of its learning rate; see `adamw`.
        count: What a batch's mean divides by, for `Schedule.accumulate`; its rows where None. A masked mean
            is the same in parts as in one only when its own count is given here.
        settle: What is done to the weights that are to be judged, in evaluation mode and on every process, such as
            measuring batch-norm statistics anew; it must leave the weights themselves alone.
        refuse: Given what `validate` found, why the training must not go on, such as a collapse; empty if nothing is
            wrong.
        log_every: Steps between rows of the log; 0 for about a hundred rows in all.
        checkpoint_seconds: Time after which the next step is followed by a checkpoint; each look at the
            validation set is, too.
    """

    stage: str = ""
    factors: Mapping[str, float] = field(default_factory=dict)
    count: Callable[[Any], Tensor | float] | None = None
    settle: Callable[[nn.Module], None] | None = None
    refuse: Callable[[Mapping[str, float]], str] | None = None
    log_every: int = 0
    checkpoint_seconds: float = 120.0


@dataclass(frozen=True)
class Fitted:
    """How a training ended.

    Args:
        steps: Steps made; fewer than asked for where it was stopped for want of improvement.
        best_step: Steps after which the weights were taken.
        metrics: What `validate` gave for them.
    """

    steps: int
    best_step: int
    metrics: Mapping[str, float]


_PLAIN = Options()


def fit(
    model: nn.Module,
    draw: Draw,
    schedule: Schedule,
    run: Run,
    *,
    validate: Validate | None = None,
    options: Options = _PLAIN,
) -> Fitted:
    """Train a network in a run's folder, or go on where it was cut off.

    Where this process has a GPU the network is trained there, and comes back to where it was. Modules whose every
    weight is frozen stay in evaluation mode. Afterwards the network is in evaluation mode and
    holds the best weights seen, the running mean's where `schedule.ema` is set; without `validate`, the last. On
    several processes the result is that of one up to rounding, except for draws inside the network (dropout).

    Args:
        model: `model(batch)` gives the losses.
        draw: (step, rows of the step's batch) → NamedTuple of those rows, the same for the same arguments.
        schedule: How long and how fast.
        run: Where to.
        validate: Given the network in evaluation mode, on the chief alone (so it must not `gather`). The
            number named "monitor" decides, higher is better.
        options: The rest.

    Raises:
        RunError: SIGTERM or SIGINT came, the loss is not finite, `refuse` found a reason, or another process trains
            in the folder.
        RecipeError: Nothing is trainable, or the batch has too few rows to share.
        FormatError: The disk is full.
    """
    with sole_writer(run), stop_request() as asked, _at_work(model), _own_randomness(model):
        training = _Training(model, draw, schedule, run, validate, options)
        if not training.standing.done:
            training.go(asked)
        standing = training.standing
        model.eval()
        return Fitted(standing.step, standing.best_step, standing.metrics)


@final
@dataclass
class _Training:
    """The moving parts of one `fit`."""

    model: nn.Module
    draw: Draw
    schedule: Schedule
    run: Run
    validate: Validate | None
    options: Options

    def __post_init__(self) -> None:
        stage = f"-{self.options.stage}" if self.options.stage else ""
        self.path = self.run.private / f"checkpoint{stage}.pt"
        self.optimiser = adamw(self.model, self.schedule, self.options.factors)
        self.wrapped = wrap(self.model)  # from here on all processes hold the chief's weights
        self.average = Average(self.model, self.schedule.ema) if self.schedule.ema else None
        self.log_every = self.options.log_every or -(-self.schedule.steps // 100)
        self.saved = time.monotonic()
        self.standing, parts = read_checkpoint(self.path)
        if self.standing.step:
            self.restore(parts)

    def go(self, asked: Callable[[], bool]) -> None:
        """All steps that are left."""
        narrator = Narrator(self.run.log, self.options.stage, self.schedule.steps, self.standing.step)
        with narrator.shown():
            training_mode(self.model)
            while not self.over():
                row, stop = self.step(asked)
                looked = self.look() if self.validate and self.due(self.schedule.validate_every) else None
                narrator.tell(row, looked, write=self.due(self.log_every))
                if stop or looked or time.monotonic() - self.saved >= self.options.checkpoint_seconds:
                    self.save()
                if stop:
                    steps = f"step {self.standing.step} of {self.schedule.steps}"
                    raise RunError(f"stopped as asked after {steps}; the same command goes on from there")
        self.finish()

    def over(self) -> bool:
        """Whether all steps are made, or too many looks brought nothing."""
        patience = self.schedule.patience
        return self.standing.step >= self.schedule.steps or (0 < patience <= self.standing.stale)

    def due(self, every: int) -> bool:
        """Whether something is to be done after this step; after the last, always."""
        step = self.standing.step
        return step == self.schedule.steps or (every > 0 and step % every == 0)

    def step(self, asked: Callable[[], bool]) -> tuple[Row, bool]:
        """One step of the optimiser; its row of the log, and whether any process was asked to stop."""
        now = self.standing.step
        rate = set_rate(self.optimiser, now, self.schedule)
        self.optimiser.zero_grad()
        losses = descend(self.wrapped, self.draw, now, self.schedule, self.options.count)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip or math.inf)
        terms = {f"loss.{name}": value for name, value in losses.items()}
        numbers, stop = agree({**terms, "gradient": norm}, asked())
        bad = [f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value)]
        if bad:
            raise RunError(f"step {now + 1}: {', '.join(bad)}; lower lr, or look at this step's batch")
        self.optimiser.step()
        if self.average:
            self.average.update(self.model)
        self.standing.step += 1
        loss = sum(numbers[name] for name in terms)
        return {"step": now + 1, "loss": loss, **numbers, "lr": rate}, stop

    def look(self) -> dict[str, float]:
        """The validation numbers of the present weights, which are kept if they are the best."""
        assert self.validate is not None
        with self.averaged(), torch.no_grad():
            self.settle()
            found = same({k: float(v) for k, v in self.validate(self.model).items()} if chief() else {})
            if "monitor" not in found:
                raise RunError(f"validation needs a number named monitor; got {', '.join(found) or 'none'}")
            if reason := self.options.refuse(found) if self.options.refuse else "":
                raise RunError(f"step {self.standing.step}: {reason}")
            if self.standing.see(found):
                self.standing.best = _copied(self.model)
        training_mode(self.model)
        return found

    def settle(self) -> None:
        """Evaluation mode, and whatever else the weights need before they are judged."""
        self.model.eval()
        if self.options.settle:
            self.options.settle(self.model)

    def averaged(self) -> contextlib.AbstractContextManager:
        """The weights to judge: the running mean's, where there is one."""
        return self.average.applied(self.model) if self.average else contextlib.nullcontext()

    def save(self) -> None:
        """All that a later process needs to go on."""
        parts = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        average = {"average": self.average.state()} if self.average else {}
        write_checkpoint(self.path, self.standing, {**parts, **average})
        self.saved = time.monotonic()

    def restore(self, parts: dict[str, Any]) -> None:
        """Take up what `save` left, or `finish`."""
        try:
            self.model.load_state_dict(parts["model"])
            if not self.standing.done:
                self.optimiser.load_state_dict(parts["optimiser"])
            if self.average and not self.standing.done:
                self.average.restore(parts["average"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.path} is of another network ({error}); name another folder") from error

    def finish(self) -> None:
        """Put the weights to take into the network, and nothing else into the checkpoint."""
        if self.standing.best is None:
            with self.averaged(), torch.no_grad():
                self.settle()
                self.standing.best, self.standing.best_step = _copied(self.model), self.standing.step
        self.model.load_state_dict(self.standing.best)
        self.standing.best, self.standing.done = None, True
        write_checkpoint(self.path, self.standing, {"model": self.model.state_dict()})


@contextlib.contextmanager
def _at_work(model: nn.Module) -> Iterator[None]:
    """The network on this process's own GPU, if there is one, and back afterwards; one that is on a GPU stays there."""
    home = device_of(model)
    if home.type == "cpu":
        model.to(join())
    try:
        yield
    finally:
        model.to(home)


def _own_randomness(model: nn.Module) -> contextlib.AbstractContextManager:
    """Torch's global generators come back as they were."""
    device = device_of(model)
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
