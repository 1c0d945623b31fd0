import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import wearable_files as worn
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ChannelError, FormatError, RateError, StethosError, UnitError
from stethos.io import inspect, read
from stethos.types import Record

VALUES = np.round(np.random.default_rng(0).normal(0, 300, 400), 3)

ENGLISH = [
    "Name,Ada Lovelace",
    'Date of Birth,"Jan 8, 2002"',
    "Recorded Date,2026-05-30 16:32:18 -0700",
    "Classification,Atrial Fibrillation",
    "Symptoms,",
    "Software Version,1.90",
    'Device,"Watch7,12"',
    "Sample Rate,512.844 hertz",
    "",
    "",
    "Lead,Lead I",
    "Unit,µV",
    "",
]
GERMAN = [
    "Name,Ada Lovelace",
    'Geburtstag,"08.01.2002"',
    "Aufzeichnungsdatum,2026-05-30 16:32:18 +0200",
    "Klassifizierung,Sinusrhythmus",
    "Symptome,",
    "Softwareversion,2.0",
    'Gerät,"Watch6,7"',
    "Messrate,512,844\u00a0Hertz",
    "",
    "Ableitung,Ableitung I",
    "Einheit,µV",
    "",
    "",
]
SAMSUNG = [
    "Created time,2024-02-03 04:05:06",
    "Average heart rate,71",
    "Classification,Sinus rhythm",
    "Symptoms,",
    "Software version,1.2",
    "Device,SM-R900",
    "Sampling rate,500.000 Hz",
    "",
    "Lead,Lead I",
    "Unit,mV",
    "",
]


def watch_file(folder, header, values=VALUES, *, comma=False, end="\n", encoding="utf-8", name="ecg.csv"):
    cells = [f"{value:.3f}".replace(".", "," if comma else ".") for value in values]
    text = end.join([*header, *cells]) + end
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_an_english_export_is_read_with_the_rate_it_states(tmp_path):
    record = read(watch_file(tmp_path, ENGLISH))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (512.844, ("I",), "mV")
    np.testing.assert_allclose(signal.values[0], VALUES / 1000, rtol=1e-6)
    assert record.when == datetime(2026, 5, 30, 16, 32, 18)
    assert dict(record.facts) == {"classification": "Atrial Fibrillation", "device": "Watch7,12"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_german_export_with_decimal_commas_is_read_alike(tmp_path, end, encoding):
    record = read(watch_file(tmp_path, GERMAN, comma=True, end=end, encoding=encoding))
    (signal,) = record.signals
    assert (signal.rate, signal.channels) == (512.844, ("I",))
    np.testing.assert_allclose(signal.values[0], VALUES / 1000, rtol=1e-6)
    assert record.facts["classification"] == "Sinusrhythmus"
    assert record.facts["device"] == "Watch6,7"


def test_the_signs_that_languages_use_are_minus_signs(tmp_path):
    path = watch_file(tmp_path, GERMAN, comma=True)
    path.write_text(path.read_text("utf-8").replace("\n-", "\n\u2212"), "utf-8")
    np.testing.assert_allclose(read(path).signals[0].values[0], VALUES / 1000, rtol=1e-6)


def test_millivolts_are_not_scaled(tmp_path):
    header = [line.replace("µV", "mV") for line in ENGLISH]
    np.testing.assert_allclose(read(watch_file(tmp_path, header)).signals[0].values[0], VALUES, rtol=1e-6)


def test_name_and_birth_date_are_dropped_unless_asked_for(tmp_path):
    path = watch_file(tmp_path, ENGLISH)
    assert set(read(path).facts) == {"classification", "device"}
    kept = read(path, keep_identity=True).facts
    assert (kept["name"], kept["birth_date"]) == ("Ada Lovelace", "Jan 8, 2002")


def test_an_empty_name_line_is_no_obstacle(tmp_path):
    record = read(watch_file(tmp_path, ["Name", *ENGLISH[1:]]), keep_identity=True)
    assert "name" not in record.facts or record.facts["name"] is None


def test_an_export_of_the_same_shape_by_another_maker_is_read(tmp_path):
    path = watch_file(tmp_path, SAMSUNG, encoding="utf-8-sig")
    path.write_bytes(path.read_bytes() + b",\n")
    record = read(path)
    assert (record.signals[0].rate, record.signals[0].values.shape) == (500.0, (1, 400))
    assert "name" not in read(path, keep_identity=True).facts


def test_the_old_form_in_pairs_needs_its_unit_declared(tmp_path):
    lines = ["Name,x", "Recorded Date,2026-07-18 08:14:03 +0200", "Sample Rate,512 Hz", "Lead,Voltage"]
    lines += [f"I,{value / 1000:.6f}" for value in VALUES]
    (tmp_path / "old.csv").write_text("\n".join(lines))
    with pytest.raises(UnitError, match="pass --unit mV"):
        read(tmp_path / "old.csv")
    signal = read(tmp_path / "old.csv", unit="mV").signals[0]
    np.testing.assert_allclose(signal.values[0], VALUES / 1000, atol=1e-6)


def test_a_header_without_rate_asks_for_it(tmp_path):
    path = watch_file(tmp_path, [line for line in ENGLISH if "hertz" not in line])
    with pytest.raises(RateError, match="pass --rate HZ"):
        read(path)
    assert read(path, rate=511.422).signals[0].rate == 511.422


def test_a_line_that_is_no_number_is_named_and_not_skipped(tmp_path):
    path = watch_file(tmp_path, ENGLISH)
    path.write_text(path.read_text("utf-8").replace(f"{VALUES[200]:.3f}", "12.3.4"), "utf-8")
    with pytest.raises(FormatError, match=r"must be one number; got '12\.3\.4'"):
        read(path)


def test_a_header_without_samples_is_refused(tmp_path):
    with pytest.raises(FormatError, match="needs one sample a line below its header; found 0"):
        read(watch_file(tmp_path, ENGLISH, values=[]))


# --- every language ------------------------------------------------------------------------------------------------

RATE = 512.844


def waves(rate: float, seconds: float) -> np.ndarray:
    """Lead I of a made-up heart at 72 beats a minute in mV: P, QRS and T as bells, and a slow drift."""
    t = np.arange(round(rate * seconds)) / rate
    phase = (t % (60 / 72)) - 0.3
    bells = [(-0.16, 0.02, 0.12), (0.0, 0.008, 1.1), (0.03, 0.01, -0.2), (0.25, 0.04, 0.3)]
    return sum(height * np.exp(-0.5 * ((phase - at) / wide) ** 2) for at, wide, height in bells) + 0.1 * np.sin(t)


TRACE = waves(RATE, 30)


def told(record: Record) -> str:
    """All that a record says, as one text."""
    return repr((record, dict(record.facts), [signal.channels for signal in record.signals]))


@pytest.mark.parametrize("minus", ["-", "\u2212"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("language", worn.LANGUAGES)
def test_thirty_seconds_in_any_language_are_the_waves_that_were_written(tmp_path, language, encoding, end, minus):
    options = {"language": language, "encoding": encoding, "end": end, "minus": minus}
    record = read(worn.apple(tmp_path / "ecg.csv", TRACE, RATE, **options))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (512.844, ("I",), "mV")
    assert signal.values.shape == (1, 15_385)
    assert signal.duration == pytest.approx(30, abs=1 / RATE)
    np.testing.assert_allclose(signal.values[0], TRACE, atol=0.51e-6)  # three decimals of a µV
    assert record.when == worn.START
    assert record.facts["device"] == "Watch7,12"
    assert record.facts["classification"] == worn.LANGUAGES[language][1]["rhythm"]


@pytest.mark.parametrize("language", worn.LANGUAGES)
def test_who_it_was_stands_nowhere_in_the_record_unless_asked_for(tmp_path, language):
    path = worn.apple(tmp_path / "ecg.csv", TRACE[:1000], RATE, language=language)
    assert not any(word in told(read(path)) for word in (worn.NAME, worn.BORN, "Lovelace", "1815"))
    kept = read(path, keep_identity=True).facts
    assert (kept["name"], kept["birth_date"]) == (worn.NAME, worn.BORN)


@pytest.mark.parametrize("unit", ["\u00b5V", "\u03bcV", "uV", "mV"])
def test_either_letter_for_micro_and_either_unit_are_the_same_strip(tmp_path, unit):
    signal = read(worn.apple(tmp_path / "ecg.csv", TRACE[:2000], RATE, unit=unit, decimals=6)).signals[0]
    assert signal.unit == "mV"
    np.testing.assert_allclose(signal.values[0], TRACE[:2000], atol=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        {"lead": "导联I"},
        {"lead": "I 导联"},
        {"lead": "Lead I"},
        {"lead": "\u200eI\u00a0導程"},
        {"hertz": "{} Hz"},
        {"hertz": "{} 赫兹"},
        {"hertz": "{}\u00a0hertz"},
        {"hertz": "{}\u202fHz."},
    ],
)
def test_other_words_for_lead_and_hertz_are_read_alike(tmp_path, words):
    signal = read(worn.apple(tmp_path / "ecg.csv", TRACE[:500], RATE, language="zh", words=words)).signals[0]
    assert (signal.rate, signal.channels) == (512.844, ("I",))


@pytest.mark.parametrize("language", ["en", "de"])
def test_samples_and_rates_in_quotes_are_read_alike(tmp_path, language):
    path = worn.apple(tmp_path / "ecg.csv", TRACE, RATE, language=language, quoted=True, decimals=2, minus="\u2212")
    signal = read(path).signals[0]
    assert signal.rate == 512.844
    np.testing.assert_allclose(signal.values[0], TRACE, atol=0.51e-5)  # two decimals of a µV


def test_a_rate_that_is_a_whole_number_and_one_that_is_not_are_both_kept(tmp_path):
    for rate in (512, 511.422):
        assert read(worn.apple(tmp_path / "ecg.csv", TRACE[:500], rate, language="fr")).signals[0].rate == rate


def test_a_person_who_is_called_the_second_or_the_third_is_no_lead(tmp_path):
    path = worn.apple(tmp_path / "ecg.csv", TRACE[:500], RATE, words={"lead": "导联 I"})
    path.write_text(path.read_text("utf-8").replace(worn.NAME, "Elizabeth II"), "utf-8")
    record = read(path)
    assert record.signals[0].channels == ("I",)
    assert "Elizabeth" not in told(record)


def test_a_lead_that_is_not_known_is_not_taken_for_lead_i(tmp_path):
    record = read(worn.apple(tmp_path / "ecg.csv", TRACE[:500], RATE, words={"lead": "Chest"}))
    assert record.signals[0].channels == ("Chest",)
    with pytest.raises(ChannelError, match="needs channel I; it has Chest"):
        record.pick("I")
    assert read(worn.apple(tmp_path / "ecg.csv", TRACE[:500], RATE, words={"lead": "Lead II"})).pick("II")


def test_a_letter_that_the_first_look_sees_in_part_is_no_obstacle(tmp_path):
    """The first look takes 65,536 bytes; here they end with the first of the three bytes of a minus sign."""
    path = worn.apple(tmp_path / "ecg.csv", -np.abs(TRACE), RATE, language="fr", minus="\u2212")
    pad = 65_535 - path.read_bytes().rfind("\u2212".encode(), 0, 65_536)
    path.write_text(path.read_text("utf-8").replace(worn.NAME, worn.NAME + "x" * pad), "utf-8")
    assert path.read_bytes()[65_535:65_538] == "\u2212".encode()
    assert read(path).signals[0].channels == ("I",)


def test_samples_with_an_exponent_are_numbers(tmp_path):
    path = worn.samsung(tmp_path / "ecg.csv", TRACE[:200])
    text = path.read_text("utf-8-sig").splitlines()
    text[20] = "-1.5E-4"
    path.write_text("\n".join(text), "utf-8-sig")
    assert read(path).signals[0].values[0, 20 - 11] == np.float32(-1.5e-4)


# --- Samsung -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_samsung_export_is_read_with_its_comma_at_the_end(tmp_path, end):
    trace = waves(500, 30)
    record = read(worn.samsung(tmp_path / "ecg.csv", trace, end=end))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit, signal.values.shape) == (500, ("I",), "mV", (1, 15_000))
    np.testing.assert_allclose(signal.values[0], trace, atol=0.6e-6)
    assert dict(record.facts) == {"classification": "Sinus rhythm", "device": "SM-R900"}
    assert record.when == worn.START


# --- all of them ---------------------------------------------------------------------------------------------------

SHORT = waves(300, 4)
FORMATS = {
    "watch": lambda path: worn.apple(path, SHORT, 300, language="de"),
    "samsung": lambda path: worn.samsung(path, SHORT, 300),
    "healthkit": lambda path: worn.healthkit(path, SHORT, 300),
    "healthkit dates": lambda path: worn.healthkit(path, SHORT, 300, layout="dates"),
    "atc": lambda path: worn.kardia_atc(path, SHORT, 300),
    "kardia": lambda path: worn.kardia_json(path, SHORT, 300),
    "fitbit": lambda path: worn.fitbit(path, SHORT, 300),
    "fitbit google": lambda path: worn.fitbit(path, SHORT, 300, google=True),
    "withings": lambda path: worn.withings(path, SHORT, 300),
    "polar": lambda path: worn.polar_log(path, SHORT, 130),
}


@pytest.mark.parametrize("suffix", ["", ".csv", ".json", ".atc", ".xml"])
@pytest.mark.parametrize("kind", FORMATS)
def test_the_content_tells_the_format_and_the_suffix_does_not(tmp_path, kind, suffix):
    path = FORMATS[kind](tmp_path / f"x{suffix}")
    found = inspect(path)
    assert found.format == kind.split()[0].replace("samsung", "watch")
    (channels,) = found.signals
    assert (channels.unit, channels.samples) == ("mV", len(SHORT))
    assert channels.rate == pytest.approx(130 if kind == "polar" else 300, rel=1e-4)
    assert found.quality
    np.testing.assert_allclose(read(path).signals[0].values[0], SHORT, atol=0.6e-3)


def test_no_format_tells_who_it_was(tmp_path):
    for kind, write in FORMATS.items():
        text = told(read(write(tmp_path / "x")))
        assert not any(word in text for word in (worn.NAME, worn.BORN, "AC6L100010", "58E0A7D7")), kind


@pytest.mark.parametrize("kind", FORMATS)
def test_a_rate_that_contradicts_the_file_is_refused(tmp_path, kind):
    with pytest.raises(RateError, match="--rate"):
        read(FORMATS[kind](tmp_path / "x"), rate=77)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_second_recording_that_is_not_there_is_refused(tmp_path, kind):
    path = FORMATS[kind](tmp_path / "x")
    assert read(path, recording=1).id == "x"
    with pytest.raises(FormatError, match="recording"):
        read(path, recording=2)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(FORMATS)), share=st.floats(0, 1))
def test_a_file_that_is_cut_off_anywhere_is_read_or_refused_in_our_own_words(tmp_path_factory, kind, share):
    path = FORMATS[kind](tmp_path_factory.mktemp("f") / "x")
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    assert "Lovelace" not in read_or_refused(path)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(FORMATS)), data=st.data())
def test_a_damaged_file_is_read_or_refused_in_our_own_words(tmp_path_factory, kind, data):
    path = FORMATS[kind](tmp_path_factory.mktemp("f") / "x")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 900) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    read_or_refused(path)


def read_or_refused(path: Path) -> str:
    """Read a file, or have it refused in one line, which is returned; anything else fails."""
    try:
        assert read(path).signals
    except StethosError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "\n" not in refusal
    return refusal


def test_a_long_recording_takes_no_longer_than_its_length_asks_for(tmp_path):
    """A header that is not understood asks for the longest run of numbers: ten times the lines, ten times the time."""

    def seconds(count: int) -> float:
        lines = ["Sample Rate,512 Hz", "Lead,Voltage", *["x"] * 3, *map(str, np.tile(TRACE, 8)[:count])]
        (tmp_path / "old.csv").write_text("\n".join(lines))
        start = time.process_time()
        read(tmp_path / "old.csv", unit="mV")
        return time.process_time() - start

    seconds(100)
    assert seconds(100_000) < 40 * max(seconds(10_000), 0.005)
