"""The page's arithmetic against Python's: filters, resampling, beats, quality, preparation, waves, Shapley values."""

from dataclasses import asdict
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import pytest
import scipy.signal
import wearable_files as files
from page_node import needs_node, run
from test_explain_waves import drawn_network
from test_signal_beats import beat_times, strip

from stethos.errors import QualityError
from stethos.explain.baseline import Isoelectric
from stethos.explain.scene import Scene
from stethos.explain.shapley import coalitions, from_table
from stethos.explain.waves import explain
from stethos.export.page_data import delineator_json
from stethos.io import read
from stethos.signal.beats import contrast, heart_rate, inverted, r_peaks
from stethos.signal.prepare import PREPARATIONS
from stethos.signal.quality import windows
from stethos.signal.resample import resample, route
from stethos.synth import ecg, hospital_world, visits
from stethos.types import Signal

pytestmark = needs_node

FILTERS = [
    (4, (40.0,), "lowpass", 512.844),
    (2, (0.5,), "highpass", 500.0),
    (2, (0.5,), "highpass", 1000.0),
    (2, (5.0, 20.0), "bandpass", 300.0),
    (2, (0.5, 40.0), "bandpass", 130.0),
    (4, (0.67, 40.0), "bandpass", 500.0),
]
RATES = (511.422, 512.844, 300.0, 250.0, 130.0, 500.0)
TARGETS = (125.0, 250.0, 500.0)
EXPLAINED = (*(f"patient {n}" for n in range(6)), "uneven", "upside down", "gaps")
DEFECTS = ("noise", "nothing", "flat in part", "clipped", "lead off", "short", "a second", "wander")
NAMES = (*EXPLAINED, *DEFECTS)
NETWORK = drawn_network(3, outputs=2)  # eight rectified kernels, two logits

PROGRAM = """
const [filters, { resample, route }, beats, { windows }, { prepare }, waves, { shapley }] = await Promise.all(
  ["filters", "resample", "beats", "quality", "prepare", "waves", "shapley"].map((name) => load(`${name}.js`)));
const tried = (work) => { try { return work(); } catch (error) { return { error: error.message }; } };
const layers = waves.delineator(JSON.parse(given.delineator));
const score = async (x, count) => {
  const n = x.length / count, width = given.kernels[0].length;
  return Array.from({ length: count }, (_, row) => {
    const felt = given.kernels.map((kernel) => {
      let sum = 0;
      for (let t = 0; t + width <= n; t++) {
        sum += Math.max(kernel.reduce((all, weight, k) => all + weight * x[row * n + t + k], 0) - 0.3, 0);
      }
      return sum / (n - width + 1);
    });
    return given.weights[0].map((_, k) => felt.reduce((all, value, j) => all + value * given.weights[j][k], 0));
  }).flat();
};
const explained = async (name, { values, rate }) => {
  const scene = waves.sceneOf(name, values, rate, layers);
  const found = await waves.explain(score, scene);
  const shown = waves.shown(scene), n = scene.prepared.length, count = shown.length / n;
  const kept = given.kept.map((part) => Math.floor(part * (count - 1)));
  const curve = waves.curve(scene, found.values.map((value) => value[1]));
  return { ...scene, ...found, curve, count, shown: kept.map((row) => shown.slice(row * n, (row + 1) * n)) };
};
const designed = given.filters.map(([order, cutoffs, kind, rate]) => filters.butterworth(order, cutoffs, kind, rate));
const scenes = {};
for (const name of given.explained) {
  scenes[name] = await explained("lead-v1", given.strips[name]);
}
scenes.founder = await explained("ecgfounder-v1", given.strips[given.explained[0]]);
const each = (strips, work) => Object.fromEntries(Object.entries(strips).map(([name, strip]) => [name, work(strip)]));
return {
  designed,
  filtered: designed.map((sections) => filters.sosfiltfilt(sections, given.trace, 40)),
  notched: filters.sosfiltfilt(filters.notch(50, 30, 500), given.trace, 9),
  medians: filters.runningMedian(given.trace, 201),
  percentiles: given.percents.map((percent) => filters.percentile(given.trace, percent)),
  middles: [filters.median(given.trace), filters.median(given.trace.slice(1))],
  rounded: given.halves.map(filters.round),
  routes: given.pairs.map(([rate, target]) => route(rate, target).map(({ up, down }) => [up, down])),
  resampled: given.recorded.map(({ values, rate, target }) => resample(values, rate, target)),
  beats: each(given.strips, ({ values, rate }) => {
    const peaks = beats.rPeaks(values, rate);
    const turned = beats.inverted(values, rate, peaks);
    return { peaks, turned, contrast: beats.contrast(values, rate), heart: beats.heartRate(peaks, rate) };
  }),
  windows: each(given.strips, ({ values, rate }) => windows(values, rate)),
  prepared: each(given.strips, ({ values, rate }) =>
    ["lead-v1", "ecgfounder-v1"].map((name) => tried(() => prepare(name, values, rate)))),
  refused: [
    tried(() => prepare("lead-v2", given.trace, 500)),
    tried(() => beats.rPeaks(given.trace, 40)),
    tried(() => resample(given.trace, 0, 125)),
    tried(() => waves.sceneOf("lead-v1", new Float32Array(5000), 500, layers)),
  ],
  scenes,
  game: shapley(given.table, 5, 3),
};
"""


def one_lead(values, rate=500.0):
    return Signal(np.asarray(values, np.float32).reshape(1, -1), rate, ("I",), "mV")


@lru_cache(maxsize=1)
def strips():
    """Recordings by name: simulated patients at several rates, and every kind of defect."""
    world = hospital_world()
    table = visits(6, seed=5, world=world)
    rows = [{name: column[row] for name, column in table.items()} for row in range(6)]
    rates = (500.0, 512.844, 300.0, 250.0, 130.0, 1000.0)
    found = {f"patient {n}": ecg(row, 5, world, rate) for n, (row, rate) in enumerate(zip(rows, rates, strict=True))}
    generator = np.random.default_rng(2)
    good = strip(beat_times(70, 30), seconds=30).values[0]
    time = np.arange(15_000) / 500
    gap = good.copy()
    gap[2000:2150], gap[5500:7000] = np.nan, np.nan
    still = good.copy()
    still[1000:3000] = still[1000]
    uneven = 0.6 + np.append(0, np.cumsum([0.70, 1.05, 0.82, 1.20, 0.76, 0.98, 0.69, 1.10, 0.85]))
    found |= {
        "uneven": strip(uneven, 511.422, 10.2),
        "upside down": one_lead(-strip(beat_times(64, 10), 250).values, 250),
        "noise": one_lead(generator.standard_normal(10_000)),
        "nothing": one_lead(np.full(5_000, 0.7)),
        "flat in part": one_lead(still),
        "clipped": one_lead(np.clip(good, -0.05, 0.2)),
        "lead off": one_lead(good + 20 * (np.sin(0.9 * time) > 0)),
        "gaps": one_lead(gap),
        "short": one_lead(good[:4000]),
        "a second": one_lead(good[:450]),
        "wander": one_lead(good + 2 * np.sin(2 * np.pi * 0.2 * time) + 0.1 * generator.standard_normal(15_000)),
    }
    assert found.keys() == set(NAMES)
    return found


KEPT = (0.0, 0.13, 0.31, 0.5, 0.77, 1.0)


def recorded():
    """Signals to be resampled: every rate to every other, one of them with gaps."""
    lead = strips()["wander"].values[0]
    out = [(one_lead(lead[:3001], rate), target) for rate in RATES for target in TARGETS]
    return [*out, (one_lead(strips()["gaps"].values[0][1800:4200], 512.844), 125.0)]


def trace():
    generator = np.random.default_rng(1)
    return np.cumsum(generator.standard_normal(2000)) + 3 * np.sin(np.arange(2000) / 9)


TABLE = np.random.default_rng(7).standard_normal((32, 3))
PERCENTS = (0, 1, 33.3, 50, 99, 100)


@pytest.fixture(scope="session")
def said(tmp_path_factory):
    """What the page makes of all of it, in one start of node."""
    kernels, weights = NETWORK.args
    held = {name: {"values": lead.values[0], "rate": lead.rate} for name, lead in strips().items()}
    given = {
        "filters": FILTERS,
        "trace": trace(),
        "percents": PERCENTS,
        "halves": [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, -3.7],
        "pairs": [(rate, target) for rate in RATES for target in TARGETS],
        "recorded": [{"values": lead.values[0], "rate": lead.rate, "target": target} for lead, target in recorded()],
        "strips": held,
        "explained": EXPLAINED,
        "kept": KEPT,
        "kernels": kernels,
        "weights": weights,
        "delineator": delineator_json(),
        "table": TABLE.ravel(),
    }
    return run(PROGRAM, given, tmp_path_factory.mktemp("page"))


def numbers(values):
    """With NaN for what is null."""
    return np.array([np.nan if value is None else value for value in values], float)


@pytest.mark.parametrize("which", range(len(FILTERS)), ids=[f"{kind} {cut}" for _, cut, kind, _ in FILTERS])
def test_a_butterworth_filter_has_the_response_of_scipys_and_filters_alike(said, which):
    order, cutoffs, kind, rate = FILTERS[which]
    want = scipy.signal.butter(order, cutoffs[0] if len(cutoffs) == 1 else cutoffs, kind, fs=rate, output="sos")
    rows = np.array(said["designed"][which])
    got = np.insert(rows, 3, 1.0, axis=1)
    hertz = np.geomspace(0.05, 0.49 * rate, 400)
    responses = [scipy.signal.freqz_sos(sos, hertz, fs=rate)[1] for sos in (got, want)]
    np.testing.assert_allclose(*responses, rtol=1e-7, atol=1e-12)
    filtered = scipy.signal.sosfiltfilt(want, trace(), padlen=40)
    np.testing.assert_allclose(said["filtered"][which], filtered, atol=1e-9 * np.abs(trace()).max(), rtol=0)


def test_a_notch_filters_as_scipys(said):
    sos = scipy.signal.tf2sos(*scipy.signal.iirnotch(50, 30, fs=500))
    want = scipy.signal.sosfiltfilt(sos, trace(), padlen=9)
    np.testing.assert_allclose(said["notched"], want, atol=1e-9)


def test_a_running_median_is_scipys(said):
    np.testing.assert_array_equal(said["medians"], scipy.signal.medfilt(trace(), 201))


def test_percentiles_medians_and_halves_are_those_of_numpy(said):
    np.testing.assert_allclose(said["percentiles"], np.percentile(trace(), PERCENTS), rtol=1e-15)
    assert said["middles"] == [np.median(trace()), np.median(trace()[1:])]
    assert said["rounded"] == [-2, -2, 0, 0, 2, 2, 0, -4]


def test_rates_are_bridged_by_the_same_fractions(said):
    for (rate, target), got in zip([(r, t) for r in RATES for t in TARGETS], said["routes"], strict=True):
        assert got == [[step.up, step.down] for step in route(rate, target)], (rate, target)


def test_resampling_is_pythons_at_every_rate(said):
    for (lead, target), got in zip(recorded(), said["resampled"], strict=True):
        want = resample(lead, target).values[0]
        np.testing.assert_allclose(numbers(got), want, atol=1e-6, rtol=0, err_msg=f"{lead.rate} to {target}")


@pytest.mark.parametrize("name", NAMES)
def test_r_peaks_rate_and_polarity_are_pythons_sample_for_sample(said, name):
    lead, got = strips()[name], said["beats"][name]
    peaks = r_peaks(lead)
    assert got["peaks"] == peaks.tolist()
    assert got["turned"] == inverted(lead, peaks)
    assert got["contrast"] == pytest.approx(contrast(lead), rel=1e-9)
    assert numbers([got["heart"]])[0] == pytest.approx(heart_rate(peaks, lead.rate), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_windows_are_refused_for_the_reasons_that_python_gives(said, name):
    want = [asdict(window) for window in windows(strips()[name])]
    got = said["windows"][name]
    assert [window["reason"] for window in got] == [window["reason"] for window in want]
    for one, other in zip(got, want, strict=True):
        assert one.keys() == other.keys()
        assert (one["ok"], one["inverted"]) == (other["ok"], other["inverted"])
        assert [one[key] for key in ("start", "stop")] == pytest.approx([other["start"], other["stop"]], abs=1e-12)
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)


def test_every_reason_stands_among_the_strips():
    seen = {window.reason for lead in strips().values() for window in windows(lead)}
    assert seen == {"", "short", "missing", "flat", "clipped", "lead off", "noise"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("which", "preparation"), [(0, "lead-v1"), (1, "ecgfounder-v1")])
def test_what_a_network_sees_is_what_python_prepares(said, name, which, preparation):
    got = said["prepared"][name][which]
    try:
        want = PREPARATIONS[preparation].apply(strips()[name])[0]
    except QualityError:
        assert "record longer" in got["error"]
        return
    assert len(got) == len(want) == PREPARATIONS[preparation].samples
    if name == "nothing":  # rounding errors alone
        assert np.abs(got).max() <= 1e-6 + np.abs(want).max() < 0.02
        return
    np.testing.assert_allclose(got, want, atol=1e-5 * float(want.std()), rtol=0)


@pytest.mark.parametrize("name", EXPLAINED)
def test_waves_are_bounded_and_shown_as_in_python(said, name):
    scene, got = Scene.of(strips()[name], PREPARATIONS["lead-v1"], Isoelectric(), True), said["scenes"][name]
    assert got["active"] == scene.active.tolist()
    np.testing.assert_allclose(numbers(np.ravel(got["times"])), scene.segments.times.ravel(), atol=1e-5)
    np.testing.assert_allclose(np.array(got["shares"]), scene.segments.windows, atol=1e-12)
    np.testing.assert_allclose(got["baseline"], scene.baseline, atol=1e-5)
    shown = scene.masked(coalitions(len(scene.active)))[:, 0]
    assert got["count"] == len(shown)
    kept = [int(part * (len(shown) - 1)) for part in KEPT]
    np.testing.assert_allclose(np.array(got["shown"]), shown[kept], atol=1e-5)


@pytest.mark.parametrize("name", [*EXPLAINED, "founder"])
def test_shapley_values_are_pythons_and_add_up(said, name):
    preparation = PREPARATIONS["ecgfounder-v1" if name == "founder" else "lead-v1"]
    lead, got = strips()[EXPLAINED[0] if name == "founder" else name], said["scenes"][name]
    want = explain(NETWORK, lead, preparation)
    size = np.abs(want.full).max()
    values, full, empty = (np.array(got[key]) for key in ("values", "full", "empty"))
    np.testing.assert_allclose(values, want.values, atol=1e-5 * size)
    np.testing.assert_allclose(full, want.full, atol=1e-5 * size)
    np.testing.assert_allclose(values.sum(axis=0), full - empty, atol=1e-12)
    np.testing.assert_allclose(got["curve"], want.curve[:, 1], atol=1e-5 * np.abs(want.curve).max())


def test_the_rhythm_plays_where_beats_are_uneven_and_only_there(said):
    assert 6 in said["scenes"]["uneven"]["active"]
    assert 6 not in said["scenes"]["upside down"]["active"]


def test_a_drawn_game_has_the_values_of_its_table(said):
    want = from_table(TABLE)
    np.testing.assert_allclose(np.array(said["game"]["values"]), want.values, atol=1e-14)
    np.testing.assert_array_equal(said["game"]["full"], want.full)


def test_what_cannot_be_is_refused_in_a_sentence(said):
    wanted = ("lead-v1, ecgfounder-v1; got lead-v2", "over 50 Hz; got 40 Hz", "positive rates", "two beats")
    for words, got in zip(wanted, said["refused"], strict=True):
        assert words in got["error"]


FORMATS = """
const { sniff } = await load("formats.js");
const { frame, joined, START } = await load("polar.js");
const tried = (work) => { try { return work(); } catch (error) { return { error: error.message, code: error.code }; } };
return {
  start: START,
  read: given.files.map(({ bytes, name, stated }) => tried(() => sniff(bytes, name, stated))),
  frame: frame(given.frame).values,
  torn: tried(() => frame(given.frame.slice(0, -1))),
  alone: tried(() => joined([frame(given.frame)])),
  leads: given.odd.map((bytes) => sniff(bytes, "a file", { rate: 250, unit: "mV" }).lead),
};
"""


def written(folder):
    """A file of every format, and what the person says of it."""
    lead = strips()["patient 0"].values[0][:3000].astype(float)
    gap = np.arange(3000) / 512.617
    gap[1700:] += 0.8
    made = {
        **{f"apple {key}": files.apple(folder / f"{key}.csv", lead, 512.844, language=key) for key in files.LANGUAGES},
        "apple mV": files.apple(folder / "mv.csv", lead, 511.422, unit="mV", decimals=6, end="\r\n", encoding="utf-16"),
        "apple minus": files.apple(folder / "minus.csv", lead, 512, language="de", minus="\u2212", quoted=True),
        "samsung": files.samsung(folder / "samsung.csv", lead),
        "atc": files.kardia_atc(folder / "kardia.atc", lead),
        "atc of lead II": files.kardia_atc(folder / "two.atc", lead, with_ecg=False, leads={"ecg2": lead}),
        "kardia": files.kardia_json(folder / "kardia.json", lead),
        "fitbit": files.fitbit(folder / "fitbit.json", lead),
        "google": files.fitbit(folder / "google.json", lead, google=True),
        "withings": files.withings(folder / "withings.json", lead),
        "withings chest": files.withings(folder / "chest.json", lead, wearposition=7, wrapped=False),
        "polar": files.polar_log(folder / "polar.txt", lead, 130.4, lost=(5, 6, 11), repeated=(3,), swapped=(8,)),
        "column": folder / "column.csv",
    }
    for layout in ("pairs", "value", "voltage", "dates", "bare"):
        path = folder / f"health {layout}.json"
        made[layout] = files.healthkit(path, lead, 512.617, layout=layout)
    made["health with a gap"] = files.healthkit(folder / "gap.json", lead, 512.617, times=gap)
    made["column"].write_text("I\n" + "\n".join(f"{value:.5f}" for value in lead))
    return made


def refused(folder):
    """Files that cannot be read, and words that must be in the sentence and the code of the error."""
    lead = strips()["patient 0"].values[0][:200]
    whole = files.kardia_atc(folder / "whole.atc", lead).read_bytes()
    column = "\n".join(f"{value:.4f}" for value in lead).encode()
    two = files.fitbit(folder / "two.json", lead, count=2).read_bytes()
    return [
        (column, {"unit": "mV"}, "sampling rate in Hz and states none", "rate"),
        (column, {"rate": 250}, "needs a unit (V, mV, µV or nV) and states none", "unit"),
        (column, {"rate": 250, "unit": "kg"}, "V, mV, µV or nV) and states kg", "unit"),
        (b"time,I\n" + b"\n".join(b"%d,%d" % (n, n) for n in range(50)), {}, "one number a line", ""),
        (whole[:-30], {}, "cut off", ""),
        (whole[:300] + b"\7" + whole[301:], {}, "damaged", ""),
        (two, {}, "one recording", ""),
        (b'{"a": [1, 2', {}, "damaged or cut off", ""),
        (b"PK\x03\x04 and more", {}, "archive", ""),
        (b"\x89PNG\r\n\x00\x00", {}, "none; export", ""),
        (b"", {}, "none; export", ""),
        (b"hello\nworld\n", {}, "number a line", ""),
    ]


@pytest.fixture(scope="session")
def told(tmp_path_factory):
    """What Python and the page read from every file, and what the page says of those that cannot be read."""
    folder = tmp_path_factory.mktemp("files")
    made, wrong = written(folder), refused(folder)
    stated = {"rate": 250.0, "unit": "mV"}
    given = [
        {"bytes": path.read_bytes(), "name": path.name, "stated": stated if name == "column" else {}}
        for name, path in made.items()
    ]
    given += [{"bytes": data, "name": "a file", "stated": says} for data, says, _, _ in wrong]
    frame = files.polar_frames(np.array([-1e-3, 0.0, 1.5, -8000.0, 8000.0]))[0]
    samples = b"\n0.1" * 20
    odd = [head.encode() + samples for head in ODD]
    answer = run(FORMATS, {"files": given, "frame": frame, "odd": odd}, folder)
    python = {name: read(path, **(stated if name == "column" else {})) for name, path in made.items()}
    return python, dict(zip(made, answer["read"], strict=False)), answer["read"][len(made) :], answer, wrong


ODD = {
    "Name,Ada Lovelace\nSample Rate,512 Hz": "I",  # of Apple's old form, which states neither unit nor lead
    "Name,Ada Lovelace\nUnit,mV": "not stated",
    "Name,Ada Lovelace\nDevice,Watch\nLead,Chest\nUnit,mV": "not stated",
    "Name,Elizabeth II\nSample Rate,512 Hz\nLead,Lead aVR\nUnit,uV": "aVR",
    "Lead II": "II",
    "0.1": "not stated",
}
FILES = (
    *(f"apple {language}" for language in files.LANGUAGES),
    *("apple mV", "apple minus", "samsung", "atc", "atc of lead II", "kardia", "fitbit", "google", "withings"),
    *("withings chest", "polar", "column", "pairs", "value", "voltage", "dates", "bare", "health with a gap"),
)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_to_the_same_samples_rate_and_lead(told, name):
    record, got = told[0][name], told[1][name]
    (signal,) = record.signals
    assert got.get("error") is None
    assert signal.unit == "mV"
    assert got["lead"] == signal.channels[0]
    assert got["rate"] == pytest.approx(signal.rate, rel=1e-12)
    np.testing.assert_array_equal(numbers(got["values"]).astype(np.float32), signal.values[0])
    assert got["classification"] == record.facts.get("classification", "")
    assert got["device"] == record.facts.get("device", "")
    when = None if got["when"] is None else datetime.fromisoformat(got["when"])
    assert when == record.when or abs(when - record.when) < timedelta(seconds=1)


def test_every_file_is_compared_and_some_have_gaps(told):
    assert set(told[0]) == set(FILES)
    assert [name for name in FILES if None in told[1][name]["values"]] == ["polar", "health with a gap"]


def test_no_name_birth_date_or_identifier_is_kept(told):
    for got in told[1].values():
        kept = " ".join(str(value) for key, value in got.items() if key != "values")
        assert not any(word in kept for word in ("Ada", "Lovelace", "1815", "AC6L", "rec-0815", "58E0A7D7"))


def test_a_lead_that_is_not_stated_is_not_taken_from_a_name(told):
    assert dict(zip(ODD, told[3]["leads"], strict=True)) == ODD


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(told):
    for got, (_, _, words, code) in zip(told[2], told[4], strict=True):
        assert words in got["error"]
        assert got["error"].startswith("a file: ")
        assert got["code"] == code


def test_a_frame_of_the_strap_is_three_bytes_a_sample_with_their_sign(told):
    answer = told[3]
    assert answer["start"] == [2, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0]
    assert answer["frame"] == [-0.001, 0, 1.5, -8000, 8000]
    assert "10 bytes and 3 a sample" in answer["torn"]["error"]
    assert "two frames in a row" in answer["alone"]["error"]
