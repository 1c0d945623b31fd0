"""A finished run told to people: metrics.json, the model card, and report.html."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from stethos.errors import FormatError, RunError
from stethos.io.files import write_atomic
from stethos.metrics.ranking import roc_curve
from stethos.report import card, picture
from stethos.report.bands import roc_band
from stethos.report.figure import spoken
from stethos.report.page import Page, Section, Tile
from stethos.report.svg import inline
from stethos.report.table import Table
from stethos.study import clinical, sections
from stethos.study.evidence import Evidence, gather, seed_spread
from stethos.study.lost import against_teacher
from stethos.study.partition import Step
from stethos.study.validate import Operate, area, difference, known, measured, tested, validate_graded
from stethos.train.run import read_config, write_card, write_metrics
from stethos.types import Origin, Predictions, Run


def write_flow(run: Run, flow: Sequence[Step], refused: Sequence[tuple[str, str]]) -> None:
    """Keep the cohort flow and why recordings were refused; the list by record stays private."""
    reasons = Counter(reason.split(": ", 1)[-1] for _, reason in refused)
    told = {"flow": [asdict(step) for step in flow], "refused": dict(reasons.most_common())}
    write_atomic(run.folder / "flow.json", (json.dumps(told, indent=2) + "\n").encode())
    lines = "".join(f"{record},{json.dumps(reason)}\n" for record, reason in refused)
    write_atomic(run.private / "refused.csv", f"record,reason\n{lines}".encode())


def publish(run: Run, operate: Operate, show_examples: bool = False, statements: Path | None = None) -> None:
    """Write metrics.json, README.md and report.html of a run from its predictions, and count that it was done.

    Args:
        run: A finished run.
        operate: How the operating point is chosen.
        show_examples: Print recordings of people as examples; simulated ones are always printed.
        statements: JSON file of TRIPOD+AI items and what the authors say to them.

    Raises:
        RunError: The run holds no predictions.
    """
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions; finish its training first")
    each = Predictions.load(run.predictions)
    said = each.mean_over_seeds()
    if not tested(said):
        raise RunError(f"{run.folder} was tested on nobody; give --external NAME=DIR, or train with a test part")
    valid = known(said, "valid")
    if len(valid) and not np.isin(valid.truth, (0, 1)).all():
        publish_graded(run, said)
        return
    evidence = gather(run, said, each, operate)
    write_metrics(run, evidence.numbers, said.origin)
    write_metrics(run, clinical.wave_numbers(run), said.origin)
    lost, told = against_teacher(run, said)
    write_metrics(run, lost, said.origin)
    more = clinical.sections(evidence, show_examples, read_statements(statements))
    page(evidence, [*told, *more], count_evaluation(run)).write(run.report)
    _write_picture(run, sections.roc(evidence), said.origin)
    write_card(run, card.markdown(sections.title(run), said.origin, sections.statements(evidence)))


def _write_picture(run: Run, shown: picture.Picture, origin: Origin) -> None:
    """The ROC curves as a file of their own, with the origin written into it."""
    mark = "" if origin == "real" else origin
    drawing = inline(shown.drawing, "roc", shown.title, shown.alt, mark)
    write_atomic(run.folder / "roc.svg", drawing.replace("<svg", '<svg font-family="sans-serif"', 1).encode())


def count_evaluation(run: Run) -> int:
    """How many times the tested parts of a run have been looked at, this time included; logged and reported."""
    path = run.folder / "evaluations.json"
    count = 1 + (json.loads(path.read_text())["count"] if path.is_file() else 0)
    write_atomic(path, json.dumps({"count": count}).encode())
    logging.getLogger("stethos").warning("evaluation number %d of the tested parts of %s", count, run.folder)
    return count


def read_statements(path: Path | None) -> dict[str, str]:
    """TRIPOD+AI items and statements from a JSON file.

    Raises:
        FormatError: It is not an object of texts.
    """
    if path is None:
        return {}
    try:
        held = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} must be a JSON object of TRIPOD+AI items and statements: {error}") from error
    if not isinstance(held, dict) or not all(isinstance(item, str) for item in held.values()):
        raise FormatError(f'{path} must be a JSON object of texts, such as {{"3a": "…"}}')
    return held


def page(evidence: Evidence, more: Sequence[Section], evaluations: int) -> Page:
    """The report of a binary target."""
    config = read_config(evidence.run)
    tiles = [Tile(f"AUROC, {split}", evidence.numbers[f"{split}.auroc"]) for split in evidence.splits]
    for split in evidence.splits[-1:]:
        trivial = evidence.numbers[f"{split}.npv_trivial"].value
        remark = f"at a prevalence of {1 - trivial:.1%}, where calling everybody negative gives {trivial:.3f}"
        tiles.append(Tile(f"NPV, {split}", evidence.numbers[f"{split}.npv"], remark))
    told = [
        sections.population(evidence),
        sections.discrimination(evidence),
        sections.operating_point(evidence),
        sections.calibration(evidence),
        sections.usefulness(evidence),
        *more,
        sections.training(evidence.run),
        card.section(evidence.said.origin, sections.statements(evidence)),
    ]
    facts = {
        "version": config["version"],
        "model": sections.model_hash(evidence.run),
        "evaluations of the tested parts": str(evaluations),
    }
    return Page(sections.title(evidence.run), evidence.said.origin, sections.summary(evidence), tiles, told, facts)


def publish_graded(run: Run, said: Predictions) -> None:
    """The same for a measured target: errors, correlation, and the error of always saying the mean."""
    lost, told = against_teacher(run, said)
    numbers = validate_graded(said)
    write_metrics(run, numbers | lost, said.origin)
    rows = [(name, value) for name, value in numbers.items()]
    table = Table(("measure", "value"), rows, "Agreement with the measured value")
    tiles = [Tile(f"Mean absolute error, {split}", numbers[f"{split}.mae"]) for split in tested(said)]
    lead = "Intervals resample subjects. The error of always saying the training mean stands beside."
    shown = [Section("Agreement", [table]), *told, sections.training(run)]
    Page(sections.title(run), said.origin, lead, tiles, shown).write(run.report)
    entries: dict[str, card.Entry] = {
        "what": sections.title(run),
        "terms": read_config(run)["terms"],
        "results": numbers,
    }
    write_card(run, card.markdown(sections.title(run), said.origin, entries))


def publish_folds(run: Run) -> None:
    """Pooled and per-fold numbers of a cross-validation, with its controls, and its teacher, beside them."""
    each = Predictions.load(run.predictions)
    said = each.mean_over_seeds()
    numbers = {"pooled.auroc": area(said)}
    for path in sorted(run.private.glob("control-*.npz")):
        rival, name = Predictions.load(path).mean_over_seeds(), path.stem.removeprefix("control-")
        against = difference(said, rival)
        numbers[f"control.{name}.pooled.auroc"] = area(rival)
        numbers[f"difference.{name}.pooled.auroc"] = against.estimate
    numbers |= {f"{split}.auroc": measured(partial(area, known(said, split)), said) for split in tested(said)}
    numbers |= clinical.wave_numbers(run)
    numbers |= {f"{split}.auroc.seed_sd": spread for split, spread in seed_spread(each).items()}
    lost, taught = against_teacher(run, said)
    write_metrics(run, numbers | lost, said.origin)
    curve = roc_curve(said.truth[:, 0], said.score[:, 0])
    band = {"pooled": roc_band(said.truth[:, 0], said.score[:, 0], said.subject)}
    drawn, areas = {"pooled": (curve.fpr, curve.tpr)}, {"pooled": numbers["pooled.auroc"]}
    figure = picture.roc("ROC curve over all folds", drawn, band, areas, sections.BANDS)
    note = f"Difference: model minus control on the same records; from the untrained one p = {against.p:.3g}."
    table = Table(("measure", "value"), list(numbers.items()), "Every fold", note)
    lead = f"Every record tested once. Pooled area under the ROC curve {spoken(numbers['pooled.auroc'])}."
    names = ("pooled.auroc", "control.untrained.pooled.auroc", "difference.untrained.pooled.auroc")
    tiles = [
        Tile(label, numbers[name]) for label, name in zip(("AUROC", "Untrained", "Difference"), names, strict=True)
    ]
    told = [sections.flow(run), Section("Discrimination", [figure, table]), *taught]
    told += [section for section in (clinical.waves_section(run, False),) if section] + [sections.training(run)]
    Page(sections.title(run), said.origin, lead, tiles, told).write(run.report)
    entries: dict[str, card.Entry] = {"terms": read_config(run)["terms"], "results": numbers}
    write_card(run, card.markdown(sections.title(run), said.origin, {"what": sections.title(run), **entries}))
