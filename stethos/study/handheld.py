"""From a finished run to a folder for a device: what the graphs must be told, and the recordings that they are held to.

The gate asks the run's own tested recordings, so the cohort must be at hand; that of a simulated world is simulated
again. A recording at another rate than the export's is first brought to that rate, for both sides alike: what is
measured is the export, not another recorder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from stethos import __version__
from stethos.errors import CohortError, RateError, RecipeError, RunError
from stethos.export.folder import Parts, deliver, reduced
from stethos.export.graph import library
from stethos.export.parity import HeldOut
from stethos.export.prepare import prepare_graph
from stethos.export.quantise import WINDOWS
from stethos.export.score import score_graph
from stethos.metrics.interval import proportion
from stethos.signal.prepare import PREPARATIONS
from stethos.signal.quality import windows as judge_windows
from stethos.signal.resample import resample
from stethos.study.ensemble import Ensemble, scorer
from stethos.study.judge import ADULTS
from stethos.study.lead import LeadWindows, mean_of_windows
from stethos.study.several import label
from stethos.study.several_parts import thresholds_of
from stethos.study.validate import has_both, known, operating, tested
from stethos.synth import echo_world, hospital
from stethos.synth.world import hospital_world
from stethos.train.run import read_config
from stethos.train.weights import read_metadata
from stethos.types import Cohort, Estimate, Predictions, Run, Signal

Precision = Literal["fp32", "fp16", "int8"]

SYSTEMS = {"pocket_k": hospital_world, "anyecg_echo": echo_world}  # that can be exported, and their simulated worlds
CAN = (
    "runs of pocket-k train and student, anyecg-echo train, os-scl train, highband-cl train, and cap pretrain, "
    "probe and train can be exported"
)
VERBS = ("train", "student")
BY_DESIGN = {"ecgflow_cmr": "draws moving hearts, which are for people at a desk and are not exported"}
GROUPS = 5  # of the score, for the observed risk
LEAST = 20  # records in a group
PLACES = 1_000_000  # a simulated patient's number is this times the seed plus one, and the place in the hospital
AGAIN = 1e-3  # logits of a run's own recordings, scored once more
LIMITS_IN_WORDS = (
    "Research software, no medical device. The operating point and the risks hold for recordings like those that the "
    "run was tested on: same kind of recorder, same prevalence. The quality of a recording is judged by the program "
    "around the model, not by the model."
)


@dataclass(frozen=True)
class Wanted:
    """How a run is exported.

    Args:
        precision: "fp32", "fp16" (weights of half precision) or "int8".
        rate: Of the recordings that the device makes, Hz.
        records: Most held-out records that the gate asks.
    """

    precision: Precision = "fp32"
    rate: float = 500.0
    records: int = 1000


def refuse_unexportable(run: Run) -> None:
    """Say which runs can be exported, before anything of this one is loaded.

    Raises:
        RecipeError: This one cannot.
    """
    config = read_config(run)
    system, verb = config["system"], config.get("protocol", {}).get("verb", "train")
    if system not in SYSTEMS or verb not in VERBS:
        name = f"{system} {verb}".replace("_", "-")
        raise RecipeError(f"{run.folder} is of {name}, which {BY_DESIGN.get(system, 'has no export yet')}; {CAN}")
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions, so that nothing can be compared; finish its training")


def export(run: Run, model: Ensemble, people: Cohort | None, wanted: Wanted, out: Path) -> Path:
    """Write the folder for a device, if its answers are those of the run.

    Args:
        run: A finished run of `train` or `student`.
        model: Its networks.
        people: The cohort that it was tested on; None to simulate it again.
        wanted: Precision and rate.
        out: The folder.

    Raises:
        CohortError: The run's tested recordings are not in the cohort, or are others.
        ParityError: The answers differ; nothing is written.
        RecipeError: A measured target is asked for in less than fp32, the preparation has no graph, or no record may
            be compared.
        RateError: The preparation cannot be had from this rate.
    """
    library()
    _refuse_wanted(run, wanted)
    said = Predictions.load(run.predictions).mean_over_seeds()
    points = thresholds(run, said)
    windows = _windows(run)
    preparation = PREPARATIONS[windows.preparation]
    prepare = prepare_graph(preparation, wanted.rate)
    people = simulated(run, said) if people is None else people
    refuse_other_recordings(people, said, model, windows)
    held = held_out(people, said, model, windows, wanted, points)
    score = score_graph(model, (1, preparation.samples))
    calibration = np.zeros((0, 1, preparation.samples), np.float32)
    if wanted.precision == "int8":
        calibration = _calibration(people, said, windows, wanted)
    small, record = reduced(score, wanted.precision, held, model, calibration)
    told = {**facts(run, said, points, wanted), "kept_float32": record.get("kept_float32", [])}
    return deliver(Parts(prepare, small, told, record), held, model, out)


def told(folder: Path) -> list[str]:
    """What was measured of an export, in lines for people."""
    held = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("parity", "export", "cost")}
    parity, facts, costs = held.values()
    near = f"largest |Δ logit| {parity['dlogit']:.2g}"
    if parity["dp"] is not None:
        near += f", largest |Δ probability| {parity['dp']:.2g}, {parity['flips']} of {parity['decisions']} decisions "
        near += f"flipped, {parity['flips_near']} at the threshold"
    lines = [
        f"{facts['precision']} at {facts['rate']:g} Hz, {facts['origin']}",
        f"on {parity['records']} held-out records, {parity['windows']} windows: {near}",
        f"a window costs {costs['model']['macs'] / 1e6:.1f} M multiplications; "
        f"model.onnx has {costs['bytes']['model.onnx'] / 1e6:.2f} MB",
    ]
    if facts["kept_float32"]:
        lines.append(f"left in float32: {', '.join(facts['kept_float32'])}")
    return [*lines, str(folder)]


def _refuse_wanted(run: Run, wanted: Wanted) -> None:
    if wanted.records < 1:
        raise RecipeError(f"--records is 1 or more, for the answers are compared on them; got {wanted.records}")
    if not 0 < wanted.rate < math.inf:
        raise RateError(f"--rate is a positive number of Hz; got {wanted.rate:g}")
    if wanted.precision != "fp32" and _is_measured(run):
        raise RecipeError(f"{run.folder} measures its target, and is exported as fp32 only; got {wanted.precision}")


def thresholds(run: Run, said: Predictions) -> np.ndarray:
    """The run's operating points in logits, one a class, `(K,)`; NaN for none."""
    held = read_metadata(run.weights)
    points = [float(held["threshold"])] if "threshold" in held else thresholds_of(run)
    return np.array(points or [math.nan] * len(said.names))


def simulated(run: Run, said: Predictions) -> Cohort:
    """The simulated hospital that holds a run's patients.

    Raises:
        CohortError: The run was not made in a simulated hospital.
    """
    config = read_config(run)
    numbers = [int(name) for name in np.unique(said.subject) if name.isdecimal()]
    seeds = {number // PLACES - 1 for number in numbers}
    if config["origin"] != "synthetic" or len(seeds) != 1 or min(seeds) < 0:
        raise CohortError(f"{run.folder} was tested on a cohort, which the gate needs; give its folder after the run")
    return hospital(max(numbers) % PLACES, seed=seeds.pop(), world=SYSTEMS[config["system"]]())


def refuse_other_recordings(
    people: Cohort, said: Predictions, model: Ensemble, windows: LeadWindows, most: int = 10
) -> None:
    """See whether a cohort holds the recordings that a run was tested on.

    Args:
        people: The cohort.
        said: What the run kept, one row a record.
        model: Its networks.
        windows: How recordings are prepared.
        most: How many records are scored again.

    Raises:
        CohortError: None of the tested records is there, or they give other logits.
    """
    place, speak = _places(people), scorer(model.score)
    rows = [row for row in _tested_rows(said) if said.record[row] in place]
    if not rows:
        raise CohortError("none of the run's tested records is in this cohort; give the cohort it was tested on")
    for row in rows[:most]:
        x, _, weights = windows(people[place[said.record[row]]])
        again = mean_of_windows(speak(x), weights)
        far = float(np.abs(again - said.score[row]).max())
        if not far <= AGAIN * max(1.0, float(np.abs(said.score[row]).max())):
            raise CohortError(
                f"the cohort must hold the recordings that the run was tested on; record {said.record[row]} gives a "
                f"logit {far:.2g} from the one that was kept; give the folder of the cohort after that of the run"
            )


def held_out(
    people: Cohort, said: Predictions, model: Ensemble, windows: LeadWindows, wanted: Wanted, points: np.ndarray
) -> HeldOut:
    """Windows of tested records at the export's rate, and what Python says of them.

    Records without a complete window at that rate, or with missing samples in all, are left out.

    Args:
        people: The cohort.
        said: What the run kept, one row a record.
        model: Its networks.
        windows: How recordings are prepared.
        wanted: Rate, and how many records.
        points: Operating points, `(K,)`.

    Raises:
        CohortError: No tested record has such a window.
    """
    place = _places(people)
    rows = [row for row in _tested_rows(said) if said.record[row] in place]
    rows = np.random.default_rng(0).permutation(rows)[: wanted.records].tolist()
    cut = [(row, device_windows(people, place[said.record[row]], windows, wanted.rate)) for row in rows]
    cut = [(row, found) for row, found in cut if len(found.traces)]
    if not cut:
        raise CohortError(f"no tested record has a complete window at {wanted.rate:g} Hz; nothing can be compared")
    signals = np.concatenate([found.traces for _, found in cut])
    x = prepared(signals, windows, wanted.rate)
    owner = np.repeat(np.arange(len(cut)), [len(found.traces) for _, found in cut])
    weight = np.concatenate([found.quality for _, found in cut])
    truth = said.truth[[row for row, _ in cut]]
    return HeldOut(signals, x, scorer(model.score)(x), owner, truth, points, weight)


class Recorded(NamedTuple):
    """Usable windows of a record as a device would have them."""

    traces: np.ndarray  # (W, T) float32, mV
    quality: np.ndarray  # (W,) above 0 and up to 1


def device_windows(people: Cohort, row: int, windows: LeadWindows, rate: float) -> Recorded:
    """The complete, usable windows of a record at the rate of a device."""
    lead = windows.upright(people[row].pick(windows.lead))
    seconds = PREPARATIONS[windows.preparation].seconds
    samples, factor = round(seconds * rate), 1000.0 if lead.unit == "V" else 1.0
    found, quality = [], []
    for window in judge_windows(lead, seconds):
        part = lead.crop(window.start, window.stop)
        if window.ok and np.isfinite(part.values).all():
            trace = (part if part.rate == rate else resample(part, rate)).values[0] * factor
            if len(trace) >= samples:
                found.append(trace[:samples])
                quality.append(window.score)
    return Recorded(np.array(found, np.float32).reshape(-1, samples), np.array(quality))


def prepared(signals: np.ndarray, windows: LeadWindows, rate: float) -> np.ndarray:
    """Windows in mV `(W, T)` as Python prepares them, `(W, 1, samples)`."""
    apply = PREPARATIONS[windows.preparation].apply
    return np.stack([apply(Signal(trace[None], rate, (windows.lead,), "mV")) for trace in signals])


def facts(run: Run, said: Predictions, points: np.ndarray, wanted: Wanted) -> dict[str, Any]:
    """What a reader of the graphs must know, as JSON holds it."""
    config, measured = read_config(run), _is_measured(run)
    return {
        "system": config["system"],
        "version": __version__,
        "model": hashlib.sha256(run.weights.read_bytes()).hexdigest(),
        "origin": config["origin"],
        "target": config["recipe"].get("target") or ", ".join(said.names),
        "names": list(said.names),
        "measured": measured,
        **_read(_windows(run), wanted),
        "precision": wanted.precision,
        "threshold": _points(points, config["recipe"]["operate"]),
        "operating_points": [] if measured else _each(said, points, operating_points),
        "risk_groups": [] if measured else _each(said, points, risk_groups),
        "limits": LIMITS_IN_WORDS,
        "windows": "mean of the logits of complete windows, weighted by their quality",
    }


def operating_points(said: Predictions, point: float) -> list[dict[str, Any]]:
    """What flagging at the operating point did on every tested part with both kinds of records, with intervals."""
    found = []
    for split in [] if math.isnan(point) else tested(said):
        part = known(said, split)
        if has_both(part):
            at = operating(part, point)
            shares = {name: _interval(getattr(at, name)) for name in ("sensitivity", "specificity", "ppv", "npv")}
            rest = {"prevalence": at.prevalence.value, "trivial_npv": at.trivial_npv.value}
            found.append({"logit": point, "split": split, **shares, **rest, "origin": said.origin})
    return found


def risk_groups(said: Predictions, _point: float = math.nan) -> list[dict[str, Any]]:
    """Share of records with the event by group of the score, on the first tested part, with Wilson's interval.

    Groups are of equal size, five where there are records enough; intervals count subjects. The first reaches down
    and the last up without end (None).
    """
    splits = [split for split in tested(said) if len(known(said, split)) >= 2 * LEAST]
    if not splits:
        return []
    part = known(said, splits[0])
    score = part.score[:, 0]
    inner = np.unique(np.quantile(score, np.linspace(0, 1, min(GROUPS, len(part) // LEAST) + 1)[1:-1]))
    member = np.searchsorted(inner, score, side="right")
    ends = [None, *inner.tolist(), None]
    found = []
    for number in np.unique(member):
        risk = proportion(part.truth[member == number, 0] == 1, part.subject[member == number])
        told = {"from": ends[number], "to": ends[number + 1], "risk": risk.value, "low": risk.low, "high": risk.high}
        found.append({**told, "n": int((member == number).sum()), "split": splits[0]})
    return found


def _each(
    said: Predictions, points: np.ndarray, tell: Callable[[Predictions, float], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The same of every class, each with its name."""
    told = [tell(label(said, number), float(point)) for number, point in enumerate(points)]
    return [{"name": name, **item} for name, items in zip(said.names, told, strict=True) for item in items]


def _interval(estimate: Estimate) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in (estimate.value, estimate.low, estimate.high)]


def _read(windows: LeadWindows, wanted: Wanted) -> dict[str, Any]:
    """What the graphs read, and of whom."""
    preparation, words = PREPARATIONS[windows.preparation], {True: "answer", False: "abstain"}
    return {
        "lead": windows.lead,
        "rate": float(wanted.rate),
        "unit": "mV",
        "seconds": preparation.seconds,
        "prepare": preparation.name,
        "samples": preparation.samples,
        "prepared_rate": preparation.rate,
        "correct_polarity": windows.correct_polarity,
        "intended_use": {
            "age_min": ADULTS.youngest_age,
            "paced": words[ADULTS.paced],
            "dialysis": words[ADULTS.dialysis],
            "lead": windows.lead,
            "least_windows": ADULTS.least_windows,
        },
    }


def _points(points: np.ndarray, aim: dict[str, Any]) -> dict[str, Any]:
    """The operating point, or one of each class, and how it was chosen."""
    logits = [None if math.isnan(point) else float(point) for point in points]
    words = f"just reaches a {aim['operate_at']} of {aim['operate_level']:g} on the run's validation part"
    chosen = "none" if all(logit is None for logit in logits) else words
    return {"logit": logits[0] if len(logits) == 1 else logits, "chosen": chosen}


def _windows(run: Run) -> LeadWindows:
    held = read_config(run)["prepare"]
    return LeadWindows(held["lead"], held["preparation"], held["correct_polarity"])


def _is_measured(run: Run) -> bool:
    """Whether the run's target is measured: then its one threshold is NaN."""
    return read_metadata(run.weights).get("threshold") == "nan"


def _tested_rows(said: Predictions) -> list[int]:
    return np.flatnonzero(np.isin(said.split, tested(said))).tolist()


def _places(people: Cohort) -> dict[str, int]:
    return {record: row for row, record in enumerate(people.rows["id"].astype(str))}


def _calibration(people: Cohort, said: Predictions, windows: LeadWindows, wanted: Wanted) -> np.ndarray:
    """Prepared windows of validation records, of training records where there are none, `(W, 1, samples)`."""
    place = _places(people)
    signals = np.zeros((0, round(PREPARATIONS[windows.preparation].seconds * wanted.rate)), np.float32)
    for row in (*np.flatnonzero(said.split == "valid"), *np.flatnonzero(said.split == "train")):
        if said.record[row] in place and len(signals) < WINDOWS:
            found = device_windows(people, place[said.record[row]], windows, wanted.rate)
            signals = np.concatenate([signals, found.traces])
    if not len(signals):
        raise CohortError("scales of int8 are taken from validation records, and the cohort holds none; give it whole")
    return prepared(signals[:WINDOWS], windows, wanted.rate)
