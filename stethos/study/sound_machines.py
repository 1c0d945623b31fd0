"""The sections of a report on anomalous sound that take machines and identities one by one."""

from __future__ import annotations

from collections.abc import Iterator

from stethos.metrics.dcase import CurveScore, Evaluation
from stethos.metrics.ranking import roc_curve
from stethos.report import picture, sound_picture
from stethos.report.bands import roc_band
from stethos.report.page import Section
from stethos.report.table import Table
from stethos.study.sound_evidence import Detection, SoundEvidence
from stethos.study.sound_names import SCORES, figures, systems
from stethos.types import Estimate

DOMAINS = {
    2020: "",
    2021: "AUC of a domain: its own normals and its own anomalies.",
    2022: "AUC of a domain: its own normals against all anomalies of the identity.",
}


def machines(evidence: SoundEvidence, found: Detection) -> Section:
    """Every machine and every identity by itself, and the model beside the baselines."""
    every = systems(found)
    forest = {
        machine: {system: item.per_machine[machine]["auc_2020"] for system, item in every.items()}
        for machine, row in found.model.per_machine.items()
        if "auc_2020" in row
    }
    rules = (f"official_{evidence.rule}", "auc_2020", "pauc_2020", "pooled_auc", "mauc")
    rows = [[machine, *(row.get(rule) for rule in rules)] for machine, row in found.model.per_machine.items()]
    columns = ("machine", *(label for label in SCORES.values() if label != "pooled pAUC"))
    return Section(
        "Machines",
        [
            *_curves(found),
            sound_picture.machines("Model and baselines", forest, "AUC", 0.5, "Mean AUC over a machine's identities."),
            Table(columns, rows, "The model on every machine"),
            _identities(evidence.rule, found.model),
        ],
    )


def _curves(found: Detection) -> Iterator[picture.Picture]:
    """ROC curves, a few machines a figure."""
    names = [machine for machine, row in found.model.per_machine.items() if "pooled_auc" in row]
    for title, part in figures("ROC curves, identities pooled", names):
        curves, bands, areas = {}, {}, {}
        for machine in part:
            here = found.clips.machine == machine
            truth, score = found.clips.truth[here], found.scores["model"][here]
            curve = roc_curve(truth, score)
            assert found.clips.subject is not None
            curves[machine], bands[machine] = (curve.fpr, curve.tpr), roc_band(truth, score, found.clips.subject[here])
            areas[machine] = found.model.per_machine[machine]["pooled_auc"]
        yield picture.roc(title, curves, bands, areas, "Bands: pointwise 95 % intervals from resampled recordings.")


def _identities(rule: int, model: Evaluation) -> Table:
    """Areas of every identity, as the official score takes them."""
    kinds = {"pAUC": ("section", "")}
    if rule == 2020:
        kinds = {"AUC": ("section", ""), **kinds}
    else:
        kind = "domain" if rule == 2021 else "against_all"
        kinds = {"AUC, source": (kind, "source"), "AUC, target": (kind, "target"), **kinds}
    held: dict[str, dict[tuple[str, str], CurveScore]] = {}
    for row in model.curves:
        name = "/".join(part for part in (row.curve.machine, row.curve.section) if part)
        held.setdefault(name, {})[row.curve.kind, row.curve.domain] = row
    rows = [
        [name, *(_area(curves.get(kind), label) for label, kind in kinds.items())]
        for name, curves in held.items()
        if ("section", "") in curves
    ]
    return Table(("identity", *kinds), rows, "The model on every identity", DOMAINS[rule])


def _area(row: CurveScore | None, label: str) -> Estimate | None:
    if row is None:
        return None
    return row.pauc if label == "pAUC" else row.auc
