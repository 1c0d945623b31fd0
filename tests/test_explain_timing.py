"""Timing as a player: what moves when beats are evened out, and what does not."""

import numpy as np
import pytest
from test_signal_beats import beat_times, strip

from stethos.explain.bounds import PLAYERS
from stethos.explain.segments import segments
from stethos.explain.timing import even_positions, most_even, retimed
from stethos.signal.beats import r_peaks
from stethos.signal.prepare import PREPARATIONS
from stethos.types import Signal

LEAD_V1 = PREPARATIONS["lead-v1"]
TIMES = beat_times(70, 10)
RR = np.array([0.70, 1.05, 0.82, 1.20, 0.76, 0.98, 0.69, 1.10, 0.85])
UNEVEN = 0.6 + np.append(0, np.cumsum(RR))


@pytest.fixture(scope="module")
def uneven():
    lead = strip(UNEVEN)
    parts = segments(lead, LEAD_V1)
    return LEAD_V1.apply(lead)[0], parts, even_positions(parts)


def test_uneven_beats_come_to_the_mean_rr(uneven):
    prepared, _, positions = uneven
    even = Signal(retimed(prepared, positions)[None], 125, ("I",), "1")
    rr = np.diff(r_peaks(even)) / 125
    assert len(rr) == len(RR)
    np.testing.assert_allclose(rr, RR.mean(), atol=0.012)


def test_waves_are_moved_whole_and_only_tp_is_stretched(uneven):
    prepared, parts, positions = uneven
    even = retimed(prepared, positions)
    mean = RR.mean()
    for beat in range(1, len(parts.r) - 1):
        shift = round((UNEVEN[0] + beat * mean) * 125) - round(UNEVEN[beat] * 125)
        start, stop = (int(time * 125) for time in parts.times[beat, [PLAYERS.index("P"), PLAYERS.index("T")], [0, 1]])
        moved = [even[start + shift + near : stop + shift + near] for near in (-1, 0, 1)]  # R is known to a sample
        assert any(np.array_equal(complex_, prepared[start:stop]) for complex_ in moved)


def test_what_lies_outside_of_the_first_and_last_beat_stays(uneven):
    prepared, parts, positions = uneven
    first, last = int(parts.times[0, 0, 0] * 125), int(np.nanmax(parts.times) * 125) + 1
    even = retimed(prepared, positions)
    np.testing.assert_array_equal(even[:first], prepared[:first])
    np.testing.assert_array_equal(even[last:], prepared[last:])


def test_time_never_runs_backwards_and_windows_stay_a_partition(uneven):
    _, parts, positions = uneven
    assert (np.diff(positions) >= 0).all()
    np.testing.assert_allclose(retimed(parts.windows, positions).sum(axis=0), 1, atol=1e-12)


@pytest.mark.parametrize("per_minute", [45, 60, 75, 110])
def test_an_even_rhythm_is_left_exactly_as_it_is(per_minute):
    short = min(1.0, 75 / per_minute)
    lead = strip(beat_times(per_minute, 10), noise=0.002, P=(0.1, -0.17 * short, 0.02), T=(0.3, 0.28 * short, 0.04))
    positions = even_positions(segments(lead, LEAD_V1))
    np.testing.assert_array_equal(positions, np.arange(1250))


def test_a_rhythm_that_is_even_to_within_a_sample_is_left_as_it_is():
    jitter = 0.003 * np.resize([1, -1], len(TIMES))
    positions = even_positions(segments(strip(TIMES + jitter, noise=0.002), LEAD_V1))
    np.testing.assert_array_equal(positions, np.arange(1250))


def test_rr_are_even_except_where_the_waves_need_more():
    np.testing.assert_allclose(most_even(np.array([1.0, 1, 4]), np.array([0.0, 0, 3])), [1.5, 1.5, 3])
    np.testing.assert_allclose(most_even(np.array([1.0, 1, 4]), np.array([0.5, 0.5, 1])), 2)
    np.testing.assert_array_equal(most_even(np.array([1.0, 2]), np.array([1.0, 2])), [1, 2])


def test_an_early_beat_leaves_room_for_its_waves():
    """RR of 0.5 s between RR of 1.1 s; where the mean does not fit, beats come as close as their waves let them."""
    times = 0.6 + np.append(0, np.cumsum([1.1, 0.5, 1.5, 1.1, 0.5, 1.5, 1.1]))
    lead = strip(times)
    positions = even_positions(segments(lead, LEAD_V1))
    assert (np.diff(positions) >= 0).all()
    even = Signal(retimed(LEAD_V1.apply(lead)[0], positions)[None], 125, ("I",), "1")
    assert np.diff(r_peaks(even)).std() < 2


def test_two_beats_are_even_whatever_their_distance():
    positions = even_positions(segments(strip(np.array([3.0, 5.5])), LEAD_V1))
    np.testing.assert_array_equal(positions, np.arange(1250))
