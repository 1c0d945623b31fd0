"""Beats of a pulse: drawn by hand at known times, marked by an ECG, found by another detector."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulse_recordings import bidmc, marsh
from pulses import RISE, changed, feet_at, pulse_of
from test_signal_beats import agreement

from stethos.errors import ChannelError, RateError
from stethos.signal.pulse import inverted, pulse_beats, pulse_onsets, pulse_peaks, pulse_rate, traced, upright
from stethos.signal.resample import resample
from stethos.types import Signal

# The tangent at the middle of a raised cosine of height 1, slope π / (2 · RISE), meets 0 so long after the foot.
LAG = RISE / 2 - RISE / np.pi


def assert_found(feet, pulse, tolerance=0.03):
    got = pulse_onsets(pulse) / pulse.rate
    assert len(got) == len(feet)
    assert np.abs(got - feet - LAG).max() <= tolerance


def fibrillating(seed, seconds=60.0):
    """Feet at irregular times, and heights that fall after short intervals as the heart has had less time to fill."""
    generator = np.random.default_rng(seed)
    intervals = np.clip(generator.lognormal(np.log(0.75), 0.22, 120), 0.42, 1.6)
    feet = 0.4 + np.cumsum(intervals)
    feet = feet[feet < seconds - 1]
    return feet, 1 - np.exp(-(np.diff(feet, prepend=feet[0] - 0.8) - 0.15) / 0.3)


@pytest.mark.parametrize("rate", [25, 40, 62.4725, 64, 100, 125, 250, 500, 512.844, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_drawn_beats_are_found_at_every_rate_and_polarity(rate, sign):
    feet = feet_at(70, 30)
    pulse = pulse_of(feet, rate)
    assert_found(feet, changed(pulse, sign * pulse.values), tolerance=0.014 if rate == 25 else 0.01)


@pytest.mark.parametrize("per_minute", [32, 50, 70, 100, 140, 180, 210])
def test_slow_and_fast_hearts_are_counted(per_minute):
    feet = feet_at(per_minute, 60)
    # above 100 a minute the dicrotic wave of a beat has run into the next
    shape = {"width": min(0.13, 0.13 * 84 / per_minute), "dicrotic": 0.3 if per_minute < 120 else 0.0}
    pulse = pulse_of(feet, seconds=60, noise=0.02, **shape)
    assert_found(feet, pulse)
    assert pulse_rate(pulse_onsets(pulse), 125) == pytest.approx(per_minute, rel=0.01)


@pytest.mark.parametrize("rate", [25.0, 64.0])
def test_intervals_are_finer_than_the_samples(rate):
    """At 25 Hz a sample is 40 ms; intervals of 857.14 ms are found to a few."""
    onsets = pulse_onsets(pulse_of(feet_at(70, 60), rate, 60))
    assert np.std(np.diff(onsets)[1:-1]) / rate < (0.006 if rate == 25 else 0.001)
    assert np.mean(np.diff(onsets)[1:-1]) / rate == pytest.approx(60 / 70, abs=5e-4)


@pytest.mark.parametrize(("dicrotic", "width"), [(0.0, 0.13), (0.3, 0.13), (0.5, 0.13), (0.7, 0.13), (0.5, 0.08)])
@pytest.mark.parametrize("per_minute", [45, 65, 85])
def test_a_dicrotic_wave_is_no_beat(dicrotic, width, per_minute):
    """With the narrower fall the notch is as deep as the foot, and the wave rises by half a beat."""
    feet = feet_at(per_minute, 60)
    assert_found(feet, pulse_of(feet, seconds=60, noise=0.02, dicrotic=dicrotic, width=width))


@pytest.mark.parametrize("seed", range(5))
def test_fibrillation_with_weak_beats_is_followed(seed):
    feet, heights = fibrillating(seed)
    pulse = pulse_of(feet, seconds=60, noise=0.01, heights=heights, dicrotic=0.15)
    got = pulse_onsets(pulse) / 125
    sensitivity, predictive = agreement(feet + LAG, got, 0.04)
    assert sensitivity >= 0.96
    assert predictive == 1


def test_every_other_beat_half_as_high_is_not_lost():
    feet = feet_at(75, 60)
    assert_found(feet, pulse_of(feet, seconds=60, noise=0.01, heights=np.where(np.arange(len(feet)) % 2, 1, 0.5)))


def test_breath_may_change_the_height_four_times_and_perfusion_twenty_times():
    feet = feet_at(70, 60)
    breath = 1 + 0.6 * np.sin(2 * np.pi * feet / 4)
    assert_found(feet, pulse_of(feet, seconds=60, noise=0.01, heights=breath))
    fading = np.geomspace(1, 0.05, len(feet))
    assert_found(feet, pulse_of(feet, seconds=60, noise=0.004, heights=fading))


def test_beats_survive_wander_mains_noise_and_artefacts_elsewhere():
    feet = feet_at(70, 60.4)
    pulse = pulse_of(feet, seconds=60, noise=0.1)
    time = np.arange(7500) / 125
    swaying = pulse.values[0] + 1.5 * np.sin(2 * np.pi * 0.3 * time) + 0.5 * np.sin(2 * np.pi * 50 * time)
    assert_found(feet, changed(pulse, swaying), tolerance=0.05)
    swaying[2000:2040] += 20
    found = pulse_onsets(changed(pulse, swaying)) / 125
    far = (feet < 13) | (feet > 20)
    assert agreement(feet[far] + LAG, found[(found < 13.1) | (found > 20)], 0.05)[0] == 1


def test_a_gap_holds_no_beats_and_costs_none_outside():
    feet = feet_at(70, 60)
    values = pulse_of(feet, seconds=60).values[0].copy()
    values[2500:5000] = np.nan
    got = pulse_onsets(changed(pulse_of([]), values)) / 125
    assert not ((got > 20.1) & (got < 39.9)).any()
    outside = feet[(feet < 19) | (feet > 41)]
    assert agreement(outside + LAG, got, 0.03)[0] == 1


@settings(max_examples=25, deadline=None)
@given(
    gain=st.sampled_from([1e-3, 1.0, 100.0, 1e5]),
    sign=st.sampled_from([1, -1]),
    offset=st.sampled_from([0.0, -7.0, 50.0]),
    seed=st.integers(0, 5),
)
def test_gain_offset_and_polarity_change_no_beat(gain, sign, offset, seed):
    feet, heights = fibrillating(seed, 30)
    pulse = pulse_of(feet, heights=heights, noise=0.01)
    want, got = pulse_beats(pulse), pulse_beats(changed(pulse, sign * gain * (pulse.values + offset)))
    assert len(want) == len(got) > 20
    for point in ("onset", "steepest", "peak"):
        assert np.abs(getattr(want, point) - getattr(got, point)).max() < 0.05  # float32 of a large offset


def test_a_beat_rises_from_its_onset_to_its_peak():
    beats = pulse_beats(pulse_of(feet_at(60, 30)))
    assert (beats.onset < beats.steepest).all()
    assert (beats.steepest < beats.peak).all()
    assert (beats.peak[:-1] < beats.onset[1:]).all()
    assert np.array_equal(beats.peak, pulse_peaks(pulse_of(feet_at(60, 30))))


def test_the_peak_and_the_steepest_point_are_where_they_were_drawn():
    """A raised cosine is steepest in its middle; its top is where it ends."""
    feet = feet_at(60, 30)
    beats = pulse_beats(pulse_of(feet, 250.0, dicrotic=0.0))
    assert np.median(beats.steepest / 250 - feet) == pytest.approx(RISE / 2, abs=0.006)
    assert np.median(beats.peak / 250 - feet) == pytest.approx(RISE, abs=0.02)


@pytest.mark.parametrize("value", [0.0, 4.2, np.nan])
@pytest.mark.parametrize("samples", [0, 1, 60, 3750])
def test_a_constant_has_no_beats(value, samples):
    pulse = changed(pulse_of([]), np.full(samples, value))
    assert pulse_onsets(pulse).shape == (0,)
    assert np.isnan(pulse_rate(pulse_onsets(pulse), 125))
    assert not inverted(pulse)


def test_a_straight_line_has_no_beats():
    assert len(pulse_onsets(changed(pulse_of([]), np.arange(3750) * 0.1))) == 0


def test_the_rate_is_sixty_over_the_median_interval():
    assert pulse_rate(np.array([0.5, 100.5, 200.5, 500.5]), 125) == 75
    assert np.isnan(pulse_rate(np.array([7.0]), 125))


def test_steep_falls_are_upside_down_even_with_an_artefact_larger_than_all_beats():
    pulse = pulse_of(feet_at(70, 60), seconds=60, noise=0.02)
    values = pulse.values[0].copy()
    values[3000:3100] -= np.linspace(0, 80, 100)
    spoilt = changed(pulse, values)
    for sign in (1, -1):
        turned = changed(pulse, sign * spoilt.values)
        assert inverted(turned) == (sign < 0)
        assert np.array_equal(upright(turned).values, spoilt.values)


@pytest.mark.parametrize("rest", [np.nan, 0.0])
def test_what_was_not_recorded_or_stands_still_has_no_say_in_the_polarity(rest):
    """Half a minute of pulse in five minutes: where nothing moves, the skewness would be that of rounding."""
    pulse = pulse_of(feet_at(72, 30), 125, 30)
    values = np.concatenate([pulse.values[0], np.full(270 * 125, rest)])
    assert not inverted(changed(pulse, values))
    assert inverted(changed(pulse, -values))


def test_several_channels_and_rates_out_of_range_are_refused():
    pulse = pulse_of(feet_at(70, 30))
    with pytest.raises(ChannelError, match="one channel"):
        pulse_onsets(Signal(np.repeat(pulse.values, 2, axis=0), 125, ("PLETH", "ACC"), "1"))
    for rate in (24.9, 1001):
        with pytest.raises(RateError, match="between 25 and 1000 Hz"):
            inverted(Signal(pulse.values, rate, ("PLETH",), "1"))


def neurokit_peaks(pulse, rate=125.0):
    import neurokit2

    slower = resample(pulse, rate)
    trace = neurokit2.ppg_clean(upright(slower).values[0].astype(float), sampling_rate=rate)
    return neurokit2.ppg_findpeaks(trace, sampling_rate=rate)["PPG_Peaks"] / rate


def test_peaks_are_those_of_neurokit_on_an_easy_pulse():
    pulse = pulse_of(feet_at(70, 60), seconds=60, noise=0.02)
    theirs = neurokit_peaks(pulse)
    assert min(agreement(theirs, pulse_peaks(pulse) / 125, 0.05)) == 1


def nearness(beats, marks, lags):
    """How near marks come to beats when they are moved by each lag, 0 to 1, `(lags,)`."""
    moved = marks + np.asarray(lags)[:, None]
    place = np.searchsorted(beats, moved).clip(1, len(beats) - 1)
    off = np.minimum(np.abs(beats[place] - moved), np.abs(beats[place - 1] - moved))
    return np.exp(-0.5 * (off / 0.04) ** 2).mean(axis=1)


def aligned(beats, marks, duration):
    """R peaks on the pulse's clock: the two clocks of MARSH start seconds apart and drift by about 1 in 1000.

    The lag of each 20 s is the one with most beats near an R peak, found anywhere for the first two minutes together
    and then near the last one.
    """
    tried = np.arange(-15, 15, 0.02)
    early = marks[(marks > 15) & (marks < 135)]
    last, lags = tried[np.argmax(nearness(beats, early - 0.001 * (early - 15), tried))], []
    centres = np.arange(10, duration - 10, 10.0)
    for centre in centres:
        around = last + np.arange(-0.1, 0.1, 0.01)
        here = marks[np.abs(marks + last - centre) < 10]
        last = around[np.argmax(nearness(beats, here, around))] if len(here) else last
        lags.append(last)
    return marks + np.interp(marks, centres, lags)


@pytest.mark.realdata
def test_beats_are_those_of_the_ecg_of_marsh(real):
    scores, theirs = [], []
    for _, pulse, marks in marsh(real):
        onsets = pulse_onsets(pulse) / pulse.rate
        want = aligned(onsets, marks, min(pulse.duration, marks[-1]))
        inside = (want[0] + 2, min(pulse.duration, want[-1]) - 2)
        want = want[(want > inside[0]) & (want < inside[1])]
        near = (inside[0] - 0.15, inside[1] + 0.15)
        scores.append(agreement(want, onsets[(onsets > near[0]) & (onsets < near[1])], 0.15))
        peaks = neurokit_peaks(pulse)
        late = np.median(peaks[1:-1] - onsets[np.searchsorted(onsets, peaks[1:-1]) - 1])
        peaks = peaks - late
        theirs.append(agreement(want, peaks[(peaks > near[0]) & (peaks < near[1])], 0.15))
    assert np.mean(scores, axis=0).min() > 0.995
    assert np.min(scores) > 0.96
    assert np.sum(scores) >= np.sum(theirs)


@pytest.mark.realdata
def test_the_rate_of_32_seconds_is_that_of_the_ecg(real):
    errors = []
    for _, pulse, marks in marsh(real):
        onsets = pulse_onsets(pulse) / pulse.rate
        drift = aligned(onsets, marks, min(pulse.duration, marks[-1]))
        for start in np.arange(2, min(pulse.duration, drift[-1]) - 34, 16):
            ours, theirs = (times[(times >= start) & (times < start + 32)] for times in (onsets, drift))
            errors.append(abs(pulse_rate(ours, 1) - pulse_rate(theirs, 1)))
    assert np.mean(errors) < 0.5


@pytest.mark.realdata
def test_real_pulses_are_upright_and_their_negatives_are_not(real):
    pulses = [pulse for _, pulse, _ in marsh(real)] + [bidmc(real)[0]]
    assert not any(inverted(pulse) for pulse in pulses)
    assert all(inverted(changed(pulse, -pulse.values)) for pulse in pulses)


@pytest.mark.realdata
def test_a_finger_pulse_comes_later_than_its_r_peak(real):
    """BIDMC holds both on one clock: from R to the finger's onset it takes 0.15 to 0.6 s, and hardly varies."""
    from stethos.signal.beats import r_peaks

    pulse, ecg = bidmc(real)[0], bidmc(real, "II")[0]
    r, onsets = r_peaks(Signal(ecg.values, 125.0, ("II",), "mV")) / 125, traced(pulse).beats.onset / 125
    place = np.searchsorted(onsets, r[:-2])
    lag = onsets[place] - r[:-2]
    assert 0.15 < np.median(lag) < 0.6
    assert np.mean(np.abs(lag - np.median(lag)) < 0.05) > 0.95
