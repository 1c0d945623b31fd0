"""The scores of anomalous sound detection, all of them named, side by side.

With AUC and pAUC (false-positive rates up to 0.1, McClish's) of the curves of `stethos.metrics.curves`:

    auc_2020        mean over machines of the mean over sections of AUC
    pauc_2020       the same of pAUC
    official_2020   (auc_2020 + pauc_2020) / 2
    official_2021   harmonic mean of AUC and pAUC over machine × section × domain, each domain's clips alone
    official_2022   harmonic mean over machine × section of AUC_source, AUC_target and pAUC, where AUC_d sets the normal
                    clips of domain d against all anomalous clips of the section, and pAUC takes all its clips
    pooled_auc      mean over machines of the AUC of all their sections pooled, as many papers print
    pooled_pauc     the same of pAUC
    mauc            mean over machines of the smallest AUC of a section

Pooled and mean-of-sections differ, in both directions: pooling also asks that one threshold suits all sections. A
harmonic mean with a zero in it is 0; the evaluator of the challenge raises zeros to 2⁻⁵² first, which gives less than
1e-12. A curve with one class only has no area: it is left out of every mean, and listed with the reason.

Intervals are those of `stethos.metrics.footing`, from draws of clips within identity × domain × class. `Estimate.n`
counts clips and `events` anomalous clips.

Reference:
    Koizumi et al. 2020, arXiv:2006.05822; Kawaguchi et al. 2021, arXiv:2106.04492; Dohi et al. 2022, arXiv:2206.05876.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from stethos.errors import ScoreError
from stethos.metrics.compare import Difference
from stethos.metrics.curves import AS_USUAL, Areas, Clips, Curve, Resampling
from stethos.metrics.footing import Footing
from stethos.metrics.rules import Rule, harmonic, mean, mean_of_least
from stethos.types import Estimate

auc_2020 = Rule("section", None, mean)
pauc_2020 = Rule(None, "section", mean)
official_2020 = Rule("section", "section", mean)
official_2021 = Rule("domain", "domain", harmonic)
official_2022 = Rule("against_all", "section", harmonic)
pooled_auc = Rule("machine", None, mean)
pooled_pauc = Rule(None, "machine", mean)
mauc = Rule("section", None, mean_of_least)

RULES: Mapping[str, Rule] = {
    "official_2020": official_2020,
    "auc_2020": auc_2020,
    "pauc_2020": pauc_2020,
    "official_2021": official_2021,
    "official_2022": official_2022,
    "pooled_auc": pooled_auc,
    "pooled_pauc": pooled_pauc,
    "mauc": mauc,
}


def official(year: float | None) -> Rule:
    """The official score of a year of the challenge; that of 2022 stands for the years after it too.

    Args:
        year: From 2020; None or NaN for a folder of no challenge, without domains, which is scored as in 2020.

    Raises:
        ScoreError: The year is before 2020.
    """
    if year is None or math.isnan(year):
        return official_2020
    if year < 2020:
        raise ScoreError(f"the challenge began in 2020; got {year:g}; take None for a folder of no challenge")
    return {2020: official_2020, 2021: official_2021}.get(int(year), official_2022)


def point(rule: Rule, clips: Clips, score: np.ndarray) -> float:
    """A score's number by a rule, without an interval.

    Args:
        rule: Such as `official(2020)` or `pooled_auc`.
        clips: N of them.
        score: Higher means more anomalous, `(N,)`.

    Raises:
        ScoreError: A score is missing, or no curve that the rule needs has an area.
    """
    return float(rule(Areas.of(clips, score)))


def estimate(rule: Rule, clips: Clips, score: np.ndarray, how: Resampling = AS_USUAL) -> Estimate:
    """A score's number by a rule, with its interval; `n` counts clips, `events` anomalous clips.

    Args:
        rule: Such as `official(2020)` or `pooled_auc`.
        clips: N of them.
        score: Higher means more anomalous, `(N,)`.
        how: Draws, level and seed.

    Raises:
        ScoreError: A score is missing, or no curve that the rule needs has an area.
    """
    return of_areas(rule, Areas.of(clips, score), Areas.drawn(clips, score, how), how.level)


def paired(rule: Rule, clips: Clips, first: np.ndarray, second: np.ndarray, how: Resampling = AS_USUAL) -> Difference:
    """How much better the first score is than the second on the same clips, the same draws given to both.

    The interval is the difference ± Student's quantile times the spread of its draws.

    Args:
        rule: Such as `official(2020)` or `pooled_auc`.
        clips: N of them.
        first: Higher means more anomalous, `(N,)`.
        second: Likewise; only the order of each matters, `(N,)`.
        how: Draws, level and seed.

    Returns:
        `estimate.n` counts clips; p is two-sided and agrees with the interval.

    Raises:
        ScoreError: A score is missing, or no curve that the rule needs has an area.
    """
    points = [Areas.of(clips, score) for score in (first, second)]
    drawn = [Areas.drawn(clips, score, how) for score in (first, second)]
    gain = float(rule(points[0]) - rule(points[1]))
    size = _footing(rule, points[0])
    quantile = size.quantile(how.level)
    error = float(np.std(rule(drawn[0]) - rule(drawn[1]), ddof=1))
    if error == 0 and gain != 0:
        # no draw differs, as between a perfect score and a constant: add up their own intervals
        own = [of_areas(rule, *pair, how.level) for pair in zip(points, drawn, strict=True)]
        error = math.hypot(*(one.high - one.low for one in own)) / quantile
    low, high = max(-1.0, gain - quantile * error), min(1.0, gain + quantile * error)
    p = 2 * float(stdtr(size.freedom, -abs(gain) / error)) if error > 0 else 1.0
    return Difference(Estimate(gain, low, high, size.clips, size.anomalous, how.level), p)


@dataclass(frozen=True)
class CurveScore:
    """A curve with its areas.

    Args:
        curve: Through which clips.
        auc: None where the curve says a reason.
        pauc: Likewise.
    """

    curve: Curve
    auc: Estimate | None
    pauc: Estimate | None


@dataclass(frozen=True)
class Evaluation:
    """Everything that is said of one score.

    Args:
        official: The official score of the year.
        named: Name of a rule → number; those that need domains are not there where none is known.
        per_machine: Machine type → the same of its clips alone; a name is missing where no curve allows it.
        curves: Every curve, those without an area included.
    """

    official: Estimate
    named: Mapping[str, Estimate]
    per_machine: Mapping[str, Mapping[str, Estimate]]
    curves: tuple[CurveScore, ...]

    @property
    def not_estimated(self) -> tuple[Curve, ...]:
        """The curves that are in no mean, each with its reason."""
        return tuple(row.curve for row in self.curves if row.curve.reason)


def evaluate(clips: Clips, score: np.ndarray, year: float | None, how: Resampling = AS_USUAL) -> Evaluation:
    """All scores with intervals, over all clips and by machine type, and every curve.

    Args:
        clips: N of them.
        score: Higher means more anomalous, `(N,)`.
        year: Of the challenge; None for a folder of none.
        how: Draws, level and seed.

    Raises:
        ScoreError: A score is missing, or no curve that the official score needs has an area.
    """
    whole, drawn = Areas.of(clips, score), Areas.drawn(clips, score, how)
    first = of_areas(official(year), whole, drawn, how.level)
    per_machine = {
        machine: dict(_possible(whole.of_machine(machine), drawn.of_machine(machine), how.level))
        for machine in whole.machines
    }
    rows = tuple(_row(number, whole, drawn, how.level) for number in range(len(whole.curves)))
    return Evaluation(first, dict(_possible(whole, drawn, how.level)), per_machine, rows)


def _possible(point: Areas, drawn: Areas, level: float) -> Iterator[tuple[str, Estimate]]:
    """The rules that the curves allow."""
    for name, rule in RULES.items():
        try:
            yield name, of_areas(rule, point, drawn, level)
        except ScoreError:
            continue


def _row(number: int, point: Areas, drawn: Areas, level: float) -> CurveScore:
    curve = point.curves[number]
    if curve.reason:
        return CurveScore(curve, None, None)
    size = curve.normal + curve.anomalous, curve.anomalous
    whole, partial = Footing.of([curve], [], *size), Footing.of([], [curve], *size)
    auc = whole.interval(float(point.auc[number]), drawn.auc[:, number], level)
    return CurveScore(curve, auc, partial.interval(float(point.pauc[number]), drawn.pauc[:, number], level))


def of_areas(rule: Rule, whole: Areas, drawn: Areas, level: float) -> Estimate:
    """`estimate`, from the areas of the clips as they are and of their draws.

    Args:
        rule: Such as `official(2020)` or `pooled_auc`.
        whole: `(K,)`.
        drawn: `(D, K)`.
        level: Coverage of the interval.

    Raises:
        ScoreError: No curve that the rule needs has an area.
    """
    return _footing(rule, whole).interval(float(rule(whole)), rule(drawn), level)


def _footing(rule: Rule, areas: Areas) -> Footing:
    whole, partial = ([areas.curves[number] for number in numbers] for numbers in rule.curves(areas))
    used = {(curve.machine, curve.section) for curve in whole + partial}
    kind = "machine" if "machine" in (rule.auc, rule.pauc) else "section"
    held = [curve for curve in areas.curves if curve.kind == kind and (curve.machine, curve.section) in used]
    anomalous = sum(curve.anomalous for curve in held)
    return Footing.of(whole, partial, anomalous + sum(curve.normal for curve in held), anomalous)
