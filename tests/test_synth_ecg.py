"""The drawn ECG against the physical facts it was drawn from."""

import numpy as np
import pytest
from scipy.signal import find_peaks

from stethos.errors import ChannelError
from stethos.synth.ecg import LEADS, ecg
from stethos.synth.patient import hospital_world, knock_out_world, null_world, quiet, visits

WORLD = hospital_world()
ROWS = visits(4000, 0, WORLD)


def row(rows, index):
    return {name: column[index] for name, column in rows.items()}


def first(count, **wanted):
    """The first rows in which columns have the wanted values."""
    fits = np.logical_and.reduce([ROWS[name] == value for name, value in wanted.items()])
    return [row(ROWS, index) for index in np.flatnonzero(fits)[:count]]


def r_peaks(values, rate):
    steep = np.abs(np.gradient(values)) * rate
    steep = np.convolve(steep, np.ones(int(0.08 * rate)), mode="same")
    return find_peaks(steep, height=0.4 * np.percentile(steep, 98), distance=int(0.33 * rate))[0]


def test_a_recording_depends_on_seed_and_visit_only():
    one, two = row(ROWS, 3), row(ROWS, 4)
    alone = ecg(one, 0, WORLD).values
    ecg(two, 0, WORLD)
    np.testing.assert_array_equal(ecg(one, 0, WORLD).values, alone)
    np.testing.assert_array_equal(ecg(one, 0, WORLD, leads=("II", "I")).values[1], alone[0])
    from_fewer = row(visits(50, 0, WORLD), 3)
    np.testing.assert_array_equal(ecg(from_fewer, 0, WORLD).values, alone)
    assert not np.array_equal(ecg(one, 1, WORLD).values, alone)
    assert not np.array_equal(ecg(dict(one, id="another"), 0, WORLD).values, alone)


def test_each_site_has_its_own_rate_and_steps():
    for site, rate, step in (("north", 500, 0.001), ("south", 500, 0.00488), ("harbour", 300, 0.0005)):
        signal = ecg(first(1, site=site)[0], 0, WORLD)
        assert signal.rate == rate
        assert signal.values.shape == (1, 10 * rate)
        assert signal.unit == "mV"
        np.testing.assert_allclose(signal.values / step, np.rint(signal.values / step), atol=2e-3)


def test_the_heart_rate_can_be_counted():
    visible = first(60, site="north", rhythm="sinus", ectopic_share=0.0, reversed_leads=0.0)
    errors = []
    for visit in visible:
        signal = ecg(visit, 0, WORLD)
        beats = r_peaks(signal.values[0].astype(float), signal.rate)
        errors.append(60 / np.median(np.diff(beats) / signal.rate) - visit["heart_rate"])
    assert np.median(np.abs(errors)) < 1.5
    assert np.percentile(np.abs(errors), 90) < 5


def test_fibrillation_has_no_p_wave_and_irregular_beats():
    def irregularity(visit):
        signal = ecg(visit, 0, quiet(WORLD))
        intervals = np.diff(r_peaks(signal.values[0].astype(float), signal.rate))
        return intervals.std() / intervals.mean()

    fibrillating = first(20, rhythm="AF", site="north", bundle_branch_block=0.0)
    steady = first(20, rhythm="sinus", site="north", ectopic_share=0.0, bundle_branch_block=0.0)
    assert all(visit["p_amplitude"] == 0 and np.isnan(visit["pr_ms"]) for visit in fibrillating)
    assert np.median([irregularity(visit) for visit in fibrillating]) > 0.12
    assert np.median([irregularity(visit) for visit in steady]) < 0.05


def test_the_waves_have_the_size_they_are_said_to_have():
    for visit in first(25, rhythm="sinus", site="north", ectopic_share=0.0, bundle_branch_block=0.0, paced=0.0):
        signal = ecg(visit, 0, quiet(WORLD), rate=1000)
        trace = signal.values[0].astype(float)
        peaks = [peak for peak in r_peaks(trace, 1000) if 350 < peak < 9400]
        peaks = [peak - 60 + np.argmax(trace[peak - 60 : peak + 60]) for peak in peaks]
        onset = int(0.5 * visit["qrs_rest_ms"])
        zero = np.median([trace[peak - onset - 8] for peak in peaks])
        tall = np.median([trace[peak] for peak in peaks]) - zero
        late = [trace[peak + 150 : peak + 450] - zero for peak in peaks]
        wave = np.median([part[np.argmax(np.sign(visit["t_amplitude"]) * part)] for part in late])
        assert tall == pytest.approx(visit["r_amplitude"], rel=0.15, abs=0.05)
        assert wave == pytest.approx(visit["t_amplitude"], abs=0.06)


@pytest.mark.parametrize(("wave", "start", "stop"), [("T", 0.08, 0.52), ("QRS", -0.06, 0.16), ("P", -0.40, -0.03)])
def test_potassium_changes_the_drawn_beat_within_its_own_wave_only(wave, start, stop):
    still, moved = visits(4000, 0, null_world()), visits(4000, 0, knock_out_world(wave))
    plain = (still["rhythm"] == "sinus") & (still["ectopic_share"] == 0) & (still["paced"] == 0)
    plain &= (still["site"] == "north") & (still["bundle_branch_block"] == 0) & (still["heart_rate"] < 85)
    touched = {"T": "t_amplitude", "QRS": "qrs_ms", "P": "p_amplitude"}[wave]
    chosen = np.flatnonzero(plain & (still["potassium"] > 6.2) & (moved[touched] != still[touched]))[:25]
    assert len(chosen) > 15
    for index in chosen:
        before = ecg(row(still, index), 0, quiet(null_world())).values[0].astype(float)
        change = ecg(row(moved, index), 0, quiet(null_world())).values[0] - before
        time = np.arange(len(before)) / 500
        beats = r_peaks(before, 500) / 500
        nearest = (time[:, None] - beats).T  # (beats, T)
        inside = ((nearest > start) & (nearest < stop)).any(axis=0)
        whole = (time > beats[0] + stop) & (time < beats[-1] + start)
        change = change - np.median(change[whole & ~inside])
        assert np.abs(change[whole]).max() > 0.004
        assert (change[whole & inside] ** 2).sum() > 0.985 * (change[whole] ** 2).sum()


def test_the_limb_leads_obey_einthoven_and_goldberger():
    signal = ecg(first(1, site="north", rhythm="sinus")[0], 0, WORLD, leads=LEADS)
    one, two, three, right, left, foot = signal.values[:6].astype(float)
    np.testing.assert_allclose(three, two - one, atol=2.1e-3)  # a step of 1 µV each
    np.testing.assert_allclose(right + left + foot, 0, atol=2.1e-3)


def test_exchanged_arms_turn_lead_one_over():
    visit = first(1, site="north", rhythm="sinus", reversed_leads=0.0)[0]
    right, wrong = (ecg(dict(visit, reversed_leads=flag), 0, WORLD, leads=("I", "II")).values for flag in (0.0, 1.0))
    np.testing.assert_allclose(wrong[0], -right[0], atol=1.1e-3)
    np.testing.assert_allclose(wrong[1], right[1] - right[0], atol=2.1e-3)


def test_the_handheld_is_noisier_than_the_cart():
    # the same heart, recorded with and without noise, at either site
    visit = first(1, site="north", rhythm="sinus", ectopic_share=0.0)[0]

    def noise(site):
        held = [dict(visit, site=site, id=f"copy {copy}") for copy in range(20)]
        pairs = [(ecg(one, 0, WORLD).values, ecg(one, 0, quiet(WORLD)).values) for one in held]
        return np.median([np.std(loud - still) for loud, still in pairs])

    assert 0.02 < noise("north") < 0.08
    assert noise("harbour") > 0.02


def test_a_lead_that_is_none_is_refused():
    with pytest.raises(ChannelError, match="got V9"):
        ecg(row(ROWS, 0), 0, WORLD, leads=("V9",))
