"""The threshold from earlier normal blocks, the rate of false alarms from later ones."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.special import gammaincinv
from scipy.stats import chi2, norm

from stethos.errors import FormatError, QualityError, RecipeError, ScoreError, SplitError
from stethos.study.alarm import Alarm, NormalBlocks, set_alarm
from stethos.study.budget import allowed, hours_needed, lowest_threshold, smallest_rise, upper_per_week
from stethos.study.persistence import Persistence, alarm_blocks, kth_largest

HOUR = 360  # blocks of 10 s


def normal(hours: float, seed: int = 0, correlation: float = 0.0) -> np.ndarray:
    """Standard normal scores, each `correlation` times the one before and something new."""
    fresh = np.random.default_rng(seed).standard_normal(round(hours * HOUR))
    return lfilter([np.sqrt(1 - correlation**2)], [1, -correlation], fresh)


def test_the_bound_is_that_of_garwoods_table():
    counts = [2.996, 4.744, 6.296, 7.754]  # of 0, 1, 2 and 3 at 95 % one-sided
    assert [round(upper_per_week(c, 168), 3) for c in range(4)] == counts
    assert upper_per_week(12, 500) == pytest.approx(chi2.ppf(0.95, 26) / 2 / 500 * 168)


def test_half_an_alarm_a_week_takes_a_thousand_and_eight_hours():
    assert hours_needed(0.5) == 1008
    assert upper_per_week(0, 1008) <= 0.5 < upper_per_week(0, 1006)
    assert hours_needed(0.5, alarms=1) == pytest.approx(4.744 / 0.5 * 168, rel=1e-3)


def test_earlier_alarms_are_so_few_that_later_ones_will_show_the_budget_kept():
    """Of a + l exceedances of one threshold each falls earlier or later by a coin, and the a + 1st decides."""
    assert allowed(0.5, 1008, 1008) == 0  # none may come later: one chance in two
    weeks = 6.0
    for most, count in ((3, 0), (4, 0), (5, 1), (6, 2)):  # C(l + a, l) / 2^(l + a + 1) summed up to `most`, by hand
        assert allowed(1.0001 * gammaincinv(most + 1, 0.95) / weeks, 1008, 1008) == count
    drawn = np.random.default_rng(0)
    scores = -np.sort(-drawn.standard_normal((4000, 100)), axis=1)[:, 2:3]  # the third highest of 100 earlier ones
    later = (drawn.standard_normal((4000, 100)) > scores).sum(axis=1)
    assert np.mean(later <= 6) == pytest.approx(0.91, abs=0.02)


def test_too_few_hours_are_refused_with_what_they_can_support():
    with pytest.raises(QualityError) as refused:
        set_alarm(NormalBlocks(normal(400), 10), budget=0.5)
    said = str(refused.value)
    assert "0.5 false alarms a week needs 1008 h" in said
    assert "200.0 h were observed" in said
    assert "support 2.52 a week at best" in said  # 3 in 200 h
    assert set_alarm(NormalBlocks(normal(400), 10), budget=2.52).observed_hours == 200


def test_the_threshold_is_worked_out_by_hand():
    earlier = np.zeros(HOUR * 10)
    earlier[[500, 900, 901, 2000]] = 7, 9, 9.5, 8
    later = np.zeros(HOUR * 10)
    later[[10, 12, 500, 700]] = 10, 10, 8.5, 10
    blocks = NormalBlocks(np.concatenate([earlier, later]), 10)
    # no alarm may come later, for the bound of one, 4.74 in 10 h, is above the budget; so none may come earlier
    strict = set_alarm(blocks, budget=79, pairs=[(1, 1)], rearm=5)
    assert (strict.threshold, strict.alarms) == (9.5, 2)  # 10 and 12 are one excursion; 8.5 is below
    # six may come later, bound 11.84, and after two earlier they will not be more with a chance of 0.91: 900 and 901
    # are one, 2000 another, and 500 would be the third
    assert set_alarm(blocks, budget=199, pairs=[(1, 1)], rearm=5).threshold == 7
    assert set_alarm(blocks, budget=198, pairs=[(1, 1)], rearm=5).threshold == 8
    # two of two are above 9 at 901 alone, and later never
    pairs = set_alarm(blocks, budget=79, pairs=[(2, 2)], rearm=5)
    assert (pairs.threshold, pairs.alarms, pairs.upper_per_week) == (9, 0, pytest.approx(2.996 / 10 * 168, rel=1e-3))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_chosen_never_depends_on_the_later_blocks(seed):
    score = normal(80, seed, correlation=0.5)
    other = np.concatenate([score[: 40 * HOUR], 5 + normal(40, seed + 10)])
    one, two = (set_alarm(NormalBlocks(each, 10), budget=20) for each in (score, other))
    assert (one.threshold, one.k, one.n) == (two.threshold, two.k, two.n)
    assert one.alarms < 30
    assert two.alarms == 1  # one excursion without an end


def test_the_cut_lies_between_two_recordings():
    recording = np.repeat(["a", "b", "c"], [HOUR, 7 * HOUR, 2 * HOUR])
    score = np.where(recording == "a", 1.0, 0.0) + 0.01 * normal(10)
    found = set_alarm(NormalBlocks(score, 10, recording=recording), budget=252, pairs=[(1, 1)])
    assert found.observed_hours == 2  # half of 10 h is 5; the nearest edge, after b, is at 8
    with pytest.raises(SplitError, match="at least two recordings"):
        set_alarm(NormalBlocks(score, 10, recording=np.full(len(score), "a")), budget=252)


def test_blocks_that_could_not_be_judged_are_not_observed():
    score = normal(20)
    score[-5 * HOUR :] = np.nan
    assert NormalBlocks(score, 10).hours == 15
    # half of the judged is 7.5 h, so as many are left
    assert set_alarm(NormalBlocks(score, 10), budget=100).observed_hours == 7.5


def test_a_hole_in_time_ends_an_excursion():
    score = np.zeros(4 * HOUR)
    score[[2 * HOUR + 100, 2 * HOUR + 101]] = 5
    start = 10.0 * np.arange(len(score))
    whole = NormalBlocks(score, 10, start)
    broken = NormalBlocks(score, 10, np.where(np.arange(len(score)) > 2 * HOUR + 100, start + 3600, start))
    alarms = [set_alarm(each, budget=300, pairs=[(1, 1)]).alarms for each in (whole, broken)]
    assert alarms == [1, 2]


def test_persistence_is_chosen_where_normal_machines_click():
    """Single loud blocks cost a threshold of one block dearly; where nothing clicks a pair gains less."""
    score = normal(40)
    score[:: HOUR // 2] += 20  # every half hour, so no budget below 336 a week can have them above
    found = set_alarm(NormalBlocks(score, 10), budget=50)
    assert found.k > 1
    assert found.threshold < 5 < set_alarm(NormalBlocks(score, 10), budget=50, pairs=[(1, 1)]).threshold


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 3), (5, 8)])
def test_the_smallest_rise_sounds_an_alarm_from_nine_of_ten_moments(k, n):
    score, delay = normal(30, correlation=0.7), 30
    rise = smallest_rise(score, np.zeros(len(score), int), 3.0, (k, n), delay)

    def found(added: float) -> float:
        moments = (score + added).reshape(-1, delay)
        counters = [Persistence(k, n, 1) for _ in moments]
        return np.mean([any(c.see(x > 3.0) for x in part) for c, part in zip(counters, moments, strict=True)])

    assert found(rise + 1e-6) >= 0.9 > found(rise - 0.02)


@example([(0, False), (5, False), (5, False), (9, False)], 1, 1)  # the second of two equal ones joins two excursions
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5).map(lambda x: x == 0)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(0, 4),
)
def test_the_lowest_threshold_is_that_of_trying_them_all(blocks, rearm, most):
    highest = np.array([value for value, _ in blocks], float)
    segment = np.cumsum([breaks for _, breaks in blocks])
    tried = sorted({*highest.tolist(), -1.0}, reverse=True)
    kept = [len(alarm_blocks(highest > each, rearm, segment)) <= most for each in tried]
    best = tried[kept.index(False) - 1] if False in kept else -1.0
    assert lowest_threshold(highest, segment, rearm, most, floor=-1.0) == best


def coverage(correlation: float, rearm: int, factories: int = 120, hours: float = 30, budget: float = 100) -> float:
    """Share of simulated factories whose long-run rate of false alarms is within the bound that was printed."""
    long = normal(3000, seed=99, correlation=correlation)
    segment = np.zeros(len(long), int)
    within = []
    for seed in range(factories):
        blocks = NormalBlocks(normal(2 * hours, seed, correlation), 10)
        found = set_alarm(blocks, budget, pairs=[(1, 1)], rearm=rearm)
        alarms = len(alarm_blocks(kth_largest(long, 1, 1, segment) > found.threshold, rearm, segment))
        within.append(alarms / (len(long) / HOUR) * 168 <= found.upper_per_week)
    return float(np.mean(within))


def test_the_bound_covers_where_blocks_are_independent():
    """The rate is known: an alarm is a block above after 30 that are not."""
    within, shown = [], []
    for seed in range(400):
        found = set_alarm(NormalBlocks(normal(60, seed), 10), budget=100, pairs=[(1, 1)], rearm=30)
        above = norm.sf(found.threshold)
        within.append(above * (1 - above) ** 30 * HOUR * 168 <= found.upper_per_week)
        shown.append(found.within_budget)
    assert 0.87 < np.mean(shown) < 0.97  # the threshold was chosen for 0.9 or more
    assert np.mean(within) >= 0.94  # 0.95 but for the chance of 400 factories, SD 0.011


def test_the_bound_covers_where_blocks_resemble_their_neighbours():
    assert coverage(correlation=0.9, rearm=30) >= 0.93  # 0.95 but for the chance of 120 factories, SD 0.02


def test_alarms_of_one_cause_come_in_groups_and_then_the_bound_is_too_low():
    """Scores that stay high for hours (1000 blocks) need a rearm that is long against a minute."""
    short, long = (coverage(0.999, rearm, factories=80) for rearm in (6, 300))
    assert short < 0.9
    assert long >= 0.93


def test_an_alarm_is_the_same_after_json():
    found = Alarm(2.5, 3, 5, 30, 10.0, 0.5, 1008.0, 0, 0.499)
    assert Alarm.from_json(json.loads(json.dumps(found.to_json()))) == found
    for wrong in ({}, {**found.to_json(), "extra": 1}):
        with pytest.raises(FormatError, match="set it anew"):
            Alarm.from_json(wrong)


def test_the_sentence_says_whether_the_budget_is_shown_to_be_kept():
    kept = Alarm(2.5, 3, 5, 30, 10.0, 0.5, 1008.0, 0, upper_per_week(0, 1008))
    assert kept.within_budget
    assert kept.shortest_delay == 30
    assert kept.sentence() == ("0 false alarms in 1008 h of later normal sound: at most 0.5 a week (95 %), budget 0.5")
    missed = replace(kept, alarms=1, upper_per_week=upper_per_week(1, 1008))
    assert not missed.within_budget
    assert missed.sentence().endswith("not shown to be kept; 586 h more without any would show it")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"budget": 0.0}, RecipeError),
        ({"budget": np.inf}, RecipeError),
        ({"earlier": 1.0}, RecipeError),
        ({"pairs": []}, RecipeError),
        ({"pairs": [(3, 2)]}, RecipeError),
        ({"rearm": 0}, RecipeError),
        ({"delay": 5}, RecipeError),  # 8 blocks are looked back on
    ],
)
def test_impossible_settings_are_refused(change, error):
    with pytest.raises(error):
        set_alarm(NormalBlocks(normal(20), 10), **{"budget": 100.0, **change})


def test_blocks_that_make_no_sense_are_refused():
    with pytest.raises(SplitError, match="time order"):
        NormalBlocks(np.zeros(3), 10, np.array([0, 20, 10]))
    with pytest.raises(SplitError, match="stand together"):
        NormalBlocks(np.zeros(3), 10, recording=np.array(["a", "b", "a"]))
    with pytest.raises(ScoreError):
        NormalBlocks(np.zeros(3), 10, np.zeros(2))
    with pytest.raises(ScoreError):
        NormalBlocks(np.array([0, np.inf]), 10)
    with pytest.raises(QualityError, match=r"0\.0 h were observed, which support none"):
        set_alarm(NormalBlocks(np.array([]), 10), budget=1)
