"""Where in its cycle a heart is: numbers by hand, undefined ends, extra beats, and courses laid on other frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stethos.signal.phase import cardiac_phase, circular_resample, usual_intervals

TURN = 2 * np.pi


def test_the_phase_rises_by_one_turn_from_peak_to_peak():
    phase = cardiac_phase(np.array([10, 20, 25]), 30)
    np.testing.assert_allclose(phase[10:20], TURN * np.arange(10) / 10, atol=1e-12)
    np.testing.assert_allclose(phase[20:25], TURN * np.arange(5) / 5, atol=1e-12)


def test_the_phase_is_unknown_before_the_first_peak_and_from_the_last_one_on():
    phase = cardiac_phase(np.array([10, 20, 25]), 30)
    assert np.flatnonzero(np.isfinite(phase)).tolist() == list(range(10, 25))


@pytest.mark.parametrize("peaks", [[], [4]])
def test_with_less_than_two_peaks_no_phase_is_known(peaks):
    assert np.isnan(cardiac_phase(np.array(peaks, float), 7)).all()


def test_peaks_between_samples_are_heard_between_samples():
    phase = cardiac_phase(np.array([0.5, 4.5]), 6)
    np.testing.assert_allclose(phase[1:5] / TURN, [1 / 8, 3 / 8, 5 / 8, 7 / 8])
    assert np.isnan(phase[[0, 5]]).all()


def test_at_every_peak_of_a_long_recording_the_phase_is_nought_and_not_just_below_a_turn():
    peaks = np.cumsum(np.random.default_rng(0).integers(60, 140, 400))
    phase = cardiac_phase(peaks, peaks[-1] + 50)
    assert (phase[peaks[:-1]] == 0).all()
    known = phase[np.isfinite(phase)]
    assert known.min() >= 0
    assert known.max() < TURN


def test_an_extra_beat_and_the_pause_after_it_are_no_usual_intervals():
    peaks = np.cumsum([0, 80, 82, 50, 112, 78])  # 100 Hz
    assert usual_intervals(peaks, 100).tolist() == [True, True, False, False, True]


def test_an_interval_a_fifth_off_the_median_is_usual_and_one_farther_off_is_not():
    peaks = np.cumsum([0, 1000, 1000, 1000, 1200, 1201, 800, 799])
    assert usual_intervals(peaks, 1000).tolist() == [True, True, True, True, False, True, False]


def test_a_missed_beat_does_not_move_the_median():
    peaks = np.cumsum([0, 210, 210, 100, 100, 90])  # 2.1 s is longer than a heart can keep
    assert usual_intervals(peaks, 100).tolist() == [False, False, True, True, True]


def test_in_fibrillation_where_none_is_near_the_median_all_possible_intervals_count():
    peaks = np.cumsum([0, 40, 100, 25])
    assert usual_intervals(peaks, 100).tolist() == [True, True, False]


def test_intervals_that_no_heart_keeps_are_never_usual():
    assert not usual_intervals(np.array([0, 10, 20, 400]), 100).any()
    assert usual_intervals(np.array([5]), 100).tolist() == []


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**31))
def test_resampling_is_interpolation_with_a_period(count, frames, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, 2))
    at = (np.arange(count) + generator.uniform(0, 0.9, count)) / count
    for given_at, place in ((None, np.arange(count) / count), (at, at)):
        found = circular_resample(values, frames, given_at)
        want = [np.interp(np.arange(frames) / frames, place, column, period=1) for column in values.T]
        np.testing.assert_allclose(found.T, want, atol=1e-9)


def test_a_sine_keeps_its_form_but_for_what_lines_cut_off():
    found = circular_resample(np.sin(TURN * np.arange(50) / 50), 16)
    error = np.abs(found - np.sin(TURN * np.arange(16) / 16)).max()
    assert 1e-4 < error < (TURN / 50) ** 2 / 8


def test_as_many_frames_as_there_are_stay_as_they_are():
    values = np.random.default_rng(1).normal(size=(12, 3, 2))
    np.testing.assert_array_equal(circular_resample(values, 12), values)


def test_the_course_closes_over_the_seam_wherever_the_cycle_is_cut():
    values = np.random.default_rng(2).normal(size=(8, 5))
    fine = circular_resample(values, 24)
    np.testing.assert_allclose(circular_resample(np.roll(values, 3, axis=0), 24), np.roll(fine, 9, axis=0), atol=1e-12)
    np.testing.assert_allclose(fine[22], (values[7] * 2 + values[0]) / 3)
