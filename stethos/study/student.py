"""A narrow network that learns what a finished run says, and what was lost on the way.

With t the mean logit of the run's networks, s the student's, y the known label, T a temperature and w a weight,

    loss = w T² H(σ(t/T), σ(s/T)) + (1 − w) H(y, σ(s))        H(p, q) = − p log q − (1 − p) log(1 − q)

Both terms are least where they should be, s = t and s = the true log odds, whatever T is; T² keeps the gradient of
the first as large as that of the second. At T = 1 a window that the teacher holds for harmless hardly counts, though
most of what a ranking needs is the order of such windows; as T grows the term becomes the squared error of the
logits, which spends a small network on the exact value of far ones. T = 2 lies between. The teacher answers for the
very window that the student sees, augmented as it is, so that augmentation needs no label. A measured target is
learned by w (s − t)² + (1 − w) (s − y)², standardised.

The student learns from the training part of the run that teaches it and from nobody else, and is tested on the same
records: the difference is paired.

Reference:
    Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2.
    Beyer et al. 2022, arXiv:2106.05237 (the teacher sees what the student sees).
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import RecipeError, RunError
from stethos.io.files import write_atomic
from stethos.nn.net1d import BLOCKS, GROUP_WIDTH, LADDERS, WIDTHS
from stethos.objectives.supervised import masked_bce, masked_mse
from stethos.study.task import EXTERNAL, Asked, Score, fingerprint
from stethos.train.dist import global_mean
from stethos.train.run import read_config
from stethos.train.weights import load_weights, sha256
from stethos.types import Cohort, Predictions, Run

Net = TypeVar("Net", bound=nn.Module)

SAID = "teacher.npz"  # among a run's private files: what its teacher says of the same records
PLACE = "teacher.json"  # beside it: where the teacher lay


@dataclass(frozen=True)
class Teaching:
    """How a student is taught.

    Args:
        width: Its share of the teacher's width, between 0 and 1.
        weight: Of what the teacher says; the known labels have the rest.
        temperature: By which both logits are divided before they are compared.

    Raises:
        RecipeError: One of them is out of range.
    """

    width: float = 0.25
    weight: float = 0.8
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not (0 < self.width < 1 and 0 < self.weight <= 1 and self.temperature > 0):
            raise RecipeError(
                f"a student needs a width between 0 and 1, a weight above 0 and up to 1, and a positive temperature; "
                f"got {self.width:g}, {self.weight:g} and {self.temperature:g}"
            )


def narrowed(widths: Sequence[int], blocks: Sequence[int], width: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths and blocks of a student.

    Of a teacher of the published size the ladder of that width, where there is one; otherwise the teacher's own
    widths times `width`, to the nearest multiple of 16, and its blocks.

    Args:
        widths: Of the teacher's stages.
        blocks: Of the teacher's stages.
        width: Share that is left, between 0 and 1.

    Raises:
        RecipeError: Nothing becomes smaller.
    """
    if (tuple(widths), tuple(blocks)) == (WIDTHS, BLOCKS) and width in LADDERS:
        return LADDERS[width]
    made = tuple(max(GROUP_WIDTH, GROUP_WIDTH * round(each * width / GROUP_WIDTH)) for each in widths)
    if sum(made) >= sum(widths):
        raise RecipeError(
            f"a student must be smaller than its teacher; {width:g} of the widths {tuple(widths)} leaves {made}, for "
            f"no stage is under {GROUP_WIDTH}: take a smaller width, or deploy the teacher"
        )
    return made, tuple(blocks)


class Lesson(NamedTuple):
    """What one step of a student sees."""

    lead: Tensor  # (B, 1, T) prepared windows
    truth: Tensor  # (B, 1) 0 or 1, or the standardised measured value; NaN where unknown
    told: Tensor  # (B, 1) the teacher's logit, or its standardised value


def lessons(draw: Callable[[int, slice], Any], teacher: Score, centre: float, spread: float) -> Callable[..., Lesson]:
    """A function from a step, and this process's share of it, to a lesson.

    Args:
        draw: The same for a batch with `lead` and `truth`.
        teacher: What it says of prepared windows, `(B, 1, T)` to `(B, 1)`.
        centre: Mean of a measured target; 0 for logits.
        spread: Its standard deviation; 1 for logits.
    """

    def lesson(step: int, share: slice) -> Lesson:
        lead, truth = draw(step, share)
        told = torch.from_numpy((teacher(lead.numpy()) - centre) / spread)
        return Lesson(lead, truth, told.to(lead.dtype))

    return lesson


class Pupil(nn.Module):
    """A student at its lessons: `forward` is what it learns by, `score` what it says.

    Args:
        student: With `net` and `score`.
        how: Weight and temperature.
        graded: The target is measured.
    """

    def __init__(self, student: nn.Module, how: Teaching, graded: bool) -> None:
        super().__init__()
        self.student, self.how, self.graded = student, how, graded

    def forward(self, lesson: Lesson) -> dict[str, Tensor]:
        """The two terms, averaged over the whole step's batch."""
        said = self.student.net(lesson.lead)  # type: ignore[operator]
        w, heat = self.how.weight, self.how.temperature
        if self.graded:
            near, true = masked_mse(said, lesson.told), masked_mse(said, lesson.truth)
            return {"teacher": w * global_mean(*near), "known": (1 - w) * global_mean(*true)}
        near = masked_bce(said / heat, torch.sigmoid(lesson.told / heat))
        true = masked_bce(said, lesson.truth)
        return {"teacher": w * heat**2 * global_mean(*near), "known": (1 - w) * global_mean(*true)}

    def score(self, x: Tensor) -> Tensor:
        """Prepared windows `(B, 1, T)` to logits `(B, 1)`."""
        return self.student.score(x)  # type: ignore[operator]


def refuse_unlike(teacher: Run, asked: Asked, parts: Mapping[str, Cohort]) -> None:
    """A student must meet the teacher's records, in the teacher's parts, with the teacher's truths.

    Args:
        teacher: The run that teaches.
        asked: Records and truths that the student would have.
        parts: Them, as they would be divided.

    Raises:
        RunError: They are others; whom the teacher was tested on might then be learned from.
    """
    said = Predictions.load(teacher.predictions).mean_over_seeds()
    said = said.take(~np.char.startswith(said.split, EXTERNAL))
    part = {record: name for name, cohort in parts.items() for record in cohort.rows["id"].tolist()}
    truth = dict(zip(asked.cohort.rows["id"].tolist(), asked.truth.tolist(), strict=True))
    rows = zip(said.record.tolist(), said.split.tolist(), said.truth[:, 0].tolist(), strict=True)
    moved = sum(part.get(record) != split or truth.get(record) != value for record, split, value in rows)
    if moved or fingerprint(asked.cohort) != read_config(teacher)["prepare"]["cohort"]:
        raise RunError(
            f"a student learns from the records that {teacher.folder} learned from and is tested where it was; in this "
            f"cohort {moved} of {len(said)} lie in another part, have another truth or are missing, or there are "
            f"further records: give the cohort that the teacher was trained on, unchanged"
        )


def told_of(weights: Sequence[Path], members: nn.Module) -> dict[str, Any]:
    """What a student's config says of who taught it.

    Args:
        weights: File of the networks that teach; one for every fold of a cross-validation.
        members: The networks, those of one fold.
    """
    size = sum(weight.numel() for weight in members.parameters())
    return {"teacher": " ".join(sha256(path) for path in weights), "teacher_parameters": size}


def is_of_folds(run: Run) -> bool:
    """Whether a run is a cross-validation, which keeps networks of folds and none to be used."""
    return read_config(run).get("protocol", {}).get("verb") == "cross_validate"


def fold_weights(run: Run, fold: int) -> Path:
    """Where a cross-validation keeps the networks of one fold."""
    return run.private / f"fold-{fold}.safetensors"


def taught_in_folds(run: Run, like: Net, folds: int) -> list[Net]:
    """The networks of every fold of a cross-validation, in evaluation mode.

    Args:
        run: Finished.
        like: Networks of the same shape.
        folds: How many.

    Raises:
        RunError: The run keeps none, as those made before folds could teach.
    """
    missing = [fold for fold in range(folds) if not fold_weights(run, fold).is_file()]
    if missing or not run.predictions.is_file():
        raise RunError(f"{run.folder} keeps no networks of fold {missing[0] if missing else 0}; cross-validate anew")
    members = []
    for fold in range(folds):
        members.append(copy.deepcopy(like).eval())
        load_weights(members[-1], fold_weights(run, fold))
    return members


def keep_teacher(run: Run, teacher: Run) -> None:
    """Keep what the teacher says of every record, and where it lies, among the student's private files."""
    Predictions.load(teacher.predictions).mean_over_seeds().save(run.private / SAID)
    write_atomic(run.private / PLACE, json.dumps({"folder": str(teacher.folder.resolve())}).encode())


def lend_windows(teacher: Run, run: Run, cohort: Cohort) -> None:
    """Give a student the windows that its teacher prepared, linked where the disk allows; they are the same.

    Args:
        teacher: The run that teaches.
        run: Of the student.
        cohort: The records that both are about.
    """
    name = fingerprint(cohort)
    held, wanted = (each.private / "prepared" / name for each in (teacher, run))
    if wanted.exists() or not (held / "index.json").is_file():
        return
    partial = wanted.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(held, partial, copy_function=_linked)
    partial.rename(wanted)


def _linked(held: str, wanted: str) -> None:
    try:
        os.link(held, wanted)
    except OSError:  # another disk, or one without links
        shutil.copyfile(held, wanted)


def teacher_of(run: Run) -> Path | None:
    """The folder of the run that taught this one; None where none did, or it is gone or has changed."""
    if not (run.private / PLACE).is_file():
        return None
    teacher = Run(Path(json.loads((run.private / PLACE).read_text())["folder"]))
    if teacher.weights.is_file() and sha256(teacher.weights) == read_config(run)["protocol"]["teacher"]:
        return teacher.folder
    logging.getLogger("stethos").warning("%s no longer holds the teacher of %s", teacher.folder, run.folder)
    return None
