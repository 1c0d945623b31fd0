"""How every detector of anomalous sound is trained: its windows, whole steps of them, statistics, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.augment import draws
from stethos.data.batch import balanced_rows, epoch_rows
from stethos.errors import RecipeError
from stethos.nn.norm import restate
from stethos.study import backends, clips
from stethos.study.clips import Hearing
from stethos.study.listening import Listening, anomaly_of, refuse_impossible
from stethos.train.dist import device_of, join, share
from stethos.train.loop import Options, fit
from stethos.train.run import start_run
from stethos.types import Cohort, Schedule

RESTATED = 8  # batches of training clips that batch-norm statistics are measured on


@dataclass(frozen=True, eq=False)
class Clips:
    """Windows to train on, and the class of each.

    Args:
        take: Window numbers `(B,)` → waves `(B, 1, T)`.
        label: Class of each window, `(W,)`.
        names: How many classes there are without copies.
        copies: Transformed copies of each class, the clip itself included.
    """

    take: Callable[[np.ndarray], np.ndarray]
    label: np.ndarray
    names: int
    copies: int = 1


def clips_of(hearing: Hearing, part: str = "train") -> Clips:
    """The windows of one part whose class is known."""
    windows = hearing.windows_of(part)
    windows = windows[hearing.label_of(windows) >= 0]
    classes = hearing.classes
    return Clips(
        lambda chosen: hearing.prepared.store.take(windows[chosen]),
        hearing.label_of(windows),
        len(classes.names),
        classes.copies,
    )


def clips_here(people: Cohort, listening: Listening) -> Clips:
    """The windows of a small cohort's normal recordings, cut in memory."""
    rows = np.flatnonzero(anomaly_of(people) == 0)
    held = [listening.windows.apply(people[int(row)].pick(listening.channel)) for row in rows]
    classes = clips.classes_of(people, rows, listening.classes, copies=1)
    label = np.repeat(classes.label[rows], [len(item) for item in held])
    return Clips(np.concatenate(held).__getitem__, label, len(classes.names))


def rows_of(heard: Clips, step: int, plan: Schedule, balanced: bool) -> tuple[np.ndarray, Tensor]:
    """Windows of one whole step, and which copy of each is taken, every copy equally often.

    Args:
        heard: What is drawn from.
        step: From 0.
        plan: Its batch and seed.
        balanced: Every class equally often; otherwise shuffled passes.

    Returns:
        Window numbers `(B,)`, number of the copy `(B,)`.
    """
    several = len(np.unique(heard.label)) > 1
    if balanced and several:
        rows = balanced_rows(heard.label.astype(np.float64), step, plan.batch, plan.seed)
    else:
        rows = epoch_rows(len(heard.label), step, plan.batch, plan.seed)
    place = torch.arange(plan.batch)
    order = draws.uniform(plan.seed, step, place, 1, stream=3)[:, 0].argsort(stable=True)
    return rows, torch.empty_like(order).scatter_(0, order, place % heard.copies)


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose first weights belong to a seed; torch's own generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


@dataclass(frozen=True)
class System:
    """What a page asks for beside its recipe.

    Args:
        name: Of the page.
        verb: That makes the run.
        copies: Transformed copies that can be told apart, the clip itself included.
    """

    name: str
    verb: str
    copies: int


def open_hearing(system: System, people: Cohort, out: Path, recipe: Any, workers: int = 1) -> Hearing:
    """The run of a recipe that listens, its recordings divided and cut.

    Args:
        system: What the page asks for.
        people: Recordings.
        out: Folder of the run.
        recipe: With `listen`, `schedule`, `seeds` and `backend`.
        workers: Processes that cut recordings.

    Raises:
        RunError: The folder belongs to another recipe or other recordings.
        RecipeError: A number of the recipe is impossible.
    """
    plan = recipe.schedule
    if min(recipe.seeds, plan.steps, plan.batch) < 1:
        raise RecipeError("seeds, steps and batch must be at least 1 each")
    if recipe.backend not in backends.NAMES:
        raise RecipeError(f"--backend is one of {', '.join(backends.NAMES)}; got {recipe.backend}")
    listening: Listening = recipe.listen
    refuse_impossible(listening)
    join()
    parts, flow = clips.divide(people, listening)  # before there is a folder that remembers the recipe
    classes = clips.classes_of(people, parts["train"], listening.classes, system.copies)
    told = clips.config(people, recipe, listening, classes)
    run = start_run(Path(out), {"system": system.name, **told, "protocol": {"verb": system.verb}})
    return clips.begin(clips.Divided(people, parts, classes, flow), run, listening, workers)


def seeds_of(recipe: Any) -> range:
    """Seed of every network of a recipe."""
    return range(recipe.schedule.seed, recipe.schedule.seed + recipe.seeds)


def fitted(
    hearing: Hearing,
    model: nn.Module,
    draw: Callable[[int, slice], Any],
    schedule: Schedule,
    loss: Callable[[nn.Module], float],
    stage: str,
) -> nn.Module:
    """Train one network; the validation loss of the averaged weights chooses the step.

    Batch-norm statistics are measured anew on training clips before every look, for those of the averaged weights are
    nobody's: the running ones belong to the weights that move.

    Args:
        hearing: Its run and its training clips.
        model: With `embed`.
        draw: (step, rows of the step) → batch.
        schedule: How long and how fast.
        loss: Of a network in evaluation mode on the validation clips.
        stage: Name in the log.
    """
    store, chosen = hearing.prepared.store, settling_windows(hearing, schedule)

    def settle(network: nn.Module) -> None:
        embed = cast(Callable[[Tensor], Tensor], network.embed)
        there = device_of(network)
        restate(network, (partial(embed, torch.from_numpy(store.take(part)).to(there)) for part in chosen))

    options = Options(stage=stage, settle=settle)
    fit(model, draw, schedule, hearing.run, validate=lambda network: {"monitor": -loss(network)}, options=options)
    return model.eval()


def settling_windows(hearing: Hearing, schedule: Schedule) -> np.ndarray:
    """Numbers of the training windows of a few batches, all of one size, drawn once: this process's share of each.

    Returns:
        `(batches, share)`.
    """
    windows = hearing.windows_of("train")
    order = np.random.default_rng(schedule.seed).permutation(windows)[: RESTATED * schedule.batch]
    size = min(schedule.batch, len(order))
    return order[: len(order) // size * size].reshape(-1, size)[:, share(size)]


def class_loss(hearing: Hearing, transform: Callable[[Tensor, Tensor], Tensor], most: int = 512) -> Callable:
    """Cross-entropy of a network's `score` on validation windows, each copied in turn where copies are classes.

    Args:
        hearing: The recordings.
        transform: Waves and the number of the copy of each to waves.
        most: Windows that are looked at.
    """
    held = clips_of(hearing, "valid")
    chosen = np.random.default_rng(0).permutation(len(held.label))[:most]
    copy = torch.arange(len(chosen)) % held.copies
    waves = transform(torch.from_numpy(held.take(chosen)), copy)
    label = torch.from_numpy(held.label[chosen]) + copy * held.names

    def loss(model: nn.Module) -> float:
        speak = cast(Callable[[Tensor], Tensor], model.score)
        logits = torch.cat([speak(part.to(device_of(model))).cpu() for part in waves.split(32)])
        return float(F.cross_entropy(logits.float(), label))

    return loss
