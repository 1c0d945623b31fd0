"""A finished detector of anomalous sound told to people: metrics.json, the model card, and report.html."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stethos.report import card
from stethos.report.page import Page, Section, Tile
from stethos.report.wording import MACHINES
from stethos.report.words import spoken
from stethos.study import sections, sound_sections
from stethos.study.publish import count_evaluation
from stethos.study.sound_evidence import Detection, SoundEvidence, gather
from stethos.study.sound_machines import machines
from stethos.study.sound_names import OFFICIAL, baseline, labelled
from stethos.study.sound_parts import kept_sections, missing_parts
from stethos.study.sound_rates import ALL, KINDS
from stethos.train.run import read_config, write_card, write_metrics
from stethos.types import Run


def publish(run: Run, show_examples: bool = False) -> None:
    """Write metrics.json, README.md and report.html of a run from what it kept, and count that it was done.

    Args:
        run: A finished run.
        show_examples: Print spectrograms of real recordings; simulated ones are always printed.

    Raises:
        RunError: The training has not finished, or the private part of the run is missing.
        ScoreError: The recordings are of several years of the challenge.
    """
    evidence = gather(run)
    origin, statements = evidence.said.origin, _statements(evidence)
    write_metrics(run, evidence.numbers(), origin)
    told = [
        *tested_sections(evidence, show_examples or origin == "synthetic"),
        *kept_sections(run),
        sections.training(run),
        card.section(origin, statements, MACHINES),
    ]
    Page(title(run), origin, summary(evidence), tiles(evidence), told, _facts(run), MACHINES).write(run.report)
    write_card(run, card.markdown(title(run), origin, statements, MACHINES))


def tested_sections(evidence: SoundEvidence, shown: bool) -> list[Section]:
    """The sections that rest on the tested recordings; fewer where these allow no score.

    Args:
        evidence: Of the run.
        shown: Print spectrograms of recordings.
    """
    found = evidence.detection
    told = [sound_sections.population(evidence), sound_sections.detection(evidence)]
    if found:
        told += [machines(evidence, found), sound_sections.back_ends(evidence, found)]
        told += [section for section in [sound_sections.by_fault(evidence, found)] if section]
    return [*told, sound_sections.heard(evidence, shown)]


def title(run: Run) -> str:
    """System and subject."""
    return f"{read_config(run)['system'].replace('_', '-')}: anomalous machine sound"


def summary(evidence: SoundEvidence) -> str:
    """The result in one sentence, and which baselines it beats in the next."""
    found = evidence.detection
    if found is None:
        return f"No score of detection: {evidence.unscored}.{_above(evidence)}"
    whose = "" if evidence.year else ", for recordings of no challenge"
    words = f"Official score by the rule of {evidence.rule}{whose}: {spoken(found.model.official)}."
    return words + _compared(found)


def _above(evidence: SoundEvidence) -> str:
    """What the thresholds do, where that is all there is."""
    names = {"false_positive_rate": "normal", "sensitivity": "anomalous"}
    shares = [f"{spoken(evidence.rates[ALL][rate])} of the {names[rate]} ones" for rate in KINDS
              if rate in evidence.rates[ALL]]  # fmt: skip
    return f" Above the thresholds of their machines lie {' and '.join(shares)}." if shares else ""


def _compared(found: Detection) -> str:
    """Which baselines the model is better than, worse than, or neither, by the paired differences."""
    better = [name for name, item in found.against.items() if item.estimate.low > 0]
    worse = [name for name, item in found.against.items() if item.estimate.high < 0]
    rest = [name for name in found.against if name not in (*better, *worse)]
    words = ""
    if better:
        words += f" Better than {_listed(better)} on the same recordings: the paired differences are above zero."
    if worse:
        words += f" Worse than {_listed(worse)} on the same recordings: the paired differences are below zero."
    if rest:
        words += f" Not shown to be better than {_listed(rest)}: the intervals of these differences hold zero."
    return words


def _listed(names: Sequence[str]) -> str:
    *first, last = [baseline(name) for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def tiles(evidence: SoundEvidence) -> list[Tile]:
    """Key numbers: the model's scores, and the official score of every baseline."""
    found, overall = evidence.detection, evidence.rates[ALL]
    if found is None:
        kinds = {"false_positive_rate": "Normal", "sensitivity": "Anomalous"}
        return [Tile(f"{kinds[rate]} recordings above their threshold", item) for rate, item in overall.items()]
    shown = [Tile(f"Official score, rule of {evidence.rule}", found.model.official, OFFICIAL[evidence.rule])]
    extra = {"pooled_auc": "identities of a machine in one curve", "mauc": "the worst identity of each machine"}
    for (rule, remark), label in zip(extra.items(), ("Pooled AUC", "mAUC"), strict=True):
        shown += [Tile(label, found.model.named[rule], remark)] if rule in found.model.named else []
    others = found.of_kind("baseline")
    return shown + [Tile(f"Official score, {baseline(name)}", item.official) for name, item in others.items()]


def _facts(run: Run) -> dict[str, str]:
    config = read_config(run)
    return {
        "version": config["version"],
        "model": sections.model_hash(run),
        "networks": str(config["recipe"]["seeds"]),
        "back end": config["recipe"]["backend"],
        "evaluations of the tested parts": str(count_evaluation(run)),
    }


def _statements(evidence: SoundEvidence) -> dict[str, card.Entry]:
    config, run, said = read_config(evidence.run), evidence.run, evidence.said
    windows, missing = config["prepare"], missing_parts(run)
    unscored = [f"No score of detection: {evidence.unscored}."] if evidence.unscored else []
    return {
        "what": f"{title(run)}; channel {windows['channel']}, windows of {windows['seconds']:g} s, {windows['name']}.",
        "use": "Finding recordings unlike a machine's normal ones, by people who listen to what it finds.",
        "outside": "Safety functions; machines, microphones or places of which no normal recording was heard.",
        "data": f"{len(said):,} tested recordings of a known kind, {int((said.truth == 1).sum()):,} of them anomalous, "
        f"of {len(np.unique(said.facts['machine']))} machine types.",
        "terms": config["terms"] or "Not stated by the cohort; ask its owner before sharing.",
        "results": {
            f"official score, rule of {evidence.rule}" if name == "official" else name: item
            for name, item in labelled(evidence.numbers()).items()
        },
        "limits": [
            *unscored,
            "An anomaly is whatever differs from the normals; the score does not name a fault.",
            "Numbers hold for machines, microphones and surroundings like the tested ones.",
            *([f"Not measured in this run: {', '.join(missing)}."] if missing else []),
        ],
        "reproduce": f"stethos {config['system'].replace('_', '-')} train --config config.json --cohort DIR --out DIR",
        "hashes": {"model.safetensors": sections.model_hash(run), "records": str(windows["cohort"])},
    }
