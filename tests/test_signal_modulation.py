"""What breathing does to a pulse: planted in its height, baseline and intervals, and found there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_recordings import bidmc, marsh
from pulses import changed, feet_at, pulse_of
from scipy.io import loadmat
from scipy.signal import welch

from stethos.signal.modulation import BREATH_FEATURES, HERTZ, RATE, breath_features, breath_series, fused_breath_rate
from stethos.signal.resample import resample

PER_MINUTE = (6, 12, 18, 30)


def swinging_feet(per_minute, seconds=96.0, depth=0.08):
    """Feet whose intervals are 0.8 s and go up and down with the breath."""
    feet = [0.4]
    while feet[-1] < seconds:
        feet.append(feet[-1] + 0.8 * (1 + depth * np.sin(2 * np.pi * per_minute / 60 * feet[-1])))
    return np.array(feet)


def breathing(per_minute, into, depth=0.15, seconds=96.0, **options):
    """A pulse that breath changes in one of three ways, or in all."""
    feet = swinging_feet(per_minute, seconds) if into in ("interval", "all") else feet_at(75, seconds + 0.6)
    wave = depth * np.sin(2 * np.pi * per_minute / 60 * feet)
    pulse = pulse_of(feet, seconds=seconds, heights=1 + wave * (into in ("amplitude", "all")), **options)
    time = np.arange(pulse.values.shape[1]) / pulse.rate
    sway = depth * np.sin(2 * np.pi * per_minute / 60 * time) * (into in ("baseline", "all"))
    return changed(pulse, pulse.values[0] + sway)


@pytest.mark.parametrize("into", ["amplitude", "baseline", "interval"])
@pytest.mark.parametrize("per_minute", PER_MINUTE)
def test_a_breath_is_found_where_it_was_planted(into, per_minute):
    features = breath_features(breathing(per_minute, into, noise=0.005))
    assert 60 * features[f"breath_{into}_peak"] == pytest.approx(per_minute, abs=0.5)


@pytest.mark.parametrize("per_minute", PER_MINUTE)
def test_the_fused_rate_is_that_of_the_breath(per_minute):
    rate, quality = fused_breath_rate(breathing(per_minute, "all", noise=0.02))
    assert rate == pytest.approx(per_minute, abs=1)
    assert quality > 0.6


def test_the_quality_is_lower_without_a_breath():
    feet = 0.4 + np.cumsum(0.8 + 0.04 * np.random.default_rng(0).standard_normal(115))
    _, without = fused_breath_rate(pulse_of(feet[feet < 95], seconds=96, noise=0.05))
    _, with_breath = fused_breath_rate(breathing(15, "all", noise=0.05))
    assert without < 0.6 * with_breath


def test_the_series_are_what_was_planted():
    """Height 1 ± 0.15 around its median, baseline ± 0.15 heights, interval ± 8 %, in the phase of the breath."""
    for into, depth, row in (("amplitude", 0.15, 0), ("baseline", 0.15, 1), ("interval", 0.08, 2)):
        pulse = breathing(9, into)
        series = breath_series(pulse)
        # the first beat is steepest half a rise after its foot; an interval stands in its middle
        time = 0.47 - 0.4 * (into == "interval") + np.arange(series.shape[1]) / RATE
        inside = slice(20, -20)
        planted = depth * np.sin(2 * np.pi * 9 / 60 * time)
        found = series[row] - series[row].mean()
        assert np.corrcoef(found[inside], planted[inside])[0, 1] > 0.97
        assert found[inside].std() / planted[inside].std() == pytest.approx(1, abs=0.12)


def test_the_density_is_that_of_welch():
    """Against an independent implementation, on the series themselves."""
    pulse = breathing(15, "all", noise=0.05)
    features, series = breath_features(pulse), breath_series(pulse)
    hertz, want = welch(series, RATE, nperseg=128, detrend="linear", window=np.hanning(130)[1:-1])
    at = np.searchsorted(hertz, HERTZ)
    got = [features[f"breath_{name}_{f:.3f}"] for name in ("amplitude", "baseline", "interval") for f in HERTZ]
    assert got == pytest.approx(np.log10(want[:, at]).ravel(), abs=1e-6)


def test_the_power_of_a_planted_swing_is_half_its_square():
    features = breath_features(breathing(15, "baseline", depth=0.2, noise=0.001))
    power = sum(10 ** features[f"breath_baseline_{hertz:.3f}"] for hertz in HERTZ) / 32
    # the mean over a beat of 0.8 s is a low-pass: sinc(0.25 Hz · 0.8 s)
    assert power == pytest.approx(0.2**2 / 2 * np.sinc(0.2) ** 2, rel=0.1)


@settings(max_examples=12, deadline=None)
@given(gain=st.sampled_from([0.01, 100.0]), sign=st.sampled_from([1, -1]), per_minute=st.sampled_from([8, 20]))
def test_gain_and_polarity_leave_no_trace(gain, sign, per_minute):
    pulse = breathing(per_minute, "all", noise=0.02)
    want = breath_features(pulse)
    got = breath_features(changed(pulse, sign * gain * (pulse.values + 1)))
    assert list(got) == list(BREATH_FEATURES)
    assert list(got.values()) == pytest.approx(list(want.values()), abs=0.02)


@pytest.mark.parametrize("rate", [50.0, 250.0, 500.0])
def test_the_rate_leaves_hardly_a_trace(rate):
    want = fused_breath_rate(breathing(15, "all"))
    got = fused_breath_rate(breathing(15, "all", rate=rate))
    assert got == pytest.approx(want, abs=0.1)


def test_one_missed_beat_moves_nothing():
    feet = swinging_feet(15)
    whole = breath_features(pulse_of(feet, seconds=96, noise=0.005))
    lacking = breath_features(pulse_of(np.delete(feet, 60), seconds=96, noise=0.005))
    assert lacking["breath_interval_peak"] == pytest.approx(whole["breath_interval_peak"], abs=0.004)


def test_a_premature_beat_and_its_pause_are_no_breath():
    feet = feet_at(75, 96.6)
    feet[20:100:25] -= 0.3
    series = breath_series(pulse_of(feet, seconds=96, noise=0.005))
    assert np.abs(np.diff(feet) / 0.8 - 1).max() > 0.35
    assert np.abs(series[2] - 1).max() < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_no_breath_is_faster_than_half_the_heart(seed):
    generator = np.random.default_rng(seed)
    feet = 0.4 + np.cumsum(1.3 + 0.05 * generator.standard_normal(73))  # 46 a minute
    pulse = pulse_of(feet[feet < 94], seconds=96, heights=1 + 0.2 * generator.standard_normal(sum(feet < 94)))
    assert fused_breath_rate(pulse)[0] <= 24


@pytest.mark.parametrize("seconds", [0.0, 3.0, 7.0])
def test_too_few_beats_say_nothing_of_breath(seconds):
    pulse = breathing(15, "all").crop(0, seconds)
    assert np.isnan(list(breath_features(pulse).values())).all()
    assert breath_series(pulse).shape == (3, 0)


@pytest.mark.realdata
def test_the_breath_of_bidmc_is_that_of_its_annotator(real):
    pulse, breaths = bidmc(real)
    errors = []
    for start in np.arange(0, pulse.duration - 32, 16):
        here = breaths[(breaths >= start) & (breaths < start + 32)]
        errors.append(abs(fused_breath_rate(pulse.crop(start, start + 32))[0] - 60 / np.mean(np.diff(here))))
    assert np.mean(errors) < 1.5  # measured: 1.0


@pytest.mark.realdata
def test_the_breath_of_marsh_is_mostly_found_and_the_quality_knows_when(real):
    rows = []
    for name, pulse, _ in marsh(real):
        marks = loadmat(real / "ppg/marsh" / name / "IP_annot.mat")
        breaths = next(value for key, value in marks.items() if not key.startswith("_")).ravel() / 250
        slower = resample(pulse, 125.0)
        for start in np.arange(0, slower.duration - 32, 32):
            here = breaths[(breaths >= start) & (breaths < start + 32)]
            if len(here) >= 3:
                rate, quality = fused_breath_rate(slower.crop(start, start + 32))
                rows.append((abs(rate - 60 / np.mean(np.diff(here))), quality))
    error, quality = np.array(rows).T
    assert np.median(error) < 0.7  # measured: 0.5
    assert error.mean() < 2.5  # measured: 1.9
    assert error[quality > np.median(quality)].mean() < 0.6 * error.mean()
