"""k of the last n blocks, one alarm an excursion."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stethos.errors import RecipeError
from stethos.study.persistence import Persistence, alarm_blocks, hole_seconds, kth_largest, segments


def by_definition(above: list[bool], k: int, n: int, m: int) -> list[int]:
    """Blocks at which the condition holds and held at none of the m before, counted anew for every block."""

    def holds(i: int) -> bool:
        return i >= 0 and sum(above[max(0, i - n + 1) : i + 1]) >= k

    return [i for i in range(len(above)) if holds(i) and not any(holds(j) for j in range(i - m, i))]


def live(above: list[bool], k: int, n: int, m: int) -> list[int]:
    counter = Persistence(k, n, m)
    return [i for i, each in enumerate(above) if counter.see(each)]


@pytest.mark.parametrize(
    ("blocks", "k", "n", "rearm", "alarms"),
    [
        ("0100", 1, 1, 1, [1]),
        ("0110", 1, 1, 1, [1]),  # one excursion, one alarm
        ("0101", 1, 1, 1, [1, 3]),
        ("0101", 1, 1, 2, [1]),  # one quiet block does not end it
        ("01001", 1, 1, 2, [1, 4]),
        ("1010000101", 2, 3, 3, [2, 9]),
        ("1010010101", 2, 3, 4, [2, 7]),  # the condition holds at 2, 7 and 9: four quiet blocks, then one
        ("1010010101", 2, 3, 5, [2]),
        ("1000100010", 2, 3, 1, []),
        ("11111", 3, 3, 1, [2]),
    ],
)
def test_alarms_worked_out_by_hand(blocks, k, n, rearm, alarms):
    assert live([each == "1" for each in blocks], k, n, rearm) == alarms


RULE = st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(1, 8)).map(lambda r: (r[0], r[0] + r[1], r[2]))


@given(st.lists(st.booleans(), max_size=60), RULE)
def test_the_live_counter_keeps_to_the_definition(above, rule):
    assert live(above, *rule) == by_definition(above, *rule)


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(-1, 9), RULE)
def test_whole_arrays_give_the_same_alarms_as_the_live_counter(score, threshold, rule):
    k, n, rearm = rule
    values, segment = np.array(score, float), np.zeros(len(score), int)
    found = alarm_blocks(kth_largest(values, k, n, segment) > threshold, rearm, segment)
    assert found.tolist() == live([each > threshold for each in score], k, n, rearm)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=15), min_size=1, max_size=5), RULE)
def test_across_a_hole_nothing_is_remembered(stretches, rule):
    k, n, rearm = rule
    segment = np.repeat(np.arange(len(stretches)), [len(each) for each in stretches])
    highest = kth_largest(np.concatenate(stretches).astype(float), k, n, segment)
    found = alarm_blocks(highest > 1, rearm, segment)
    first = np.cumsum([0, *(len(each) for each in stretches)])
    apart = [
        at + i for at, part in zip(first, stretches, strict=False) for i in live([x > 1 for x in part], k, n, rearm)
    ]
    assert found.tolist() == apart
    counter, remembered = Persistence(k, n, rearm), []
    for i, (value, part) in enumerate(zip(np.concatenate(stretches), segment, strict=True)):
        if i and part != segment[i - 1]:
            counter.forget()
        if counter.see(value > 1):
            remembered.append(i)
    assert remembered == apart


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 60), RULE)
def test_a_counter_that_was_put_away_goes_on_as_if_it_had_not_been(above, at, rule):
    first, second = Persistence(*rule), Persistence(*rule)
    found = [i for i, each in enumerate(above[:at]) if first.see(each)]
    second.restore(json.loads(json.dumps(first.to_json())))
    found += [i for i, each in enumerate(above[at:], at) if second.see(each)]
    assert found == live(above, *rule)


def test_a_stretch_ends_where_more_than_n_blocks_are_missing():
    start = np.array([0, 10, 20, 50, 60, 100, 110.0])  # 2 blocks of 10 s are missing before 50, 3 before 100
    assert segments(start, n=2, block_seconds=10).tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert segments(start, n=1, block_seconds=10).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert segments(start[:0], n=1, block_seconds=10).tolist() == []
    assert hole_seconds(2, 10) == 25


@pytest.mark.parametrize(("k", "n", "rearm"), [(0, 1, 1), (2, 1, 1), (1, 1, 0)])
def test_an_impossible_counter_is_refused(k, n, rearm):
    with pytest.raises(RecipeError, match="1 ≤ k ≤ n"):
        Persistence(k, n, rearm)
