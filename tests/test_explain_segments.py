"""Parts of a window: planted waves, simulated ones, and what makes a masked signal whole again."""

from dataclasses import replace

import numpy as np
import pytest
from test_signal_beats import beat_times, strip

from stethos.errors import ChannelError, QualityError
from stethos.explain.bounds import PLAYERS, beat_bounds
from stethos.explain.segments import segments, smoothed
from stethos.signal.prepare import PREPARATIONS
from stethos.signal.resample import resample
from stethos.signal.waves import Waves
from stethos.synth import ecg, hospital_world, quiet, visits
from stethos.types import Signal

LEAD_V1 = PREPARATIONS["lead-v1"]
TIMES = beat_times(70, 10)
CENTRE = {"P": -0.17, "QRS": 0.0, "T": 0.28, "PR": -0.085, "ST": 0.12}


def part_at(found, seconds):
    """The part with the largest window at given times."""
    return [PLAYERS[part] for part in found.windows[:, np.rint(seconds * found.rate).astype(int)].argmax(axis=0)]


@pytest.fixture(scope="module")
def clinic():
    """Visits to a simulated hospital, its world, and one recorded without noise."""
    world = hospital_world()
    table = visits(150, seed=3, world=world)
    rows = [{name: column[row] for name, column in table.items()} for row in range(len(table["id"]))]
    return rows, world, quiet(world)


@pytest.mark.parametrize("name", ["lead-v1", "ecgfounder-v1"])
@pytest.mark.parametrize("rate", [250, 500, 512.844])
def test_planted_waves_lie_in_their_parts(name, rate):
    found = segments(strip(TIMES, rate), PREPARATIONS[name])
    for part, centre in CENTRE.items():
        assert part_at(found, TIMES[1:-1] + centre) == [part] * (len(TIMES) - 2)
    assert part_at(found, (TIMES[:-1] + TIMES[1:]) / 2 + 0.05) == ["TP"] * (len(TIMES) - 1)


def test_windows_are_a_partition_of_unity():
    windows = segments(strip(TIMES), LEAD_V1).windows
    np.testing.assert_allclose(windows.sum(axis=0), 1, atol=1e-12)
    assert windows.min() >= 0
    assert windows.max() <= 1 + 1e-12


@pytest.mark.parametrize("rate", [125, 500])
def test_an_edge_is_crossed_within_eight_milliseconds_on_either_side(rate):
    labels = np.repeat([5, 2, 5], rate)
    crossing = smoothed(labels, rate)[2]
    inside, outside = crossing[rate : 2 * rate], np.delete(crossing, np.s_[rate : 2 * rate])
    width = round(0.008 * rate)
    assert inside[0] > 0.5 > outside[rate - 1] > 0
    np.testing.assert_allclose(inside[width:-width], 1, atol=1e-12)
    assert (np.delete(outside, np.s_[rate - width : rate + width]) == 0).all()


def test_bounds_are_seconds_from_r():
    bounds = dict(zip(PLAYERS, segments(strip(TIMES), LEAD_V1).bounds, strict=True))
    for part, centre in CENTRE.items():
        start, stop = bounds[part]
        assert start < centre < stop
    assert bounds["P"][1] == pytest.approx(bounds["PR"][0])
    assert bounds["QRS"][1] == pytest.approx(bounds["ST"][0])
    # Q and S end two and a half widths beyond their centres
    np.testing.assert_allclose(bounds["QRS"], [-0.025 - 2.5 * 0.008, 0.028 + 2.5 * 0.010], atol=0.012)


def test_without_p_waves_p_and_pr_are_exactly_nothing():
    found = segments(strip(TIMES, P=(0.0, -0.17, 0.02)), LEAD_V1)
    assert (found.windows[:2] == 0).all()
    assert np.isnan(found.bounds[:2]).all()
    assert found.present.tolist() == [False, False, True, True, True, True]
    assert set(part_at(found, TIMES[1:-1] - 0.17)) == {"TP"}


def test_atrial_fibrillation_has_no_p_wave_and_sinus_rhythm_has(clinic):
    rows, world, _ = clinic
    fibrillating = [row for row in rows if row["rhythm"] == "AF"]
    healthy = [row for row in rows if row["rhythm"] == "sinus" and not row["paced"] and row["p_amplitude"] > 0.04]
    assert len(fibrillating) > 8
    for group, want in ((fibrillating, False), (healthy[:25], True)):
        for row in group:
            lead = ecg(row, 3, world)
            try:
                found = segments(lead, LEAD_V1)
            except QualityError:
                continue
            assert found.present[0] == want, row["id"]


def test_the_true_waves_of_simulated_patients_lie_in_their_parts(clinic):
    """A wave is what the noiseless recording loses when its amplitude is set to 0."""
    rows, world, silent = clinic
    ordinary = [
        row
        for row in rows
        if row["rhythm"] == "sinus" and not (row["paced"] or row["bundle_branch_block"] or row["ectopic_share"])
    ]
    held = {"P": [], "QRS": [], "T": []}
    for row in ordinary[:30]:
        found = segments(ecg(row, 3, world), LEAD_V1)
        inner = slice(*np.rint((found.r[[1, -2]] - 0.3) * found.rate).astype(int))
        for part, amplitude in (("P", "p_amplitude"), ("QRS", "r_amplitude"), ("T", "t_amplitude")):
            whole, without = (ecg(visit, 3, silent) for visit in (row, row | {amplitude: 0.0}))
            wave = resample(replace(whole, values=whole.values - without.values), found.rate).values[0]
            wave = np.abs(wave - np.median(wave))[inner]
            held[part].append((wave * found.windows[PLAYERS.index(part), inner]).sum() / wave.sum())
    for part, shares in held.items():
        assert np.median(shares) > 0.92, part
        assert np.quantile(shares, 0.1) > 0.8, part


def test_a_later_start_moves_the_parts_along():
    lead = strip(beat_times(70, 20), seconds=20)
    early, late = (segments(lead.crop(start, start + 10), LEAD_V1) for start in (3.0, 5.0))
    first, second = early.windows[:, 250 + 125 : -125], late.windows[:, 125 : -250 - 125]
    assert (first.argmax(axis=0) != second.argmax(axis=0)).mean() < 0.02


def marked(monkeypatch, rr=1.0, **changed):
    """Bounds of ten beats, in seconds from R, whose delineation is given; a change is (beat or beats, seconds)."""
    r = 0.5 + rr * np.arange(10)
    offset = {"p_on": -0.2, "p_peak": -0.17, "p_off": -0.13, "qrs_on": -0.04, "r": 0.0, "qrs_off": 0.05}
    times = {name: r + away for name, away in (offset | {"t_on": 0.2, "t_peak": 0.28, "t_off": 0.36}).items()}
    for name, (beat, seconds) in changed.items():
        times[name][beat] += seconds
    monkeypatch.setattr("stethos.explain.bounds.waves", lambda lead: Waves(**times))
    found_r, parts = beat_bounds(strip(r))
    return parts - found_r[:, None, None]


def test_a_single_stray_bound_is_put_with_the_others(monkeypatch):
    offset = marked(monkeypatch, t_off=(4, 0.2), qrs_on=(5, np.nan), t_on=(6, np.nan))
    np.testing.assert_allclose(offset[:, PLAYERS.index("T")], np.tile([0.2, 0.36], (10, 1)), atol=1e-9)
    assert np.ptp(offset[:, PLAYERS.index("QRS"), 0]) < 1e-9


def test_a_beat_without_its_p_wave_has_none_and_tp_goes_on_to_qrs(monkeypatch):
    offset = marked(monkeypatch, p_on=(4, -0.1))
    assert np.isnan(offset[4, :2]).all()
    assert np.isfinite(offset[[3, 5], :2]).all()
    assert offset[3, PLAYERS.index("TP"), 1] - 1 == pytest.approx(offset[4, PLAYERS.index("QRS"), 0])


def test_a_t_wave_ends_where_the_next_p_wave_begins(monkeypatch):
    offset = marked(monkeypatch, rr=0.5)
    np.testing.assert_allclose(offset[:-1, PLAYERS.index("T"), 1], 0.5 + offset[1:, PLAYERS.index("P"), 0])
    assert np.isnan(offset[:, PLAYERS.index("TP")]).all()


def test_parts_of_all_beats_are_in_order_and_do_not_overlap():
    for rate in (50, 70, 130):
        short = min(1.0, 70 / rate)
        lead = strip(beat_times(rate, 10), P=(0.12, -0.15 * short, 0.02), T=(0.3, 0.28 * short, 0.04 * short))
        times = beat_bounds(lead)[1].reshape(-1)
        known = times[np.isfinite(times)]
        assert (np.diff(known) >= -1e-12).all(), rate


def test_p_waves_of_few_beats_are_none_of_the_recording(monkeypatch):
    offset = marked(monkeypatch, p_on=(slice(0, 6), np.nan))
    assert np.isnan(offset[:, :2]).all()
    offset = marked(monkeypatch, p_on=(slice(0, 4), np.nan))
    assert np.isfinite(offset[:, 0]).all(axis=1).tolist() == [False] * 4 + [True] * 6


@pytest.mark.parametrize("trace", [np.zeros(5000), np.random.default_rng(0).standard_normal(5000) * 0.01])
def test_a_recording_without_beats_is_refused(trace):
    with pytest.raises(QualityError, match="needs two beats"):
        segments(Signal(trace[None], 500, ("I",), "mV"), LEAD_V1)


def test_two_leads_are_refused():
    one = strip(TIMES)
    with pytest.raises(ChannelError, match="one lead"):
        segments(Signal(np.vstack([one.values, one.values]), one.rate, ("I", "II"), "mV"), LEAD_V1)


@pytest.mark.realdata
def test_p_waves_are_found_in_sinus_rhythm_and_not_in_fibrillation(real):
    import ast
    import csv

    wfdb = pytest.importorskip("wfdb")
    found = {"AFIB": [], "SR": []}
    table = (real / "ecg/ptbxl/ptbxl_database.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(table.splitlines()):
        codes = ast.literal_eval(row["scp_codes"])
        kind = next((kind for kind in found if kind in codes), None)
        path = real / "ecg/ptbxl" / row["filename_hr"]
        if kind is None or len(found[kind]) >= 40 or not path.with_suffix(".hea").is_file():
            continue
        record = wfdb.rdrecord(str(path), channels=[0])
        lead = Signal(record.p_signal.T, record.fs, ("I",), "mV")
        found[kind].append(segments(lead, LEAD_V1).present[0])
    assert np.mean(found["SR"]) > 0.9
    assert np.mean(found["AFIB"]) < 0.15
