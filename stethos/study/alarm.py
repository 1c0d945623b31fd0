"""The operating threshold of a monitor from normal sound alone, for a budget of false alarms.

The threshold is set, and the persistence (k of n) chosen, on the earlier normal blocks. The later ones, which took
no part in that, count the false alarms: c in H hours. Alarms are excursions, one each, and where these come as a
Poisson process their rate is at most

    U = 168 / H · ½ χ²_{0.95}(2c + 2)  per week,  with 95 % confidence (Garwood's exact bound, one-sided)

Without any alarm that is 3.0 per H hours, so that a budget of 0.5 a week takes 1008 hours to support. Fewer are
refused, for no threshold could then be shown to keep the budget.

Excursions of one cause may still come in groups, and then U is too low: see `set_alarm`.

The rule of choice, fixed beforehand: each pair (k, n) is given the lowest threshold with so few earlier false alarms
that the later hours will show the budget to be kept with nine chances in ten, and none at all where they are too few
for that; then the pair that finds the smallest rise of the score within `delay` blocks is taken. Both stand in
`stethos.study.budget`.

Reference:
    Garwood 1936, doi:10.1093/biomet/28.3-4.437.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from stethos.errors import FormatError, QualityError, RecipeError, ScoreError, SplitError
from stethos.study.budget import allowed, hours_needed, lowest_threshold, smallest_rise, upper_per_week
from stethos.study.persistence import alarm_blocks, kth_largest, refuse_impossible, segments

PAIRS = ((1, 1), (2, 3), (3, 5), (5, 8), (8, 12))


@dataclass(frozen=True)
class Alarm:
    """When to sound an alarm, and how often that was false on normal sound that had no part in it.

    Args:
        threshold: A block counts where its score lies above.
        k: Blocks above the threshold that are needed.
        n: Blocks that are looked back on.
        rearm: Blocks without k of n above that end an excursion.
        block_seconds: From the start of one block to the start of the next.
        budget: False alarms a week that were allowed.
        observed_hours: Of later normal sound.
        alarms: False alarms in them.
        upper_per_week: Upper end of their rate, 95 % one-sided.
    """

    threshold: float
    k: int
    n: int
    rearm: int
    block_seconds: float
    budget: float
    observed_hours: float
    alarms: int
    upper_per_week: float

    @property
    def within_budget(self) -> bool:
        """Whether the later hours show that the budget is kept."""
        return self.upper_per_week <= self.budget

    @property
    def shortest_delay(self) -> float:
        """Seconds of anomalous sound before an alarm can go off."""
        return self.k * self.block_seconds

    def sentence(self) -> str:
        """What was measured, for a person."""
        measured = f"{self.alarms} false alarms in {self.observed_hours:.0f} h of later normal sound"
        bound = f"at most {self.upper_per_week:.2g} a week (95 %), budget {self.budget:g}"
        if self.within_budget:
            return f"{measured}: {bound}"
        lacking = hours_needed(self.budget, self.alarms) - self.observed_hours
        return f"{measured}: {bound}, not shown to be kept; {lacking:.0f} h more without any would show it"

    def to_json(self) -> dict[str, float | int]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Alarm:
        """What `to_json` gave.

        Raises:
            FormatError: A value is missing or unknown.
        """
        names = [field.name for field in fields(Alarm)]
        if set(saved) != set(names):
            raise FormatError(f"an alarm needs {', '.join(names)}; got {', '.join(saved) or 'nothing'}; set it anew")
        return Alarm(**saved)


@dataclass(frozen=True, eq=False)
class NormalBlocks:
    """Scores of one source while its machine was known to be normal.

    Args:
        score: Higher is more anomalous, in time order, NaN where a block could not be judged, `(N,)`.
        block_seconds: From the start of one block to the start of the next.
        start: Of each block in seconds, `(N,)`; None where each follows the one before.
        recording: Source recording of each block, `(N,)`; None where all is one stream, which is cut anywhere.

    Raises:
        ScoreError: The columns differ in length, a score is infinite, or the length of a block is not positive.
        SplitError: The blocks are not in time order, or those of one recording do not stand together.
    """

    score: np.ndarray
    block_seconds: float
    start: np.ndarray | None = None
    recording: np.ndarray | None = None

    def __post_init__(self) -> None:
        score = np.asarray(self.score, np.float64)
        start = np.arange(len(score)) * self.block_seconds if self.start is None else np.asarray(self.start, np.float64)
        recording = np.zeros(len(score), int) if self.recording is None else np.asarray(self.recording).astype(str)
        for name, column in (("score", score), ("start", start)):
            object.__setattr__(self, name, column)
        if not (len(score) == len(start) == len(recording) and self.block_seconds > 0 and not np.isinf(score).any()):
            raise ScoreError("normal blocks need a finite score, a start and a recording each, and a positive length")
        if not (np.diff(start) >= 0).all():
            raise SplitError("earlier and later blocks need time order; sort them by their start")
        edges = np.flatnonzero(recording[1:] != recording[:-1])
        if len(edges) + 1 > len(np.unique(recording)) and len(score):
            raise SplitError("blocks of one recording must stand together; give one source at a time")

    def __len__(self) -> int:
        return len(self.score)

    @property
    def hours(self) -> float:
        """Of sound that was judged."""
        return float(np.isfinite(self.score).sum()) * self.block_seconds / 3600

    def part(self, first: int, last: int) -> NormalBlocks:
        """Some of the blocks, judged or not."""
        assert self.start is not None
        recording = None if self.recording is None else self.recording[first:last]
        return NormalBlocks(self.score[first:last], self.block_seconds, self.start[first:last], recording)

    def judged(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the judged blocks and the unbroken stretch of each, `(N,)` each, for a look back on n blocks."""
        assert self.start is not None
        kept = np.isfinite(self.score)
        return self.score[kept], segments(self.start[kept], n, self.block_seconds)


def set_alarm(
    normal: NormalBlocks,
    budget: float,
    earlier: float = 0.5,
    pairs: Sequence[tuple[int, int]] = PAIRS,
    rearm: int = 30,
    delay: int = 30,
) -> Alarm:
    """The threshold and the persistence from earlier normal blocks, the rate of false alarms from later ones.

    The result may not be `within_budget`: the later blocks decide, and nothing is chosen again after them.

    Args:
        normal: Of one source.
        budget: False alarms a week that are allowed.
        earlier: Share of the blocks that the choice is made on; the cut lies between two recordings.
        pairs: The (k, n) to choose among.
        rearm: Blocks without k of n above that end an excursion; long against the time for which normal scores stay
            high once they are, or the alarms come in groups and the bound is too low.
        delay: Blocks within which an alarm is to sound.

    Raises:
        QualityError: The later hours cannot support the budget, or there are too few earlier blocks.
        RecipeError: The budget, the share, a pair or the delay is impossible.
        SplitError: There is one recording only.
    """
    _refuse_impossible(budget, earlier, pairs, rearm, delay)
    cut = _cut(normal, earlier)
    first, later = normal.part(0, cut), normal.part(cut, len(normal))
    _refuse_too_few(first, later, budget, delay)
    most = allowed(budget, first.hours, later.hours)
    choices = [_choice(first, most, pair, rearm, delay) for pair in pairs]
    _, threshold, (k, n) = min(choices, key=lambda choice: (choice[0], choice[2][1]))
    score, segment = later.judged(n)
    alarms = len(alarm_blocks(kth_largest(score, k, n, segment) > threshold, rearm, segment))
    upper = upper_per_week(alarms, later.hours)
    return Alarm(threshold, k, n, rearm, normal.block_seconds, budget, later.hours, alarms, upper)


def _refuse_impossible(budget: float, earlier: float, pairs: Sequence[tuple[int, int]], rearm: int, delay: int) -> None:
    if not (0 < budget < math.inf and 0 < earlier < 1 and pairs):
        raise RecipeError(
            f"needs a positive budget, a share in (0, 1), and pairs; got {budget:g}, {earlier:g}, {pairs}"
        )
    for k, n in pairs:
        refuse_impossible(k, n, rearm)
        if n > delay:
            raise RecipeError(f"{k} of {n} blocks cannot sound within {delay} blocks; allow a longer delay")


def _cut(normal: NormalBlocks, earlier: float) -> int:
    """First of the later blocks: where a recording begins, as near as may be to the share of the judged blocks."""
    judged = np.cumsum(np.isfinite(normal.score))
    wanted = int(np.searchsorted(judged, earlier * judged[-1])) + 1 if len(judged) else 0
    if normal.recording is None:
        return wanted
    names = np.asarray(normal.recording).astype(str)
    begins = np.flatnonzero(names[1:] != names[:-1]) + 1
    if not len(begins):
        raise SplitError("earlier and later normal sound need at least two recordings; got one; add another")
    return int(begins[np.argmin(np.abs(begins - wanted))])


def _refuse_too_few(first: NormalBlocks, later: NormalBlocks, budget: float, delay: int) -> None:
    needed = hours_needed(budget)
    if later.hours < needed * (1 - 1e-9):
        able = f"{_rounded_up(hours_needed(1.0) / later.hours):g} a week at best" if later.hours else "none"
        raise QualityError(
            f"a budget of {budget:g} false alarms a week needs {math.ceil(needed - 1e-9)} h of later normal sound and "
            f"{later.hours:.1f} h were observed, which support {able}; record more or allow more"
        )
    if np.isfinite(first.score).sum() < delay:
        raise QualityError(f"needs at least {delay} judged blocks before the later ones; got {len(first)}; record more")


def _rounded_up(value: float) -> float:
    """To three digits, never below."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / step - 1e-9) * step


def _choice(
    first: NormalBlocks, most: int, pair: tuple[int, int], rearm: int, delay: int
) -> tuple[float, float, tuple[int, int]]:
    """Smallest rise that a pair finds, its threshold, and the pair."""
    score, segment = first.judged(pair[1])
    highest = kth_largest(score, *pair, segment)
    threshold = lowest_threshold(highest, segment, rearm, most, floor=float(np.median(score)))
    return smallest_rise(score, segment, threshold, pair, delay), threshold, pair
