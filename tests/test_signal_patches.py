"""Patches: what survives, what is refused, and that rate, gain and polarity leave no trace."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulses import changed, feet_at, pulse_of

from stethos.errors import ChannelError, QualityError, RateError
from stethos.signal.patches import reference_patches, resample_long, unify
from stethos.types import Signal

RATES = (25.0, 62.4725, 64.0, 100.0, 125.0, 250.0, 300.0, 500.0, 512.844, 1000.0)


def tone(hertz, rate=125.0, seconds=120.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def amplitude(trace, hertz, rate=40.0):
    """Of one frequency, away from the ends."""
    inside = slice(round(20 * rate), round(100 * rate))
    turning = np.exp(-2j * np.pi * hertz * np.arange(len(trace)) / rate)
    return 2 * np.abs(np.mean((trace * turning)[inside]))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", [3.0, 10.0, 30.0, 70.0])
def test_every_rate_and_length_becomes_patches_of_1200(rate, seconds):
    patches, valid = unify(pulse_of(feet_at(70, seconds), rate, seconds))
    count = {3.0: 1, 10.0: 1, 30.0: 1, 70.0: 3}[seconds]
    assert patches.shape == valid.shape == (count, 1200)
    assert (patches.dtype, valid.dtype) == (np.float32, bool)
    assert valid.sum() == pytest.approx(seconds * 40, abs=2)
    assert not patches[~valid].any()
    assert valid.ravel()[: valid.sum()].all()


@pytest.mark.parametrize("rate", RATES)
def test_the_rate_leaves_no_trace(rate):
    feet = feet_at(70, 60)
    want, _ = unify(pulse_of(feet, 125.0, 60))
    got, _ = unify(pulse_of(feet, rate, 60))
    width = min(want.shape[0], got.shape[0])
    away = slice(40, -40)
    off = np.abs(want[:width].ravel()[away] - got[:width].ravel()[away])
    assert off.max() < (0.15 if rate == 25 else 0.05)  # at 25 Hz the feet are a little rounder


@settings(max_examples=20, deadline=None)
@given(gain=st.sampled_from([1e-3, 0.5, 100.0, 1e4]), sign=st.sampled_from([1, -1]), offset=st.sampled_from([0.0, 3.0]))
def test_gain_offset_and_polarity_leave_no_trace(gain, sign, offset):
    pulse = pulse_of(feet_at(70, 40), seconds=40, noise=0.02)
    want, valid = unify(pulse)
    got, same = unify(changed(pulse, sign * gain * (pulse.values + offset)))
    assert np.abs(want - got).max() < 1e-3
    assert np.array_equal(valid, same)


def test_a_breath_every_ten_seconds_survives_and_a_drift_does_not():
    pulse = pulse_of(feet_at(70, 120), seconds=120)
    time = np.arange(120 * 125) / 125
    plain, _ = unify(pulse)
    swaying, _ = unify(changed(pulse, pulse.values[0] + 0.2 * tone(0.1)))
    drifting, _ = unify(changed(pulse, pulse.values[0] + 0.2 * tone(0.1) + 0.05 * time))
    beat = amplitude(plain.ravel(), 70 / 60)
    for changed_patches in (swaying, drifting):
        trace = changed_patches.ravel()
        want = 0.2 / amplitude(pulse.values[0], 70 / 60, 125)  # breath over the first harmonic of the beat
        assert amplitude(trace, 0.1) / amplitude(trace, 70 / 60) == pytest.approx(want, rel=0.02)
    assert amplitude(plain.ravel(), 0.1) < 0.01 * beat
    assert abs(np.median(drifting[0]) - np.median(drifting[-1])) < 0.2


def test_nothing_folds_back_where_the_published_code_does():
    """60 Hz sampled at 40 Hz without a low-pass would be heard at 20 Hz, 47 Hz at 7 Hz."""
    pulse = pulse_of(feet_at(70, 120), seconds=120)
    humming = changed(pulse, pulse.values[0] + 0.3 * tone(47.0))
    assert amplitude(unify(humming)[0].ravel(), 7.0) < amplitude(unify(pulse)[0].ravel(), 7.0) + 1e-3
    assert amplitude(reference_patches(humming)[0].ravel(), 7.0) > 0.1


def test_gaps_and_refused_spans_are_zero_and_invalid_and_move_nothing_else():
    pulse = pulse_of(feet_at(70, 60), seconds=60)
    values = pulse.values[0].copy()
    values[1250:2500] = np.nan
    values[5000:5625] += 1000
    patches, valid = unify(changed(pulse, values), invalid=[(39.5, 45.5)])
    seconds = np.arange(2400) / 40
    inside = ((seconds > 10.1) & (seconds < 19.9)) | ((seconds > 39.6) & (seconds < 45.4))
    outside = ((seconds < 9) | (seconds > 21)) & ((seconds < 38.5) | (seconds > 46.5))
    assert not valid.ravel()[inside].any()
    assert valid.ravel()[outside].all()
    assert not patches.ravel()[inside].any()
    whole = unify(pulse)[0].ravel()
    assert np.corrcoef(patches.ravel()[outside], whole[outside])[0, 1] > 0.98


def test_a_sensor_that_holds_its_value_is_not_recording():
    values = pulse_of(feet_at(70, 60), seconds=60).values[0].copy()
    values[2500:5000] = 0.37
    _, valid = unify(changed(pulse_of([]), values))
    seconds = np.arange(2400) / 40
    assert not valid.ravel()[(seconds > 20.1) & (seconds < 39.9)].any()
    assert valid.sum() == pytest.approx(40 * 40, abs=4)


def test_an_artefact_is_cut_to_six_spreads_and_does_not_move_the_scale():
    pulse = pulse_of(feet_at(70, 60), seconds=60)
    values = pulse.values[0].copy()
    values[3000:3060] += 20
    patches, _ = unify(changed(pulse, values))
    assert np.abs(patches).max() == 6
    far = slice(0, 800)
    ratio = patches.ravel()[far].std() / unify(pulse)[0].ravel()[far].std()
    assert 0.8 < ratio < 1.25


@pytest.mark.parametrize("value", [0.0, 4.2, 1e6])
def test_a_constant_is_refused_with_the_reason(value):
    with pytest.raises(QualityError, match="held values"):
        unify(changed(pulse_of([]), np.full(3750, value)))
    with pytest.raises(QualityError, match="all samples are 0"):
        reference_patches(changed(pulse_of([]), np.zeros(3750)))


def test_what_cannot_be_used_is_refused_with_the_reason():
    pulse = pulse_of(feet_at(70, 30))
    with pytest.raises(QualityError, match="no sample that is a number"):
        unify(changed(pulse, np.full(3750, np.nan)))
    with pytest.raises(QualityError, match=r"at least 3 s.*2\.00 s"):
        unify(pulse.crop(0, 2))
    with pytest.raises(QualityError, match="refused spans"):
        unify(pulse, invalid=[(0, 40)])
    with pytest.raises(RateError, match="between 25 and 1000 Hz"):
        unify(Signal(pulse.values, 20.0, ("PLETH",), "1"))
    with pytest.raises(ChannelError, match="one channel"):
        unify(Signal(np.repeat(pulse.values, 2, axis=0), 125.0, ("a", "b"), "1"))


def test_a_day_takes_less_than_a_gigabyte():
    samples = 24 * 3600 * 125
    beat = pulse_of([0.0], seconds=1.0).values[0]
    day = Signal(np.resize(beat, samples)[None], 125.0, ("PLETH",), "1")
    tracemalloc.start()
    try:
        patches, _ = unify(day)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert patches.shape == (2880, 1200)
    assert peak < 500e6  # measured: 313 MB
    assert np.abs(patches[1] - patches[-2]).max() < 0.01


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_phase_through_hours_of_pieces(rate):
    time = np.arange(round(3600 * rate)) / rate
    long = resample_long(Signal(np.sin(2 * np.pi * 1.1 * time)[None], rate, ("PLETH",), "1"), 40.0)
    want = np.sin(2 * np.pi * 1.1 * np.arange(long.values.shape[1]) / 40)
    assert long.values.shape[1] == pytest.approx(3600 * 40, abs=1)
    assert np.abs(long.values[0] - want)[40:-40].max() < 2 * np.pi * 1.1 * 0.016  # 20 ppm of a piece of 800 s


def test_the_published_patches_are_those_of_its_description():
    pulse = pulse_of(feet_at(70, 400), seconds=400, noise=0.1)
    patches, valid = reference_patches(pulse)
    assert patches.shape == (12, 1000)
    assert valid.all()
    first = pulse.values[0, :37_500].astype(float)
    scaled = (first - first.mean()) / first.std()
    # point i of 12,000 lies at (i + 1/2) · 3.125 − 1/2 of 37,500: the fourth at 10.4375, the ninth at 26.0625
    assert patches[0, 3] == pytest.approx(0.5625 * scaled[10] + 0.4375 * scaled[11], abs=1e-5)
    assert patches[0, 8] == pytest.approx(0.9375 * scaled[26] + 0.0625 * scaled[27], abs=1e-5)


def test_the_published_patches_of_a_short_record_are_scaled_with_its_filling():
    pulse = pulse_of(feet_at(70, 60), seconds=60)
    patches, valid = reference_patches(pulse)
    assert patches.shape == (2, 1000)  # the last 10 s are dropped
    filled = np.pad(pulse.values[0].astype(float), (0, 37_500 - 7500))
    assert patches.max() == pytest.approx((pulse.values.max() - filled.mean()) / filled.std(), rel=0.02)
    patches, valid = reference_patches(pulse.crop(0, 10))
    assert patches.shape == (1, 1000)
    assert valid.sum() == 400
    assert not patches[~valid].any()


def test_the_published_interpolation_is_that_of_torch():
    torch = pytest.importorskip("torch")
    pulse = pulse_of(feet_at(70, 300), seconds=300, noise=0.1)
    values = pulse.values[0].astype(float)
    scaled = torch.tensor((values - values.mean()) / values.std())[None, None]
    want = torch.nn.functional.interpolate(scaled, size=12_000, mode="linear", align_corners=False)
    assert np.abs(reference_patches(pulse)[0].ravel() - want.numpy().ravel()).max() < 1e-5
