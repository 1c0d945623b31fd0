"""Spectra: the power of tones and of noise."""

import numpy as np
import pytest
from test_signal_resample import tone

from stethos.signal.spectrum import band_power, welch
from stethos.types import Signal


def test_the_power_of_a_tone_is_half_its_squared_amplitude():
    assert band_power(tone(10, 500, 20), 8, 12)[0] == pytest.approx(0.5, rel=0.01)
    assert band_power(tone(10, 500, 20), 20, 100)[0] < 1e-4


def test_the_density_of_white_noise_is_its_variance_over_the_band():
    noise = Signal(np.random.default_rng(0).standard_normal((2, 60_000)) * [[1], [3]], 500, ("I", "II"), "mV")
    hertz, density = welch(noise)
    assert density.shape == (2, len(hertz))
    inside = (hertz > 5) & (hertz < 245)
    np.testing.assert_allclose(density[:, inside].mean(axis=1), [1 / 250, 9 / 250], rtol=0.03)


def test_a_recording_shorter_than_a_segment_has_a_spectrum_too():
    assert band_power(tone(10, 500, 1), 5, 15)[0] == pytest.approx(0.5, rel=0.05)
