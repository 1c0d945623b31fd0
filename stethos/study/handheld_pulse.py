"""From a finished run of CAP to a folder for a device, if its answers, or its embeddings, are those of the run.

The gate, `stethos.export.parity_pulse`, asks the run's own tested recordings, brought to the device's rate first, for
both sides alike. Which of their stretches moved or are noise is found in Python and told to both.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import sosfilt_zi
from torch import nn

from stethos import __version__
from stethos.data.cohort import open_cohort
from stethos.errors import CohortError, QualityError, RateError, RecipeError, RunError
from stethos.export.cost import cost
from stethos.export.folder import delivery, write_json
from stethos.export.graph import composed, library, write_metadata
from stethos.export.parity import ParityError
from stethos.export.parity_pulse import LIMITS, HeldOut, Recording, by_torch, compared, measured, scored, suspect
from stethos.export.pulse import Patching, Spoken, network_graph, prepare_graph
from stethos.export.quantise import WINDOWS, half, mixed
from stethos.export.score import blocks_of, session
from stethos.signal.filter import butterworth
from stethos.signal.patches import at_once
from stethos.signal.pulse import BEAT_BAND, PULSE_BAND, traced
from stethos.signal.pulse_quality import judged_windows, spans
from stethos.signal.resample import resample
from stethos.study.arms import PRESSURES, TASKS, UNITS, arm_numbers
from stethos.study.handheld import Precision, Wanted, operating_points, risk_groups
from stethos.study.pulse_answers import ADULTS, NO_MEASUREMENT, WITHHELD
from stethos.study.pulse_space import PARTS, TRAINED_ON
from stethos.study.pulses import PulseWindows, tell_pulses
from stethos.study.several import label
from stethos.study.task import fingerprint
from stethos.study.validate import tested
from stethos.train.run import read_config
from stethos.train.weights import read_metadata
from stethos.types import Cohort, Estimate, Predictions, Record, Run

if TYPE_CHECKING:
    from onnx import ModelProto

SYSTEM, RATE = "cap", 125.0  # Hz where none is said: of bedside monitors
VERBS = ("pretrain", "probe", "train")
AGAIN = 1e-3  # of an answer of 1 or more: a run's own recordings, scored once more
ADVICE = {  # where an export is refused
    "fp32": "this version cannot export this run",
    "fp16": "take --precision fp32",
    "int8": "leaving blocks in float32 did not help either; take --precision fp16",
}
LEFT = {  # what stays behind
    "pretrain": "the text tower is not in it: ask sentences of the run (stethos cap zero-shot, stethos cap retrieve)",
    "probe": "the classical model and the other arms are not in it: they are controls",
}
LIMITS_IN_WORDS = (
    "Research software, no medical device. A blood pressure is an estimate from the shape of a pulse, no measurement. "
    "Operating points and errors hold for recordings like those that the run was tested on: same sensor, same place on "
    "the body, same prevalence. Motion and noise are refused by the program around the model, not by the model. "
    "An embedding is of a person: whoever has two can tell whether they are of the same one."
)


def is_pulse(run: Run) -> bool:
    """Whether a run is of the system that reads the pulse."""
    return read_config(run).get("system") == SYSTEM


def refuse_unexportable(run: Run) -> None:
    """Say which runs can be exported, before anything of this one is loaded.

    Raises:
        RecipeError: This one cannot.
        RunError: It is not finished.
    """
    verb = read_config(run).get("protocol", {}).get("verb", "")
    if verb not in VERBS:
        raise RecipeError(
            f"{run.folder} is of cap {verb.replace('_', '-')}, which keeps no network of its own; "
            "runs of cap pretrain, probe and train can be exported"
        )
    if not run.weights.is_file() or (verb != "pretrain" and not run.predictions.is_file()):
        raise RunError(f"{run.folder} holds nothing to compare with: its training has not finished; run it again")


def export(run: Run, model: nn.Module, people: Cohort | None, wanted: Wanted, out: Path) -> Path:
    """Write the folder for a device, if its answers are those of the run.

    Args:
        run: A finished run of `pretrain`, `probe` or `train`.
        model: Its network, with `embed` or `score`.
        people: The cohort that it was made of; None for a simulated one, which lies beside it.
        wanted: Precision, rate, and how many recordings are compared.
        out: The folder; an earlier export there is replaced.

    Raises:
        CohortError: The run's tested recordings are not in the cohort, or are others.
        ParityError: The answers differ; nothing is written.
        RateError: The preparation cannot be had from this rate.
        RecipeError: No recording may be compared, or integers would take more room than half precision.
        RunError: The folder holds something else.
    """
    library()
    _refuse_wanted(wanted)
    windows, network = windows_of(run), Spoken(model, "embed" if _is_encoder(run) else "score").eval()
    prepare = prepare_graph(windows.prepare, Patching(wanted.rate, windows.rate, windows.seconds))
    people = people if people is not None else simulated(run)
    held = held_out(run, network, people, wanted)
    score = network_graph(network, windows.samples, "embedding" if _is_encoder(run) else "answer")
    scales = calibration(run, people, wanted) if wanted.precision == "int8" else np.zeros(0)
    small, record = reduced(score, network, held, scales, wanted.precision)
    told = facts(run, wanted) | {"kept_float32": record.get("kept_float32", [])}
    with delivery(Path(out)) as folder:
        _write({"prepare": prepare, "score": small, "model": composed(prepare, small)}, told, folder)
        found = _gated(folder, held, network, told["precision"], Path(out))
        write_json(folder / "parity.json", found.facts(LIMITS[wanted.precision]) | record)
    return Path(out)


def told(folder: Path) -> list[str]:
    """What was measured of an export, in lines for people."""
    parity, facts, costs = (
        json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("parity", "export", "cost")
    )
    lines = [
        f"{facts['precision']} at {facts['rate']:g} Hz, {facts['origin']}; {_answering(facts)}",
        f"on {parity['records']} held-out recordings, {parity['patches']} patches: {_differences(parity, facts)}",
        f"a patch of {facts['seconds']:g} s costs {costs['model']['macs'] / 1e6:.1f} M multiplications; "
        f"model.onnx has {costs['bytes']['model.onnx'] / 1e6:.2f} MB",
        facts["left_behind"],
    ]
    if facts["kept_float32"]:
        lines.append(f"computed in float32: {', '.join(facts['kept_float32'])}")
    return [*lines, str(folder)]


def _answering(facts: Mapping[str, Any]) -> str:
    if facts["output"] == "embedding":
        return f"it gives an embedding of {facts['width']} numbers"
    told = {one["name"]: [one["unit"], "" if one["given"] else "withheld"] for one in facts["answers"]}
    words = {name: ", ".join(filter(None, ["" if unit == "1" else unit, held])) for name, (unit, held) in told.items()}
    each = [f"{name} ({word})" if word else name for name, word in words.items()]
    return f"it answers {', '.join(each)}"


def _differences(parity: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    if parity["distance"] is not None:
        return (
            f"embeddings are {parity['distance']:.2g} apart at most, "
            f"{parity['distance'] / parity['usual']:.1g} of the usual distance of two recordings"
        )
    units, near = {one["name"]: one["unit"] for one in facts["answers"]}, []
    if parity["dp"] is not None:
        near.append(f"largest |Δ probability| {parity['dp']:.2g}")
        flips = f"{parity['flips']} of {parity['decisions']} decisions flipped, {parity['flips_near']} at the threshold"
        near.append(flips if parity["decisions"] else "no operating point")
    near += [f"|Δ {name}| {far:.2g} {units[name]}".rstrip() for name, far in parity["estimates"].items()]
    return ", ".join(near)


def windows_of(run: Run) -> PulseWindows:
    """How a run cuts recordings."""
    held = read_config(run)["prepare"]
    return PulseWindows(held["channel"], held["prepare"], held["rate"], held["seconds"], held["motion"])


def simulated(run: Run) -> Cohort:
    """The simulated hospital that a run was made in, which lies in its folder or beside it.

    Raises:
        CohortError: There is none, or it holds other recordings.
    """
    for place in (run.folder / "paired", run.folder.parent / "paired"):
        if (place / "cohort.csv").is_file():
            people = open_cohort(place)
            if _fingerprint(run, people) == read_config(run)["prepare"]["cohort"]:
                return people
    raise CohortError(f"{run.folder} was made of a cohort, which the gate needs; give its folder after the run")


def held_out(run: Run, network: Spoken, people: Cohort, wanted: Wanted) -> HeldOut:
    """Tested recordings as a device has them, and what Python says of them.

    Args:
        run: Its parts say which.
        network: Of the run.
        people: The cohort.
        wanted: Rate, and how many at most.

    Raises:
        CohortError: None of them is there and usable, or they are others than the run's.
    """
    place, parts = _places(people), parts_of(run)
    asked = [record for part, ids in parts.items() if part not in TRAINED_ON for record in ids] or parts["valid"]
    asked = [record for record in asked if record in place]
    asked = [asked[number] for number in np.random.default_rng(0).permutation(len(asked))[: wanted.records]]
    if not asked:
        raise CohortError("none of the run's tested recordings is in this cohort; give the cohort it was tested on")
    _refuse_others(run, network, people, asked[:10])
    found = dict(_recorded(people, asked, windows_of(run), wanted.rate))
    if not found:
        raise CohortError(f"no tested recording has a usable patch at {wanted.rate:g} Hz; nothing can be compared")
    said = np.stack([by_torch(network, one.x) for one in found.values()])
    return HeldOut(list(found.values()), said, *_known(run, list(found)))


def parts_of(run: Run) -> dict[str, list[str]]:
    """Ids of the recordings of each part of a run.

    Raises:
        RunError: They were not kept with it.
    """
    if not _is_encoder(run):
        said = Predictions.load(run.predictions).mean_over_seeds()
        return {part: said.record[said.split == part].tolist() for part in np.unique(said.split).tolist()}
    path = run.private / PARTS
    if not path.is_file():
        raise RunError(f"{path} is missing, which says whose recordings were held out; export where the run was made")
    held: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
    return held


def device_recording(record: Record, windows: PulseWindows, rate: float) -> Recording:
    """A recording at the rate of a device, cut to what a graph takes at once, judged and prepared in Python.

    Raises:
        QualityError: No patch of it is usable.
    """
    pulse = record.pick(windows.channel)
    pulse = (pulse if pulse.rate == rate else resample(pulse, rate)).crop(0, at_once(rate, windows.rate))
    motion = windows.motion_of(record) if windows.motion else None
    judged = judged_windows(pulse, traced(pulse), spans(pulse.duration, windows.seconds), motion)
    if not any(window.ok for window in judged):
        raise QualityError("no usable patch")
    lost = [(window.start, window.stop) for window in judged if not window.ok]
    refused = np.zeros(pulse.values.shape[1], bool)
    for start, stop in lost:
        refused[round(start * rate) : round(stop * rate)] = True
    return Recording(pulse.values[0], refused, windows.cut(pulse, lost))


def calibration(run: Run, people: Cohort, wanted: Wanted) -> np.ndarray:
    """Validation recordings of one length for the scales of integers, some hundred patches, `(W, P, 2, S)`.

    Training recordings serve where there are too few.

    Raises:
        CohortError: The cohort holds neither.
    """
    place, parts = _places(people), parts_of(run)
    ids = [record for part in ("valid", "train") for record in parts.get(part, []) if record in place]
    found = [one.x for _, one in _recorded(people, ids[: 2 * WINDOWS], windows_of(run), wanted.rate)]
    if not found:
        raise CohortError(
            "scales of int8 are taken from validation recordings, and the cohort holds none; give it whole"
        )
    usual, _ = Counter(len(x) for x in found).most_common(1)[0]
    return np.stack([x for x in found if len(x) == usual][: max(1, WINDOWS // usual)])


def reduced(
    score: ModelProto, network: Spoken, held: HeldOut, scales: np.ndarray, precision: Precision
) -> tuple[ModelProto, dict[str, Any]]:
    """A network's graph in the asked precision, and what was tried.

    Of integers, what stays float32 is stored in half precision.

    Args:
        score: In float32.
        network: That it is of.
        held: What the answers are compared on.
        scales: Prepared recordings for the scales of integers, `(W, P, 2, S)`.
        precision: "fp32", "fp16" or "int8".

    Raises:
        RecipeError: Integers would take more room than half precision.
    """
    if precision == "fp32":
        return score, {}
    room, limits = len(half(score).SerializeToString()), LIMITS["int8"]
    if precision == "fp16":
        return half(score), {}

    def too_far(small: ModelProto) -> bool:
        said = scored(session(half(small)), held)
        return bool(compared(held, said, held.thresholds, limits.near).failures(limits))

    small, record = mixed(score, scales, list(blocks_of(network)), too_far)
    taken = len(half(small).SerializeToString())
    if taken >= room:
        raise RecipeError(
            f"int8 is for fewer bytes than fp16, and this network takes {taken / 1e6:.2f} MB as int8 and "
            f"{room / 1e6:.2f} MB as fp16; take --precision fp16"
        )
    return half(small), record


def facts(run: Run, wanted: Wanted) -> dict[str, Any]:
    """What a reader of the graphs must know, as JSON holds it."""
    config, windows = read_config(run), windows_of(run)
    verb, recipe = config["protocol"]["verb"], config["recipe"]
    return {
        "kind": "pulse",
        "system": config["system"],
        "verb": verb,
        "arm": read_metadata(run.weights).get("named", verb),
        "version": __version__,
        "model": hashlib.sha256(run.weights.read_bytes()).hexdigest(),
        "origin": config["origin"],
        "output": "embedding" if verb == "pretrain" else "answer",
        "width": recipe["space"] if verb == "pretrain" else len(recipe["tasks"]),
        "answers": [] if verb == "pretrain" else list(_answers(run)),
        **_read(windows, wanted),
        "precision": wanted.precision,
        "left_behind": _left_behind(verb, recipe),
        "limits": LIMITS_IN_WORDS,
    }


def _read(windows: PulseWindows, wanted: Wanted) -> dict[str, Any]:
    """What the graphs read, and of whom."""
    words = {True: "answer", False: "abstain"}
    return {
        "channel": windows.channel,
        "rate": float(wanted.rate),
        "unit": "any",
        "seconds": windows.seconds,
        "samples": windows.samples,
        "prepared_rate": windows.rate,
        "prepare": windows.prepare,
        "longest_seconds": float(at_once(wanted.rate, windows.rate)),
        "filters": {name: filter_of(band, wanted.rate) for name, band in (("pulse", PULSE_BAND), ("beat", BEAT_BAND))},
        "windows": "a recording is prepared and judged as a whole, its patches joined by the network",
        "intended_use": {
            "age_min": ADULTS.youngest_age,
            "paced": words[ADULTS.paced],
            "dialysis": words[ADULTS.dialysis],
        },
    }


def filter_of(band: tuple[float, float], rate: float) -> dict[str, Any]:
    """A band-pass of `stethos.signal.pulse` as `run.py` takes it."""
    sections = butterworth(2, band, "bandpass", rate)
    return {"sections": sections.tolist(), "start": sosfilt_zi(sections).tolist()}


def _left_behind(verb: str, recipe: Mapping[str, Any]) -> str:
    if verb == "pretrain" and recipe["records"] == "none":
        return "it was pretrained without records, so that nothing but the encoder could be exported"
    return LEFT["pretrain" if verb == "pretrain" else "probe"]


def _answers(run: Run) -> Iterator[dict[str, Any]]:
    """Each answer with its unit, its operating point or its errors on the tested parts, and whether it is given out."""
    said, (points, gates) = Predictions.load(run.predictions).mean_over_seeds(), _told(run)
    recipe, numbers = read_config(run)["recipe"], arm_numbers({"own": [said]}, "own")
    for place, name in enumerate(recipe["tasks"]):
        known, about = said.names[place], {"name": name, "says": TASKS.get(name, name)}
        if known in gates:
            yield about | _estimate(said, known, gates[known], numbers)
        else:
            yield about | {"key": name} | _yes_or_no(label(said, place), points[place], recipe["operate"])


def _yes_or_no(said: Predictions, point: float | None, aim: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an answer in log odds: its operating point, and what flagging there did on every tested part."""
    chosen = f"just reaches a {aim['operate_at']} of {aim['operate_level']:g} on the run's validation part"
    told = {"kind": "probability", "unit": "1", "given": True, "note": None, "threshold": point}
    told |= {"chosen": "none" if point is None else chosen}
    logit = math.nan if point is None else point
    return told | {"operating_points": operating_points(said, logit), "risk_groups": risk_groups(said)}


def _estimate(said: Predictions, name: str, gate: bool, numbers: Mapping[str, Estimate]) -> dict[str, Any]:
    """What is told of a measured answer: its errors, estimate minus truth, on every tested part."""
    pressure, errors = name in PRESSURES, []
    for part in tested(said):
        found = {
            metric: [number.value, number.low, number.high]
            for metric in ("mae", "bias", "lower", "upper")
            if (number := numbers.get(f"{name}.own.{part}.{metric}")) is not None
        }
        errors += [{"split": part, **found, "origin": said.origin}] if found else []
    note = None if not pressure else NO_MEASUREMENT if gate else WITHHELD
    told = {"kind": "estimate", "key": f"{name}_estimate" if pressure and gate else name, "unit": UNITS.get(name, "")}
    return told | {
        "given": gate or not pressure,
        "note": note,
        "threshold": None,
        "better_than_mean": gate,
        "errors": errors,
    }


def _is_encoder(run: Run) -> bool:
    return bool(read_config(run)["protocol"]["verb"] == "pretrain")


def _told(run: Run) -> tuple[list[float | None], dict[str, bool]]:
    """Operating points of each answer, None for none, and of the measured ones whether they beat the mean."""
    held = read_metadata(run.weights)
    return json.loads(held["thresholds"]), json.loads(held["gates"])


def _known(run: Run, records: Sequence[str]) -> tuple[Any, ...]:
    """Names, truth, kinds, operating points and spreads of the answers to some recordings, as `HeldOut` takes them."""
    if _is_encoder(run):
        return (), np.zeros((len(records), 0)), np.zeros(0, bool), np.zeros(0), np.zeros(0)
    said, (points, gates) = Predictions.load(run.predictions).mean_over_seeds(), _told(run)
    row = {record: number for number, record in enumerate(said.record.tolist())}
    with np.errstate(invalid="ignore", divide="ignore"):
        known = [column[np.isfinite(column)] for column in said.truth.T]
    spread = np.array([np.std(column) if len(column) > 1 else 0.0 for column in known])
    return (
        tuple(read_config(run)["recipe"]["tasks"]),
        said.truth[[row[record] for record in records]],
        np.array([name in gates for name in said.names]),
        np.array([math.nan if point is None else point for point in points], np.float64),
        np.where(spread > 0, spread, 1.0),
    )


def _refuse_wanted(wanted: Wanted) -> None:
    if wanted.records < 1:
        raise RecipeError(f"--records is 1 or more, for the answers are compared on them; got {wanted.records}")
    if not 0 < wanted.rate < math.inf:
        raise RateError(f"--rate is a positive number of Hz; got {wanted.rate:g}")


def _refuse_others(run: Run, network: Spoken, people: Cohort, records: Sequence[str]) -> None:
    """See whether a cohort holds the recordings of a run: of an encoder the same list, of others the same answers."""
    if _is_encoder(run):
        if _fingerprint(run, people) != read_config(run)["prepare"]["cohort"]:
            raise CohortError(
                f"{run.folder} was pretrained on another cohort; give the folder of that one after the run"
            )
        return
    said, place, windows = Predictions.load(run.predictions).mean_over_seeds(), _places(people), windows_of(run)
    for record in records:
        far, kept = math.inf, said.score[said.record == record][0]
        with suppress(QualityError):  # of a recording that cannot be the one that was scored
            again = by_torch(network, windows(people[place[record]])[0])
            far = float((np.abs(again - kept) / np.maximum(1.0, np.abs(kept))).max())
        if not far <= AGAIN:
            raise CohortError(
                f"the cohort must hold the recordings that the run was tested on; record {record} gives another answer "
                "than the one that was kept; give the folder of the cohort after that of the run"
            )


def _fingerprint(run: Run, people: Cohort) -> str:
    recipe = read_config(run)["recipe"]
    return fingerprint(tell_pulses(people, recipe["tasks"], recipe["exclude"]).cohort)


def _places(people: Cohort) -> dict[str, int]:
    return {record: row for row, record in enumerate(people.rows["id"].astype(str))}


def _recorded(
    people: Cohort, records: Sequence[str], windows: PulseWindows, rate: float
) -> Iterator[tuple[str, Recording]]:
    """Those of some recordings that have a usable patch, as a device has them."""
    place = _places(people)
    for record in records:
        try:
            yield record, device_recording(people[place[record]], windows, rate)
        except QualityError:
            continue


def _gated(folder: Path, held: HeldOut, network: Spoken, precision: Precision, out: Path) -> Any:
    limits = LIMITS[precision]
    found = measured(folder, held, limits)
    wrong = found.failures(limits)
    if wrong:
        raise ParityError(
            f"{out}: the {precision} export does not answer as its run on {found.records} held-out recordings "
            f"({'; '.join(wrong)}), and the first to differ is {suspect(folder, held, network, limits)}; "
            f"nothing was written: {ADVICE[precision]}"
        )
    return found


def _write(graphs: Mapping[str, ModelProto], told: Mapping[str, Any], folder: Path) -> None:
    """Everything but parity.json."""
    for name, graph in graphs.items():
        write_metadata(graph, told)
        library().save(graph, str(folder / f"{name}.onnx"))
    write_json(folder / "export.json", told)
    (folder / "run.py").write_text(files("stethos.export").joinpath("run_pulse.py").read_text("utf-8"), "utf-8")
    length = round(told["seconds"] * told["rate"])
    pulse = np.random.default_rng(0).standard_normal((1, length)).astype(np.float32)
    given = {
        "signal": pulse,
        "refused": np.zeros((1, length), bool),
        "x": np.ones((1, 1, 2, told["samples"]), np.float32),
    }
    costs: dict[str, Any] = {
        name: asdict(cost(graph, {end.name: given[end.name] for end in graph.graph.input}))
        for name, graph in graphs.items()
    }
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    write_json(folder / "cost.json", costs | {"bytes": sizes})
