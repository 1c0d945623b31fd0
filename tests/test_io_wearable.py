from datetime import datetime

import numpy as np
import pytest

from stethos.errors import FormatError, RateError, UnitError
from stethos.io import read

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
