"""Whether generated hearts are like real ones, follow what they were made from, and are nobody's in particular.

**Like real ones.** Features of real and generated cines are compared as two clouds. With means μ and covariances C,

    FD = |μ_a − μ_b|² + tr C_a + tr C_b − 2 tr (C_a C_b)^½

and the last trace is the sum of the singular values of A Bᵀ / √((N − 1)(M − 1)), A and B being the centred features:
so no root of a matrix is taken, nothing is shrunk, and fewer rows than features do no harm. FD of few rows is large
even between two samples of one cloud, and so it is never shown without `halves_floor`. The kernel distance has no such
bias. With k(x, y) = (x·y / D + 1)³,

    KD = Σ_{i≠j} k(a_i, a_j) / N(N − 1) + Σ_{i≠j} k(b_i, b_j) / M(M − 1) − 2 Σ_ij k(a_i, b_j) / NM

Both are blind to hearts that are real but somebody else's; the following are not.

**Following what they were made from.** Several draws a patient say how sure the generator is; the share of true values
in the middle of the draws says whether it may be.

**Nobody's in particular.** A generator that repeats its training cines lies closer to them than other real ones do.

Reference:
    Dowson and Landau 1982, doi:10.1016/0047-259X(82)90077-X (FD); Gretton 2012, JMLR 13:723–773 (KD's estimate);
    Bińkowski 2018, arXiv 1801.01401 (its kernel).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from stethos.errors import ScoreError
from stethos.metrics import resample
from stethos.metrics.clusters import Clusters, known
from stethos.metrics.interval import clustered_auroc, fraction, resampled
from stethos.types import Estimate

_NODES = 200  # of the quadrature in `expected_coverage`


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """FD above: the squared Fréchet distance of the Gaussians with the means and covariances of two clouds.

    Args:
        a: Features, `(N, D)`, N ≥ 2.
        b: Likewise, `(M, D)`, M ≥ 2.

    Returns:
        0 or more, in the features' unit squared.

    Raises:
        ScoreError: Rows are too few, not finite, or differ in length.
    """
    a, b = _clouds(a, b, (2, 2))
    shift = a.mean(axis=0) - b.mean(axis=0)
    root_a, root_b = _root(a), _root(b)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + np.sum(root_a**2) + np.sum(root_b**2) - 2 * shared))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """KD above: the unbiased estimate of the squared maximum mean discrepancy, from all rows at once.

    Args:
        a: Features, best of about unit variance, `(N, D)`, N ≥ 2.
        b: Likewise, `(M, D)`, M ≥ 2.

    Returns:
        0 on average where both come from one cloud, and so often below it.

    Raises:
        ScoreError: Rows are too few, not finite, or differ in length.
    """
    a, b = _clouds(a, b, (2, 2))

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: np.ndarray) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())


def halves_floor(
    features: np.ndarray, distance: Callable[[np.ndarray, np.ndarray], float], seed: int = 0, repeats: int = 10
) -> float:
    """Mean distance between two random halves of real features: what a perfect generator would score.

    Halves have half the rows; a biased distance, such as FD, of generated to all real rows has a somewhat lower floor.

    Args:
        features: One row a subject, `(N, D)`.
        distance: Of two clouds.
        seed: Of the halves.
        repeats: How many times the rows are halved.

    Raises:
        ScoreError: The halves are too small for the distance.
    """
    generator, half = np.random.default_rng(seed), len(features) // 2
    found = []
    for _ in range(repeats):
        order = generator.permutation(len(features))
        found.append(distance(features[order[:half]], features[order[half : 2 * half]]))
    return float(np.mean(found))


def precision_recall(real: np.ndarray, generated: np.ndarray, neighbours: int = 3) -> tuple[float, float]:
    """Share of generated rows that lie within reach of a real one, and of real rows within reach of a generated one.

    The reach of a row is the distance to the k-th nearest other row of its own cloud.

    Args:
        real: Features, `(N, D)`.
        generated: Likewise, `(M, D)`.
        neighbours: k.

    Returns:
        Precision and recall.

    Raises:
        ScoreError: There are not more than k rows, they are not finite, or differ in length.

    Reference:
        Kynkäänniemi 2019, arXiv 1904.06991, equations 1 and 2.
    """
    real, generated = _clouds(real, generated, (neighbours + 1, neighbours + 1))
    apart = _apart(real, generated)
    return (
        float((apart <= _reach(real, neighbours)[:, None]).any(axis=0).mean()),
        float((apart <= _reach(generated, neighbours)[None]).any(axis=1).mean()),
    )


def density_coverage(real: np.ndarray, generated: np.ndarray, neighbours: int = 5) -> tuple[float, float]:
    """How many real rows reach a generated one, over k, and the share of real rows that reach any.

    Unlike in precision and recall an outlier that was generated makes no ball of its own, and one that is real counts
    little. The density of a perfect generator is about 1, and may be above it; its coverage is about 1 − 2^−k.

    Args:
        real: Features, `(N, D)`.
        generated: Likewise, about as many, `(M, D)`.
        neighbours: k.

    Returns:
        Density and coverage.

    Raises:
        ScoreError: There are not more than k rows, they are not finite, or differ in length.

    Reference:
        Naeem 2020, arXiv 2002.09797.
    """
    real, generated = _clouds(real, generated, (neighbours + 1, 1))
    inside = _apart(real, generated) <= _reach(real, neighbours)[:, None]
    return float(inside.sum(axis=0).mean() / neighbours), float(inside.any(axis=1).mean())


def expected_coverage(draws: int, level: float) -> float:
    """Share of true values that lie in the central interval of S draws of the same bell-shaped distribution.

    Fewer draws reach less far. The quantiles of numpy lie at place h = (S − 1)(1 − level) / 2 of the sorted draws, and
    where h is whole the share is (S − 1) / (S + 1) · level whatever the distribution. Between two draws it depends
    a little on the shape: of 16 draws at 80 % it is 0.706 of a flat distribution, and 0.714 of a Gaussian one. It is
    computed for the latter, as 1 − 2 E Φ(low end), by quadrature over the two draws next to h.

    Args:
        draws: S, at least 2.
        level: Of the interval, in (0, 1).

    Raises:
        ScoreError: Fewer than 2 draws, or a level outside of (0, 1).
    """
    _central(draws, level)
    place = (draws - 1) * (1 - level) / 2
    below, part = int(place), place - int(place)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    upper, ratio = (1 + nodes) / 2, ((1 + nodes) / 2)[:, None]  # F of the upper of the two, and of the lower over it
    dense = (below + 1) * np.log(upper) + (draws - below - 2) * np.log1p(-upper) + below * np.log(ratio)
    chance = np.exp(dense - dense.max()) * weights * weights[:, None]
    low = ndtr((1 - part) * ndtri(upper * ratio) + part * ndtri(upper))
    return 1 - 2 * float(np.sum(chance * low) / np.sum(chance))


def interval_coverage(
    draws: np.ndarray, truth: np.ndarray, level: float = 0.8, subject: np.ndarray | None = None
) -> Estimate:
    """Share of true values inside the central interval of their draws, to be held against `expected_coverage`.

    Args:
        draws: S draws a row, `(N, S)`.
        truth: In the same unit, NaN unknown (dropped), `(N,)`.
        level: Of the interval of the draws, whose ends are numpy's linear quantiles.
        subject: Subject of each row, `(N,)`; a row each where None.

    Returns:
        With the 95 % interval of `fraction`.

    Raises:
        ScoreError: No truth is known, a draw is NaN where it is, or there are fewer than 2 draws.
    """
    draws = np.asarray(draws, np.float64)
    if draws.ndim != 2 or len(draws) != len(truth):
        raise ScoreError(f"coverage needs draws (N, S) of {len(truth)} true values; got shape {draws.shape}")
    _central(draws.shape[1], level)
    subject = np.arange(len(truth)) if subject is None else subject
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=1)
    value, low, high, subject = known(truth, low, high, subject)
    return fraction((low <= value) & (value <= high), subject)


def _central(draws: int, level: float) -> None:
    if draws < 2 or not 0 < level < 1:
        raise ScoreError(f"a central interval needs 2 draws and a level in (0, 1); got {draws} and {level:g}")


def dispersion_ratio(
    generated: np.ndarray, real: np.ndarray, subject: np.ndarray | None = None, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Standard deviation of generated values over that of real ones; below 1 the generator tends to the mean.

    Args:
        generated: One for each real value, `(N,)`.
        real: In the same unit, NaN unknown (dropped), `(N,)`.
        subject: Subject of each row, `(N,)`; a row each where None. Both values of a subject are drawn together.
        draws: Number of resamples.
        seed: Of the draws.

    Raises:
        ScoreError: Fewer than two values, or real values that are all the same.
    """
    subject = np.arange(len(real)) if subject is None else subject
    real, generated, subject = known(real, generated, subject)
    if np.ptp(real) == 0:
        raise ScoreError(f"a ratio of spreads needs real values that differ; got {len(real)} that are {real[0]:g}")
    clusters = Clusters.of(subject)
    moments = [clusters.total(np.ones(len(real)))]
    for values in (generated, real):
        moments += [clusters.total((values - values.mean()) ** power) for power in (1, 2)]

    def weighted(times: np.ndarray) -> np.ndarray:
        rows, *sums = (times @ np.array(moments).T).T
        made, true = (np.maximum(0, square - first**2 / rows) for first, square in (sums[:2], sums[2:]))
        return np.sqrt(made / np.where(true > 0, true, np.nan))[:, None]

    return resampled(weighted, clusters, None, draws, 0.95, seed)[0]


def cycle_closure(cine: np.ndarray) -> np.ndarray:
    """Step from the last frame back to the first over the mean step from frame to frame, in mean absolute grey.

    About 1 where the cycle closes, as its last step is like any other; below it where the heart rests at the seam.

    Args:
        cine: Frame f at f / F of the cycle, `(..., F, H, W)`; one cine or any number.

    Returns:
        NaN for a cine that does not move, `(...)`.

    Raises:
        ScoreError: Fewer than three frames.
    """
    cine = np.asarray(cine, np.result_type(cine, np.float32))
    if cine.ndim < 3 or cine.shape[-3] < 3:
        raise ScoreError(f"closure needs cines (..., F, H, W) of at least 3 frames; got shape {cine.shape}")
    step = np.abs(np.diff(cine, axis=-3)).mean(axis=(-3, -2, -1), dtype=np.float64)
    seam = np.abs(cine[..., 0, :, :] - cine[..., -1, :, :]).mean(axis=(-2, -1), dtype=np.float64)
    return seam / np.where(step > 0, step, np.nan)


def nearest_ratio(
    generated: np.ndarray, train: np.ndarray, test: np.ndarray, draws: int = 2000, seed: int = 0
) -> Estimate:
    """Median distance of generated rows to their nearest training row, over that of real rows of others.

    Below 1 generated hearts are closer to those trained on than other people's are: they were remembered, or are all
    middling. Tell these apart with `membership_auc`.

    Args:
        generated: Features, one row a subject, `(N, D)`.
        train: Of what the generator was trained on, `(K, D)`.
        test: Of real cines of others, one row a subject, `(M, D)`.
        draws: Number of resamples of generated rows and, apart from them, of real ones.
        seed: Of the draws.

    Returns:
        With the percentile interval; `n` counts the real rows.

    Raises:
        ScoreError: Rows are not finite or differ in length, or half of the real ones are training rows.
    """
    near = [_nearest(*_clouds(rows, train, (1, 1))) for rows in (generated, test)]
    generator = np.random.default_rng(seed)
    value, base = (float(np.median(distance)) for distance in near)
    drawn = [np.median(row[generator.integers(0, len(row), (draws, len(row)))], axis=1) for row in near]
    if base == 0 or drawn[1].min() == 0:
        raise ScoreError("a ratio needs real rows apart from the training rows; many are the same: check the split")
    low, high = resample.percentile(drawn[0] / drawn[1], 0.95)
    return Estimate(value / base, low, high, len(test))


def membership_auc(train: np.ndarray, held_out: np.ndarray, generated: np.ndarray) -> Estimate:
    """How well the distance to the nearest generated row tells training rows from rows of others, as an AUROC.

    0.5 where the generator is as far from both; 1 where each training row has a generated one beside it.

    Args:
        train: Features of what the generator was trained on, one row a subject, `(N, D)`.
        held_out: Of real cines of others, one row a subject, `(M, D)`.
        generated: `(K, D)`.

    Returns:
        With the interval of `clustered_auroc`; the training rows are the events.

    Raises:
        ScoreError: Rows are fewer than two, not finite, or differ in length.
    """
    near = [_nearest(*_clouds(rows, generated, (1, 1))) for rows in (train, held_out)]
    member = np.repeat([1, 0], [len(row) for row in near])
    return clustered_auroc(member, -np.concatenate(near), np.arange(len(member)))


def circular_mean(phase: np.ndarray) -> np.ndarray:
    """Mean direction of phases of a cycle, over the last axis.

    Args:
        phase: In cycles, `(..., S)`.

    Returns:
        In [0, 1); NaN where a phase is, or where they cancel, `(...)`.
    """
    vector = np.exp(2j * np.pi * np.asarray(phase)).mean(axis=-1)
    turn = np.angle(vector) / (2 * np.pi) % 1 % 1  # twice: the first makes 1 of the least below 0
    return np.where(np.abs(vector) > 1e-12, turn, np.nan)[()]


def circular_error(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Mean absolute difference of phases the shorter way round, in cycles, 0 to 0.5.

    Args:
        truth: In cycles, NaN unknown (dropped), `(N,)`.
        estimate: Likewise, known wherever the truth is, `(N,)`.

    Raises:
        ScoreError: No truth is known, or an estimate is NaN where it is.
    """
    truth, estimate = known(truth, estimate)
    return float(np.mean(np.abs((estimate - truth + 0.5) % 1 - 0.5)))


def _root(cloud: np.ndarray) -> np.ndarray:
    """R with RᵀR = C, `(min(N, D), D)`."""
    centred = (cloud - cloud.mean(axis=0)) / np.sqrt(len(cloud) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _clouds(a: np.ndarray, b: np.ndarray, least: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds as float64, each of at least so many rows."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.shape[1]:
        raise ScoreError(f"needs two clouds (N, D) and (M, D) of features; got shapes {a.shape} and {b.shape}")
    if len(a) < least[0] or len(b) < least[1]:
        raise ScoreError(f"needs at least {least[0]} and {least[1]} rows of features; got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ScoreError("needs finite features; some are NaN or infinite: take such cines out first and count them")
    return a, b


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances, `(N, M)`."""
    from scipy.spatial.distance import cdist

    return cdist(a, b)


def _nearest(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    return _apart(rows, among).min(axis=1)


def _reach(cloud: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each row to its k-th nearest other row, `(N,)`."""
    return np.partition(_apart(cloud, cloud), neighbours, axis=1)[:, neighbours]  # the nearest is the row itself
