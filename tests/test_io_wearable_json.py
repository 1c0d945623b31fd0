"""JSON of Apple Health, Kardia, Fitbit, Google Health and Withings."""

import json
import warnings
from datetime import timedelta

import numpy as np
import pytest
import wearable_files as worn
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.cli import main
from stethos.errors import ChannelError, FormatError, RateError, UnitError
from stethos.io import inspect, read
from stethos.io.wearable_json import read_wearable_json

RATE = 512.617
TRACE = np.sin(np.arange(1500) / 30) * np.linspace(0.1, 1.2, 1500)


def write(folder, document):
    (folder / "x.json").write_text(json.dumps(document))
    return folder / "x.json"


# --- Apple Health --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["pairs", "value", "voltage", "dates", "bare"])
def test_every_layout_of_apple_health_gives_the_same_strip_in_millivolts(tmp_path, layout):
    record = read(worn.healthkit(tmp_path / "x", TRACE, RATE, layout=layout))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (RATE, ("I",), "mV")
    np.testing.assert_allclose(signal.values[0], TRACE, rtol=1e-6, atol=1e-9)
    assert dict(record.facts) == {"classification": "Atrial Fibrillation", "device": "Watch7,12"}
    assert record.when == worn.START.replace(microsecond=498_000)


@pytest.mark.parametrize(("unit", "steps"), [("V", 1), ("mV", 1e3), ("mcV", 1e6), ("µV", 1e6)])
def test_a_stated_unit_is_used(tmp_path, unit, steps):
    entries = [
        {"timeSinceSampleStart": n / RATE, "value": mv / 1000 * steps, "unit": unit} for n, mv in enumerate(TRACE)
    ]
    path = worn.healthkit(tmp_path / "x", TRACE, RATE, extra={"voltageMeasurements": entries})
    np.testing.assert_allclose(read(path).signals[0].values[0], TRACE, rtol=1e-6, atol=1e-9)


def test_the_layout_with_one_dictionary_in_another_is_read(tmp_path):
    entries = [
        {"timeSinceSampleStart": n / RATE, "harmonized": {"value": mv / 1000, "unit": "V"}}
        for n, mv in enumerate(TRACE)
    ]
    document = {
        "harmonized": {"samplingFrequency": RATE, "classification": "sinusRhythm"},
        "voltageMeasurements": entries,
    }
    record = read(write(tmp_path, document))
    assert record.facts["classification"] == "sinusRhythm"
    np.testing.assert_allclose(record.signals[0].values[0], TRACE, rtol=1e-6, atol=1e-9)


def test_microvolts_without_a_unit_are_not_taken_for_volts(tmp_path):
    path = worn.healthkit(tmp_path / "x", TRACE * 1e6, RATE)
    with pytest.raises(UnitError, match="V cannot be; pass --unit uV or --unit mV"):
        read(path)
    np.testing.assert_allclose(read(path, unit="uV").signals[0].values[0], TRACE, rtol=1e-6, atol=1e-9)


def test_a_unit_that_is_no_voltage_is_refused(tmp_path):
    path = worn.healthkit(tmp_path / "x", TRACE, RATE, layout="value")
    path.write_text(path.read_text().replace('"V"', '"count/min"'))
    with pytest.raises(UnitError, match="the file states count/min"):
        read(path)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), drift=st.floats(-0.004, 0.004))
def test_times_that_tremble_or_drift_a_little_leave_the_strip_as_it_is(tmp_path_factory, seed, drift):
    tremble = np.random.default_rng(seed).uniform(-0.33, 0.33, len(TRACE))
    times = (np.arange(len(TRACE)) + tremble) / RATE * (1 + drift)
    path = worn.healthkit(tmp_path_factory.mktemp("f") / "x", TRACE, RATE, times=times - times[0])
    signal = read(path).signals[0]
    assert signal.rate == RATE
    np.testing.assert_allclose(signal.values[0], TRACE, rtol=1e-6, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    at=st.lists(st.integers(10, len(TRACE) - 10), min_size=1, max_size=4, unique=True),
    size=st.integers(1, 300),
    layout=st.sampled_from(["pairs", "dates"]),
)
def test_where_times_jump_there_is_a_gap_of_that_length(tmp_path_factory, seed, at, size, layout):
    tremble = np.random.default_rng(seed).uniform(-0.1, 0.1, len(TRACE))
    number = np.arange(len(TRACE)) + sum(size * (np.arange(len(TRACE)) >= place) for place in at)
    path = worn.healthkit(
        tmp_path_factory.mktemp("f") / "x",
        TRACE,
        RATE,
        times=(number + tremble - tremble[0]) / RATE,
        layout=layout,
    )
    want = np.full(number[-1] + 1, np.nan)
    want[number] = TRACE
    record = read(path)
    np.testing.assert_allclose(record.signals[0].values[0], want, rtol=1e-6, atol=1e-9)
    assert record.facts["samples_missing"] == size * len(at)


def test_a_gap_is_said(tmp_path):
    times = np.arange(len(TRACE)) / RATE
    times[700:] += 0.5
    text = str(inspect(worn.healthkit(tmp_path / "x", TRACE, RATE, times=times)))
    assert "I: 0.499 s missing in 1 gaps" in text


def test_a_time_that_is_absent_costs_nothing(tmp_path):
    path = worn.healthkit(tmp_path / "x", TRACE, RATE, layout="value")
    document = json.loads(path.read_text())
    for number in (0, 5, 6, 700):
        document["voltageMeasurements"][number]["timeSinceSampleStart"] = None
    np.testing.assert_allclose(read(write(tmp_path, document)).signals[0].values[0], TRACE, rtol=1e-6, atol=1e-9)


def test_dates_to_the_second_tell_nothing_and_do_no_harm(tmp_path):
    path = worn.healthkit(tmp_path / "x", TRACE, RATE, layout="dates")
    document = json.loads(path.read_text())
    for entry in document["voltageMeasurements"]:
        entry["date"] = entry["date"].split(".")[0] + " -0700"
    np.testing.assert_allclose(read(write(tmp_path, document)).signals[0].values[0], TRACE, rtol=1e-6, atol=1e-9)


def test_times_out_of_order_are_refused(tmp_path):
    times = np.arange(len(TRACE)) / 500
    times[[300, 301]] = times[[301, 300]]
    with pytest.raises(FormatError, match=r"times must rise from sample to sample; sample 302 is at 0\.6 s, the one"):
        read(worn.healthkit(tmp_path / "x", TRACE, 500, times=times))


@pytest.mark.parametrize("true", [128.0, 250.0, 480.0, 500.0, 530.0, 1024.0])
def test_times_of_another_rate_are_refused(tmp_path, true):
    with pytest.raises(RateError, match="states 512 Hz and its times tell"):
        read(worn.healthkit(tmp_path / "x", TRACE, 512, times=np.arange(len(TRACE)) / true))


def test_a_jump_of_hours_is_no_gap(tmp_path):
    times = np.arange(len(TRACE)) / RATE
    times[700:] += 7200
    with pytest.raises(FormatError, match="times jump by 7200 s at sample 701"):
        read(worn.healthkit(tmp_path / "x", TRACE, RATE, times=times))


def test_a_missing_frequency_is_asked_for(tmp_path):
    path = worn.healthkit(tmp_path / "x", TRACE, RATE, extra={"samplingFrequency": None})
    with pytest.raises(RateError, match="pass --rate HZ"):
        read(path)
    assert read(path, rate=RATE).signals[0].rate == RATE


@pytest.mark.parametrize(
    "entries", [[[0, 0.1], [0.1]], [{"value": 1}, {"volt": 2}], [{"value": 1}, 3], [[0, "a"], [1, 2]], [], ["a"], [[]]]
)
def test_measurements_that_are_none_are_refused(tmp_path, entries):
    with pytest.raises(FormatError, match="export it again"):
        read(write(tmp_path, {"samplingFrequency": 500, "voltageMeasurements": entries}))


def test_the_owner_of_a_watch_is_named_only_where_asked_for(tmp_path):
    path = worn.healthkit(tmp_path / "x", TRACE, RATE)
    assert "device_name" not in read(path).facts
    assert read(path, keep_identity=True).facts["device_name"] == f"{worn.NAME}’s Apple Watch"


# --- Kardia --------------------------------------------------------------------------------------------------------


def test_kardia_is_read_raw_and_not_as_it_was_enhanced(tmp_path):
    record = read(worn.kardia_json(tmp_path / "x", TRACE, 300, leads={"leadII": 2 * TRACE, "AVR": -TRACE}))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (300, ("I", "II", "aVR"), "mV")
    np.testing.assert_allclose(signal.values, [TRACE, 2 * TRACE, -TRACE], atol=0.26e-3)
    assert dict(record.facts) == {"classification": "afib", "device": "kardia_mobile"}
    assert record.when == worn.START


def test_kardia_agrees_with_another_reader(tmp_path):
    ecgdatakit = pytest.importorskip("ecgdatakit")
    path = worn.kardia_json(tmp_path / "x.json", TRACE, 300, leads={"leadII": 2 * TRACE})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = ecgdatakit.FileParser().parse(path)
    ours = read(path).signals[0]
    assert [lead.label for lead in theirs.leads] == list(ours.channels)
    for lead, values in zip(theirs.leads, ours.values, strict=True):
        assert lead.sampling_rate == ours.rate
        assert lead.units == "mV"
        np.testing.assert_allclose(values, lead.samples, rtol=1e-6)


def test_a_kardia_file_without_a_step_is_refused(tmp_path):
    with pytest.raises(UnitError, match="needs amplitudeResolution"):
        read(write(tmp_path, {"data": {"raw": {"frequency": 300, "samples": {"leadI": [1, 2]}}}}))


def test_the_patient_of_a_kardia_file_is_named_only_where_asked_for(tmp_path):
    path = worn.kardia_json(tmp_path / "x", TRACE)
    assert "patient" not in read(path).facts
    assert read(path, keep_identity=True).facts["patient"] == f"patient of {worn.NAME}"


# --- Fitbit, Google Health, Withings -------------------------------------------------------------------------------


@pytest.mark.parametrize("google", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_fitbit_and_google_divide_by_the_stated_scale(tmp_path, google, listed):
    record = read(worn.fitbit(tmp_path / "x", TRACE, listed=listed, google=google))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (250, ("I",), "mV")
    np.testing.assert_allclose(signal.values[0], TRACE, atol=0.51 / 10922)
    assert dict(record.facts) == {"classification": "Normal Sinus Rhythm", "device": "Sense"}
    assert record.when.replace(microsecond=0) == worn.START


def test_one_millivolt_is_as_many_steps_as_stated(tmp_path):
    document = {"samplingFrequencyHz": "250", "scalingFactor": 10922, "waveformSamples": [10922, -5461, 0]}
    np.testing.assert_array_equal(read(write(tmp_path, document)).signals[0].values, [[1, -0.5, 0]])


def test_several_recordings_in_one_file_are_counted_and_chosen(tmp_path):
    path = worn.fitbit(tmp_path / "x.json", TRACE, count=3)
    with pytest.raises(FormatError, match="needs one recording and holds 3; say which with --recording 1 to 3"):
        read(path)
    for number in (1, 2, 3):
        record = read(path, recording=number)
        np.testing.assert_allclose(record.signals[0].values[0], TRACE / 2 ** (number - 1), atol=0.51 / 10922)
        assert (record.id, record.subject) == (f"x-{number}", "x")
        assert record.when.date() == (worn.START + timedelta(days=number - 1)).date()
    for number in (0, 4, -1):
        with pytest.raises(FormatError, match=f"holds recordings 1 to 3; --recording says {number}"):
            read(path, recording=number)


def test_one_of_several_recordings_is_inspected_by_its_number(tmp_path, capsys):
    path = worn.fitbit(tmp_path / "x.json", TRACE, count=3)
    for number in (1, 3):
        main(["inspect", str(path), "--recording", str(number)])
        day = worn.START + timedelta(days=number - 1)
        assert f"start {day:%Y-%m-%d}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "flags", "words"),
    [
        (3, (), "needs one recording and holds 3; say which with --recording 1 to 3"),
        (3, ("--recording", "4"), "holds recordings 1 to 3; --recording says 4; choose another"),
        (3, ("--recording", "0"), "holds recordings 1 to 3; --recording says 0; choose another"),
        (1, ("--recording", "2"), "holds recordings 1 to 1; --recording says 2; choose another"),
        (0, ("--recording", "2"), "of format arrays holds one recording; leave --recording 2 away"),
    ],
)
def test_a_recording_that_is_not_named_or_not_there_is_refused_in_a_sentence(tmp_path, capsys, count, flags, words):
    path = tmp_path / "x.npz"
    if count:
        worn.fitbit(path, TRACE, count=count)
    else:
        np.savez(path, I=TRACE, rate=250.0, unit="mV")
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(path), *flags])
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1)
    assert words in said


def test_fewer_samples_than_promised_are_refused(tmp_path):
    document = {"samplingFrequencyHz": 250, "scalingFactor": 1, "waveformSamples": [1], "numberOfWaveformSamples": 7700}
    with pytest.raises(FormatError, match="numberOfWaveformSamples is 7700, the file holds 1"):
        read(write(tmp_path, document))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"scalingFactor": 0}, UnitError, "needs scalingFactor"),
        ({"scalingFactor": None}, UnitError, "needs scalingFactor"),
        ({"samplingFrequencyHz": None}, RateError, "pass --rate HZ"),
        ({"samplingFrequencyHz": "fast"}, FormatError, "must be a number"),
        ({"samplingFrequencyHz": True}, FormatError, "must be a number"),
        ({"samplingFrequencyHz": 0}, RateError, "positive"),
        ({"leadNumber": 2}, FormatError, "leadNumber is 2"),
        ({"waveformSamples": [10**400]}, FormatError, "list of numbers"),
        ({"waveformSamples": [[1], [2, 3]]}, FormatError, "list of numbers"),
        ({"waveformSamples": []}, FormatError, "list of numbers"),
    ],
)
def test_a_recording_that_lacks_something_says_what(tmp_path, change, kind, words):
    document = {"samplingFrequencyHz": "250", "scalingFactor": 10922, "waveformSamples": [1, 2, 3]}
    with pytest.raises(kind, match=words):
        read(write(tmp_path, document | change))


def test_null_is_a_missing_sample(tmp_path):
    document = {"samplingFrequencyHz": 250, "scalingFactor": 1, "waveformSamples": [1, None, 3]}
    np.testing.assert_array_equal(read(write(tmp_path, document)).signals[0].values, [[1, np.nan, 3]])


@pytest.mark.parametrize("wrapped", [False, True])
def test_withings_is_in_microvolts(tmp_path, wrapped):
    record = read(worn.withings(tmp_path / "x", TRACE, 300, wrapped=wrapped))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (300, ("I",), "mV")
    np.testing.assert_allclose(signal.values[0], TRACE, atol=0.51e-3)
    assert dict(record.facts) == {"wear_position": 1.0}


def test_a_withings_recorder_at_the_chest_is_not_lead_i(tmp_path):
    record = read(worn.withings(tmp_path / "x", TRACE, wearposition=12))
    with pytest.raises(ChannelError, match="needs channel I; it has wear position 12"):
        record.pick("I")


# --- JSON that is something else -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ('{"samples": [1, 2]}', "JSON with samples; of JSON these are understood: Apple Health .*Kardia.*Withings"),
        ("{}", "JSON with nothing"),
        ('[{"a": 1}]', "JSON with a list of 1"),
        ('{"signal": [1, 2, 3]}', "JSON with signal"),
        ('{"status": 0, "body": {"series": []}}', "JSON with status, body"),
        ('{"waveformSamples": [1, 2', r"JSON that is damaged or cut off \(Expecting"),
        ("[" * 100_000, "JSON, nested too deeply"),
        ('{"a":' * 30 + "1" + "}" * 30, "JSON with a;"),
    ],
)
def test_json_of_another_kind_is_refused_with_what_is_understood(tmp_path, content, seen):
    (tmp_path / "x").write_text(content)
    with pytest.raises(FormatError, match=f"unknown format; it looks like {seen}"):
        read(tmp_path / "x")


def test_the_reader_itself_refuses_json_of_another_kind(tmp_path):
    with pytest.raises(FormatError, match="it looks like JSON with a"):
        read_wearable_json(write(tmp_path, {"a": 1}))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_with_a_mark_of_its_encoding_is_read(tmp_path, encoding):
    path = worn.withings(tmp_path / "x", TRACE)
    path.write_text(path.read_text(), encoding)
    assert read(path).signals[0].rate == 300
