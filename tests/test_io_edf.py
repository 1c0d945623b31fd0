from datetime import date, datetime, time

import edfio
import numpy as np
import pytest

from stethos.errors import FormatError
from stethos.io import read


def channel(values, rate, label, unit, span):
    return edfio.EdfSignal(
        np.asarray(values, float), rate, label=label, physical_dimension=unit, physical_range=(-span, span)
    )


def edf_file(folder, *signals, **known):
    file = edfio.Edf(list(signals), **known)
    file.write(folder / "x.edf")
    return folder / "x.edf"


def test_several_rates_are_several_signals_and_microvolts_are_millivolts(tmp_path):
    wave = np.random.default_rng(0).uniform(-900, 900, 1000)
    pulse = np.linspace(0, 90, 250)
    path = edf_file(tmp_path, channel(wave, 500, "ECG I", "uV", 1000), channel(pulse, 125, "Pleth", "%", 100))
    ecg, ppg = read(path).signals
    assert (ecg.rate, ecg.unit, ecg.channels) == (500, "mV", ("I",))
    assert (ppg.rate, ppg.unit, ppg.channels) == (125, "%", ("PLETH",))
    np.testing.assert_allclose(ecg.values[0], wave / 1000, atol=2000 / 65535 / 1000)
    np.testing.assert_allclose(ppg.values[0], pulse, atol=200 / 65535)


def test_the_person_is_dropped_unless_asked_for_and_the_start_is_kept(tmp_path):
    path = edf_file(
        tmp_path,
        channel(np.zeros(500), 500, "I", "mV", 5),
        patient=edfio.Patient(name="Ada_L", birthdate=date(1951, 2, 3), code="P7"),
        recording=edfio.Recording(startdate=date(2024, 3, 5)),
        starttime=time(12, 30, 1),
    )
    record = read(path)
    assert record.when == datetime(2024, 3, 5, 12, 30, 1)
    assert dict(record.facts) == {}
    kept = read(path, keep_identity=True).facts
    assert dict(kept) == {"name": "Ada_L", "patient_code": "P7", "birth_date": "1951-02-03"}


def test_annotations_are_no_channel(tmp_path):
    path = edf_file(
        tmp_path, channel(np.zeros(500), 500, "I", "mV", 5), annotations=[edfio.EdfAnnotation(0.1, None, "beat")]
    )
    assert read(path).signals[0].channels == ("I",)


def test_a_truncated_file_says_what_was_promised(tmp_path):
    path = edf_file(tmp_path, channel(np.zeros(5000), 500, "I", "mV", 5), data_record_duration=1)
    path.write_bytes(path.read_bytes()[:-2500])
    with pytest.raises(FormatError, match=r"x\.edf: not a readable EDF file .*(Incomplete|records)"):
        read(path)


def test_microvolts_with_the_greek_letter_are_read(tmp_path):
    path = edf_file(tmp_path, channel(np.full(500, 900.0), 500, "I", "uV", 1000))
    path.write_bytes(path.read_bytes().replace(b"uV", b"\xb5V", 1))
    (signal,) = read(path).signals
    assert signal.unit == "mV"
    assert signal.values.max() == pytest.approx(0.9, abs=1e-4)
