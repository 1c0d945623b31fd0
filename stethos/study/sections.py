"""The sections of a validation report, each a function of the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from stethos.metrics.calibration import decision_curve, reliability
from stethos.metrics.compare import Difference, holm
from stethos.metrics.ranking import roc_curve
from stethos.report import card, picture
from stethos.report.bands import benefit_band, roc_band
from stethos.report.figure import spoken
from stethos.report.page import Block, Section
from stethos.report.table import Cell, Table
from stethos.report.words import decimal
from stethos.study.evidence import Evidence
from stethos.study.validate import at_point, known, operating, sigmoid, tested
from stethos.train.run import read_config
from stethos.train.weights import sha256
from stethos.types import Predictions, Run

BANDS = "Bands: pointwise 95 % intervals from resampled subjects."
WORDS = {"ppv": "PPV", "npv": "NPV", "npv_trivial": "NPV, trivial", "flagged": "share flagged"}
CONTROLS = {
    "vitals": "age, sex and heart rate (logistic, tuned on grouped inner folds)",
    "waves": "PR, QRS, QTc, rate and amplitudes by our own waves (logistic, tuned on grouped inner folds)",
    "untrained": "the same network at random, tuned linear probe on its features",
    "scratch": "the same network trained from random weights, same budget",
}


def title(run: Run) -> str:
    """System and target."""
    config = read_config(run)
    return f"{config['system'].replace('_', '-').title()}: {config['recipe'].get('target', '')}"


def summary(evidence: Evidence) -> str:
    """The result in one sentence, the comparison with every control in the next."""
    areas = "; ".join(f"{split} {spoken(evidence.numbers[f'{split}.auroc'])}" for split in evidence.splits)
    words = f"Area under the ROC curve: {areas}."
    return words + beaten_words(evidence.controls, evidence.against, evidence.splits)


def beaten_words(controls: Iterable[str], against: Mapping[str, Difference], splits: Sequence[str]) -> str:
    """One sentence a control: where the paired difference from it is above zero, and where it is not.

    Args:
        controls: Their names.
        against: "control.split" → difference, model minus control.
        splits: Tested parts.
    """
    words = ""
    for control in controls:
        found = {split: against.get(f"{control}.{split}") for split in splits}
        better = [split for split, item in found.items() if item and item.estimate.low > 0]
        rest = [split for split in splits if split not in better]
        words += f" Against {CONTROLS.get(control, control).split(' (')[0]} the paired difference is above zero "
        words += f"on {listed(better)}" if better else "nowhere"
        words += f", not on {listed(rest)}." if better and rest else "."
    return words


def listed(names: Sequence[str]) -> str:
    """Names in a row: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def population(evidence: Evidence) -> Section:
    """Cohort flow, who the records are from, and what was refused."""
    told = flow(evidence.run)
    return Section("Who was studied", [*told.blocks, _characteristics(evidence.said)])


def flow(run: Run) -> Section:
    """How many records came how far, and why the others did not."""
    told = json.loads((run.folder / "flow.json").read_text())
    steps = [(step["label"], step["records"], step["subjects"], step["lost"]) for step in told["flow"]]
    known = [place for place, step in enumerate(steps) if step[0].endswith((" known", "all records"))]
    split = 1 + max(known, default=0)  # then come the parts
    blocks: list[Block] = [picture.flow("Cohort flow", steps[:split], [step[:3] for step in steps[split:]])]
    lost = [f"Not in {label}: {words}." for label, _, _, words in steps[split:] if words]
    refused = [[reason, count] for reason, count in told["refused"].items()]
    table = [Table(("reason", "recordings"), refused, "Recordings refused before they were scored")] if refused else []
    return Section("Who was studied", [*blocks, *lost, *table])


def _characteristics(said: Predictions) -> Table:
    """Table 1: what is known of the subjects of each part."""
    there = said.split.tolist()
    parts = {split: said.part(split) for split in ("train", "valid", *tested(said)) if split in there}
    rows: list[list[Cell]] = [["records", *(len(part) for part in parts.values())]]
    rows.append(["subjects", *(len(np.unique(part.subject)) for part in parts.values())])
    rows.append(["with the event, %", *(100 * float(np.nanmean(part.truth)) for part in parts.values())])
    for name, column in said.facts.items():
        if name in ("windows", "windows_used"):
            continue
        if column.dtype.kind == "f":
            rows.append(_number_row(name, column, parts))
        elif name == "sex":
            rows.append(["female, %", *(100 * float(np.mean(part.facts[name] == "F")) for part in parts.values())])
    return Table(("", *parts), rows, "Characteristics of the records", "Mean, or percent of records for 0/1 columns.")


def _number_row(name: str, column: np.ndarray, parts: Mapping[str, Predictions]) -> list[Cell]:
    binary = bool(np.isin(column[np.isfinite(column)], (0, 1)).all())
    scale, label = (100, f"{name}, %") if binary else (1, f"{name}, mean")
    means = [part.facts[name][np.isfinite(part.facts[name])] for part in parts.values()]
    return [label, *(scale * float(values.mean()) if len(values) else None for values in means)]


def roc(evidence: Evidence) -> picture.Picture:
    """ROC curves of every tested part with bands and areas."""
    curves, bands, areas = {}, {}, {}
    for split in evidence.splits:
        part = known(evidence.said, split)
        found = roc_curve(part.truth[:, 0], part.score[:, 0])
        curves[split] = (found.fpr, found.tpr)
        bands[split] = roc_band(part.truth[:, 0], part.score[:, 0], part.subject)
        areas[split] = evidence.numbers[f"{split}.auroc"]
    return picture.roc("ROC curves", curves, bands, areas, BANDS)


def discrimination(evidence: Evidence) -> Section:
    """ROC curves, AUROC and average precision, and the paired differences from the controls."""
    told = {"auroc": "AUROC", "ap": "average precision", "prevalence": "prevalence"}
    told |= {"auroc.seed_sd": "SD over seeds (lowest to highest)"} if len(np.unique(evidence.each.seed)) > 1 else {}
    rows = [[split, *(evidence.numbers.get(f"{split}.{name}") for name in told)] for split in evidence.splits]
    columns = ("part", *told.values())
    note = "AUROC: clustered DeLong by subject; the chance level of average precision is the prevalence."
    return Section("Discrimination", [roc(evidence), Table(columns, rows, "Discrimination", note), _beaten(evidence)])


def _beaten(evidence: Evidence) -> Table:
    """AUROC of every control and the paired difference of the model from it."""
    corrected = holm(np.array([item.p for item in evidence.against.values()]))
    rows: list[list[Cell]] = []
    for (name, item), p in zip(evidence.against.items(), corrected, strict=True):
        control, split = name.split(".", 1)
        area = evidence.numbers[f"control.{control}.{split}.auroc"]
        rows.append([split, CONTROLS.get(control, control), area, item.estimate, float(item.p), float(p)])
    columns = ("part", "control", "its AUROC", "model minus control", "p", "p, Holm")
    note = "Paired on the same records, clustered by subject; the prevalence alone ranks nobody: its AUROC is 0.5."
    return Table(columns, rows, "Controls", note)


def operating_point(evidence: Evidence) -> Section:
    """The operating point with everything that an NPV must not be read without."""
    points = {split: operating(known(evidence.said, split), evidence.threshold) for split in evidence.splits}
    columns = [at_point(point) | {"LR+": point.lr_positive, "LR−": point.lr_negative} for point in points.values()]
    rows: list[list[Cell]] = [[WORDS.get(name, name), *(column[name] for column in columns)] for name in columns[0]]
    for name in ("tp", "fp", "tn", "fn"):
        rows.append([f"{name.upper()}, records", *(getattr(point, name) for point in points.values())])
    aim = f"{evidence.operate.operate_at} {evidence.operate.operate_level:g}"
    note = (
        f"Threshold {decimal(evidence.threshold, 3)} (logit), chosen on the validation part for {aim}. NPV, trivial: "
        f"what calling everybody negative gives. n: subjects in the denominator."
    )
    pictures = [_scores(evidence, split) for split in evidence.splits[:1]]
    return Section("Operating point", [Table(("", *points), rows, "Operating point", note), *pictures])


def _scores(evidence: Evidence, split: str) -> picture.Picture:
    part = known(evidence.said, split)
    return picture.scores(f"Scores, {split}", part.score[:, 0], part.truth[:, 0], evidence.threshold)


def calibration(evidence: Evidence) -> Section:
    """Observed against predicted risk, as it is and after recalibration on the validation part."""
    bins, risks = {}, {}
    rows: list[list[Cell]] = []
    for split in evidence.splits:
        part = known(evidence.said, split)
        risks[split] = sigmoid(part.score[:, 0])
        bins[split] = reliability(part.truth[:, 0], risks[split], part.subject)
        kinds = {"calibration": split} | ({"recalibrated": f"{split}, recalibrated"} if evidence.again else {})
        for kind, label in kinds.items():
            names = (f"{split}.{kind}.{name}" for name in ("slope", "intercept", "ece", "brier"))
            rows.append([label, *(evidence.numbers.get(name) for name in names)])
    columns = ("part", "slope", "intercept", "ECE", "Brier score")
    fitted = "Recalibrated: slope and intercept fitted on the validation part, the tested parts untouched."
    note = fitted if evidence.again else "Not recalibrated: no slope can be fitted on the validation part."
    note += " ECE: above 0 even for a calibrated model, whose interval then reaches 0."
    figure = picture.calibration("Calibration", bins, risks)
    return Section("Calibration", [figure, Table(columns, rows, "Calibration", note)])


def usefulness(evidence: Evidence) -> Section:
    """Decision curves: is acting on the model better than acting on everybody or nobody?"""
    versions = {"model": evidence.said} | ({"recalibrated": evidence.again} if evidence.again else {})
    pictures = []
    for split in evidence.splits:
        thresholds = np.linspace(0.01, 0.99, 50) * min(1.0, 4 * float(known(evidence.said, split).truth.mean()))
        curves, bands, everyone = {}, {}, np.zeros(0)
        for name, said in versions.items():
            part = known(said, split)
            truth, risk = part.truth[:, 0], sigmoid(part.score[:, 0])
            found = decision_curve(truth, risk, thresholds)
            curves[name], everyone = found.model, found.everyone
            bands[name] = benefit_band(truth, risk, part.subject, thresholds)
        pictures.append(picture.decision(f"Decision curve, {split}", thresholds, curves, everyone, bands, BANDS))
    return Section("Usefulness", pictures)


def training(run: Run) -> Section:
    """Loss and validation over the steps, one line a network."""
    rows = [json.loads(line) for line in run.log.read_text().splitlines()]
    losses: dict[str, list[tuple[float, float]]] = {}
    watched: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        name = str(row.get("stage") or "network")
        if "loss" in row:
            losses.setdefault(name, []).append((row["step"], row["loss"]))
        if "valid.monitor" in row:
            watched.setdefault(name, []).append((row["step"], row["valid.monitor"]))
    note = "Right: minus the validation error (log loss, or squared error); the step of its maximum is kept."
    return Section("Training", [picture.training("Training", _curves(losses), _curves(watched), note)])


def _curves(held: Mapping[str, list[tuple[float, float]]], most: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Points as steps and values; of more than a few networks, their mean at every step."""
    if len(held) > most:
        points = [point for part in held.values() for point in part]
        held = {f"mean of {len(held)} networks": sorted((step, value) for step, value in points)}
    found = {}
    for name, points in held.items():
        step, member = np.unique([point[0] for point in points], return_inverse=True)
        value = np.array([point[1] for point in points])
        found[name] = (step, np.bincount(member, value) / np.bincount(member))
    return found


def model_hash(run: Run) -> str:
    """Short name of the weights; "none" where a run keeps none."""
    return sha256(run.weights) if run.weights.is_file() else "none"


def statements(evidence: Evidence) -> dict[str, card.Entry]:
    """Statements of the model card."""
    config = read_config(evidence.run)
    headline = {name: evidence.numbers[name] for split in evidence.splits
                for name in (f"{split}.auroc", f"{split}.npv", f"{split}.npv_trivial")}  # fmt: skip
    return {
        "what": f"{title(evidence.run)}, from lead {config['recipe'].get('lead', '')}, prepared by "
        f"{config['recipe'].get('prepare', '')}.",
        "use": "Research on recordings like those it was trained on, by people who check every answer.",
        "outside": "Deciding that no action is needed; children; paced rhythms; leads or devices not trained on.",
        "data": f"{len(evidence.said):,} scored records of {len(np.unique(evidence.said.subject)):,} subjects.",
        "terms": config["terms"] or "Not stated by the cohort; ask its owner before sharing.",
        "results": headline,
        "limits": [
            "Numbers hold for records like the tested ones.",
            f"{(evidence.said.split == 'valid').sum()} validation records chose the operating point and the weights.",
        ],
        "reproduce": f"stethos {config['system'].replace('_', '-')} train --config config.json --cohort DIR --out DIR",
        "hashes": {
            "model.safetensors": model_hash(evidence.run),
            "records": str(config["prepare"].get("cohort", "")),
        },
    }
