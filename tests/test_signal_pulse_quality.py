"""Quality of a pulse: planted defects by name, noise, motion that spoils and motion that does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_recordings import MOTION, bidmc, marsh, pulse_signal, troika
from pulses import changed, feet_at, pulse_of
from test_signal_pulse import fibrillating

from stethos.errors import UnitError
from stethos.signal.pulse import pulse_rate, traced
from stethos.signal.pulse_quality import judged_windows, pulse_windows
from stethos.signal.resample import resample
from stethos.types import Signal

GOOD = pulse_of(feet_at(70, 90.6), seconds=90, noise=0.02)
TIME = np.arange(90 * 125) / 125


def reasons(pulse, **options):
    return [window.reason for window in pulse_windows(pulse, **options)]


def moving(x, rate=50.0, unit="g"):
    """Acceleration of a wrist whose hand hangs down, with more along one axis."""
    values = 0.002 * np.random.default_rng(1).standard_normal((3, len(x)))
    values[0] += x
    values[2] += 1.0 if unit == "g" else 9.80665
    return Signal(values, rate, MOTION, unit)


def test_ninety_good_seconds_are_three_good_windows():
    found = pulse_windows(GOOD)
    assert [(window.start, window.stop) for window in found] == [(0, 30), (30, 60), (60, 90)]
    assert all(window.ok and window.reason == "" for window in found)
    assert min(window.score for window in found) > 0.9


@pytest.mark.parametrize(
    ("seconds", "stops"), [(3, [3]), (20, [20]), (32, [30]), (33, [30, 33]), (89.9, [30, 60, 89.9])]
)
def test_what_is_left_over_is_judged_from_three_seconds_on(seconds, stops):
    found = pulse_windows(GOOD.crop(0, seconds))
    assert [window.stop for window in found] == pytest.approx(stops, abs=0.01)
    assert all(window.ok for window in found)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.9])
def test_a_recording_under_three_seconds_is_short(seconds):
    (only,) = pulse_windows(GOOD.crop(0, seconds))
    assert (only.ok, only.reason, only.score) == (False, "short", 0)


def test_each_defect_is_named_in_its_own_window():
    values = GOOD.values[0].copy()
    values[1000:1250] = np.nan
    values[5000:6000] = values[5000]
    values[7500:] = np.clip(values[7500:], 0.1, 0.8)
    assert reasons(changed(GOOD, values)) == ["missing", "flat", "clipped"]


@pytest.mark.parametrize("value", [0.0, -4.2])
def test_a_constant_is_flat_and_nothing_is_missing(value):
    assert reasons(changed(GOOD, np.full(3750, value))) == ["flat"]
    assert reasons(changed(GOOD, np.full(3750, np.nan))) == ["missing"]


def test_a_short_gap_and_a_coarse_converter_are_borne():
    values = GOOD.values[0].copy()
    values[1000:1100] = np.nan
    assert reasons(changed(GOOD, np.round(values * 60) / 60)) == ["", "", ""]


@settings(max_examples=12, deadline=None)
@given(gain=st.sampled_from([0.01, 100.0]), sign=st.sampled_from([1, -1]), noise=st.sampled_from([0.02, 0.5, 3.0]))
def test_gain_and_polarity_change_nothing(gain, sign, noise):
    pulse = pulse_of(feet_at(70, 60), seconds=60, noise=noise)
    want, got = pulse_windows(pulse), pulse_windows(changed(pulse, sign * gain * pulse.values))
    assert [window.reason for window in want] == [window.reason for window in got]
    assert [window.score for window in want] == pytest.approx([window.score for window in got], abs=0.02)


@pytest.mark.parametrize("colour", ["white", "walk"])
def test_noise_is_noise(colour):
    white = np.random.default_rng(0).standard_normal(20 * 3750)
    pulse = pulse_signal(white if colour == "white" else np.cumsum(white), 125.0)
    found = pulse_windows(pulse)
    assert all(window.reason == "noise" for window in found)
    assert max(window.score for window in found) < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_fibrillation_is_not_noise(seed):
    feet, heights = fibrillating(seed)
    found = pulse_windows(pulse_of(feet, seconds=60, heights=heights, noise=0.02))
    assert min(window.score for window in found) > 0.9


def test_the_score_falls_with_noise():
    scores = [np.mean([w.score for w in pulse_windows(pulse_of(feet_at(70, 90.6), seconds=90, noise=noise))])
              for noise in (0.01, 0.2, 0.4, 1.0)]  # fmt: skip
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.98
    assert scores[-1] < 0.75


def test_one_artefact_larger_than_all_beats_lowers_the_contrast():
    values = GOOD.values[0].copy()
    values[5000:5060] += 30
    assert reasons(changed(GOOD, values)) == ["", "noise", ""]


@pytest.mark.parametrize("unit", ["g", "m/s2"])
def test_a_run_is_motion_and_rest_is_not(unit):
    time = np.arange(90 * 50) / 50
    running = np.where(time < 30, 0.0, 0.5 * np.sin(2 * np.pi * 2.6 * time)) * (1 if unit == "g" else 9.80665)
    # a swing of 0.5 g across gravity changes the magnitude little; along it, as when running, much
    motion = moving(running, unit=unit)
    along = Signal(motion.values[[2, 1, 0]] + running, 50.0, MOTION, unit)
    assert reasons(GOOD, motion=along) == ["", "motion", "motion"]
    assert [window.score > 0.9 for window in pulse_windows(GOOD, motion=along)] == [True] * 3


@pytest.mark.parametrize("unit", ["g", "m/s2"])
def test_a_small_motion_is_borne_unless_the_pulse_follows_it(unit):
    time = np.arange(90 * 50) / 50
    shaking = 0.06 * np.sin(2 * np.pi * 1.9 * time) + 0.03 * np.random.default_rng(2).standard_normal(len(time))
    down = np.array([[0.0], [0.0], [1.0]])
    along = Signal(down * (1 + shaking) * (1 if unit == "g" else 9.80665), 50.0, MOTION, unit)
    assert reasons(GOOD, motion=along) == ["", "", ""]
    followed = np.interp(TIME, time, shaking)
    assert reasons(changed(GOOD, GOOD.values[0] + 25 * followed), motion=along) == ["motion"] * 3


def test_the_shaking_of_a_resting_wrist_in_step_with_the_heart_is_no_motion():
    beating = np.interp(np.arange(90 * 50) / 50, TIME, 0.01 * GOOD.values[0])
    assert reasons(GOOD, motion=moving(beating)) == ["", "", ""]


def test_motion_without_a_unit_of_acceleration_is_refused():
    with pytest.raises(UnitError, match="accelerometer"):
        pulse_windows(GOOD, motion=moving(np.zeros(4500), unit="1"))


@pytest.mark.realdata
def test_finger_pulses_of_resting_people_are_good(real):
    found = [window for _, pulse, _ in marsh(real) for window in pulse_windows(resample(pulse, 125.0))]
    found += pulse_windows(bidmc(real)[0])
    assert np.mean([window.ok for window in found]) > 0.98  # measured: 0.998 of 446
    assert np.median([window.score for window in found]) > 0.95


@pytest.mark.realdata
def test_refusing_motion_and_noise_leaves_smaller_errors_on_runners(real):
    rows = []
    for _, pulse, motion, truth in troika(real):
        found = traced(pulse)
        stretches = [(2.0 * i, 2.0 * i + 8) for i in range(len(truth))]
        judged = judged_windows(pulse, found, stretches, motion)
        for window, rate in zip(judged, truth, strict=True):
            at = found.beats.steepest / found.rate
            ours = pulse_rate(at[(at >= window.start) & (at < window.stop)], 1.0)
            rows.append((abs(ours - rate), window.reason != "motion", window.ok))
    error, calm, good = np.array(rows).T
    calm, good = calm == 1, good == 1
    # measured: 15.1 at full coverage, 6.2 where 12 % are calm, 2.9 where 7 % are good as well; per minute
    assert error[good].mean() < error[calm].mean() < 0.6 * error.mean()
    assert good.mean() > 0.05
