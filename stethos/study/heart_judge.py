"""Hearts put before a judge: what real, reconstructed and generated cines of the same patients measure.

The judge and the generator are callables, so that any outliner can take the place of the run's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stethos.errors import CohortError
from stethos.metrics.generation import cycle_closure
from stethos.metrics.phenotypes import area_curve, phenotypes
from stethos.study.heart_numbers import PHENOTYPES, HeartTable, crps
from stethos.study.hearts import Hearts
from stethos.study.progress import bar
from stethos.types import Run

CHUNK = 128  # cines at a time
_PLAIN = ("id", "subject", "rate", "ef", "regressor")
AREAS = ("ed_area", "es_area", "myocardium", "rv_ed_area")

Outline = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # (B, F, H, W) → labels likewise, features (B, D)
Generate = Callable[[np.ndarray, np.ndarray, float | None], np.ndarray]  # rows, number of each draw, guidance → cines


@dataclass(frozen=True, eq=False)
class Judged:
    """What cines measure.

    Args:
        phenotypes: Name → `(N,)`, areas in mm².
        closure: Step over the seam relative to others, `(N,)`.
        features: `(N, D)`.
        curve: Area of the left ventricle at each frame, mm², `(N, F)`.
    """

    phenotypes: Mapping[str, np.ndarray]
    closure: np.ndarray
    features: np.ndarray
    curve: np.ndarray


def judged(cines: np.ndarray, pixel: np.ndarray, outline: Outline) -> Judged:
    """Outline and measure cines.

    Args:
        cines: `(B, F, H, W)`.
        pixel: mm a pixel, `(B,)`.
        outline: The judge.
    """
    labels, features = outline(cines)
    found = phenotypes(labels, (1.0, 1.0))
    found = {name: found[name] * (pixel**2 if name in AREAS else 1.0) for name in PHENOTYPES}
    curve = area_curve(labels, (1.0, 1.0), 1) * pixel[:, None] ** 2
    return Judged(found, cycle_closure(cines), features, curve)


def joined(parts: list[Judged]) -> Judged:
    """Several tables one after the other."""
    names = {name: np.concatenate([part.phenotypes[name] for part in parts]) for name in PHENOTYPES}
    rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("closure", "features", "curve"))
    return Judged(names, *rest)


def judge_rows(
    rows: np.ndarray, pixel: np.ndarray, make: Callable[[slice], np.ndarray], outline: Outline, what: str
) -> Judged:
    """Cines made and judged a few at a time.

    Args:
        rows: Whatever each cine is made from, `(N,)`.
        pixel: mm a pixel, `(N,)`.
        make: Part of the rows → cines.
        outline: The judge.
        what: Is being done, for the progress bar.
    """
    parts = []
    with bar(what) as progress:
        for first in range(0, len(rows), CHUNK):
            part = slice(first, first + CHUNK)
            parts.append(judged(make(part), pixel[part], outline))
            progress(min(first + CHUNK, len(rows)), len(rows))
    return joined(parts)


def draws_judged(
    hearts: Hearts, rows: np.ndarray, count: int, generate: Generate, outline: Outline, guidance: float | None = None
) -> Judged:
    """`count` hearts generated from each patient's ECG and judged, one patient's after another's, `(N count, …)`."""
    each, number = np.repeat(rows, count), np.tile(np.arange(count), len(rows))

    def make(part: slice) -> np.ndarray:
        return generate(each[part], number[part], guidance)

    return judge_rows(each, hearts.pixel(each), make, outline, "generating")


def chosen_guidance(
    hearts: Hearts, rows: np.ndarray, scales: tuple[float, ...], generate: Generate, outline: Outline
) -> tuple[float, dict[float, float]]:
    """The scale whose draws tell the ejection fraction of validation patients best, by CRPS; and that of every scale.

    Args:
        hearts: Prepared.
        rows: Validation patients.
        scales: To try; the first where there is one only.
        generate: The generator.
        outline: The judge.
    """
    if len(scales) == 1:
        return scales[0], {}
    truth, _ = true_fractions(hearts, rows, outline)
    found = {}
    for scale in scales:
        draws = draws_judged(hearts, rows, 8, generate, outline, scale).phenotypes["ef"].reshape(len(rows), 8)
        found[scale] = crps(draws, truth)
    return min(found, key=lambda scale: found[scale]), found


def true_fractions(hearts: Hearts, rows: np.ndarray, outline: Outline) -> tuple[np.ndarray, str]:
    """Ejection fraction of patients, %: the table's column ef, or what the judge measures on the real cines."""
    told = hearts.numbers("ef", rows)
    if np.isfinite(told).any():
        return told, "the cohort's column ef"
    real = judge_rows(rows, hearts.pixel(rows), lambda part: hearts.cines(rows[part]), outline, "judging real cines")
    return real.phenotypes["ef"], "the judge, on the real cine"


def nearest_patients(told: np.ndarray, told_train: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The training patient whose ECG is most like each patient's, `(N,)`.

    Args:
        told: What the flow is told of each, `(N, n)`.
        told_train: Of training patients, `(M, n)`.
        train: Their rows, `(M,)`.
    """
    away = (told**2).sum(1)[:, None] - 2 * told @ told_train.T + (told_train**2).sum(1)
    return train[np.argmin(away, axis=1)]


def regressed(told: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Ejection fraction from what the flow is told: trees and a support vector machine, their mean, `(N,)`.

    Args:
        told: Of training patients, `(M, n)`.
        truth: Of them, `(M,)`; NaN unknown.
        asked: Of those who are tested, `(N, n)`.

    Raises:
        CohortError: No training patient's is known.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.svm import SVR

    known = np.isfinite(truth)
    if known.sum() < 10:
        raise CohortError(f"a regression needs the ejection fraction of 10 training patients; {known.sum()} are known")
    trees = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=30, random_state=0
    )
    machine = SVR(C=10, gamma=0.3 / told.shape[1], epsilon=2.0)
    return np.mean([model.fit(told[known], truth[known]).predict(asked) for model in (trees, machine)], axis=0)


def heart_table(
    hearts: Hearts,
    rows: np.ndarray,
    judged_by: Mapping[str, Judged],
    others: Mapping[str, np.ndarray],
    truth: tuple[np.ndarray, str],
) -> HeartTable:
    """All that is known of tested patients, for `numbers_of`.

    Args:
        hearts: Prepared.
        rows: Tested patients, `(N,)`.
        judged_by: "real", "autoencoder", "drawn" (N S rows), "untold", "nearest", "train".
        others: "regressor" `(N,)`.
        truth: As `true_fractions` gives it.
    """
    count = len(judged_by["drawn"].closure) // len(rows)
    drawn = {name: column.reshape(len(rows), count) for name, column in judged_by["drawn"].phenotypes.items()}
    first = {name: getattr(judged_by["drawn"], name)[::count] for name in ("closure", "features")}
    return HeartTable(
        id=hearts.cohort.rows["id"][rows],
        subject=hearts.cohort.subjects[rows],
        rate=hearts.rates(rows)[:, 0],
        ef=truth[0],
        truth_from=truth[1],
        real=judged_by["real"].phenotypes,
        autoencoder=judged_by["autoencoder"].phenotypes,
        drawn=drawn,
        untold=judged_by["untold"].phenotypes,
        nearest=judged_by["nearest"].phenotypes,
        regressor=others["regressor"],
        closure={"real": judged_by["real"].closure, "drawn": first["closure"]},
        features={
            "train": judged_by["train"].features,
            "real": judged_by["real"].features,
            "drawn": first["features"],
        },
    )


def keep_table(run: Run, table: HeartTable) -> None:
    """Keep what every record measured, in `private/hearts.npz`: "id", "ef", and "real.ef", "drawn.ef", … by name."""
    columns: dict[str, np.ndarray] = {name: getattr(table, name) for name in _PLAIN}
    for kind in ("real", "autoencoder", "drawn", "untold", "nearest"):
        columns |= {f"{kind}.{name}": column for name, column in getattr(table, kind).items()}
    np.savez_compressed(run.private / "hearts.npz", allow_pickle=False, **columns)
