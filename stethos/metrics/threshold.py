"""A score turned into a decision: where to cut, and what the cut is worth.

A row is flagged where its score is at or above the threshold. The threshold is chosen on validation data and applied
elsewhere. A negative predictive value means nothing without the prevalence π: flagging nobody already reaches 1 − π.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, binary
from stethos.metrics.interval import fraction, proportion
from stethos.types import Estimate


@dataclass(frozen=True)
class OperatingPoint:
    """What flagging at one threshold does.

    Args:
        threshold: Lowest score flagged.
        sensitivity: Share flagged of the rows with the event.
        specificity: Share not flagged of the rows without.
        ppv: Share with the event of the rows flagged; NaN (0 to 1) where none is.
        npv: Share without the event of the rows not flagged; NaN (0 to 1) where all are flagged.
        prevalence: Share of rows with the event.
        trivial_npv: Share without: the NPV of flagging nobody.
        lr_positive: Sensitivity / (1 − specificity).
        lr_negative: (1 − sensitivity) / specificity.
        flagged: Share of rows flagged.
        nns: Number needed to screen: rows scored for each row with the event found.
        tp: Rows with the event, flagged.
        fp: Rows without, flagged.
        tn: Rows without, not flagged.
        fn: Rows with the event, not flagged.
    """

    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    prevalence: Estimate
    trivial_npv: Estimate
    lr_positive: Estimate
    lr_negative: Estimate
    flagged: Estimate
    nns: Estimate
    tp: int
    fp: int
    tn: int
    fn: int


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Every place where the score could be cut, from the highest score down, `(P,)` each."""

    threshold: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    npv: np.ndarray


def _cuts(event: np.ndarray, score: np.ndarray) -> _Cuts:
    value, member = np.unique(score, return_inverse=True)
    hit = np.bincount(member, weights=event)[::-1]
    miss = np.bincount(member, weights=~event)[::-1]
    tp, fp = np.cumsum(hit), np.cumsum(miss)
    fn, tn = tp[-1] - tp, fp[-1] - fp
    npv = np.divide(tn, tn + fn, out=np.full(len(tn), np.nan), where=tn + fn > 0)
    # halfway to the next score below: rounding in an exported model then flips no decision
    below = np.concatenate([[-np.inf], value[:-1]])
    middle = np.where(np.isfinite(below), below / 2 + value / 2, value)
    threshold = np.where(middle > below, middle, value)
    return _Cuts(threshold[::-1], tp / tp[-1], tn / fp[-1], npv)


def choose_threshold(
    truth: np.ndarray,
    score: np.ndarray,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    npv: float | None = None,
    youden: bool = False,
) -> float:
    """The threshold that meets one target on validation data.

    For a sensitivity or an NPV it is the highest that does (fewest flagged), for a specificity the lowest, for
    Youden's J = sensitivity + specificity − 1 the highest among the best. Rows with equal scores stay together.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`.
        sensitivity: Least share of events to flag, in (0, 1].
        specificity: Least share of the others to leave alone, in (0, 1].
        npv: Least share without the event among those not flagged, above 1 − prevalence.
        youden: Whether to maximise J.

    Returns:
        A value halfway between two scores; the lowest score where all rows are flagged.

    Raises:
        ScoreError: Not exactly one target, one out of reach, or an NPV that flagging nobody reaches.
    """
    targets = {"sensitivity": sensitivity, "specificity": specificity, "npv": npv}
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) + youden != 1:
        raise ScoreError("needs exactly one of sensitivity, specificity, npv and youden")
    cuts = _cuts(*binary(truth, score))
    if youden:
        gain = np.round(cuts.sensitivity + cuts.specificity, 12)  # or rounding would choose among equals
        return float(cuts.threshold[np.argmax(gain)])
    ((name, target),) = given.items()
    trivial = np.mean(~binary(truth, score)[0])
    if name == "npv" and target <= trivial:
        raise ScoreError(f"flagging nobody has an NPV of {trivial:.4f} here; ask for more than that, not {target:g}")
    reached = np.flatnonzero(getattr(cuts, name) >= target)
    if not len(reached):
        best = np.nanmax(getattr(cuts, name))
        raise ScoreError(f"no threshold that flags anybody has a {name} of {target:g}; the best is {best:.4f}")
    return float(cuts.threshold[reached[-1 if name == "specificity" else 0]])


def at_prevalence(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """PPV and NPV where the event has another prevalence, sensitivity and specificity staying as they are.

        PPV = se π / (se π + (1 − sp)(1 − π))        NPV = sp (1 − π) / (sp (1 − π) + (1 − se) π)

    Args:
        sensitivity: In [0, 1].
        specificity: In [0, 1].
        prevalence: π, in [0, 1].

    Returns:
        PPV and NPV; NaN where nobody would be flagged, or everybody.
    """
    tp, fp = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    tn, fn = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return tp / (tp + fp) if tp + fp > 0 else np.nan, tn / (tn + fn) if tn + fn > 0 else np.nan


def _share(success: np.ndarray, among: np.ndarray, subject: np.ndarray, level: float) -> Estimate:
    if not among.any():
        return Estimate(np.nan, 0.0, 1.0, 0, 0, level)
    return fraction(success[among], subject[among], level)


def _likelihood_ratio(call: np.ndarray, event: np.ndarray, clusters: Clusters, level: float) -> Estimate:
    """P(call | event) / P(call | no event) by the log method; each row's part is summed over its subject.

    Where a count is 0 the interval is that with half a subject added to each of the four counts.
    """
    total, size = len(event), clusters.total(np.ones(len(event)))
    kind = [event & call, event & ~call, ~event & call, ~event & ~call]
    count = np.array([rows.sum() for rows in kind], dtype=np.float64)
    added = 0.0 if count.min() > 0 else 0.5
    weight = np.sum(size**2) / total if added else 0.0  # rows of the subject added
    a, b, c, d = count + added * weight
    ratio = (a / (a + b)) / (c / (c + d))
    part = np.array([1 / a - 1 / (a + b), -1 / (a + b), 1 / (c + d) - 1 / c, 1 / (c + d)])  # of log ratio
    each = clusters.total(part @ np.array(kind, dtype=np.float64))
    variance = np.sum(each**2) + added * np.sum((weight * part) ** 2)
    factor = np.exp(ndtri((1 + level) / 2) * np.sqrt(variance))
    share = count[0] / (count[0] + count[1]), count[2] / (count[2] + count[3])
    value = share[0] / share[1] if share[1] else (np.inf if share[0] else np.nan)
    low, high = (0.0 if value == 0 else ratio / factor), (np.inf if value == np.inf else ratio * factor)
    return Estimate(float(value), float(low), float(high), clusters.count, clusters.with_any(event), level)


def _reciprocal(share: Estimate) -> Estimate:
    value, low, high = (1 / x if x > 0 else np.inf for x in (share.value, share.high, share.low))
    return Estimate(value, low, high, share.n, share.events, share.level)


def operating_point(
    truth: np.ndarray, score: np.ndarray, threshold: float, subject: np.ndarray, level: float = 0.95
) -> OperatingPoint:
    """What flagging at a threshold does, every share with its interval for correlated rows.

    Args:
        truth: 1 with the event, 0 without, NaN unknown (dropped), `(N,)`.
        score: Higher means more likely, `(N,)`.
        threshold: Lowest score flagged; chosen on other data.
        subject: Subject of each row, `(N,)`.
        level: Coverage of the intervals.

    Raises:
        ScoreError: Only one class is present.
    """
    event, score, subject = binary(truth, score, subject)
    call, clusters = score >= threshold, Clusters.of(subject)
    every = np.ones(len(event), dtype=bool)
    return OperatingPoint(
        threshold=float(threshold),
        sensitivity=_share(call, event, subject, level),
        specificity=_share(~call, ~event, subject, level),
        ppv=_share(event, call, subject, level),
        npv=_share(~event, ~call, subject, level),
        prevalence=proportion(event, subject, level),
        trivial_npv=_share(~event, every, subject, level),
        lr_positive=_likelihood_ratio(call, event, clusters, level),
        lr_negative=_likelihood_ratio(~call, event, clusters, level),
        flagged=_share(call, every, subject, level),
        nns=_reciprocal(_share(event & call, every, subject, level)),
        tp=int(np.sum(event & call)),
        fp=int(np.sum(~event & call)),
        tn=int(np.sum(~event & ~call)),
        fn=int(np.sum(event & ~call)),
    )
