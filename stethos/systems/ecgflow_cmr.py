"""ECGFlowCMR: a beating heart from an ECG.

    12 leads (B, 12, T) ── PhaseMAE ──► tokens F (B, D, T/8) ── cycles cut at the predicted phase ──► c (B, D, frames)
    cine (B, F, H, W)   ── CineAutoencoder ──► z (B, C, F, H/8, W/8) ── motion ──► coefficients (B, K, C, H/8, W/8)

    ecg     loss = ‖D(F ⊙ m) − x‖² / CT + ‖P(F) − (sin φ, cos φ)‖² / L       m hides half of the places
    cine    loss = ‖D(z) − x‖² + β KL
    flow    loss = w ‖u(x_t, t, c) − (x₁ − x₀)‖²,   x_t = (1 − t) x₀ + t x₁,   x₀ = centre + α ε

`motion = frames` flows on every frame's latent picture, as published; `harmonics` on the mean over the cycle (anatomy)
and its first harmonics (motion), so that what is generated is periodic by construction. `centre` is what the source is
spread about: nothing, the mean over all training cines and frames, or the mean at each phase.

Source:
    Fang et al. 2026, arXiv:2601.20904 (from descriptions of it; its code has no licence and was not read).
    Flow matching after Lipman et al. 2023, arXiv:2210.02747; transformer after Peebles and Xie 2023, arXiv:2212.09748.

Departures:
    - The encoders' layers are not known to us; ours are convolutions in groups, small enough for two cores.
    - The autoencoder has no adversarial and no perceptual loss: both need weights that are not ours to give, and what
      is judged here are areas, not textures.
    - A constant centre only shifts the source: with whitened coefficients it is the same flow from standard noise.
      So the published template and none are compared, not asserted.
    - Beside the tokens' mean cycle the flow is told the ECG's own mean beat, cut at the same predicted R peaks: tokens
      of 80 ms that were trained for minutes hold less of QRS than the samples do.
    - Heart rate is always a condition: a phase says nothing of seconds, and systole lasts about as long at any rate.
    - Tokens before the first and after the last R peak have no phase and are left out of its loss; cycles of ectopic
      beats are left out of the mean cycle.
    - Guidance is chosen on validation patients by how well the draws' ejection fractions are calibrated.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos import __version__
from stethos.augment.draws import normal, uniform
from stethos.data.batch import epoch_rows
from stethos.data.cohort import open_cohort
from stethos.data.imaging import write_department
from stethos.data.write import claim
from stethos.errors import CohortError, RecipeError, RunError
from stethos.flow.guidance import dropped, guided
from stethos.flow.path import along
from stethos.flow.solve import solve
from stethos.io.files import write_atomic
from stethos.io.nifti import write_nifti
from stethos.metrics.phenotypes import phenotypes
from stethos.nn.dit import DiT
from stethos.nn.phase_mae import AFTER, BEFORE, PhaseDecoder, PhaseEncoder, angle, cycles, mean_beat
from stethos.nn.unet import UNet
from stethos.nn.vae import CineVAE, divergence, sampled
from stethos.report.film import write_gif
from stethos.report.mark import burnt_in
from stethos.study.heart_downstream import Learn, mixes, over_seeds, worth
from stethos.study.heart_judge import (
    Judged,
    chosen_guidance,
    draws_judged,
    heart_table,
    judge_rows,
    judged,
    keep_table,
    nearest_patients,
    regressed,
    true_fractions,
)
from stethos.study.heart_numbers import HeartTable, judge_numbers
from stethos.study.heart_probes import (
    TARGETS,
    EndToEnd,
    Labelled,
    interpolated,
    noisy,
    phase_numbers,
    pooled,
    probe_numbers,
    refuse_no_targets,
)
from stethos.study.heart_report import Shown, publish_hearts
from stethos.study.heart_seen import cines_of, kept
from stethos.study.hearts import Hearts, HeartShape, begin_hearts, cine_window, labelled, parts_of
from stethos.study.judge import refuse_simulated
from stethos.study.onnx_judge import fraction_by, judge_of, masks_of
from stethos.study.partition import Partition
from stethos.study.progress import bar
from stethos.synth import Examination, cine_world, department
from stethos.train.dist import chief, chief_first, global_mean, join
from stethos.train.loop import Options, fit
from stethos.train.run import read_config, start_run, write_metrics
from stethos.train.weights import load_weights, save_weights, sha256
from stethos.types import Cohort, Estimate, Run, Schedule, Volume

THICK = 8.0  # mm, the usual slice of a cine; a generated heart has one
FEW = 16  # cines at a time through a network of pictures: twice as fast as 128, which do not fit the caches
STAGES = ("ecg", "cine", "flow")  # of `--stage all`; the judge is trained where it is first needed
NEEDS = {"ecg": "ecg", "cine": "cine", "judge": "cine", "flow": "pair"}


@dataclass(frozen=True)
class Recipe:
    """How ECGFlowCMR is trained, stage by stage.

    Args:
        rate: Sampling rate of the prepared ECG, Hz, above 80.
        seconds: Length of the ECG, s.
        frames: F, of a cine over one RR interval.
        size: H = W, pixels, a multiple of 16.
        side: Side of the crop to the heart, mm; 0 for the whole picture.
        ecg_width: D, of the ECG's tokens, a multiple of 32.
        hide: Share of the tokens' places that are hidden from the decoder.
        mask: Which: "random" places, or one "span".
        noise: Largest noise that training adds to what the encoder hears, relative to the size of the recording: white,
            and a wander as large. The decoder restores the recording without it.
        restore_weight: Of the restored ECG in the loss.
        phase_weight: Of the phase.
        ecg_steps: Steps of the stage ecg.
        ecg_batch: Recordings in a step.
        ecg_lr: Largest learning rate.
        cine_width: Channels of the autoencoder's first stage, a multiple of 16.
        latent: C, channels of the latent picture.
        turns: Whether the autoencoder mixes neighbouring frames.
        cine_frames: Frames of each cine that a step sees; 0 for all, and always all where frames are mixed.
        divergence_weight: β, per latent number.
        cine_steps: Steps of the stage cine.
        cine_batch: Cines in a step.
        cine_lr: Largest learning rate.
        centre: Of the source: "zero", "template" or "per-phase".
        motion: "frames" or "harmonics".
        harmonics: Of the cycle that are kept, beside its mean.
        spread: α, of the source.
        weigh: Power of a coefficient's spread in the loss: 0 counts all coefficients alike, 2 by their energy.
        patch: Latent pixels, each way, in a token of the transformer.
        width: Of the transformer.
        depth: Its blocks.
        heads: Of its attention.
        condition: Numbers that the tokens' mean cycle, and as many that the ECG's mean beat, are reduced to by
            principal components; 0 for all of both.
        blur: Noise that each number which the flow is told gets in training, in its standard deviations, so that
            training patients are not known by heart.
        drop: Chance that a row is trained without its condition.
        solver: "euler", "midpoint" or "heun".
        solver_steps: Steps from noise to a heart.
        guidances: Scales among which validation chooses.
        draws: Hearts generated for each ECG in an evaluation.
        judge_width: Channels of the first stage of the network that outlines hearts, a multiple of 8.
        judge_steps: Its training steps.
        judge_batch: Cines in a step.
        judge_lr: Largest learning rate.
        judge_records: Records with label maps that it learns from.
        parts: Who is trained on and who is tested.
        schedule: Of the stage flow; its seed, decay and precision are those of all stages.
    """

    rate: float = 100.0
    seconds: float = 10.0
    frames: int = 25
    size: int = 64
    side: float = 0.0
    ecg_width: int = 96
    hide: float = 0.5
    mask: str = "random"
    noise: float = 0.0
    restore_weight: float = 1.0
    phase_weight: float = 1.0
    ecg_steps: int = 3000
    ecg_batch: int = 64
    ecg_lr: float = 2e-3
    cine_width: int = 32
    latent: int = 4
    turns: bool = True
    cine_frames: int = 0
    divergence_weight: float = 1e-5
    cine_steps: int = 6000
    cine_batch: int = 16
    cine_lr: float = 2e-3
    centre: str = "template"
    motion: str = "harmonics"
    harmonics: int = 3
    spread: float = 1.0
    weigh: float = 1.0
    patch: int = 2
    width: int = 192
    depth: int = 6
    heads: int = 6
    condition: int = 16
    blur: float = 0.5
    drop: float = 0.1
    solver: str = "euler"
    solver_steps: int = 20
    guidances: tuple[float, ...] = (1.0, 1.5, 2.0)
    draws: int = 16
    judge_width: int = 16
    judge_steps: int = 1500
    judge_batch: int = 8
    judge_lr: float = 3e-3
    judge_records: int = 1000
    parts: Partition = field(default_factory=Partition)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=20_000, batch=64, lr=1e-3, ema=0.999))

    def __post_init__(self) -> None:
        if self.centre not in CENTRES or self.motion not in MOTIONS or self.mask not in ("random", "span"):
            raise RecipeError(
                f"centre is one of {', '.join(CENTRES)}, motion of {', '.join(MOTIONS)}, mask random or span; got "
                f"{self.centre}, {self.motion}, {self.mask}"
            )
        if self.size % (8 * self.patch) or self.size % 16 or self.ecg_width % 32:
            raise RecipeError(
                f"size must be a multiple of 16 and of 8 patches, ecg_width of 32; got size {self.size}, patch "
                f"{self.patch}, ecg_width {self.ecg_width}"
            )
        if not 0 < self.harmonics < self.frames / 2:
            raise RecipeError(
                f"{self.frames} frames hold fewer than {self.frames / 2:g} harmonics; got {self.harmonics}"
            )

    @property
    def shape(self) -> HeartShape:
        """What recordings and cines become."""
        return HeartShape(self.rate, self.seconds, self.frames, self.size, self.side)

    @property
    def tokens(self) -> int:
        """L of an ECG."""
        return self.shape.samples // 8

    @property
    def told(self) -> tuple[int, int]:
        """Numbers of the tokens' mean cycle, and of the mean beat."""
        return self.ecg_width * self.frames, 12 * (round(BEFORE * self.rate) + round(AFTER * self.rate))

    @property
    def inputs(self) -> int:
        """Numbers that the flow is told."""
        return (2 * self.condition or sum(self.told)) + 2

    @property
    def parameters(self) -> int:
        """K: latent pictures that describe a cycle."""
        return self.frames if self.motion == "frames" else 1 + 2 * self.harmonics


CENTRES = ("zero", "template", "per-phase")
MOTIONS = ("frames", "harmonics")


def small() -> Recipe:
    """64² pixels, 25 frames: half an hour on two cores."""
    return replace(
        tiny(), frames=25, size=64, ecg_steps=1500, cine_steps=4000, schedule=replace(tiny().schedule, steps=8000)
    )


def reference() -> Recipe:
    """The paper's sizes and rates where they are known: 96², 50 frames, all frames flow, template, Euler's 10 steps."""
    schedule = Schedule(steps=70_000, batch=4, lr=1e-4, decay=1e-4, warmup=0.0, clip=1.0)
    return Recipe(
        rate=500.0, frames=50, size=96, ecg_width=768, restore_weight=100.0, phase_weight=10.0,
        ecg_steps=92_000, ecg_batch=32, ecg_lr=1e-4, cine_width=64, divergence_weight=1e-6,
        cine_steps=290_000, cine_batch=1, cine_lr=5e-5, motion="frames", weigh=0.0, patch=1,
        width=512, depth=8, heads=8, condition=0, blur=0.0, solver_steps=10, guidances=(2.0,), schedule=schedule,
    )  # fmt: skip


def tiny() -> Recipe:
    """48² pixels, 16 frames: a few minutes on two cores."""
    schedule = Schedule(steps=3300, batch=64, lr=3e-3, ema=0.998, precision="bfloat16")
    return Recipe(
        frames=16, size=48, ecg_width=64, noise=1.5, ecg_steps=600, ecg_batch=48, cine_width=16, turns=False,
        cine_frames=4, divergence_weight=1e-5, cine_steps=1300, cine_batch=16, cine_lr=4e-3, width=128, depth=4,
        heads=4, solver="midpoint", solver_steps=6, guidances=(1.0, 1.25, 1.5), judge_steps=600, judge_records=400,
        schedule=schedule,
    )  # fmt: skip


class Batch(NamedTuple):
    """What one training step sees; a stage reads its own fields, and the others are empty."""

    ecg: Tensor  # (B, 12, T) mV                                                        stage ecg
    added: Tensor  # (B, 12, T) mV of noise beside it
    phase: Tensor  # (B, L) radians at the middle of each token; NaN where unknown
    hidden: Tensor  # (B, L) True where the decoder sees nothing
    cine: Tensor  # (B, F′, H, W)                                                        stages cine and judge
    draw: Tensor  # (B, C, F′, h, w) standard normal, of the latent cine
    labels: Tensor  # (B, F′, H, W) 0 to 3; 255 where unknown
    latent: Tensor  # (B, C, F, h, w)                                                    stage flow
    source: Tensor  # (B, K, C, h, w) standard normal
    condition: Tensor  # (B, D F + 12 S + 2)
    blur: Tensor  # (B, n) added to what is told
    time: Tensor  # (B,) in [0, 1]
    blind: Tensor  # (B,) True where the condition is withheld


NOTHING = Batch(*[torch.zeros(0)] * 13)


class PhaseMAE(nn.Module):
    """ECGs to tokens that know the phase.

    Args:
        recipe: How it is built.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.size: Tensor
        self.register_buffer("size", torch.ones(12, 1))  # of each lead, mV, from training ECGs
        self.encoder = PhaseEncoder(12, recipe.ecg_width)
        self.decoder = PhaseDecoder(12, recipe.ecg_width)
        self.head = nn.Conv1d(recipe.ecg_width, 2, 1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective; the phase is read from tokens none of which is hidden."""
        x = batch.ecg / self.size
        tokens = self.encoder(x + batch.added / self.size)  # (B, D, L)
        restored = self.decoder(tokens * ~batch.hidden[:, None])
        turn = torch.stack([batch.phase.sin(), batch.phase.cos()], dim=1)
        known = torch.isfinite(turn)
        off = (self.head(tokens) - torch.nan_to_num(turn)).square()
        return {
            "restore": self.recipe.restore_weight * _mean((restored - x).square()),
            "phase": self.recipe.phase_weight * global_mean(off, known),
        }

    def phase(self, ecg: Tensor) -> Tensor:
        """Leads `(B, 12, T)` in mV to radians in [0, 2π) at the middle of every token, `(B, L)`."""
        return angle(self.head(self.encoder(ecg / self.size)))

    def condition(self, ecg: Tensor, rates: Tensor) -> Tensor:
        """What a flow is told, `(B, D F + 12 S + 2)`: the tokens' mean cycle, the mean beat in mV, the rates.

        Args:
            ecg: Leads `(B, 12, T)` in mV.
            rates: Heart rate in 1/min and relative spread of RR, `(B, 2)`.
        """
        tokens = self.encoder(ecg / self.size)
        phase = angle(self.head(tokens))
        cycle, _ = cycles(tokens, phase, self.recipe.frames, 8 / self.recipe.rate)
        beat = mean_beat(ecg, phase, self.recipe.rate)
        return torch.cat([cycle.flatten(1), beat.flatten(1), torch.nan_to_num(rates)], dim=1)


class CineAutoencoder(nn.Module):
    """Cines to latent cines and back.

    Args:
        recipe: How it is built.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.weight = recipe.divergence_weight
        self.vae = CineVAE(recipe.cine_width, recipe.latent, recipe.turns)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective."""
        mean, log_variance = self.vae.encode(batch.cine)
        seen = self.vae.decode(sampled(mean, log_variance, batch.draw))
        kl = _mean(divergence(mean, log_variance))
        return {"picture": _mean((seen - batch.cine).square()), "divergence": self.weight * kl}

    def encode(self, cine: Tensor) -> Tensor:
        """Cines `(B, F, H, W)` to mean latent cines `(B, C, F, h, w)`."""
        return self.vae.encode(cine)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """Latent cines to cines."""
        return self.vae.decode(latent)


class Outliner(nn.Module):
    """Pictures to labels: the judge of every cine; the flow is not trained with it.

    Args:
        recipe: How it is built.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.net = UNet(4, recipe.judge_width)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over pixels with a label."""
        labels = batch.labels.flatten(0, 1)
        each = F.cross_entropy(self.net(batch.cine.flatten(0, 1)), labels, ignore_index=255, reduction="none")
        return {"outline": global_mean(each, labels != 255)}

    def outline(self, cine: Tensor) -> tuple[Tensor, Tensor]:
        """Cines `(B, F, H, W)` to labels of the same shape, and features of each cine: mean and spread over frames."""
        logits, features = self.net.both(cine.flatten(0, 1))
        held = features.unflatten(0, cine.shape[:2])
        return logits.argmax(1).unflatten(0, cine.shape[:2]), torch.cat([held.mean(1), held.std(1)], dim=1)


class ECGFlow(nn.Module):
    """From noise and an ECG's mean beat to latent cines.

    Args:
        recipe: How it is built.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.side = recipe.size // 8
        pieces, kinds = (self.side // recipe.patch) ** 2, recipe.parameters * recipe.latent * recipe.patch**2
        per_frame = recipe.motion == "frames"
        tokens = pieces * (recipe.frames if per_frame else 1)
        channels = recipe.latent * recipe.patch**2 if per_frame else kinds
        inputs, told = sum(recipe.told) + 2, recipe.inputs
        self.mean: Tensor
        self.scale: Tensor
        self.pixel: Tensor
        self.guidance: Tensor
        self.told_mean: Tensor
        self.told_turn: Tensor
        self.register_buffer("mean", torch.zeros(recipe.parameters, recipe.latent, self.side, self.side))
        self.register_buffer("scale", torch.ones(recipe.parameters, recipe.latent, 1, 1))
        self.register_buffer("told_mean", torch.zeros(inputs))
        self.register_buffer("told_turn", torch.zeros(told, inputs) if recipe.condition else torch.zeros(inputs))
        self.register_buffer("guidance", torch.tensor(1.0))
        self.register_buffer("pixel", torch.tensor(1.0))  # mm, of the training cines
        self.net = DiT(tokens, channels, recipe.width, recipe.depth, recipe.heads)
        self.tell = nn.Sequential(nn.Linear(told, recipe.width), nn.GELU(), nn.Linear(recipe.width, recipe.width))
        self.own = nn.Linear(recipe.ecg_width, recipe.width) if per_frame else None
        self.untold = nn.Parameter(torch.zeros(recipe.width))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective."""
        data = self.whitened(batch.latent)
        x, velocity = along(self.recipe.spread * batch.source, data, batch.time)
        said = self.velocity(x, batch.time, batch.condition, batch.blind, batch.blur)
        weight = self.scale**self.recipe.weigh
        return {"flow": _mean((said - velocity).square() * (weight / weight.mean()))}

    def whitened(self, latent: Tensor) -> Tensor:
        """Latent cines `(B, C, F, h, w)` to coefficients about the centre, of unit spread, `(B, K, C, h, w)`."""
        return (coefficients(latent, self.recipe) - self.mean) / self.scale

    def latent(self, whitened: Tensor) -> Tensor:
        """Back from `whitened`."""
        return course(whitened * self.scale + self.mean, self.recipe)

    def told(self, condition: Tensor) -> Tensor:
        """Conditions as numbers of unit spread among training patients, `(B, 2 n + 2)`."""
        away = condition - self.told_mean
        return away @ self.told_turn.T if self.recipe.condition else away * self.told_turn

    def velocity(self, x: Tensor, time: Tensor, condition: Tensor, blind: Tensor, blur: Tensor | float = 0.0) -> Tensor:
        """dx/dt at coefficients `(B, K, C, h, w)`; rows that are `blind` are told nothing."""
        told = torch.where(blind[:, None], self.untold, self.tell(self.told(condition) + blur))
        own = None if self.own is None else self._own(condition, blind)
        return self._pictures(self.net(self._tokens(x), time, told, own))

    def generate(self, condition: Tensor, noise: Tensor, guidance: float | None = None) -> Tensor:
        """Latent cines `(B, C, F, h, w)`.

        Args:
            condition: `(B, D F + 12 S + 2)`, as `PhaseMAE.condition` gives it.
            noise: Standard normal, `(B, K, C, h, w)`.
            guidance: 0 tells the network nothing, 1 the condition as learned; None for that chosen on validation.
        """
        scale = float(self.guidance) if guidance is None else guidance
        seeing = torch.zeros(len(condition), dtype=torch.bool, device=condition.device)

        def move(x: Tensor, time: Tensor) -> Tensor:
            if scale == 0:
                return self.velocity(x, time, condition, ~seeing)
            said = self.velocity(x, time, condition, seeing)
            return said if scale == 1 else guided(said, self.velocity(x, time, condition, ~seeing), scale)

        return self.latent(solve(move, self.recipe.spread * noise, self.recipe.solver_steps, self.recipe.solver))

    def know(self, latent: Tensor, condition: Tensor) -> None:
        """Take centre, scale and the conditions' principal components from training hearts."""
        held = coefficients(latent, self.recipe)
        centre = _centre(held, self.recipe)
        self.mean.copy_(centre)
        away = held - held.mean(0)
        alike = (0, 1, 3, 4) if self.recipe.motion == "frames" else (0, 3, 4)
        self.scale.copy_(away.square().mean(alike, keepdim=True)[0].sqrt().expand_as(self.scale).clamp(min=1e-6))
        self.told_mean.copy_(condition.mean(0))
        self.told_turn.copy_(_components(condition - self.told_mean, self.recipe))

    def _own(self, condition: Tensor, blind: Tensor) -> Tensor:
        """What each token is told of its own frame, `(B, F · pieces, width)`."""
        assert self.own is not None
        cycle = (condition - self.told_mean)[:, : self.recipe.told[0]]
        beat = cycle.unflatten(1, (self.recipe.ecg_width, self.recipe.frames))
        told = self.own(beat.transpose(1, 2)) * ~blind[:, None, None]  # (B, F, width)
        return told.repeat_interleave((self.side // self.recipe.patch) ** 2, dim=1)

    def _tokens(self, x: Tensor) -> Tensor:
        """Coefficients `(B, K, C, h, w)` to tokens: of a place, or of a place in a frame."""
        p, s = self.recipe.patch, self.side // self.recipe.patch
        cut = x.reshape(*x.shape[:3], s, p, s, p)
        if self.own is not None:
            return cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(x), x.shape[1] * s * s, -1)
        return cut.permute(0, 3, 5, 1, 2, 4, 6).reshape(len(x), s * s, -1)

    def _pictures(self, tokens: Tensor) -> Tensor:
        """Back from `_tokens`."""
        p, s, k, c = self.recipe.patch, self.side // self.recipe.patch, self.recipe.parameters, self.recipe.latent
        if self.own is not None:
            return tokens.reshape(-1, k, s, s, c, p, p).permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, k, c, s * p, s * p)
        return tokens.reshape(-1, s, s, k, c, p, p).permute(0, 3, 4, 1, 5, 2, 6).reshape(-1, k, c, s * p, s * p)


def _mean(values: Tensor) -> Tensor:
    """Over the whole step's batch, however it is shared."""
    return global_mean(values, torch.ones_like(values, dtype=torch.bool))


def _turns(recipe: Recipe) -> Tensor:
    """Mean, cosines and sines over the cycle, `(K, F)`."""
    phase = 2 * math.pi * torch.arange(recipe.frames) / recipe.frames
    waves = [wave(k * phase) for k in range(1, recipe.harmonics + 1) for wave in (torch.cos, torch.sin)]
    return torch.stack([torch.ones(recipe.frames), *waves])


def coefficients(latent: Tensor, recipe: Recipe) -> Tensor:
    """Latent cines `(B, C, F, h, w)` to what the flow flows on, `(B, K, C, h, w)`: frames, or mean and harmonics."""
    if recipe.motion == "frames":
        return latent.transpose(1, 2)
    basis = _turns(recipe).to(latent)
    onto = basis.T / basis.square().sum(1)  # (F, K)
    return torch.einsum("bcfhw,fk->bkchw", latent, onto)


def course(held: Tensor, recipe: Recipe) -> Tensor:
    """Back from `coefficients`; of harmonics the nearest latent cine that has no others."""
    if recipe.motion == "frames":
        return held.transpose(1, 2)
    return torch.einsum("bkchw,kf->bcfhw", held, _turns(recipe).to(held))


def _centre(held: Tensor, recipe: Recipe) -> Tensor:
    """What the source is spread about, `(K, C, h, w)`."""
    mean = held.mean(0)
    if recipe.centre == "zero":
        return torch.zeros_like(mean)
    if recipe.centre == "per-phase":
        return mean
    if recipe.motion == "frames":
        return mean.mean(0, keepdim=True).expand_as(mean)
    return torch.cat([mean[:1], torch.zeros_like(mean[1:])])


def _components(away: Tensor, recipe: Recipe) -> Tensor:
    """What turns centred conditions `(N, …)` into numbers of unit spread: principal components, or scales."""
    scale = 1 / away.std(0).clamp(min=1e-6)
    if not recipe.condition:
        return scale
    rows, first = [], 0
    for count in recipe.told:
        block = away[:, first : first + count]
        turn = torch.zeros(recipe.condition, away.shape[1])
        found = torch.linalg.svd(block, full_matrices=False)
        kept = min(recipe.condition, len(found.S))
        size = found.S[:kept, None] / math.sqrt(len(block))
        turn[:kept, first : first + count] = found.Vh[:kept] / size.clamp(min=1e-6)
        rows.append(turn)
        first += count
    return torch.cat([*rows, torch.diag(scale)[-2:]])


class Drawn(NamedTuple):
    """What batches are drawn from; what a stage does not need is empty."""

    hearts: Hearts
    rows: np.ndarray  # (N,) of the training records
    latent: Tensor  # (N, C, F, h, w)
    condition: Tensor  # (N, D F + 12 S + 2)
    labels: Tensor  # (N, F, H, W)


NONE = (torch.zeros(0), torch.zeros(0), torch.zeros(0))


def batches(recipe: Recipe, stage: str = "", drawn: Drawn | None = None) -> Callable[[int, slice], Batch]:
    """A function from a step, and this process's share of it, to a batch.

    Args:
        recipe: Its batch sizes and the schedule's seed.
        stage: "ecg", "cine", "judge" or "flow"; empty for all fields at once, as many rows as a step of the flow.
        drawn: What to draw from; None for a small simulated department and networks that have learned nothing.
    """
    held = drawn or _simulated(recipe)
    size = schedule_of(recipe, stage).batch
    fill = [_FILL[stage]] if stage else list(_FILL.values())

    def draw(step: int, share: slice) -> Batch:
        chosen = epoch_rows(len(held.rows), step, size, recipe.schedule.seed)[share]
        batch = NOTHING
        for part in fill:
            batch = batch._replace(**part(recipe, held, chosen, step, torch.arange(size)[share]))
        return batch

    return draw


def _ecg_fields(recipe: Recipe, drawn: Drawn, chosen: np.ndarray, step: int, place: Tensor) -> dict[str, Tensor]:
    ecg, phase = (torch.from_numpy(part) for part in drawn.hearts.ecgs(drawn.rows[chosen]))
    chance = uniform(recipe.schedule.seed, step, place, recipe.tokens)
    hidden = chance < recipe.hide
    if recipe.mask == "span":
        width, at = round(recipe.hide * recipe.tokens), torch.arange(recipe.tokens)
        first = (chance[:, :1] * (recipe.tokens - width + 1)).long()
        hidden = (at >= first) & (at < first + width)
    return {"ecg": ecg, "added": _added(ecg, recipe, step, place), "phase": at_tokens(phase), "hidden": hidden}


def _added(ecg: Tensor, recipe: Recipe, step: int, place: Tensor) -> Tensor:
    """White noise and a random walk about its mean, of equal power and of another size for each row."""
    if not recipe.noise:
        return torch.zeros_like(ecg)
    seed, shape = recipe.schedule.seed, tuple(ecg.shape[1:])
    walk = normal(seed, step, place, shape, 11).cumsum(-1)
    walk = walk - walk.mean(-1, keepdim=True)
    walk = walk / walk.std(-1, keepdim=True)
    size = recipe.noise * uniform(seed, step, place, 1, 12) * ecg.square().mean((1, 2))[:, None].sqrt()
    return size[..., None] * (normal(seed, step, place, shape, 10) + walk) / math.sqrt(2)


def at_tokens(phase: Tensor) -> Tensor:
    """The phase of samples `(B, T)` at the middle of every token, `(B, T / 8)`, between two samples on the circle."""
    left, right = phase[:, 3::8], phase[:, 4::8]
    return (left + ((right - left + math.pi) % (2 * math.pi) - math.pi) / 2) % (2 * math.pi)


def _cine_fields(recipe: Recipe, drawn: Drawn, chosen: np.ndarray, step: int, place: Tensor) -> dict[str, Tensor]:
    cine = _frames(torch.from_numpy(drawn.hearts.cines(drawn.rows[chosen])), recipe, step, place)
    side = recipe.size // 8
    return {
        "cine": cine,
        "draw": normal(recipe.schedule.seed, step, place, (recipe.latent, cine.shape[1], side, side), 2),
    }


def _frames(cine: Tensor, recipe: Recipe, step: int, place: Tensor) -> Tensor:
    """Some frames of each cine, `(B, F′, H, W)`, or all of them."""
    if not recipe.cine_frames or recipe.turns:
        return cine
    order = uniform(recipe.schedule.seed, step, place, recipe.frames, 1).argsort(1)[:, : recipe.cine_frames]
    return cine.gather(1, order[:, :, None, None].expand(-1, -1, *cine.shape[2:]))


def _judge_fields(recipe: Recipe, drawn: Drawn, chosen: np.ndarray, step: int, place: Tensor) -> dict[str, Tensor]:
    """Pictures brighter or darker and noisier than they were, so that generated ones are outlined as well."""
    seed, side = recipe.schedule.seed, recipe.size
    cine = _frames(torch.from_numpy(drawn.hearts.cines(drawn.rows[chosen])), recipe, step, place)
    labels = _frames(drawn.labels[chosen], recipe, step, place)
    gain = 1 + 0.15 * normal(seed, step, place, (1, 1, 1), 7)
    noise = 0.03 * normal(seed, step, place, (cine.shape[1], side, side), 8)
    return {"cine": cine * gain + noise, "labels": labels.long()}


def _flow_fields(recipe: Recipe, drawn: Drawn, chosen: np.ndarray, step: int, place: Tensor) -> dict[str, Tensor]:
    seed, side = recipe.schedule.seed, recipe.size // 8
    chance = uniform(seed, step, place, 2, 3)
    return {
        "latent": drawn.latent[chosen],
        "source": normal(seed, step, place, (recipe.parameters, recipe.latent, side, side), 5),
        "condition": drawn.condition[chosen],
        "blur": recipe.blur * normal(seed, step, place, (recipe.inputs,), 6),
        "time": chance[:, 0],
        "blind": dropped(recipe.drop, chance[:, 1]),
    }


_FILL = {"ecg": _ecg_fields, "cine": _cine_fields, "judge": _judge_fields, "flow": _flow_fields}


def train(
    cohort: Path | None = None,
    *,
    out: Path,
    recipe: Recipe = Recipe(),
    stage: str = "all",
    workers: int = 1,
    dry_run: bool = False,
) -> Run:
    """Train the stages one after the other: ecg (needs ECGs), cine (needs cines), flow (needs both of one visit).

    Args:
        cohort: Folder with a cohort.csv: column path for twelve-lead ECGs, column cine for 4D NIfTI; a simulated
            imaging department where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained.
        stage: "ecg", "cine", "flow" or "all"; or "judge", which outlines hearts in an evaluation and needs label maps.
            A stage that is finished is not trained again.
        workers: Processes that prepare recordings.
        dry_run: Only say how large everything would be.
    """
    if stage not in (*NEEDS, "all"):
        raise RecipeError(f"stage is one of {', '.join(NEEDS)} and all; got {stage}")
    if dry_run:
        print("\n".join(sizes(recipe, None if cohort is None else len(open_cohort(cohort)))))
        return Run(Path(out))
    people = open_cohort(cohort or _department(Path(out), 1500, recipe))
    hearts = _begin(people, out, recipe, workers)
    for name in STAGES if stage == "all" else (stage,):
        _fit(hearts, recipe, name)
    return hearts.run


def sizes(recipe: Recipe, records: int | None = None) -> list[str]:
    """How many weights, how much memory and disk a training takes, as text."""
    count = {name: sum(p.numel() for p in model(recipe).parameters()) for name, model in MODELS.items()}
    cine, ecg = 4 * recipe.frames * recipe.size**2, 4 * 13 * recipe.shape.samples
    latent = 4 * (recipe.latent * recipe.frames * (recipe.size // 8) ** 2 + sum(recipe.told) + 2)
    state = 16 * max(count.values())  # weights, gradient, two moments
    step = 24 * recipe.cine_batch * (recipe.cine_frames or recipe.frames) * recipe.size**2 * recipe.cine_width // 4
    held = f"{records} records: {records * (cine + ecg) / 1e9:.2f} GB on disk" if records else "on disk"
    return [
        *(f"stage {name}: {number / 1e6:.2f} million weights" for name, number in count.items()),
        f"{held}, {(cine + ecg) / 1e6:.2f} MB a record",
        f"in memory about {(state + step) / 1e9:.2f} GB, and {latent / 1e6:.3f} MB a record for the stage flow",
    ]


def _department(out: Path, patients: int, recipe: Recipe) -> Path:
    with chief_first(), bar("simulating") as progress:
        form = (recipe.size, recipe.frames, "sax")
        return write_department(out / "department", patients, 0, cine_world(), form, progress).parent


def _begin(people: Cohort, out: Path, recipe: Recipe, workers: int) -> Hearts:
    join()
    config = {
        "system": "ecgflow_cmr",
        "version": __version__,
        "recipe": asdict(recipe),
        "prepare": asdict(recipe.shape),
    }
    run = start_run(Path(out), config | {"origin": people.origin, "terms": people.terms})
    return begin_hearts(people, run, recipe.shape, workers)


def weights_of(run: Run, stage: str) -> Path:
    """Where a stage's network is kept; the flow's is the run's model."""
    return run.weights if stage == "flow" else run.folder / f"{stage}.safetensors"


MODELS: dict[str, Callable[[Recipe], nn.Module]] = {
    "ecg": PhaseMAE,
    "cine": CineAutoencoder,
    "judge": Outliner,
    "flow": ECGFlow,
}


def network(recipe: Recipe, stage: str) -> nn.Module:
    """A stage's network before training, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.schedule.seed)
        return MODELS[stage](recipe)


def load(folder: Path, stage: str = "flow") -> nn.Module:
    """A stage's network of a run.

    Raises:
        RunError: That stage has not finished.
    """
    run = Run(Path(folder))
    if not weights_of(run, stage).is_file():
        raise RunError(f"{folder} has no finished stage {stage}; run `stethos ecgflow-cmr train --stage {stage}` on it")
    model = network(recipe_of(run), stage)
    load_weights(model, weights_of(run, stage))
    return model.eval()


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    return msgspec.convert(read_config(run)["recipe"], Recipe)


def _fit(hearts: Hearts, recipe: Recipe, stage: str) -> None:
    """Train one stage, unless it is finished."""
    if weights_of(hearts.run, stage).is_file():
        return
    parts, _ = parts_of(hearts, recipe.parts, NEEDS[stage])
    model, drawn = network(recipe, stage), Drawn(hearts, parts["train"], *NONE)
    if isinstance(model, PhaseMAE):
        model.size.copy_(_size(hearts, parts["train"]))
    if isinstance(model, Outliner):
        rows, labels = labelled(hearts, parts["train"], recipe.judge_records)
        drawn = drawn._replace(rows=rows, labels=torch.from_numpy(labels))
    if isinstance(model, ECGFlow):
        drawn = drawn._replace(latent=latents(hearts, parts["train"]), condition=conditions(hearts, parts["train"]))
        model.know(drawn.latent, drawn.condition)
        model.pixel.fill_(float(np.nanmedian(hearts.pixel(parts["train"]))))
    fit(model, batches(recipe, stage, drawn), schedule_of(recipe, stage), hearts.run, options=Options(stage=stage))
    with chief_first():  # the next stage reads them on every process
        if chief():
            save_weights(model, weights_of(hearts.run, stage))


def _size(hearts: Hearts, train: np.ndarray) -> Tensor:
    """Of each lead in mV, from training ECGs, `(12, 1)`."""
    return torch.from_numpy(hearts.ecgs(train[:512])[0].std(axis=(0, 2)))[:, None]


def schedule_of(recipe: Recipe, stage: str) -> Schedule:
    """How long and how fast a stage is trained."""
    if stage in ("", "flow"):
        return recipe.schedule
    own = {
        "ecg": (recipe.ecg_steps, recipe.ecg_batch, recipe.ecg_lr),
        "cine": (recipe.cine_steps, recipe.cine_batch, recipe.cine_lr),
        "judge": (recipe.judge_steps, recipe.judge_batch, recipe.judge_lr),
    }
    steps, batch, lr = own[stage]
    return replace(recipe.schedule, steps=steps, batch=batch, lr=lr, ema=0.0)


def _simulated(recipe: Recipe) -> Drawn:
    """A few simulated patients, and what networks that have learned nothing make of them."""
    people = department(24, recipe.schedule.seed, size=recipe.size, frames=recipe.frames)
    assert isinstance(people.open, Examination)
    with tempfile.TemporaryDirectory() as folder:
        hearts = begin_hearts(people, Run(Path(folder)), recipe.shape, 1)
        rows = hearts.has("pair")
    labels = torch.from_numpy(np.stack([people.open.pictures(row)[1] for row in rows.tolist()]))
    mae, autoencoder = network(recipe, "ecg").eval(), network(recipe, "cine").eval()
    assert isinstance(mae, PhaseMAE)
    assert isinstance(autoencoder, CineAutoencoder)
    with torch.no_grad():
        latent = autoencoder.encode(torch.from_numpy(hearts.cines(rows)))
        told = mae.condition(torch.from_numpy(hearts.ecgs(rows)[0]), torch.from_numpy(hearts.rates(rows)).float())
    return Drawn(hearts, rows, latent, told, labels)


@torch.no_grad()
def latents(hearts: Hearts, rows: np.ndarray) -> Tensor:
    """Mean latent cines of records, `(N, C, F, h, w)`."""
    model = load(hearts.run.folder, "cine")
    assert isinstance(model, CineAutoencoder)
    return torch.cat([model.encode(torch.from_numpy(hearts.cines(some))) for some in _some(rows)])


@torch.no_grad()
def conditions(hearts: Hearts, rows: np.ndarray, folder: Path | None = None) -> Tensor:
    """What the flow of a run is told of records' ECGs, `(N, D F + 12 S + 2)`."""
    model = load(folder or hearts.run.folder, "ecg")
    assert isinstance(model, PhaseMAE)
    found = []
    for some in _some(rows):
        ecg, rates = torch.from_numpy(hearts.ecgs(some)[0]), torch.from_numpy(hearts.rates(some)).float()
        found.append(model.condition(ecg, rates))
    return torch.cat(found)


def _some(rows: np.ndarray, size: int = 64) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


class Hand(NamedTuple):
    """The networks of a finished run, and what they make of a cohort."""

    hearts: Hearts
    recipe: Recipe
    autoencoder: CineAutoencoder
    flow: ECGFlow
    judge: Outliner | None  # None where nothing is to be outlined
    condition: dict[int, Tensor]  # row → what the flow is told
    model: str  # hash of the flow's weights
    pixel: float  # mm of the cines it learned from

    @torch.no_grad()
    def outline(self, cines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The judge's labels and features of cines `(B, F, H, W)`."""
        assert self.judge is not None
        parts = [self.judge.outline(part) for part in torch.from_numpy(cines).split(FEW)]
        labels, features = (torch.cat(part) for part in zip(*parts, strict=True))
        return labels.numpy().astype(np.uint8), features.double().numpy()

    @torch.no_grad()
    def reconstruct(self, cines: np.ndarray) -> np.ndarray:
        """What is left of cines after the autoencoder."""
        parts = torch.from_numpy(cines).split(FEW)
        return torch.cat([self.autoencoder.decode(self.autoencoder.encode(part)) for part in parts]).numpy()

    @torch.no_grad()
    def generate(self, rows: np.ndarray, number: np.ndarray, guidance: float | None = None) -> np.ndarray:
        """A heart for each row's ECG `(B, F, H, W)`; the same for the same record, number of the draw and seed."""
        return self.beat(rows, rows, number, guidance)

    @torch.no_grad()
    def beat(self, told: np.ndarray, rows: np.ndarray, number: np.ndarray, guidance: float | None = None) -> np.ndarray:
        """Hearts from the ECGs of `told` and the noise of `rows`."""
        side, seed = self.recipe.size // 8, self.recipe.schedule.seed
        shape = (self.recipe.parameters, self.recipe.latent, side, side)
        names = self.hearts.cohort.rows["id"][rows]
        keys = np.array([_key(str(name), int(draw)) for name, draw in zip(names, number, strict=True)])
        noise = normal(seed, 0, torch.from_numpy(keys), shape, 9)
        condition = torch.stack([self.condition[row] for row in told.tolist()])
        with self._quick():
            latent = self.flow.generate(condition, noise, guidance)
            return torch.cat([self.autoencoder.decode(part).float() for part in latent.split(FEW)]).numpy()

    def _quick(self) -> torch.autocast:
        """As exact as the training was."""
        half = self.recipe.schedule.precision == "bfloat16"
        return torch.autocast("cpu", torch.bfloat16, enabled=half)


def _key(record: str, draw: int) -> int:
    """What names the noise of one draw of a record, whatever cohort the record is in."""
    return int.from_bytes(blake2b(f"{record}/{draw}".encode(), digest_size=7).digest(), "little")


def _hand(hearts: Hearts, recipe: Recipe, rows: np.ndarray, folder: Path | None = None) -> Hand:
    """Networks of a run and what they are told of some rows; one named by its folder is not asked to outline."""
    home = folder or hearts.run.folder
    flow, autoencoder, judge = load(home), load(home, "cine"), None if folder else load(home, "judge")
    assert isinstance(flow, ECGFlow)
    assert isinstance(autoencoder, CineAutoencoder)
    assert isinstance(judge, Outliner | None)
    told = dict(zip(rows.tolist(), conditions(hearts, rows, home), strict=True))
    model = sha256(weights_of(Run(home), "flow"))
    return Hand(hearts, recipe, autoencoder, flow, judge, told, model, float(flow.pixel))


def evaluate(run: Path, *, cohort: Path | None = None, judge: str = "", patients: int = 400, workers: int = 1) -> Run:
    """Hold generated hearts against the tested patients' own; write metrics.json, the model card and report.html.

    Args:
        run: Folder of a run with all stages.
        cohort: Folder of the cohort that it was trained on; the simulated department of the run where none is given.
        judge: Another judge, which only adds judge.* to metrics.json: `onnx:FILE`, a network of short-axis pictures, or
            `masks:DIR`, label maps of generated hearts by their record's id.
        patients: Tested patients that are judged, the first of the tested part.
        workers: Processes that prepare recordings.
    """
    held = Run(Path(run))
    recipe = recipe_of(held)
    hearts = begin_hearts(open_cohort(cohort or held.folder / "department"), held, recipe.shape, workers)
    return _judge_again(hearts, judge, patients) if judge else _evaluate(hearts, patients)


def _judge_again(hearts: Hearts, judge: str, patients: int) -> Run:
    """r(EF) of single generated hearts by another judge, beside that of the run's own on the same hearts."""
    kind, place = judge_of(judge)
    parts, _ = parts_of(hearts, recipe_of(hearts.run).parts, "pair")
    rows = tested_rows(parts)[:patients]
    _fit(hearts, recipe_of(hearts.run), "judge")
    hand = _hand(hearts, recipe_of(hearts.run), rows)
    truth = true_fractions(hearts, rows, hand.outline)[0]
    cines = np.concatenate(
        [hand.generate(rows[at], np.zeros(len(rows[at]), int)) for at in _some(np.arange(len(rows)))]
    )
    labels = hand.outline(cines)[0]
    own, kept = phenotypes(labels, (1.0, 1.0))["ef"], np.arange(len(rows))
    if kind == "masks":
        names = hearts.cohort.rows["id"][rows].tolist()
        found, maps = masks_of(place, names)
        kept, other = np.array([names.index(name) for name in found]), phenotypes(maps, (1.0, 1.0))["ef"]
    else:
        other = fraction_by(place, cines, labels)
    subjects = hearts.cohort.subjects[rows][kept]
    write_metrics(hearts.run, judge_numbers(truth[kept], other, own[kept], subjects), hearts.cohort.origin)
    return hearts.run


def _evaluate(hearts: Hearts, patients: int) -> Run:
    run, recipe = hearts.run, recipe_of(hearts.run)
    _fit(hearts, recipe, "judge")
    parts, flow = parts_of(hearts, recipe.parts, "pair")
    rows, train = tested_rows(parts)[:patients], parts["train"]
    hand = _hand(hearts, recipe, np.concatenate([rows, parts["valid"], train]))
    _choose(hand, parts["valid"][:48])
    table, shown = _judge_all(hand, rows, train)
    keep_table(run, table)
    publish_hearts(run, table, shown, flow, hearts.refused)
    return run


def tested_rows(parts: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of all tested parts.

    Raises:
        RunError: Nobody was held out.
    """
    rows = [part for name, part in parts.items() if name not in ("train", "valid")]
    if not rows or not sum(map(len, rows)):
        raise RunError("nobody was held out to be tested; train with --test-fraction above 0")
    return np.concatenate(rows)


def _choose(hand: Hand, valid: np.ndarray) -> None:
    """Keep the guidance that validation chooses in the flow, and how each scale did beside the run."""
    note = hand.hearts.run.private / "guidance.json"
    if not note.is_file():
        best, found = chosen_guidance(hand.hearts, valid, hand.recipe.guidances, hand.generate, hand.outline)
        write_atomic(note, json.dumps({"guidance": best, "crps": {str(k): v for k, v in found.items()}}).encode())
    best = json.loads(note.read_text())["guidance"]
    hand.flow.guidance.fill_(best)
    save_weights(hand.flow, hand.hearts.run.weights)


def _judge_all(hand: Hand, rows: np.ndarray, train: np.ndarray) -> tuple[HeartTable, Shown]:
    """Every row of the main table, and some hearts to look at."""
    hearts, outline = hand.hearts, hand.outline
    pixel, some = hearts.pixel(rows), train[: max(len(rows), 256)]
    told = {row: hand.flow.told(hand.condition[row][None])[0].detach().numpy() for row in (*rows, *train)}
    told_rows, told_train = (np.stack([told[row] for row in part]) for part in (rows, train))
    near = nearest_patients(told_rows, told_train, train)
    found = {
        "real": judge_rows(rows, pixel, lambda at: hearts.cines(rows[at]), outline, "judging real cines"),
        "train": judge_rows(some, hearts.pixel(some), lambda at: hearts.cines(some[at]), outline, "judging others"),
        "autoencoder": judge_rows(
            rows, pixel, lambda at: hand.reconstruct(hearts.cines(rows[at])), outline, "reconstructing"
        ),
        "untold": draws_judged(hearts, rows, 1, hand.generate, outline, 0.0),
        "nearest": judge_rows(near, hearts.pixel(near), lambda at: hearts.cines(near[at]), outline, "judging nearest"),
        "drawn": draws_judged(hearts, rows, hand.recipe.draws, hand.generate, outline),
    }
    truth, known = true_fractions(hearts, rows, outline), true_fractions(hearts, train, outline)[0]
    learned = _scratch(hearts, (train, rows), {"ef": (known, truth[0])}, hand.recipe, "regressor")["ef"]
    said = (regressed(told_train, known, told_rows) + learned) / 2
    return heart_table(hearts, rows, found, {"regressor": said}, truth), _shown(hand, rows, found)


def _shown(hand: Hand, rows: np.ndarray, found: dict[str, Judged]) -> Shown:
    """Some patients' hearts as pictures, spread over the ejection fractions."""
    order = np.argsort(found["real"].phenotypes["ef"])
    place = order[(np.linspace(0.05, 0.95, 4) * (len(order) - 1)).astype(int)]
    chosen, count = rows[place], hand.recipe.draws
    other, first = np.roll(chosen, 1), np.zeros(len(chosen), int)
    cines = hand.hearts.cines(chosen)
    films = {
        "real": cines,
        "reconstructed": hand.reconstruct(cines),
        "generated": hand.generate(chosen, first),
        "shuffled ECG": hand.beat(other, chosen, first),
    }
    curves = found["drawn"].curve.reshape(len(rows), count, -1)[place]
    noises = np.repeat(rows[:3], len(chosen))
    swapped = hand.beat(np.tile(chosen, 3)[: len(noises)], noises, np.zeros(len(noises), int))
    pixel = np.repeat(hand.hearts.pixel(chosen)[:1], len(noises))
    interval = float(np.nanmean(hand.hearts.pictures.facts["cine_interval"][chosen]))
    fractions = found["real"].phenotypes["ef"][place]
    return Shown(
        films, fractions, interval, found["real"].curve[place], curves, swapped, judged(swapped, pixel, hand.outline)
    )


def probe(
    run: Path, *, cohort: Path | None = None, noises: tuple[float, ...] = (12.0, 6.0, 0.0), workers: int = 1
) -> Run:
    """What the ECG's autoencoder knows: the phase under noise beside lines between R peaks, and linear probes.

    The probes read ejection fraction, wall thickness and fibrillation, where the cohort has the columns ef,
    wall_thickness and af, beside the same encoder untrained and one trained from scratch on them.

    Args:
        run: Folder of a run with the stage ecg.
        cohort: Folder of the cohort that it was trained on; the simulated department of the run where none is given.
        noises: Decibels of signal over added noise.
        workers: Processes that prepare recordings.
    """
    held = Run(Path(run))
    recipe, people = recipe_of(held), open_cohort(cohort or held.folder / "department")
    hearts = begin_hearts(people, held, recipe.shape, workers)
    parts, _ = parts_of(hearts, recipe.parts, "ecg")
    rows, model = tested_rows(parts)[:500], load(held.folder, "ecg")
    assert isinstance(model, PhaseMAE)
    numbers = _phases(hearts, rows, model, noises) | _probes(hearts, parts["train"], rows, model)
    write_metrics(held, numbers, hearts.cohort.origin)
    return held


@torch.no_grad()
def _phases(hearts: Hearts, rows: np.ndarray, model: PhaseMAE, noises: tuple[float, ...]) -> dict[str, Estimate]:
    ecg, phase = hearts.ecgs(rows)
    truth, said = at_tokens(torch.from_numpy(phase)).numpy(), {}
    for noise in (float("inf"), *noises):
        heard = ecg if math.isinf(noise) else noisy(ecg, noise, model.recipe.schedule.seed)
        lines = at_tokens(torch.from_numpy(interpolated(heard, hearts.shape.rate)).float()).numpy()
        network_ = torch.cat([model.phase(part) for part in torch.from_numpy(heard).split(64)]).numpy()
        said["as_recorded" if math.isinf(noise) else f"{noise:g}_db"] = (network_, lines)
    irregular = hearts.rates(rows)[:, 1] > 0.08
    hard = irregular | (hearts.numbers("af", rows) == 1)
    return phase_numbers(truth, said, hearts.cohort.subjects[rows], hard)


def _probes(hearts: Hearts, train: np.ndarray, rows: np.ndarray, model: PhaseMAE) -> dict[str, Estimate]:
    recipe, subjects = model.recipe, (hearts.cohort.subjects[train], hearts.cohort.subjects[rows])
    truths = {name: (hearts.numbers(name, train), hearts.numbers(name, rows)) for name in TARGETS}
    refuse_no_targets(truths)
    plain = network(recipe, "ecg").eval()
    assert isinstance(plain, PhaseMAE)
    plain.size.copy_(model.size)
    arms = {"pretrained": model, "untrained": plain}
    tables = {arm: (_tokens_of(hearts, train, net), _tokens_of(hearts, rows, net)) for arm, net in arms.items()}
    return probe_numbers(tables, truths, subjects, _scratch(hearts, (train, rows), truths, recipe))


@torch.no_grad()
def _tokens_of(hearts: Hearts, rows: np.ndarray, model: PhaseMAE) -> np.ndarray:
    """Mean and spread of the tokens of recordings, `(N, 2 D)`."""
    parts = [pooled(model.encoder(torch.from_numpy(hearts.ecgs(some)[0]) / model.size)) for some in _some(rows)]
    return torch.cat(parts).double().numpy()


def _scratch(
    hearts: Hearts,
    rows: tuple[np.ndarray, np.ndarray],
    truths: dict[str, tuple[np.ndarray, np.ndarray]],
    recipe: Recipe,
    stage: str = "scratch",
) -> dict[str, np.ndarray]:
    """What the same encoder says of the tested, trained on the targets for as many steps as the pretraining had."""
    plan = schedule_of(recipe, "ecg")
    graded = tuple(name != "af" for name in truths)
    fresh, size = network(recipe, "ecg"), _size(hearts, rows[0])
    assert isinstance(fresh, PhaseMAE)
    learner = EndToEnd(fresh.encoder, recipe.ecg_width, graded)
    known = np.stack([known for known, _ in truths.values()], axis=1)
    middle = np.where(graded, np.nanmean(known, axis=0), 0)
    spread = np.where(graded, np.nanstd(known, axis=0), 1)
    wanted = torch.from_numpy((known - middle) / spread).float()

    def draw(step: int, share: slice) -> Labelled:
        chosen = epoch_rows(len(rows[0]), step, plan.batch, plan.seed)[share]
        return Labelled(torch.from_numpy(hearts.ecgs(rows[0][chosen])[0]) / size, wanted[chosen])

    fit(learner, draw, plan, hearts.run, options=Options(stage=stage))
    with torch.no_grad():
        said = [learner.score(torch.from_numpy(hearts.ecgs(some)[0]) / size) for some in _some(rows[1])]
    return dict(zip(truths, (torch.cat(said).double().numpy() * spread + middle).T, strict=True))


def generate(
    run: Path,
    *,
    cohort: Path,
    out: Path,
    per_record: int = 1,
    part: str = "1/1",
    guidance: float | None = None,
    gif: bool = True,
    allow_synthetic_model: bool = False,
    workers: int = 1,
) -> Path:
    """Hearts from the ECGs of a cohort: NIfTI with spacing and frame time, GIF, and a cohort.csv; resumable.

    Every file carries a burnt-in mark, and every row the origin "generated", its parent, seed and model.

    Args:
        run: Folder of a run with all stages.
        cohort: Folder with a cohort.csv of twelve-lead ECGs.
        out: Where the hearts go; those that are there are not generated again.
        per_record: Hearts for each ECG.
        part: Which part of the ECGs, such as 3/16, so that several machines can share the work.
        guidance: Scale; that chosen on validation where none is given.
        gif: Whether a GIF is written beside each NIfTI.
        allow_synthetic_model: Generate from real ECGs although the run learned from simulated people; the column
            model_origin says so.
        workers: Processes that prepare recordings.
    """
    held = Run(Path(run))
    recipe, number, of = recipe_of(held), *_part(part)
    people = open_cohort(cohort)
    people = people.take(np.arange(number - 1, len(people), of))
    if not len(people):
        raise CohortError(f"{cohort} has fewer records than parts; part {part} holds none: ask for fewer parts")
    refuse_simulated(held, people[0], allow_synthetic_model)
    end = "" if of == 1 else f"-{number}-of-{of}"
    hearts = begin_hearts(people, Run(Path(out) / f"prepared{end}"), recipe.shape, workers, need="ecg")
    rows = hearts.has("ecg")
    hand = _hand(hearts, recipe, rows, held.folder)
    scale = float(hand.flow.guidance) if guidance is None else guidance
    by = {"model": hand.model, "seed": recipe.schedule.seed, "guidance": scale}
    by["model_origin"] = str(read_config(held)["origin"])
    claim(Path(out) / "generated.json", by)  # hearts of another model are not taken for this one's
    wanted = [(row, draw) for row in rows.tolist() for draw in range(per_record)]
    made = [line | by for line in _kept(hand, wanted, Path(out), scale, gif)]
    table = Path(out) / f"cohort{end}.csv"
    write_atomic(table, pl.DataFrame(made).write_csv().encode())
    lost = pl.DataFrame(hearts.refused, schema=["record", "reason"], orient="row")
    write_atomic(Path(out) / f"refused{end}.csv", lost.write_csv().encode())
    print(f"{len(made)} hearts from {len(rows)} ECGs in {out}; {len(lost)} records were refused, see refused{end}.csv")
    return table


def _part(part: str) -> tuple[int, int]:
    number, _, of = part.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise RecipeError(f"part is like 3/16, from 1/n to n/n; got {part}")
    return int(number), int(of)


def _kept(hand: Hand, wanted: list[tuple[int, int]], out: Path, scale: float, gif: bool) -> Iterator[dict[str, object]]:
    """Hearts on disk, one for each row and number of a draw, and their lines of the table."""
    with bar("generating") as progress:
        for done, (row, draw) in enumerate(wanted, start=1):
            parent, rate = str(hand.hearts.cohort.rows["id"][row]), float(hand.hearts.rates(np.array([row]))[0, 0])
            path, seconds = out / "hearts" / f"{_plain(parent)}-g{draw}.nii.gz", 60 / rate / hand.recipe.frames
            if not path.is_file():
                cine = hand.generate(np.array([row]), np.array([draw]), scale)[0]
                _write_heart(cine, path, (hand.pixel, seconds), gif)
            yield {
                "path": f"hearts/{path.name}", "id": f"{parent}-g{draw}", "origin": "generated", "parents": parent,
                "subject": str(hand.hearts.cohort.subjects[row]), "draw": draw, "heart_rate": round(rate, 1),
            }  # fmt: skip
            progress(done, len(wanted))


def _plain(record: str) -> str:
    """A record's id as part of a file's name; one with other characters is told apart by its hash."""
    plain = re.sub(r"[^-A-Za-z0-9_]", "_", record)
    return plain if plain == record else f"{plain}_{_key(record, 0) % 2**32:08x}"


def _write_heart(cine: np.ndarray, path: Path, steps: tuple[float, float], gif: bool) -> None:
    """One heart, marked, with mm a pixel and seconds a frame; the NIfTI last, for it means that the heart is whole."""
    pixel, seconds = steps
    marked = burnt_in(np.clip(cine, 0, 1), "GENERATED")
    if gif:
        write_gif(path.with_name(path.name.replace(".nii.gz", ".gif")), marked, seconds, "")
    write_nifti(path, Volume(marked[:, None], (THICK, pixel, pixel), seconds), "generated")


def reconstruct(
    run: Path,
    cines: Sequence[Path],
    *,
    side: float | None = None,
    out: Path | None = None,
    allow_synthetic_model: bool = False,
) -> Iterator[dict[str, object]]:
    """What the autoencoder keeps of cines: its error beside that of a still picture, one line a cine.

    To be asked before a flow is trained: what the autoencoder loses, no generated heart has.

    Args:
        run: Folder of a run with the stage cine.
        cines: 4D NIfTI, or folders or zips of DICOM.
        side: Side of the crop to the heart, mm; the run's where none is given.
        out: Folder for GIFs, cine and reconstruction side by side.
        allow_synthetic_model: Let a run that learned from simulated people see real cines.
    """
    held = Run(Path(run))
    shape, model = recipe_of(held).shape, load(held.folder, "cine")
    assert isinstance(model, CineAutoencoder)
    shape = shape if side is None else replace(shape, side=side)
    for path in map(Path, cines):
        for record in cines_of(path):
            refuse_simulated(held, record, allow_synthetic_model)
            window, facts = cine_window(record, shape)
            cine = torch.from_numpy(window).unflatten(2, (shape.size, shape.size))
            with torch.no_grad():
                seen = model.decode(model.encode(cine))
            if out is not None:
                both = torch.cat([cine, seen], dim=3)[0].clamp(0, 1).numpy()
                interval = float(facts["cine_interval"] or 1 / shape.frames)
                write_gif(Path(out) / f"{_plain(record.id)}.gif", both, interval, "RECONSTRUCTED")
            yield {"file": str(path), "cine": record.id, **kept(cine[0].numpy(), seen[0].numpy())}


def downstream(
    run: Path,
    *,
    cohort: Path | None = None,
    real: int = 200,
    labels: int = 40,
    seeds: int = 5,
    steps: int = 150,
    workers: int = 1,
) -> Run:
    """Whether pretraining on generated hearts helps where few are labelled; writes downstream.* into metrics.json.

    Args:
        run: Folder of a run with all stages.
        cohort: Folder of the cohort that it was trained on; the simulated department of the run where none is given.
        real: Real training hearts that a pretraining may see.
        labels: How many of them are labelled.
        seeds: Repetitions, each with other patients, hearts and weights.
        steps: Of each pretraining.
        workers: Processes that prepare recordings.
    """
    held = Run(Path(run))
    recipe, people = recipe_of(held), open_cohort(cohort or held.folder / "department")
    hearts = begin_hearts(people, held, recipe.shape, workers)
    parts, _ = parts_of(hearts, recipe.parts, "pair")
    rows, train = tested_rows(parts)[:400], parts["train"]
    _fit(hearts, recipe, "judge")
    hand = _hand(hearts, recipe, train)
    tested = (hearts.cines(rows), true_fractions(hearts, rows, hand.outline)[0])
    each = []
    for seed in range(seeds):
        chosen = np.random.default_rng(seed).permutation(train)[:real]
        told = np.tile(chosen, 3)
        number = np.repeat(np.arange(3), len(chosen)) + 3 * seed
        made = np.concatenate([hand.generate(told[at], number[at]) for at in _some(np.arange(len(told)), 128)])
        few = (hearts.cines(chosen[:labels]), true_fractions(hearts, chosen[:labels], hand.outline)[0])
        each.append(worth(_learner(hearts, recipe, steps), mixes(hearts.cines(chosen), made), few, tested, seed))
    write_metrics(held, over_seeds(each), hearts.cohort.origin)
    return held


def _learner(hearts: Hearts, recipe: Recipe, steps: int) -> Learn:
    """Pretrains the autoencoder on some cines; rows are the latent cines' mean and harmonics."""

    def learn(cines: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        plan = replace(schedule_of(recipe, "cine"), steps=steps, seed=seed)
        model = network(replace(recipe, schedule=replace(recipe.schedule, seed=seed)), "cine")
        assert isinstance(model, CineAutoencoder)
        if len(cines):
            with tempfile.TemporaryDirectory() as folder:
                fit(
                    model, _cine_draw(recipe, plan, cines), plan, Run(Path(folder)), options=Options(stage="downstream")
                )
        plain = replace(recipe, motion="harmonics")

        @torch.no_grad()
        def rows(asked: np.ndarray) -> np.ndarray:
            parts = [model.eval().encode(torch.from_numpy(asked[at])) for at in _some(np.arange(len(asked)))]
            return coefficients(torch.cat(parts), plain).flatten(1).double().numpy()

        return rows

    return learn


def _cine_draw(recipe: Recipe, plan: Schedule, cines: np.ndarray) -> Callable[[int, slice], Batch]:
    """Batches of the stage cine from cines in memory."""

    def draw(step: int, share: slice) -> Batch:
        chosen, place = epoch_rows(len(cines), step, plan.batch, plan.seed)[share], torch.arange(plan.batch)[share]
        cine, side = _frames(torch.from_numpy(cines[chosen]), recipe, step, place), recipe.size // 8
        noise = normal(plan.seed, step, place, (recipe.latent, cine.shape[1], side, side), 2)
        return NOTHING._replace(cine=cine, draw=noise)

    return draw


def demo(*, out: Path = Path("runs/ecgflow-cmr"), patients: int = 3400, workers: int = 2) -> Run:
    """Simulate an imaging department, train all stages and hold generated hearts against the patients' own.

    Everything in it is synthetic.

    Args:
        out: Folder of the run; the department lies in a folder inside.
        patients: Simulated patients.
        workers: Processes that prepare recordings.
    """
    recipe = replace(tiny(), parts=Partition(valid_fraction=0.05, test_fraction=0.12))
    people = open_cohort(_department(Path(out), patients, recipe))
    hearts = _begin(people, Path(out), recipe, workers)
    for stage in ("ecg", "cine", "judge", "flow"):
        _fit(hearts, recipe, stage)
    return _evaluate(hearts, 304)


commands = (train, evaluate, probe, reconstruct, generate, downstream, demo)
