"""Generated hearts told to people: metrics.json, the model card, and a page whose hearts beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stethos.metrics.continuous import limits_of_agreement
from stethos.report import card
from stethos.report.agreement import agreement_picture
from stethos.report.figure import spoken
from stethos.report.film import Film, film_table
from stethos.report.heart import area_curves, swap_figure
from stethos.report.mark import burnt_in
from stethos.report.page import Block, Page, Section, Tile
from stethos.report.table import Cell, Table
from stethos.study import sections
from stethos.study.heart_judge import Judged
from stethos.study.heart_numbers import HeartTable, numbers_of
from stethos.study.partition import Step
from stethos.study.publish import count_evaluation, write_flow
from stethos.train.run import read_config, write_card, write_metrics
from stethos.types import Estimate, Origin, Run

ROWS = {
    "real": "the patient's own cine",
    "autoencoder": "its reconstruction",
    "mean16": "mean of the generated hearts",
    "single": "one generated heart",
    "shuffled": "mean of hearts from another patient's ECG",
    "unconditional": "one heart from no ECG",
    "nearest": "cine of the training patient with the most similar ECG",
    "regressor": "a regression from the ECG",
}
HOW = (
    "Every row measures the same patients. Intervals draw patients, 95 %. One heart that was drawn without error would "
    "correlate as the square of what a regression from the ECG reaches, for its noise is a patient's own; the mean of "
    "many approaches the regression."
)
LIKE = (
    "Distances are between features of the network that outlines hearts, mean and spread over the frames; they are no "
    "FID or FVD, and see neither whose heart it is nor whether the ECG was heard. The floor is what two halves of the "
    "real hearts give."
)


@dataclass(frozen=True, eq=False)
class Shown:
    """Hearts to look at; none of them says whose it is.

    Args:
        films: Row → `(P, F, H, W)`.
        fractions: Ejection fraction of each patient's real cine, %, `(P,)`.
        interval: Seconds from frame to frame.
        curve: Area of the left ventricle, real, mm², `(P, F)`.
        curves: Of S generated hearts, `(P, S, F)`.
        swapped: Three noises under the ECGs of P patients, `(3 P, F, H, W)`.
        swapped_judged: What these measure.
    """

    films: Mapping[str, np.ndarray]
    fractions: np.ndarray
    interval: float
    curve: np.ndarray
    curves: np.ndarray
    swapped: np.ndarray
    swapped_judged: Judged


def publish_hearts(
    run: Run, table: HeartTable, shown: Shown, flow: Sequence[Step], refused: Sequence[tuple[str, str]]
) -> None:
    """Write metrics.json, README.md and report.html, and count that the tested part was looked at.

    Args:
        run: Of which generator.
        table: Everything measured.
        shown: Hearts to look at.
        flow: Who was studied.
        refused: Records that were not, and why.
    """
    numbers, config = numbers_of(table), read_config(run)
    origin: Origin = config["origin"]
    write_flow(run, flow, refused)
    write_metrics(run, numbers, origin)
    looks = count_evaluation(run)
    facts = {
        "version": config["version"],
        "model": sections.model_hash(run),
        "evaluations of the tested parts": str(looks),
    }
    told = [
        Section("Hearts", _films(shown, origin)),
        Section("Ejection fraction", [_fractions(numbers), HOW, _agreement(table)]),
        Section("How sure, how timed, how periodic", [_calibration(numbers)]),
        Section("Areas over a beat", [_areas(shown)]),
        Section("The same noise under other ECGs", [_swap(shown)]),
        Section("Other measures", [_others(numbers)]),
        Section("Likeness and privacy", [_likeness(numbers), LIKE]),
        Section("Who was studied", sections.flow(run).blocks),
        card.section(origin, _statements(run, table, numbers)),
    ]
    Page(_title(run), origin, _summary(numbers, table), _tiles(numbers), told, facts).write(run.report)
    write_card(run, card.markdown(_title(run), origin, _statements(run, table, numbers)))


def _title(run: Run) -> str:
    return f"ecgflow-cmr: {run.folder.name}"


def _films(shown: Shown, origin: Origin) -> list[Block]:
    marks = {"generated": "GENERATED", "shuffled ECG": "GENERATED"}
    rows = {
        name: [burnt_in(np.clip(cine, 0, 1), marks[name]) if name in marks else np.clip(cine, 0, 1) for cine in cines]
        for name, cines in shown.films.items()
    }
    columns = [f"EF {fraction:.0f} %" for fraction in shown.fractions]
    html = film_table(rows, columns, shown.interval, "Beating hearts, a column a patient")
    caption = (
        f"A column is one tested patient, with the ejection fraction of the {origin} cine. The last row has the noise "
        "of the row above it and the ECG of the patient on the left."
    )
    return [Film("Real, reconstructed and generated hearts", html, caption)]


def _fractions(numbers: Mapping[str, Estimate]) -> Table:
    rows: list[list[Cell]] = []
    for name, words in ROWS.items():
        key = "autoencoder.ef" if name == "autoencoder" else f"ef.{name}"
        rows.append([words, numbers.get(f"{key}.r"), numbers.get(f"{key}.mae")])
    rows.append(
        ["mean of the generated hearts, minus that of another's ECG", numbers["ef.mean16.minus_shuffled.r"], None]
    )
    rows.append(
        ["what one error-free draw would reach: the regression's r, squared", numbers["ef.regressor.r_squared"], None]
    )
    return Table(("ejection fraction from", "r with the true one", "mean absolute error, %"), rows, "Ejection fraction")


def _calibration(numbers: Mapping[str, Estimate]) -> Table:
    names = {
        "ef.coverage80": "share of true fractions inside the draws' 80 % interval",
        "ef.dispersion_ratio": "spread of one generated fraction a patient over that of the true ones",
        "ef.crps": "continuous ranked probability score, % (0 is best)",
        "es_phase.r": "correlation of end systole with heart rate, generated",
        "es_phase.autoencoder.r": "the same, reconstructed",
        "es_phase.real.r": "the same, real",
        "closure_ratio": "step from the last frame to the first relative to others, generated over real",
    }
    rows: list[list[Cell]] = [[words, numbers[name]] for name, words in names.items()]
    return Table(("measure", "value"), rows, "Calibration and motion")


def _others(numbers: Mapping[str, Estimate]) -> Table:
    names = {
        "fac": "fractional area change",
        "ed_area": "end-diastolic area",
        "es_area": "end-systolic area",
        "myocardium": "muscle's area",
        "rv_ed_area": "right ventricle's area",
        "rv_fac": "right fractional area change",
    }
    rows: list[list[Cell]] = [
        [words, numbers.get(f"{name}.mean16.r"), numbers.get(f"{name}.dispersion_ratio")]
        for name, words in names.items()
        if f"{name}.mean16.r" in numbers
    ]
    note = "Against what the judge measures on the real cine."
    return Table(("measure", "r of the mean draw", "spread of a draw over real"), rows, "Other measures", note)


def _likeness(numbers: Mapping[str, Estimate]) -> Table:
    names = {
        "fd_judge": "Fréchet distance on the judge's features",
        "fd_judge.floor": "its floor",
        "kd_judge": "kernel distance on the judge's features, × 1000",
        "kd_judge.floor": "its floor",
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "coverage": "coverage",
        "nearest_ratio": "distance to the nearest training heart, generated over other people's (below 1: remembered)",
        "membership_auc": "AUROC of telling training patients by generated hearts (0.5: not at all)",
    }
    shown = {name: _thousandfold(numbers[name]) if name.startswith("kd_") else numbers[name] for name in names}
    return Table(("measure", "value"), [[names[name], shown[name]] for name in names], "Likeness and privacy")


def _thousandfold(number: Estimate) -> Estimate:
    """A small distance in a unit that can be read."""
    return replace(number, value=1000 * number.value, low=1000 * number.low, high=1000 * number.high)


def _agreement(table: HeartTable) -> Block:
    said = table.drawn["ef"].mean(axis=1)
    known = np.isfinite(table.ef) & np.isfinite(said)
    found = limits_of_agreement(table.ef[known], said[known], table.subject[known])
    limits = (found.bias, found.lower, found.upper)
    caption = "Mean of the generated hearts of each tested patient against the true fraction."
    return agreement_picture("Ejection fraction", table.ef[known], said[known], limits, "%", caption)


def _areas(shown: Shown) -> Block:
    names = [f"EF {fraction:.0f} %" for fraction in shown.fractions]
    names = [f"{name}, {place + 1}" for place, name in enumerate(names)]
    real = dict(zip(names, shown.curve, strict=True))
    return area_curves("Area of the left ventricle", real, dict(zip(names, shown.curves, strict=True)))


def _swap(shown: Shown) -> Block:
    count = len(shown.fractions)
    high = len(shown.swapped) // count
    cines = [[np.clip(shown.swapped[row * count + at], 0, 1) for at in range(count)] for row in range(high)]
    frames = shown.swapped.shape[1]
    fractions = shown.swapped_judged.phenotypes["ef"].reshape(high, count)
    phases = np.nan_to_num(shown.swapped_judged.phenotypes["es_phase"])
    systole = np.rint(phases * frames).astype(int).reshape(high, count) % frames
    columns = [f"ECG of EF {fraction:.0f} %" for fraction in shown.fractions]
    caption = (
        "Along a row the noise is the same: position and brightness should stay, and what the ECG tells should change."
    )
    return swap_figure("Anatomy swap", cines, fractions, systole, columns, caption)


def _tiles(numbers: Mapping[str, Estimate]) -> list[Tile]:
    return [
        Tile(
            "r of EF, mean of draws",
            numbers["ef.mean16.r"],
            f"regression from the ECG: {spoken(numbers['ef.regressor.r'])}",
        ),
        Tile("r of EF, another's ECG", numbers["ef.shuffled.r"], "0 if the ECG is what is heard"),
        Tile("80 % intervals hold", numbers["ef.coverage80"], "of true fractions"),
        Tile("spread of EF", numbers["ef.dispersion_ratio"], "generated over real"),
    ]


def _summary(numbers: Mapping[str, Estimate], table: HeartTable) -> str:
    own, ceiling = numbers["ef.mean16.r"], numbers["ef.regressor.r"]
    return (
        f"Hearts were generated from the ECGs of {len(table.id)} tested patients. The mean ejection fraction of "
        f"{table.drawn['ef'].shape[1]} hearts a patient correlates with the true one at {own.value:.2f}; a regression "
        f"from the ECG at {ceiling.value:.2f}. A generated heart is not the patient's: it is one that the ECG allows."
    )


def _statements(run: Run, table: HeartTable, numbers: Mapping[str, Estimate]) -> dict[str, card.Entry]:
    return {
        "what": "A generator of cine cardiac MR from a twelve-lead ECG.",
        "use": "Generated hearts serve research: augmentation, teaching, method development. They diagnose nobody.",
        "outside": "Diagnosis, treatment, or any statement about the person whose ECG it was.",
        "data": f"Truth of the ejection fraction: {table.truth_from}.",
        "terms": read_config(run)["terms"] or "None stated.",
        "results": {
            name: numbers[name] for name in ("ef.mean16.r", "ef.regressor.r", "ef.shuffled.r", "ef.coverage80")
        },
        "limits": "One slice or one long axis; areas, not volumes; hearts of the training patients' kinds alone.",
        "reproduce": "stethos ecgflow-cmr train --config config.json on the same cohort, then evaluate.",
        "hashes": sections.model_hash(run),
    }
