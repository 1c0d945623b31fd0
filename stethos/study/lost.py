"""What a student lost against its teacher: paired differences on the same records, by part and by group."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stethos.metrics.compare import Difference, paired_auroc, paired_bootstrap
from stethos.metrics.continuous import mae
from stethos.metrics.interval import bootstrap
from stethos.metrics.subgroup import UNKNOWN, bands
from stethos.report import picture
from stethos.report.page import Block, Section
from stethos.report.table import Cell, Table
from stethos.study import validate
from stethos.study.lead import joined
from stethos.study.student import SAID, is_of_folds
from stethos.study.validate import area, known, measured, tested
from stethos.train.run import read_config
from stethos.types import Estimate, Predictions, Run

AGE_BANDS = (45, 65, 80)
GROUPS = ("sex", "site", "device")
LEAST = 5  # subjects with and without the event below which a group gets no number
_WORDS = {"auroc": "AUROC", "mae": "mean absolute error"}
_NOTE = (
    "Paired on the same records, clustered by subject. An interval that holds zero does not show that nothing was "
    "lost; its end on the side of the teacher says how much may have been."
)


@dataclass(frozen=True)
class Loss:
    """The difference in one tested part, or in one group of it.

    Args:
        split: The part.
        group: What divides it, such as "sex"; empty for the whole part.
        level: The group, such as "F"; empty for the whole part.
        difference: Student minus teacher; None where there are too few subjects.
        subjects: In the group.
    """

    split: str
    group: str
    level: str
    difference: Estimate | None
    subjects: int

    @property
    def name(self) -> str:
        """Where it stands among the numbers, such as "internal.sex.F"."""
        return ".".join(item for item in (self.split, self.group, self.level) if item)


def against_teacher(run: Run, said: Predictions) -> tuple[dict[str, Estimate], list[Section]]:
    """Numbers by dotted name, and a section of the report; none of either where nobody taught the run.

    Args:
        run: Of the student.
        said: Its predictions, the mean over seeds.
    """
    held = pairs(run, said)
    if is_of_folds(run):
        held = {"pooled": _pooled(held)} if held else {}
    if not held:
        return {}, []
    measure = "auroc" if all(_binary(two) for _, two in held.values()) else "mae"
    own = {split: measured(_own(two), two) for split, (_, two) in held.items()}
    losses = [
        item for split, (one, two) in held.items() for item in (_whole(split, one, two), *by_groups(split, one, two))
    ]
    numbers = {f"teacher.{split}.{measure}": value for split, value in own.items()}
    numbers |= {f"difference.teacher.{item.name}.{measure}": item.difference for item in losses if item.difference}
    return numbers, [_section(run, own, losses, _WORDS[measure])]


def pairs(run: Run, said: Predictions) -> dict[str, tuple[Predictions, Predictions]]:
    """What student and teacher say of the same records in the same order, by tested part.

    Args:
        run: Of the student.
        said: Its predictions, the mean over seeds.
    """
    if not (run.private / SAID).is_file():
        return {}
    held, found = Predictions.load(run.private / SAID), {}
    for split in tested(said):
        one, two = (_ordered(known(each, split)) for each in (said, held))
        if np.array_equal(one.record, two.record) and np.array_equal(one.truth, two.truth):
            found[split] = one, two
        elif len(two):
            logging.getLogger("stethos").warning("%s: student and teacher were tested on different records", split)
    return found


def by_groups(split: str, one: Predictions, two: Predictions) -> Iterator[Loss]:
    """The difference by age, sex, site and device, as far as the part knows them and they divide it.

    Args:
        split: Name of the part.
        one: What the student says.
        two: What the teacher says of the same records in the same order.
    """
    for group, level in _levels(one).items():
        for name in sorted(set(level.tolist()), key=lambda item: (item == UNKNOWN, not item.startswith("<"), item)):
            rows = level == name
            here = one.take(rows)
            difference = lost(here, two.take(rows)).estimate if _fewest(here) >= LEAST else None
            yield Loss(split, group, name, difference, len(np.unique(here.subject)))


def lost(one: Predictions, two: Predictions) -> Difference:
    """The student's AUROC minus the teacher's, or of a measured target the mean absolute errors.

    Args:
        one: What the student says.
        two: What the teacher says of the same records in the same order.

    Raises:
        ScoreError: Too few subjects for either.
    """
    columns = one.truth[:, 0], one.score[:, 0], two.score[:, 0]
    if _binary(one):
        return paired_auroc(*columns, one.subject)
    return paired_bootstrap(mae, one.subject, *columns, draws=validate.DRAWS)


def _pooled(folds: dict[str, tuple[Predictions, Predictions]]) -> tuple[Predictions, Predictions]:
    """Student and teacher over all folds, in each of which other networks speak."""
    one, two = (joined([pair[side] for pair in folds.values()]) for side in (0, 1))
    return one, two


def _whole(split: str, one: Predictions, two: Predictions) -> Loss:
    return Loss(split, "", "", measured(lambda: lost(one, two).estimate, one), len(np.unique(one.subject)))


def _own(part: Predictions) -> Callable[[], Estimate]:
    """The teacher's own number on a part."""
    if _binary(part):
        return lambda: area(part)
    return lambda: bootstrap(mae, part.subject, part.truth[:, 0], part.score[:, 0], draws=validate.DRAWS)


def _binary(part: Predictions) -> bool:
    return bool(np.isin(part.truth, (0, 1)).all())


def _ordered(part: Predictions) -> Predictions:
    return part.take(np.argsort(part.record))


def _fewest(part: Predictions) -> int:
    """Subjects with the event or without, whichever are fewer; all of them for a measured target."""
    if not _binary(part):
        return len(np.unique(part.subject))
    return min(len(np.unique(part.subject[part.truth[:, 0] == kind])) for kind in (0, 1))


def _levels(part: Predictions) -> dict[str, np.ndarray]:
    """Group of every row, `(N,)`, by what divides the part."""
    found = {}
    if "age" in part.facts:
        found["age"] = bands(part.facts["age"].astype(np.float64), AGE_BANDS)
    for name in GROUPS:
        if name in part.facts:
            text = part.facts[name].astype(str)
            found[name] = np.where(np.isin(text, ("", "nan", "None")), UNKNOWN, text)
    return {name: level for name, level in found.items() if len(np.unique(level)) > 1}


def _section(run: Run, own: dict[str, Estimate], losses: Sequence[Loss], words: str) -> Section:
    whole = {item.split: item.difference for item in losses if not item.group}
    rows: list[list[Cell]] = [[split, own[split], whole[split]] for split in own]
    columns = ("part", f"teacher's {words}", "student minus teacher")
    blocks: list[Block] = [_who(run), Table(columns, rows, "Student and teacher", _NOTE)]
    for split in own:
        blocks += _groups(split, [item for item in losses if item.split == split and item.group], words)
    return Section("What was lost against the teacher", blocks)


def _who(run: Run) -> str:
    told = read_config(run)["protocol"]
    models = told["teacher"].split(" ")
    by = f"in each fold by its own model ({', '.join(models)})" if models[1:] else f"by the model {models[0]}"
    return (
        f"Taught {by}, which has {told['teacher_parameters']:,} parameters in all, at "
        f"{told['width']:g} of its width. What the teacher says has a weight of {told['weight']:g}, what is known the "
        f"rest. The student learned from the teacher's training part alone and is tested where the teacher was."
    )


def _groups(split: str, items: Sequence[Loss], words: str) -> Iterator[Block]:
    """The forest of groups of one part, and who was too few."""
    rows: list[tuple[str, Estimate | None, str]] = []
    for group in dict.fromkeys(item.group for item in items):
        stated = [(item.level, item.difference, "") for item in items if item.group == group and item.difference]
        rows += [(group, None, ""), *stated] if stated else []
    few = [f"{item.group} {item.level} ({item.subjects} subjects)" for item in items if not item.difference]
    if rows:
        note = "Line: no difference. Each interval stands by itself: of twenty, one misses by chance."
        yield picture.forest(f"Student minus teacher, {split}", rows, 0.0, f"difference in {words}", note)
    if few:
        yield f"Too few in {split} to compare student and teacher: {', '.join(few)}."
