"""AnyECG-Echo: structural heart disease from one ECG lead, learned from echo reports.

    lead (C = 1, T)  ── prepare ──►  x (B, 1, T)  ── Net1d ──►  (B, D)  ── project ──►  z (B, W)
    report           ── tower ────►  (B, D′)  ────────────────────────── anchor ───►  w (B, W)

    pretrain  loss = ½ [CE(s z wᵀ, i) + CE(s w zᵀ, i)]        rows of unit length; kin rows are no negatives
    zero-shot logit_k = s (z · present_k − z · absent_k)       prompts through tower and anchor
    train     loss = − Σ_known [y log σ(f) + (1 − y) log(1 − σ(f))] / N_known        f = linear (B, K) on z

`train` starts from what was pretrained: its linear layer from the prompts, so that without a step it is the zero-shot
logit. The tower sees a random part of each text at every step: one cannot learn by heart what is never there twice.

Source:
    AnyECG-Echo, arXiv:2606.09332 (only its abstract was available: lead I and echo reports, 13 structural heart
    diseases, external validation, Shapley values, correlation with measurements).
    Contrastive pretraining after MERL, arXiv:2403.06659, and Radford et al. 2021, arXiv:2103.00020.

Departures:
    - Of the 13 diseases the abstract names three; the rest are our inference and stand in a table that can be edited.
    - Echo reports repeat. Reports that are the same or state the same labels, and recordings of one subject, are
      not told apart (`kin`); `reference()` tells all apart, as the published form of the loss does.
    - Which text tower was used is not in the abstract. Ours is frozen by default, or a small one that learns from
      nothing (`--text bag`); any language model in a folder will do.
    - A part of each text is hidden at every step, and the temperature is fixed: on a development hospital the plain
      form learned its reports by heart within 200 steps (`hide_text`, `learn_temperature`; `reference()` hides none).
    - Text of records that are tested is never read by the training, and a training report that shares a long phrase
      with one tested report alone is left out and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos import __version__
from stethos.augment.lead import augmented
from stethos.data.batch import epoch_rows
from stethos.data.cohort import open_cohort
from stethos.errors import CohortError, RecipeError, RunError
from stethos.io import read
from stethos.nn.net1d import BLOCKS, WIDTHS, Net1d
from stethos.objectives.contrastive import info_nce
from stethos.objectives.supervised import masked_bce
from stethos.signal.prepare import PREPARATIONS
from stethos.study import stream
from stethos.study.ensemble import Ensemble, scorer
from stethos.study.few_labels import with_few_labels
from stethos.study.judge import refuse_simulated
from stethos.study.lead import LeadWindows, joined, record_scores
from stethos.study.paired import Pairs, copied, kinship_of, pairs_of, retrieval_lines
from stethos.study.partition import Partition, partition
from stethos.study.prompts import prompts_of
from stethos.study.publish import write_flow
from stethos.study.relate import relate as relate_outputs
from stethos.study.several import (
    Asking,
    Case,
    Told,
    answers,
    begin_case,
    several_scored,
    several_valid,
    tell,
    told_of,
)
from stethos.study.several_attribute import attribute_several, explain_labels
from stethos.study.several_parts import (
    ZERO_SHOT,
    add_external_several,
    judged_several,
    keep_zero_shot,
    languages_of,
    prepared_here,
    probes,
    refuse_pretrained_on,
    refuse_unlearnable,
    shared_step,
    start_at_prevalence,
    thresholds,
    thresholds_of,
    write_reading,
)
from stethos.study.several_report import publish_several, publish_zero_shot, relation_lines
from stethos.study.start import starting_net
from stethos.study.task import EXTERNAL, Score, fingerprint, named_folder, refuse_mixed
from stethos.study.towers import TextTower, partly
from stethos.study.validate import Operate, tested
from stethos.synth import echo_world, hospital
from stethos.text.findings import Lexicon, load_lexicon
from stethos.train.dist import chief, device_of, gather, global_mean, join
from stethos.train.loop import Options, fit
from stethos.train.run import read_config, start_run
from stethos.train.weights import load_weights, save_weights
from stethos.types import Cohort, Predictions, Record, Run, Schedule, Signal


@dataclass(frozen=True)
class Recipe:
    """How AnyECG-Echo is pretrained and trained.

    Args:
        preset_labels: Set of concepts that reports are read for: "shd13", "extras" or "echonext11".
        concepts: A table of concepts of your own (TOML) in place of the one that comes along; empty for that.
        labels: Conditions on columns, such as "NORM == 1", that are the labels instead of the concepts.
        prompts: JSON file of label → {"present": [...], "absent": [...]}; empty for those of the table.
        exclude: Conditions such as "paced == 1"; records that meet one are left out.
        lead: Name of the lead in the recordings.
        prepare: Preparation of a window: "lead-v1", or "ecgfounder-v1" to start from ECGFounder.
        correct_polarity: Turn inverted strips round before they are prepared.
        widths: Channels of each stage of the network, multiples of 16.
        blocks: Residual blocks in each stage.
        dropout: Chance that an activation is dropped in training.
        text: Text tower: "minilm", "bag" (small, learned from nothing, any language), or the folder of a model.
        text_layers: Last layers of a language model that are trained; 0 keeps it frozen.
        width: W, of the space that recordings and reports share.
        temperature: τ, or where it starts.
        learn_temperature: Whether s = 1 / τ is learned.
        hide_text: Share of the runs of words (or tokens) of a text that are hidden at a step; a frozen tower's row is
            seen whole.
        kin: Whether kin rows are left out of the negatives.
        start: ECGFounder checkpoint (.pth) or the folder of a run; for `train` that of `pretrain`; empty for none.
        augment: Strength of the augmentation; 0 for none, 1 as recommended.
        tune_steps: Steps of `train` with all labels.
        tune_batch: Windows in a step of `train`.
        tune_lr: Largest learning rate of `train`.
        start_factor: Factor of the learning rate where `train` starts from a run.
        label_fractions: Shares of the training subjects whose labels are known, such as 0.01, each trained from
            `start` and from random weights.
        label_draws: How many times each share is drawn.
        label_steps: Steps of each such training.
        label_factor: `start_factor` of each such training.
        seeds: Networks of `train`, each from its own seed; their mean logit is the model.
        parts: Who is trained on and who is tested.
        operate: How the operating points are chosen.
        schedule: How long and how fast `pretrain` is; its seed and decay are those of `train` too.
    """

    preset_labels: str = "shd13"
    concepts: str = ""
    labels: tuple[str, ...] = ()
    prompts: str = ""
    exclude: tuple[str, ...] = ()
    lead: str = "I"
    prepare: str = "lead-v1"
    correct_polarity: bool = False
    widths: tuple[int, ...] = (16, 32, 32, 80, 80, 256, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 2, 2)
    dropout: float = 0.0
    text: str = "minilm"
    text_layers: int = 0
    width: int = 128
    temperature: float = 0.1
    learn_temperature: bool = False
    hide_text: float = 0.9
    kin: bool = True
    start: str = ""
    augment: float = 1.0
    tune_steps: int = 1500
    tune_batch: int = 64
    tune_lr: float = 1e-3
    start_factor: float = 0.3
    label_fractions: tuple[float, ...] = ()
    label_draws: int = 5
    label_steps: int = 300
    label_factor: float = 0.03
    seeds: int = 1
    parts: Partition = field(default_factory=Partition)
    operate: Operate = field(default_factory=Operate)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=6000, batch=128, lr=1e-3, ema=0.999, validate_every=500, patience=5)
    )


def reference() -> Recipe:
    """Full width, `ecgfounder-v1`, batch 128, 1e-3, temperature 0.07, whole texts, all rows told apart.

    Give `start` the ECGFounder checkpoint's path and `text` the folder of a clinical language model.
    """
    schedule = Schedule(steps=10_000, batch=128, lr=1e-3, decay=1e-8, warmup=0.0, clip=0.0, validate_every=500)
    return Recipe(
        prepare="ecgfounder-v1", widths=WIDTHS, blocks=BLOCKS, width=256, temperature=0.07, hide_text=0.0, kin=False,
        augment=0.0, tune_lr=1e-4, start_factor=1.0, schedule=schedule,
    )  # fmt: skip


def tiny() -> Recipe:
    """A narrow network and a small text tower that learn on two CPU cores in a few minutes."""
    schedule = Schedule(steps=600, batch=192, lr=3e-3, ema=0.99, validate_every=150, precision="bfloat16")
    return Recipe(
        widths=(16, 32, 32, 64, 64), blocks=(1, 1, 1, 1, 1), text="bag", tune_steps=300, tune_lr=3e-3,
        label_steps=150, schedule=schedule,
    )  # fmt: skip


class Batch(NamedTuple):
    """What one training step sees; `pretrain` reads the first three, `train` the first and the last."""

    lead: Tensor  # (B, 1, T) prepared windows
    text: Tensor  # (B, D′) of a frozen tower, or (B, L) tokens
    kin: Tensor  # (B, 3) ids of subject, text and labels
    truth: Tensor  # (B, K) 0 or 1; NaN where unknown


class AnyECGEcho(nn.Module):
    """Recordings and reports in one space.

    Args:
        recipe: How it is built and prepared.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.preparation = PREPARATIONS[recipe.prepare]
        self.kin = recipe.kin
        self.present: Tensor
        self.absent: Tensor
        self.net = Net1d(widths=recipe.widths, blocks=recipe.blocks, dropout=recipe.dropout)
        self.net.head.requires_grad_(False)  # features alone are used
        self.tower = _tower(recipe).module()
        self.project = _projection(self.net.width, recipe.width)
        self.anchor = _projection(_tower(recipe).width, recipe.width)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(recipe.temperature)), recipe.learn_temperature)
        count = len(_asking(recipe).names)
        self.register_buffer("present", torch.zeros(count, recipe.width))  # (K, W) what is said of each label
        self.register_buffer("absent", torch.zeros(count, recipe.width))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective over the rows of the whole step's batch."""
        z, w = gather(self.embed(batch.lead)), gather(self.told(batch.text))
        return {"align": info_nce(z, w, self.scale, gather(batch.kin) if self.kin else None)}

    @property
    def scale(self) -> Tensor:
        """s, at most 100."""
        return self.log_scale.exp().clamp(max=100)

    def prepare(self, signal: Signal) -> Tensor:
        """A signal of one 10 s window to the `(1, 1, T)` that the network reads."""
        return torch.from_numpy(self.preparation.apply(signal))[None]

    def embed(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to rows of unit length `(B, W)`."""
        return F.normalize(self.project(self.net.features(x)), dim=-1)

    def told(self, text: Tensor) -> Tensor:
        """Texts, as the recipe's tower reads them, to rows of unit length `(B, W)`."""
        return F.normalize(self.anchor(self.tower(text)), dim=-1)

    def score(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to zero-shot logits `(B, K)`."""
        return self.scale * self.embed(x) @ (self.present - self.absent).T


class Diagnoser(nn.Module):
    """One lead to the logits of K labels.

    Args:
        recipe: How it is built and prepared.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.preparation = PREPARATIONS[recipe.prepare]
        self.net = Net1d(widths=recipe.widths, blocks=recipe.blocks, dropout=recipe.dropout)
        self.net.head.requires_grad_(False)  # features alone are used
        self.project = _projection(self.net.width, recipe.width)
        self.head = nn.Linear(recipe.width, len(_asking(recipe).names))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective, averaged over the known labels of the whole step's batch."""
        return {"bce": global_mean(*masked_bce(self.score(batch.lead), batch.truth))}

    def prepare(self, signal: Signal) -> Tensor:
        """A signal of one 10 s window to the `(1, 1, T)` that the network reads."""
        return torch.from_numpy(self.preparation.apply(signal))[None]

    def embed(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to rows of unit length `(B, W)`."""
        return F.normalize(self.project(self.net.features(x)), dim=-1)

    def score(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to logits `(B, K)`."""
        return self.head(self.embed(x))


def batches(recipe: Recipe, pairs: Pairs | None = None, text: Tensor | None = None) -> Callable[[int, slice], Batch]:
    """A function from a step, and this process's share of it, to a batch.

    Args:
        recipe: Its schedule's seed and batch, and the augmentation.
        pairs: What is drawn from; None for a small simulated hospital with an echo laboratory.
        text: What the tower reads of each text that `pairs.text` numbers, `(N, …)`; None with `pairs` for no text.
    """
    if pairs is None:
        pairs, text = _simulated(recipe)
    held, plan = pairs, recipe.schedule
    said = torch.zeros(int(held.text.max()) + 1, 0) if text is None else text
    kin, truth = torch.from_numpy(held.kin), torch.from_numpy(held.truth).float()

    def draw(step: int, share: slice) -> Batch:
        chosen = epoch_rows(len(truth), step, plan.batch, plan.seed)[share]
        place = torch.arange(plan.batch)[share]
        x = augmented(torch.from_numpy(held.take(chosen)), plan.seed, step, place, recipe.augment)  # (B, 1, T)
        seen = partly(said[held.text[chosen]], plan.seed, step, place, recipe.hide_text)
        return Batch(x, seen, kin[chosen], truth[chosen])

    return draw


def pretrain(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Learn recordings and their reports in one space; no labels are used but to tell kin.

    Args:
        cohort: Folder with a cohort.csv that has a column report; a simulated hospital where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained.
        workers: Processes that prepare recordings.
    """
    return _pretrain(_people(cohort), out, recipe, workers)


def zero_shot(run: Path, cohort: Path, *, name: str = "", workers: int = 1) -> Run:
    """Score the labels of tested records by prompts alone and add `zeroshot.` to metrics.json.

    Args:
        run: Folder of a finished `pretrain`.
        cohort: The cohort that it was pretrained on, whose tested parts are scored; or, with a name, another one.
        name: Of another cohort, all of which is scored.
        workers: Processes that prepare recordings.
    """
    made = _pretrained(run)
    return _zero_shot(made, open_cohort(cohort), name, workers)


def train(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Train on the labels, score all parts and the controls; unknown labels are masked.

    Args:
        cohort: Folder with a cohort.csv; a simulated hospital where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained; `start` names the run of `pretrain`.
        workers: Processes that prepare recordings.
    """
    return _train(_people(cohort), out, recipe, workers)


def evaluate(run: Path, *, external: tuple[str, ...] = (), workers: int = 1) -> Run:
    """Write metrics.json, the model card and report.html from a run's predictions.

    Args:
        run: Folder of a finished `train`.
        external: Further cohorts to test on, each as NAME=DIR; they are scored first.
        workers: Processes that prepare recordings.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), _diagnoser(run)
    for name, folder in map(named_folder, external):
        case = begin_case(tell(open_cohort(folder), _asking(recipe)), made, _windows(recipe), workers)
        own = list(zip(_seeds(recipe), model.scores(), strict=True))
        add_external_several(made, name, case, {"predictions": own} | _rivals(made, recipe))
    _publish(made)
    return made


def explain(
    run: Path,
    cohort: Path,
    *,
    records: int = 200,
    rate: float | None = None,
    unit: str | None = None,
    allow_synthetic_model: bool = False,
) -> Run | Iterator[dict[str, Any]]:
    """Exact Shapley values of the waves for every label: of tested recordings for the report, or of one recording.

    Args:
        run: Folder of a finished run.
        cohort: The cohort that it was trained on, a further one that was evaluated, or one recording.
        records: How many recordings of a cohort.
        rate: Sampling rate in Hz, for a recording that does not state it.
        unit: Unit, such as mV, for a recording that does not state it.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    if not Path(cohort).is_dir():
        record = read(cohort, rate=rate, unit=unit)
        refuse_simulated(made, record, allow_synthetic_model)
        told = explain_labels(scorer(model.score), _windows(recipe), record, _asking(recipe).names)
        return iter([{"file": str(cohort), **told}])
    _diagnoser(run)
    attribute_several(made, open_cohort(cohort), scorer(model.score), _windows(recipe), records)
    _publish(made)
    return made


def relate(run: Path, *, split: str = "") -> Iterator[dict[str, Any]]:
    """How outputs follow measurements, in all and among those without the label; one line a measurement and label.

    Args:
        run: Folder of a finished `train`.
        split: Part, such as "internal" or "external"; the last tested one where empty.
    """
    _diagnoser(run)
    said = Predictions.load(Run(Path(run)).predictions).mean_over_seeds()
    if split and split not in tested(said):
        raise RecipeError(f"--split is one of {', '.join(tested(said))}; got {split}")
    return relation_lines(relate_outputs(said, split or tested(said)[-1]))


def retrieve(run: Path, cohort: Path, *, query: str = "", top: int = 5, workers: int = 1) -> Iterator[dict[str, Any]]:
    """Find reports by recordings and recordings by reports among the tested records; or recordings by a sentence.

    Args:
        run: Folder of a finished `pretrain`.
        cohort: The cohort that it was pretrained on, or another one.
        query: A sentence; the recordings that are nearest to it are named.
        top: How many of them.
        workers: Processes that prepare recordings.
    """
    made = _pretrained(run)
    recipe, model = recipe_of(made), cast(AnyECGEcho, load(made.folder).members[0])
    case = begin_case(tell(open_cohort(cohort), _asking(recipe)), made, _windows(recipe), workers)
    rows = _tested_rows(made, recipe, case)
    if len(rows) < 2:
        raise CohortError(f"retrieval needs two tested records with a report or more; {cohort} has {len(rows)}")
    z = record_scores(scorer(model.embed), case.prepared, rows)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    if query:
        near = z @ _said(model, recipe, [query])[0]
        for row in np.argsort(-near)[:top]:
            yield {"record": str(case.told.cohort.rows["id"][rows[row]]), "cosine": round(float(near[row]), 4)}
        return
    w, kin = _said(model, recipe, [case.told.text[row] for row in rows]), kinship_of(case)[rows]
    yield from retrieval_lines(z, w, kin, case.told.cohort.subjects[rows])


def predict(
    run: Path,
    files: Sequence[Path] = (),
    *,
    follow: str = "",
    lead: str = "",
    rate: float | None = None,
    unit: str | None = None,
    age: float | None = None,
    paced: bool | None = None,
    recording: int | None = None,
    allow_synthetic_model: bool = False,
) -> Iterator[dict[str, Any]]:
    """Score every label of recordings, or of a live stream; what cannot be judged is "abstain", with the reason.

    Args:
        run: Folder of a finished run; of `pretrain`, the labels are scored by prompts and have no operating point.
        files: Recordings.
        follow: In place of recordings, a text file that grows, or "-" for standard input: a line for every window.
        lead: Name of the lead in these files; the recipe's where empty.
        rate: Sampling rate in Hz, for files that do not state it.
        unit: Unit, such as mV, for files that do not state it.
        age: Of the person in years, where the file does not say; under 18 the model abstains.
        paced: Whether the rhythm is paced; then the model abstains.
        recording: Which one, from 1, where a file holds several.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.

    Raises:
        OriginError: The model was trained on a simulated world and the recording is real.
        RecipeError: There are recordings and a stream, or neither; or a stream, of which one recording is asked for.
    """
    stream.refuse_both(files, follow, recording)
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    windows = replace(_windows(recipe), lead=lead or recipe.lead, measure=False)
    told = {"age": age, "paced": None if paced is None else float(paced)}
    told = {name: value for name, value in told.items() if value is not None}
    names, points = _asking(recipe).names, thresholds_of(made)

    def said(record: Record) -> dict[str, Any]:
        refuse_simulated(made, record, allow_synthetic_model)
        record = replace(record, facts={**record.facts, **told})
        return judged_several(made, scorer(model.score), points, windows, record, names)

    for file in files:
        which = {} if recording is None else {"recording": recording}
        yield {"file": str(file), **which, **said(read(file, rate=rate, unit=unit, recording=recording))}
    if follow:
        by_name = dict(zip(names, points, strict=False))  # a pretraining has no points
        yield from stream.follow(follow, said, stream.Live(windows, by_name, rate, unit))


def demo(*, out: Path = Path("runs/anyecg-echo"), patients: int = 7000, workers: int = 2) -> Run:
    """Pretrain, test by prompts, train, validate and explain on a simulated hospital; everything in it is synthetic.

    Args:
        out: Folder of the run; its pretraining lies in the folder pretrained inside.
        patients: Simulated patients.
        workers: Processes that simulate and prepare recordings.
    """
    parts = Partition(held_out_sites=("harbour",))
    people, first = hospital(patients, seed=0, world=echo_world()), Path(out) / "pretrained"
    recipe = replace(tiny(), exclude=("paced == 1",), parts=parts)
    told = tell(people, _asking(recipe))
    _zero_shot(_pretrain(told, first, recipe, workers), told, "", workers)
    run = _train(told, out, replace(recipe, start=str(first), label_fractions=(0.01,)), workers)
    attribute_several(run, people, scorer(load(run.folder).score), _windows(recipe), 100)
    _publish(run)
    return run


commands = (pretrain, zero_shot, train, evaluate, explain, relate, retrieve, predict, demo)


def load(folder: Path) -> Ensemble:
    """The networks of a finished run: one of `pretrain`, or those of `train`.

    Raises:
        RunError: The training has not finished.
    """
    run = Run(Path(folder))
    if not run.weights.is_file():
        raise RunError(f"{folder} holds no model.safetensors: its training has not finished; run it again to resume")
    recipe = recipe_of(run)
    first = read_config(run)["protocol"]["verb"] == "pretrain"
    members: list[nn.Module] = [AnyECGEcho(recipe)] if first else [Diagnoser(recipe) for _ in _seeds(recipe)]
    model = Ensemble(members)
    load_weights(model, run.weights)
    return model.eval()


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    return msgspec.convert(read_config(run)["recipe"], Recipe)


def _publish(run: Run) -> None:
    """Tell people of a run of `train`, with what prompts said by the pretraining that it started from."""
    recipe = recipe_of(run)
    publish_several(run, recipe.operate, _lexicon(recipe), _before(recipe))


def _before(recipe: Recipe) -> Run | None:
    """The run that this one starts from; None where it starts from a checkpoint or from nothing."""
    return Run(Path(recipe.start)) if recipe.start and Path(recipe.start).is_dir() else None


def _people(cohort: Path | None) -> Cohort:
    return open_cohort(cohort) if cohort else hospital(2000, seed=0, world=echo_world())


def _lexicon(recipe: Recipe) -> Lexicon:
    return load_lexicon(Path(recipe.concepts) if recipe.concepts else None, recipe.preset_labels)


def _windows(recipe: Recipe) -> LeadWindows:
    return LeadWindows(recipe.lead, recipe.prepare, recipe.correct_polarity, measure=True)


def _asking(recipe: Recipe) -> Asking:
    return Asking(_lexicon(recipe), recipe.labels, recipe.exclude, _windows(recipe))


def _seeds(recipe: Recipe) -> range:
    return range(recipe.schedule.seed, recipe.schedule.seed + recipe.seeds)


def _tower(recipe: Recipe) -> TextTower:
    return TextTower(recipe.text, recipe.text_layers)


def _projection(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


def _said(model: AnyECGEcho, recipe: Recipe, texts: Sequence[str]) -> np.ndarray:
    """Rows of unit length of texts, `(N, W)`."""
    with torch.inference_mode():
        parts = _tower(recipe).read(texts).split(64)
        return torch.cat([model.told(part) for part in parts]).double().numpy()


def _simulated(recipe: Recipe) -> tuple[Pairs, Tensor]:
    """Pairs of a small simulated hospital, prepared in memory."""
    told = tell(hospital(40, seed=0, world=echo_world()), _asking(recipe))
    held = prepared_here(told, _windows(recipe))
    return held, _tower(recipe).read(told.text)


def _begin(people: Cohort | Told, out: Path, recipe: Recipe, workers: int, verb: str) -> Case:
    """Read the reports, if they are not yet, open the run, prepare the windows."""
    if min(recipe.seeds, recipe.tune_steps, recipe.schedule.steps, recipe.schedule.batch) < 1:
        raise RecipeError("seeds, steps, tune_steps and batch must be at least 1 each")
    told = told_of(people, _asking(recipe))
    join()
    prepare = asdict(_windows(recipe)) | {"records": len(told.cohort), "cohort": fingerprint(told.cohort)}
    config = {"system": "anyecg_echo", "version": __version__, "recipe": asdict(recipe)}
    config |= {"prepare": prepare | {"answers": answers(told)}, "protocol": {"verb": verb}}
    run = start_run(Path(out), config | {"origin": told.cohort.origin, "terms": told.cohort.terms})
    return begin_case(told, run, _windows(recipe), workers, _before(recipe))


def _pretrained(folder: Path) -> Run:
    """The run of a finished `pretrain`.

    Raises:
        RunError: Another verb made it.
    """
    run = Run(Path(folder))
    if not run.config.is_file() or read_config(run)["protocol"]["verb"] != "pretrain":
        raise RunError(f"{folder} holds no pretraining; give the folder that `stethos anyecg-echo pretrain` wrote")
    return run


def _diagnoser(folder: Path) -> Ensemble:
    """The networks of a finished `train`.

    Raises:
        RunError: Another verb made the run, or it has not finished.
    """
    if read_config(Run(Path(folder)))["protocol"]["verb"] != "train":
        raise RunError(f"{folder} is a pretraining, which `stethos anyecg-echo zero-shot` evaluates")
    return load(Path(folder))


def _pretrain(people: Cohort | Told, out: Path, recipe: Recipe, workers: int) -> Run:
    _refuse_no_prompts(recipe)
    case = _begin(people, out, recipe, workers, "pretrain")
    parts, flow = partition(case.told.cohort, recipe.parts)
    told = np.array([bool(item) for item in case.told.text], dtype=bool)
    rows = {name: part[told[part]] for name, part in case.rows(parts).items()}
    rows["train"], shared = copied(case, rows)
    for name in ("train", "valid"):
        if not len(case.seen(rows[name])):
            raise CohortError(f"pretraining needs recordings with a report; the part {name} has none")
    seen = np.isin(np.arange(len(told)), np.concatenate([rows["train"], rows["valid"]]))
    # what a tested report says never reaches the tower
    texts = [item if here else "" for item, here in zip(case.told.text, seen, strict=True)]
    text = _tower(recipe).read(texts, case.run.private / "text.npz")
    with torch.random.fork_rng():
        torch.manual_seed(recipe.schedule.seed)
        model = AnyECGEcho(recipe)
        if recipe.start:
            net = starting_net(Path(recipe.start), recipe.widths, recipe.blocks, _net_of_run)
            model.net.load_state_dict(net.replace_head(1).state_dict())
    draw, look = batches(recipe, pairs_of(case, rows["train"]), text), _matching(case, rows["valid"], text)
    fit(model, draw, recipe.schedule, case.run, validate=look, options=Options(stage="pretrain"))
    if not chief():
        return case.run
    sides = prompts_of(case.told.names, _lexicon(recipe), languages_of(case.told), recipe.prompts)
    model.present.copy_(_directions(model, recipe, [item.present for item in sides.values()]))
    model.absent.copy_(_directions(model, recipe, [item.absent for item in sides.values()]))
    write_flow(case.run, [*case.told.flow, *flow, shared_step(case, rows["train"], shared)], case.prepared.refused)
    write_reading(case.run, case.told, recipe.text, _tower(recipe).unknown(case.told.text))
    model.eval()
    keep_zero_shot(case.run, several_scored(case, case.rows(parts), scorer(model.score), recipe.schedule.seed))
    save_weights(Ensemble([model]), case.run.weights)
    return case.run


def _refuse_no_prompts(recipe: Recipe) -> None:
    """Each label needs sentences before anything is trained."""
    asking = _asking(recipe)
    prompts_of(asking.names, asking.lexicon, (), recipe.prompts)


def _matching(case: Case, rows: np.ndarray, text: Tensor) -> Callable[[nn.Module], dict[str, float]]:
    """What `fit` asks of the network now and then: minus the loss on up to 1024 validation windows."""
    held = pairs_of(case, rows)
    chosen = np.arange(min(1024, len(held.text)))
    kin = torch.from_numpy(held.kin[chosen])

    def look(model: nn.Module) -> dict[str, float]:
        network, there = cast(AnyECGEcho, model), device_of(model)
        with torch.inference_mode():
            waves, said = torch.from_numpy(held.take(chosen)), text[held.text[chosen]]
            z = torch.cat([network.embed(part.to(there)) for part in waves.split(64)])
            w = torch.cat([network.told(part.to(there)) for part in said.split(64)])
            return {"monitor": -float(info_nce(z, w, network.scale, kin.to(there)))}

    return look


def _directions(model: AnyECGEcho, recipe: Recipe, sentences: Sequence[Sequence[str]]) -> Tensor:
    """Mean direction of each label's sentences, unit length, `(K, W)`."""
    rows = [_said(model, recipe, said).mean(axis=0) for said in sentences]
    return F.normalize(torch.from_numpy(np.stack(rows)).float(), dim=-1)


def _tested_rows(run: Run, recipe: Recipe, case: Case) -> np.ndarray:
    """Rows that the run was not trained on, with a usable window and a report."""
    rows = np.arange(len(case.told.cohort))
    if read_config(run)["prepare"]["cohort"] == fingerprint(case.told.cohort):
        parts = case.rows(partition(case.told.cohort, recipe.parts)[0])
        rows = np.concatenate([part for name, part in parts.items() if name not in ("train", "valid")])
    told = np.array([bool(item) for item in case.told.text], dtype=bool)
    return case.seen(np.sort(rows[told[rows]]))


def _zero_shot(run: Run, people: Cohort | Told, name: str, workers: int) -> Run:
    recipe, model = recipe_of(run), load(run.folder)
    told = told_of(people, _asking(recipe))
    if name:
        refuse_mixed(Predictions.load(run.private / ZERO_SHOT), name, told.cohort)
        case = begin_case(told, run, _windows(recipe), workers)
        rows = {EXTERNAL + name: np.arange(len(told.cohort))}
        keep_zero_shot(run, several_scored(case, rows, scorer(model.score), recipe.schedule.seed))
    elif read_config(run)["prepare"]["cohort"] != fingerprint(told.cohort):
        raise RunError(f"{run.folder} was pretrained on another cohort; give this one a --name to test on all of it")
    publish_zero_shot(run, _lexicon(recipe))
    return run


def _train(people: Cohort | Told, out: Path, recipe: Recipe, workers: int) -> Run:
    case = _begin(people, out, recipe, workers, "train")
    parts, flow = partition(case.told.cohort, recipe.parts)
    rows = case.rows(parts)
    refuse_pretrained_on(_before(recipe), parts)
    refuse_unlearnable(case, rows["train"])
    members = {seed: _fitted(case, recipe, rows, seed, f"seed-{seed}") for seed in _seeds(recipe)}
    rivals = {"untrained": _untrained(case, recipe, rows)}
    if recipe.start:
        rivals["scratch"] = _fitted(case, replace(recipe, start=""), rows, recipe.schedule.seed, "scratch")
    shares = [part for fraction in recipe.label_fractions for part in _shares(case, recipe, rows, fraction)]
    if not chief():
        return case.run
    for stem, said in shares:
        said.save(case.run.private / f"{stem}.npz")
    for name, rival in rivals.items():
        said = several_scored(case, rows, scorer(rival.score), recipe.schedule.seed)
        said.save(case.run.private / f"control-{name}.npz")
        save_weights(rival, case.run.private / f"control-{name}.safetensors")
    said = joined([several_scored(case, rows, scorer(model.score), seed) for seed, model in members.items()])
    said.save(case.run.predictions)
    write_flow(case.run, case.told.flow + flow, case.prepared.refused)
    write_reading(case.run, case.told)
    points = thresholds(said.mean_over_seeds(), recipe.operate)
    save_weights(Ensemble(list(members.values())), case.run.weights, {"thresholds": json.dumps(points)})
    return case.run


def _shares(
    case: Case, recipe: Recipe, rows: dict[str, np.ndarray], fraction: float
) -> Iterator[tuple[str, Predictions]]:
    """Both arms of a share of the labelled subjects, of equal steps and with nothing validated."""
    plan = replace(recipe, tune_steps=recipe.label_steps, start_factor=recipe.label_factor)

    def arm(start: str) -> Callable[[np.ndarray, int, str], Diagnoser]:
        own = replace(plan, start=start)
        return lambda train, seed, stage: _fitted(case, own, {**rows, "train": train}, seed, stage, look=False)

    arms = {"pretrained": arm(recipe.start)} if recipe.start else {}
    first = recipe.schedule.seed
    return with_few_labels(case, rows, fraction, range(first, first + recipe.label_draws), arms | {"scratch": arm("")})


def _net_of_run(folder: Path) -> Net1d:
    return cast(AnyECGEcho | Diagnoser, load(folder).members[0]).net


def _network(recipe: Recipe, seed: int) -> Diagnoser:
    """A network from a run, from a checkpoint, or from random weights of its own seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Diagnoser(recipe)
        if recipe.start:
            net = starting_net(Path(recipe.start), recipe.widths, recipe.blocks, _net_of_run)
            model.net.load_state_dict(net.replace_head(1).state_dict())
            if Path(recipe.start).is_dir():
                _take_space(model, load(Path(recipe.start)).members[0])
    return model


def _take_space(model: Diagnoser, before: nn.Module) -> None:
    """Take the projection of a run too, and the linear layer from its prompts where they fit."""
    found = cast(AnyECGEcho | Diagnoser, before)
    if found.project[-1].out_features != model.project[-1].out_features:
        raise RecipeError(
            f"the run to start from has a space of width {found.project[-1].out_features}; give --width the same"
        )
    model.project.load_state_dict(found.project.state_dict())
    if isinstance(found, AnyECGEcho) and len(found.present) == model.head.out_features:
        with torch.no_grad():
            model.head.weight.copy_(found.scale * (found.present - found.absent))


def _fitted(
    case: Case, recipe: Recipe, rows: dict[str, np.ndarray], seed: int, stage: str, look: bool = True
) -> Diagnoser:
    """Train one network on the labels of the training rows; the validation rows choose the step, where they may."""
    plan = replace(recipe.schedule, steps=recipe.tune_steps, batch=recipe.tune_batch, lr=recipe.tune_lr, seed=seed)
    model = _network(recipe, seed)
    train = case.seen(rows["train"][np.isfinite(case.told.truth[rows["train"]]).any(axis=1)])
    start_at_prevalence(model, case, train)
    draw = batches(replace(recipe, schedule=plan), pairs_of(case, train))
    valid = several_valid(case, rows["valid"]) if look else None
    factors = dict.fromkeys(("net", "project", "head"), recipe.start_factor) if recipe.start else {}
    fit(model, draw, plan, case.run, validate=valid, options=Options(stage=stage, factors=factors))
    return model.eval()


def _untrained(case: Case, recipe: Recipe, rows: dict[str, np.ndarray]) -> Diagnoser:
    """The same network with random weights and a tuned linear probe for every label."""
    model = _network(replace(recipe, start=""), recipe.schedule.seed).eval()
    seen = case.seen(rows["train"])
    table = record_scores(scorer(model.embed), case.prepared, seen)  # (n, D)
    weight, bias = probes(table, case.told.truth[seen], case.told.cohort.subjects[seen])
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
    return model


def _rivals(run: Run, recipe: Recipe) -> dict[str, list[tuple[int, Score]]]:
    """The controls that a run kept, ready to score another cohort."""
    found = {}
    for path in sorted(run.private.glob("control-*.safetensors")):
        model = Diagnoser(recipe)
        load_weights(model, path)
        found[path.stem] = [(recipe.schedule.seed, scorer(model.eval().score))]
    return found
