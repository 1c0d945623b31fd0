"""Pocket-K: a laboratory value or a diagnosis from one ECG lead, starting from an ECG foundation model.

    lead (C = 1, T)  ── prepare ──►  x (B, 1, T)  ── Net1d ──►  z (B, D)  ── linear ──►  logit (B, 1)
    10 s, any rate      10 s windows, poor ones refused          mean over time       mean over windows

    loss = − Σ_known [ y log σ(f(x)) + (1 − y) log(1 − σ(f(x))) ] / N_known        y = (K > 5.5 mmol/L)

A measured target (`--target potassium`) is standardised and learned by its squared error instead.

Source:
    Pocket-K, arXiv:2603.14177 (only its abstract was available: lead I, venous potassium > 5.5 mmol/L,
    development and temporal validation at one hospital, external validation at another).
    ECGFounder, arXiv:2410.04133 and its published fine-tuning recipe (network, preparation, optimiser).

Departures:
    - The operating point, the number of steps and the recalibration come from a validation part of the
      training subjects; the published fine-tuning code chose them on the test set.
    - Every part is divided by subject; the published code cut the file list in order.
    - Recordings at another rate are resampled with a band limit; the published code stretched them linearly.
    - AdamW with warm-up and a cosine instead of Adam with a plateau rule that five epochs never reached.
    - The recommended recipe prepares with `lead-v1`, which keeps the ST level and broad T waves that the
      median filter of `ecgfounder-v1` removes, and augments; `reference()` does neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from stethos.augment.lead import augmented
from stethos.data.batch import epoch_rows
from stethos.data.cohort import open_cohort
from stethos.errors import RecipeError, RunError
from stethos.io import read
from stethos.nn.net1d import BLOCKS, WIDTHS, Net1d
from stethos.objectives.supervised import masked_bce, masked_mse
from stethos.signal.prepare import PREPARATIONS
from stethos.study import stream
from stethos.study.attribute import Attributed, attribute, attribute_fold, explain_record, keep_folds
from stethos.study.controls import linear_probe
from stethos.study.ensemble import Ensemble, scorer, validation
from stethos.study.folds import quarters, rotations
from stethos.study.judge import judged, refuse_simulated
from stethos.study.labels import nested_fractions
from stethos.study.lead import LeadWindows, joined, record_scores
from stethos.study.partition import Partition, Step, partition
from stethos.study.publish import publish, publish_folds, write_flow
from stethos.study.start import starting_net
from stethos.study.student import (
    Pupil,
    Teaching,
    fold_weights,
    is_of_folds,
    keep_teacher,
    lend_windows,
    lessons,
    narrowed,
    refuse_unlike,
    taught_in_folds,
    teacher_of,
    told_of,
)
from stethos.study.task import (
    Labelled,
    Question,
    Score,
    Task,
    add_external,
    ask,
    begin,
    labelled,
    labelled_here,
    named_folder,
    open_run,
    refuse_one_class,
    scored,
)
from stethos.study.validate import Operate, threshold_of
from stethos.synth import hospital
from stethos.train.dist import chief, global_mean, join
from stethos.train.loop import Options, fit
from stethos.train.run import read_config
from stethos.train.weights import load_weights, save_weights
from stethos.types import Cohort, Predictions, Record, Run, Schedule, Signal


@dataclass(frozen=True)
class Recipe:
    """How Pocket-K is trained.

    Args:
        target: What is predicted: "potassium > 5.5", "scp_codes has AFIB", or a column that is measured.
        exclude: Conditions in the same words, such as "haemolysed == 1"; records that meet one are left out.
        lead: Name of the lead in the recordings.
        prepare: Preparation of a window: "lead-v1", or "ecgfounder-v1" to start from ECGFounder.
        correct_polarity: Turn inverted strips round before they are prepared.
        widths: Channels of each stage of the network, multiples of 16.
        blocks: Residual blocks in each stage.
        dropout: Chance that an activation is dropped in training.
        cut: A stricter value of the target's column that is reported too, such as 6.0; 0 for none.
        label_fractions: Shares of the training subjects that one network each is trained on, such as 0.1 and 0.3.
        seeds: Networks trained, each from its own seed; their mean logit is the model.
        start: An ECGFounder checkpoint (.pth) or the folder of a run; empty for random weights.
        tune: What is trained: all of it, the head first and then all, or the head alone.
        probe_steps: Steps of the head alone where `tune` is "probe-then-full".
        augment: Strength of the augmentation; 0 for none, 1 as recommended.
        parts: Who is trained on and who is tested.
        operate: How the operating point is chosen.
        schedule: How long and how fast.
    """

    target: str = "potassium > 5.5"
    exclude: tuple[str, ...] = ()
    lead: str = "I"
    prepare: str = "lead-v1"
    correct_polarity: bool = False
    widths: tuple[int, ...] = (16, 32, 32, 80, 80, 256, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 2, 2)
    dropout: float = 0.0
    cut: float = 0.0
    label_fractions: tuple[float, ...] = ()
    seeds: int = 1
    start: str = ""
    tune: Literal["full", "probe-then-full", "head"] = "full"
    probe_steps: int = 200
    augment: float = 1.0
    parts: Partition = field(default_factory=Partition)
    operate: Operate = field(default_factory=Operate)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=3000, batch=64, lr=1e-3, ema=0.999, validate_every=250, patience=5)
    )


def reference() -> Recipe:
    """The published fine-tuning: full width, `ecgfounder-v1`, batch 256, 1e-4, no augmentation.

    Five epochs of the published cohort's 62,290 recordings are 1,217 steps. Give `start` the checkpoint's path.
    """
    schedule = Schedule(steps=1217, batch=256, lr=1e-4, decay=1e-5, warmup=0.0, clip=0.0, validate_every=243)
    return Recipe(prepare="ecgfounder-v1", widths=WIDTHS, blocks=BLOCKS, augment=0.0, schedule=schedule)


def tiny() -> Recipe:
    """A narrow network that learns on two CPU cores in a few minutes."""
    schedule = Schedule(steps=300, batch=64, lr=3e-3, ema=0.99, validate_every=75)
    return Recipe(widths=(16, 32, 32, 64, 64), blocks=(1, 1, 1, 1, 1), schedule=schedule)


class Batch(NamedTuple):
    """What one training step sees."""

    lead: Tensor  # (B, 1, T) prepared windows
    truth: Tensor  # (B, 1) 0 or 1, or the standardised measured value; NaN where unknown


class PocketK(nn.Module):
    """One lead to one logit.

    Args:
        recipe: How it is built and prepared.
        graded: The target is measured: learn its squared error.
    """

    def __init__(self, recipe: Recipe, graded: bool = False) -> None:
        super().__init__()
        self.preparation = PREPARATIONS[recipe.prepare]
        self.graded = graded
        self.centre: Tensor
        self.spread: Tensor
        self.net = Net1d(widths=recipe.widths, blocks=recipe.blocks, dropout=recipe.dropout)
        self.register_buffer("centre", torch.zeros(()))  # mean of a measured target
        self.register_buffer("spread", torch.ones(()))  # its standard deviation

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The training objective, averaged over the known truths of the whole step's batch."""
        logit = self.net(batch.lead)  # (B, 1)
        if self.graded:
            return {"error": global_mean(*masked_mse(logit, batch.truth))}
        return {"bce": global_mean(*masked_bce(logit, batch.truth))}

    def prepare(self, signal: Signal) -> Tensor:
        """A signal of one 10 s window to the `(1, 1, T)` that the network reads."""
        return torch.from_numpy(self.preparation.apply(signal))[None]

    def embed(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to features `(B, D)`."""
        return self.net.features(x)

    def score(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to logits, or to the measured target's unit, `(B, 1)`."""
        return self.centre + self.spread * self.net(x)


def batches(recipe: Recipe, windows: Labelled | None = None) -> Callable[[int, slice], Batch]:
    """A function from a step, and this process's share of it, to a batch.

    Args:
        recipe: Its schedule's seed and batch, and the augmentation.
        windows: What is drawn from; None for a small simulated hospital.
    """
    drawn = windows or labelled_here(hospital(40, seed=0), _question(recipe))
    plan, truth = recipe.schedule, torch.from_numpy(drawn.truth).float()

    def draw(step: int, share: slice) -> Batch:
        chosen = epoch_rows(len(truth), step, plan.batch, plan.seed)[share]
        x = torch.from_numpy(drawn.take(chosen))  # (B, 1, T)
        place = torch.arange(plan.batch)[share]
        return Batch(augmented(x, plan.seed, step, place, recipe.augment), truth[chosen, None])

    return draw


def train(cohort: Path | None = None, *, out: Path, recipe: Recipe = Recipe(), workers: int = 1) -> Run:
    """Train on a cohort, score its parts and the controls, leave a run's folder.

    Args:
        cohort: Folder with a cohort.csv; a simulated hospital where none is given.
        out: Folder of the run; the same command with the same folder resumes.
        recipe: How it is trained.
        workers: Processes that prepare recordings.
    """
    return _train(open_cohort(cohort) if cohort else hospital(2000, seed=0), out, recipe, workers)


def evaluate(
    run: Path,
    *,
    external: tuple[str, ...] = (),
    show_examples: bool = False,
    statements: Path | None = None,
    workers: int = 1,
) -> Run:
    """Write metrics.json, the model card and report.html from a run's predictions.

    Args:
        run: Folder of a finished run.
        external: Further cohorts to test on, each as NAME=DIR; they are scored first.
        show_examples: Print recordings of people as examples in the report.
        statements: JSON file of TRIPOD+AI items and what the authors say to them.
        workers: Processes that prepare recordings.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    for name, folder in map(named_folder, external):
        task = begin(open_cohort(folder), made, _question(recipe), math.isnan(model.threshold), workers)
        own = list(zip(_seeds(recipe), model.scores(), strict=True))
        add_external(made, name, task, {"predictions": own} | _rivals(made, recipe))
    publish(made, recipe.operate, show_examples, statements)
    return made


def explain(
    run: Path,
    cohort: Path,
    *,
    records: int = 200,
    show_examples: bool = False,
    rate: float | None = None,
    unit: str | None = None,
    allow_synthetic_model: bool = False,
) -> Run | Iterator[dict[str, Any]]:
    """Exact Shapley values of the waves: of tested recordings for the report and metrics.json, or of one recording.

    Args:
        run: Folder of a finished run.
        cohort: The cohort that it was trained on, a further one that was evaluated, or one recording.
        records: How many recordings of a cohort; half with the event as far as there are so many.
        show_examples: Print recordings of people as examples in the report.
        rate: Sampling rate in Hz, for a recording that does not state it.
        unit: Unit, such as mV, for a recording that does not state it.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.
    """
    made = Run(Path(run))
    recipe, model = recipe_of(made), load(made.folder)
    if not Path(cohort).is_dir():
        record = read(cohort, rate=rate, unit=unit)
        refuse_simulated(made, record, allow_synthetic_model)
        return iter([{"file": str(cohort), **explain_record(scorer(model.score), _windows(recipe), record)}])
    said = Predictions.load(made.predictions).mean_over_seeds()
    attribute(made, open_cohort(cohort), said, scorer(model.score), _windows(recipe), records)
    publish(made, recipe.operate, show_examples)
    return made


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
    """Score recordings, or a live stream; what cannot be judged gets the decision "abstain" and the reason.

    Args:
        run: Folder of a finished run.
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
    windows = LeadWindows(lead or recipe.lead, recipe.prepare, recipe.correct_polarity)
    told = {"age": age, "paced": None if paced is None else float(paced)}
    told = {name: value for name, value in told.items() if value is not None}

    def said(record: Record) -> dict[str, Any]:
        refuse_simulated(made, record, allow_synthetic_model)
        record = replace(record, facts={**record.facts, **told})
        return judged(made, scorer(model.score), model.threshold, windows, record)

    for file in files:
        which = {} if recording is None else {"recording": recording}
        yield {"file": str(file), **which, **said(read(file, rate=rate, unit=unit, recording=recording))}
    if follow:
        yield from stream.follow(follow, said, stream.Live(windows, model.threshold, rate, unit))


def cross_validate(
    cohort: Path,
    *,
    out: Path,
    recipe: Recipe = Recipe(),
    folds: int = 4,
    fold_column: str = "",
    explained: bool = False,
    workers: int = 1,
) -> Run:
    """Test every record once, by networks that never met its subject; validation stays on the training side.

    Args:
        cohort: Folder with a cohort.csv.
        out: Folder of the run.
        recipe: How each network is trained; `valid_fraction` of the training subjects validate.
        folds: How many folds.
        fold_column: Column of published fold numbers; empty to shuffle subjects.
        explained: Explain every tested record by the networks of its fold.
        workers: Processes that prepare recordings.
    """
    if ask(people := open_cohort(cohort), _question(recipe)).graded:
        raise RecipeError(f"cross_validate needs a condition, such as {recipe.target} > 5; {recipe.target} is measured")

    protocol: dict[str, Any] = {"verb": "cross_validate", "folds": folds, "fold_column": fold_column}
    task = _begin(people, out, recipe, workers, **protocol)
    fold = quarters(task.cohort, folds, fold_column, recipe.parts.split_seed)
    said: dict[str, list[Predictions]] = {"predictions": [], "control-untrained": []}
    told: list[Attributed] = []
    for k, parts in enumerate(rotations(task.cohort, fold, recipe.parts)):
        refuse_one_class(task, parts, ("train",))
        rows = task.rows(parts)
        test = {f"fold-{k}": rows["internal"]}
        members = {seed: _fitted(task, recipe, rows, seed, f"fold-{k}-seed-{seed}") for seed in _seeds(recipe)}
        save_weights(Ensemble(list(members.values())), fold_weights(task.run, k))
        here = [scored(task, test, scorer(model.score), seed) for seed, model in members.items()]
        said["predictions"] += here
        if explained:
            calm = task.cohort.rows["id"][rows["train"][task.truth[rows["train"]] == 0]].tolist()
            speak = scorer(Ensemble(list(members.values())).score)
            told.append(attribute_fold(task.cohort, joined(here).mean_over_seeds(), calm, speak, _windows(recipe)))
        said["control-untrained"].append(scored(task, test, scorer(_untrained(task, recipe, rows).score), 0))
    for name, tests in said.items():
        joined(tests).save(task.run.private / f"{name}.npz")
    if told:
        keep_folds(task.run, told)
    write_flow(task.run, task.flow, task.prepared.refused)
    publish_folds(task.run)
    return task.run


def student(
    run: Path,
    *,
    cohort: Path | None = None,
    out: Path,
    width: float = 0.25,
    weight: float = 0.8,
    temperature: float = 2.0,
    steps: int = 0,
    workers: int = 1,
) -> Run:
    """Teach a narrow network what a run says; the report tells what was lost, paired on the same records.

    Args:
        run: Folder of the finished run that teaches, itself a student or not; of a cross-validation, every fold's
            networks teach a student of that fold.
        cohort: The cohort that it was trained on; the simulated hospital of `train` where none is given.
        out: Folder of the student, a run like any other; the same command with the same folder resumes.
        width: Share of the teacher's width.
        weight: Of what the teacher says; the known labels have the rest.
        temperature: By which the logits are divided before they are compared.
        steps: Training steps; as many as the teacher's where 0.
        workers: Processes that prepare recordings.
    """
    first, how = Run(Path(run)), Teaching(width, weight, temperature)
    people = open_cohort(cohort) if cohort else hospital(2000, seed=0)
    teach = _teach_folds if is_of_folds(first) else _teach
    return teach(first, people, out, how, steps, workers)


def demo(*, out: Path = Path("runs/demo"), patients: int = 6000, seeds: int = 2, workers: int = 2) -> Run:
    """Train and validate on a simulated hospital of three sites; everything in it is synthetic.

    Args:
        out: Folder of the run.
        patients: Simulated patients.
        seeds: Networks trained.
        workers: Processes that simulate and prepare recordings.
    """
    parts = Partition(held_out_sites=("harbour",), later_from="2022-01-01")
    schedule = replace(tiny().schedule, steps=900, validate_every=150)
    asked = replace(tiny(), exclude=("haemolysed == 1",), cut=6.0, label_fractions=(0.1, 0.3))
    recipe, people = replace(asked, seeds=seeds, parts=parts, schedule=schedule), hospital(patients, seed=0)
    run = _train(people, out, recipe, workers)
    said = Predictions.load(run.predictions).mean_over_seeds()
    attribute(run, people, said, scorer(load(run.folder).score), _windows(recipe))
    publish(run, recipe.operate)
    return run


commands = (train, evaluate, explain, predict, cross_validate, student, demo)


def load(folder: Path) -> Ensemble:
    """The networks of a finished run.

    Raises:
        RunError: The training has not finished.
    """
    run = Run(Path(folder))
    if is_of_folds(run):
        raise RunError(f"{folder} is a cross-validation, which tests a recipe and keeps no model; train one with it")

    if not run.weights.is_file():
        raise RunError(f"{folder} holds no model.safetensors: its training has not finished; run it again to resume")
    recipe = recipe_of(run)
    model = Ensemble([PocketK(recipe) for _ in _seeds(recipe)])
    model.threshold = float(load_weights(model, run.weights)["threshold"])
    return model.eval()


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run was made with."""
    return msgspec.convert(read_config(run)["recipe"], Recipe)


def _windows(recipe: Recipe) -> LeadWindows:
    return LeadWindows(recipe.lead, recipe.prepare, recipe.correct_polarity, measure=True)


def _question(recipe: Recipe) -> Question:
    return Question(recipe.target, recipe.exclude, _windows(recipe))


def _seeds(recipe: Recipe) -> range:
    return range(recipe.schedule.seed, recipe.schedule.seed + recipe.seeds)


def _begin(people: Cohort, out: Path, recipe: Recipe, workers: int, lender: Run | None = None, **protocol: Any) -> Task:
    if min(recipe.seeds, recipe.schedule.steps, recipe.schedule.batch) < 1:
        raise RecipeError("seeds, steps and batch must be at least 1 each")
    question = _question(recipe)
    asked = ask(people, question)  # before there is a folder that remembers the recipe
    run = open_run("pocket_k", Path(out), recipe, asked, question.windows, protocol)
    if lender and chief():
        lend_windows(lender, run, asked.cohort)
    return begin(people, run, question, workers=workers)


def _train(people: Cohort, out: Path, recipe: Recipe, workers: int) -> Run:
    asked = ask(people, _question(recipe))
    parts, flow = partition(asked.cohort, recipe.parts)
    task = _begin(people, out, recipe, workers, verb="train")
    refuse_one_class(task, parts)
    rows = task.rows(parts)
    members = {seed: _fitted(task, recipe, rows, seed, f"seed-{seed}") for seed in _seeds(recipe)}
    rivals = {"untrained": _untrained(task, recipe, rows)}
    if recipe.start:
        rivals["scratch"] = _fitted(task, replace(recipe, start=""), rows, recipe.schedule.seed, "scratch")
    shares = _label_shares(task, recipe, rows)
    if not chief():
        return task.run
    for fraction, (model, used) in shares.items():
        scored(task, used, scorer(model.score), recipe.schedule.seed).save(task.run.private / f"label-{fraction:g}.npz")
    return _left(task, recipe, rows, members, rivals, flow)


def _left(
    task: Task,
    recipe: Recipe,
    rows: dict[str, np.ndarray],
    members: dict[int, PocketK],
    rivals: dict[str, PocketK],
    flow: list[Step],
) -> Run:
    """Leave what networks and controls say of every part, the cohort flow and the weights."""
    said = joined([scored(task, rows, scorer(model.score), seed) for seed, model in members.items()])
    said.save(task.run.predictions)
    for name, rival in rivals.items():
        scored(task, rows, scorer(rival.score), recipe.schedule.seed).save(task.run.private / f"control-{name}.npz")
        save_weights(rival, task.run.private / f"control-{name}.safetensors")
    threshold = math.nan if task.graded else threshold_of(said.mean_over_seeds(), recipe.operate)
    write_flow(task.run, task.flow + flow, task.prepared.refused)
    save_weights(Ensemble(list(members.values())), task.run.weights, {"threshold": repr(threshold)})
    return task.run


def _teach(first: Run, people: Cohort, out: Path, how: Teaching, steps: int, workers: int) -> Run:
    """Train a student and, as a control, the same network on the labels alone."""
    teacher, recipe = load(first.folder), _narrow(recipe_of(first), how, steps)
    asked = ask(people, _question(recipe))
    parts, flow = partition(asked.cohort, recipe.parts)
    refuse_unlike(first, asked, parts)
    who = told_of([first.weights], teacher)
    task = _begin(people, out, recipe, workers, first, verb="student", **who, **asdict(how))
    rows, seed = task.rows(parts), recipe.schedule.seed
    members = {seed: _taught(task, recipe, rows, scorer(teacher.to(join()).score), how, "student")}
    rivals = {"untrained": _untrained(task, recipe, rows), "scratch": _fitted(task, recipe, rows, seed, "scratch")}
    if not chief():
        return task.run
    keep_teacher(task.run, first)
    return _left(task, recipe, rows, members, rivals, flow)


def _teach_folds(first: Run, people: Cohort, out: Path, how: Teaching, steps: int, workers: int) -> Run:
    """A student for every fold of a cross-validation, taught by its networks, strangers to its tested records."""
    old, plan = recipe_of(first), read_config(first)["protocol"]
    recipe, asked = _narrow(old, how, steps), ask(people, _question(old))
    teachers = taught_in_folds(first, Ensemble([PocketK(old) for _ in _seeds(old)]), plan["folds"])
    fold = quarters(asked.cohort, plan["folds"], plan["fold_column"], old.parts.split_seed)
    refuse_unlike(first, asked, {f"fold-{k}": asked.cohort.take(fold == k) for k in range(plan["folds"])})
    who = told_of([fold_weights(first, k) for k in range(plan["folds"])], teachers[0])
    task = _begin(people, out, recipe, workers, first, **plan, **who, **asdict(how))
    said: dict[str, list[Predictions]] = {"predictions": [], "control-scratch": [], "control-untrained": []}
    for k, parts in enumerate(rotations(task.cohort, fold, recipe.parts)):
        rows, seed = task.rows(parts), recipe.schedule.seed
        model = _taught(task, recipe, rows, scorer(teachers[k].score), how, f"fold-{k}-student")
        rival, plain = _fitted(task, recipe, rows, seed, f"fold-{k}-scratch"), _untrained(task, recipe, rows)
        for held, one in zip(said.values(), (model, rival, plain), strict=True):
            held.append(scored(task, {f"fold-{k}": rows["internal"]}, scorer(one.score), seed))
    for name, tests in said.items():
        joined(tests).save(task.run.private / f"{name}.npz")
    keep_teacher(task.run, first)
    write_flow(task.run, task.flow, task.prepared.refused)
    publish_folds(task.run)
    return task.run


def _narrow(old: Recipe, how: Teaching, steps: int) -> Recipe:
    """What a student is trained by: its teacher's recipe with less width."""
    widths, blocks = narrowed(old.widths, old.blocks, how.width)
    plan = replace(old.schedule, steps=steps or old.schedule.steps)
    return replace(old, widths=widths, blocks=blocks, seeds=1, start="", tune="full", label_fractions=(), schedule=plan)


def _taught(
    task: Task, recipe: Recipe, rows: dict[str, np.ndarray], teacher: Score, how: Teaching, stage: str
) -> PocketK:
    """Train one network on what a teacher says of the training rows; the validation rows choose the step."""
    model = _network(recipe, task.graded, recipe.schedule.seed)
    truth = _standardise(model, task, rows["train"])
    draw = batches(recipe, labelled(task, rows["train"], truth))
    lesson = lessons(draw, teacher, float(model.centre), float(model.spread))
    pupil, look = Pupil(model, how, task.graded), validation(task, rows["valid"])
    fit(pupil, lesson, recipe.schedule, task.run, validate=look, options=Options(stage=stage))
    return model.eval()


def _label_shares(
    task: Task, recipe: Recipe, rows: dict[str, np.ndarray]
) -> dict[float, tuple[PocketK, dict[str, np.ndarray]]]:
    """One network for each share of the training subjects, and the rows that it knows and is tested on."""
    if not recipe.label_fractions:
        return {}
    seed, found = recipe.schedule.seed, {}
    subject = task.cohort.subjects[rows["train"]]
    for fraction, people in nested_fractions(subject, recipe.label_fractions, seed).items():
        used = {**rows, "train": rows["train"][np.isin(subject, people)]}
        found[fraction] = _fitted(task, recipe, used, seed, f"label-{fraction:g}"), used
    return found


def _network(recipe: Recipe, graded: bool, seed: int) -> PocketK:
    """A network from a checkpoint, from a run, or from random weights of its own seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PocketK(recipe, graded)
        if recipe.start:
            net = starting_net(Path(recipe.start), recipe.widths, recipe.blocks, _net_of_run)
            model.net.load_state_dict(net.replace_head(1).state_dict())
    return model


def _net_of_run(folder: Path) -> Net1d:
    return cast(PocketK, load(folder).members[0]).net


def _fitted(task: Task, recipe: Recipe, rows: dict[str, np.ndarray], seed: int, stage: str) -> PocketK:
    """Train one network on the training rows; the validation rows choose the step."""
    recipe = replace(recipe, schedule=replace(recipe.schedule, seed=seed))
    model, plan = _network(recipe, task.graded, seed), recipe.schedule
    truth = _standardise(model, task, rows["train"])
    draw, look = batches(recipe, labelled(task, rows["train"], truth)), validation(task, rows["valid"])
    if recipe.tune != "full":
        model.net.requires_grad_(False).head.requires_grad_(True)
        probe = replace(plan, steps=plan.steps if recipe.tune == "head" else recipe.probe_steps)
        fit(model, draw, probe, task.run, validate=look, options=Options(stage=f"{stage}-head"))
        model.net.requires_grad_(recipe.tune != "head")
    if recipe.tune != "head":
        fit(model, draw, plan, task.run, validate=look, options=Options(stage=stage))
    return model.eval()


def _rivals(run: Run, recipe: Recipe) -> dict[str, list[tuple[int, Score]]]:
    """The controls that a run kept, and who taught it, ready to score another cohort."""
    found = {}
    for path in sorted(run.private.glob("control-*.safetensors")):
        model = PocketK(recipe)
        load_weights(model, path)
        found[path.stem] = [(recipe.schedule.seed, scorer(model.eval().score))]
    teacher = teacher_of(run)
    return found | ({"teacher": [(-1, scorer(load(teacher).score))]} if teacher else {})


def _standardise(model: PocketK, task: Task, rows: np.ndarray) -> np.ndarray:
    """Set where the network starts, the prevalence or the mean, from the training rows; returns the target `(N,)`."""
    truth = task.truth[rows]
    with torch.no_grad():
        if task.graded:
            model.centre += float(truth.mean())
            model.spread *= float(truth.std()) or 1.0
        else:
            base = float(np.clip(truth.mean(), 1e-3, 1 - 1e-3))
            model.net.head.bias.fill_(math.log(base / (1 - base)))
    return (task.truth - float(model.centre)) / float(model.spread)


def _untrained(task: Task, recipe: Recipe, rows: dict[str, np.ndarray]) -> PocketK:
    """The same network with random weights and, for a head, a tuned linear probe on its features."""
    model, seen = (
        _network(replace(recipe, start=""), task.graded, recipe.schedule.seed).eval(),
        task.seen(rows["train"]),
    )
    table = record_scores(scorer(model.embed), task.prepared, seen)  # (n, D)
    weight, bias = linear_probe(table, task.truth[seen], task.cohort.subjects[seen], task.graded)
    with torch.no_grad():
        model.net.head.weight.copy_(torch.from_numpy(weight)[None])
        model.net.head.bias.fill_(bias)
    return model
