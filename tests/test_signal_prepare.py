"""Preparations: the published one to its own rounding, our own by its physics, windows of a recording."""

import pickle

import mpmath
import numpy as np
import pytest
from scipy import ndimage
from scipy import signal as scipy_signal
from test_signal_beats import beat_times, strip

from stethos.errors import ChannelError, QualityError, RateError
from stethos.signal.prepare import PREPARATIONS, ecgfounder_v1, lead_v1, prepare_windows
from stethos.types import Signal

ROUNDING = 1e-5  # of the published band-pass, one fraction of order 8 in double precision

GOOD = strip(beat_times(70, 10))


def published(values):
    """The steps that ECGFounder's authors describe, one lead after the other, `(C, 5000)` at 500 Hz."""
    cleaned = []
    for lead in np.nan_to_num(values.astype(np.float64)):
        b, a = scipy_signal.iirnotch(50, 30, 500)
        lead = scipy_signal.filtfilt(b, a, lead)
        b, a = scipy_signal.butter(4, [0.67 / 250, 40 / 250], "bandpass")
        lead = scipy_signal.filtfilt(b, a, lead)
        cleaned.append(lead - scipy_signal.medfilt(lead, 201))
    cleaned = np.array(cleaned)
    return (cleaned - np.mean(cleaned)) / (np.std(cleaned) + 1e-8)


def many_leads(seed=0):
    generator = np.random.default_rng(seed)
    leads = [strip(beat_times(70, 10), seed=seed + i).values[0] * generator.uniform(-2, 2) for i in range(12)]
    return Signal(np.stack(leads), 500, tuple(f"{i}" for i in range(12)), "mV")


@pytest.mark.parametrize("size", [5, 201])
def test_the_running_median_is_medfilt(size):
    values = np.random.default_rng(0).standard_normal(1000).round(1)
    assert np.array_equal(ndimage.median_filter(values, size, mode="constant"), scipy_signal.medfilt(values, size))


def test_twelve_leads_are_prepared_as_published_and_scaled_together():
    signal = many_leads()
    got = ecgfounder_v1(signal)
    np.testing.assert_allclose(got, published(signal.values), atol=ROUNDING)
    assert got.dtype == np.float32
    assert got.mean() == pytest.approx(0, abs=1e-6)
    assert got.std() == pytest.approx(1, abs=1e-5)
    assert got.std(axis=1).max() > 1.2  # not lead by lead


def polynomial(roots):
    coefficients = [mpmath.mpc(1)]
    for root in map(mpmath.mpc, roots.tolist()):
        coefficients = [a - root * b for a, b in zip([*coefficients, 0], [0, *coefficients], strict=True)]
    return [mpmath.re(item) for item in coefficients]


def in_fifty_digits(x, zeros, poles, gain, pad):
    """Forwards and backwards, the ends mirrored through their last samples, from rest at the first."""
    b, a = [gain * item for item in polynomial(zeros)], polynomial(poles)

    def once(samples):
        level, state = mpmath.fsum(b) / mpmath.fsum(a), [mpmath.mpf(0)]
        for up, down in zip(b[:0:-1], a[:0:-1], strict=True):
            state.insert(0, state[0] + (up - down * level) * samples[0])
        for sample in samples:
            out = b[0] * sample + state[0]
            state = [s + u * sample - d * out for s, u, d in zip(state[1:], b[1:], a[1:], strict=True)] + [0]
            yield out

    longer = np.concatenate([2 * x[0] - x[pad:0:-1], x, 2 * x[-1] - x[-2 : -pad - 2 : -1]])
    there = list(once([mpmath.mpf(item) for item in longer.tolist()]))
    back = list(once(there[::-1]))
    return np.array([float(item) for item in back[::-1][pad:-pad]])


def test_the_band_pass_is_exact_where_the_published_one_rounds():
    x = many_leads().values[2].astype(float)
    design = {
        kind: scipy_signal.butter(4, (0.67, 40), "bandpass", fs=500, output=kind) for kind in ("zpk", "ba", "sos")
    }
    with mpmath.workdps(50):
        exact = in_fifty_digits(x, *design["zpk"], pad=27)
    ours = np.abs(scipy_signal.sosfiltfilt(design["sos"], x, padlen=27) - exact).max() / exact.std()
    theirs = np.abs(scipy_signal.filtfilt(*design["ba"], x) - exact).max() / exact.std()
    assert ours < 1e-11
    assert 1e-6 < theirs < ROUNDING


def test_missing_samples_count_as_zero_as_published():
    values = GOOD.values.copy()
    values[0, 1000:1100] = np.nan
    lead = Signal(values, 500, ("I",), "mV")
    np.testing.assert_allclose(ecgfounder_v1(lead), published(values), atol=ROUNDING)


@pytest.mark.realdata
def test_real_recordings_are_prepared_as_published_up_to_both_ends(real):
    import wfdb

    headers = sorted((real / "ecg/ptbxl/records500").rglob("*.hea"))[::8]
    for header in headers:
        record = wfdb.rdrecord(str(header.with_suffix("")))
        signal = Signal(record.p_signal.T, 500, tuple(record.sig_name), "mV")
        np.testing.assert_allclose(ecgfounder_v1(signal), published(signal.values), atol=ROUNDING)
        lead = signal.pick("I")
        np.testing.assert_allclose(ecgfounder_v1(lead), published(lead.values), atol=ROUNDING)
    assert len(headers) > 40


def test_the_reflected_edge_differs_only_at_the_edges():
    zeros, mirrored = ecgfounder_v1(GOOD), ecgfounder_v1(GOOD, edge="reflect")
    scale = (zeros[0, 200:-200] @ mirrored[0, 200:-200]) / (mirrored[0, 200:-200] @ mirrored[0, 200:-200])
    shift = np.median(zeros[0, 200:-200] - scale * mirrored[0, 200:-200])
    difference = np.abs(zeros - scale * mirrored - shift)[0]
    assert difference[200:-200].max() < 0.01
    assert difference[:100].max() > 0.01


@pytest.mark.parametrize("rate", [300, 512.844, 512, 511.422, 1000])
@pytest.mark.parametrize("name", sorted(PREPARATIONS))
def test_one_heart_recorded_at_another_rate_prepares_the_same(rate, name):
    preparation = PREPARATIONS[name]
    times = beat_times(70, 10)
    want = preparation.apply(strip(times, 500, noise=0))
    got = preparation.apply(strip(times, rate, noise=0))
    assert got.shape == want.shape == (1, preparation.samples)
    assert np.abs(got - want)[0, 100:-100].max() < 0.05 * want.max()


@pytest.mark.parametrize("name", sorted(PREPARATIONS))
def test_what_a_preparation_promises_holds(name):
    preparation = pickle.loads(pickle.dumps(PREPARATIONS[name]))
    assert preparation.name == name
    assert preparation.samples == preparation.rate * preparation.seconds
    for signal in (
        GOOD,
        many_leads(),
        strip(beat_times(70, 14), seconds=14),
        strip(beat_times(70, 9.95), seconds=9.95),
    ):
        got = preparation.apply(signal)
        assert got.shape == (len(signal.channels), preparation.samples)
        assert got.dtype == np.float32
        assert np.isfinite(got).all()


@pytest.mark.parametrize("name", sorted(PREPARATIONS))
def test_scale_and_offset_of_a_recording_do_not_matter(name):
    apply = PREPARATIONS[name].apply
    moved = Signal(40 * GOOD.values + 3, 500, ("I",), "a.u.")
    np.testing.assert_allclose(apply(moved), apply(GOOD), atol=1e-3)


@pytest.mark.parametrize("name", sorted(PREPARATIONS))
def test_only_the_first_ten_seconds_count(name):
    apply = PREPARATIONS[name].apply
    longer = Signal(np.pad(GOOD.values, ((0, 0), (0, 1000)), constant_values=7), 500, ("I",), "mV")
    assert np.array_equal(apply(longer), apply(GOOD))


@pytest.mark.parametrize("name", sorted(PREPARATIONS))
def test_under_ten_seconds_are_refused(name):
    with pytest.raises(QualityError, match=r"lasts 9\.80 s"):
        PREPARATIONS[name].apply(strip(beat_times(70, 9.8), seconds=9.8))


def test_a_rate_below_the_band_is_refused():
    with pytest.raises(RateError):
        lead_v1(strip(beat_times(70, 10), 80))


def test_lead_v1_puts_r_near_one_and_the_baseline_at_zero():
    got = lead_v1(strip(beat_times(70, 10), noise=0.005))[0]
    assert got.max() == pytest.approx(1.3, abs=0.3)
    assert np.median(got) == pytest.approx(0, abs=1e-3)


def test_lead_v1_keeps_a_raised_st_level_that_ecgfounder_v1_removes():
    times = beat_times(70, 10)
    raised = strip(times, noise=0, ST=(0.3, 0.15, 0.05), T=(0.3, 0.28, 0.08))
    plain = strip(times, noise=0, T=(0.3, 0.28, 0.08))
    for apply, rate, keeps in ((lead_v1, 125, True), (ecgfounder_v1, 500, False)):
        at = np.rint((times[2:-2] + 0.15) * rate).astype(int)
        tops = np.rint(times[2:-2] * rate).astype(int)
        before = np.rint((times[2:-2] - 0.08) * rate).astype(int)
        level = [np.median((x[at] - x[before]) / (x[tops] - x[before])) for x in (apply(raised)[0], apply(plain)[0])]
        assert (level[0] - level[1] > 0.2) == keeps


def test_lead_v1_gives_zeros_where_nothing_moves_or_nothing_is_known():
    for value in (0.0, 3.7, np.nan):
        assert not lead_v1(Signal(np.full((1, 5000), value), 500, ("I",), "mV")).any()


def test_lead_v1_gives_zero_inside_a_gap():
    values = GOOD.values.copy()
    values[0, 2000:2400] = np.nan
    assert not lead_v1(Signal(values, 500, ("I",), "mV"))[0, 502:598].any()


def test_lead_v1_cuts_an_artefact_at_five():
    values = GOOD.values.copy()
    values[0, 2500:2510] += 60
    assert lead_v1(Signal(values, 500, ("I",), "mV")).max() == 5


def test_good_windows_are_prepared_and_refused_ones_reported():
    values = strip(beat_times(70, 30), seconds=30).values.copy()
    values[0, 5000:10_000] = 0
    lead = Signal(values, 500, ("I",), "mV")
    prepared, judged = prepare_windows(lead, PREPARATIONS["lead-v1"])
    assert [window.reason for window in judged] == ["", "flat", ""]
    assert prepared.shape == (2, 1, 1250)
    np.testing.assert_array_equal(prepared[1], lead_v1(lead.crop(20, 30)))


def test_no_good_window_leaves_an_empty_array():
    prepared, judged = prepare_windows(strip(beat_times(70, 3), seconds=3), PREPARATIONS["ecgfounder-v1"])
    assert prepared.shape == (0, 1, 5000)
    assert [window.reason for window in judged] == ["short"]


def test_an_upside_down_recording_is_turned_over_only_when_asked():
    lead = strip(beat_times(70, 10))
    turned = Signal(-lead.values, 500, ("I",), "mV")
    upright, _ = prepare_windows(lead, PREPARATIONS["lead-v1"], correct_polarity=True)
    left, _ = prepare_windows(turned, PREPARATIONS["lead-v1"])
    corrected, _ = prepare_windows(turned, PREPARATIONS["lead-v1"], correct_polarity=True)
    np.testing.assert_allclose(corrected, upright, atol=1e-6)
    np.testing.assert_allclose(left, -upright, atol=1e-6)


def test_windows_of_several_leads_are_refused():
    with pytest.raises(ChannelError):
        prepare_windows(many_leads(), PREPARATIONS["lead-v1"])
