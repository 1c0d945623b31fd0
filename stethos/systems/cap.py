"""CAP: an encoder of the pulse, pretrained against what patients' records say.

    pulse   ── prepare ──►  x (B, P, 2, S)  ── patch encoder ──►  h (B, P, D)  ── pool, places ──►  z (B, W)
    record  ── distil ───►  text  ── tower ──►  (B, D′)  ────────── anchor ───────────────────────►  w (B, W)

    restore   mean over hidden, valid samples of (x̂ − x)²                    x̂ from the tokens, blocks hidden
    stay      ½ [CE(s e¹ e²ᵀ, i) + CE(s e² e¹ᵀ, i)]       e¹, e²: two passes, each with its own blocks and dropout
    anchor    ½ [CE(s z wᵀ, i) + CE(s w zᵀ, i)]                   rows of unit length; kin rows are no negatives
    loss = a restore + b stay + c anchor

    train     row = LN(W (g a + (1 − g) b)),  a = [mean h; z] frozen, b = Net1d(x, x′, x″) from nothing, g a gate

A patch is 30 s at 40 Hz; a recording of any rate and length is as many patches as it holds, and which samples were
recorded at all is its second channel. What is left to tell apart by is then the heart, the vessels and the breath.

Source:
    He et al. 2026, arXiv:2606.15284 (CAP; CC BY 4.0), of which only abstract and digests could be read, and facts about
    its code, which has no licence: this is written from its description.
    Contrastive text pretraining after Radford et al. 2021, arXiv:2103.00020.

Departures:
    - Tokens of a second with places, where the published encoder attends over each of 1000 samples without any: that
      is most of its cost, and without places it cannot tell a recording from one with its halves swapped.
    - Blocks of three seconds are hidden, not single samples, which their neighbours give away; and only what is hidden
      and was recorded is scored. The published loss counts padding and visible samples too (`restore_all`).
    - A patch's row holds how its tokens swing besides their mean (`swing`): breathing is in the swing alone.
    - `stay` compares two passes through the encoder. The published one draws dropout twice behind one pass (`views`).
    - The temperature is learned, the loss of both terms is the mean of both directions (the published anchor takes the
      sum, so its weight of 0.1 is 0.2 here), records of one subject or with one text are no negatives (`kin`).
    - Band-limited resampling, polarity, and quality with a reason; the published code stretches by straight lines.
    - Records are distilled from events before the recording alone, without vital signs, with the events behind each
      sentence kept; the published code starts from texts that are there.
    - All tasks are learned by one network, weighted alike; the published code trains one for each. A frozen path can be
      ignored by the gate, so every table has the path from nothing alone beside it (`raw_only`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos import __version__
from stethos.augment import draws
from stethos.augment.blocks import hidden_blocks
from stethos.augment.pulse import as_seen_by
from stethos.data.batch import epoch_rows
from stethos.data.charts import Summarised
from stethos.data.charts import summarise as summarise_records
from stethos.data.cohort import open_cohort
from stethos.data.pair import Paired
from stethos.data.pair import pair as pair_cohort
from stethos.data.write import write_hospital
from stethos.errors import RecipeError, RunError
from stethos.io import read
from stethos.io.endpoint import Endpoint
from stethos.nn.attention import PatchPool, Swing
from stethos.nn.fusion import GatedFusion, Morphology
from stethos.nn.patch1d import PatchShape, SampleEncoder, TokenEncoder, pooled
from stethos.objectives.contrastive import info_nce
from stethos.objectives.supervised import masked_bce, masked_mse
from stethos.study import stream
from stethos.study.arms_report import publish_ablation, publish_arms, publish_pretrained, publish_zero_shot
from stethos.study.ensemble import scorer
from stethos.study.judge import refuse_simulated
from stethos.study.paired import retrieval_lines
from stethos.study.partition import Partition, partition
from stethos.study.progress import bar
from stethos.study.publish import write_flow
from stethos.study.pulse_answers import attended, judged_pulse
from stethos.study.pulse_arms import classical_table, graded_of, linear_probes, mean_table
from stethos.study.pulse_live import LivePulse
from stethos.study.pulse_parts import (
    ARM,
    add_external_arms,
    crossed,
    few_labels,
    keep_arms,
    keep_few,
    keep_main,
    keep_met,
    refuse_met,
    table_of,
    unmet,
)
from stethos.study.pulse_space import (
    QUERIES,
    asked_of,
    keep_parts,
    learnable_rows,
    mapped,
    ranked,
    refuse_no_records,
    spread,
    tested_parts,
    tested_rows,
    texts_for,
    without_years,
    write_nearest,
    write_rows,
)
from stethos.study.pulses import (
    PATCHES,
    PUBLISHED,
    UNIFIED,
    PulseRows,
    PulseWindows,
    begin_pulses,
    diseases_in_words,
    kin_of,
    lost_step,
    pulse_rows,
    pulse_scores,
    refuse_no_task,
    rows_here,
    stretches,
    tell_pulses,
)
from stethos.study.several import Case, answers
from stethos.study.task import fingerprint, named_folder
from stethos.study.towers import TextTower, partly
from stethos.study.validate import Operate
from stethos.synth import hospital, ppg_world
from stethos.text.chart import Switches
from stethos.train.dist import alone, chief, device_of, gather, global_mean, join
from stethos.train.loop import Options, fit
from stethos.train.run import read_config, start_run
from stethos.train.weights import load_weights, read_metadata, save_weights
from stethos.types import Cohort, Predictions, Record, Run, Schedule, Signal

SHAPED = (
    *("channel", "prepare", "rate", "patch", "motion", "token", "positions"),
    *("width", "heads", "layers", "feedforward", "swing", "space"),
)  # what an encoder is made of, and the patches that it reads
LOOKED_AT = 2048  # patches of the validation recordings, over both passes
BUDGET = 64  # tokens of a simulated record: what matters most, and little else for a small tower to learn by heart
LEAST_SPREAD = 0.02  # of embeddings in the mean dimension, where 1 is that of directions drawn at random


@dataclass(frozen=True)
class Recipe:
    """How CAP is pretrained and trained.

    Args:
        tasks: Columns, or conditions on columns, that `probe` and `train` learn.
        exclude: Conditions such as "paced == 1"; records that meet one are left out.
        channel: Name of the pulse in the recordings.
        prepare: Preparation of a recording: "pulse-v1", or "pulse-published".
        rate: Of a patch, Hz.
        patch: Length of a patch, s.
        motion: Refuse patches that moved, where a recording holds an accelerometer.
        patches: Most patches of a recording that a step sees, one after the other.
        token: Length of a token, s; 0 makes every sample one.
        positions: Whether tokens know their place in a patch, and patches theirs in a recording.
        width: D, of tokens and patches.
        heads: Of the attention.
        layers: Of the encoder.
        feedforward: Width inside each layer.
        swing: Traces whose swings over a patch are part of its row; 0 for none.
        dropout: Chance that an activation is dropped in training.
        space: W, of the space that recordings and records share.
        text: Text tower: "minilm", "bag" (small, learned from nothing, any language), or the folder of a model.
        text_layers: Last layers of a language model that are trained; 0 keeps it frozen.
        years: Whether the tower reads how often something was recorded, and when.
        hide_text: Share of the runs of words (or tokens) of a text that are hidden at a step; a frozen tower's row is
            seen whole.
        records: Whose record a recording is anchored in: its "own" patient's, a stranger's ("shuffled", the
            control), or "none".
        restore: Weight of the term that restores what is hidden.
        stay: Weight of the term that two passes agree.
        anchor: Weight of the term that recording and record agree.
        hidden: Share of a patch that is hidden.
        block: Length of what is hidden in one piece, s; 0 hides sample by sample.
        restore_all: Score every sample, hidden or not, recorded or not, as published.
        views: Passes through the encoder for `stay`: 2, or 1 as published.
        temperature: τ, or where it starts.
        learn_temperature: Whether s = 1 / τ is learned.
        kin: Whether records of one subject, or with one text, are left out of the negatives.
        augment: Strength of gain and noise that differ between the passes; 0 for none, 1 as recommended.
        start: Folder of the run of `pretrain` that `probe` and `train` start from, whose encoder and patches are
            then theirs, whatever is said here; empty for none.
        rivals: Further pretrainings to compare with, each NAME=RUN, such as shuffled=runs/shuffled.
        morphology: Channels of each stage of the network beside the encoder, multiples of 16.
        tune_steps: Steps of `train`.
        tune_batch: Recordings in a step of `train`.
        tune_lr: Largest learning rate of `train`.
        label_fractions: Shares of the training subjects whose labels are known, such as 0.05, probed beside all.
        label_draws: How many times each share is drawn.
        parts: Who is trained on and who is tested.
        operate: How the operating point of a yes-or-no task is chosen.
        schedule: How long and how fast `pretrain` is; its seed and decay are those of `train` too.
    """

    tasks: tuple[str, ...] = ("af", "hr", "resp_rate", "sbp", "dbp")
    exclude: tuple[str, ...] = ()
    channel: str = "PLETH"
    prepare: str = UNIFIED
    rate: float = 40.0
    patch: float = 30.0
    motion: bool = True
    patches: int = 10
    token: float = 1.0
    positions: bool = True
    width: int = 256
    heads: int = 4
    layers: int = 3
    feedforward: int = 1024
    swing: int = 16
    dropout: float = 0.1
    space: int = 128
    text: str = "minilm"
    text_layers: int = 0
    years: bool = False
    hide_text: float = 0.9
    records: Literal["own", "shuffled", "none"] = "own"
    restore: float = 1.0
    stay: float = 0.5
    anchor: float = 2.0
    hidden: float = 0.5
    block: float = 3.0
    restore_all: bool = False
    views: int = 2
    temperature: float = 0.1
    learn_temperature: bool = False
    kin: bool = True
    augment: float = 1.0
    start: str = ""
    rivals: tuple[str, ...] = ()
    morphology: tuple[int, ...] = (32, 64, 128, 256)
    tune_steps: int = 1500
    tune_batch: int = 64
    tune_lr: float = 1e-3
    label_fractions: tuple[float, ...] = ()
    label_draws: int = 5
    parts: Partition = field(default_factory=Partition)
    operate: Operate = field(default_factory=Operate)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=10_000, batch=256, lr=1e-3, ema=0.999, validate_every=500, patience=6)
    )

    @property
    def samples(self) -> int:
        """S, of a patch."""
        return round(self.rate * self.patch)


def reference() -> Recipe:
    """The published network and optimisation: a token a sample, no places, 25 s, weights 0.1, 1, 1, temperature 0.07.

    Give `text` the folder of MedCPT's query encoder and `text_layers` 6 to train its upper half, as published.
    """
    schedule = Schedule(steps=707, batch=256, lr=5e-3, decay=1e-8, warmup=0.0, clip=0.0)
    return Recipe(
        prepare=PUBLISHED, patch=25.0, motion=False, patches=12, token=0.0, positions=False, feedforward=2048,
        swing=0, space=256, years=True, hide_text=0.0, restore=1.0, stay=1.0, anchor=0.2, block=0.0, restore_all=True,
        views=1, temperature=0.07, kin=False, augment=0.0, morphology=(64, 128, 256, 512), tune_lr=5e-3,
        schedule=schedule,
    )  # fmt: skip


def tiny() -> Recipe:
    """A narrow network and a small text tower that learn on two CPU cores in a few minutes."""
    schedule = Schedule(steps=320, batch=192, lr=2e-3, ema=0.99, validate_every=80)
    return Recipe(
        patches=1, width=64, layers=2, feedforward=128, dropout=0.0, space=64, text="bag", hide_text=0.7,
        morphology=(16, 32, 32, 64, 64), tune_steps=200, tune_batch=64, tune_lr=2e-3, label_draws=3, schedule=schedule,
    )  # fmt: skip


class Batch(NamedTuple):
    """What one training step sees; `pretrain` reads all but the last, `train` the first and the last."""

    ppg: Tensor  # (B, V, P, 2, S) values and validity, as seen in each of V passes
    hidden: Tensor  # (B, V, P, S) True where it is to be restored
    text: Tensor  # (B, D′) of a frozen tower, or (B, L) tokens
    kin: Tensor  # (B, 2) ids of subject and text
    truth: Tensor  # (B, K) NaN where unknown


class Pulse(nn.Module):
    """Recordings to rows: the encoder of patches, and what joins them.

    Args:
        recipe: How it is built.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        token = max(1, round(recipe.token * recipe.rate))
        sizes = (recipe.width, recipe.heads, recipe.layers, recipe.feedforward, recipe.dropout)
        shape = PatchShape(recipe.samples, token, *sizes)
        self.encoder = TokenEncoder(shape, recipe.positions) if recipe.token else SampleEncoder(shape)
        self.swing = Swing(recipe.samples // token, recipe.width, recipe.swing) if recipe.swing else None
        self.pool = PatchPool(recipe.width, recipe.heads, recipe.space, recipe.positions)
        self.width = recipe.width + recipe.space
        self.seconds = recipe.patch

    def tokens(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens `(B·P, L, D)` of recordings `(B, P, 2, S)`, and which of them hold anything, `(B·P, L)`."""
        flat = x.flatten(0, 1)  # (B·P, 2, S)
        return self.encoder(flat[:, 0], flat[:, 1] > 0, None if hidden is None else hidden.flatten(0, 1))

    def patches(self, x: Tensor) -> Tensor:
        """One row a patch, `(B, P, 2, S)` to `(B, P, D)`; of a long recording a few at a time."""
        parts = a_few(x.flatten(0, 1), self.training)
        rows = [self.row(*self.encoder(part[:, 0], part[:, 1] > 0)) for part in parts]
        return torch.cat(rows).unflatten(0, x.shape[:2])

    def row(self, tokens: Tensor, there: Tensor) -> Tensor:
        """Tokens `(N, L, D)` to the row of a patch `(N, D)`: their mean, and how they swing."""
        mean = pooled(tokens, there)
        return mean if self.swing is None else mean + self.swing(tokens, there)

    def join(self, patches: Tensor, there: Tensor) -> Tensor:
        """One row a recording, `(B, P, D)` to `(B, W)`; a patch that holds nothing is not looked at."""
        return self.pool(patches, there)

    def describe(self, x: Tensor) -> Tensor:
        """Mean over patches beside the joined row, `(B, P, 2, S)` to `(B, D + W)`: what probes read."""
        h, there = self.patches(x), held(x)
        return torch.cat([pooled(h, there), self.join(h, there)], dim=1)


class CAP(nn.Module):
    """Recordings and records in one space.

    Args:
        recipe: How it is built and prepared.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.mean_text: Tensor
        self.present: Tensor
        self.pulse = Pulse(recipe)
        self.steady = nn.Sequential(nn.Linear(recipe.space, recipe.space), nn.Dropout(recipe.dropout))
        self.back = nn.Sequential(
            nn.Linear(recipe.width, recipe.width),
            nn.GELU(),
            nn.Linear(recipe.width, self.pulse.encoder.shape.token),
        )
        start = torch.tensor(-math.log(recipe.temperature))
        self.stay_log_scale = nn.Parameter(start.clone(), recipe.learn_temperature)
        if recipe.records != "none":
            tower = TextTower(recipe.text, recipe.text_layers)
            self.tower = tower.module()
            self.anchor = nn.Sequential(
                nn.Linear(tower.width, recipe.space), nn.GELU(), nn.Linear(recipe.space, recipe.space)
            )
            self.log_scale = nn.Parameter(start.clone(), recipe.learn_temperature)
        self.register_buffer("mean_text", torch.zeros(recipe.space))  # (W,) of the records that it was trained on
        self.register_buffer("present", torch.zeros(len(QUERIES), recipe.space))  # (Q, W) of the known sentences

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The three terms, over the rows of the whole step's batch; a term of weight 0 is left out."""
        plan, losses = self.recipe, {}
        views = [self.seen(x, hidden) for x, hidden in zip(batch.ppg.unbind(1), batch.hidden.unbind(1), strict=True)]
        if plan.restore:
            errors = [global_mean(*self.restored(*view[:3])) for view in views]
            losses["restore"] = plan.restore * torch.stack(errors).mean()
        rows, kin = [view[3] for view in views], gather(batch.kin) if plan.kin else None
        if plan.stay:
            steady = [gather(F.normalize(self.steady(row), dim=-1)) for row in (rows[0], rows[-1])]
            alike = None if kin is None else kin[:, :1]  # another recording of a person is no stranger
            scale = self.stay_log_scale.exp().clamp(max=100)
            losses["stay"] = plan.stay * info_nce(steady[0], steady[1], scale, alike)
        if plan.anchor and plan.records != "none":
            w = gather(self.told(batch.text))
            terms = [info_nce(gather(F.normalize(row, dim=-1)), w, self.scale, kin) for row in rows]
            losses["anchor"] = plan.anchor * torch.stack(terms).mean()
        return losses

    def seen(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One pass over recordings `(B, P, 2, S)`: them, what is hidden, their tokens, their rows `(B, W)`."""
        tokens, there = self.pulse.tokens(x, hidden)
        h = self.pulse.row(tokens, there).unflatten(0, x.shape[:2])
        return x, hidden, tokens, self.pulse.join(h, held(x))

    def restored(self, x: Tensor, hidden: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of every sample, and whether it counts, both `(B·P, S)`."""
        flat = x.flatten(0, 1)
        error = (self.back(tokens).flatten(1) - flat[:, 0]).square()
        counted = hidden.flatten(0, 1) & (flat[:, 1] > 0)
        return error, torch.ones_like(counted) if self.recipe.restore_all else counted

    @property
    def scale(self) -> Tensor:
        """s, at most 100."""
        return self.log_scale.exp().clamp(max=100)

    def prepare(self, signal: Signal) -> Tensor:
        """A pulse of any rate and length to the `(1, P, 2, S)` that the network reads."""
        return torch.from_numpy(_windows(self.recipe).cut(signal))[None]

    def embed(self, x: Tensor) -> Tensor:
        """Recordings `(B, P, 2, S)` to rows of unit length `(B, W)`."""
        return F.normalize(self.pulse.join(self.pulse.patches(x), held(x)), dim=-1)

    def told(self, text: Tensor) -> Tensor:
        """Texts, as the recipe's tower reads them, to rows of unit length `(B, W)`."""
        return F.normalize(self.anchor(self.tower(text)), dim=-1)

    def score(self, x: Tensor) -> Tensor:
        """Recordings `(B, P, 2, S)` to how much nearer they are to each known sentence than to records in general."""
        return self.embed(x) @ (self.present - self.mean_text).T


class Estimator(nn.Module):
    """A recording to its tasks: log odds of a yes, or an estimate in the task's own unit.

    Args:
        recipe: How it is built and prepared.
        arm: What it reads: "probe" or "scratch" (the encoder), "raw_only" (the network beside it), "fused" (both).
    """

    def __init__(self, recipe: Recipe, arm: str = "fused") -> None:
        super().__init__()
        self.recipe, self.arm = recipe, arm
        count = len(recipe.tasks)
        self.centre: Tensor
        self.spread: Tensor
        self.graded: Tensor
        if arm != "raw_only":
            self.pulse = Pulse(recipe)
            width = self.pulse.width
        if arm in ("raw_only", "fused"):
            self.shape = Morphology(recipe.morphology, (1,) * len(recipe.morphology))
            width = self.shape.width
        if arm == "fused":
            self.fuse = GatedFusion(self.pulse.width, self.shape.width, width)
            self.pulse.requires_grad_(False)
        self.head = nn.Linear(width, count)
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("graded", torch.zeros(count, dtype=torch.bool))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Log loss of the yes-or-no tasks and squared error of the others, in spreads, each a mean of what is known."""
        return self.errors(self.raw(batch.ppg[:, 0]), batch.truth)

    def errors(self, raw: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """The same of answers `(B, K)` in spreads around the mean."""
        losses = {}
        if not self.graded.all():
            losses["bce"] = global_mean(*masked_bce(raw[:, ~self.graded], truth[:, ~self.graded]))
        if self.graded.any():
            target = (truth - self.centre) / self.spread
            losses["mse"] = global_mean(*masked_mse(raw[:, self.graded], target[:, self.graded]))
        return losses

    def centred(self, truth: np.ndarray) -> None:
        """Take which tasks are measured, and their mean and spread, from training records `(N, K)`."""
        graded = graded_of(truth)
        with np.errstate(invalid="ignore"):
            spread = np.nan_to_num(np.nanstd(truth[:, graded], axis=0), nan=1.0)
        self.graded.copy_(torch.from_numpy(graded))
        self.centre[self.graded] = torch.from_numpy(np.nan_to_num(np.nanmean(truth[:, graded], axis=0))).float()
        self.spread[self.graded] = torch.from_numpy(np.where(spread > 0, spread, 1.0)).float()

    def raw(self, x: Tensor) -> Tensor:
        """Recordings `(B, P, 2, S)` to answers `(B, K)`, in spreads around the mean."""
        if self.arm in ("probe", "scratch"):
            return self.head(self.pulse.describe(x))
        beside = self.shapes(x)
        return self.head(self.fuse(self.pulse.describe(x), beside) if self.arm == "fused" else beside)

    def shapes(self, x: Tensor) -> Tensor:
        """Mean of the shapes of the patches that hold anything, `(B, P, 2, S)` to `(B, M)`."""
        parts = a_few(x.flatten(0, 1)[:, 0])
        return pooled(torch.cat([self.shape(part) for part in parts]).unflatten(0, x.shape[:2]), held(x))

    def prepare(self, signal: Signal) -> Tensor:
        """A pulse of any rate and length to the `(1, P, 2, S)` that the network reads."""
        return torch.from_numpy(_windows(self.recipe).cut(signal))[None]

    def score(self, x: Tensor) -> Tensor:
        """Recordings `(B, P, 2, S)` to log odds and estimates `(B, K)`."""
        return self.raw(x) * self.spread + self.centre


def held(x: Tensor) -> Tensor:
    """Which patches of recordings `(B, P, 2, S)` hold anything, `(B, P)`."""
    return (x[:, :, 1] > 0).any(-1)


def a_few(patches: Tensor, whole: bool = False) -> tuple[Tensor, ...]:
    """Patches a few at a time; all at once where they are wanted whole, or a graph of any size is made of it."""
    return (patches,) if whole or torch.compiler.is_compiling() else patches.split(256)


def batches(recipe: Recipe, rows: PulseRows | None = None, text: Tensor | None = None) -> Callable[[int, slice], Batch]:
    """A function from a step, and this process's share of it, to a batch.

    Args:
        recipe: Its schedule's seed and batch, what is hidden, and the augmentation.
        rows: What is drawn from; None for a small simulated hospital.
        text: What the tower reads of each record that `rows.record` numbers, `(N, …)`; None with `rows` for no text.
    """
    if rows is None:
        rows, text = _here(recipe)
    plan, block = recipe.schedule, max(1, round(recipe.block * recipe.rate))
    kin, truth = torch.from_numpy(rows.kin), torch.from_numpy(rows.truth).float()
    said = torch.zeros(int(rows.record.max()) + 1, 0) if text is None else text
    made = rows

    def draw(step: int, share: slice) -> Batch:
        chosen = epoch_rows(len(made), step, plan.batch, plan.seed)[share]
        place = torch.arange(plan.batch)[share]
        x = torch.from_numpy(stretches(made, chosen, recipe.patches, plan.seed, step))  # (B, P, 2, S)
        views = [as_seen_by(view, x, plan.seed, step, place, recipe.augment) for view in range(recipe.views)]
        count = 3 + recipe.samples // block
        u = draws.uniform(plan.seed, step, place, recipe.views * x.shape[1] * count, stream=8).view(-1, count)
        hidden = hidden_blocks(u, recipe.samples, block, recipe.hidden).view(len(x), recipe.views, x.shape[1], -1)
        seen = partly(said[made.record[chosen]], plan.seed, step, place, recipe.hide_text)
        return Batch(torch.stack(views, dim=1), hidden, seen, kin[chosen], truth[chosen])

    return draw


def summarise(
    records: Path,
    *,
    out: Path,
    cohort: Path | None = None,
    budget: int = 256,
    vitals: bool = False,
    after: bool = False,
    demographics: bool = True,
    notes: bool = True,
    only_vitals: bool = False,
    endpoint: str = "",
    model: str = "",
    allow_remote: bool = False,
    key_variable: str = "",
    at_once: int = 4,
) -> Summarised:
    """Distil patients' records into short texts, each sentence with the events behind it.

    Args:
        records: Folder of records: MEDS, MIMIC-III or MIMIC-IV tables, MC-MED.
        out: Folder of the texts: summaries.csv, report.json, and private/provenance.jsonl.
        cohort: Folder with a cohort.csv; then there is a text for each recording, of what was known before it began.
        budget: Tokens of a text, at most.
        vitals: Tell vital signs too, which give the tasks away.
        after: Tell codes that were assigned after the recording too.
        demographics: Tell age and sex.
        notes: Tell what notes say.
        only_vitals: Tell vital signs alone, as a control.
        endpoint: URL of a language model's server, such as http://127.0.0.1:8000; the template writes where empty.
        model: Name of the model there.
        allow_remote: Whether that server may be another machine: what the records say then leaves this one.
        key_variable: Environment variable that holds the server's key.
        at_once: Questions under way at the same time.
    """
    if model and not endpoint:
        raise RecipeError("--model is of a language model's server; give its --endpoint too, or leave --model away")
    switches = Switches(budget, vitals, after, demographics, notes, only_vitals)
    asked = Endpoint(endpoint, model, allow_remote, key_variable, at_once=at_once) if endpoint else None
    with bar("summarising") as progress:
        return summarise_records(records, out, cohort=cohort, switches=switches, endpoint=asked, progress=progress)


def pair(waves: Path, records: Path, *, out: Path, allow_undated: bool = False, subject_digits: bool = False) -> Paired:
    """Give each recording the text of its patient's record from before it began; prints what was lost at each step.

    Args:
        waves: Folder with a cohort.csv.
        records: Folder that `summarise` wrote, or a table of texts.
        out: Folder of the new cohort.csv; the recordings stay where they are.
        allow_undated: Take texts where it is not known whether they are older than the recording.
        subject_digits: Match subjects by their digits alone: "p000123" and "123".
    """
    return pair_cohort(waves, records, out, allow_undated=allow_undated, subject_digits=subject_digits)


def pretrain(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Learn recordings, and what their patients' records say of them, in one space; no label is used.

    Args:
        cohort: Folder with a cohort.csv; with a column report, unless `--records none`. A simulated hospital where
            none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained.
        workers: Processes that prepare recordings.
    """
    return _pretrain(_people(cohort, out), out, recipe, workers)


def probe(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Fit a linear model of every task on the frozen encoder, beside the same of an untrained one and other controls.

    Args:
        cohort: Folder with a cohort.csv that has columns of the tasks; a simulated hospital where none is given.
        out: Folder of the run.
        recipe: How; `start` names the run of `pretrain`.
        workers: Processes that prepare recordings.
    """
    return _publish(_learn(_people(cohort, out), out, recipe, workers, "probe"))


def train(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Fuse the frozen encoder with a network on the shape of the pulse, beside the probe and all controls.

    Args:
        cohort: Folder with a cohort.csv that has columns of the tasks; a simulated hospital where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained; `start` names the run of `pretrain`.
        workers: Processes that prepare recordings.
    """
    return _learn(_people(cohort, out), out, recipe, workers, "train")


def evaluate(run: Path, *, external: tuple[str, ...] = (), workers: int = 1) -> Run:
    """Write metrics.json, the model card and report.html of a run of `probe` or `train`.

    Args:
        run: Folder of the run.
        external: Further cohorts to test on, each as NAME=DIR; every arm scores them first.
        workers: Processes that prepare recordings.
    """
    made = _learned(run)
    recipe = recipe_of(made)
    for name, folder in map(named_folder, external):
        told = tell_pulses(open_cohort(folder), recipe.tasks, recipe.exclude)
        refuse_met(list(_starts(recipe).values()), {name: told.cohort})
        case = begin_pulses(told, made, _windows(recipe, measure=True), workers)
        add_external_arms(made, name, case, partial(_arm, recipe))
    return _publish(made)


def zero_shot(run: Path, cohort: Path, *, query: tuple[str, ...] = (), name: str = "", workers: int = 1) -> Run:
    """Rank tested recordings by how near they are to a sentence, and add `zero_shot.` to metrics.json.

    Args:
        run: Folder of a finished `pretrain`.
        cohort: The cohort that it was pretrained on, whose tested parts are ranked; or, with a name, another one.
        query: What a column of 0 and 1 is in words, each as COLUMN=SENTENCE; some are known where none is given.
        name: Of another cohort, all of which is ranked.
        workers: Processes that prepare recordings.
    """
    made = _pretrained(run)
    return _zero_shot(made, open_cohort(cohort), asked_of(query), name, workers)


def retrieve(run: Path, cohort: Path, *, query: str = "", top: int = 5, workers: int = 1) -> Iterator[dict[str, Any]]:
    """Find records by recordings and recordings by records among the tested; or recordings by a sentence.

    Args:
        run: Folder of a finished `pretrain`.
        cohort: The cohort that it was pretrained on, or another one.
        query: A sentence; the recordings that are nearest to it are named.
        top: How many of them.
        workers: Processes that prepare recordings.
    """
    made = _pretrained(run)
    recipe, model = recipe_of(made), cast(CAP, load(made.folder))
    refuse_no_records(recipe.records)
    case = begin_pulses(tell_pulses(open_cohort(cohort), recipe.tasks), made, _windows(recipe), workers)
    rows = tested_rows(made, case, texts=not query)
    z = pulse_scores(scorer(model.embed, PATCHES), case.prepared, rows)
    if query:
        near = z @ _said(model, [query])[0]
        for row in np.argsort(-near)[:top]:
            yield {"record": str(case.told.cohort.rows["id"][rows[row]]), "cosine": round(float(near[row]), 4)}
        return
    text = [case.told.text[row] for row in rows]
    w = _said(model, text if recipe.years else without_years(text))
    kin = kin_of(case.told.cohort.subjects, case.told.text)[rows]
    yield from retrieval_lines(z, w, kin, case.told.cohort.subjects[rows])


def embed(run: Path, cohort: Path, *, out: Path, workers: int = 1) -> str:
    """Write one row a recording of a cohort: its id, and its place in the space of recordings and records.

    Args:
        run: Folder of a run.
        cohort: Folder with a cohort.csv.
        out: File that ends in .npz: `record`, `subject`, `embedding` (N, W) of unit length, `features` (N, D + W).
        workers: Processes that prepare recordings.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    case = begin_pulses(tell_pulses(open_cohort(cohort), ()), made, _windows(recipe), workers)
    rows = case.seen(np.arange(len(case.told.cohort)))
    features = pulse_scores(scorer(model.pulse.describe, PATCHES), case.prepared, rows)
    z = features[:, recipe.width :]
    kept = {"embedding": z / np.linalg.norm(z, axis=1, keepdims=True), "features": features}
    return write_rows(out, case, rows, kept)


def predict(
    run: Path,
    files: Sequence[Path] = (),
    *,
    follow: str = "",
    every: float = 60.0,
    channel: str = "",
    rate: float | None = None,
    unit: str | None = None,
    allow_synthetic_model: bool = False,
) -> Iterator[dict[str, Any]]:
    """Estimate every task of recordings, or of a live stream; what cannot be judged gets "abstain" and the reason.

    Blood pressure is an estimate and no measurement, and is withheld unless the model was better than the mean on the
    validation part.

    Args:
        run: Folder of a run of `probe` or `train`.
        files: Recordings.
        follow: In place of recordings, a text file that grows, or - for standard input, with a line "seconds,value" a
            sample, or with --rate a value; Ctrl-C ends it.
        every: Seconds of a stream that are judged together, as a recording of that length.
        channel: Name of the pulse in these files; the recipe's where empty.
        rate: Sampling rate in Hz, for files that do not state it.
        unit: Unit, for files that do not state it.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.

    Raises:
        OriginError: The model was trained on a simulated world and the recording is real.
        RecipeError: There are recordings and a stream, or neither.
    """
    stream.refuse_both(files, follow)
    made = _learned(run)
    recipe, model = recipe_of(made), load(made.folder)
    windows = replace(_windows(recipe), channel=channel or recipe.channel)

    def said(record: Record) -> dict[str, Any]:
        refuse_simulated(made, record, allow_synthetic_model)
        return judged_pulse(made, scorer(model.score, PATCHES), windows, record, recipe.tasks)

    for file in files:
        yield {"file": str(file), **said(read(file, rate=rate, unit=unit))}
    if follow:
        yield from stream.follow(follow, said, LivePulse(windows, recipe.tasks, every, rate, unit))


def explain(
    run: Path,
    file: Path,
    *,
    out: Path | None = None,
    rate: float | None = None,
    unit: str | None = None,
    allow_synthetic_model: bool = False,
) -> Iterator[dict[str, Any]]:
    """Which patches of a recording its place in the space rests on: attention, pulse rate and refusals, in time.

    Args:
        run: Folder of a finished run.
        file: A recording of any length.
        out: File of a picture (.png or .svg) of the same; none where not given.
        rate: Sampling rate in Hz, for a recording that does not state it.
        unit: Unit, for a recording that does not state it.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    record = read(file, rate=rate, unit=unit)
    refuse_simulated(made, record, allow_synthetic_model)
    yield from attended(_windows(recipe), record, model.pulse, out)


def nearest(
    run: Path, cohort: Path, file: Path, *, top: int = 5, allow_synthetic_model: bool = False, workers: int = 1
) -> str:
    """Whose recordings are most like one: written to the run's private/nearest.csv, as it names patients.

    Args:
        run: Folder of a finished run.
        cohort: Folder with the cohort.csv of those who are compared with.
        file: A recording.
        top: How many patients.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.
        workers: Processes that prepare recordings.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    record = read(file)
    refuse_simulated(made, record, allow_synthetic_model)
    case = begin_pulses(tell_pulses(open_cohort(cohort), recipe.tasks), made, _windows(recipe), workers)
    z = scorer(model.pulse.describe)(_windows(recipe)(record)[0][None])[:, recipe.width :]
    return write_nearest(made, case, table_of(model.pulse.describe, case)[:, recipe.width :], z[0], top)


def cross_validate(
    cohort: Path | None = None, *, out: Path, folds: int = 5, recipe: Recipe = Recipe(), workers: int = 1
) -> Run:
    """Probe every task in folds of whole subjects, hyper-parameters from inner folds, every recording tested once.

    Args:
        cohort: Folder with a cohort.csv that has columns of the tasks; a simulated hospital where none is given.
        out: Folder of the run.
        folds: How many; as many as subjects, or more, leaves one subject out at a time.
        recipe: How; `start` names the run of `pretrain`, whose subjects are left out and counted.
        workers: Processes that prepare recordings.
    """
    recipe = _like_its_start(recipe)
    case = _begin(_people(cohort, out), out, recipe, workers, "cross_validate")
    graded = graded_of(case.told.truth)
    rows, lost = unmet(case, list(_starts(recipe).values()))
    refuse_no_task(case, rows, graded)
    tables = {name: table_of(pulse.describe, case) for name, pulse in _encoders(recipe).items()}
    for arm, said in crossed(case, rows, tables, graded, folds).items():
        said.save(case.run.private / f"{ARM}{arm}.npz")
    write_flow(case.run, [*case.told.flow, lost], case.prepared.refused)
    return _publish(case.run)


def ablate(
    cohort: Path | None = None,
    *,
    out: Path,
    vitals: Path | None = None,
    seeds: int = 3,
    recipe: Recipe = Recipe(),
    workers: int = 1,
) -> Run:
    """Pretrain without each term, and with other records, from several seeds, and probe each on the same people.

    Args:
        cohort: Folder with a cohort.csv with a column report and columns of the tasks; a simulated hospital where none
            is given.
        out: Folder; each pretraining lies in a folder inside.
        vitals: Folder of the same cohort, paired with texts of vital signs alone (`summarise --only-vitals`).
        seeds: Pretrainings of each kind.
        recipe: What is varied.
        workers: Processes that prepare recordings.
    """
    folder = _cohort(cohort, out)
    kinds = {name: (folder, replace(recipe, **change)) for name, change in VARIED.items()}
    if vitals:
        kinds["vitals_only"] = Path(vitals), recipe
    arms: dict[str, list[Predictions]] = {}
    for seed in range(recipe.schedule.seed, recipe.schedule.seed + seeds):
        for name, (where, kind) in kinds.items():
            plan = replace(kind, schedule=replace(kind.schedule, seed=seed))
            made = _pretrain(open_cohort(where), Path(out) / f"{name}-{seed}", plan, workers)
            told = replace(recipe, start=str(made.folder), schedule=plan.schedule, label_fractions=())
            run = _learn(open_cohort(folder), Path(out) / f"{name}-{seed}-probe", told, workers, "probe")
            arms.setdefault(name, []).append(Predictions.load(run.predictions))
    return publish_ablation(Run(Path(out)), arms)


VARIED: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "no_restore": {"restore": 0.0},
    "no_stay": {"stay": 0.0},
    "no_anchor": {"records": "none"},
    "shuffled": {"records": "shuffled"},
}


def demo(*, out: Path = Path("runs/cap"), patients: int = 2200, workers: int = 2) -> Run:
    """Distil, pair, pretrain three times, and train all tasks on a simulated hospital; everything in it is synthetic.

    Args:
        out: Folder of the run; the hospital, the texts and the pretrainings lie in folders inside.
        patients: Simulated patients.
        workers: Processes that prepare recordings.
    """
    folder = _simulated(Path(out), patients)
    recipe, people = replace(tiny(), parts=Partition(held_out_sites=("harbour",))), open_cohort(folder)
    kinds = {name: replace(recipe, **VARIED[name]) for name in ("pretrained", "shuffled", "no_anchor")}
    rivals = tuple(f"{name}={Path(out) / name}" for name in ("shuffled", "no_anchor"))
    own = replace(recipe, start=str(Path(out) / "pretrained"), rivals=rivals, label_fractions=(0.05,))
    measured = _begin(people, out, own, workers, "train").run  # prepares once what all four runs read
    runs = {name: _pretrain(people, Path(out) / name, plan, workers, measured) for name, plan in kinds.items()}
    _zero_shot(runs["pretrained"], people, QUERIES, "", workers, measured)
    return _publish(_learn(people, out, own, workers, "train"))


commands = (
    summarise, pair, pretrain, zero_shot, retrieve, probe, train, evaluate, cross_validate, ablate, embed, predict,
    explain, nearest, demo,
)  # fmt: skip


def load(folder: Path) -> CAP | Estimator:
    """The network of a finished run: of `pretrain` the two towers, of `probe` and `train` what estimates the tasks.

    Raises:
        RunError: The training has not finished.
    """
    run = Run(Path(folder))
    if not run.weights.is_file():
        raise RunError(f"{folder} holds no model.safetensors: its training has not finished; run it again to resume")
    recipe = recipe_of(run)
    if read_config(run)["protocol"]["verb"] != "pretrain":
        return _arm(recipe, run.weights)
    model = CAP(recipe)
    load_weights(model, run.weights)
    return model.eval()


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    return msgspec.convert(read_config(run)["recipe"], Recipe)


def _arm(recipe: Recipe, weights: Path) -> Estimator:
    """The network of an arm, from its file."""
    model = Estimator(recipe, read_metadata(weights)["arm"])
    load_weights(model, weights)
    return model.eval()


def _publish(run: Run) -> Run:
    publish_arms(run)
    return run


def _people(cohort: Path | None, out: Path) -> Cohort:
    return open_cohort(_cohort(cohort, out))


def _cohort(cohort: Path | None, out: Path) -> Path:
    return Path(cohort) if cohort else _simulated(Path(out), 1500)


def _simulated(out: Path, patients: int) -> Path:
    """Folder of a simulated cohort, paired with texts that are distilled from its events."""
    with bar("simulating") as progress:
        write_hospital(out / "hospital", patients, 0, ppg_world(), progress)
    summarise(out / "hospital" / "meds", out=out / "texts", cohort=out / "hospital", budget=BUDGET)
    pair(out / "hospital", out / "texts", out=out / "paired")
    return out / "paired"


def _windows(recipe: Recipe, measure: bool = False) -> PulseWindows:
    return PulseWindows(recipe.channel, recipe.prepare, recipe.rate, recipe.patch, recipe.motion, measure)


def _starts(recipe: Recipe) -> dict[str, Run]:
    """The pretrainings that a recipe names: its own, and those that it is compared with."""
    named = {"pretrained": Path(recipe.start)} if recipe.start else {}
    named |= dict(map(named_folder, recipe.rivals))
    return {name: _pretrained(folder) for name, folder in named.items()}


def _like_its_start(recipe: Recipe) -> Recipe:
    """The recipe with the encoder and the patches of the pretraining that it starts from."""
    if not recipe.start:
        return recipe
    other = recipe_of(_pretrained(Path(recipe.start)))
    return replace(recipe, **{name: getattr(other, name) for name in SHAPED})


def _pretrained(folder: Path) -> Run:
    """The run of a finished `pretrain`.

    Raises:
        RunError: Another verb made it.
    """
    run = Run(Path(folder))
    if not run.config.is_file() or read_config(run)["protocol"]["verb"] != "pretrain":
        raise RunError(f"{folder} holds no pretraining; give the folder that `stethos cap pretrain` wrote")
    return run


def _learned(folder: Path) -> Run:
    """The run of a finished `probe`, `train` or `cross_validate`.

    Raises:
        RunError: It is a pretraining.
    """
    run = Run(Path(folder))
    if read_config(run)["protocol"]["verb"] == "pretrain":
        raise RunError(f"{folder} is a pretraining, which estimates nothing; give the folder of a probe or a training")
    return run


def _said(model: CAP, texts: Sequence[str]) -> np.ndarray:
    """Rows of unit length of texts, `(N, W)`."""
    tower = TextTower(model.recipe.text, model.recipe.text_layers)
    with torch.inference_mode():
        return torch.cat([model.told(part) for part in tower.read(texts).split(64)]).double().numpy()


def _zero_shot(
    run: Run, people: Cohort, asked: Mapping[str, str], name: str, workers: int, before: Run | None = None
) -> Run:
    recipe, model = recipe_of(run), cast(CAP, load(run.folder))
    refuse_no_records(recipe.records)
    case = begin_pulses(tell_pulses(people, recipe.tasks), run, _windows(recipe), workers, before)
    parts = tested_parts(run, case)
    if ("all" in parts) != bool(name):
        raise RunError(
            f"{run.folder} was pretrained on {'this' if name else 'another'} cohort: "
            + ("leave --name away, and its tested parts are ranked" if name else "give it a --name to rank all of it")
        )
    parts = {name: parts["all"]} if name else parts
    refuse_met([run], {name: people} if name else {})
    near = table_of(model.embed, case) @ (_said(model, list(asked.values())) - model.mean_text.numpy()).T
    publish_zero_shot(run, ranked(case, parts, near, list(asked)), asked)
    return run


def _begin(people: Cohort, out: Path, recipe: Recipe, workers: int, verb: str, before: Run | None = None) -> Case:
    """Open the run and prepare the patches, if another run has not yet."""
    if min(recipe.tune_steps, recipe.schedule.steps, recipe.schedule.batch, recipe.patches) < 1:
        raise RecipeError("steps, tune_steps, batch and patches must be at least 1 each")
    told = tell_pulses(people, recipe.tasks, recipe.exclude)
    join()
    windows = _windows(recipe, measure=verb != "pretrain")
    prepare = asdict(windows) | {"records": len(told.cohort), "cohort": fingerprint(told.cohort)}
    config = {"system": "cap", "version": __version__, "recipe": asdict(recipe)}
    config |= {"prepare": prepare | {"answers": answers(told)}, "protocol": {"verb": verb}}
    run = start_run(Path(out), config | {"origin": told.cohort.origin, "terms": told.cohort.terms})
    return begin_pulses(told, run, windows, workers, before)


def _pretrain(people: Cohort, out: Path, recipe: Recipe, workers: int, before: Run | None = None) -> Run:
    case = _begin(people, out, recipe, workers, "pretrain", before)
    parts, flow = partition(case.told.cohort, recipe.parts)
    rows = case.rows(parts)
    learned = {name: learnable_rows(case, rows[name], recipe.records) for name in ("train", "valid")}
    text = texts_for(case, learned, recipe.records, recipe.schedule.seed)
    text = text if recipe.years else without_years(text)
    model, said = _network(recipe), None
    if recipe.records != "none":
        said = TextTower(recipe.text, recipe.text_layers).read(text, case.run.private / "text.npz")
    held_rows = {name: pulse_rows(case, part, text) for name, part in learned.items()}
    look = _matching(recipe, held_rows["valid"], said)
    options = Options(stage="pretrain", refuse=_collapsed(look(model.eval())["spread"]))
    fit(model, batches(recipe, held_rows["train"], said), recipe.schedule, case.run, validate=look, options=options)
    if not chief():
        return case.run
    keep_met(case.run, case.told.cohort.subjects[np.concatenate(list(learned.values()))])
    keep_parts(case.run, case, rows)
    if said is not None:
        _know_queries(model, [text[row] for row in learned["train"]])
    write_flow(case.run, [*case.told.flow, *flow, lost_step(case, learned["train"])], case.prepared.refused)
    save_weights(model, case.run.weights)
    publish_pretrained(case.run, mapped(case, rows, table_of(model.embed, case)))
    return case.run


def _network(recipe: Recipe) -> CAP:
    with torch.random.fork_rng():
        torch.manual_seed(recipe.schedule.seed)
        return CAP(recipe)


def _know_queries(model: CAP, texts: Sequence[str]) -> None:
    """Keep where the known sentences lie, and where the mean of the training texts does."""
    model.mean_text.copy_(torch.from_numpy(_said(model, texts).mean(axis=0)))
    model.present.copy_(torch.from_numpy(_said(model, list(QUERIES.values()))))


def _matching(recipe: Recipe, rows: PulseRows, text: Tensor | None) -> Callable[[nn.Module], dict[str, float]]:
    """What `fit` asks of the network now and then: minus the objective on some validation recordings."""
    count = min(512, len(rows), max(2, LOOKED_AT // (recipe.patches * recipe.views)))
    plan = replace(recipe, augment=0.0, hide_text=0.0, schedule=replace(recipe.schedule, batch=count))
    batch = batches(plan, rows, text)(0, slice(0, count))

    def look(model: nn.Module) -> dict[str, float]:
        network, there = cast(CAP, model), device_of(model)
        with torch.inference_mode(), alone():
            losses = network(Batch(*(item.to(there) for item in batch)))
            z = network.embed(batch.ppg[:, 0].to(there))
        terms = {name: float(value) for name, value in losses.items()}
        return {"monitor": -sum(terms.values()), "spread": spread(z), **terms}

    return look


def _collapsed(first: float) -> Callable[[Mapping[str, float]], str]:
    """Why a training must not go on: embeddings spread less than `LEAST_SPREAD`, and far less than at the first."""

    def refuse(found: Mapping[str, float]) -> str:
        if found["spread"] >= min(LEAST_SPREAD, first / 4):
            return ""
        return (
            f"the embeddings have collapsed: they spread by {found['spread']:.3f} of what random directions do; "
            "lower lr, or give the anchor or stay more weight"
        )

    return refuse


def _encoders(recipe: Recipe) -> dict[str, Pulse]:
    """The frozen encoders that are probed: of each pretraining that is named, and of none."""
    found = {}
    for name, run in _starts(recipe).items():
        other = recipe_of(run)
        differing = [item for item in SHAPED if getattr(other, item) != getattr(recipe, item)]
        if differing:
            raise RecipeError(f"{run.folder} holds another encoder than {recipe.start}: {', '.join(differing)} differ")
        found[name] = cast(CAP, load(run.folder)).pulse
    with torch.random.fork_rng():
        torch.manual_seed(recipe.schedule.seed)
        return {**found, "untrained": Pulse(recipe).eval()}


def _learn(people: Cohort, out: Path, recipe: Recipe, workers: int, verb: str) -> Run:
    recipe = _like_its_start(recipe)
    case = _begin(people, out, recipe, workers, verb)
    parts, flow = partition(case.told.cohort, recipe.parts)
    rows, graded = case.rows(parts), graded_of(case.told.truth)
    refuse_met(list(_starts(recipe).values()), parts)
    refuse_no_task(case, rows["train"], graded)
    encoders = _encoders(recipe)
    tables = {name: table_of(pulse.describe, case) for name, pulse in encoders.items()}
    networks = {name: _probed(case, recipe, rows["train"], pulse, tables[name]) for name, pulse in encoders.items()}
    if verb == "train":
        kinds = ("fused", "scratch", "raw_only") if recipe.start else ("scratch", "raw_only")
        networks |= {arm: _fitted(case, recipe, rows, arm) for arm in kinds}
    if not chief():
        return case.run
    said = {name: table_of(model.score, case) for name, model in networks.items()}
    said |= {"classical": classical_table(case, rows["train"], graded), "mean": mean_table(case, rows["train"], graded)}
    keep_arms(case, rows, said, networks, recipe.schedule.seed)
    compared = {name: table for name, table in tables.items() if name in ("pretrained", "untrained")}
    for fraction in recipe.label_fractions:
        few = few_labels(case, rows, compared, graded, (fraction, range(recipe.label_draws)))
        keep_few(case.run, fraction, few)
    write_flow(case.run, [*case.told.flow, *flow, lost_step(case, rows["train"])], case.prepared.refused)
    main = next(name for name in ("fused", "pretrained", "scratch", "untrained") if name in networks)
    keep_main(case.run, networks[main], main, recipe.operate)
    return case.run


def _probed(case: Case, recipe: Recipe, train: np.ndarray, pulse: Pulse, table: np.ndarray) -> Estimator:
    """A tuned linear model of every task on a frozen encoder."""
    rows = case.seen(train)
    graded = graded_of(case.told.truth)
    weight, bias = linear_probes(table[rows], case.told.truth[rows], case.told.cohort.subjects[rows], graded)
    model = Estimator(recipe, "probe")
    model.pulse.load_state_dict(pulse.state_dict())
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
        model.graded.copy_(torch.from_numpy(graded))
    return model.eval()


def _fitted(case: Case, recipe: Recipe, rows: dict[str, np.ndarray], arm: str) -> Estimator:
    """Train a network on the tasks; the validation records choose the step."""
    plan = replace(recipe.schedule, steps=recipe.tune_steps, batch=recipe.tune_batch, lr=recipe.tune_lr)
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        model = Estimator(recipe, arm)
    if arm == "fused":
        model.pulse.load_state_dict(_encoders(recipe)["pretrained"].state_dict())
    known = {name: case.seen(part[np.isfinite(case.told.truth[part]).any(axis=1)]) for name, part in rows.items()}
    model.centred(case.told.truth[known["train"]])
    draw = batches(replace(recipe, views=1, schedule=plan), pulse_rows(case, known["train"]))
    fit(model, draw, plan, case.run, validate=_erring(case, known["valid"]), options=Options(stage=arm))
    return model.eval()


def _erring(case: Case, rows: np.ndarray) -> Callable[[nn.Module], dict[str, float]]:
    """What `fit` asks of the network now and then: minus its objective on the validation recordings."""
    truth = torch.from_numpy(case.told.truth[rows]).float()

    def look(model: nn.Module) -> dict[str, float]:
        network = cast(Estimator, model)
        said = pulse_scores(scorer(network.score, PATCHES), case.prepared, rows)
        with torch.inference_mode(), alone():
            raw = (torch.from_numpy(said).float() - network.centre.cpu()) / network.spread.cpu()
            return {"monitor": -float(sum(network.errors(raw, truth).values()))}

    return look


def _here(recipe: Recipe) -> tuple[PulseRows, Tensor]:
    """Recordings of a small simulated hospital, prepared in memory, and what the tower reads of each."""
    people = hospital(24, seed=0, world=ppg_world())
    told = tell_pulses(people, recipe.tasks)
    text = diseases_in_words(people)
    rows = rows_here(told, _windows(recipe), text)
    return rows, TextTower(recipe.text, recipe.text_layers).read(text)
