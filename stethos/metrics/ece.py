"""Expected calibration error, with an interval that reaches 0 where it should.

With y the truth, p the probability, b a bin of p, and means over all rows,

    m_b = mean (y − p) 1_b        ECE = Σ_b |m_b|

A draw of subjects scatters every m_b, and |·| turns scatter into size: the ECE of nearly all draws lies above that of
the rows. A percentile interval then never holds the 0 of a calibrated model, and a bias-corrected one shrinks to the
least of the draws. So draws are asked for the noise e_b = m_b* − m_b alone. With μ_b what m_b estimates,

    |m_b| − |μ_b| ≤ |e_b|        |m_b| − |μ_b| ≥ s_b e_b, s_b the sign of μ_b

and the ends, with Q the quantile of (1 + level) / 2, are

    ECE − Q[Σ_clear s_b e_b + Σ_rest |e_b|], at least 0        ECE + max_s Q[− Σ s_b e_b]

A bin is clear, and its sign known, where |m_b| is above √(ln S) of its standard errors, S the number of subjects. Where
all bins are clear this is the usual interval; where none is off it covers at least its level. It is for the ECE over
these bins. A bin whose rows are all alike in truth does not scatter; it takes the standard error of its probabilities.

Reference:
    Andrews 2000, doi:10.1111/1468-0262.00114 (resampling fails at a kink); Andrews and Soares 2010,
    doi:10.3982/ECTA7502 (√ ln of the size).
"""

from __future__ import annotations

from itertools import product

import numpy as np

BINS = 10


def bins(probability: np.ndarray, count: int = BINS) -> np.ndarray:
    """Bin of each row, from 0, with about equal numbers; equal probabilities share one, `(N,)`.

    Args:
        probability: `(N,)`.
        count: Largest number of bins.
    """
    edges = np.quantile(probability, np.arange(1, count) / count)
    return np.unique(np.searchsorted(edges, probability, "right"), return_inverse=True)[1].ravel()


def least_error(event: np.ndarray, probability: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Standard error of m of each bin whose rows are alike in truth, 0 for the others, `(B,)`.

    Args:
        event: Boolean, `(N,)`.
        probability: `(N,)`.
        member: Bin of each row, `(N,)`.
    """
    share = np.bincount(member, event) / np.bincount(member)
    error = np.sqrt(np.bincount(member, probability * (1 - probability))) / len(event)
    return np.where((share == 0) | (share == 1), error, 0.0)


def ece_interval(
    excess: np.ndarray, drawn: np.ndarray, least: np.ndarray, subjects: int, level: float = 0.95
) -> tuple[float, float]:
    """Interval of Σ |m|.

    Args:
        excess: m of every bin, `(B,)`.
        drawn: The same of draws of subjects, `(D, B)`.
        least: Standard error that a bin has at least, `(B,)`.
        subjects: How many there are, S.
        level: Coverage.
    """
    noise = drawn - excess
    error = noise.std(axis=0)
    noise = noise * np.maximum(1, least / np.maximum(error, 1e-300))
    clear = np.abs(excess) > np.sqrt(np.log(max(subjects, 2))) * np.maximum(error, least)
    sign = np.sign(excess)
    up = np.where(clear, noise * sign, np.abs(noise)).sum(axis=1)
    ways = [(side,) if known else (-1.0, 1.0) for side, known in zip(sign, clear, strict=True)]
    down = -noise @ np.array(list(product(*ways))).T  # (D, 2^rest)
    quantile, value = (1 + level) / 2, float(np.abs(excess).sum())
    return (
        max(0.0, value - float(np.quantile(up, quantile))),
        value + max(0.0, float(np.quantile(down, quantile, axis=0).max())),
    )
