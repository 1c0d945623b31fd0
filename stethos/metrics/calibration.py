"""Whether a probability means what it says.

Logistic recalibration fits logit P(event) = a + b · logit. A slope b below 1 says that the scores are too
extreme; the intercept in the large, a with b held at 1, is above 0 where events are more frequent than predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit
from scipy.special import logit as log_odds

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, binary
from stethos.metrics.interval import proportion, resampled
from stethos.metrics.resample import Weighted
from stethos.types import Estimate

_BINS = 10
_LARGEST_STEP = 2.0  # on the scale of one standard deviation of the logit
_STEPS = 40


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
            above 0 even for a calibrated model, the more so the fewer rows there are.
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


@dataclass(frozen=True, eq=False)
class _Logistic:
    """Logistic regression of one set of rows, fitted by Newton's method under many sets of weights at once.

    Args:
        design: `(N, P)`.
        offset: Added to the linear predictor, `(N,)`.
        event: `(N,)`.
        start: First guess, `(P,)`.
    """

    design: np.ndarray
    offset: np.ndarray
    event: np.ndarray
    start: np.ndarray

    def fit(self, weight: np.ndarray) -> np.ndarray:
        """Coefficients for each row of weights `(D, N)` → `(D, P)`, NaN where there is no finite maximum."""
        width = self.design.shape[1]
        pairs = (self.design[:, :, None] * self.design[:, None, :]).reshape(len(self.design), -1)  # (N, P²)
        found = np.tile(self.start, (len(weight), 1))
        step = np.full_like(found, np.inf)
        for _ in range(_STEPS):
            share = expit(found @ self.design.T + self.offset)  # (D, N)
            slope = (weight * (self.event - share)) @ self.design
            bend = ((weight * share * (1 - share)) @ pairs).reshape(-1, width, width)
            step = np.linalg.solve(bend + 1e-12 * np.eye(width), slope[:, :, None])[:, :, 0]
            step *= np.minimum(1, _LARGEST_STEP / np.maximum(_LARGEST_STEP, np.abs(step).max(axis=1, keepdims=True)))
            found = found + step
            if np.abs(step).max() < 1e-8:
                break
        found[np.abs(step).max(axis=1) > 1e-6] = np.nan
        return found

    def from_all(self) -> _Logistic:
        """The same, starting from the coefficients with equal weights: most draws end near them."""
        return replace(self, start=self.fit(np.ones((1, len(self.event))))[0])


def _line(event: np.ndarray, logit: np.ndarray) -> _Logistic:
    """Slope and intercept, the logit scaled to mean 0 and standard deviation 1."""
    scaled = (logit - logit.mean()) / logit.std()
    design = np.column_stack([scaled, np.ones(len(logit))])
    return _Logistic(design, np.zeros(len(logit)), event, np.array([0.0, log_odds(event.mean())])).from_all()


def _in_the_large(event: np.ndarray, logit: np.ndarray) -> _Logistic:
    """Intercept alone."""
    return _Logistic(np.ones((len(logit), 1)), logit, event, np.zeros(1)).from_all()


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


def _bins(probability: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each row, from 0, with about equal numbers; equal probabilities share one, `(N,)`."""
    edges = np.quantile(probability, np.arange(1, bins) / bins)
    return np.unique(np.searchsorted(edges, probability, "right"), return_inverse=True)[1].ravel()


def _summary(event: np.ndarray, logit: np.ndarray, clusters: Clusters) -> Weighted:
    """Slope, intercept in the large, ECE and Brier score as statistics of weights, `(D, 4)`."""
    probability = expit(logit)
    member = _bins(probability, _BINS)
    in_bin = np.equal.outer(member, np.arange(member.max() + 1)).astype(np.float64)  # (N, bins)
    excess = (event - probability)[:, None] * in_bin
    line, large, spread = _line(event, logit), _in_the_large(event, logit), logit.std()

    def weighted(times: np.ndarray) -> np.ndarray:
        weight = times[:, clusters.code].astype(np.float64)  # (D, N)
        rows = weight.sum(axis=1)
        slope = line.fit(weight)[:, 0] / spread
        intercept = large.fit(weight)[:, 0]
        ece = np.abs(weight @ excess).sum(axis=1) / rows
        brier = weight @ (event - probability) ** 2 / rows
        return np.column_stack([slope, intercept, ece, brier])

    return weighted


def calibration(
    truth: np.ndarray,
    logit: np.ndarray,
    subject: np.ndarray,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Slope, intercept in the large, ECE and Brier score with bias-corrected intervals of drawing subjects.

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
    return Calibration(*resampled(_summary(event, logit, clusters), clusters, events, draws, level, seed))


def reliability(truth: np.ndarray, probability: np.ndarray, subject: np.ndarray, bins: int = _BINS) -> Reliability:
    """Observed share of events by bin of probability, with intervals for correlated rows.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        probability: In [0, 1], `(N,)`.
        subject: Subject of each row, `(N,)`.
        bins: Largest number of bins; equal probabilities share one.

    Raises:
        ScoreError: One class only.
    """
    event, probability, subject = binary(truth, probability, subject)
    member = _bins(probability, bins)
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
