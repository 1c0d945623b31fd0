"""Waves and intervals: planted waves, odd recordings, the marks of cardiologists."""

from dataclasses import astuple, fields

import numpy as np
import pytest
from test_signal_beats import beat_times, strip
from test_signal_quality import cinc

from stethos.errors import ChannelError
from stethos.signal.waves import Intervals, Waves, intervals, waves
from stethos.types import Signal

TIMES = beat_times(70, 10)


def given_waves(**times):
    """Two beats a second apart with the given bounds (of the first beat); the rest is absent."""
    names = [item.name for item in fields(Waves)]
    return Waves(**{name: np.array([times.get(name, np.nan), times.get(name, np.nan) + 1.0]) for name in names})


@pytest.mark.parametrize("rate", [250, 500, 512.844])
@pytest.mark.parametrize("sign", [1, -1])
def test_planted_peaks_are_found_at_their_times_in_both_polarities(rate, sign):
    lead = strip(TIMES, rate, noise=0.002)
    found = waves(Signal(sign * lead.values, rate, ("I",), "mV"))
    inner = slice(1, -1)
    assert len(found) == len(TIMES)
    for name, centre in (("p_peak", -0.17), ("r", 0.0), ("t_peak", 0.28)):
        error = np.abs(getattr(found, name) - TIMES - centre)[inner]
        assert np.nanmax(error) < 0.012, name
        assert np.isfinite(error).all(), name


def test_the_bounds_of_every_beat_are_in_order():
    found = waves(strip(TIMES))
    order = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_on", "t_peak", "t_off")
    bounds = np.stack([getattr(found, name) for name in order])
    steps = np.diff(bounds, axis=0)
    assert (steps[np.isfinite(steps)] >= 0).all()
    assert np.isfinite(bounds[:, 1:-1]).mean() > 0.95


def test_intervals_of_planted_waves_are_those_planted():
    lead = strip(TIMES, noise=0.002)
    found = intervals(lead, waves(lead))
    assert found.heart_rate == pytest.approx(70, abs=0.5)
    # a Gaussian wave begins about 2.5 widths before its centre
    assert found.pr == pytest.approx(1000 * (0.17 + 2.5 * 0.022 - 0.025 - 2.5 * 0.008), abs=20)
    assert found.qrs == pytest.approx(1000 * (0.025 + 2.5 * 0.008 + 0.028 + 2.5 * 0.010), abs=20)
    assert found.qt == pytest.approx(1000 * (0.28 + 2.5 * 0.045 + 0.045), abs=30)
    assert found.p_amplitude == pytest.approx(0.12, abs=0.03)
    assert found.r_amplitude == pytest.approx(1.0, abs=0.05)
    assert found.t_amplitude == pytest.approx(0.3, abs=0.03)


def test_an_upside_down_strip_has_the_same_intervals_and_opposite_amplitudes():
    lead = strip(TIMES)
    up = intervals(lead, waves(lead))
    turned = Signal(-lead.values, 500, ("I",), "mV")
    down = intervals(turned, waves(turned))
    assert (down.pr, down.qrs, down.qt) == pytest.approx((up.pr, up.qrs, up.qt))
    assert down.r_amplitude == pytest.approx(-up.r_amplitude)


def test_qtc_is_fridericias():
    # RR 1 s: QTc is QT; RR 0.512 s: its cube root is 0.8
    lead = Signal(np.zeros((1, 2000)), 500, ("I",), "mV")
    slow = given_waves(qrs_on=0.4, r=0.44, t_off=0.8)
    assert intervals(lead, slow).qtc == pytest.approx(400)
    fast = Waves(**{**vars(slow), "r": np.array([0.44, 0.952]), "t_off": slow.qrs_on + 0.4})
    assert intervals(lead, fast).qtc == pytest.approx(500)
    assert intervals(lead, fast).heart_rate == pytest.approx(60 / 0.512)


def test_amplitudes_are_measured_from_the_end_of_the_pr_segment():
    values = np.full((1, 1000), 2.0)
    values[0, 220], values[0, 720] = 3.5, 3.5
    values[0, 360], values[0, 860] = 1.6, 1.6
    lead = Signal(values, 500, ("I",), "mV")
    found = intervals(lead, given_waves(qrs_on=0.4, r=0.44, t_peak=0.72))
    assert found.r_amplitude == pytest.approx(1.5)
    assert found.t_amplitude == pytest.approx(-0.4)
    assert np.isnan(found.p_amplitude)
    assert np.isnan(found.pr)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(5000),
        np.full(5000, np.nan),
        np.random.default_rng(0).standard_normal(5000),
        np.cumsum(np.random.default_rng(1).standard_normal(5000)),
        np.tile([1.0, -1.0], 2500),
        np.eye(1, 5000, 2500)[0],
        np.zeros(3),
        np.zeros(0),
    ],
)
def test_an_odd_recording_gives_no_waves_and_no_error(values):
    lead = Signal(values[None], 500, ("I",), "mV")
    found = waves(lead)
    assert len(astuple(found)) == 9
    assert isinstance(intervals(lead, found), Intervals)


def test_without_p_waves_hardly_any_are_found_whatever_fibrillates():
    plain = strip(TIMES, P=(0.0, -0.17, 0.02))
    time = np.arange(5000) / 500
    trembling = plain.values + 0.05 * np.sin(2 * np.pi * (6 * time + 0.3 * np.sin(2 * np.pi * 0.4 * time)))
    uneven = 0.6 + np.append(0, np.cumsum([0.70, 1.05, 0.82, 1.20, 0.76, 0.98, 0.69, 1.10, 0.85]))
    for lead in (plain, Signal(trembling, 500, ("I",), "mV"), strip(uneven, P=(0.0, -0.17, 0.02))):
        found = waves(lead)
        assert np.isfinite(found.p_on).sum() <= 1
        assert np.isfinite(found.t_off[1:-1]).all()


def test_a_gap_costs_the_beats_in_it_and_no_other():
    values = strip(TIMES, noise=0.002).values.copy()
    values[:, 2300:2700] = np.nan
    lead = Signal(values, 500, ("I",), "mV")
    beats = np.rint(TIMES * 500).astype(int)
    found, whole = waves(lead, beats), waves(strip(TIMES, noise=0.002), beats)
    away = np.abs(TIMES - 5.0) > 1.2
    np.testing.assert_allclose(found.p_on[away], whole.p_on[away], atol=0.008)
    np.testing.assert_allclose(found.t_off[away], whole.t_off[away], atol=0.008)
    lost = (TIMES > 4.7) & (TIMES < 5.3)
    assert lost.any()
    assert np.isnan(found.qrs_on[lost]).all()


def test_an_ectopic_beat_has_no_p_wave_and_costs_the_others_nothing():
    times = np.sort(np.append(np.delete(TIMES, 5), TIMES[5] - 0.25))
    quiet = strip(np.delete(TIMES, 5), noise=0.01)
    time = np.arange(5000) / 500 - (TIMES[5] - 0.25)
    broad = 1.3 * np.exp(-0.5 * (time / 0.035) ** 2) - 0.4 * np.exp(-0.5 * ((time - 0.3) / 0.06) ** 2)
    found = waves(Signal(quiet.values + broad, 500, ("I",), "mV"))
    ectopic = np.argmin(np.abs(found.r - (TIMES[5] - 0.25)))
    assert len(found) == len(times)
    assert np.isnan(found.p_on[ectopic])
    assert found.qrs_off[ectopic] - found.qrs_on[ectopic] > 0.12
    others = np.delete(np.arange(len(times)), ectopic)[1:-1]
    assert np.isfinite(found.p_on[others]).all()


@pytest.mark.parametrize("rate", [60, 100, 128, 360, 2000])
def test_waves_are_found_at_any_rate(rate):
    found = waves(strip(TIMES, rate, noise=0.002), np.rint(TIMES * rate).astype(int))
    for name, centre in (("p_peak", -0.17), ("t_peak", 0.28)):
        np.testing.assert_allclose(getattr(found, name)[1:-1], TIMES[1:-1] + centre, atol=0.02)


def test_a_single_beat_is_enough():
    found = waves(strip(TIMES).crop(2.5, 3.7))
    assert len(found) == 1
    assert np.isfinite(found.qrs_off - found.qrs_on + found.t_off).all()


@pytest.mark.parametrize("peaks", [[], [2500], [0, 4999], [10, 11, 12], [5, 2500]])
def test_odd_peaks_give_nan_and_no_error(peaks):
    lead = strip(TIMES)
    found = waves(lead, np.array(peaks, dtype=np.int64))
    np.testing.assert_allclose(found.r, np.array(peaks) / 500)
    assert len(found.t_off) == len(peaks)


def test_waves_of_several_leads_are_refused():
    with pytest.raises(ChannelError):
        waves(Signal(np.zeros((2, 5000)), 500, ("I", "II"), "mV"))


SYMBOLS = {"p": ("p_on", "p_peak", "p_off"), "N": ("qrs_on", "r", "qrs_off"), "t": ("t_on", "t_peak", "t_off")}


def marked_bounds(marks):
    """LUDB's marks of one lead as seconds by name, and the span they cover."""
    bounds = {name: [] for names in SYMBOLS.values() for name in names}
    for before, now, after in zip(range(-1, 10**6), range(len(marks.sample)), range(1, 10**6), strict=False):
        if marks.symbol[now] in SYMBOLS:
            start, peak, stop = SYMBOLS[marks.symbol[now]]
            bounds[peak].append(marks.sample[now] / 500)
            if before >= 0 and marks.symbol[before] == "(":
                bounds[start].append(marks.sample[before] / 500)
            if after < len(marks.sample) and marks.symbol[after] == ")":
                bounds[stop].append(marks.sample[after] / 500)
    return {name: np.array(times) for name, times in bounds.items()}, marks.sample[[0, -1]] / 500


# name: least sensitivity, least predictive value, largest |mean| and standard deviation of the error in ms. The
# network has seen these marks: this is whether it is intact, `benchmarks/real/delineation.py` is how good it is.
LUDB_LEAD_I = {
    "p_on": (0.97, 0.95, 6, 16),
    "p_peak": (0.97, 0.95, 6, 12),
    "p_off": (0.97, 0.95, 6, 14),
    "qrs_on": (0.99, 0.99, 6, 12),
    "qrs_off": (0.99, 0.99, 6, 14),
    "t_on": (0.98, 0.98, 8, 22),
    "t_peak": (0.98, 0.98, 6, 16),
    "t_off": (0.98, 0.98, 6, 25),
}


@pytest.mark.realdata
def test_the_marks_of_ludb_are_found_again(real):
    import wfdb

    errors = {name: [] for name in LUDB_LEAD_I}
    marked, found = dict.fromkeys(LUDB_LEAD_I, 0), dict.fromkeys(LUDB_LEAD_I, 0)
    for header in sorted((real / "ecg/ludb/data").glob("*.hea")):
        path = str(header.with_suffix(""))
        record = wfdb.rdrecord(path)
        bounds, (first, last) = marked_bounds(wfdb.rdann(path, "i"))
        lead = Signal(record.p_signal[:, [record.sig_name.index("i")]].T, 500, ("I",), "a.u.")
        got = waves(lead)
        for name in LUDB_LEAD_I:
            times = getattr(got, name)
            times = times[np.isfinite(times)]
            marked[name] += len(bounds[name])
            found[name] += ((times >= first) & (times <= last)).sum()
            nearest = [times[np.argmin(np.abs(times - time))] - time for time in bounds[name] if len(times)]
            errors[name] += [error for error in nearest if abs(error) <= 0.15]
    for name, (sensitivity, predictive, bias, spread) in LUDB_LEAD_I.items():
        assert len(errors[name]) / marked[name] > sensitivity, name
        assert len(errors[name]) / found[name] > predictive, name
        assert 1000 * abs(np.mean(errors[name])) < bias, name
        assert 1000 * np.std(errors[name]) < spread, name


@pytest.mark.realdata
def test_beats_of_fibrillation_have_no_p_wave_on_handheld_strips_and_most_normal_ones_have(real):
    found = {"A": [], "N": []}
    for label, lead in cinc(real):
        if label in found:
            found[label].append(np.isfinite(waves(lead).p_on).mean())
    # measured: in at least half of the beats, 0 of 29 strips of fibrillation and 82 of 103 of normal rhythm
    assert np.mean(np.array(found["A"]) >= 0.5) < 0.05
    assert np.mean(np.array(found["N"]) >= 0.5) > 0.7


def test_a_beat_at_the_very_start_does_not_cost_the_others():
    """R falls in the first samples: its highest neighbour must not be looked for in the padded margin."""
    for start in range(0, 60, 6):
        time = (np.arange(5000) + start) / 500.0
        beats = np.arange(0.12, 11, 0.8)
        trace = sum(np.exp(-0.5 * ((time - b) / 0.012) ** 2) for b in beats)
        trace = trace + sum(0.3 * np.exp(-0.5 * ((time - b - 0.3) / 0.04) ** 2) for b in beats)
        lead = Signal(np.asarray(trace)[None], 500.0, ("I",), "mV")
        found = waves(lead)
        assert np.isfinite(found.qrs_on).sum() >= len(found.r) - 2
