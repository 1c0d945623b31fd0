"""The sections of a report on anomalous sound, each a function of the evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stethos.report import picture, sound_picture
from stethos.report.page import Block, Section
from stethos.report.spectrogram import Clip
from stethos.report.table import Cell, Table
from stethos.report.wording import MACHINES
from stethos.report.words import decimal
from stethos.study.examples import load_examples
from stethos.study.sound_evidence import Detection, SoundEvidence, by_name
from stethos.study.sound_names import OFFICIAL, SCORES, baseline, systems
from stethos.study.sound_rates import ALL
from stethos.train.run import read_config
from stethos.types import Estimate

PARTS = {"train": "training", "valid": "validation", "internal": "tested"}


def population(evidence: SoundEvidence) -> Section:
    """How many recordings came how far, why the others did not, and of which machines they are."""
    told = json.loads((evidence.run.folder / "flow.json").read_text())
    steps = [(step["label"], step["records"], step["subjects"], step["lost"]) for step in told["flow"]]
    first = [step for step in steps if step[0] not in PARTS]
    parts = [(PARTS[label], *numbers) for label, *numbers, _ in steps[len(first) :]]
    blocks: list[Block] = [picture.flow("Recordings", first, parts, units=MACHINES.units)]
    blocks += [f"Not in {PARTS[label]}: {lost}." for label, _, _, lost in steps[len(first) :] if lost]
    refused = [[reason, count] for reason, count in told["refused"].items()]
    if refused:
        blocks.append(Table(("reason", "recordings"), refused, "Recordings refused before they were scored"))
    blocks.append("What was trained and validated on is normal. All of a source recording is in one part.")
    return Section("What was listened to", [*blocks, _by_machine(evidence)])


def _by_machine(evidence: SoundEvidence) -> Table:
    said, valid = evidence.said, evidence.valid
    rows: list[list[Cell]] = []
    for machine in np.unique(np.append(said.facts["machine"], valid.facts["machine"])).tolist():
        here, there = said.facts["machine"] == machine, valid.facts["machine"] == machine
        sections = np.unique(np.append(said.facts["section"][here], valid.facts["section"][there]))
        kinds = [int(np.sum(here & (said.truth[:, 0] == kind))) for kind in (0, 1)]
        rows.append([machine, len(sections), int(there.sum()), *kinds])
    columns = ("machine", "identities", "validation, normal", "tested, normal", "tested, anomalous")
    return Table(columns, rows, "Recordings of each machine")


def detection(evidence: SoundEvidence) -> Section:
    """All named scores of the model and of every baseline, the paired differences, and what the thresholds do."""
    found = evidence.detection
    if found is None:
        words = f"No score of detection was estimated: {evidence.unscored}."
        return Section("Detection", [words, _thresholds(evidence)])
    blocks: list[Block] = [_scores(evidence, found), _beaten(found), _thresholds(evidence)]
    left_out: list[list[Cell]] = [
        [row.name, row.normal + row.anomalous, row.reason] for row in found.model.not_estimated
    ]
    if left_out:
        columns = ("curve", "recordings", "why it has no area")
        blocks.append(Table(columns, left_out, "Not estimated, and left out of every mean"))
    return Section("Detection", [*blocks, *([_spread(found.seed_spread)] if found.seed_spread else [])])


def _scores(evidence: SoundEvidence, found: Detection) -> Table:
    every = systems(found)
    named = [by_name(item) for item in every.values()]
    rows = [[label, *(row.get(name) for row in named)] for name, label in SCORES.items()]
    note = (
        f"Official, by the rule of {evidence.rule}: {OFFICIAL[evidence.rule]}. AUC and pAUC (false-positive rates to "
        "0.1): mean over identities, then machines. Pooled: all identities of a machine in one curve. mAUC: the worst "
        "identity of each machine. Intervals draw recordings within identity, class and domain; identities are fixed. "
        "Baselines, fitted on the same normals: distance to the nearest mean log-mel spectrum; time-weighted spectra "
        "and a mixture of Gaussians, its weight chosen on normals; the challenge's autoencoder of 2020."
    )
    return Table(("score", *every), rows, "Scores", note)


def _beaten(found: Detection) -> Table:
    rows: list[list[Cell]] = [
        [baseline(name), item.estimate, float(item.p), float(found.p_corrected[name])]
        for name, item in found.against.items()
    ]
    columns = ("baseline", "official score, model minus baseline", "p", "p, Holm")
    return Table(columns, rows, "Against the baselines", "Paired: the same draws of the same recordings for both.")


def _spread(spread: Estimate) -> str:
    ends = f"from {decimal(spread.low, 3)} to {decimal(spread.high, 3)}"
    return f"Over training seeds the official score has a standard deviation of {decimal(spread.value, 3)}, {ends}."


def _thresholds(evidence: SoundEvidence) -> Table:
    rows = [
        ["all" if machine == ALL else machine, row.get("false_positive_rate"), row.get("sensitivity")]
        for machine, row in evidence.rates.items()
    ]
    note = (
        "Threshold of an identity: the 90th percentile of its own normal validation recordings, or of all machines' "
        "where it has fewer than ten. The verb predict decides by it; a monitor has an alarm of its own."
    )
    columns = ("machine", "normal recordings above", "anomalous recordings above")
    return Table(columns, rows, "At the thresholds", note)


def back_ends(evidence: SoundEvidence, found: Detection) -> Section:
    """The same embeddings judged in several ways; the recipe named one of them before anything was tested."""
    own = read_config(evidence.run)["recipe"]["backend"]
    shown = [name for name in SCORES if not name.startswith("pooled")]
    rows = []
    for key, item in found.of_kind("backend").items():
        name, numbers = key.replace("_", "-"), by_name(item)
        rows.append([f"{name} (the model)" if name == own else name, *(numbers.get(score) for score in shown)])
    rows.sort(key=lambda row: not str(row[0]).endswith("(the model)"))
    note = "Nothing was chosen by this table: the recipe names what judges before a tested recording is scored."
    columns = ("back end", *(SCORES[name] for name in shown))
    return Section("Back ends", [Table(columns, rows, "The same embeddings, judged in several ways", note)])


def by_fault(evidence: SoundEvidence, found: Detection) -> Section | None:
    """AUC of each named fault; None where the cohort names none."""
    if not found.faults:
        return None
    said, anomalous = evidence.said, evidence.said.truth[:, 0] == 1
    rows: list[list[Cell]] = []
    for fault, areas in found.faults.items():
        with_it = np.unique(said.facts["machine"][anomalous & (said.facts["fault"].astype(str) == fault)])
        rows.append([fault, ", ".join(with_it.tolist()), *areas.values()])
    compared = next(iter(found.faults.values()))
    labels = [f"AUC, {baseline(name.removeprefix('baseline.'))}" for name in compared]
    note = "Recordings with the fault against all normal ones of the same identities."
    return Section("Faults", [Table(("fault", "machines", *labels), rows, "By fault", note)])


def heard(evidence: SoundEvidence, shown: bool) -> Section:
    """What the score rests on: the scores themselves, the embedding, the most and least anomalous recordings.

    Args:
        evidence: Of the run.
        shown: Print spectrograms of recordings.
    """
    said, kept = evidence.said, load_examples(evidence.run)
    blocks: list[Block] = [
        sound_picture.score_histograms("Scores", said.score[:, 0], said.truth[:, 0], said.facts["machine"])
    ]
    if kept is not None:
        note = "First network. Two principal directions of a machine's embeddings; distances are judged in all of them."
        blocks.append(sound_picture.embedding_map("Embeddings", kept.embedding, kept.machine, kept.group, note))
    if kept is not None and shown:
        own = read_config(evidence.run)["recipe"]["backend"].startswith("own-class")
        pairs = kept.pairs if own else _without_own_score(kept.pairs)
        caption = (
            "The three highest and the three lowest scores among the tested recordings, each beside the training "
            "recording of its machine that is nearest to it. Outlined: where the score falls most when that band at "
            "that time is made usual."
        )
        blocks.append(sound_picture.clips("Highest and lowest scores", pairs, kept.centres, caption))
    if kept is not None and not shown:
        blocks.append("Spectrograms of recordings are withheld; --show-examples prints them.")
    return Section("What the score rests on", blocks)


def _without_own_score(pairs: Sequence[tuple[Clip, Clip | None]]) -> list[tuple[Clip, Clip | None]]:
    """The normal recordings without a score: each is among those that it would be compared with."""
    return [(clip, normal and replace(normal, score=np.nan)) for clip, normal in pairs]
