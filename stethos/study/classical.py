"""What intervals and amplitudes alone can say: a logistic model on our own measurements of the waves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stethos.data.parallel import each_record
from stethos.signal.beats import inverted, r_peaks
from stethos.signal.waves import intervals, waves
from stethos.study.controls import fit_logistic
from stethos.study.progress import bar
from stethos.types import Cohort, Predictions, Record, Signal

FEATURES = (
    "ecg_heart_rate",
    "ecg_pr",
    "ecg_qrs",
    "ecg_qtc",
    "ecg_p_amplitude",
    "ecg_r_amplitude",
    "ecg_t_amplitude",
    "ecg_t_to_r",
)
EDGE_SECONDS = 0.1


def wave_features(lead: Signal, beats: np.ndarray | None = None) -> dict[str, float]:
    """Median intervals and amplitudes of one lead, by the names of `FEATURES`; NaN where unknown.

    Heart rate per minute; PR, QRS and QTc (Fridericia) in ms; amplitudes in the signal's unit over the end of the
    PR segment; T over R without a unit.

    Args:
        lead: One channel of ECG of at least some seconds.
        beats: Sample numbers of its R peaks, `(beats,)`, the same either way up; found where not given.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    peaks = r_peaks(lead) if beats is None else beats
    reach = EDGE_SECONDS * lead.rate
    # the waves of a beat that the recording cuts cannot be measured, and its QRS would be too short
    whole = peaks[(peaks >= reach) & (peaks < lead.values.shape[1] - reach)]
    found = intervals(lead, waves(lead, whole))
    ratio = found.t_amplitude / found.r_amplitude if found.r_amplitude else float("nan")
    measured = (found.heart_rate, found.pr, found.qrs, found.qtc)
    heights = (found.p_amplitude, found.r_amplitude, found.t_amplitude)
    return dict(zip(FEATURES, (*measured, *heights, ratio), strict=True))


@dataclass(frozen=True)
class WaveFeatures:
    """Measures the waves of one lead of a record; a plain value, so that other processes can be sent it.

    Args:
        lead: Name of the lead, such as "I".
        correct_polarity: Turn inverted strips round first.
    """

    lead: str
    correct_polarity: bool = False

    def __call__(self, record: Record) -> dict[str, float]:
        """`wave_features` of the record's lead.

        Raises:
            ChannelError: The lead is missing.
        """
        lead = record.pick(self.lead)
        if self.correct_polarity and inverted(lead, r_peaks(lead)):
            lead = replace(lead, values=-lead.values)
        return wave_features(lead)


def measure_waves(cohort: Cohort, measure: WaveFeatures, workers: int | None = 1) -> dict[str, np.ndarray]:
    """The waves of every record of a cohort as columns, ready for `Cohort.with_columns`.

    Args:
        cohort: N records.
        measure: Of which lead.
        workers: Processes; None for what suits the machine.

    Returns:
        Feature → `(N,)`, NaN where unknown or where the record was refused.
    """
    columns = {name: np.full(len(cohort), np.nan) for name in FEATURES}
    with bar("measuring waves") as progress:
        for outcome in each_record(cohort, measure, workers=workers, progress=progress):
            for name, value in (outcome.value or {}).items():
                columns[name][outcome.row] = value
    return columns


def waves_control(
    predictions: Predictions,
    features: Mapping[str, np.ndarray] | None = None,
    strengths: np.ndarray | None = None,
) -> Predictions:
    """The same rows scored by a logistic model on the waves, fitted on the rows of "train".

    Squares and products are added where grouped inner folds of the training rows rank better with them.

    Args:
        predictions: Whose rows; needs a "train" split.
        features: `FEATURES` by name, each `(N,)` in the order of the rows; the predictions' own facts where None.
        strengths: Inverse penalties to try; those of `fit_logistic` where not given.

    Returns:
        Scores of 0 where no feature is known in the training rows.
    """
    held = predictions.facts if features is None else features
    fitted_on = (predictions.split == "train") & np.isfinite(predictions.truth[:, 0])
    columns = [np.asarray(held[name], float) for name in FEATURES if name in held]
    columns = [column for column in columns if np.isfinite(column[fitted_on]).any()]
    if not columns:
        return replace(predictions, score=np.zeros_like(predictions.score))
    table = np.stack(columns, axis=1)  # (N, D)
    truth, groups = predictions.truth[fitted_on, 0], predictions.subject[fitted_on]
    designs = [table, np.hstack([table, products(table, fitted_on)])]
    models = [fit_logistic(design[fitted_on], truth, groups, strengths) for design in designs]
    ranks = [
        _inner_auroc(model, design[fitted_on], truth, groups) for model, design in zip(models, designs, strict=True)
    ]
    best = int(np.argmax(ranks))
    return replace(predictions, score=models[best].decision_function(designs[best])[:, None])


def products(table: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    """Squares and pairwise products of standardised columns, an unknown value at its median.

    Args:
        table: `(N, D)`, NaN where unknown.
        fitted_on: True for the rows that median, mean and spread are taken of, `(N,)`.

    Returns:
        `(N, D (D + 1) / 2)`.
    """
    filled = np.where(np.isnan(table), np.nanmedian(table[fitted_on], axis=0), table)
    spread = filled[fitted_on].std(axis=0)
    scaled = (filled - filled[fitted_on].mean(axis=0)) / np.where(spread > 0, spread, 1)
    first, second = np.triu_indices(table.shape[1])
    return scaled[:, first] * scaled[:, second]


def _inner_auroc(model: Any, design: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> float:
    """Mean AUROC of a pipeline refitted on folds of whole subjects."""
    from sklearn.base import clone
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    folds = StratifiedGroupKFold(int(min(5, max(2, truth.sum()))), shuffle=True, random_state=1)
    scores = cross_val_score(clone(model), design, truth, groups=groups, cv=folds, scoring="roc_auc")
    return float(np.mean(scores))
