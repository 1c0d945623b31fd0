"""Lead I with the reports that cardiologists wrote about it, mostly in German: what prompts and few labels make of it.

PTB-XL's report texts stand in for echo reports: they speak of the same trace and not of another examination, so this
says how the method copes with real texts and few recordings, and nothing about the heart's structure. Labels are the
five diagnostic superclasses, which came from the reports; the text of tested recordings is never read.

Published folds are taken in four pairs. Each pair is tested by networks that never met its patients, and what they say
is pooled. Recipe, prompts, towers and shares were fixed before any number was seen.

    python -m benchmarks.real.ptbxl_reports PTBXL_FOLDER OUT
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from stethos.data.cohort import open_cohort
from stethos.data.importers import import_ptbxl
from stethos.metrics.interval import clustered_auroc
from stethos.metrics.macro import macro_auroc, macro_over_fits, paired_macro
from stethos.report.words import spoken
from stethos.study.folds import quarters
from stethos.study.lead import joined
from stethos.study.partition import Partition
from stethos.study.several_evidence import read_zero_shot
from stethos.systems import anyecg_echo
from stethos.systems.anyecg_echo import Recipe, tiny
from stethos.types import Cohort, Predictions, Run

LABELS = ("NORM", "MI", "STTC", "CD", "HYP")
PROMPTS = {
    "NORM": (("normales ekg", "sinusrhythmus normales ekg", "normal ecg"), ("pathologisches ekg", "abnormal ecg")),
    "MI": (
        ("myokardinfarkt", "vorderwandinfarkt", "inferiorer myokardschaden", "myocardial infarction"),
        ("kein infarkt", "normales ekg", "normal ecg"),
    ),
    "STTC": (
        ("t abnormal", "st strecken senkung", "unspezifisch abnormales t", "non-specific st-t changes"),
        ("normales ekg", "normal ecg"),
    ),
    "CD": (
        ("linksschenkelblock", "rechtsschenkelblock", "av-block", "linksanteriorer hemiblock", "bundle branch block"),
        ("normales ekg", "normal ecg"),
    ),
    "HYP": (
        ("linksventrikulaere hypertrophie", "hypertrophie", "voltage criteria hypertrophy"),
        ("normales ekg", "normal ecg"),
    ),
}
TOWERS = ("bag", "minilm")
SHARE = 0.1


def recipe(folder: Path, text: str, site: str) -> Recipe:
    """`tiny()` with a third of its steps, for a twentieth of the recordings."""
    asked = folder / "prompts.json"
    if not asked.is_file():
        asked.write_text(json.dumps({name: {"present": yes, "absent": no} for name, (yes, no) in PROMPTS.items()}))
    schedule = replace(tiny().schedule, steps=200, batch=96, validate_every=50)
    parts = Partition(held_out_sites=(site,), valid_fraction=0.15, test_fraction=0.0)
    asked_of = {"labels": LABELS, "prompts": str(asked), "label_fractions": (SHARE,), "label_draws": 3}
    return replace(tiny(), text=text, parts=parts, schedule=schedule, **asked_of)  # type: ignore[arg-type]


def by_quarter(people: Cohort) -> Cohort:
    """The quarter of the published folds as the site, so that it can be held out."""
    fold = quarters(people, 4, "strat_fold")
    return people.with_columns(site=np.array([f"quarter-{number}" for number in fold], dtype=object))


def study(people: Cohort, folder: Path, text: str, quarter: int) -> Run:
    """Pretrain, ask by prompts and train on three quarters; test on the fourth."""
    own, place = recipe(folder, text, f"quarter-{quarter}"), folder / f"{text}-{quarter}"
    before = anyecg_echo._pretrain(people, place / "pretrained", own, 2)
    anyecg_echo._zero_shot(before, people, "", 2)
    return anyecg_echo._train(people, place, replace(own, start=str(before.folder)), 2)


def pooled(runs: list[Run], file: str) -> Predictions:
    """What the networks of every quarter said of it, one below the other."""
    held = [Predictions.load(run.private / f"{file}.npz") for run in runs]
    return joined([item.take(item.split == "external") for item in held])


def told(name: str, said: Predictions) -> list[str]:
    """Macro AUROC and that of every label."""
    said = said.mean_over_seeds()
    lines = [f"{name:34} macro {spoken(macro_auroc(said.truth, said.score, said.subject))}"]
    for number, label in enumerate(said.names):
        lines.append(
            f"{'':34} {label:5} {spoken(clustered_auroc(said.truth[:, number], said.score[:, number], said.subject))}"
        )
    return lines


def compare(one: Predictions, other: Predictions) -> str:
    """Macro AUROC of the first minus that of the second, over subjects and, where several, draws."""
    truth, first, subject = stacked(one)
    return spoken(paired_macro(truth, first, stacked(other)[1], subject).estimate)


def stacked(said: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, scores of every seed and subjects, in the order of the records."""
    parts = [said.take(said.seed == seed) for seed in np.unique(said.seed)]
    parts = [part.take(np.argsort(part.record)) for part in parts]
    kept = np.isfinite(parts[0].truth).any(axis=0)
    return parts[0].truth[:, kept], np.stack([part.score[:, kept] for part in parts]), parts[0].subject


def main(source: Path, folder: Path) -> None:
    """Print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    import_ptbxl(source, folder / "cohort")
    people = by_quarter(open_cohort(folder / "cohort"))
    for text in TOWERS:
        runs = [study(people, folder, text, quarter) for quarter in range(4)]
        zero = joined(
            [
                item.take(item.split == "external")
                for run in runs
                if (item := read_zero_shot(Run(run.folder / "pretrained"))) is not None
            ]
        )
        model, scratch = pooled(runs, "predictions"), pooled(runs, "control-scratch")
        few = {arm: pooled(runs, f"label-{SHARE:g}-{arm}") for arm in ("pretrained", "scratch")}
        lines = [*told(f"{text}: prompts", zero), *told(f"{text}: all labels, pretrained", model)]
        lines += told("all labels, scratch", scratch) + told("untrained, probe", pooled(runs, "control-untrained"))
        lines.append(f"all labels, pretrained minus scratch: {compare(model, scratch)}")
        for arm, said in few.items():
            lines.append(f"{SHARE:.0%} of labels, {arm}: {spoken(macro_over_fits(*stacked(said)))}")
        lines.append(f"{SHARE:.0%} of labels, pretrained minus scratch: {compare(few['pretrained'], few['scratch'])}")
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
