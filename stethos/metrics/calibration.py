"""Whether a probability means what it says.

Logistic recalibration fits logit P(event) = a + b · logit. A slope b below 1 says that the scores are too
extreme; the intercept in the large, a with b held at 1, is above 0 where events are more frequent than predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.special import logit as log_odds

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, binary
from stethos.metrics.ece import BINS, bins, ece_interval, least_error
from stethos.metrics.interval import proportion
from stethos.metrics.logistic import Logistic
from stethos.metrics.resample import Weighted, corrected, over_subjects
from stethos.types import Estimate


@dataclass(frozen=True)
class Recalibration:
    """A line from the logit that a model gives to one that is calibrated.

    Args:
        slope: b.
        intercept: a.
    """

    slope: float
    intercept: float

    def apply(self, logit: np.ndarray) -> np.ndarray:
        """Recalibrated logits, any shape."""
        return self.intercept + self.slope * np.asarray(logit)


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from frequencies.

    Args:
        slope: Of logistic recalibration; 1 is best.
        intercept: In the large, with the slope held at 1; 0 is best.
        ece: Mean distance between probability and frequency over 10 bins of about equal numbers of rows. It is
            above 0 even for a calibrated model, the more so the fewer rows there are; its interval then reaches 0.
        brier: Mean squared distance between probability and truth.
    """

    slope: Estimate
    intercept: Estimate
    ece: Estimate
    brier: Estimate


@dataclass(frozen=True, eq=False)
class Reliability:
    """Observed against predicted, by bins of about equal numbers of rows.

    Args:
        predicted: Mean probability in the bin, `(P,)`.
        observed: Share of its rows with the event, `(P,)`.
        low: Lower end of the interval of that share, `(P,)`.
        high: Upper end, `(P,)`.
        count: Rows in the bin, `(P,)`.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit, in true positives a row: TP / N − FP / N · t / (1 − t).

    Args:
        threshold: Probability t at which one would act, `(P,)`.
        model: Acting where the model says at least t, `(P,)`.
        everyone: Acting always, `(P,)`.
        nobody: Acting never: 0, `(P,)`.
    """

    threshold: np.ndarray
    model: np.ndarray
    everyone: np.ndarray
    nobody: np.ndarray


def _line(event: np.ndarray, logit: np.ndarray) -> Logistic:
    """Slope and intercept, the logit scaled to mean 0 and standard deviation 1."""
    scaled = (logit - logit.mean()) / logit.std()
    design = np.column_stack([scaled, np.ones(len(logit))])
    return Logistic(design, np.zeros(len(logit)), event, np.array([0.0, log_odds(event.mean())])).from_all()


def _in_the_large(event: np.ndarray, logit: np.ndarray) -> Logistic:
    """Intercept alone."""
    return Logistic(np.ones((len(logit), 1)), logit, event, np.zeros(1)).from_all()


def _varying(logit: np.ndarray) -> None:
    if not np.isfinite(logit).all() or np.ptp(logit) == 0:
        raise ScoreError("calibration needs finite logits that differ; got infinite ones, or only one value")


def calibrate(truth: np.ndarray, logit: np.ndarray) -> Recalibration:
    """Fit logistic recalibration by maximum likelihood, without a penalty.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        logit: Log odds that the model gives, `(N,)`.

    Raises:
        ScoreError: One class only, all logits the same, or classes separated so that the slope is infinite.
    """
    event, logit = binary(truth, logit)
    _varying(logit)
    slope, level = _line(event, logit).start
    if np.isnan(slope):
        raise ScoreError("calibration needs classes that overlap; the logit separates these without error")
    slope /= logit.std()
    return Recalibration(float(slope), float(level - slope * logit.mean()))


def _summary(event: np.ndarray, logit: np.ndarray, clusters: Clusters) -> Weighted:
    """Slope, intercept in the large, Brier score and the excess of every bin as statistics of weights, `(D, 3 + B)`."""
    probability = expit(logit)
    member = bins(probability)
    in_bin = np.equal.outer(member, np.arange(member.max() + 1)).astype(np.float64)  # (N, B)
    excess = (event - probability)[:, None] * in_bin
    line, large, spread = _line(event, logit), _in_the_large(event, logit), logit.std()

    def weighted(times: np.ndarray) -> np.ndarray:
        weight = times[:, clusters.code].astype(np.float64)  # (D, N)
        rows = weight.sum(axis=1)
        slope = line.fit(weight)[:, 0] / spread
        intercept = large.fit(weight)[:, 0]
        brier = weight @ (event - probability) ** 2 / rows
        return np.column_stack([slope, intercept, brier, weight @ excess / rows[:, None]])

    return weighted


def calibration(
    truth: np.ndarray,
    logit: np.ndarray,
    subject: np.ndarray,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Slope, intercept in the large, ECE and Brier score with intervals of drawing subjects.

    They are bias-corrected but for the ECE, whose interval is that of `metrics.ece`.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        logit: Log odds that the model gives, `(N,)`.
        subject: Subject of each row, `(N,)`.
        level: Coverage of the intervals.
        draws: Number of resamples.
        seed: Of the draws.

    Raises:
        ScoreError: As in `calibrate`, or the same for more than 5 % of the draws.
    """
    calibrate(truth, logit)
    event, logit, subject = binary(truth, logit, subject)
    clusters = Clusters.of(subject)
    events = clusters.with_any(event)
    statistic = _summary(event, logit, clusters)
    values = statistic(np.ones((1, clusters.count), np.int32))[0]
    drawn = over_subjects(statistic, clusters, draws, seed)
    slope, intercept, brier = (
        Estimate(float(value), *corrected(column, float(value), level), clusters.count, events, level)
        for value, column in zip(values[:3], drawn.T[:3], strict=True)
    )
    least = least_error(event, expit(logit), bins(expit(logit)))
    around = ece_interval(values[3:], drawn[:, 3:], least, clusters.count, level)
    ece = Estimate(float(np.abs(values[3:]).sum()), *around, clusters.count, events, level)
    return Calibration(slope, intercept, ece, brier)


def reliability(truth: np.ndarray, probability: np.ndarray, subject: np.ndarray, count: int = BINS) -> Reliability:
    """Observed share of events by bin of probability, with intervals for correlated rows.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        probability: In [0, 1], `(N,)`.
        subject: Subject of each row, `(N,)`.
        count: Largest number of bins; equal probabilities share one.

    Raises:
        ScoreError: One class only.
    """
    event, probability, subject = binary(truth, probability, subject)
    member = bins(probability, count)
    inside = [member == number for number in range(member.max() + 1)]
    shares = [proportion(event[rows], subject[rows]) for rows in inside]
    return Reliability(
        predicted=np.array([probability[rows].mean() for rows in inside]),
        observed=np.array([share.value for share in shares]),
        low=np.array([share.low for share in shares]),
        high=np.array([share.high for share in shares]),
        count=np.bincount(member),
    )


def decision_curve(truth: np.ndarray, probability: np.ndarray, thresholds: np.ndarray) -> DecisionCurve:
    """Net benefit of acting on the model, on everyone and on nobody.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        probability: In [0, 1], `(N,)`.
        thresholds: Probabilities at which one would act, each in (0, 1), `(P,)`.

    Raises:
        ScoreError: One class only, or a threshold outside of (0, 1).

    Reference:
        Vickers and Elkin 2006, doi:10.1177/0272989X06295361.
    """
    event, probability = binary(truth, probability)
    threshold = np.asarray(thresholds, dtype=np.float64)
    if not np.all((threshold > 0) & (threshold < 1)):
        raise ScoreError("thresholds of a decision curve must be probabilities above 0 and below 1")
    act = probability >= threshold[:, None]  # (P, N)
    price = threshold / (1 - threshold)
    share = event.mean()
    model = (act & event).mean(axis=1) - price * (act & ~event).mean(axis=1)
    return DecisionCurve(threshold, model, share - price * (1 - share), np.zeros(len(threshold)))


def to_logit(probability: np.ndarray) -> np.ndarray:
    """Log odds of a probability; 0 and 1 are moved in by one part in 10¹², any shape."""
    return np.asarray(log_odds(np.clip(probability, 1e-12, 1 - 1e-12)))
