"""Whether a score moves with a measured value, when rows come several to a subject.

Spearman's ρ is Pearson's correlation of ranks. The partial ρ given covariates is that of what least squares on the
ranks of the covariates leaves of the two ranks; with C the covariance of all ranks and z the covariates,

    C' = C − C_·z C_zz⁺ C_z·        ρ_partial = C'_xy / √(C'_xx C'_yy)

Subjects are drawn with replacement, and the rows are ranked anew in each draw: a draw is a weight, so that each column
is sorted once and a draw costs a running sum. The standard deviation s of the draws on Fisher's scale makes both the
interval and p, which so cannot disagree, and p is not bounded by the number of draws:

    tanh(artanh ρ ± t s)        p = 2 T(−|artanh ρ| / s)

with t and T Student's, of Satterthwaite's degrees of freedom for subjects with unequal numbers of rows. A covariate
that is not known is its median, and a column that marks it is added, as everywhere else.

Reference:
    Spearman 1904, doi:10.2307/1412159; Davison and Hinkley 1997, Bootstrap Methods and their Application, ch. 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from stethos.errors import ScoreError
from stethos.metrics import resample
from stethos.metrics.clusters import Clusters, effective_number, known
from stethos.metrics.continuous import pearson, spearman
from stethos.types import Estimate

FEWEST = 4  # subjects: the standard error on Fisher's scale is 1/√(n − 3)
_EXPLAINED = 1e-9  # of a rank's variance: what is left after the covariates is rounding


@dataclass(frozen=True)
class Association:
    """How a score moves with a measured value.

    Args:
        rho: Spearman's ρ; `n` counts subjects.
        p: Two-sided, of ρ = 0.
        partial: ρ given the covariates; ρ itself where there are none.
        partial_p: Two-sided, of a partial ρ of 0.
    """

    rho: Estimate
    p: float
    partial: Estimate
    partial_p: float


def partial_spearman(truth: np.ndarray, estimate: np.ndarray, covariates: np.ndarray) -> float:
    """Spearman's ρ of what the ranks of the covariates do not explain.

    Args:
        truth: Measured value, NaN unknown (dropped), `(N,)`.
        estimate: Any unit, `(N,)`.
        covariates: NaN where unknown (filled with the median and marked), `(N, Q)`.

    Raises:
        ScoreError: Fewer than two rows, or one of the two never changes.
    """
    from scipy.stats import rankdata

    truth, estimate, row = known(truth, estimate, np.arange(len(truth)))
    filled = _filled(covariates[row])
    if not filled.shape[1]:
        return spearman(truth, estimate)
    held = np.column_stack([np.ones(len(truth)), rankdata(filled, axis=0)])
    ranks = rankdata(np.column_stack([truth, estimate]), axis=0)
    rest = ranks - held @ np.linalg.lstsq(held, ranks, rcond=None)[0]
    return pearson(rest[:, 0], rest[:, 1])


def associate(
    truth: np.ndarray,
    scores: np.ndarray,
    subject: np.ndarray,
    covariates: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> list[Association]:
    """Spearman's ρ of every score with a measured value, plain and partial, with 95 % intervals of drawing subjects.

    Args:
        truth: Measured value, NaN unknown (the row is dropped), `(N,)`.
        scores: Known wherever the truth is, `(N, K)`.
        subject: Subject of each row, `(N,)`.
        covariates: NaN where unknown (filled with the median and marked), `(N, Q)`; None for none.
        draws: Number of resamples, the same for all scores.
        seed: Of the draws.

    Returns:
        One a score, K of them.

    Raises:
        ScoreError: Fewer than 4 subjects, a constant, a score that the covariates explain wholly, or more than 5 % of
            the draws leave a correlation undefined.
    """
    held = np.empty((len(truth), 0)) if covariates is None else np.asarray(covariates, np.float64)
    value, row, *columns = known(truth, np.arange(len(truth)), *np.asarray(scores, np.float64).T)
    clusters = Clusters.of(np.asarray(subject)[row])
    if clusters.count < FEWEST:
        raise ScoreError(f"an interval of a correlation needs at least {FEWEST} subjects; got {clusters.count}")
    table = np.column_stack([value, _filled(held[row]), *columns])
    statistic = _weighted(table, table.shape[1] - len(columns), clusters)
    found = statistic(np.ones((1, clusters.count), np.int32))[0]
    if not np.isfinite(found).all():
        raise ScoreError(
            f"a correlation needs values that differ, also after the covariates; over {len(value)} rows the "
            "measured value or a score does not: leave it out"
        )
    drawn = resample.over_subjects(statistic, clusters, draws, seed)
    each = [_judged(float(rho), column, clusters) for rho, column in zip(found, drawn.T, strict=True)]
    return [Association(*plain, *partial) for plain, partial in zip(each[::2], each[1::2], strict=True)]


def _filled(covariates: np.ndarray) -> np.ndarray:
    """Medians where a covariate is unknown, then a column that marks each that had gaps; none that is constant."""
    gap = np.isnan(covariates)
    some = ~gap.all(axis=0)
    covariates, gap = covariates[:, some], gap[:, some]
    median = np.nanmedian(covariates, axis=0) if covariates.size else np.zeros(covariates.shape[1])
    table = np.column_stack([np.where(gap, median, covariates), gap])
    return table[:, np.ptp(table, axis=0) > 0] if len(table) else table


def _weighted(table: np.ndarray, first: int, clusters: Clusters) -> resample.Weighted:
    """Plain and partial ρ, score by score, of column 0 with the columns from `first` on; those between are held."""
    rank = [_ranked(column, clusters) for column in table.T]

    def weighted(times: np.ndarray) -> np.ndarray:
        weight = times[:, None, clusters.code].astype(np.float64)  # (D, 1, N)
        ranks = np.stack([ranks(times) for ranks in rank], axis=1)  # (D, P, N)
        ranks -= np.sum(weight * ranks, axis=2, keepdims=True) / weight.sum(axis=2, keepdims=True)
        plain = (ranks * weight) @ ranks.swapaxes(1, 2)  # (D, P, P)
        cross = plain[:, 1:first]
        left = plain - cross.swapaxes(1, 2) @ (np.linalg.pinv(cross[:, :, 1:first], hermitian=True) @ cross)
        both = [_correlation(moment, plain, first) for moment in (plain, left)]
        return np.stack(both, axis=2).reshape(len(times), -1)  # (D, 2 K)

    return weighted


def _ranked(values: np.ndarray, clusters: Clusters) -> Callable[[np.ndarray], np.ndarray]:
    """Midranks, less a constant, of the rows of each draw: how often each subject came up, `(D, S)` → `(D, N)`."""
    order = np.argsort(values, kind="stable")
    ordered, member = values[order], clusters.code[order]
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")

    def ranks(times: np.ndarray) -> np.ndarray:
        below = np.zeros((len(times), len(values) + 1))
        np.cumsum(times[:, member], axis=1, out=below[:, 1:])
        return (below[:, left] + below[:, right]) / 2

    return ranks


def _correlation(moment: np.ndarray, whole: np.ndarray, first: int) -> np.ndarray:
    """Column 0 with those from `first` on, NaN where no more than rounding is left of a variance, `(D, K)`."""
    spread, before = (np.diagonal(item, axis1=1, axis2=2) for item in (moment, whole))
    spread = np.where(spread > _EXPLAINED * before, spread, np.nan)
    return moment[:, 0, first:] / np.sqrt(spread[:, :1] * spread[:, first:])


def _judged(rho: float, drawn: np.ndarray, clusters: Clusters) -> tuple[Estimate, float]:
    """Interval and p of a correlation from its draws, both on Fisher's scale.

    A correlation is at most 1 − 1/S in size there, and where no draw differs s is that of independent subjects, so that
    a perfect order of a few subjects is not certain.
    """
    most = 1 - 1 / clusters.count
    centre, error = np.arctanh(np.clip(rho, -most, most)), float(np.std(np.arctanh(np.clip(drawn, -most, most))))
    error = error if error > 0 else 1 / np.sqrt(clusters.count - FEWEST + 1)
    freedom = max(1.0, effective_number(clusters.total(np.ones(len(clusters.code))) ** 2) - 1)
    low, high = np.tanh(centre + np.array((-1, 1)) * stdtrit(freedom, 0.975) * error)
    estimate = Estimate(rho, min(rho, float(low)), max(rho, float(high)), clusters.count)
    return estimate, 2 * float(stdtr(freedom, -abs(centre) / error))


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p values, in the order given.

        p̃_(i) = min_{j ≥ i} min(1, m p_(j) / j)

    Args:
        p_values: Of m tests, `(m,)`.

    Raises:
        ScoreError: One is not in [0, 1].

    Reference:
        Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ScoreError("p values must be in [0, 1] and known")
    order = np.argsort(p)[::-1]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1)))
    return adjusted
