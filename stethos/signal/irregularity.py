"""How regular beats come, as numbers without a unit: what tells atrial fibrillation from sinus rhythm.

Everything is relative to the mean interval, so that a fast heart is not called regular for its short intervals.
"""

import numpy as np

LEAST_INTERVALS = 4
STEP = 0.05  # of the mean interval: pNN50 at one beat a second
TOLERANCE = 0.1  # of the mean interval, within which two intervals count as alike for the sample entropy
BLOCK = 256  # intervals that the sample entropy compares with each other
BINS = 16  # of the Shannon entropy, over OUTER of the mean interval to either side
OUTER = 0.4

RHYTHM_FEATURES = (
    "heart_rate",
    "sdnn",
    "rmssd",
    "pnn",
    "median_step",
    "sample_entropy",
    "shannon_entropy",
    "turning_points",
    "poincare",
)


def rhythm_features(intervals: np.ndarray, steps: np.ndarray) -> dict[str, float]:
    """Rate and irregularity of beats, by the names of `RHYTHM_FEATURES`; NaN under 4 intervals.

    `heart_rate` is 60 / median interval per minute. Over the mean interval: `sdnn`, standard deviation; `rmssd`, root
    mean square of the steps; `median_step`, median of their sizes. `pnn`: share of the steps larger than a twentieth
    of the mean interval. `sample_entropy`: −ln of the share of alike pairs of intervals that are followed by alike
    ones, alike within a tenth of the mean. `shannon_entropy`: of the intervals in 16 bins over 0.6 to 1.4 means,
    divided by ln 16. `turning_points`: share of the intervals that are longer, or shorter, than both neighbours; 2/3
    of unordered ones. `poincare`: spread across over spread along the diagonal of each interval against the one before.

    Args:
        intervals: Seconds between successive beats, `(n,)`.
        steps: Pairs of intervals that follow each other, `(m, 2)`, fewer than n − 1 where there are gaps.

    Reference:
        Dash et al. 2009, doi:10.1007/s10439-009-9740-z (turning points, Shannon entropy); Lake and Moorman 2011,
        doi:10.1152/ajpheart.00561.2010 (sample entropy of few intervals).
    """
    if len(intervals) < LEAST_INTERVALS or len(steps) < LEAST_INTERVALS - 1:
        return dict.fromkeys(RHYTHM_FEATURES, float("nan"))
    mean = intervals.mean()
    step = (steps[:, 1] - steps[:, 0]) / mean
    values = (
        60 / np.median(intervals),
        intervals.std(ddof=1) / mean,
        np.sqrt(np.mean(step**2)),
        np.mean(np.abs(step) > STEP),
        np.median(np.abs(step)),
        sample_entropy(intervals / mean, TOLERANCE),
        _shannon(intervals / mean),
        _turning_points(intervals),
        _poincare(steps / mean),
    )
    return dict(zip(RHYTHM_FEATURES, map(float, values), strict=True))


def sample_entropy(values: np.ndarray, tolerance: float) -> float:
    """−ln(A / B): B alike pairs of values, A of them followed by alike ones; with half a pair where A is 0.

    Args:
        values: In their order, `(n,)`; beyond 256, averaged over stretches of that length.
        tolerance: Largest difference of alike values.

    Returns:
        NaN where no two values are alike, or of fewer than 3.
    """
    blocks = np.array_split(values, max(1, len(values) // BLOCK))
    known = [entropy for entropy in (_block_entropy(block, tolerance) for block in blocks) if np.isfinite(entropy)]
    return float(np.mean(known)) if known else float("nan")


def _block_entropy(values: np.ndarray, tolerance: float) -> float:
    alike = np.abs(values[:, None] - values) <= tolerance
    first = np.triu(alike[:-1, :-1], 1)
    both = np.count_nonzero(first & alike[1:, 1:])
    either = np.count_nonzero(first)
    return float(np.log(float(either) / max(float(both), 0.5))) if either else float("nan")


def _shannon(relative: np.ndarray) -> float:
    counts, _ = np.histogram(np.clip(relative, 1 - OUTER, 1 + OUTER), BINS, (1 - OUTER, 1 + OUTER))
    share = counts[counts > 0] / counts.sum()
    return float(-(share @ np.log(share)) / np.log(BINS))


def _turning_points(intervals: np.ndarray) -> float:
    change = np.diff(intervals)
    return float(np.mean(change[1:] * change[:-1] < 0))


def _poincare(pairs: np.ndarray) -> float:
    across = np.std(pairs[:, 1] - pairs[:, 0])
    along = np.std(pairs[:, 1] + pairs[:, 0])
    return float(across / np.maximum(along, 1e-6))
