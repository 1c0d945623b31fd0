"""From predictions to the numbers of a validation: discrimination, operating point, calibration, controls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.calibration import calibrate, calibration
from stethos.metrics.compare import Difference, paired_auroc
from stethos.metrics.continuous import limits_of_agreement, mae, pearson, spearman
from stethos.metrics.interval import bootstrap, clustered_auroc
from stethos.metrics.ranking import average_precision
from stethos.metrics.threshold import OperatingPoint, choose_threshold, operating_point
from stethos.types import Estimate, Predictions

DRAWS = 1000


@dataclass(frozen=True)
class Operate:
    """How the operating point is chosen on the validation part.

    Args:
        operate_at: What is aimed at.
        operate_level: The level it must reach on the validation part, between 0 and 1.
    """

    operate_at: Literal["sensitivity", "specificity", "npv"] = "sensitivity"
    operate_level: float = 0.9


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−logit)), without overflow."""
    return np.exp(-np.logaddexp(0, -logit))


def known(predictions: Predictions, split: str) -> Predictions:
    """The rows of a split whose truth is known."""
    part = predictions.part(split)
    return part.take(np.isfinite(part.truth[:, 0]))


def threshold_of(predictions: Predictions, operate: Operate) -> float:
    """The logit at which the validation part just reaches the asked level."""
    valid = known(predictions, "valid")
    aim: dict[str, Any] = {operate.operate_at: operate.operate_level}
    return choose_threshold(valid.truth[:, 0], valid.score[:, 0], **aim)


def recalibrated(predictions: Predictions) -> Predictions:
    """Logits after the logistic recalibration that the validation part asks for."""
    valid = known(predictions, "valid")
    fit = calibrate(valid.truth[:, 0], valid.score[:, 0])
    return replace(predictions, score=fit.intercept + fit.slope * predictions.score)


def tested(predictions: Predictions) -> list[str]:
    """Names of the splits that no choice was made on, in the order internal, temporal, others."""
    first = [name for name in ("internal", "temporal") if name in predictions.split]
    return first + sorted(set(predictions.split.tolist()) - {"train", "valid", *first})


def has_both(part: Predictions) -> bool:
    """Whether a part holds both classes, without which ranking means nothing."""
    return bool(len(np.unique(part.truth[:, 0])) == 2)


def measured(compute: Callable[[], Estimate], part: Predictions) -> Estimate:
    """An estimate, or an unknown one (NaN) where the part is too small for it; the reason is logged."""
    try:
        return compute()
    except ScoreError as error:
        logging.getLogger("stethos").warning("not estimated on %s: %s", part.split[0], error)
        return Estimate(np.nan, np.nan, np.nan, len(np.unique(part.subject)))


def discrimination(part: Predictions) -> dict[str, Estimate]:
    """AUROC (clustered DeLong) and average precision (clustered bootstrap)."""
    truth, score, subject = part.truth[:, 0], part.score[:, 0], part.subject
    return {
        "auroc": measured(partial(area, part), part),
        "ap": measured(lambda: bootstrap(average_precision, subject, truth, score, draws=DRAWS), part),
    }


def area(part: Predictions) -> Estimate:
    """AUROC with its clustered interval."""
    return clustered_auroc(part.truth[:, 0], part.score[:, 0], part.subject)


def difference(model: Predictions, other: Predictions) -> Difference:
    """AUROC of one model minus that of another on the same records in the same order."""
    return paired_auroc(model.truth[:, 0], model.score[:, 0], other.score[:, 0], model.subject)


def operating(part: Predictions, threshold: float) -> OperatingPoint:
    """Sensitivity, specificity, PPV, NPV and their company at a threshold chosen elsewhere."""
    return operating_point(part.truth[:, 0], part.score[:, 0], threshold, part.subject)


def at_point(point: OperatingPoint) -> dict[str, Estimate]:
    """The operating point as named estimates; NPV stands beside the NPV of saying "no" to everybody."""
    return {
        "sensitivity": point.sensitivity,
        "specificity": point.specificity,
        "ppv": point.ppv,
        "npv": point.npv,
        "npv_trivial": point.trivial_npv,
        "prevalence": point.prevalence,
        "flagged": point.flagged,
    }


def agreement_with_truth(part: Predictions) -> dict[str, Estimate]:
    """Calibration slope, intercept, expected calibration error and Brier score."""
    names = ("slope", "intercept", "ece", "brier")
    try:
        found = calibration(part.truth[:, 0], part.score[:, 0], part.subject)
    except ScoreError as error:
        unknown = measured(partial(_raised, error), part)
        return {f"calibration.{name}": unknown for name in names}
    return {f"calibration.{name}": getattr(found, name) for name in names}


def _raised(error: Exception) -> Estimate:
    raise error


def validate(predictions: Predictions, operate: Operate) -> dict[str, Estimate]:
    """Every headline number of a binary target on every tested split, by dotted name."""
    found: dict[str, Estimate] = {}
    threshold = threshold_of(predictions, operate)
    for split in tested(predictions):
        part = known(predictions, split)
        if not has_both(part):
            continue
        numbers = discrimination(part) | at_point(operating(part, threshold)) | agreement_with_truth(part)
        found |= {f"{split}.{name}": value for name, value in numbers.items()}
    return found


def differences(predictions: Predictions, controls: Mapping[str, Predictions]) -> dict[str, Difference]:
    """AUROC of the model minus that of each control on the same records, by "control.split"; where it can be told."""
    found = {}
    for name, control in controls.items():
        for split in tested(predictions):
            model, other = known(predictions, split), known(control, split)
            if has_both(model) and np.isfinite(measured(partial(area, model), model).value):
                found[f"{name}.{split}"] = difference(model, other)
    return found


def control_numbers(controls: Mapping[str, Predictions]) -> dict[str, Estimate]:
    """AUROC of each control: `control.NAME.auroc` on the first tested split, `control.NAME.SPLIT.auroc` on all."""
    found = {}
    for name, control in controls.items():
        for split in reversed(tested(control)):
            part = known(control, split)
            if has_both(part):
                value = measured(partial(area, part), part)
                found[f"control.{name}.{split}.auroc"] = value
                found[f"control.{name}.auroc"] = value
    return found


def validate_graded(predictions: Predictions) -> dict[str, Estimate]:
    """Every headline number of a measured target: error, correlation, bias, and the error of the training mean."""
    found: dict[str, Estimate] = {}
    centre = float(np.mean(known(predictions, "train").truth)) if "train" in predictions.split else np.nan
    statistics: dict[str, Callable[..., float]] = {"mae": mae, "pearson": pearson, "spearman": spearman}
    for split in tested(predictions):
        part = known(predictions, split)
        truth, score = part.truth[:, 0], part.score[:, 0]
        for name, statistic in statistics.items():
            found[f"{split}.{name}"] = bootstrap(statistic, part.subject, truth, score, draws=DRAWS)
        constant = np.full_like(truth, centre)
        found[f"{split}.mae_of_the_mean"] = bootstrap(mae, part.subject, truth, constant, draws=DRAWS)
        found[f"{split}.bias"] = limits_of_agreement(truth, score, part.subject).bias
    return found
