"""What a model must beat: predictions from age, sex and heart rate, and from an encoder that never learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stethos.types import Predictions

STRENGTHS = np.logspace(-4, 2, 13)  # inverse penalties tried on the inner folds


def _grouped(groups: np.ndarray, truth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to five inner folds of whole subjects; a fold without both classes on both sides is left out."""
    from sklearn.model_selection import StratifiedGroupKFold

    subjects = min(np.unique(groups[truth == value]).size for value in (0, 1))
    if subjects < 2:
        return []
    splitter = StratifiedGroupKFold(int(min(5, subjects)), shuffle=True, random_state=0)
    folds = splitter.split(truth, truth, groups)
    return [fold for fold in folds if all(np.unique(truth[side]).size == 2 for side in fold)]


def fit_logistic(
    features: np.ndarray, truth: np.ndarray, groups: np.ndarray, strengths: np.ndarray | None = None
) -> Any:
    """Ridge logistic regression on standardised features, its penalty tuned by AUROC on grouped inner folds.

    Args:
        features: `(N, D)`; NaN is replaced by the median and marked in a column of its own.
        truth: 0 or 1, `(N,)`.
        groups: Subject of each row, `(N,)`.
        strengths: Inverse penalties to try; `STRENGTHS` where not given.

    Returns:
        A fitted scikit-learn pipeline; `decision_function` gives logits. With too few subjects to tune by, the
        strongest penalty is taken.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        LogisticRegression(max_iter=2000),
    )
    folds, tried = _grouped(groups, truth), STRENGTHS if strengths is None else strengths
    if not folds:
        return pipeline.set_params(logisticregression__C=tried[0]).fit(features, truth)
    search = GridSearchCV(pipeline, {"logisticregression__C": tried}, scoring="roc_auc", cv=folds)
    return search.fit(features, truth).best_estimator_


def fit_ridge(features: np.ndarray, truth: np.ndarray, groups: np.ndarray, strengths: np.ndarray | None = None) -> Any:
    """Ridge regression on standardised features, tuned like `fit_logistic` but by squared error; arguments as there."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold

    tried = STRENGTHS if strengths is None else strengths
    folds = GroupKFold(int(min(5, np.unique(groups).size))).split(truth, truth, groups)
    errors = [_ridge_errors(features, truth, inside, outside, 1 / tried) for inside, outside in folds]
    best = 1 / tried[int(np.argmin(np.mean(errors, axis=0)))]
    return _standardised(Ridge(alpha=float(best))).fit(features, truth)


def _standardised(*last: Any) -> Any:
    """Gaps filled by the median and marked, zero mean, unit spread; then what is given."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), *last)


def _ridge_errors(
    features: np.ndarray, truth: np.ndarray, inside: np.ndarray, outside: np.ndarray, penalties: np.ndarray
) -> np.ndarray:
    """Mean squared error on one fold under each penalty, `(P,)`: all share one decomposition of XᵀX."""
    scale = _standardised().fit(features[inside])
    x, y = scale.transform(features[inside]), truth[inside]
    mean = y.mean()
    size, turn = np.linalg.eigh(x.T @ x)
    along = turn.T @ (x.T @ (y - mean))
    weights = turn @ (along[:, None] / (size[:, None] + penalties))  # (D, P)
    said = scale.transform(features[outside]) @ weights + mean
    return np.mean((truth[outside][:, None] - said) ** 2, axis=0)


def vitals(facts: dict[str, np.ndarray] | Any) -> np.ndarray:
    """Age, sex and heart rate with their squares and products, `(N, 8)`; NaN where unknown.

    The heart rate is the one measured from the recording; sex is 1 for "M", 0 for "F".
    """
    count = len(next(iter(facts.values())))
    unknown = np.full(count, np.nan)
    age = np.asarray(facts.get("age", unknown), float)
    sex = np.array([{"M": 1.0, "F": 0.0}.get(str(item).upper()[:1], np.nan) for item in facts.get("sex", unknown)])
    rate = np.asarray(facts.get("ecg_heart_rate", unknown), float) / 60
    age = age / 50
    columns = [age, sex, rate, age**2, rate**2, age * sex, age * rate, sex * rate]
    return np.stack(columns, axis=1)  # (N, 8)


def vitals_control(predictions: Predictions, strengths: np.ndarray | None = None) -> Predictions:
    """The same rows scored by a logistic model on age, sex and heart rate, fitted on the rows of "train".

    Needs nothing but the predictions' own facts, so it can be refitted wherever they are.

    Args:
        predictions: Of one class; needs a "train" split.
        strengths: Inverse penalties to try; `STRENGTHS` where not given.
    """
    fitted_on = (predictions.split == "train") & np.isfinite(predictions.truth[:, 0])
    table = vitals(predictions.facts)
    table = table[:, np.isfinite(table[fitted_on]).any(axis=0)]
    if not table.shape[1]:
        return replace(predictions, score=np.zeros_like(predictions.score))
    truth = predictions.truth[fitted_on, 0]
    model = fit_logistic(table[fitted_on], truth, predictions.subject[fitted_on], strengths)
    return replace(predictions, score=model.decision_function(table)[:, None])


def linear_probe(
    features: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray,
    graded: bool = False,
    strengths: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Weights `(D,)` and bias of a linear model with a tuned ridge penalty, in the units of the features.

    Args:
        features: `(N, D)`.
        truth: 0 or 1, or measured, `(N,)`.
        groups: Subject of each row, `(N,)`; kept together by the inner folds.
        graded: Least squares for a measured truth instead of a logistic model.
        strengths: Inverse penalties of a logistic model to try; `STRENGTHS` where not given.
    """
    model = fit_ridge(features, truth, groups) if graded else fit_logistic(features, truth, groups, strengths)
    scale, regression = model[-2], model[-1]
    weight = np.ravel(regression.coef_) / scale.scale_
    return weight, float(np.ravel(regression.intercept_)[0] - weight @ scale.mean_)
