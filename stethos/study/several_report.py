"""A finished study of several labels told to people: metrics.json, the model card, report.html."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stethos.errors import RunError
from stethos.metrics.calibration import reliability
from stethos.metrics.compare import holm
from stethos.report import card, picture
from stethos.report.figure import spoken
from stethos.report.page import Block, Page, Section, Tile
from stethos.report.relation import heat_picture
from stethos.report.table import Cell, Table
from stethos.study import sections
from stethos.study.measurements import short_words
from stethos.study.publish import count_evaluation
from stethos.study.relate import Related, relate
from stethos.study.relate import numbers as relation_numbers
from stethos.study.relate_section import section as relation_section
from stethos.study.several import label
from stethos.study.several_attribute import (
    LabelAttributions,
    load_several,
    several_wave_numbers,
    wave_contrasts,
    wave_shares,
)
from stethos.study.several_evidence import (
    SeveralEvidence,
    gather_several,
    learnable,
    numbers_of,
    read_zero_shot,
    zero_numbers,
)
from stethos.study.several_parts import READING
from stethos.study.validate import Operate, known, sigmoid, tested
from stethos.text.findings import Lexicon
from stethos.train.run import read_config, write_card, write_metrics
from stethos.types import Estimate, Predictions, Run

PANELS = 6  # calibration curves in one figure are read up to so many


def publish_several(run: Run, operate: Operate, lexicon: Lexicon, before: Run | None = None) -> None:
    """Write metrics.json, README.md and report.html of a run from its predictions, and count that it was done.

    Args:
        run: A finished run.
        operate: How operating points are chosen.
        lexicon: Words, groups and expected waves of the labels that are its concepts.
        before: The pretraining that the run started from, for what prompts said; None for none.

    Raises:
        RunError: The run holds no predictions, or nobody was tested.
    """
    if not run.predictions.is_file():
        raise RunError(f"{run.folder} holds no predictions; finish its training first")
    zero = read_zero_shot(before) if before else None
    evidence = gather_several(run, operate, zero)
    if not evidence.splits:
        raise RunError(f"{run.folder}: no label has 5 subjects with and 5 without in a tested part; test on more")
    related = relate(evidence.said, evidence.splits[-1])
    origin = evidence.said.origin
    numbers = {**evidence.numbers, **relation_numbers(related), **several_wave_numbers(run)}
    write_metrics(run, numbers, origin)
    told = [
        _population(evidence, lexicon),
        _discrimination(evidence, lexicon),
        *([_zero(evidence.zero, lexicon)] if evidence.zero is not None else []),
        *([_efficiency(evidence, lexicon)] if evidence.shares else []),
        _operating(evidence, lexicon),
        _calibration(evidence, lexicon),
        relation_section(related),
        *_attribution(run, lexicon),
        sections.training(run),
        card.section(origin, _statements(evidence)),
    ]
    facts = {"version": read_config(run)["version"], "model": sections.model_hash(run)}
    facts["evaluations of the tested parts"] = str(count_evaluation(run))
    Page(_title(run), origin, _summary(evidence), _tiles(evidence, numbers), told, facts).write(run.report)
    write_card(run, card.markdown(_title(run), origin, _statements(evidence)))


def publish_zero_shot(run: Run, lexicon: Lexicon) -> None:
    """Write metrics.json, README.md and report.html of a pretraining from what prompts said.

    Raises:
        RunError: Nobody was tested, or no label can be told.
    """
    zero = read_zero_shot(run)
    numbers = {} if zero is None else zero_numbers(zero)
    if zero is None or "zeroshot.macro_auroc" not in numbers:
        raise RunError(f"{run.folder}: no label has 5 subjects with and 5 without in the last tested part")
    write_metrics(run, numbers, zero.origin)
    tiles = [Tile(f"Macro AUROC by prompts, {split}", numbers[f"zeroshot.{split}.macro_auroc"])
             for split in tested(zero) if f"zeroshot.{split}.macro_auroc" in numbers]  # fmt: skip
    lead = (
        "No label was learned from: each recording is compared with sentences that stand for a label and its absence."
    )
    told = [Section("Who was studied", sections.flow(run).blocks), _reading(run), _zero(zero, lexicon)]
    facts = {"version": read_config(run)["version"], "model": sections.model_hash(run)}
    facts["evaluations of the tested parts"] = str(count_evaluation(run))
    Page(_title(run), zero.origin, lead, tiles, [*told, sections.training(run)], facts).write(run.report)
    entries: dict[str, card.Entry] = {"what": _title(run), "terms": read_config(run)["terms"], "results": numbers}
    write_card(run, card.markdown(_title(run), zero.origin, entries))


def relation_lines(related: Related) -> Iterator[dict[str, Any]]:
    """One line a measurement and output: rank correlation, given covariates, and among those without the label."""
    for (column, name), item in related.relations.items():
        line = {"measurement": column, "label": name, "split": related.split, **_rho("rho", item.found.rho)}
        line |= _rho("partial", item.found.partial) | {"q": round(item.q, 5), "n": item.found.rho.n}
        own = related.own.get(column)
        if own and own.label == name and own.within:
            line |= _rho("within_negatives", own.within.rho) | {"n_within": own.within.rho.n}
        yield line
    for column, why in related.left_out.items():
        yield {"measurement": column, "left_out": why}


def _rho(name: str, item: Estimate) -> dict[str, float]:
    return {name: round(item.value, 4), f"{name}_low": round(item.low, 4), f"{name}_high": round(item.high, 4)}


def _title(run: Run) -> str:
    config = read_config(run)
    words = "pretraining on reports" if config["protocol"]["verb"] == "pretrain" else "several labels from one lead"
    return f"{config['system'].replace('_', '-')}: {words}"


def words_of(name: str, lexicon: Lexicon) -> str:
    """What people call a label."""
    return lexicon.concepts[name].words if name in lexicon.concepts else name


def short_of(name: str, lexicon: Lexicon) -> str:
    """The same where there is little room."""
    return short_words(name) if name in lexicon.concepts else name


def _summary(evidence: SeveralEvidence) -> str:
    areas = "; ".join(f"{split} {spoken(evidence.numbers[f'{split}.macro_auroc'])}" for split in evidence.splits)
    words = f"Mean area under the ROC curve over the labels: {areas}."
    return words + sections.beaten_words(evidence.controls, evidence.against, evidence.splits)


def _tiles(evidence: SeveralEvidence, numbers: Mapping[str, Estimate]) -> list[Tile]:
    tiles = [Tile(f"Macro AUROC, {split}", numbers[f"{split}.macro_auroc"]) for split in evidence.splits]
    if "zeroshot.macro_auroc" in numbers:
        tiles.append(Tile(f"Macro AUROC by prompts, {tested(evidence.zero)[-1]}", numbers["zeroshot.macro_auroc"]))  # type: ignore[arg-type]
    for fraction in evidence.shares:
        name = f"labels_{100 * float(fraction):g}pct.difference"
        if name in numbers:
            tiles.append(Tile(f"Pretrained minus scratch, {100 * float(fraction):g} % of labels", numbers[name]))
    return tiles


def _population(evidence: SeveralEvidence, lexicon: Lexicon) -> Section:
    """Cohort flow, what the reports are, and how common every label is."""
    parts = ["train", "valid", *tested(evidence.said)]
    there = [split for split in parts if split in evidence.said.split]
    rows: list[list[Cell]] = []
    for number, name in enumerate(evidence.said.names):
        cells: list[Cell] = [words_of(name, lexicon)]
        for split in there:
            column = known(label(evidence.said, number), split).truth[:, 0]
            cells.append(f"{int(column.sum())} of {len(column)}" if len(column) else None)
        rows.append(cells)
    table = Table(("label", *there), rows, "Records with each label, of those that it is known of")
    return Section("Who was studied", [*sections.flow(evidence.run).blocks, *_reading(evidence.run).blocks, table])


def _reading(run: Run) -> Section:
    """Which languages the reports are in, and which tower read them."""
    held = json.loads((run.folder / READING).read_text())
    rows: list[list[Cell]] = [[name, count] for name, count in sorted(held["counts"].items())]
    blocks: list[Block] = [Table(("reports", "records"), rows, "What the reports are")] if rows else []
    if held["tower"]:
        words = f"All reports were read by the text tower {held['tower']}."
        if held["unknown_tokens"]:
            words += f" It has no word for {held['unknown_tokens']:.1%} of their tokens."
        blocks.append(words)
    return Section("Reports", blocks)


def _forest_rows(
    said: Predictions, numbers: Mapping[str, Estimate], prefix: str, split: str, lexicon: Lexicon
) -> list[tuple[str, Estimate | None, str]]:
    """A line a label that can be told, under headings of their groups."""
    rows: list[tuple[str, Estimate | None, str]] = []
    group = ""
    for name in said.names:
        found = numbers.get(f"{prefix}{split}.{name}.auroc")
        own = lexicon.concepts[name].group if name in lexicon.concepts else ""
        if found is None:
            continue
        if own != group:
            rows.append((own, None, ""))
            group = own
        rows.append((short_of(name, lexicon), found, ""))
    return rows


def _left_out(said: Predictions, split: str, lexicon: Lexicon) -> list[Block]:
    few = [words_of(name, lexicon) for name, kept in zip(said.names, learnable(said, split), strict=True) if not kept]
    return [f"Too few subjects with or without in {split}: {', '.join(few)}."] if few else []


def _discrimination(evidence: SeveralEvidence, lexicon: Lexicon) -> Section:
    """AUROC of every label and part, average precision, and the paired differences from the controls."""
    blocks: list[Block] = []
    for split in evidence.splits:
        rows = _forest_rows(evidence.said, evidence.numbers, "", split, lexicon)
        macro = evidence.numbers[f"{split}.macro_auroc"].value
        blocks.append(picture.forest(f"Every label, {split}", rows, macro, "AUROC", "Line: mean over the labels."))
        blocks += _left_out(evidence.said, split, lexicon)
    blocks.append(_beaten(evidence))
    return Section("Discrimination", blocks)


def _beaten(evidence: SeveralEvidence) -> Table:
    """Macro AUROC of every control and the paired difference of the model from it."""
    corrected = holm(np.array([item.p for item in evidence.against.values()]))
    rows: list[list[Cell]] = []
    for (name, item), p in zip(evidence.against.items(), corrected, strict=True):
        control, split = name.split(".", 1)
        own = evidence.numbers.get(f"control.{control}.{split}.macro_auroc")
        rows.append([split, sections.CONTROLS.get(control, control), own, item.estimate, float(item.p), float(p)])
    columns = ("part", "control", "its macro AUROC", "model minus control", "p", "p, Holm")
    return Table(columns, rows, "Controls", "Paired on the same records; intervals draw subjects with replacement.")


def _zero(zero: Predictions, lexicon: Lexicon) -> Section:
    """What prompts alone say, on every tested part."""
    numbers = zero_numbers(zero)
    blocks: list[Block] = ["The prompts were fixed with the table of concepts, before any part was tested."]
    for split in tested(zero):
        rows = _forest_rows(zero, numbers, "zeroshot.", split, lexicon)
        if not rows:
            continue
        found = [item for _, item, _ in rows if item]
        above = sum(item.low > 0.5 for item in found)
        note = f"Lower end of the interval above 0.5 for {above} of {len(found)} labels. Line: chance."
        blocks.append(picture.forest(f"By prompts, {split}", rows, 0.5, "AUROC", note))
        blocks += _left_out(zero, split, lexicon)
    return Section("Zero-shot", blocks)


ARMS = {
    "pretrained.macro_auroc": "pretrained",
    "scratch.macro_auroc": "from random weights",
    "difference": "difference",
}


def _efficiency(evidence: SeveralEvidence, lexicon: Lexicon) -> Section:
    """Both arms of every share of labelled subjects, and their paired difference."""
    rows: list[list[Cell]] = []
    drawn: list[tuple[str, Estimate | None, str]] = []
    notes: list[Block] = []
    for fraction, arms in evidence.shares.items():
        first, share = next(iter(arms.values())), f"{float(fraction):.1%}"
        for split in tested(first):
            name = f"labels_{100 * float(fraction):g}pct.{split}"
            cells = [evidence.numbers.get(f"{name}.{key}") for key in ARMS]
            rows.append([share, *_labelled(first), split, *cells])
            drawn.append((f"{share} of labels, {split}", None, ""))
            drawn += [(words, item, "") for words, item in zip(ARMS.values(), cells[:2], strict=False) if item]
        there = np.isfinite(first.truth).any(axis=0)
        lost = [words_of(item, lexicon) for item, kept in zip(first.names, there, strict=True) if not kept]
        if lost:
            notes.append(f"Left out at {share}, for want of 5 subjects with or without in a draw: {', '.join(lost)}.")
    columns = ("labels", "subjects with labels", "draws", "part", *ARMS.values())
    note = "Both arms see the same subjects and take the same steps; intervals draw tested subjects and draws."
    figure = picture.forest("Few labels", drawn, 0.5, "Macro AUROC", "Line: chance.")
    return Section("Label efficiency", [figure, Table(columns, rows, "Macro AUROC with few labels", note), *notes])


def _labelled(said: Predictions) -> tuple[str, int]:
    """Fewest and most training subjects over the draws, and how many draws there are."""
    seeds = np.unique(said.seed)
    train = [said.subject[(said.seed == seed) & (said.split == "train")] for seed in seeds]
    counts = [len(np.unique(part)) for part in train]
    return f"{min(counts)} to {max(counts)}", len(seeds)


def _operating(evidence: SeveralEvidence, lexicon: Lexicon) -> Section:
    """Sensitivity, specificity and predictive values of every label at the point that the validation part chose."""
    keys = ("prevalence", "sensitivity", "specificity", "ppv", "npv", "npv_trivial")
    blocks: list[Block] = []
    for split in evidence.splits:
        rows: list[list[Cell]] = [
            [words_of(name, lexicon), *(evidence.numbers[f"{split}.{name}.{key}"] for key in keys)]
            for name in evidence.said.names
            if f"{split}.{name}.npv" in evidence.numbers
        ]
        columns = ("label", *(sections.WORDS.get(key, key) for key in keys))
        blocks.append(
            Table(
                columns,
                rows,
                f"At the operating points, {split}",
                "Wilson's interval of the effective number of records.",
            )
        )
    return Section("Operating points", blocks)


def _calibration(evidence: SeveralEvidence, lexicon: Lexicon) -> Section:
    """Slope and intercept of every label, and the curves of the commonest."""
    keys = ("slope", "intercept", "ece", "brier")
    blocks: list[Block] = []
    split = evidence.splits[-1]
    common = sorted(numbers_of(evidence.said, split), key=lambda k: -np.nansum(evidence.said.part(split).truth[:, k]))[
        :PANELS
    ]
    bins = {}
    for number in common:
        part = known(label(evidence.said, number), split)
        found = reliability(part.truth[:, 0], sigmoid(part.score[:, 0]), part.subject)
        bins[short_of(evidence.said.names[number], lexicon)] = found
    blocks.append(
        picture.calibration(f"Calibration of the commonest labels, {split}", bins, caption="Bars: 95 % intervals.")
    )
    for split in evidence.splits:
        rows: list[list[Cell]] = [
            [words_of(name, lexicon), *(evidence.numbers[f"{split}.{name}.calibration.{key}"] for key in keys)]
            for name in evidence.said.names
            if f"{split}.{name}.calibration.slope" in evidence.numbers
        ]
        columns = ("label", "slope", "intercept", "expected error", "Brier score")
        blocks.append(Table(columns, rows, f"Calibration, {split}", "Perfect: slope 1, intercept 0."))
    return Section("Calibration", blocks)


def _attribution(run: Run, lexicon: Lexicon) -> list[Section]:
    """Which waves tell every label, against the waves that are expected to."""
    found = load_several(run)
    if found is None:
        return []
    contrasts, waves = wave_contrasts(found), found.by_label[0].names
    labels = [name for name in found.names if name in contrasts]
    cells, clear, framed = {}, {}, set()
    for row, name in enumerate(labels):
        total = sum(abs(item.value) for item in contrasts[name].values()) or 1.0
        for column, wave in enumerate(waves):
            item = contrasts[name][wave]
            cells[row, column] = Estimate(item.value / total, item.low / total, item.high / total, item.n)
            clear[row, column] = 0.0 if item.low > 0 or item.high < 0 else 1.0
            if name in lexicon.concepts and wave in lexicon.concepts[name].waves:
                framed.add((row, column))
    caption = (
        "Mean Shapley value with the label minus without it, as a share of the sum over waves of its size. Bold and "
        "tinted: the interval, which holds for all waves of a label together, leaves out 0. Heavy frame: expected."
    )
    names = [short_of(name, lexicon) for name in labels]
    drawn = heat_picture("What tells each label", (names, waves), cells, clear, framed, caption)
    return [Section("What it looks at", [drawn, _expected(labels, contrasts, lexicon), _share_table(found, lexicon)])]


def _expected(labels: Sequence[str], contrasts: Mapping[str, Mapping[str, Estimate]], lexicon: Lexicon) -> Table:
    """Where the largest difference lies, and whether that was expected."""
    rows: list[list[Cell]] = []
    for name in labels:
        ranked = sorted(contrasts[name].items(), key=lambda item: -abs(item[1].value))
        wave, item = ranked[0]
        expected = lexicon.concepts[name].waves if name in lexicon.concepts else ()
        verdict = "–" if not expected else "yes" if wave in expected else "no"
        off = [other for other, own in contrasts[name].items() if own.low > 0 or own.high < 0]
        rows.append(
            [words_of(name, lexicon), wave, item, ", ".join(off) or "none", ", ".join(expected) or "–", verdict]
        )
    columns = ("label", "largest on", "difference, logits", "off zero on", "expected on", "largest is expected")
    return Table(columns, rows, "Difference with the label against without it")


def _share_table(found: LabelAttributions, lexicon: Lexicon) -> Table:
    shares = wave_shares(found)
    waves = list(next(iter(shares.values())))
    rows: list[list[Cell]] = [
        [words_of(name, lexicon), *(item[wave] for wave in waves)] for name, item in shares.items()
    ]
    return Table(("label", *waves), rows, "Mean share of what moves each logit", "Over the isoelectric line.")


def _statements(evidence: SeveralEvidence) -> dict[str, card.Entry]:
    """Statements of the model card."""
    config = read_config(evidence.run)
    headline: dict[str, Estimate | str] = {
        f"{split}.macro_auroc": evidence.numbers[f"{split}.macro_auroc"] for split in evidence.splits
    }
    return {
        "what": f"{_title(evidence.run)}: {', '.join(evidence.said.names)}; lead {config['recipe']['lead']}, prepared "
        f"by {config['recipe']['prepare']}.",
        "use": "Research on recordings like those it was trained on, by people who check every answer.",
        "outside": "Deciding that no echo is needed; children; paced rhythms; leads or devices not trained on.",
        "data": f"{len(evidence.said):,} scored records of {len(np.unique(evidence.said.subject)):,} subjects. Labels "
        "are what reports say, read by rules.",
        "terms": config["terms"] or "Not stated by the cohort; ask its owner before sharing.",
        "results": headline,
        "limits": [
            "Only people whom a doctor sent for an echo are in it; others are healthier.",
            "A disease that a report does not mention is unknown, and no record of its absence.",
        ],
        "reproduce": "stethos anyecg-echo train --config config.json --cohort DIR --out DIR",
        "hashes": {
            "model.safetensors": sections.model_hash(evidence.run),
            "records": str(config["prepare"].get("cohort", "")),
        },
    }
