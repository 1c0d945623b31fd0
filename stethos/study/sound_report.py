"""A finished detector of anomalous sound told to people: metrics.json, the model card, and report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from stethos.metrics.ranking import roc_curve
from stethos.report import card, picture, sound_picture
from stethos.report.page import Block, Page, Section, Tile
from stethos.report.table import Cell, Table
from stethos.report.words import spoken
from stethos.study import sections
from stethos.study.examples import load_examples
from stethos.study.publish import count_evaluation
from stethos.study.sound_evidence import SoundEvidence, gather
from stethos.study.sound_parts import kept_sections
from stethos.train.run import read_config, write_card, write_metrics
from stethos.types import Estimate, Run

BASELINES = {
    "nearest": "nearest normal by mean log-mel",
    "twfr_gmm": "TWFR-GMM, its weight from normals",
    "autoencoder": "autoencoder of the challenge",
}
NAMES = {"official": "official", "mean.auc": "AUC", "pooled.auc": "pooled AUC", "pooled.pauc": "pooled pAUC",
         "mauc": "mAUC"}  # fmt: skip
OFFICIAL = {
    2020: "mean of AUC and pAUC over identities, then machines",
    2021: "harmonic mean of AUC and pAUC over machine, section and domain",
    2022: "harmonic mean of AUC (source), AUC (target) and pAUC over machine and section",
}


def publish(run: Run, show_examples: bool = False) -> None:
    """Write metrics.json, README.md and report.html of a run from what it kept, and count that it was done.

    Args:
        run: A finished run.
        show_examples: Print spectrograms of real recordings; simulated ones are always printed.

    Raises:
        RunError: The training has not finished, or nothing was tested that tells good from bad.
    """
    evidence = gather(run)
    origin = evidence.said.origin
    write_metrics(run, evidence.numbers(), origin)
    statements = _statements(evidence)
    told = [
        population(evidence),
        detection(evidence),
        machines(evidence),
        back_ends(evidence),
        by_fault(evidence),
        heard(evidence, show_examples or origin == "synthetic"),
        *kept_sections(run),
        sections.training(run),
        card.section(origin, statements),
    ]
    facts = {
        "version": read_config(run)["version"],
        "model": sections.model_hash(run),
        "evaluations of the tested parts": str(count_evaluation(run)),
    }
    shown = [section for section in told if section and section.blocks]
    Page(title(run), origin, summary(evidence), _tiles(evidence), shown, facts).write(run.report)
    write_card(run, card.markdown(title(run), origin, statements))


def title(run: Run) -> str:
    """System and subject."""
    return f"{read_config(run)['system'].replace('_', '-')}: anomalous machine sound"


def summary(evidence: SoundEvidence) -> str:
    """The result in one sentence, and which baselines it beats in the next."""
    words = f"Official score of {_year(evidence)}: {spoken(evidence.model.official)}."
    better = [name for name, item in evidence.against.items() if item.estimate.low > 0]
    rest = [name for name in evidence.against if name not in better]
    if better:
        words += f" Better than {_listed(better)} on the same recordings: the paired differences are off zero."
    if rest:
        words += f" Not shown to be better than {_listed(rest)}: the intervals of these differences hold zero."
    return words


def _listed(names: Sequence[str]) -> str:
    return ", ".join(BASELINES.get(name, name) for name in names)


def _year(evidence: SoundEvidence) -> str:
    return f"{min(int(evidence.year), 2022)}" if evidence.year else "2020 (a folder of no challenge)"


def _tiles(evidence: SoundEvidence) -> list[Tile]:
    numbers = evidence.numbers()
    rule = OFFICIAL[min(int(evidence.year or 2020), 2022)]
    tiles = [Tile(f"Official score, {_year(evidence)}", numbers["official"], rule)]
    for name, item in evidence.of_kind("baseline").items():
        tiles.append(Tile(f"Baseline: {BASELINES.get(name, name)}", item.official))
    return tiles


def population(evidence: SoundEvidence) -> Section:
    """How many recordings came how far, and why the others did not."""
    told = json.loads((evidence.run.folder / "flow.json").read_text())
    steps = [(step["label"], step["records"], step["subjects"], step["lost"]) for step in told["flow"]]
    first = [step for step in steps if step[0] not in ("train", "valid", "internal")]
    parts = [step[:3] for step in steps if step[0] in ("train", "valid", "internal")]
    blocks: list[Block] = [picture.flow("Recordings", first, parts)]
    blocks += [f"Not in {label}: {lost}." for label, _, _, lost in steps[len(first) :] if lost]
    refused = [[reason, count] for reason, count in told["refused"].items()]
    if refused:
        blocks.append(Table(("reason", "recordings"), refused, "Recordings refused before they were scored"))
    blocks.append("What was trained and validated on is normal. A source recording is in one part only.")
    return Section("What was listened to", blocks)


def detection(evidence: SoundEvidence) -> Section:
    """All named scores of the model and of every baseline, and the paired differences."""
    every = {"model": evidence.model} | {
        BASELINES.get(name, name): item for name, item in evidence.of_kind("baseline").items()
    }
    named = [_by_name(item) for item in every.values()]
    rows = [[label, *(row.get(name) for row in named)] for name, label in NAMES.items()]
    note = (
        f"Official: {OFFICIAL[min(int(evidence.year or 2020), 2022)]}. AUC: mean over identities, then machines. Pooled: "
        "all identities of a machine in one curve. mAUC: the worst identity of each machine. Intervals draw recordings "
        "within identity, class and domain; identities are fixed. n counts recordings."
    )
    blocks: list[Block] = [Table(("score", *every), rows, "Scores", note), _beaten(evidence)]
    if evidence.model.not_estimated:
        few = "; ".join(f"{curve.name}: {curve.reason}" for curve in evidence.model.not_estimated)
        blocks.append(f"Left out of every mean, having no area: {few}.")
    spread = evidence.seed_spread()
    if spread:
        low, high = spread.low, spread.high
        blocks.append(
            f"Over seeds the official score has a standard deviation of {spread.value:.3f}, from {low:.3f} to {high:.3f}."
        )
    return Section("Detection", blocks)


def _by_name(item) -> dict[str, Estimate]:  # type: ignore[no-untyped-def]
    from stethos.study.sound_evidence import NAMED

    return {"official": item.official} | {name: item.named[rule] for name, rule in NAMED.items() if rule in item.named}


def _beaten(evidence: SoundEvidence) -> Table:
    rows: list[list[Cell]] = [
        [BASELINES.get(name, name), item.estimate, float(item.p), float(evidence.p_corrected[name])]
        for name, item in evidence.against.items()
    ]
    columns = ("baseline", "official score, model minus baseline", "p", "p, Holm")
    return Table(columns, rows, "Against the baselines", "Paired: the same draws of the same recordings for both.")


def machines(evidence: SoundEvidence) -> Section:
    """Every machine by itself: ROC curves, and the model beside the baselines."""
    curves, areas = {}, {}
    for name in np.unique(evidence.clips.machine):
        here = evidence.clips.machine == name
        truth, score = evidence.clips.truth[here], evidence.scores["model"][here]
        if len(np.unique(truth)) == 2:
            found = roc_curve(truth, score)
            curves[str(name)] = (found.fpr, found.tpr)
            areas[str(name)] = evidence.model.per_machine[str(name)]["pooled_auc"]
    every = {"model": evidence.model, **evidence.of_kind("baseline")}
    forest = {
        name: {system: item.per_machine[name]["auc_2020"] for system, item in every.items() if name in item.per_machine}
        for name in curves
    }
    caption = "Mean AUC over the identities of each machine."
    blocks: list[Block] = [
        picture.roc("ROC curves, identities pooled", curves, None, areas),
        sound_picture.machines("Machines", forest, "AUC", 0.5, caption),
    ]
    columns = ("machine", "official", "AUC", "pAUC", "pooled AUC", "mAUC")
    rules = (_official_rule(evidence), "auc_2020", "pauc_2020", "pooled_auc", "mauc")
    rows = [[name, *(row.get(rule) for rule in rules)] for name, row in evidence.model.per_machine.items()]
    return Section("Machines", [*blocks, Table(columns, rows, "The model on every machine")])


def _official_rule(evidence: SoundEvidence) -> str:
    return f"official_{min(int(evidence.year or 2020), 2022)}"


def back_ends(evidence: SoundEvidence) -> Section | None:
    """The same embeddings judged in several ways; the recipe named one of them before anything was tested."""
    found = evidence.of_kind("backend")
    if not found:
        return None
    own = read_config(evidence.run)["recipe"]["backend"]
    rows = [
        [name.replace("_", "-") + (" (the model)" if name.replace("_", "-") == own else ""), *_row(item)]
        for name, item in found.items()
    ]
    note = "None was chosen by this table: the recipe names the one that speaks before the tested part is scored."
    return Section("Back ends", [Table(("back end", *NAMES.values()), rows, "The same embeddings, judged", note)])


def _row(item) -> list[Estimate | None]:  # type: ignore[no-untyped-def]
    named = _by_name(item)
    return [named.get(name) for name in NAMES]


def by_fault(evidence: SoundEvidence) -> Section | None:
    """AUC against each named fault, where the cohort names them."""
    fault = evidence.said.facts.get("fault")
    if fault is None or not (fault.astype(str) != "").any():
        return None
    from stethos.errors import ScoreError
    from stethos.metrics import dcase
    from stethos.metrics.curves import Clips

    rows: list[list[Cell]] = []
    for name in sorted(set(fault.astype(str).tolist()) - {""}):
        chosen = (fault == name) | (evidence.clips.truth == 0)
        held = Clips(
            *(getattr(evidence.clips, part)[chosen] for part in ("truth", "machine", "section", "domain", "subject"))
        )
        with_it = np.unique(evidence.clips.machine[fault == name])
        row: list[Cell] = [name, ", ".join(with_it.tolist())]
        for system in ("model", "baseline.nearest"):
            if system in evidence.scores:
                try:
                    row.append(dcase.estimate(dcase.auc_2020, held, evidence.scores[system][chosen]))
                except ScoreError:
                    row.append(None)
        rows.append(row)
    columns = ("fault", "machines", "AUC, model", "AUC, nearest normal")[: len(rows[0])]
    note = "Recordings with the fault against all normals of the same identities."
    return Section("Faults", [Table(columns, rows, "By fault", note)])


def heard(evidence: SoundEvidence, shown: bool) -> Section:
    """What the model looks at: the embedding, the scores, the most and least anomalous recordings."""
    kept = load_examples(evidence.run)
    score, truth, machine = evidence.scores["model"], evidence.clips.truth, evidence.clips.machine
    blocks: list[Block] = [sound_picture.score_histograms("Scores", score, truth, machine)]
    if kept is None:
        return Section("What the score rests on", blocks)
    note = "First network. Two principal directions of each machine's embeddings; distances are judged in all of them."
    blocks.append(sound_picture.embedding_map("Embeddings", kept.embedding, kept.machine, kept.group, note))
    if shown:
        caption = (
            "The three highest and the three lowest scores among the tested recordings, each beside the nearest normal "
            "of its machine. Outlined: where the score falls most when that band at that time is made usual."
        )
        blocks.append(sound_picture.clips("Highest and lowest scores", kept.pairs, kept.centres, caption))
    else:
        blocks.append("Spectrograms of recordings are withheld; --show-examples prints them.")
    return Section("What the score rests on", blocks)


def _statements(evidence: SoundEvidence) -> dict[str, card.Entry]:
    config, run = read_config(evidence.run), evidence.run
    results: Mapping[str, Estimate | str] = {
        name: item for name, item in evidence.numbers().items() if "." not in name or name.startswith("pooled")
    }
    windows = config["prepare"]
    return {
        "what": f"{title(run)}; channel {windows['channel']}, windows of {windows['seconds']:g} s, {windows['name']}.",
        "use": "Finding recordings unlike a machine's normal ones, by people who listen to what it finds.",
        "outside": "Safety functions; machines, microphones or places of which no normal recording was heard.",
        "data": f"{len(evidence.said)} tested recordings of {len(np.unique(evidence.clips.machine))} machine types.",
        "terms": config["terms"] or "Not stated by the cohort; ask its owner before sharing.",
        "results": results,
        "limits": [
            "An anomaly is whatever differs from the normals; the score does not name a fault.",
            "Numbers hold for machines, microphones and surroundings like the tested ones.",
        ],
        "reproduce": f"stethos {config['system'].replace('_', '-')} train --config config.json --cohort DIR --out DIR",
        "hashes": {"model.safetensors": sections.model_hash(run), "records": str(windows["cohort"])},
    }
