"""Faults do to a sound what physics says, by as many decibels as are asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, hilbert, sosfiltfilt, welch

from stethos.errors import FormatError, RateError, RecipeError
from stethos.synth import plant
from stethos.synth.faults import FAULTS, Turning, ball_pass

RATE = 16000.0
ROTATION = 25.0
SECONDS = 10
BANDS = {
    "imbalance": (0.5 * ROTATION, 1.5 * ROTATION),
    "looseness": (0.4 * ROTATION, 13 * ROTATION),
    "spall": (4000 * 2**-0.25, 4000 * 2**0.25),
    "leak": (3000, 8000),
}


def turning(rotation=ROTATION):
    turns = np.arange(SECONDS * RATE) * rotation / RATE
    return Turning(turns, rotation, RATE, "6205", spalled=4000.0, loose=200.0)


def normal(seed=0):
    """Noise that falls by 3 dB an octave, and a few tones."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(int(SECONDS * RATE)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    values = np.fft.irfft(spectrum)
    time = np.arange(len(values)) / RATE
    return values / values.std() + 0.3 * np.sin(2 * np.pi * 250 * time) + 0.1 * np.sin(2 * np.pi * 25 * time)


def band_level(values, low, high):
    power = np.abs(np.fft.rfft(values)) ** 2
    at = np.fft.rfftfreq(len(values), 1 / RATE)
    return 10 * np.log10(power[(at > low) & (at < high)].sum())


def envelope_lines(values, low, high):
    """Spectrum of the squared envelope of a band: frequencies, and power over its median up to 400 Hz."""
    band = sosfiltfilt(butter(4, (low, high), "bandpass", fs=RATE, output="sos"), values)
    envelope = np.abs(hilbert(band)) ** 2
    power = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope)))) ** 2
    at = np.fft.rfftfreq(len(envelope), 1 / RATE)
    return at[at < 400], power[at < 400] / np.median(power[at < 400])


@pytest.mark.parametrize(("bearing", "outer", "inner"), [("6205", 3.5848, 5.4152), ("6203", 3.0530, 4.9469)])
def test_balls_pass_as_often_as_the_bearing_data_of_case_western_say(bearing, outer, inner):
    assert ball_pass(bearing) == pytest.approx((outer, inner), abs=1.5e-3)
    balls = {"6205": 9, "6203": 8}[bearing]
    assert sum(ball_pass(bearing)) == pytest.approx(balls)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_severity_leaves_the_sound_as_it_is(fault):
    values = normal().astype(np.float32)
    np.testing.assert_array_equal(plant(values, RATE, fault, 0.0, np.random.default_rng(0)), values)
    slight = plant(values, RATE, fault, 1e-4, np.random.default_rng(0))
    assert np.abs(slight - values).max() < 0.05  # and there is no jump at 0


@pytest.mark.parametrize("fault", BANDS)
@pytest.mark.parametrize("severity", [1.0, 6.0, 12.0])
def test_the_band_of_a_fault_rises_by_its_severity(fault, severity):
    before = normal()
    after = FAULTS[fault](before, turning(), severity, np.random.default_rng(3))
    rise = band_level(after, *BANDS[fault]) - band_level(before, *BANDS[fault])
    assert rise == pytest.approx(severity, abs=0.05)


def test_a_leak_is_a_hiss_that_leaves_low_frequencies_alone():
    before = normal()
    after = FAULTS["leak"](before, turning(), 10.0, np.random.default_rng(3))
    assert abs(band_level(after, 20, 800) - band_level(before, 20, 800)) < 0.1
    added = after - before
    octave = band_level(added, 4000, 4100) - band_level(added, 2000, 2100)
    assert octave == pytest.approx(6.0, abs=0.7)
    assert np.mean((added / added.std()) ** 4) == pytest.approx(3.0, abs=0.2)  # Gaussian: no impacts


def test_clogging_takes_high_frequencies_and_surges_slowly():
    before = normal()
    after = FAULTS["clogging"](before, turning(), 8.0, np.random.default_rng(3))
    assert band_level(before, 5000, 8000) - band_level(after, 5000, 8000) == pytest.approx(7.8, abs=0.3)
    assert band_level(before, 980, 1020) - band_level(after, 980, 1020) == pytest.approx(4.0, abs=0.6)
    assert abs(band_level(before, 30, 200) - band_level(after, 30, 200)) < 0.5
    at, lines = envelope_lines(after, 100, 7000)
    assert 0.4 < at[np.argmax(lines)] < 3.1


@pytest.mark.parametrize("seed", range(4))
def test_the_envelope_of_a_spall_beats_at_a_race_of_the_bearing(seed):
    values = FAULTS["spall"](normal(), turning(), 12.0, np.random.default_rng(seed))
    at, lines = envelope_lines(values, 3400, 4700)
    strongest = {order: lines[np.abs(at - order * ROTATION) < 1].max() for order in (*ball_pass("6205"), 4.5)}
    outer, inner, between = strongest.values()
    assert max(outer, inner) > 20 * between
    if inner > outer:  # the load zone comes and goes once a turn
        sides = [lines[np.abs(at - (ball_pass("6205")[1] + side) * ROTATION) < 1].max() for side in (-1, 1)]
        assert min(sides) > 3 * between


def test_both_races_are_spalled_about_as_often():
    inner = 0
    for seed in range(20):
        values = FAULTS["spall"](normal(), turning(), 12.0, np.random.default_rng(seed))[: int(4 * RATE)]
        at, lines = envelope_lines(values, 3400, 4700)
        outer, inside = (lines[np.abs(at - order * ROTATION) < 1].max() for order in ball_pass("6205"))
        inner += inside > outer
    assert 4 <= inner <= 16


def test_imbalance_is_a_tone_at_rotation_and_modulates_the_rest():
    before = normal()
    after = FAULTS["imbalance"](before, turning(), 10.0, np.random.default_rng(1))
    at, lines = envelope_lines(after, 1000, 7000)
    assert at[np.argmax(lines)] == pytest.approx(ROTATION, abs=0.2)
    _, power = welch(after, RATE, nperseg=int(2 * RATE))
    assert np.argmax(power[20:100]) + 20 == 50  # in steps of 0.5 Hz


def test_looseness_shows_half_orders():
    before = normal()
    after = FAULTS["looseness"](before, turning(), 10.0, np.random.default_rng(1))
    at, power = welch(np.stack([before, after]), RATE, nperseg=int(4 * RATE))
    for order in (0.5, 1.5, 2.5, 3.5):
        line = np.abs(at - order * ROTATION) < 0.3
        assert 10 * np.log10(power[1, line].max() / power[0, line].max()) > 6


@pytest.mark.parametrize("fault", FAULTS)
def test_more_severity_is_farther_from_the_sound_machine(fault):
    before = normal().astype(np.float32)
    away = []
    for severity in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        after = plant(before, RATE, fault, severity, np.random.default_rng(5), ROTATION)
        away.append(np.sqrt(np.mean((after - before) ** 2)))
    assert np.all(np.diff(away) > 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_single_precision_stays_single(fault):
    after = FAULTS[fault](normal().astype(np.float32), turning(), 3.0, np.random.default_rng(0))
    assert after.dtype == np.float32


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_generator_plants_the_same_fault(fault):
    values = normal().astype(np.float32)
    once, again, other = (plant(values, RATE, fault, 6.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    assert once.dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(
    fault=st.sampled_from(sorted(FAULTS)),
    severity=st.floats(0, 30),
    rate=st.sampled_from([8000.0, 16000.0, 22050.0, 44100.0]),
    seconds=st.floats(0.15, 0.6),
    level=st.sampled_from([0.0, 1e-4, 1.0]),
)
def test_any_recording_keeps_its_length_and_stays_finite(fault, severity, rate, seconds, level):
    values = level * np.random.default_rng(1).standard_normal(int(seconds * rate))
    after = plant(values, rate, fault, severity, np.random.default_rng(0))
    assert after.shape == values.shape
    assert after.dtype == values.dtype
    assert np.isfinite(after).all()
    if level == 0:
        assert not after.any()


def test_what_cannot_be_planted_is_refused_in_one_sentence():
    values, rng = normal(), np.random.default_rng(0)
    with pytest.raises(RecipeError, match="imbalance, looseness, spall, leak, clogging"):
        plant(values, RATE, "rust", 3.0, rng)
    with pytest.raises(RecipeError, match="-1"):
        plant(values, RATE, "leak", -1.0, rng)
    with pytest.raises(RateError, match="8000"):
        plant(values, 4000.0, "leak", 3.0, rng)
    for wrong in (values[None], values[:100], np.append(values, np.nan)):
        with pytest.raises(FormatError, match="finite"):
            plant(wrong, RATE, "leak", 3.0, rng)
