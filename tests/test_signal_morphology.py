"""Shape and irregularity of a pulse: drawn widths, waves and rhythms, and what must leave no trace."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_recordings import bidmc, marsh
from pulses import RISE, changed, feet_at, pulse_of
from test_signal_pulse import fibrillating
from test_signal_pulse_quality import moving

from stethos.signal.irregularity import rhythm_features, sample_entropy
from stethos.signal.morphology import PULSE_FEATURES, MedianBeat, median_beat, pulse_features, shape_features
from stethos.signal.resample import resample

REGULAR = pulse_of(feet_at(60, 60.6), seconds=60, noise=0.002)


def triangle(rise=25, fall=100, rate=125.0):
    """Straight up from sample 13 and straight down."""
    values = np.concatenate([np.zeros(13), np.arange(rise) / rise, 1 - np.arange(fall) / fall])
    return MedianBeat(values, 13, rate)


def test_widths_slopes_and_area_of_a_triangle_are_worked_out_by_hand():
    found = shape_features(triangle())
    assert found["rise_time"] == pytest.approx(25 / 125)
    assert found["rise_share"] == pytest.approx(0.2)
    for level in (10, 25, 33, 50, 66, 75):
        assert found[f"systolic_width_{level}"] == pytest.approx((1 - level / 100) * 0.2, abs=1e-9)
        assert found[f"diastolic_width_{level}"] == pytest.approx((1 - level / 100) * 0.8, abs=1e-9)
    assert found["width_ratio_50"] == pytest.approx(4)
    assert found["area"] == pytest.approx(0.5, abs=0.01)
    assert found["upslope"] == pytest.approx(5)
    assert found["downslope"] == pytest.approx(1.25)
    assert np.isnan(found["notch_time"])


def test_a_sine_has_no_second_harmonic():
    values = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(125) / 125)
    found = shape_features(MedianBeat(values, 0, 125.0))
    assert found["harmonic_2"] == pytest.approx(0, abs=1e-9)
    assert found["skewness"] == pytest.approx(0, abs=1e-9)


def test_the_median_beat_is_the_beat_that_was_drawn():
    beat = median_beat(pulse_of(feet_at(60, 60.6), seconds=60, dicrotic=0.0))
    assert beat is not None
    assert beat.values.max() == 1
    found = shape_features(beat)
    # half a bell of width 0.13 s falls to half at 0.13 · sqrt(2 ln 2); a raised cosine reaches half in its middle
    wide = RISE / 2 + 0.13 * np.sqrt(2 * np.log(2))
    assert found["systolic_width_50"] + found["diastolic_width_50"] == pytest.approx(wide, abs=0.008)
    assert found["systolic_width_50"] == pytest.approx(RISE / 2, abs=0.02)


def test_a_dicrotic_wave_is_measured_where_it_was_drawn():
    """A bell of 0.3 heights 0.42 s after the foot, where the fall is still at exp(−½ (0.28 / 0.13)²) = 0.1; onsets are
    25 ms after the foot.
    """
    found = pulse_features(REGULAR)
    assert found["reflection_time"] == pytest.approx(0.42 - 0.025, abs=0.025)
    assert found["reflection_height"] == pytest.approx(0.4, abs=0.02)
    assert 0.1 < found["notch_time"] < found["reflection_time"]
    assert found["stiffness"] == pytest.approx(1 / (0.42 - RISE), rel=0.15)


@pytest.mark.parametrize(("name", "low", "high"), [("reflection_height", 0.15, 0.5), ("harmonic_2", 0.5, 0.1)])
def test_the_features_follow_the_dicrotic_wave(name, low, high):
    values = [
        pulse_features(pulse_of(feet_at(60, 60.6), seconds=60, noise=0.002, dicrotic=height))[name]
        for height in (low, high)
    ]
    assert values[1] > values[0]


def test_the_waves_of_the_second_derivative_alternate():
    found = pulse_features(REGULAR)
    assert found["wave_b_to_a"] < 0 < found["wave_e_to_a"]
    assert abs(found["wave_e_to_a"]) < 1


def test_fibrillation_is_irregular_in_every_measure_and_a_regular_pulse_in_none():
    feet, heights = fibrillating(1)
    wild = pulse_features(pulse_of(feet, seconds=60, heights=heights, noise=0.002))
    calm = pulse_features(REGULAR)
    assert wild["heart_rate"] == pytest.approx(60 / np.median(np.diff(feet)), rel=0.03)
    for name, least in (
        ("sdnn", 0.1),
        ("rmssd", 0.15),
        ("pnn", 0.6),
        ("sample_entropy", 0.7),
        ("shannon_entropy", 0.6),
    ):
        assert wild[name] > least
        assert calm[name] < 0.4 * wild[name]
    assert wild["turning_points"] == pytest.approx(2 / 3, abs=0.12)
    assert wild["height_by_interval"] > 0.6  # a longer filling, a higher beat


def test_the_spread_of_intervals_is_that_of_the_feet():
    generator = np.random.default_rng(4)
    feet = 0.4 + np.cumsum(0.85 * (1 + 0.06 * generator.standard_normal(68)))
    feet = feet[feet < 58.5]
    found = pulse_features(pulse_of(feet, seconds=60, noise=0.002))
    apart = np.diff(feet)
    assert found["sdnn"] == pytest.approx(apart.std(ddof=1) / apart.mean(), rel=0.05)
    assert found["rmssd"] == pytest.approx(np.sqrt(np.mean(np.diff(apart) ** 2)) / apart.mean(), rel=0.05)


def test_irregularity_is_worked_out_by_hand():
    intervals = np.array([0.8, 1.2, 0.8, 1.2, 0.8, 1.2])
    found = rhythm_features(intervals, np.stack([intervals[:-1], intervals[1:]], axis=1))
    assert found["heart_rate"] == 60
    assert found["rmssd"] == pytest.approx(0.4)
    assert found["pnn"] == 1
    assert found["turning_points"] == 1
    assert found["shannon_entropy"] == pytest.approx(np.log(2) / np.log(16))
    # of three early 0.8 and two early 1.2 there are 3 + 1 alike pairs, each followed by an alike one
    assert found["sample_entropy"] == 0
    # of the values without the last, 0 and 0 are alike and followed by 1 and 5
    assert sample_entropy(np.array([0.0, 1, 0, 5, 9]), 0.5) == pytest.approx(np.log(1 / 0.5))


def test_sample_entropy_is_that_of_neurokit():
    import neurokit2

    values = np.random.default_rng(0).normal(1, 0.2, 200)
    theirs, _ = neurokit2.entropy_sample(values, delay=1, dimension=1, tolerance=0.1)
    assert sample_entropy(values, 0.1) == pytest.approx(theirs, abs=0.02)


def test_alternating_beats_alternate():
    feet = feet_at(75, 60.6)
    heights = np.where(np.arange(len(feet)) % 2, 1.1, 0.9)
    found = pulse_features(pulse_of(feet, seconds=60, heights=heights, noise=0.002))
    assert found["height_alternation"] == pytest.approx(0.2, abs=0.02)
    assert pulse_features(REGULAR)["height_alternation"] < 0.02


@settings(max_examples=12, deadline=None)
@given(gain=st.sampled_from([0.01, 100.0, 1e4]), sign=st.sampled_from([1, -1]), seed=st.integers(0, 3))
def test_gain_offset_and_polarity_leave_no_trace(gain, sign, seed):
    feet, heights = fibrillating(seed)
    pulse = pulse_of(feet, seconds=60, heights=heights, noise=0.01)
    want = pulse_features(pulse)
    got = pulse_features(changed(pulse, sign * gain * (pulse.values + 0.5)))
    assert list(got) == list(PULSE_FEATURES)
    assert list(got.values()) == pytest.approx(list(want.values()), abs=0.02, nan_ok=True)


@pytest.mark.parametrize("rate", [50.0, 64.0, 250.0, 500.0])
@pytest.mark.parametrize("name", ["rise_time", "diastolic_width_50", "area", "harmonic_2", "sdnn", "reflection_height"])
def test_the_rate_leaves_hardly_a_trace(rate, name):
    feet = feet_at(60, 60.6) + 0.02 * np.random.default_rng(0).standard_normal(len(feet_at(60, 60.6)))
    want = pulse_features(pulse_of(feet, seconds=60))[name]
    assert pulse_features(pulse_of(feet, rate, seconds=60))[name] == pytest.approx(want, rel=0.05)


def test_spoilt_stretches_are_left_out():
    feet = feet_at(60, 60.6)
    values = REGULAR.values[0].copy()
    values[2500:5000] += 5 * np.random.default_rng(0).standard_normal(2500)
    clean, spoilt = pulse_features(REGULAR), pulse_features(changed(REGULAR, values))
    assert clean["good_share"] == 1
    assert spoilt["good_share"] == pytest.approx(4 / 6, abs=0.01)
    for name in ("rise_time", "diastolic_width_50", "sdnn", "heart_rate", "area"):
        assert spoilt[name] == pytest.approx(clean[name], abs=0.02)
    assert len(feet) == 60


def test_what_motion_spoils_is_left_out():
    seconds = np.arange(60 * 50) / 50
    running = np.where(seconds < 30, 0.0, 0.5 * np.sin(2 * np.pi * 2.6 * seconds))
    motion = moving(np.zeros(len(seconds)))
    along = type(motion)(motion.values + [[0.0], [0.0], [1.0]] * running, 50.0, motion.channels, "g")
    assert pulse_features(REGULAR, along)["good_share"] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
@pytest.mark.parametrize("samples", [0, 100, 3750])
def test_of_nothing_nothing_can_be_told(value, samples):
    found = pulse_features(changed(REGULAR, np.full(samples, value)))
    assert list(found) == list(PULSE_FEATURES)
    assert np.isnan([number for name, number in found.items() if name != "good_share"]).all()
    assert median_beat(changed(REGULAR, np.full(samples, value))) is None


def test_a_minute_takes_milliseconds():
    pulse_features(REGULAR)
    taken = []
    for _ in range(15):
        start = time.process_time()
        pulse_features(REGULAR)
        taken.append(time.process_time() - start)
    assert np.median(taken) < 0.045  # measured: 0.012; a laden machine is slower


@pytest.mark.realdata
def test_real_pulses_have_all_features(real):
    pulses = [resample(pulse, 125.0).crop(60, 120) for _, pulse, _ in marsh(real)] + [bidmc(real)[0].crop(0, 60)]
    table = np.array([list(pulse_features(pulse).values()) for pulse in pulses])
    assert np.isnan(table).mean() < 0.03
    assert not np.isinf(table).any()
    rise = table[:, PULSE_FEATURES.index("rise_time")]
    assert (rise > 0.05).all()
    assert (rise < 0.4).all()


@pytest.mark.realdata
def test_a_subject_resembles_itself_more_than_others(real):
    """Minutes 1 and 10 of one person are nearer to each other, in robust z, than to most others' minute 10."""
    names = [name for name in PULSE_FEATURES if not name.startswith("breath")]
    early, late = [], []
    for _, pulse, _ in marsh(real):
        slower = resample(pulse, 125.0)
        for table, start in ((early, 60), (late, 600)):
            found = pulse_features(slower.crop(start, start + 60))
            table.append([found[name] for name in names])
    first, second = np.array(early), np.array(late)
    both = np.concatenate([first, second])
    middle, spread = np.nanmedian(both, axis=0), np.nanpercentile(both, 75, axis=0) - np.nanpercentile(both, 25, axis=0)
    first, second = (
        np.nan_to_num(np.clip((part - middle) / np.maximum(spread, 1e-9), -3, 3)) for part in (first, second)
    )
    apart = np.linalg.norm(first[:, None] - second[None], axis=2)
    rank = (apart < np.diag(apart)[:, None]).sum(axis=1)
    assert np.mean(rank) < 3  # by chance: 6.5
