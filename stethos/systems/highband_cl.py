"""Highband-CL: anomalous machine sound from contrastive views of a clip that differ in the high band.

    wave (B, 1, T) ── log-mel ──► (B, 128, frames) ─┬─ segment ── band above f_c ── log-mixup ── crop ──► view 1 ─┐
                                                    └─ segment ── band above f_c ── log-mixup ── crop ──► view 2 ─┤
                            z (B, 2, D) ◄── projection ── h (B, 2, D) ◄── MobileFace ── views (B, 2, 128, L) ◄────┘

    loss = − mean_i Σ_j k_ij log( e^(z_i·z_j / τ) / Σ_{n ≠ i} e^(z_i·z_n / τ) ) / Σ_j k_ij      i, j, n: views of a step

The band becomes louder or fainter, noisier, or another clip's, in each view by itself. k_ij is 1 where j is the other
view of the clip of i ("instance": NT-Xent), or any view of its class ("identity": SupCon), and 0 elsewhere.

What two views of a clip do not share, the network learns to ignore: here the band above a cut-off f_c. A sound is
anomalous where its h is far from those of the normals of its machine.

Source:
    Meng, Guo, Zhang and Huang 2025, arXiv:2509.15570, "Contrastive Learning with Spectrum Information Augmentation in
    Abnormal Sound Detection". No code and no text of its method was to be had, so this is written after the published
    description and reproduces nothing. What is the paper's: the premise, that anomalies and noise often lie at higher
    frequencies, so that varying these in contrastive learning makes a network attend to the low ones, where normal
    operation sounds; the named augmentations log-mixup-exp, random resize crop and multiple segmentation; pre-training
    on AudioSet, which it names as its limitation; and what it reports: AUC 93.83 and pAUC 87.60 on DCASE 2020 Task 2,
    and 26.62 % (source) and 16.83 % (target) over the baseline of 2022.
    Two summaries by others contradict each other: one has "significant high-frequency contrasts" made between samples,
    the other high frequencies suppressed. Here they are made to differ, by gains of both signs, and `side` turns the
    premise round.
    Log-mixup-exp and the crop with its ranges: BYOL-A, arXiv:2103.06695.

Departures:
    - Everything that the description leaves open is our own choice: MobileFace on one log-mel channel, cut-offs of 1 to
      4 kHz, gains of ±6 dB (those of FilterAugment, arXiv:2110.03282), noise as loud as the band, another clip's band,
      segments of half a window, temperature 0.1 (SupCon, arXiv:2004.11362), batch, steps, and the scorer, a back end on
      the embeddings before the projection.
    - No pre-training on AudioSet, which is not at hand; `start` takes the network of a run that was trained on
      other sounds.
    - The default learns from the identity of the machines; `reference()` tells clips apart, as BYOL-A's views do.
    - Partners of mixtures and bands are drawn over the step's batch, where BYOL-A has a memory of earlier clips.
    - Whether the premise holds is not assumed: `ablate` varies no band, the high, the low and the full one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.augment import draws
from stethos.augment.mix import partners
from stethos.augment.spectrum import (
    Band,
    Side,
    band_gain,
    band_noise,
    band_replace,
    log_mixup,
    random_resize_crop,
    segments,
)
from stethos.augment.transformed import COPIES, transformed
from stethos.data.cohort import open_cohort
from stethos.errors import RecipeError
from stethos.nn.mel import LogMel, hertz_to_mel, mel_to_hertz
from stethos.nn.mobileface import MobileFace
from stethos.objectives.contrastive import nt_xent, sup_con
from stethos.signal.clip import RATE
from stethos.study import backends, detect, detected, sound_report, variants
from stethos.study.clips import Hearing, Listening
from stethos.study.demonstrate import demonstrate
from stethos.study.detector import Detector
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.systems._listening import audit, enrol, evaluate, explain, predict, rebaseline, threshold, watch
from stethos.train.dist import chief, device_of, gather
from stethos.train.gradient import moved
from stethos.train.run import read_config
from stethos.types import Cohort, Run, Schedule, Signal

NAME = "highband_cl"
SIDES: tuple[Side, ...] = ("high", "none", "low", "full")
DEMO = Plan(sections=3, train=40, test=60, seconds=2.0)
HOP = 512  # samples between two frames
BANDS = 128
WIDTH = 128  # D
CHANCES = 10  # draws of a view: place, partner's place, cut-off, change, its strength, mixture, four of the crop
HELD = 256  # validation windows that are looked at


@dataclass(frozen=True)
class Recipe:
    """How Highband-CL is trained.

    Args:
        listen: What is heard of a recording, and how the recordings are divided.
        loss: Whose views are kin: those of a clip ("instance"), or of a class ("identity").
        side: What differs between views: the band above the cut-off ("high"), below it ("low"), all or nothing.
        cutoff: Lowest and highest cut-off, Hz.
        change: What becomes of the band, one of these for each view: "gain", "noise", "replace" by another clip's.
        gain: Largest change of level, dB, up or down.
        noise: Largest power of the noise, of the band's own.
        replaced: Largest share of another clip's power in the band, up to 1.
        segment: Length of a view, of the window; 1 for the whole.
        mixup: Largest share of another clip's power in a view, as log-mixup-exp; 0 for none.
        crop: Strength of the random resize crop; 1 for BYOL-A's ranges, 0 for none.
        size: Of the channels inside the network; 1 is MobileFaceNet as published.
        temperature: τ.
        balanced: Every class equally often in a batch; otherwise shuffled passes.
        seeds: Networks trained, each from its own seed; their mean score is the model.
        backend: What scores: a name of `stethos.study.backends`, not one that asks for the class.
        start: Folder of a finished run whose first network is where training starts; empty for random weights.
        schedule: How long and how fast.
    """

    listen: Listening = field(default_factory=Listening)
    loss: Literal["instance", "identity"] = "identity"
    side: Side = "high"
    cutoff: tuple[float, float] = (1000.0, 4000.0)
    change: tuple[Literal["gain", "noise", "replace"], ...] = ("gain", "noise", "replace")
    gain: float = 6.0
    noise: float = 1.0
    replaced: float = 1.0
    segment: float = 0.5
    mixup: float = 0.4
    crop: float = 1.0
    size: float = 0.5
    temperature: float = 0.1
    balanced: bool = True
    seeds: int = 1
    backend: str = "nearest"
    start: str = ""
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            steps=20_000, batch=64, lr=1e-3, ema=0.999, precision="bfloat16", validate_every=1000
        )
    )


def reference() -> Recipe:
    """The nearest to what is published: clips told apart by themselves, and BYOL-A's batch, rate and 100 epochs.

    An epoch of the 34,500 clips of DCASE 2020 is 135 steps. The pre-training on AudioSet is left to `start`.
    """
    schedule = Schedule(steps=13_500, batch=256, lr=3e-4, decay=0.0, warmup=0.0, clip=0.0, validate_every=135)
    return Recipe(loss="instance", size=1.0, balanced=False, schedule=schedule)


def tiny() -> Recipe:
    """A narrow network on clips of two seconds that learns on two CPU cores in a few minutes."""
    schedule = Schedule(steps=300, batch=32, lr=2e-3, ema=0.99, precision="bfloat16", validate_every=100)
    return Recipe(listen=Listening(seconds=2.0), size=0.18, schedule=schedule)


class Batch(NamedTuple):
    """What one training step sees; a place is a row of the whole step's batch."""

    wave: Tensor  # (B, 1, T)
    place: Tensor  # (B, 3) of the clip itself, and of another one for each view
    label: Tensor  # (B,) class
    chance: Tensor  # (B, 2, 10) uniform draws of each view
    noise: Tensor  # (B, 2, 128, L) normal draws of each view


class HighbandCl(nn.Module):
    """A sound to a vector that tells what two views of it share.

    Args:
        recipe: How it is built, and how views are made.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self.windows, self.band = recipe, recipe.listen.windows, band_of(recipe)
        self.mel = LogMel()
        self.face = MobileFace(1, WIDTH, None, recipe.size)
        self.project = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective; partners and negatives come from the whole step's batch."""
        views = self.views(batch, gather(self.mel(batch.wave)))
        first, second = self.compared(views)
        return self.objective(gather(first), gather(second), gather(batch.label))

    @torch.no_grad()
    def views(self, batch: Batch, every: Tensor) -> Tensor:
        """Two views of each clip in dB, `(B, 2, 128, L)`.

        Args:
            batch: Rows, with the draws of their views.
            every: Log-mels of the whole step's batch, `(N, 128, frames)`.
        """
        own, *others = every[batch.place].unbind(1)  # (B, 128, frames) each
        length, u = batch.noise.shape[-1], batch.chance
        mel = segments(own, u[..., 0], length)  # (B, 2, 128, L)
        partner = torch.cat([segments(item, u[:, [view], 1], length) for view, item in enumerate(others)], dim=1)
        mel, partner, noise, u = (item.flatten(0, 1) for item in (mel, partner, batch.noise, u))  # 2B rows
        mel = self._changed(mel, partner, noise, u[:, 2:5])
        mel = log_mixup(mel, u[:, 5:6], partner, self.recipe.mixup)
        return random_resize_crop(mel, u[:, 6:], self.recipe.crop).unflatten(0, (-1, 2))

    def _changed(self, mel: Tensor, partner: Tensor, noise: Tensor, u: Tensor) -> Tensor:
        """Each row with its band made louder, noisier or another clip's, `(2B, 128, L)`."""
        recipe, place = self.recipe, u[:, [0, 2]]  # cut-off and strength
        made = {
            "gain": lambda: band_gain(mel, place, self.band, recipe.gain),
            "noise": lambda: band_noise(mel, place, noise, self.band, recipe.noise),
            "replace": lambda: band_replace(mel, place, partner, self.band, recipe.replaced),
        }
        each = torch.stack([made[name]() for name in recipe.change])  # (changes, 2B, 128, L)
        return each[(u[:, 1] * len(each)).long(), torch.arange(len(mel), device=mel.device)]

    def compared(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Both views of each clip on the sphere where they are compared, `(B, D)` each."""
        z = _wide(self.project(self._encoded(views.flatten(0, 1))))  # (2B, D)
        first, second = F.normalize(z, dim=-1).unflatten(0, (-1, 2)).unbind(1)
        return first, second

    def objective(self, first: Tensor, second: Tensor, label: Tensor) -> dict[str, Tensor]:
        """The loss of pairs of views.

        Args:
            first: `(N, D)`, of unit length.
            second: The other view of each, `(N, D)`.
            label: Class of each clip, `(N,)`.
        """
        with torch.autocast(
            first.device.type, enabled=False
        ):  # bfloat16 rounds a cosine by up to 0.002, which τ makes 0.02
            if self.recipe.loss == "instance":
                return {"instance": nt_xent(first, second, self.recipe.temperature)}
            both = torch.cat([label, label])
            return {"identity": sup_con(torch.cat([first, second]), both[:, None] == both, self.recipe.temperature)}

    def _encoded(self, mel: Tensor) -> Tensor:
        return self.face(mel[:, None].contiguous(memory_format=torch.channels_last))

    def prepare(self, signal: Signal) -> Tensor:
        """A recording of any length to the windows that the network reads, `(W, 1, T)`."""
        return torch.from_numpy(self.windows.apply(signal))

    def embed(self, x: Tensor) -> Tensor:
        """Windows `(B, 1, T)` to h of unit length, `(B, D)`."""
        return F.normalize(_wide(self._encoded(self.mel(x))), dim=-1)

    def score(self, x: Tensor) -> Tensor:
        """Windows `(B, 1, T)` to what the network says without any normals to compare with, `(B, 1)`.

        Minus the length of the projection: contrastive training makes that of what it has seen long.

        Reference:
            Tack et al. 2020, arXiv:2007.08176.
        """
        return -_wide(self.project(self._encoded(self.mel(x)))).norm(dim=-1, keepdim=True)


def band_of(recipe: Recipe) -> Band:
    """The band that differs between views.

    Raises:
        RecipeError: The cut-offs are not 0 < low ≤ high.
    """
    lowest, highest = hertz_to_mel(np.array([0.0, RATE / 2]))
    centres = mel_to_hertz(np.linspace(lowest, highest, BANDS + 2))[1:-1]
    return Band(torch.from_numpy(centres), *recipe.cutoff, side=recipe.side)


def batches(recipe: Recipe, heard: detect.Clips | None = None) -> Callable[[int, slice], Batch]:
    """A function from a step, and this process's share of it, to a batch.

    Args:
        recipe: Its schedule's seed and batch, and the length of a view.
        heard: What is drawn from; None for a small simulated factory.
    """
    drawn = heard or detect.clips_here(factory(Plan(("fan", "valve"), 1, 8, 4, seconds=2.0)), recipe.listen)
    plan, length = recipe.schedule, max(1, round(recipe.segment * (recipe.listen.windows.samples // HOP + 1)))

    def draw(step: int, share: slice) -> Batch:
        rows, copy = detect.rows_of(drawn, step, plan, recipe.balanced)  # (B,) of the whole step
        every = torch.arange(plan.batch)
        place = torch.stack([every, *(partners(plan.seed, step, every, stream) for stream in (1, 2))], dim=1)
        mine = every[share]
        wave = transformed(torch.from_numpy(drawn.take(rows[share])), copy[share])
        label = torch.from_numpy(drawn.label[rows]) + drawn.names * copy
        chance = draws.uniform(plan.seed, step, mine, 2 * CHANCES, stream=4).unflatten(1, (2, CHANCES))
        noise = draws.normal(plan.seed, step, mine, (2, BANDS, length), stream=5)
        return Batch(wave, place[share], label[share], chance, noise)

    return draw


def train(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Train on normal recordings, score the tested ones beside the baselines, leave a run's folder.

    Args:
        cohort: Folder with a cohort.csv; a simulated factory where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained.
        workers: Processes that cut recordings.
    """
    return _train(_people(cohort, recipe), out, recipe, workers)


def ablate(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Try the premise: train with views that differ in the high, no, the low and the full band, and compare.

    Leaves a run each in high, none, low and full, of the same recordings, steps and seeds. The paired differences of
    the official score are in the report of high, which is returned.

    Args:
        cohort: Folder with a cohort.csv; a simulated factory where none is given.
        out: Folder of the four runs; the same command with the same folder resumes.
        recipe: How each is trained, but for its side.
        workers: Processes that cut recordings.

    Raises:
        CohortError: The tested recordings are not both normal and anomalous.
    """
    people = _people(cohort, recipe)
    variants.refuse_untestable(people, recipe.listen)
    runs: dict[str, Run] = {}
    for side in SIDES:
        if runs and chief():
            variants.share_windows(runs["high"], Run(Path(out) / side))
        runs[side] = _train(people, Path(out) / side, replace(recipe, side=side), workers)
    own = runs["high"]
    if chief():
        found = variants.gains(own, {side: run for side, run in runs.items() if side != "high"})
        variants.keep_gains(own, "Which band differs between views", "high", found, premise(found))
        for run in runs.values():
            sound_report.publish(run)
    return own


def premise(found: dict[str, variants.Gain]) -> str:
    """Whether varying the high band helps, and whether it is the high band that matters, in words.

    Args:
        found: "none", "low" and "full" → how much better the high band is.
    """
    words = {1: "better than", 0: "not shown to differ from", -1: "worse than"}
    signs = {side: gain.sign for side, gain in found.items()}
    alike = {sign: [side for side in found if signs[side] == sign] for sign in words}
    told = "; ".join(f"{words[sign]} {', '.join(sides)}" for sign, sides in alike.items() if sides)
    match signs["none"], signs["low"]:
        case 1, 1:
            verdict = "holds on these recordings"
        case 1, _:
            verdict = "holds in part on these recordings: it helps, but not more than varying the low band"
        case -1, _:
            verdict = "does not hold on these recordings: it does harm"
        case _:
            verdict = "is not shown to hold on these recordings"
    return f"The premise, that varying the high band helps, {verdict}. Varying it is {told}."


def demo(*, out: Path = Path("runs/highband-cl"), seeds: int = 3, workers: int = 2) -> Run:
    """Train and validate on a simulated factory; everything in it is synthetic.

    Args:
        out: Folder of the run.
        seeds: Networks trained.
        workers: Processes that simulate and cut recordings.
    """
    brief = replace(tiny(), seeds=seeds, schedule=replace(tiny().schedule, steps=200))
    run = _train(factory(DEMO), out, brief, workers)
    demonstrate(run, load(run.folder), DEMO)
    sound_report.publish(run)
    return run


commands = (train, evaluate, explain, predict, ablate, threshold, enrol, audit, watch, rebaseline, demo)


def load(folder: Path) -> Detector:
    """The networks of a finished run, and the normals that they compare with.

    Raises:
        RunError: The training has not finished.
    """
    run = Run(Path(folder))
    return detected.load_detector(run, recipe_of(run), lambda recipe, _: HighbandCl(recipe))


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    return msgspec.convert(read_config(run)["recipe"], Recipe)


def _people(cohort: Path | None, recipe: Recipe) -> Cohort:
    return open_cohort(cohort) if cohort else factory(Plan(seconds=recipe.listen.seconds))


def _train(people: Cohort, out: Path, recipe: Recipe, workers: int) -> Run:
    _refuse_impossible(recipe)
    copies = len(COPIES) if recipe.loss == "identity" else 1  # instances need no classes
    hearing = detect.open_hearing(detect.System(NAME, "train", copies), people, out, recipe, workers)
    members = {}
    for seed in detect.seeds_of(recipe):
        own = replace(recipe, schedule=replace(recipe.schedule, seed=seed))
        draw = batches(own, detect.clips_of(hearing))
        model = detect.fitted(hearing, _network(own), draw, own.schedule, _loss(hearing, own), f"seed-{seed}")
        members[seed] = model
    detected.finish(hearing, members, recipe)
    return hearing.run


def _refuse_impossible(recipe: Recipe) -> None:
    band_of(recipe)
    if recipe.backend not in backends.BACKENDS:
        raise RecipeError(f"--backend is one of {', '.join(backends.BACKENDS)} here; got {recipe.backend}")
    if not recipe.change or recipe.temperature <= 0 or not 0 < recipe.segment <= 1:
        raise RecipeError(
            f"views need a change, a temperature above 0 and a segment of 0 to 1; got {recipe.change or 'none'}, "
            f"{recipe.temperature:g} and {recipe.segment:g}"
        )
    if not (0 <= recipe.mixup <= 1 and 0 <= recipe.replaced <= 1 and min(recipe.noise, recipe.gain, recipe.crop) >= 0):
        raise RecipeError("--mixup and --replaced are shares from 0 to 1; --noise, --gain and --crop are 0 or more")
    if recipe.schedule.accumulate > 1 or recipe.schedule.batch < 2:
        raise RecipeError("views are compared within the whole step's batch: --accumulate is 1, --batch 2 or more")


def _network(recipe: Recipe) -> nn.Module:
    """A network of a run's, or of random weights of its own seed."""
    model = detect.seeded(recipe.schedule.seed, lambda: HighbandCl(recipe))
    if recipe.start:
        began = Run(Path(recipe.start))
        system, size = read_config(began)["system"], read_config(began)["recipe"].get("size")
        if (system, size) != (NAME, recipe.size):
            raise RecipeError(
                f"--start needs a run of {NAME} of --size {recipe.size:g}; {recipe.start} is one of {system} of {size}"
            )
        model.load_state_dict(load(began.folder).members[0].state_dict())
    return model


def _loss(hearing: Hearing, recipe: Recipe) -> Callable[[nn.Module], float]:
    """The objective on validation windows, their views drawn once."""
    held = detect.clips_of(hearing, "valid")
    count = min(len(held.label), HELD)
    plan = replace(recipe, balanced=False, schedule=replace(recipe.schedule, batch=count))
    batch = batches(plan, held)(0, slice(0, count))

    def loss(model: nn.Module) -> float:
        here = moved(batch, device_of(model))
        views = model.views(here, model.mel(here.wave))  # type: ignore[operator]
        pairs = [model.compared(part) for part in views.split(32)]  # type: ignore[operator]
        first, second = (torch.cat(side) for side in zip(*pairs, strict=True))
        return float(sum(model.objective(first, second, here.label).values()))  # type: ignore[operator]

    return loss


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))  # what is compared is not rounded to bfloat16
