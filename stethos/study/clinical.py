"""Sections that a clinician asks for: whom it flags wrongly, where it holds, what it looks at."""

from __future__ import annotations

import numpy as np

from stethos.data.target import parse_target
from stethos.errors import ScoreError
from stethos.explain.cohort import contrast, contributions, interactions, shares, spread
from stethos.metrics.subgroup import bands, by_group
from stethos.report import picture
from stethos.report.page import Block, Section
from stethos.report.table import Table
from stethos.study.attribute import Attributed, load_attributed
from stethos.study.below import below_threshold
from stethos.study.evidence import Evidence
from stethos.study.intended import IntendedUse, agreement, coverage_table, margin, refusals, refusals_table
from stethos.study.labels import LabelPoint, label_table
from stethos.study.missing import missing_data, missing_table
from stethos.study.refit import beside, beside_table
from stethos.study.reporting import reporting
from stethos.study.sensitivity import by_window, cuts, cuts_tables
from stethos.study.validate import area, known, measured, tested
from stethos.train.run import read_config
from stethos.types import Estimate, Predictions, Run

FACTS = ("site", "sex", "ckd", "heart_failure", "diabetes", "dialysis", "paced", "atrial_fibrillation")
WORDS = {"ckd": "chronic kidney disease"}
AGE_BANDS = (45, 65, 80)
EXPECTED = {  # where the sign is: textbook electrophysiology, by a word of the target
    "potassium": ("P", "PR", "QRS", "T"),
    "AFIB": ("P", "TP", "timing"),
    "CLBBB": ("QRS", "ST", "T"),
    "LVH": ("QRS", "ST", "T"),
}


def subgroups(evidence: Evidence) -> Section:
    """AUROC in every subgroup of every tested part, and of which there were too few."""
    blocks: list[Block] = []
    for split in evidence.splits:
        part = known(evidence.said, split)
        rows: list[tuple[str, Estimate | None, str]] = []
        few = []
        for name, level in _groupings(part).items():
            found = by_group(part.truth[:, 0], part.score[:, 0], part.subject, level)
            stated = [(item.name, item.auroc, "") for item in found if item.auroc]
            rows += [(name, None, ""), *stated] if stated else []
            few += [f"{name} {item.name} ({item.subjects} subjects)" for item in found if not item.auroc]
        whole = evidence.numbers[f"{split}.auroc"].value
        blocks.append(picture.forest(f"Subgroups, {split}", rows, whole, "AUROC", "Line: the whole part."))
        if few:
            blocks.append(f"Too few with or without the event in {split}: {', '.join(few)}.")
    return Section("Subgroups", blocks)


def _groupings(part: Predictions) -> dict[str, np.ndarray]:
    """Levels of every grouping that the part knows and that divides it."""
    found: dict[str, np.ndarray] = {}
    if "age" in part.facts:
        found["age, years"] = bands(part.facts["age"], AGE_BANDS)
    for name in FACTS:
        if name in part.facts and len(np.unique(part.facts[name].astype(str))) > 1:
            column = part.facts[name]
            words = np.where(column == 1, "yes", np.where(column == 0, "no", ""))
            found[WORDS.get(name, name.replace("_", " "))] = words if column.dtype.kind == "f" else column
    return found


def below(evidence: Evidence) -> Section:
    """Who is flagged without the event, and how the picture changes with the limit and with the pairing window."""
    blocks: list[Block] = []
    recipe = read_config(evidence.run)["recipe"]
    column, cut = parse_target(recipe["target"]).column, recipe.get("cut", 0)
    for split in evidence.splits:
        found = below_threshold(known(evidence.said, split), evidence.threshold, adjust=column)
        blocks.append(found.table(f"Flagged without the event, {split}"))
    if cut and column in evidence.said.facts:
        blocks += cuts_tables(cuts(evidence.said, cut, evidence.threshold, column), f"{column} ≥ {cut:.1f}")
    minutes = f"{column}_minutes"
    for split in evidence.splits if minutes in evidence.said.facts else []:
        blocks.append(by_window(known(evidence.said, split), fact=minutes).table(f"By pairing window, {split}"))
    return Section("High risk below the threshold", blocks)


def refitting(evidence: Evidence) -> Section:
    """Calibration of every part but the internal one after refitting on itself, cross-fitted by subject."""
    blocks: list[Block] = []
    for split in evidence.splits:
        if split != "internal":
            try:
                blocks.append(beside_table(beside(known(evidence.said, split)), f"Recalibration on {split} itself"))
            except ScoreError as error:
                blocks.append(f"{split} was not refitted on itself: {error}.")
    return Section("Recalibration on the other cohort", blocks)


def intended(evidence: Evidence) -> Section:
    """What is refused, why, and what that costs; the error as the least sure are refused too."""
    blocks: list[Block] = []
    sure = agreement(evidence.each)
    for split in evidence.splits:
        part, rows = known(evidence.said, split), evidence.said.split == split
        sure_here = sure[rows & np.isfinite(evidence.said.truth[:, 0])]
        groups = refusals(part, IntendedUse(leads=()), evidence.threshold)
        blocks.append(refusals_table(groups, f"Answered and refused, {split}"))
        curves = {"distance from the threshold": margin(part, evidence.threshold)}
        if len(np.unique(evidence.each.seed)) > 1:
            curves["agreement of the seeds"] = sure_here
        blocks.append(coverage_table(part, evidence.threshold, curves, split))
    return Section("Intended use, and error against coverage", blocks)


def missing(evidence: Evidence) -> Section:
    """What is not known, and what was done about it."""
    return Section("Missing data", [missing_table(missing_data(evidence.said))])


def labels(evidence: Evidence) -> Section | None:
    """AUROC by share of the training subjects; None where that was not asked for."""
    files = sorted(evidence.run.private.glob("label-*.npz"))
    if not files:
        return None
    points = [_point(float(path.stem.removeprefix("label-")), Predictions.load(path)) for path in files]
    first = evidence.each.take(evidence.each.seed == evidence.each.seed.min())
    points = sorted([*points, _point(1.0, first)], key=lambda point: point.fraction)
    return Section("Label efficiency", [label_table(points)])


def _point(fraction: float, said: Predictions) -> LabelPoint:
    used = said.part("train")
    events = len(np.unique(used.subject[used.truth[:, 0] == 1]))
    parts = {split: known(said, split) for split in tested(said)}
    found = {split: measured(lambda part=part: area(part), part) for split, part in parts.items()}  # type: ignore[misc]
    return LabelPoint(fraction, len(np.unique(used.subject)), (events,), found, dict.fromkeys(found, float("nan")))


def waves_section(run: Run, show_examples: bool) -> Section | None:
    """Which waves the score rests on; None where nothing was explained."""
    found = load_attributed(run)
    if found is None:
        return None
    if not _any_explained(found):
        return Section("What the score rests on", [f"None of {len(found.record)} recordings could be explained."])
    blocks: list[Block] = [
        "Exact Shapley values of the logit: what a wave adds, averaged over all sets of other waves, when what is "
        "absent is replaced by a baseline. They say what the model reads, not what causes the value.",
        *_cohort_forest(found),
        _cohort_table(found),
        _interaction(found),
        _expected_table(found, read_config(run)["recipe"].get("target", "")),
    ]
    if show_examples:
        for number, (lead, weight, words) in enumerate(found.examples, start=1):
            blocks.append(picture.trace(f"Example {number}", lead, weight, caption=f"{words}. 25 mm/s, 10 mm/mV."))
    elif found.examples:
        blocks.append("Examples are recordings of people and are withheld; --show-examples prints them.")
    return Section("What the score rests on", blocks)


def _any_explained(found: Attributed) -> bool:
    return bool(np.isfinite(found.by_baseline[0].values).all(axis=1).any())


def _expected_table(found: Attributed, target: str) -> Table:
    """Every wave of the textbook for this target, beside what the model reads."""
    expected = next((waves for word, waves in EXPECTED.items() if word.lower() in target.lower()), ())
    part = shares(found.by_baseline[0], found.subject)
    rank = sorted(part, key=lambda name: -part[name].value)
    rows = [
        (name, ("yes" if name in expected else "no") if expected else None, part[name], rank.index(name) + 1)
        for name in part
    ]
    note = "Expected: where electrophysiology puts the sign; a share elsewhere is a question, not an error."
    if not expected:
        note = "No expectation is stored for this target."
    return Table(("wave", "expected", "share", "rank"), rows, "Against the expected waves", note)


def _cohort_forest(found: Attributed) -> list[picture.Picture]:
    differences = contrasts(found)
    if not differences:
        return []
    note = "With the event minus without; the intervals hold for all waves together (Bonferroni), over subjects."
    rows = [(name, item, "") for name, item in differences.items()]
    return [picture.forest("Difference in mean Shapley value", rows, 0.0, "logits", note)]


def _cohort_table(found: Attributed) -> Table:
    first = found.by_baseline[0]
    parts, signed = shares(first, found.subject), contributions(first, found.subject)
    ends = spread(*found.by_baseline)
    rows = [(name, parts[name], signed[name], "{:.2f} to {:.2f}".format(*ends[name])) for name in first.names]
    words = " and ".join(item.baseline for item in found.by_baseline)
    note = f"Share: mean over {len(found.record)} recordings of |φ| over Σ|φ|, over {first.baseline}. "
    note += f"Spread: the share over the baselines {words}."
    return Table(("wave", "share", "mean, logits", "share, spread"), rows, "Contribution of every wave", note)


def _interaction(found: Attributed) -> Block:
    """What every pair of waves adds beyond the two alone."""
    first = found.by_baseline[0]
    if first.interaction is None:
        return "Interactions of waves were not kept with this run; explain it again to see them."
    note = (
        f"Shapley interaction index, mean over recordings, over {first.baseline}: above zero, the two waves together "
        f"raise the score more than one by one. Hatched: above zero; bold: the interval leaves out zero. The intervals "
        f"hold for all pairs together (Bonferroni), over subjects."
    )
    return picture.pairs("Interaction of waves", first.names, interactions(first, found.subject), "logits", note)


def contrasts(found: Attributed) -> dict[str, Estimate]:
    """Difference in mean Shapley value between recordings with and without the event, by wave; none if of one kind."""
    group = np.where(np.isin(found.truth, (0, 1)), found.truth, np.nan)
    try:
        return contrast(found.by_baseline[0], group, found.subject)
    except ScoreError:
        return {}


def wave_numbers(run: Run) -> dict[str, Estimate]:
    """Shares, differences and interactions by wave, by dotted name; none where nothing was explained."""
    found = load_attributed(run)
    if found is None or not _any_explained(found):
        return {}
    first, subject = found.by_baseline[0], found.subject
    pairs = interactions(first, subject) if first.interaction is not None else {}
    return {
        **{f"shapley.share.{name}": item for name, item in shares(first, subject).items()},
        **{f"shapley.difference.{name}": item for name, item in contrasts(found).items()},
        **{f"shapley.interaction.{one}.{other}": item for (one, other), item in pairs.items()},
    }


def sections(evidence: Evidence, show_examples: bool, filled: dict[str, str]) -> list[Section]:
    """All of them, in order; those without material left out."""
    found = [
        subgroups(evidence),
        below(evidence),
        refitting(evidence),
        intended(evidence),
        labels(evidence),
        missing(evidence),
        waves_section(evidence.run, show_examples or evidence.said.origin == "synthetic"),
        reporting(evidence, filled),
    ]
    return [section for section in found if section]
