"""How well a score puts rows with the event above rows without it.

AUROC is the probability that a row with the event scores above one without, ties counting half:

    AUROC = 1 / (M N) · Σ_i Σ_j [ 1(x_i > y_j) + ½ 1(x_i = y_j) ]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.clusters import binary


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Sensitivity against false-positive rate.

    Args:
        fpr: False-positive rate, rising from 0 to 1, `(P,)`.
        tpr: Sensitivity, `(P,)`.
        threshold: Lowest score flagged at each point; infinite at the first, where nothing is, `(P,)`.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


def placed_below(value: np.ndarray, among: np.ndarray) -> np.ndarray:
    """How many of `among` each value exceeds, ties counting half, `(M,)`."""
    ordered = np.sort(among)
    return (np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right")) / 2


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, by midranks.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`.

    Raises:
        ScoreError: Only one class is present.
    """
    event, score = binary(truth, score)
    below = placed_below(score[event], score[~event])
    return float(below.sum() / (len(below) * (len(score) - len(below))))


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Precision averaged over the recall gained, AP = Σ (R_n − R_{n−1}) P_n; chance is the prevalence.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`.

    Raises:
        ScoreError: Only one class is present.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*binary(truth, score)))


def roc_curve(truth: np.ndarray, score: np.ndarray) -> RocCurve:
    """Points of the ROC curve, those on a straight line left out.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`.

    Raises:
        ScoreError: Only one class is present.
    """
    from sklearn import metrics

    return RocCurve(*metrics.roc_curve(*binary(truth, score)))


def partial_auc(truth: np.ndarray, score: np.ndarray, max_fpr: float = 0.1) -> float:
    """Area under the ROC curve left of `max_fpr`, rescaled so that chance is 0.5.

        pAUC = ½ [1 + (A − A_min) / (A_max − A_min)]

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`; ties count half.
        max_fpr: Right edge, in (0, 1].

    Raises:
        ScoreError: Only one class is present, or `max_fpr` is outside of (0, 1].

    Reference:
        McClish 1989, doi:10.1177/0272989X8900900307.
    """
    from sklearn.metrics import roc_auc_score

    if not 0 < max_fpr <= 1:
        raise ScoreError(f"max_fpr must be in (0, 1]; got {max_fpr:g}")
    return float(roc_auc_score(*binary(truth, score), max_fpr=max_fpr))
