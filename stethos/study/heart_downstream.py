"""What generated hearts are good for: pretraining where few are labelled.

An autoencoder of cines is pretrained on real hearts, on real and generated ones in a ratio, on generated ones alone, or
not at all; then a linear model reads the ejection fraction, and whether it is below 50 %, in its latent cines, from a
few labelled patients. Everything is repeated with other patients, other hearts and other weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stethos.errors import CohortError
from stethos.metrics.continuous import pearson
from stethos.metrics.ranking import auroc
from stethos.study.controls import fit_ridge
from stethos.types import Estimate

RATIOS = (0.0, 1.0, 2.0, 3.0)  # generated over real
LOW = 50.0  # %, ejection fraction

Learn = Callable[[np.ndarray, int], Callable[[np.ndarray], np.ndarray]]  # cines, seed → cines → rows


def mixes(real: np.ndarray, generated: np.ndarray) -> dict[str, np.ndarray]:
    """Cines of each pretraining, `(N, F, H, W)`; generated ones in the order that they come.

    Args:
        real: `(N, F, H, W)`.
        generated: At least three times as many.

    Raises:
        CohortError: There are fewer.
    """
    if len(generated) < max(RATIOS) * len(real):
        raise CohortError(f"needs {max(RATIOS):g} generated hearts for each real one; got {len(generated)}")
    found = {"none": real[:0], "generated_only": generated[: len(real)]}
    for ratio in RATIOS:
        name = "real_only" if ratio == 0 else f"real_and_{100 * ratio:.0f}"
        found[name] = np.concatenate([real, generated[: round(ratio * len(real))]])
    return found


def worth(
    learn: Learn,
    cines: Mapping[str, np.ndarray],
    labelled: tuple[np.ndarray, np.ndarray],
    tested: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> dict[str, float]:
    """What each pretraining lets a linear model read, on one draw of everything.

    Args:
        learn: Trains an autoencoder, or makes one that has learned nothing of no cines.
        cines: Name → what it is pretrained on.
        labelled: Cines `(M, F, H, W)` and ejection fractions `(M,)` of the few who are labelled.
        tested: Of those who are tested.
        seed: Of weights and order.

    Returns:
        "NAME.ef.r" and "NAME.low.auroc".
    """
    found = {}
    for name, pretrained_on in cines.items():
        rows = learn(pretrained_on, seed)
        own, other = rows(labelled[0]), rows(tested[0])
        said = fit_ridge(own, labelled[1], np.arange(len(own))).predict(other)
        found[f"{name}.ef.r"] = pearson(tested[1], said) if np.ptp(said) > 0 else 0.0
        low = (tested[1] < LOW).astype(float)
        if 0 < low.sum() < len(low):
            found[f"{name}.low.auroc"] = auroc(low, -said)
    return found


def over_seeds(each: list[dict[str, float]]) -> dict[str, Estimate]:
    """Means over seeds with 95 % t intervals, and paired differences to `none` and to `real_only`.

    Args:
        each: What `worth` gave, one a seed; at least two.
    """
    found = {}
    for name in each[0]:
        column = np.array([one[name] for one in each])
        found[f"downstream.{name}"] = _over(column)
        mix, metric = name.split(".", 1)
        for base in ("none", "real_only"):
            if mix != base:
                other = np.array([one[f"{base}.{metric}"] for one in each])
                found[f"downstream.{mix}.minus_{base}.{metric}"] = _over(column - other)
    return found


def _over(values: np.ndarray) -> Estimate:
    from scipy.stats import t

    middle, half = (
        float(values.mean()),
        float(values.std(ddof=1) / np.sqrt(len(values)) * t.ppf(0.975, len(values) - 1)),
    )
    return Estimate(middle, middle - half, middle + half, len(values))
