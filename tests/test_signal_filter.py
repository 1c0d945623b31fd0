"""Filters: gain at known frequencies, no delay, gaps, limits."""

import numpy as np
import pytest
from test_signal_resample import middle, tone

from stethos.errors import QualityError, RateError
from stethos.signal.filter import bandpass, highpass, lowpass, notch, remove_baseline
from stethos.types import Signal


def gain(before: Signal, after: Signal) -> float:
    inside = middle(before, 5.0)
    return float(after.values[0, inside].std() / before.values[0, inside].std())


def butterworth(hertz: float, cutoff: float, order: int, rate: float) -> float:
    """Squared one-way gain of a low-pass after the bilinear transform."""
    warped = np.tan(np.pi * hertz / rate) / np.tan(np.pi * cutoff / rate)
    return 1 / (1 + warped ** (2 * order))


@pytest.mark.parametrize("hertz", [5, 30, 40, 50, 80])
@pytest.mark.parametrize("order", [2, 4])
def test_a_low_pass_has_the_gain_of_two_butterworth_passes(hertz, order):
    signal = tone(hertz, 500, 30)
    assert gain(signal, lowpass(signal, 40, order)) == pytest.approx(butterworth(hertz, 40, order, 500), abs=2e-4)


@pytest.mark.parametrize("hertz", [0.2, 0.5, 1, 10])
def test_a_high_pass_is_the_mirror_of_a_low_pass(hertz):
    signal = tone(hertz, 250, 60)
    want = 1 - butterworth(hertz, 0.5, 2, 250)
    assert gain(signal, highpass(signal, 0.5, order=2)) == pytest.approx(want, abs=0.02)


def test_a_band_pass_keeps_its_middle_and_halves_its_edges():
    gains = {hertz: gain(tone(hertz, 500, 60), bandpass(tone(hertz, 500, 60), 5, 20)) for hertz in (1, 5, 10, 20, 60)}
    assert gains[10] == pytest.approx(1, abs=0.01)
    assert gains[5] == pytest.approx(0.5, abs=0.01)
    assert gains[20] == pytest.approx(0.5, abs=0.01)
    assert max(gains[1], gains[60]) < 1e-3


def test_a_notch_removes_the_mains_and_leaves_its_neighbours():
    assert gain(tone(50, 500, 30), notch(tone(50, 500, 30), 50)) < 1e-3
    assert gain(tone(45, 500, 30), notch(tone(45, 500, 30), 50)) > 0.95
    assert gain(tone(10, 500, 30), notch(tone(10, 500, 30), 50)) == pytest.approx(1, abs=1e-3)


def test_a_filtered_wave_stays_at_its_time():
    time = np.arange(5000) / 500
    bump = Signal(np.exp(-(((time - 4.2) / 0.05) ** 2))[None], 500, ("I",), "mV")
    for filtered in (lowpass(bump, 20), bandpass(bump, 0.5, 40), notch(bump, 50)):
        assert np.argmax(filtered.values[0]) == 2100


def test_a_running_median_follows_wander_and_leaves_a_narrow_wave():
    time = np.arange(5000) / 500
    wander, bump = 2 * time / 10, np.exp(-(((time - 4.2) / 0.02) ** 2))
    got = remove_baseline(Signal((wander + bump)[None], 500, ("I",), "mV"), 0.4).values[0]
    np.testing.assert_allclose(got[200:-200], bump[200:-200], atol=0.02)


def test_a_running_median_keeps_what_is_shorter_than_half_its_window_only():
    pulses = np.zeros(5000)
    pulses[1000:1090] = 1  # 0.18 s
    pulses[3000:3150] = 1  # 0.3 s
    got = remove_baseline(Signal(pulses[None], 500, ("I",), "mV"), 0.4).values[0]
    assert got[1045] == 1
    assert got[3075] == 0


def test_gaps_stay_gaps_and_the_rest_is_filtered():
    slope = np.linspace(3, 5, 5000)
    values = slope[None].copy()
    values[0, 1000:1010] = np.nan
    got = lowpass(Signal(values, 500, ("I",), "mV"), 40).values[0]
    gap = np.isnan(got)
    assert np.flatnonzero(gap).tolist() == list(range(1000, 1010))
    np.testing.assert_allclose(got[~gap], slope[~gap], atol=1e-3)


def test_the_input_is_not_changed():
    signal = tone(10, 500)
    before = signal.values.copy()
    remove_baseline(highpass(signal, 0.5))
    assert np.array_equal(signal.values, before)


@pytest.mark.parametrize("hertz", [250.0, 300.0, 0.0, -1.0])
def test_a_cutoff_outside_the_band_is_refused(hertz):
    for method in (lowpass, highpass, notch):
        with pytest.raises(RateError, match="500 Hz"):
            method(tone(10, 500), hertz)


def test_a_band_in_the_wrong_order_is_refused():
    with pytest.raises(RateError, match="lower cutoff"):
        bandpass(tone(10, 500), 20, 5)


def test_a_signal_too_short_to_filter_is_refused():
    with pytest.raises(QualityError, match="samples"):
        bandpass(tone(10, 500, 0.04), 5, 20)
