"""From a finished detector of machine sound to a folder for a device, if its answers are those of the run.

The gate asks the run's own tested recordings, end to end: the samples of each go through `run.py` of the folder, its
windows, its resampling, both graphs and the thresholds of their metadata. The other side is Python's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from stethos import __version__
from stethos.errors import CohortError, RecipeError, RunError
from stethos.export import run_sound, sound
from stethos.export.cost import cost
from stethos.export.folder import advice, delivery, write_json
from stethos.export.graph import library, write_metadata
from stethos.export.parity import ParityError
from stethos.export.quantise import half
from stethos.signal.clip import RATE
from stethos.study.backends import SmallestOf, ToDensest, ToMeans, ToNearest
from stethos.study.by_class import ByClass
from stethos.study.clips import fingerprint
from stethos.study.detector import Detector
from stethos.study.distances import cosine
from stethos.study.listening import identity_of
from stethos.study.monitor import rules_of
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.train.run import read_config
from stethos.types import Cohort, Predictions, Run

if TYPE_CHECKING:
    from onnx import ModelProto

SYSTEMS = ("os_scl", "highband_cl")
AGAIN = 0.02  # standard deviations of a run's own scores; a GPU's, or bfloat16's, differ by as much
LIMITS_IN_WORDS = (
    "Research software. A score below the threshold says that a machine sounds as its normal recordings did, not that "
    "it is in order. Thresholds hold for the same microphone, place, gain and room. The files hold embeddings of "
    "normal recordings, from which sound cannot be played but recordings can be recognised."
)


@dataclass(frozen=True)
class Limits:
    """How far an export may be from its run.

    Args:
        score: Largest distance of a score, in standard deviations of the held-out scores.
        near: Distance from the threshold, in the same, below which a flipped alarm is listed and not counted.
        flips: Share of the alarms that may be flipped, those near the threshold not counted.
    """

    score: float
    near: float
    flips: float


LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(score=1e-3, near=1e-3, flips=0.0),  # rounding in another order: 1e-5 in practice
    "fp16": Limits(score=0.05, near=0.05, flips=0.005),  # weights keep 11 bits
}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Tested recordings, and what Python says of them.

    Args:
        sounds: One channel and its rate each, in fractions of full scale.
        machine: Place of the machine that each is judged by, `(N,)`.
        score: Python's, `(N,)`.
    """

    sounds: list[tuple[np.ndarray, float]]
    machine: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Parity:
    """How far an export is from its run.

    Args:
        records: Compared.
        dscore: Largest |Δ score|; NaN where one side is no number.
        spread: Standard deviation of Python's scores.
        alarms: Decisions against the thresholds, those of set alarms included.
        flips: That differ, away from the threshold.
        flips_near: That differ, near it.
    """

    records: int
    dscore: float
    spread: float
    alarms: int
    flips: int
    flips_near: int

    def failures(self, limits: Limits) -> list[str]:
        """Every measure beyond its limit, in words; what is not a number is beyond any."""
        told = []
        if not self.dscore <= limits.score * self.spread:
            told.append(f"largest |Δ score| {self.dscore:.3g} > {limits.score:g} of {self.spread:.3g}, their spread")
        if not self.flips <= limits.flips * self.alarms:
            told.append(f"{self.flips} of {self.alarms} alarms flipped")
        return told


def is_detector(run: Run) -> bool:
    """Whether a run is of a system that listens to machines."""
    return read_config(run).get("system") in SYSTEMS


def refuse_unexportable(run: Run, rate: float | None) -> None:
    """Say which detectors can be exported, before anything of this one is loaded.

    Raises:
        RecipeError: A rate was named.
        RunError: The run is not finished.
    """
    if rate is not None:
        raise RecipeError(f"a detector reads sounds of any rate and brings them to {RATE:g} Hz; leave --rate away")
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions, so that nothing can be compared; finish its training")


def export(run: Run, model: Detector, people: Cohort, out: Path, precision: str = "fp32", records: int = 1000) -> Path:
    """Write the folder for a device, if its answers are those of the run.

    Args:
        run: A finished run of `train`.
        model: Of the run.
        people: The cohort that it was tested on.
        out: The folder; an earlier export there is replaced.
        precision: "fp32", or "fp16" for weights of half precision.
        records: Most held-out recordings that the gate asks.

    Raises:
        CohortError: The run's tested recordings are not in the cohort, or are others.
        ParityError: The answers differ; nothing is written.
        RecipeError: The precision has no export.
        RunError: The folder holds something else.
    """
    if precision not in LIMITS:
        raise RecipeError(f"detectors are exported as {' or '.join(LIMITS)}; got {precision}")
    held = held_out(run, model, people, records)
    graphs = graphs_of(model, precision)
    told, limits = facts(run, model, precision), LIMITS[precision]
    with delivery(Path(out)) as folder:
        _write(graphs, told, folder)
        found = measured(folder, held)
        wrong = found.failures(limits)
        if wrong:
            raise ParityError(
                f"{out}: the {precision} export does not answer as its run on {found.records} held-out recordings "
                f"({'; '.join(wrong)}); nothing was written: {advice(precision)}"
            )
        write_json(folder / "parity.json", asdict(found) | {"limits": asdict(limits)})
    return Path(out)


def told(folder: Path) -> list[str]:
    """What was measured of an export, in lines for people."""
    parity, facts, costs = (
        json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("parity", "export", "cost")
    )
    alarms = sum(machine["alarm"] is not None for machine in facts["machines"])
    return [
        f"{facts['precision']}, {facts['origin']}: {len(facts['names'])} machines, {alarms} of them with an alarm",
        f"on {parity['records']} held-out recordings: largest |Δ score| {parity['dscore']:.2g} "
        f"({parity['dscore'] / parity['spread']:.1g} of their standard deviation), {parity['flips']} of "
        f"{parity['alarms']} alarms flipped, {parity['flips_near']} at the threshold",
        f"a window costs {costs['score']['macs'] / 1e6:.1f} M multiplications beside its Fourier transforms; "
        f"score.onnx has {costs['bytes']['score.onnx'] / 1e6:.2f} MB",
        str(folder),
    ]


def simulated(run: Run, demo: Plan) -> Cohort:
    """The simulated factory that a run was made in.

    Args:
        run: Trained without a cohort of its own.
        demo: Of the system's demonstration.

    Raises:
        CohortError: It was made of other recordings.
    """
    prepare, config = read_config(run)["prepare"], read_config(run)
    for plan in (demo, Plan(seconds=prepare["seconds"])) if config["origin"] == "synthetic" else ():
        people = factory(plan)
        if fingerprint(people) == prepare["cohort"]:
            return people
    raise CohortError(f"{run.folder} was tested on a cohort, which the gate needs; give its folder after the run")


def graphs_of(model: Detector, precision: str = "fp32") -> dict[str, ModelProto]:
    """The graphs "score" and "judge" of a detector; see `stethos.export.sound`."""
    members = list(model.members)
    embedding = sound.embedding_graph(members, model.windows.samples)
    width = model.memory.embedding[0].shape[1]
    judges = [judge_of(model, number) for number in range(len(model.memory.machines))]
    shape = (judges, len(members), width)
    small = half(embedding) if precision == "fp16" else embedding
    return {"score": sound.with_judge(small, *shape), "judge": sound.judge_graph(*shape)}


def judge_of(model: Detector, machine: int) -> sound.Judge:
    """How a detector judges one machine, as nodes of a graph."""
    if model.fitted:
        return sound.mean_of([_nodes(cast(ByClass, fitted).scores[machine]) for fitted in model.fitted])
    margin = model.margin if model.backend == "own-class-margin" else 0.0
    judges = []
    for member in model.members:
        centres = cast(Tensor, member.centres).detach().double().numpy()
        own = np.zeros(len(centres), bool)
        own[: len(model.memory.owner)] = model.memory.owner == machine
        if not own.any():
            name = model.memory.machines[machine]
            raise RecipeError(f"{name} is no class of the networks, and the back end {model.backend} needs one")
        judges.append(sound.by_own_class(centres, own, model.scale, margin))
    return sound.mean_of(judges)


def _nodes(score: Any) -> sound.Judge:
    match score:
        case ToNearest(distance=how) | ToDensest(distance=how) if how is not cosine:
            raise RecipeError("an export compares by the cosine, and this back end by another distance")
        case ToNearest():
            return sound.to_nearest(score.normals, score.k, score.spread)
        case ToDensest():
            return sound.to_densest(score.normals, score.density)
        case ToMeans():
            return sound.to_means(score.means, score.white)
        case SmallestOf():
            return sound.smallest_of([_nodes(one) for one in score.scores])
    raise RecipeError(f"this version has no graph for {type(score).__name__}")


def facts(run: Run, model: Detector, precision: str) -> dict[str, Any]:
    """What a reader of the graphs must know, as JSON holds it."""
    config, windows = read_config(run), model.windows
    return {
        "kind": "sound",
        "system": config["system"],
        "version": __version__,
        "model": hashlib.sha256(run.weights.read_bytes()).hexdigest(),
        "origin": config["origin"],
        "target": "anomalous sound",
        "names": list(model.memory.machines),
        "machines": [_machine(run, model, number) for number in range(len(model.memory.machines))],
        "channel": windows.channel,
        "rate": RATE,
        "unit": "1",
        "seconds": windows.seconds,
        "samples": windows.samples,
        "prepare": windows.name,
        "level": windows.level,
        "precision": precision,
        "backend": model.backend,
        "windows": "their mean embedding is judged",
        "limits": LIMITS_IN_WORDS,
    }


def _machine(run: Run, model: Detector, number: int) -> dict[str, Any]:
    """Name, threshold and alarm of a machine."""
    name, memory = model.memory.machines[number], model.memory
    told: dict[str, Any] = {"name": name, "threshold": float(memory.threshold[number])}
    told["chosen"] = "nine in ten normal recordings that it does not remember score no higher"
    told["normals"] = int(np.sum(memory.machine == number))
    try:
        alarm = rules_of(run, name).alarm
    except RunError:
        return told | {"alarm": None, "alarm_says": "none was set"}
    return told | {"alarm": alarm.to_json(), "alarm_says": alarm.sentence()}


def held_out(run: Run, model: Detector, people: Cohort, records: int = 1000) -> HeldOut:
    """Tested recordings and Python's scores of them.

    Args:
        run: Its predictions say which, and what it said of them.
        model: Of the run.
        people: The cohort.
        records: How many at most.

    Raises:
        CohortError: None of the tested recordings is there, or they give other scores.
    """
    said = Predictions.load(run.predictions).part("internal").mean_over_seeds()
    row_of = {record: row for row, record in enumerate(people.rows["id"].astype(str))}
    rows = [row for row in range(len(said)) if said.record[row] in row_of and np.isfinite(said.score[row, 0])]
    rows = np.random.default_rng(0).permutation(rows)[:records].astype(int).tolist()
    if not rows:
        raise CohortError("none of the run's tested recordings is in this cohort; give the cohort it was tested on")
    names = identity_of(said.facts["machine"], said.facts["section"])
    sounds, machine, score = [], [], []
    for row in rows:
        picked = people[row_of[said.record[row]]].pick(model.windows.channel)
        heard = [item[None] for item in model.heard(model.windows.apply(picked))]
        sounds.append((picked.values[0], picked.rate))
        machine.append(model.machine_of(str(names[row])))
        score.append(float(model.judge(heard, machine[-1])[0]))
    held = HeldOut(sounds, np.array(machine), np.array(score))
    since = np.isin(held.machine, _enrolled_since(model))
    _refuse_others(said.score[rows, 0][~since], held.score[~since])
    return held


def _enrolled_since(model: Detector) -> np.ndarray:
    """Places of the machines whose normals were replaced after the run had kept its scores."""
    memory = model.memory
    return np.unique(memory.machine[np.char.find(memory.record, ", enrolled ") >= 0])


def _refuse_others(kept: np.ndarray, again: np.ndarray) -> None:
    far = float(np.abs(kept - again).max(initial=0.0))
    if len(kept) and not far <= AGAIN * max(float(np.std(kept)), 1e-12):
        raise CohortError(
            f"the cohort must hold the recordings that the run was tested on; one gives a score {far:.2g} from the one "
            "that was kept; give the folder of the cohort after that of the run"
        )


def measured(folder: Path, held: HeldOut) -> Parity:
    """What a folder says of the same samples, beside what Python says."""
    graphs = run_sound.opened(folder)
    machines, precision = graphs.facts["machines"], graphs.facts["precision"]
    mine = [run_sound.scores(graphs, run_sound.prepared(values, rate, graphs.facts)) for values, rate in held.sounds]
    other = np.array(mine)[np.arange(len(mine)), held.machine].astype(np.float64)
    spread = max(float(np.std(held.score)), 1e-12)
    alarms = flips = near = 0
    usual = [one["threshold"] for one in machines]
    for limits in (usual, [np.nan if one["alarm"] is None else one["alarm"]["threshold"] for one in machines]):
        point = np.array(limits, np.float64)[held.machine]
        flipped = np.isfinite(point) & ((held.score > point) != (other > point))
        close = np.abs(held.score - point) <= LIMITS[precision].near * spread
        alarms += int(np.isfinite(point).sum())
        flips, near = flips + int((flipped & ~close).sum()), near + int((flipped & close).sum())
    return Parity(len(mine), float(np.abs(other - held.score).max()), spread, alarms, flips, near)


def _write(graphs: Mapping[str, ModelProto], told: Mapping[str, Any], folder: Path) -> None:
    """Everything but parity.json."""
    for name, graph in graphs.items():
        write_metadata(graph, told)
        library().save(graph, str(folder / f"{name}.onnx"))
    write_json(folder / "export.json", told)
    (folder / "run.py").write_text(files("stethos.export").joinpath("run_sound.py").read_text("utf-8"), "utf-8")
    costs: dict[str, Any] = {name: asdict(cost(graph)) for name, graph in graphs.items()}
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    write_json(folder / "cost.json", costs | {"bytes": sizes})
