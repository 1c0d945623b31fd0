"""What takes the place of an absent wave."""

import pickle

import numpy as np
import pytest
from test_signal_beats import beat_times, strip

from stethos.errors import QualityError
from stethos.explain.baseline import Isoelectric, MeanBeat
from stethos.explain.segments import segments
from stethos.signal.prepare import PREPARATIONS
from stethos.types import Signal

LEAD_V1 = PREPARATIONS["lead-v1"]
TIMES = beat_times(70, 10)


def prepared_and_parts(lead):
    return LEAD_V1.apply(lead)[0].astype(float), segments(lead, LEAD_V1)


def test_the_isoelectric_line_follows_a_slow_drift_and_no_wave():
    prepared, parts = prepared_and_parts(strip(TIMES, noise=0.001))
    line = Isoelectric()(prepared, parts)
    drift = 0.4 * np.sin(2 * np.pi * 0.05 * np.arange(1250) / 125)
    inner = slice(round(TIMES[1] * 125), round(TIMES[-2] * 125))
    # straight lines over 0.86 s of a sine of 20 s: (Δt)² ω² / 8 of its height
    np.testing.assert_allclose((Isoelectric()(prepared + drift, parts) - line)[inner], drift[inner], atol=0.4 * 0.0096)
    assert np.ptp(line[inner]) < 0.05


def test_the_isoelectric_line_is_level_beyond_the_outer_beats():
    prepared, parts = prepared_and_parts(strip(TIMES))
    line = Isoelectric()(prepared, parts)
    assert np.ptp(line[: round((TIMES[0] - 0.1) * 125)]) == 0
    assert np.ptp(line[round(TIMES[-1] * 125) :]) == 0


@pytest.fixture(scope="module")
def usual():
    return MeanBeat.of([strip(beat_times(rate, 10), seed=seed) for seed, rate in enumerate((60, 65, 70, 75))], LEAD_V1)


def test_the_mean_beat_of_like_patients_is_the_patient(usual):
    prepared, parts = prepared_and_parts(strip(beat_times(68, 10), seed=9, noise=0.01))
    inner = slice(*np.rint(parts.r[[1, -2]] * 125).astype(int))
    difference = (usual(prepared, parts) - prepared)[inner]
    # the planted QT does not follow the rate, the mean beat's does
    assert np.sqrt(np.mean(difference**2)) < 0.15 * prepared[inner].std()


def test_after_qrs_the_mean_beat_follows_the_heart_rate():
    """T peaks 0.08 s + 0.25 s · RR^⅓ after R."""

    def at(rate, seed):
        peak = 0.08 + 0.25 * np.cbrt(60 / rate)
        return strip(beat_times(rate, 10), seed=seed, noise=0.01, T=(0.3, peak, 0.04), P=(0.1, -0.15, 0.02))

    slow = MeanBeat.of([at(55, 0), at(60, 1)], LEAD_V1)
    prepared, parts = prepared_and_parts(at(100, 2))
    placed = slow(prepared, parts)
    for r in parts.r[1:-1]:
        after = placed[round((r + 0.12) * 125) : round((r + 0.40) * 125)]
        assert 0.12 + np.argmax(after) / 125 == pytest.approx(0.08 + 0.25 * np.cbrt(0.6), abs=0.012)


def test_a_wave_of_unusual_height_is_what_the_mean_beat_leaves_over(usual):
    prepared, parts = prepared_and_parts(strip(beat_times(68, 10), T=(0.9, 0.28, 0.045)))
    over = np.abs(prepared - usual(prepared, parts))
    at = np.rint((parts.r[1:-1, None] + [0.0, 0.28]) * 125).astype(int)
    assert np.median(over[at[:, 1]]) > 5 * np.median(over[at[:, 0]])


def test_the_mean_beat_counts_its_recordings_and_leaves_out_those_without_beats(usual):
    assert usual.words == "the mean beat of 4 recordings"
    flat = Signal(np.zeros((1, 5000)), 500, ("I",), "mV")
    assert MeanBeat.of([flat, strip(TIMES)], LEAD_V1).recordings == 1
    with pytest.raises(QualityError, match="none"):
        MeanBeat.of([flat], LEAD_V1)


def test_the_mean_beat_fades_out_and_comes_back_from_a_pickle(usual):
    assert usual.shape[[0, -1]].tolist() == [0, 0]
    again = pickle.loads(pickle.dumps(usual))
    prepared, parts = prepared_and_parts(strip(TIMES))
    np.testing.assert_array_equal(again(prepared, parts), usual(prepared, parts))
