"""Are two runs different? Paired differences on the same test records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stethos.errors import RunError
from stethos.metrics.compare import Difference, holm, paired_auroc
from stethos.study.validate import has_both, known, tested
from stethos.types import Predictions, Run


@dataclass(frozen=True)
class Comparison:
    """Differences in AUROC, first run minus other run.

    Args:
        rows: Split, other run, difference, and p after Holm's correction over all rows.
    """

    rows: tuple[tuple[str, str, Difference, float], ...]

    def lines(self) -> list[str]:
        """One line a difference."""
        return [
            f"{split}: AUROC minus that of {other} {difference.estimate}, p = {difference.p:.3g}, Holm {corrected:.3g}"
            for split, other, difference, corrected in self.rows
        ]


def compare(folders: Sequence[Path]) -> Comparison:
    """Paired differences of the first run from each other run on every tested split.

    Raises:
        RunError: Fewer than two runs, one has no predictions, or their test records or truths differ.
    """
    if len(folders) < 2:
        raise RunError("a comparison needs two runs or more; name their folders")
    first, *others = (_predictions(Path(folder)) for folder in folders)
    rows = []
    for folder, other in zip(folders[1:], others, strict=True):
        if tested(first) != tested(other):
            raise RunError(f"{folders[0]} was tested on {tested(first)}, {folder} on {tested(other)}: not comparable")
        for split in tested(first):
            if not has_both(known(first, split)):
                continue
            one, two = _aligned(known(first, split), known(other, split), split, f"{folders[0]} and {folder}")
            pair = one.truth[:, 0], one.score[:, 0], two.score[:, 0], one.subject
            rows.append((split, str(folder), paired_auroc(*pair)))
    corrected = holm(np.array([difference.p for _, _, difference in rows]))
    return Comparison(tuple((*row, float(p)) for row, p in zip(rows, corrected, strict=True)))


def _predictions(folder: Path) -> Predictions:
    path = Run(folder).predictions
    if not path.is_file():
        raise RunError(f"{folder} holds no predictions; give the folder of a finished run")
    return Predictions.load(path).mean_over_seeds()


def _aligned(one: Predictions, two: Predictions, split: str, names: str) -> tuple[Predictions, Predictions]:
    """Both in the order of their record identifiers, which must be the same with the same truths."""
    one, two = one.take(np.argsort(one.record)), two.take(np.argsort(two.record))
    alike = len(one) == len(two) and np.array_equal(one.record, two.record)
    if not (alike and np.array_equal(one.subject, two.subject) and np.array_equal(one.truth, two.truth)):
        shared = len(np.intersect1d(one.record, two.record))
        raise RunError(
            f"{names} were tested on different records or truths ({split}: {len(one)} and {len(two)} records, {shared} "
            f"shared); compare runs on one cohort, one target and one partition"
        )
    return one, two
