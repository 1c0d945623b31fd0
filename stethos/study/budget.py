"""What a budget of false alarms takes, and what a threshold that keeps it can find.

Of c alarms in H hours the rate is at most 168 / H · ½ χ²_{0.95}(2c + 2) per week with 95 % confidence, if they come
as a Poisson process (Garwood's exact bound, one-sided).

A pair (k, n) of persistence at a threshold t is judged by the smallest rise it finds: that δ which, added to the
score of every block from some moment on, sounds an alarm within `delay` blocks from nine of ten moments,

    δ = t − q₁₀ (max over the delay of the k-th largest of the last n normal scores)

with nothing from before the moment counted. It needs normal sound only, and puts pairs on one scale that otherwise
trade height against delay. A fault that does more than raise the score may be found sooner or later.

Reference:
    Garwood 1936, doi:10.1093/biomet/28.3-4.437.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
from scipy.special import betainc, gammaincinv

from stethos.study.persistence import kth_largest

WEEK_HOURS = 168.0
_RULE_OF_THREE = 3.0  # Garwood's bound without any alarm is 2.996 at 95 %
_SHOWN = 0.9  # chance of later hours that show the budget to be kept
_MISSED = 0.1  # share of the moments from which the smallest rise is not found within the delay


def upper_per_week(alarms: int, hours: float, level: float = 0.95) -> float:
    """Garwood's one-sided upper bound of a Poisson rate, per week.

    Args:
        alarms: Counted.
        hours: In which they were.
        level: Confidence.
    """
    return float(gammaincinv(alarms + 1, level)) / hours * WEEK_HOURS


def hours_needed(budget: float, alarms: int = 0) -> float:
    """Hours after which so many alarms still show that a budget is kept, 95 % one-sided.

    Args:
        budget: False alarms a week.
        alarms: Counted in these hours.
    """
    count = _RULE_OF_THREE if alarms == 0 else float(gammaincinv(alarms + 1, 0.95))
    return count / budget * WEEK_HOURS


def allowed(budget: float, earlier_hours: float, later_hours: float) -> int:
    """Most alarms in earlier hours that leave nine chances in ten of the later ones showing that a budget is kept.

    Above a threshold with a alarms earlier, the next one just below it, the number l of alarms later is distributed as
    C(l + a, l) p^(a+1) (1 − p)^l with p the earlier share of all hours, if alarms come as a Poisson process.

    Args:
        budget: Alarms a week.
        earlier_hours: Of the choice.
        later_hours: Of the count.

    Returns:
        0 also where no number leaves so much; without any alarm earlier and as many hours later, in which none may
        come, the chance is one in two.

    Reference:
        Gumbel and von Schelling 1950, Ann. Math. Statist. 21:247.
    """
    most = 0
    while upper_per_week(most + 1, later_hours) <= budget:
        most += 1
    share = earlier_hours / (earlier_hours + later_hours)
    count = 0
    while betainc(count + 2, most + 1, share) >= _SHOWN:
        count += 1
    return count


def lowest_threshold(highest: np.ndarray, segment: np.ndarray, rearm: int, most: int, floor: float) -> float:
    """Lowest threshold that gives at most so many alarms, as does each higher one.

    A lower threshold may give fewer again, because excursions join; it is not taken for that. Blocks are taken in
    from the highest down: each adds an excursion, lengthens one, or joins two.

    Args:
        highest: k-th largest of the last n scores, `(N,)`.
        segment: Number of the unbroken stretch of each block, `(N,)`.
        rearm: Blocks without the condition that end an excursion.
        most: Alarms.
        floor: No threshold below this one is looked at.
    """
    held: list[int] = []  # blocks above the threshold, in time order
    count = 0

    def joined(left: int, right: int) -> bool:
        return right - left <= rearm and bool(segment[left] == segment[right])

    value = math.inf
    for block in np.argsort(-highest, kind="stable").tolist():
        if highest[block] < value and count > most:
            return value
        value = float(highest[block])
        if value <= floor:
            return floor
        place = bisect.bisect(held, block)
        before, after = held[place - 1 : place] if place else [], held[place : place + 1]
        count += 1 - sum(joined(left, block) for left in before) - sum(joined(block, right) for right in after)
        count += sum(joined(left, right) for left in before for right in after)
        held.insert(place, block)
    return value if count > most else floor


def smallest_rise(score: np.ndarray, segment: np.ndarray, threshold: float, pair: tuple[int, int], delay: int) -> float:
    """The rise δ of the score that is found from nine of ten moments; infinite where nothing is long enough.

    Args:
        score: Of judged normal blocks in time order, `(N,)`.
        segment: Number of the unbroken stretch of each block, `(N,)`.
        threshold: t.
        pair: k and n.
        delay: Blocks within which an alarm is to sound; moments are that far apart.
    """
    whole = len(score) // delay * delay
    stretch = segment[:whole].reshape(-1, delay)
    unbroken = stretch[:, 0] == stretch[:, -1]
    if not unbroken.any():
        return math.inf
    reach = kth_largest(score[:whole], *pair, np.arange(whole) // delay).reshape(-1, delay).max(axis=1)
    return threshold - float(np.quantile(reach[unbroken], _MISSED))
