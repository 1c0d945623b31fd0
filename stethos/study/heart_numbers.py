"""What generated hearts are worth: agreement with the patients' own, calibration, likeness, and whose they are.

Everything here is a function of tables: phenotypes of real, reconstructed and generated cines, S draws a patient, and
features of the network that outlines hearts. The rows that generation is held against are made from the same patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stethos.metrics.continuous import mae, pearson
from stethos.metrics.generation import (
    density_coverage,
    dispersion_ratio,
    frechet_distance,
    halves_floor,
    kernel_distance,
    membership_auc,
    nearest_ratio,
    precision_recall,
)
from stethos.metrics.interval import bootstrap, fraction
from stethos.types import Estimate

LEVEL = 0.8  # of the draws' intervals
PHENOTYPES = ("ef", "fac", "ed_area", "es_area", "myocardium", "rv_ed_area", "rv_fac", "es_phase")


@dataclass(frozen=True, eq=False)
class HeartTable:
    """Tested patients, one row each.

    Args:
        id: Of the record, `(N,)`.
        subject: `(N,)`.
        rate: Heart rate, 1/min, `(N,)`.
        ef: True ejection fraction, %: the table's, or the judge's of the real cine, `(N,)`.
        truth_from: Where `ef` is from.
        real: Phenotype → of the real cine, `(N,)`.
        autoencoder: Of its reconstruction, `(N,)`.
        drawn: Of S generated cines, `(N, S)`.
        untold: Of one cine generated without a condition, `(N,)`.
        nearest: Of the training cine whose ECG is most like the patient's, `(N,)`.
        regressor: Ejection fraction that a regression from the ECG says, `(N,)`.
        closure: "real", "drawn" → step over the seam relative to others, `(N,)`.
        features: "train", "real", "drawn" → features of the outlining network, `(N, D)`.
    """

    id: np.ndarray
    subject: np.ndarray
    rate: np.ndarray
    ef: np.ndarray
    truth_from: str
    real: Mapping[str, np.ndarray]
    autoencoder: Mapping[str, np.ndarray]
    drawn: Mapping[str, np.ndarray]
    untold: Mapping[str, np.ndarray]
    nearest: Mapping[str, np.ndarray]
    regressor: np.ndarray
    closure: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]


def interval_ends(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Ends of an interval that a further draw of the same distribution falls into with probability of about `level`.

    Of S draws those at places (S + 1)(1 ± level) / 2 of the sorted ones, between two of them by a line: exact where the
    places are whole, and 0.813 of a Gaussian for 16 draws at 80 %.

    Args:
        draws: `(N, S)`.
        level: At most (S − 1) / (S + 1), where it is exact.
    """
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=1, method="weibull")
    return low, high


def crps(draws: np.ndarray, truth: np.ndarray) -> float:
    """Mean over rows of E|X − y| − ½ E|X − X′|, X and X′ two different draws: 0 is best.

    Args:
        draws: `(N, S)`, S ≥ 2.
        truth: `(N,)`; NaN unknown.

    Reference:
        Gneiting and Raftery 2007, doi:10.1198/016214506000001437, equation 21.
    """
    known = np.isfinite(truth) & np.isfinite(draws).all(axis=1)
    held, said = draws[known], truth[known]
    off = np.abs(held - said[:, None]).mean(axis=1)
    count = held.shape[1]
    apart = np.abs(held[:, :, None] - held[:, None, :]).sum(axis=(1, 2)) / (count * (count - 1))
    return float(np.mean(off - apart / 2))


def shuffled(count: int, seed: int = 0) -> np.ndarray:
    """Another patient for each, `(N,)`: a random cycle through all."""
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, int)
    other[order] = np.roll(order, 1)
    return other


def arms(table: HeartTable) -> dict[str, np.ndarray]:
    """Ejection fractions that each row of the main table says of each patient, %, `(N,)`."""
    draws, other = table.drawn["ef"], shuffled(len(table.id))
    return {
        "real": table.real["ef"],
        "autoencoder": table.autoencoder["ef"],
        "mean16": draws.mean(axis=1),
        "single": draws[:, 0],
        "shuffled": draws[other].mean(axis=1),
        "unconditional": table.untold["ef"],
        "nearest": table.nearest["ef"],
        "regressor": table.regressor,
    }


def numbers_of(table: HeartTable) -> dict[str, Estimate]:
    """Every number that is reported, by dotted name, with intervals over subjects."""
    found = _fractions(table) | _calibration(table) | _timing(table) | _others(table)
    return found | _likeness(table)


def _fractions(table: HeartTable) -> dict[str, Estimate]:
    found, said = {}, arms(table)
    for name, column in said.items():
        key = "autoencoder.ef" if name == "autoencoder" else f"ef.{name}"
        if np.nanstd(column) > 0:
            found[f"{key}.r"] = bootstrap(pearson, table.subject, table.ef, column)
        found[f"{key}.mae"] = bootstrap(mae, table.subject, table.ef, column)
    found["ef.mean16.minus_shuffled.r"] = _gap(table, said["mean16"], said["shuffled"])
    square = found["ef.regressor.r"]
    found["ef.regressor.r_squared"] = Estimate(square.value**2, max(square.low, 0) ** 2, square.high**2, square.n)
    return found


def _gap(table: HeartTable, own: np.ndarray, other: np.ndarray) -> Estimate:
    def gap(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
        return pearson(truth, first) - pearson(truth, second)

    return bootstrap(gap, table.subject, table.ef, own, other)


def _calibration(table: HeartTable) -> dict[str, Estimate]:
    draws = table.drawn["ef"]
    low, high = interval_ends(draws)
    known = np.isfinite(table.ef) & np.isfinite(low)
    inside = (low <= table.ef) & (table.ef <= high)
    return {
        "ef.coverage80": fraction(inside[known], table.subject[known]),
        "ef.dispersion_ratio": dispersion_ratio(draws[:, 0], table.ef, table.subject),
        "ef.crps": bootstrap(lambda truth, row: crps(draws[row.astype(int)], truth), table.subject, table.ef,
                             np.arange(len(draws), dtype=float), draws=200),
    }  # fmt: skip


def _timing(table: HeartTable) -> dict[str, Estimate]:
    """End systole is later in the cycle the faster the heart: the correlation with heart rate, real and generated."""
    columns = {"es_phase": table.drawn["es_phase"][:, 0], "es_phase.real": table.real["es_phase"]}
    found = {f"{name}.r": bootstrap(pearson, table.subject, table.rate, said) for name, said in columns.items()}
    found["es_phase.autoencoder.r"] = bootstrap(pearson, table.subject, table.rate, table.autoencoder["es_phase"])
    ratio = table.closure["drawn"], table.closure["real"]
    return found | {"closure_ratio": bootstrap(lambda a, b: float(np.median(a) / np.median(b)), table.subject, *ratio)}


def _others(table: HeartTable) -> dict[str, Estimate]:
    """The mean of the draws against the real cine's own, of every other phenotype."""
    found = {}
    for name in PHENOTYPES[1:-1]:
        real, drawn = table.real[name], table.drawn[name]
        if np.isfinite(real).sum() < 3 or np.nanstd(real) == 0:
            continue
        found[f"{name}.mean16.r"] = bootstrap(pearson, table.subject, real, np.nanmean(drawn, axis=1))
        found[f"{name}.dispersion_ratio"] = dispersion_ratio(drawn[:, 0], real, table.subject)
    return found


def _likeness(table: HeartTable) -> dict[str, Estimate]:
    """Distances on the outlining network's features, called by their name, beside what two halves of real ones give."""
    real, drawn, train = (table.features[name] for name in ("real", "drawn", "train"))
    plain = {
        "fd_judge": frechet_distance(real, drawn),
        "fd_judge.floor": halves_floor(real, frechet_distance),
        "kd_judge": kernel_distance(real, drawn),
        "kd_judge.floor": halves_floor(real, kernel_distance),
    }
    plain |= dict(zip(("precision", "recall"), precision_recall(real, drawn), strict=True))
    plain |= dict(zip(("density", "coverage"), density_coverage(real, drawn), strict=True))
    found = {name: Estimate(value, float("nan"), float("nan"), len(real)) for name, value in plain.items()}
    found["nearest_ratio"] = nearest_ratio(drawn, train, real)
    return found | {"membership_auc": membership_auc(train, real, drawn)}


def judge_numbers(truth: np.ndarray, other: np.ndarray, own: np.ndarray, subject: np.ndarray) -> dict[str, Estimate]:
    """What another judge finds in generated hearts, beside the run's own on the same ones.

    Args:
        truth: Ejection fraction of each patient, %, `(N,)`.
        other: By the other judge, NaN where it found no cavity, `(N,)`.
        own: By the run's own, `(N,)`.
        subject: `(N,)`.
    """
    seen = np.isfinite(other) & np.isfinite(own)
    sides = {"other": other, "own": own}
    found = {
        f"judge.{name}.ef.r": bootstrap(pearson, subject[seen], truth[seen], side[seen]) for name, side in sides.items()
    }
    found["judge.agreement.r"] = bootstrap(pearson, subject[seen], own[seen], other[seen])
    return found | {"judge.seen": fraction(seen, subject)}
