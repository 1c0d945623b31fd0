"""From a finished detector of machine sound to a folder for a device, if its answers are those of the run.

The gate, `stethos.export.parity_sound`, asks the run's own tested recordings. Scales of integers are taken from normal
recordings that the detector remembers, so that no tested one has a say in them. Its log-mel is never of integers: power
spans eighty decibels, and 256 steps hold forty-eight.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from torch import Tensor

from stethos import __version__
from stethos.errors import CohortError, RecipeError, RunError
from stethos.export import run_sound, sound
from stethos.export.cost import cost
from stethos.export.folder import delivery, write_json
from stethos.export.graph import library, write_metadata
from stethos.export.parity import ParityError
from stethos.export.parity_sound import LIMITS, HeldOut, measured
from stethos.export.quantise import WINDOWS, half, mixed
from stethos.export.run_sound import Graphs
from stethos.export.score import blocks_of, session
from stethos.nn.mel import LogMel
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

Precision = Literal["fp32", "fp16", "int8"]

SYSTEMS = ("os_scl", "highband_cl")
ADVICE = {  # where an export is refused
    "fp32": "this version cannot export this run",
    "fp16": "take --precision fp32",
    "int8": "leaving blocks in float32 did not help either; take --precision fp16, or train a wider network, or longer",
}
AGAIN = 0.02  # standard deviations of a run's own scores; a GPU's, or bfloat16's, differ by as much
LIMITS_IN_WORDS = (
    "Research software. A score below the threshold says that a machine sounds as its normal recordings did, not that "
    "it is in order. Thresholds hold for the same microphone, place, gain and room. The files hold embeddings of "
    "normal recordings, from which sound cannot be played but recordings can be recognised."
)


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


def export(
    run: Run, model: Detector, people: Cohort, out: Path, precision: Precision = "fp32", records: int = 1000
) -> Path:
    """Write the folder for a device, if its answers are those of the run.

    Args:
        run: A finished run of `train`.
        model: Of the run.
        people: The cohort that it was tested on.
        out: The folder; an earlier export there is replaced.
        precision: "fp32", "fp16" for weights of half precision, or "int8" for integers.
        records: Most held-out recordings that the gate asks.

    Raises:
        CohortError: The run's tested recordings are not in the cohort, or are others.
        ParityError: The answers differ; nothing is written.
        RecipeError: Integers would take more room than half precision.
        RunError: The folder holds something else.
    """
    held = held_out(run, model, people, records)
    told, limits = facts(run, model, precision), LIMITS[precision]
    embedding, record = reduced(model, told, held, people)
    told |= {"kept_float32": record.get("kept_float32", [])}
    with delivery(Path(out)) as folder:
        _write(graphs_of(model, embedding), told, folder)
        found = measured(run_sound.opened(folder), held, limits)
        wrong = found.failures(limits)
        if wrong:
            raise ParityError(
                f"{out}: the {precision} export does not answer as its run on {found.records} held-out recordings "
                f"({'; '.join(wrong)}); nothing was written: {ADVICE[precision]}"
            )
        write_json(folder / "parity.json", asdict(found) | {"limits": asdict(limits)} | record)
    return Path(out)


def told(folder: Path) -> list[str]:
    """What was measured of an export, in lines for people."""
    parity, facts, costs = (
        json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("parity", "export", "cost")
    )
    alarms = sum(machine["alarm"] is not None for machine in facts["machines"])
    lines = [
        f"{facts['precision']}, {facts['origin']}: {len(facts['names'])} machines, {alarms} of them with an alarm",
        f"on {parity['records']} held-out recordings: {_differences(parity)}",
        f"a window costs {costs['score']['macs'] / 1e6:.1f} M multiplications beside its Fourier transforms; "
        f"score.onnx has {costs['bytes']['score.onnx'] / 1e6:.2f} MB",
    ]
    if facts["kept_float32"]:
        lines.append(f"computed in float32: {', '.join(facts['kept_float32'])}")
    return [*lines, str(folder)]


def _differences(parity: Mapping[str, Any]) -> str:
    near = (
        f"largest |Δ score| {parity['dscore']:.2g} ({parity['dscore'] / parity['spread']:.1g} of the spread of normals)"
    )
    near += f", {parity['flips']} of {parity['alarms']} alarms flipped, {parity['flips_near']} at the threshold"
    return near if parity["dauroc"] is None else f"{near}, |Δ AUROC| {parity['dauroc']:.2g}"


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


def reduced(
    model: Detector, told: Mapping[str, Any], held: HeldOut, people: Cohort
) -> tuple[ModelProto, dict[str, Any]]:
    """The networks of a detector as one graph in the asked precision, and what was tried.

    Of integers, what stays float32 is stored in half precision: the filters of the log-mel alone are half a megabyte.

    Args:
        model: The detector.
        told: Facts of the export, "precision" among them.
        held: What the answers are compared on.
        people: The cohort, for the scales of integers.

    Raises:
        CohortError: It holds none of the recordings that the detector remembers.
        RecipeError: Integers would take more room than half precision.
    """
    members = list(model.members)
    whole = sound.embedding_graph(members, model.windows.samples)
    if told["precision"] == "fp32":
        return whole, {}
    if told["precision"] == "fp16":
        return half(whole), {}
    blocks, judge = blocks_of(sound.Heard(members)), session(graphs_of(model, whole)["judge"])
    mels = [name for name, block in blocks.items() if isinstance(block, LogMel)]
    room = _bytes(half(whole))

    def too_far(small: ModelProto) -> bool:
        graphs = Graphs(session(half(small)), judge, dict(told))
        return _bytes(half(small)) >= room or bool(measured(graphs, held, LIMITS["int8"]).failures(LIMITS["int8"]))

    small, record = mixed(whole, remembered(model, people), list(blocks), too_far, mels)
    _refuse_larger(_bytes(half(small)), room)
    return half(small), record


def remembered(model: Detector, people: Cohort) -> np.ndarray:
    """Windows of normal recordings that a detector remembers, of all machines, `(W, 1, T)`.

    Raises:
        CohortError: The cohort holds none of them.
    """
    row_of = {record: row for row, record in enumerate(people.rows["id"].astype(str))}
    rows = [row_of[record] for record in model.memory.record.tolist() if record in row_of]
    windows: list[np.ndarray] = []
    for row in np.random.default_rng(0).permutation(rows).astype(int).tolist():
        if len(windows) < WINDOWS:
            windows += list(model.windows.apply(people[row].pick(model.windows.channel)))
    if not windows:
        raise CohortError("scales of int8 are taken from remembered normals, and the cohort holds none; give it whole")
    return np.stack(windows[:WINDOWS])


def _bytes(graph: ModelProto) -> int:
    return len(graph.SerializeToString())


def _refuse_larger(integers: int, halves: int) -> None:
    if integers >= halves:
        raise RecipeError(
            f"int8 is for fewer bytes than fp16, and this narrow network takes {integers / 1e6:.2f} MB "
            f"as int8 and {halves / 1e6:.2f} MB as fp16; take --precision fp16"
        )


def graphs_of(model: Detector, embedding: ModelProto) -> dict[str, ModelProto]:
    """The graphs "score" and "judge" of a detector, whose networks are a graph already; see `stethos.export.sound`."""
    judges = [judge_of(model, number) for number in range(len(model.memory.machines))]
    shape = (judges, len(model.members), model.memory.embedding[0].shape[1])
    return {"score": sound.with_judge(embedding, *shape), "judge": sound.judge_graph(*shape)}


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
    held = HeldOut(sounds, np.array(machine), np.array(score), said.truth[rows, 0])
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
