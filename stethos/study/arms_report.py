"""A pretrained encoder and its controls told to people: metrics.json, the model card, report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stethos.errors import RunError
from stethos.metrics.interval import clustered_auroc
from stethos.metrics.selective import error_against_coverage, graded_against_coverage
from stethos.report import card, picture
from stethos.report.agreement import agreement_picture, coverage_picture, map_picture
from stethos.report.figure import spoken
from stethos.report.page import Block, Page, Section, Tile
from stethos.report.table import Cell, Table
from stethos.study import sections
from stethos.study.arms import (
    PRESSURES,
    RIVALS,
    TASKS,
    UNITS,
    WORDS,
    arm_numbers,
    common,
    few_numbers,
    ordered,
    refuse_nobody,
    split_seeds,
)
from stethos.study.publish import count_evaluation
from stethos.study.validate import tested
from stethos.train.run import read_config, write_card, write_metrics
from stethos.train.weights import read_metadata
from stethos.types import Estimate, Predictions, Run

ARM = "arm-"
QUALITY = "pulse_quality"
PAIRED = "Paired on the same recordings; intervals draw subjects, the same for both sides."
ESTIMATE = (
    "Blood pressure here is estimated from the shape of the pulse. It is no measurement, and a model whose error is "
    "not surely below that of saying the mean on the validation part does not give it out."
)
HEADS = {"mae": "MAE", "lower": "lower limit", "upper": "upper limit", "auroc": "AUROC", "brier": "Brier score"}
LIMITS = "MAE: mean absolute error. Bias and limits of agreement are of estimate minus measurement; r: correlation."
_SHOWN = ("pretrained", "fused", "untrained", "classical")


def read_arms(run: Run) -> dict[str, list[Predictions]]:
    """What every arm of a run said, one a seed.

    Raises:
        RunError: The run keeps no arm.
    """
    paths = sorted(run.private.glob(f"{ARM}*.npz"))
    if not paths:
        raise RunError(f"{run.folder} holds no predictions; finish its training first")
    arms = {path.stem.removeprefix(ARM): list(split_seeds(Predictions.load(path))) for path in paths}
    return {name: arms[name] for name in ordered(list(arms))}


def publish_arms(run: Run) -> None:
    """Write metrics.json, README.md and report.html of a run from what its arms said, and count that it was done.

    Raises:
        RunError: The run keeps no arm.
        ScoreError: Nobody was tested.
    """
    arms = read_arms(run)
    first = next(iter(arms.values()))[0]
    refuse_nobody(first)
    own = "pretrained" if "pretrained" in arms else next(iter(arms))
    numbers = arm_numbers(arms, own) | few_numbers(_few(run), own)
    write_metrics(run, numbers, first.origin)
    told = [
        _flow(run),
        _tables(arms, numbers),
        _differences(arms, numbers, own),
        *_record(numbers),
        *_agreement(arms, numbers, own),
        *_coverage(arms, first),
        *_labels(numbers),
        *_training(run),
        card.section(first.origin, _statements(run, first, numbers)),
    ]
    facts = {"version": read_config(run)["version"], "model": sections.model_hash(run)}
    facts["evaluations of the tested parts"] = str(count_evaluation(run))
    title = _title(run)
    Page(title, first.origin, _summary(numbers, own), _tiles(numbers, own), told, facts).write(run.report)
    write_card(run, card.markdown(title, first.origin, _statements(run, first, numbers)))


def publish_ablation(run: Run, arms: Mapping[str, Sequence[Predictions]]) -> Run:
    """Write what each term, and the record, is worth over several seeds; `pretrained` is the whole method."""
    run.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, each in arms.items():
        for said in each:
            said.save(run.private / f"ablation-{name}-{int(said.seed[0])}.npz")
    first = arms["pretrained"][0]
    numbers = arm_numbers(arms)
    write_metrics(run, numbers, first.origin)
    told = [_tables(arms, numbers), _differences(arms, numbers, "pretrained"), *_record(numbers)]
    lead = f"Each pretraining from {len(arms['pretrained'])} seeds, probed on the same people."
    Page("cap: ablation", first.origin, lead, [], told).write(run.report)
    return run


def publish_pretrained(run: Run, points: Mapping[str, np.ndarray]) -> None:
    """Write the report of a pretraining: who was studied, how it went, and where tested recordings lie."""
    config = read_config(run)
    caption = "Tested recordings in the two directions in which their embeddings differ most; colours were not learned."
    told = [_flow(run), Section("Map", [map_picture("Map of recordings", points, caption)]), *_training(run)]
    facts = {"version": config["version"], "model": sections.model_hash(run)}
    lead = "No label was learned from. What the encoder is worth is told by a probe or a training that starts from it."
    Page(_title(run), config["origin"], lead, [], told, facts).write(run.report)
    entries: dict[str, card.Entry] = {"what": _title(run), "terms": config["terms"] or "Not stated by the cohort."}
    write_card(run, card.markdown(_title(run), config["origin"], entries))


def publish_zero_shot(run: Run, found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """Add to a pretraining how well nearness to a sentence ranks those who have what it says.

    Args:
        run: Of `pretrain`.
        found: "column.part" → (truth, nearness, subject), each `(N,)`.
        asked: Column → sentence.

    Raises:
        RunError: Nothing that was asked for is known of enough people.
    """
    if not found:
        raise RunError(
            f"{run.folder}: none of {', '.join(asked)} is a column of 0 and 1 that a tested part has both of"
        )
    config = read_config(run)
    numbers = {f"zero_shot.{name}.auroc": clustered_auroc(t, near, who) for name, (t, near, who) in found.items()}
    write_metrics(run, numbers, config["origin"])
    rows = [(f"{name.split('.')[0]}, {name.split('.')[1]}", numbers[f"zero_shot.{name}.auroc"], "") for name in found]
    sentences = Table(("column", "sentence"), [[name, words] for name, words in asked.items()], "What was asked")
    figure = picture.forest("Nearness to a sentence", rows, 0.5, "AUROC", "Line: chance. No label was learned from.")
    Page(_title(run), config["origin"], "Recordings ranked by how near they are to a sentence.", [],
         [Section("Zero-shot", [figure, sentences])]).write(run.folder / "zero_shot.html")  # fmt: skip


def _title(run: Run) -> str:
    config = read_config(run)
    words = {"pretrain": "pretraining on records", "probe": "linear probe", "cross_validate": "cross-validated probe"}
    return f"{config['system']}: {words.get(config['protocol']['verb'], 'tasks from the pulse')}"


def _flow(run: Run) -> Section:
    return Section("Who was studied", sections.flow(run).blocks)


def _training(run: Run) -> list[Section]:
    """Curves, where anything was trained step by step."""
    return [sections.training(run)] if run.log.is_file() and run.log.read_text().strip() else []


def _few(run: Run) -> dict[str, dict[str, list[Predictions]]]:
    """Share of the labels → arm → predictions, one a draw."""
    found: dict[str, dict[str, list[Predictions]]] = {}
    for path in sorted(run.private.glob("label-*.npz")):
        share, arm = path.stem.removeprefix("label-").split("-", 1)
        found.setdefault(share, {})[arm] = list(split_seeds(Predictions.load(path)))
    return found


def _words(task: str) -> str:
    return TASKS.get(task, task)


def _parts(numbers: Mapping[str, Estimate], task: str) -> list[str]:
    """Tested parts in which a task could be told."""
    names = [name.split(".") for name in numbers if name.startswith(f"{task}.") and name.count(".") == 3]
    return list(dict.fromkeys(part for _, _, part, metric in names if metric in ("mae", "auroc")))


def _metric(numbers: Mapping[str, Estimate], task: str) -> str:
    return "mae" if any(name.startswith(f"{task}.") and name.endswith(".mae") for name in numbers) else "auroc"


def _tables(arms: Mapping[str, Any], numbers: Mapping[str, Estimate]) -> Section:
    """Every arm of every task in every tested part."""
    blocks: list[Block] = []
    for task in next(iter(arms.values()))[0].names:
        parts, metric = _parts(numbers, task), _metric(numbers, task)
        if not parts:
            blocks.append(f"{_words(task)}: known of too few subjects, or of one kind alone, in the tested parts.")
            continue
        kinds = ("mae", "bias", "lower", "upper", "r") if metric == "mae" else ("auroc", "brier")
        for part in parts:
            cells: list[list[Cell]] = [
                [WORDS.get(arm, arm), *(numbers.get(f"{task}.{arm}.{part}.{kind}") for kind in kinds)] for arm in arms
            ]
            unit = f" ({UNITS[task]})" if task in UNITS else ""
            heads = ("arm", *(HEADS.get(kind, kind) for kind in kinds))
            blocks.append(Table(heads, cells, f"{_words(task)}{unit}, {part}"))
    return Section("Every task and arm", [*blocks, LIMITS, ESTIMATE])


def _differences(arms: Mapping[str, Any], numbers: Mapping[str, Estimate], own: str) -> Section:
    """Own arm minus every other, a figure a task."""
    blocks: list[Block] = []
    for task in next(iter(arms.values()))[0].names:
        metric, rows = _metric(numbers, task), []
        for part in _parts(numbers, task):
            found = [(arm, numbers.get(f"{task}.{own}.{part}.minus_{arm}")) for arm in arms if arm != own]
            rows += [(part, None, ""), *((_short(arm), item, "") for arm, item in found if item)]
        if rows:
            side = "below 0 the own encoder errs less" if metric == "mae" else "above 0 the own encoder ranks better"
            unit = f"difference in {'MAE, ' + UNITS.get(task, '') if metric == 'mae' else 'AUROC'}"
            title = f"{_words(task)}: {_short(own)} minus each"
            blocks.append(picture.forest(title, rows, 0.0, unit, f"{side.capitalize()}. {PAIRED}"))
    return Section("Paired differences", blocks)


def _short(arm: str) -> str:
    """An arm where there is little room."""
    short = {"raw_only": "shape alone", "shuffled": "strangers' records", "no_anchor": "no records"}
    return short.get(arm, arm.replace("_", " "))


def _record(numbers: Mapping[str, Estimate]) -> list[Section]:
    """What the patients' records add, where there is another pretraining to compare with."""
    names = [name for name in numbers if name.startswith("record.") and name.count(".") == 3]
    if not names:
        return []
    blocks: list[Block] = []
    for rival in RIVALS:
        rows: list[tuple[str, Estimate | None, str]] = []
        for name in names:
            _, task, part, which = name.split(".")
            if which == f"minus_{rival}":
                unit = UNITS.get(task, "AUROC")
                rows.append((f"{_words(task)}, {part}, {unit}", numbers[name], ""))
        if rows:
            cells: list[list[Cell]] = [[label, item] for label, item, _ in rows]
            note = f"Above 0 the patients' own records help. {PAIRED}"
            blocks.append(
                Table(("task, part and unit", "better by"), cells, f"Own records against: {WORDS[rival]}", note)
            )
    return [Section("What the record is worth", blocks)]


def _agreement(arms: Mapping[str, Any], numbers: Mapping[str, Estimate], own: str) -> list[Section]:
    """Measured tasks of the last tested part: estimate against measurement, and the limits of agreement."""
    blocks: list[Block] = []
    first = arms[own][0]
    for number, task in enumerate(first.names):
        parts = _parts(numbers, task)
        if not parts or _metric(numbers, task) != "mae":
            continue
        arm, part = ("fused" if "fused" in arms else own), parts[-1]
        held = common({arm: arms[arm]}, number, part)
        if held is not None:
            limits = [numbers[f"{task}.{arm}.{part}.{kind}"] for kind in ("bias", "lower", "upper")]
            title, unit = f"{_words(task)}, {part}, {_short(arm)}", UNITS.get(task, "")
            caption = "Lines: bias and limits of agreement, bands: 95 % intervals over subjects."
            blocks.append(agreement_picture(title, held.truth, held.said[arm][0], limits, unit, caption))
    return [Section("Agreement", blocks)] if blocks else []


def _coverage(arms: Mapping[str, Any], first: Predictions) -> list[Section]:
    """Error against coverage of the last tested part as the recordings of the poorest quality are refused."""
    if QUALITY not in first.facts:
        return []
    part, blocks = tested(first)[-1], list[Block]()
    for number, task in enumerate(first.names):
        curves = {}
        for arm in (name for name in _SHOWN if name in arms):
            held = common({arm: arms[arm]}, number, part)
            if held is not None:
                curves[_short(arm)] = _curve(arms[arm][0], number, part, held.graded)
        if curves:
            graded = first.names[number] in UNITS
            words = f"MAE, {UNITS[task]}" if graded else "wrong decisions at even odds"
            note = "Recordings of the lowest mean quality are refused first. Bands: 95 % intervals over subjects."
            blocks.append(coverage_picture(f"{_words(task)}, {part}", curves, words, note))
    lead = "Recordings without a usable patch were refused before; how many, and why, is told under Who was studied."
    return [Section("Error against coverage", [lead, *blocks])] if blocks else []


def _curve(said: Predictions, number: int, part: str, graded: bool) -> tuple[np.ndarray, ...]:
    rows = (said.split == part) & np.isfinite(said.truth[:, number])
    truth, score, subject = said.truth[rows, number], said.score[rows, number], said.subject[rows]
    quality = np.asarray(said.facts[QUALITY], float)[rows]
    if graded:
        found: Any = graded_against_coverage(truth, score, quality, subject)
    else:
        found = error_against_coverage(truth, score, quality, subject, 0.0, points=10)
    return found.coverage, found.error, found.low, found.high


def _labels(numbers: Mapping[str, Estimate]) -> list[Section]:
    """Probes on few labels."""
    names = [name.split(".labels.") for name in numbers if ".labels." in name]
    if not names:
        return []
    rows: list[list[Cell]] = []
    for task, rest in names:
        share, arm = rest.rsplit(".", 1)
        label = f"pretrained minus {_short(arm.removeprefix('minus_'))}" if arm.startswith("minus_") else _short(arm)
        rows.append([_words(task), f"{float(share):.0%}", label, numbers[f"{task}.labels.{rest}"]])
    note = "The same subjects for every encoder; mean over the draws. AUROC, or mean absolute error in the task's unit."
    return [Section("Few labels", [Table(("task", "labelled subjects", "arm", "result"), rows, "Few labels", note)])]


def _tiles(numbers: Mapping[str, Estimate], own: str) -> list[Tile]:
    tiles = []
    for task in TASKS:
        metric = _metric(numbers, task)
        name = f"{task}.{own}.{metric}"
        if name in numbers:
            words = "AUROC" if metric == "auroc" else f"MAE, {UNITS[task]}"
            tiles.append(Tile(f"{_words(task)}: {words}", numbers[name]))
    return tiles


def _summary(numbers: Mapping[str, Estimate], own: str) -> str:
    """Against the untrained encoder, task by task, and what the record is worth."""
    better, rest = list[str](), list[str]()
    for task in TASKS:
        item = numbers.get(f"{task}.{own}.minus_untrained")
        if item is not None:
            clear = item.high < 0 if _metric(numbers, task) == "mae" else item.low > 0
            (better if clear else rest).append(_words(task))
    words = "With the same linear probe the pretrained encoder is better than an untrained one on "
    words += (sections.listed(better) if better else "nothing") + (
        f", not on {sections.listed(rest)}." if rest else "."
    )
    for task in ("af", "sbp"):
        item = numbers.get(f"record.{task}.minus_shuffled")
        if item is not None:
            words += f" Own records against strangers', {_words(task)}: better by {spoken(item)}."
    return words


def _statements(run: Run, first: Predictions, numbers: Mapping[str, Estimate]) -> dict[str, card.Entry]:
    config = read_config(run)
    main = read_metadata(run.weights) if run.weights.is_file() else {}
    shut = [name for name, may in json.loads(main.get("gates", "{}")).items() if not may and name in PRESSURES]
    told = ("pretrained", "fused", "untrained", "mean")
    short = {name: item for name, item in numbers.items() if name.count(".") == 2}
    headline = {n: item for n, item in short.items() if n.endswith((".mae", ".auroc")) and n.split(".")[1] in told}
    return {
        "what": f"{_title(run)}, from the channel {config['recipe']['channel']}, prepared by "
        f"{config['recipe']['prepare']}; arm: {main.get('named', 'none kept')}.",
        "use": "Research on recordings like those it was trained on, by people who check every answer.",
        "outside": "Measuring blood pressure; deciding that no action is needed; children; sensors not trained on.",
        "data": f"{len(first):,} scored records of {len(np.unique(first.subject)):,} subjects.",
        "terms": config["terms"] or "Not stated by the cohort; ask its owner before sharing.",
        "results": headline,
        "limits": [
            "Numbers hold for records like the tested ones.",
            ESTIMATE,
            *([f"Not given out by this model: {', '.join(_words(name) for name in shut)}."] if shut else []),
        ],
        "hashes": {
            "model.safetensors": sections.model_hash(run),
            "records": str(config["prepare"].get("cohort", "")),
        },
    }
