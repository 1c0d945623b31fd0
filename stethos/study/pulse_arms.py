"""What is fitted on tables: linear probes on an encoder's rows, a classical model on measured features, the mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stethos.study.controls import STRENGTHS, fit_logistic, fit_ridge
from stethos.study.several import Case

FEATURES = "pulse_"  # in front of the names of measured features
_STRENGTHS = STRENGTHS[::3]  # a factor of 30 apart, for there are many tasks


def linear_probes(
    table: np.ndarray, truth: np.ndarray, subject: np.ndarray, graded: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A linear model a task, its penalty tuned on inner folds of whole subjects: weights `(K, D)`, biases `(K,)`.

    A task that cannot be learned, for want of recordings of two kinds, has weights of 0 and says the mean.

    Args:
        table: Rows of an encoder, `(N, D)`.
        truth: What is known, `(N, K)`; NaN where unknown.
        subject: `(N,)`.
        graded: Which tasks are measured, not yes or no, `(K,)`.
    """
    weight, bias = np.zeros((truth.shape[1], table.shape[1])), np.zeros(truth.shape[1])
    for task, (column, of) in enumerate(zip(truth.T, graded, strict=True)):
        known = np.isfinite(column)
        if not learnable(column[known], subject[known], bool(of)):
            bias[task] = constant(column[known], bool(of))
            continue
        model = _linear(table[known], column[known], subject[known], bool(of))
        scaler, regression = model[-2], model[-1]
        weight[task] = np.ravel(regression.coef_) / scaler.scale_
        bias[task] = np.ravel(regression.intercept_)[0] - weight[task] @ scaler.mean_
    return weight, bias


def constant(known: np.ndarray, graded: bool) -> float:
    """What says nothing of anybody: the mean, or the log odds of a yes; 0 where nothing is known."""
    if not len(known):
        return 0.0
    if graded:
        return float(known.mean())
    share = (known.sum() + 0.5) / (len(known) + 1)
    return float(np.log(share / (1 - share)))


def mean_table(case: Case, train: np.ndarray, graded: np.ndarray) -> np.ndarray:
    """The training mean of each task for every record with a usable patch, `(N, K)`; NaN for the others."""
    truth = case.told.truth[case.seen(train)]
    said = [constant(column[np.isfinite(column)], bool(of)) for column, of in zip(truth.T, graded, strict=True)]
    table = np.full(case.told.truth.shape, np.nan)
    table[case.seen(np.arange(len(table)))] = said
    return table


def feature_table(case: Case) -> tuple[np.ndarray, list[str]]:
    """The measured features of every record, `(N, D)`, and their names."""
    names = sorted(name for name in case.prepared.facts if name.startswith(FEATURES))
    return np.stack([np.asarray(case.prepared.facts[name], np.float64) for name in names], axis=1), names


def classical_table(case: Case, train: np.ndarray, graded: np.ndarray) -> np.ndarray:
    """What a classical model on measured features says of every record, `(N, K)`; NaN for those that were refused.

    Args:
        case: Records whose features were measured.
        train: Row numbers of the training records.
        graded: Which tasks are measured, `(K,)`.
    """
    features, _ = feature_table(case)
    rows, seen = case.seen(train), case.seen(np.arange(len(features)))
    table = np.full(case.told.truth.shape, np.nan)
    fitted_on = (features[rows], case.told.truth[rows], case.told.cohort.subjects[rows])
    table[seen] = classical_answers(fitted_on, features[seen], graded)
    return table


def classical_answers(
    fitted_on: tuple[np.ndarray, np.ndarray, np.ndarray], features: np.ndarray, graded: np.ndarray
) -> np.ndarray:
    """Estimates or log odds of every task, `(M, K)`.

    A linear model and gradient-boosted trees are tried on the same inner folds of whole subjects, and the better one
    is fitted on all training records.

    Args:
        fitted_on: Features `(N, D)`, NaN where not measured; truths `(N, K)`; subjects `(N,)`.
        features: Of those who are asked about, `(M, D)`.
        graded: Which tasks are measured, `(K,)`.
    """
    known, truth, subject = fitted_on
    usable = np.isfinite(known).any(axis=0)
    known, features = known[:, usable], features[:, usable]
    told = np.empty((len(features), truth.shape[1]))
    for task, of in enumerate(graded.tolist()):
        there = np.isfinite(truth[:, task])
        column, people = truth[there, task], subject[there]
        if learnable(column, people, of):
            told[:, task] = answered(better_classical(known[there], column, people, of), features, of)
        else:
            told[:, task] = constant(column, of)
    return told


def better_classical(features: np.ndarray, truth: np.ndarray, subject: np.ndarray, graded: bool) -> Any:
    """The linear model or the trees, whichever errs less on inner folds, fitted on all.

    Args:
        features: `(N, D)`; NaN where not measured.
        truth: `(N,)`.
        subject: `(N,)`; kept together.
        graded: Whether the truth is measured.
    """
    makers = (_linear, _trees)
    errors = np.zeros(len(makers))
    for inside, outside in inner_folds(truth, subject, graded):
        for place, make in enumerate(makers):
            model = make(features[inside], truth[inside], subject[inside], graded)
            errors[place] += _error(truth[outside], answered(model, features[outside], graded), graded)
    return makers[int(np.argmin(errors))](features, truth, subject, graded)


def inner_folds(truth: np.ndarray, subject: np.ndarray, graded: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Three folds of whole subjects, or as many as there are; those without both kinds are left out."""
    from sklearn.model_selection import GroupKFold

    count = min(3, len(np.unique(subject)))
    for inside, outside in GroupKFold(count, shuffle=True, random_state=0).split(truth, truth, subject):
        if graded or all(len(np.unique(truth[part])) == 2 for part in (inside, outside)):
            yield inside, outside


def answered(model: Any, features: np.ndarray, graded: bool) -> np.ndarray:
    """Estimates, or log odds, `(N,)`."""
    if graded:
        return np.asarray(model.predict(features))
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(features))
    share = np.clip(model.predict_proba(features)[:, 1], 1e-6, 1 - 1e-6)
    return np.log(share / (1 - share))


def _error(truth: np.ndarray, said: np.ndarray, graded: bool) -> float:
    """Sum of squared errors, or of log losses."""
    if graded:
        return float(np.sum((truth - said) ** 2))
    return float(np.sum(np.logaddexp(0, said) - truth * said))


def learnable(known: np.ndarray, subject: np.ndarray, graded: bool) -> bool:
    """Whether known answers `(N,)` differ, among subjects enough for two folds."""
    if len(np.unique(subject)) < 2 or len(np.unique(known)) < 2:
        return False
    return graded or min(len(np.unique(subject[known == kind])) for kind in (0, 1)) >= 2


def _linear(features: np.ndarray, truth: np.ndarray, subject: np.ndarray, graded: bool) -> Any:
    if graded:
        return fit_ridge(features, truth, subject, _STRENGTHS)
    return fit_logistic(features, truth, subject, _STRENGTHS)


def _trees(features: np.ndarray, truth: np.ndarray, subject: np.ndarray, graded: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if graded else HistGradientBoostingClassifier
    return kind(max_iter=150, learning_rate=0.06, max_leaf_nodes=15, random_state=0).fit(features, truth)


def graded_of(truth: np.ndarray) -> np.ndarray:
    """Which tasks are measured and not yes or no: those with a known value besides 0 and 1, `(K,)`."""
    kinds = [np.unique(column[np.isfinite(column)]) for column in truth.T]
    return np.array([not np.isin(kind, (0, 1)).all() for kind in kinds], dtype=bool)
