"""OS-SCL: anomalous machine sound from one-stage supervised contrastive learning on noisy mixtures, with TFgram.

    wave (B, 1, T) ─┬─ log-mel ──► (B, 128, L) ─┐
      two mixed     ├─ Tgram ────► (B, 128, L) ─┼─► (B, C, 128, L) ── MobileFace ── bottleneck ──► z (B, D)
                    └─ TFgram ───► (B, 128, L) ─┘   C = 1 to 3                                          │
                                                                        own class, cosine with margin ◄─┘ (B, K)

    loss = w CE(s·φ(cos θ), y) + (1 − w) CE(s·φ(cos θ), y′) + SupCon(z, kin)        x = w·x + (1 − w)·x′

A class is a machine's identity. A sound is anomalous where it is far from the normals of its machine, or where the
network does not recognise the machine.

Source:
    Huang, Fang and He 2025, arXiv:2509.13853 (OS-SCL), and what its published code does.
    STgram-MFN, arXiv:2201.05510 (Tgram, MobileFaceNet); Wavegram, arXiv:1912.10211 (TFgram).

Departures:
    - The default leaves TFgram away, which was not shown to help for two thirds of the work (`notes/log.md`), has half
      the channels inside and hears clips of any length; `reference()` has the published sizes.
    - The waves are mixed and the log-mel is that of the mixture; the published code mixes decibels beside waves, so
      that its channels disagree. `reference()` mixes decibels.
    - Two mixtures are kin as far as their labels agree, where the published code counts the first label alone; a
      weight is drawn for each row, not for each batch. `reference()` does as published.
    - A batch holds every class equally often, without which small batches hold hardly any kin.
    - The network has only what is used: the published class holds 79.8 million parameters that never get a gradient.
    - The averaged weights are the parameters' alone, and their memory is short at first; batch-norm statistics are
      measured anew on training clips. The published update also shrank those of the trained network at every step.
    - Batch norm counts over all processes. The margin is safe at cos θ = ±1.
    - A back end on the embeddings scores; the published score, margin on, stands beside it in every table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.augment import draws
from stethos.augment.mix import beta, partners
from stethos.augment.transformed import COPIES, transformed
from stethos.data.cohort import open_cohort
from stethos.errors import RecipeError
from stethos.nn.heads import Bottleneck, CosineHead
from stethos.nn.mel import LogMel
from stethos.nn.mobileface import MobileFace
from stethos.nn.tfgram import TFgram, Tgram
from stethos.objectives.contrastive import kin_of, sup_con
from stethos.objectives.margin import arcface
from stethos.study import detect, detected, sound_report
from stethos.study.clips import Listening
from stethos.study.demonstrate import demonstrate
from stethos.study.detector import Detector
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.systems._listening import audit, enrol, evaluate, explain, predict, rebaseline, threshold, watch
from stethos.train.dist import gather, global_mean
from stethos.train.run import read_config
from stethos.types import Cohort, Run, Schedule, Signal

SYSTEM = detect.System("os_scl", "train", len(COPIES))
DEMO = Plan(sections=3, train=60, test=60, seconds=2.0)
HOP = 512  # samples between two frames
BANDS = 128  # of the log-mel, and rows of the learnt spectrograms
WIDTH = 128  # D, of the embedding


@dataclass(frozen=True)
class Recipe:
    """How OS-SCL is trained.

    Args:
        listen: What is heard of a recording, and how the recordings are divided.
        channels: What the network looks at, "mel" first, and any of "tgram" and "tfgram".
        fixed: The published layers, which need clips of exactly `listen.seconds`; otherwise clips of any length.
        size: Of the channels inside the network; 1 is the published one.
        scale: s, factor of the cosines.
        margin: Angle that the own class must be closer by, in radians.
        temperature: Of the contrastive term.
        contrast: Weight of the contrastive term; 0 for none.
        mix_alpha: Of the Beta distribution of w; 0 to mix nothing.
        mix: What is mixed: "wave", or "decibel" for the published mixture of log-mels beside one of waves.
        mix_weight: One weight for each "row", or for the whole "batch".
        kin: Mixtures are kin as far as their labels agree ("soft"), or where the first labels are equal ("first").
        balanced: Every class equally often in a batch; otherwise shuffled passes.
        seeds: Networks trained, each from its own seed; their mean score is the model.
        backend: What scores: a name of `stethos.study.backends`.
        schedule: How long and how fast.
    """

    listen: Listening = field(default_factory=Listening)
    channels: tuple[Literal["mel", "tgram", "tfgram"], ...] = ("mel", "tgram")
    fixed: bool = False
    size: float = 0.5
    scale: float = 30.0
    margin: float = 0.4
    temperature: float = 0.1
    contrast: float = 1.0
    mix_alpha: float = 0.5
    mix: Literal["wave", "decibel"] = "wave"
    mix_weight: Literal["row", "batch"] = "row"
    kin: Literal["soft", "first"] = "soft"
    balanced: bool = True
    seeds: int = 1
    backend: str = "nearest"
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=20_000, batch=64, lr=1e-3, ema=0.999, precision="bfloat16", validate_every=1000
        )
    )


def reference() -> Recipe:
    """The published system: TFgram, fixed sizes, 300 epochs of 539 steps, a twentieth of the normals to validate on.

    Its learning rate falls to a tenth where ours falls to zero. It scores by its own class, margin on.
    """
    schedule = Schedule(steps=161_700, batch=64, lr=1e-4, warmup=0.0, clip=0.0, ema=0.9999, validate_every=539)
    return Recipe(
        listen=Listening(valid_fraction=0.05),
        channels=("mel", "tgram", "tfgram"),
        fixed=True,
        size=1.0,
        temperature=0.02,
        contrast=0.02 / 0.07,  # its code weighs the term by the temperature over a base of 0.07
        mix="decibel",
        mix_weight="batch",
        kin="first",
        balanced=False,
        backend="own-class-margin",
        schedule=schedule,
    )


def tiny() -> Recipe:
    """A narrow network on clips of two seconds that learns on two CPU cores in a few minutes."""
    schedule = Schedule(steps=300, batch=32, lr=2e-3, ema=0.99, precision="bfloat16", validate_every=100)
    return Recipe(listen=Listening(seconds=2.0), size=0.18, schedule=schedule)


class Batch(NamedTuple):
    """What one training step sees; `other` and `theirs` are the partners in the mixture."""

    wave: Tensor  # (B, 1, T)
    other: Tensor  # (B, 1, T)
    own: Tensor  # (B,) class
    theirs: Tensor  # (B,) class
    weight: Tensor  # (B,) share of the own wave


class OsScl(nn.Module):
    """A sound to a point on a sphere where every class has a direction.

    Args:
        recipe: How it is built.
        classes: Directions, K.
    """

    def __init__(self, recipe: Recipe, classes: int = 2) -> None:
        super().__init__()
        self.recipe, self.windows = recipe, recipe.listen.windows
        frames = self.windows.samples // HOP + 1
        grid = (BANDS // 16, -(-frames // 16)) if recipe.fixed else None
        self.mel = LogMel()
        self.grams = nn.ModuleDict()
        if "tgram" in recipe.channels:
            self.grams["tgram"] = Tgram(BANDS, frames if recipe.fixed else None)
        if "tfgram" in recipe.channels:
            self.grams["tfgram"] = TFgram(BANDS)
        self.face = MobileFace(len(recipe.channels), WIDTH, grid, recipe.size)
        self.head = Bottleneck(WIDTH)
        self.classes = CosineHead(WIDTH, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective; which rows are kin is asked of the whole step's batch."""
        recipe, share = self.recipe, batch.weight[:, None, None]
        mixed = share * batch.wave + (1 - share) * batch.other  # (B, 1, T)
        mel = (
            self.mel(mixed)
            if recipe.mix == "wave"
            else share * self.mel(batch.wave) + (1 - share) * self.mel(batch.other)
        )
        z = self._sphere(mel, mixed)  # (B, D)
        logits = arcface(self.classes(z), batch.own, recipe.scale, recipe.margin)  # (B, K)
        own, theirs = (F.cross_entropy(logits, label, reduction="none") for label in (batch.own, batch.theirs))
        every = torch.ones_like(batch.weight, dtype=torch.bool)
        losses = {"class": global_mean(batch.weight * own + (1 - batch.weight) * theirs, every)}
        if recipe.contrast:
            label, other, weight = gather(batch.own), gather(batch.theirs), gather(batch.weight)
            first = torch.ones_like(weight) if recipe.kin == "first" else weight
            kin = kin_of(label, other, first, len(self.classes.weight))
            losses["contrast"] = recipe.contrast * sup_con(gather(z), kin, recipe.temperature)
        return losses

    def _sphere(self, mel: Tensor, wave: Tensor) -> Tensor:
        grams = [gram(wave) for gram in self.grams.values()]  # (B, 128, L) each
        picture = torch.stack([mel, *grams], dim=1).contiguous(memory_format=torch.channels_last)  # (B, C, 128, L)
        z = self.head(self.face(picture))
        return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=-1)

    @property
    def centres(self) -> Tensor:
        """Direction of every class, `(K, D)`."""
        return F.normalize(self.classes.weight, dim=-1)

    def prepare(self, signal: Signal) -> Tensor:
        """A recording of any length to the windows that the network reads, `(W, 1, T)`."""
        return torch.from_numpy(self.windows.apply(signal))

    def embed(self, x: Tensor) -> Tensor:
        """Windows `(B, 1, T)` to points on the sphere, `(B, D)`."""
        return self._sphere(self.mel(x), x)

    def score(self, x: Tensor) -> Tensor:
        """Windows `(B, 1, T)` to the logits of the classes without margin, `(B, K)`."""
        return self.recipe.scale * self.classes(self.embed(x))


def batches(recipe: Recipe, heard: detect.Clips | None = None) -> Callable[[int, slice], Batch]:
    """A function from a step, and this process's share of it, to a batch.

    Args:
        recipe: Its schedule's seed and batch, and what is mixed.
        heard: What is drawn from; None for a small simulated factory.
    """
    drawn = heard or detect.clips_here(factory(Plan(("fan", "valve"), 1, 8, 4, seconds=2.0)), recipe.listen)
    plan = recipe.schedule

    def draw(step: int, share: slice) -> Batch:
        rows, copy = detect.rows_of(drawn, step, plan, recipe.balanced)  # (B,) of the whole step
        place = torch.arange(plan.batch)
        other = partners(plan.seed, step, place, stream=1)
        weight = beta(draws.uniform(plan.seed, step, place, 1, stream=2), recipe.mix_alpha)
        weight = weight[:1].expand(plan.batch) if recipe.mix_weight == "batch" else weight
        label = torch.from_numpy(drawn.label[rows]) + drawn.names * copy
        mine, theirs = place[share], other[share]
        wave, partner = (transformed(torch.from_numpy(drawn.take(rows[who])), copy[who]) for who in (mine, theirs))
        return Batch(wave, partner, label[mine], label[theirs], weight[mine])

    return draw


def train(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Train on normal recordings, score the tested ones beside the baselines, leave a run's folder.

    Args:
        cohort: Folder with a cohort.csv; a simulated factory where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained.
        workers: Processes that cut recordings.
    """
    people = open_cohort(cohort) if cohort else factory(Plan(seconds=recipe.listen.seconds))
    return _train(people, out, recipe, workers)


def demo(*, out: Path = Path("runs/os-scl"), seeds: int = 3, workers: int = 2) -> Run:
    """Train and validate on a simulated factory; everything in it is synthetic.

    Args:
        out: Folder of the run.
        seeds: Networks trained.
        workers: Processes that simulate and cut recordings.
    """
    run = _train(factory(DEMO), out, replace(tiny(), seeds=seeds), workers)
    demonstrate(run, load(run.folder), DEMO)
    sound_report.publish(run)
    return run


commands = (train, evaluate, explain, predict, threshold, enrol, audit, watch, rebaseline, demo)


def load(folder: Path) -> Detector:
    """The networks of a finished run, and the normals that they compare with.

    Raises:
        RunError: The training has not finished.
    """
    return detected.load_detector(Run(Path(folder)), recipe_of(Run(Path(folder))), OsScl)


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    return msgspec.convert(read_config(run)["recipe"], Recipe)


def _train(people: Cohort, out: Path, recipe: Recipe, workers: int) -> Run:
    _refuse_impossible(recipe)
    hearing = detect.open_hearing(SYSTEM, people, out, recipe, workers)
    loss = detect.class_loss(hearing, transformed)
    members = {}
    for seed in detect.seeds_of(recipe):
        own = replace(recipe, schedule=replace(recipe.schedule, seed=seed))
        model = detect.seeded(seed, partial(OsScl, own, hearing.classes.outputs))
        draw = batches(own, detect.clips_of(hearing))
        members[seed] = detect.fitted(hearing, model, draw, own.schedule, loss, f"seed-{seed}")
    detected.finish(hearing, members, recipe)
    return hearing.run


def _refuse_impossible(recipe: Recipe) -> None:
    several = len(set(recipe.channels)) == len(recipe.channels)
    if "mel" not in recipe.channels or not several:
        raise RecipeError(f"--channels are mel and any of tgram and tfgram, each once; got {recipe.channels}")
    positive = all(0 < value < math.inf for value in (recipe.size, recipe.scale, recipe.temperature))
    if not positive or not 0 <= recipe.margin < math.pi:
        raise RecipeError(
            "--size, --scale and --temperature lie above 0, --margin from 0 to below pi; got "
            f"{recipe.size:g}, {recipe.scale:g}, {recipe.temperature:g} and {recipe.margin:g}"
        )
    if not all(0 <= value < math.inf for value in (recipe.contrast, recipe.mix_alpha)):
        raise RecipeError(f"--contrast and --mix-alpha are 0 or more; got {recipe.contrast:g}, {recipe.mix_alpha:g}")
    if recipe.schedule.accumulate > 1 or recipe.schedule.batch < 2:
        raise RecipeError("recordings are compared within the whole step's batch: --accumulate is 1, --batch 2 or more")
