"""Resampling: the time axis, the band, the ends, the gaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import RateError
from stethos.signal.resample import ratio, resample
from stethos.types import Signal


def tone(hertz: float, rate: float, seconds: float = 10.0) -> Signal:
    time = np.arange(round(seconds * rate)) / rate
    return Signal(np.sin(2 * np.pi * hertz * time)[None], rate, ("I",), "mV")


def middle(signal: Signal, seconds: float = 0.5) -> slice:
    edge = round(seconds * signal.rate)
    return slice(edge, -edge)


@pytest.mark.parametrize(("rate", "target", "up", "down"), [(500, 125, 1, 4), (300, 500, 5, 3), (360, 125, 25, 72)])
def test_simple_rates_have_their_exact_fraction(rate, target, up, down):
    found = ratio(rate, target)
    assert (found.up, found.down) == (up, down)
    assert found.error_ppm == pytest.approx(0, abs=1e-9)


def test_a_watch_at_512_844_hertz_comes_to_500_within_8_ppm():
    found = ratio(512.844, 500)
    assert (found.up, found.down) == (467, 479)
    assert found.error_ppm == pytest.approx((512.844 * 467 / 479 / 500 - 1) * 1e6)
    assert abs(found.error_ppm) < 8


@given(st.floats(20, 2000), st.floats(20, 2000))
@settings(max_examples=50, deadline=None)
def test_a_fraction_is_within_its_limits_or_refused(rate, target):
    try:
        found = ratio(rate, target)
    except RateError:
        return
    assert max(found.up, found.down) <= 500
    assert abs(rate * found.up / found.down - target) < 20e-6 * target


@pytest.mark.parametrize("target", [0.0, -5.0, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(target):
    with pytest.raises(RateError, match="positive"):
        resample(tone(10, 500), target)


def test_a_ratio_no_fractions_reach_is_refused_with_the_best_one():
    with pytest.raises(RateError, match="ppm off"):
        ratio(512, 125)
    with pytest.raises(RateError, match="ppm"):
        resample(tone(1, 500), 0.0005)


@pytest.mark.parametrize(
    ("rate", "target", "error"),
    [
        (500, 125, 2e-5),
        (300, 500, 2e-5),
        (360, 125, 2e-5),
        (1000, 500, 5e-5),
        (512, 125, 5e-5),  # by two fractions
        (500.02, 500, 1e-4),  # by two fractions
        (512.844, 500, 5e-3),  # 7.7 ppm over 10 s are 77 µs, 0.005 of a 10 Hz tone
    ],
)
def test_a_tone_survives_resampling(rate, target, error):
    got = resample(tone(10, rate), target)
    want = tone(10, target, seconds=11).values[:, : got.values.shape[1]]
    assert got.rate == target
    assert abs(got.duration - 10) < 2.1 / target
    assert np.abs(got.values - want)[0, middle(got)].max() < error


def test_passing_through_another_rate_and_back_changes_little():
    there = resample(tone(10, 500), 300)
    back = resample(there, 500)
    assert np.abs(back.values - tone(10, 500).values)[0, middle(back)].max() < 5e-5


@pytest.mark.parametrize("hertz", [63, 90, 120, 200])
def test_what_lies_above_the_new_nyquist_frequency_does_not_fold_back(hertz):
    got = resample(tone(hertz, 500), 125)
    assert np.abs(got.values[0, middle(got)]).max() < 2e-4  # 74 dB


def test_white_noise_keeps_its_density_in_the_band_that_remains():
    noise = Signal(np.random.default_rng(0).standard_normal((1, 500 * 120)), 500, ("I",), "1")
    got = resample(noise, 125)
    spectrum = np.abs(np.fft.rfft(got.values[0].astype(float))) ** 2 / got.values.shape[1]
    hertz = np.fft.rfftfreq(got.values.shape[1], 1 / 125)
    # the same density per hertz at a quarter of the rate is a quarter of the variance
    assert spectrum[hertz < 50].mean() == pytest.approx(0.25, rel=0.03)
    assert got.values.var() < 0.25


@pytest.mark.parametrize("target", [125, 500, 512.844, 1000])
def test_a_constant_stays_constant_up_to_both_ends(target):
    flat = Signal(np.full((2, 3000), 3.7), 300, ("I", "II"), "mV")
    np.testing.assert_allclose(resample(flat, target).values, np.float32(3.7), rtol=1e-6)


@given(st.integers(1, 400), st.sampled_from([125, 250, 360, 500, 1000]))
@settings(max_examples=30, deadline=None)
def test_samples_become_the_ceiling_of_their_share(samples, target):
    step = ratio(300, target)
    got = resample(Signal(np.ones((1, samples)), 300, ("I",), "mV"), target)
    assert got.values.shape[1] == -(-samples * step.up // step.down)


def test_the_same_rate_gives_the_same_values():
    signal = tone(10, 512.844)
    assert np.array_equal(resample(signal, 512.844).values, signal.values)


def test_a_gap_stays_a_gap_and_does_not_spread():
    values = tone(1, 500).values.copy()
    values[0, 2002:2014] = np.nan
    got = resample(Signal(values, 500, ("I",), "mV"), 125)
    gap = np.isnan(got.values[0])
    assert np.flatnonzero(gap).tolist() == [501, 502, 503]  # samples 2004, 2008 and 2012
    want = tone(1, 125).values
    assert np.abs(got.values - want)[0, 100:495].max() < 1e-3


def test_a_recording_that_ends_far_from_its_mean_is_not_bent_towards_it():
    step = Signal(np.repeat([0.0, 1.0], 1500)[None], 300, ("I",), "mV")
    got = resample(step, 125).values[0]
    np.testing.assert_allclose(got[:500], 0, atol=1e-3)
    np.testing.assert_allclose(got[-500:], 1, atol=1e-3)


def test_a_channel_without_any_sample_stays_empty_beside_one_that_has_them():
    values = np.stack([np.full(1000, np.nan), np.ones(1000)])
    got = resample(Signal(values, 500, ("I", "II"), "mV"), 250).values
    assert np.isnan(got[0]).all()
    np.testing.assert_allclose(got[1], 1, rtol=1e-6)
