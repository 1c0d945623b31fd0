import base64
import binascii
import logging
import struct
from datetime import datetime

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

from stethos.errors import FormatError, MissingExtraError, StethosError, UnitError
from stethos.io import read

STEPS = np.random.default_rng(0).integers(-300, 300, (2, 500)).astype("<i2")  # (leads, samples), 4.88 µV each
MILLIVOLT = STEPS * 0.00488
MUSE_LEAD = (
    "<LeadData><LeadID>{name}</LeadID><LeadByteCountTotal>{size}</LeadByteCountTotal>{scale}"
    "<LeadSampleSize>2</LeadSampleSize><WaveFormData>{data}</WaveFormData></LeadData>"
)


def muse_waveform(kind, steps, scale):
    leads = [
        MUSE_LEAD.format(name=name, size=row.nbytes, scale=scale, data=base64.b64encode(row.tobytes()).decode())
        for name, row in zip(("I", "II"), steps, strict=True)
    ]
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>500</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{''.join(leads)}</Waveform>"
    )


def muse(folder, *, scaled=True):
    scale = (
        "<LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
    )
    scale = scale if scaled else ""
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG>'
        "<PatientDemographics><PatientID>77</PatientID><PatientLastName>Lovelace</PatientLastName>"
        "<PatientFirstName>Ada</PatientFirstName><DateofBirth>12-10-1915</DateofBirth></PatientDemographics>"
        "<TestDemographics><AcquisitionDevice>MAC55</AcquisitionDevice><AcquisitionTime>10:20:30</AcquisitionTime>"
        "<AcquisitionDate>06-05-2019</AcquisitionDate></TestDemographics>"
        f"{muse_waveform('Median', STEPS[:, :100] * 0 + 7, scale)}{muse_waveform('Rhythm', STEPS, scale)}</RestingECG>"
    )
    (folder / "muse").write_text(text, encoding="latin-1")
    return folder / "muse"


def aecg(folder):
    leads = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{name}"/><value xsi:type="SLIST_PQ">'
        f'<origin value="0" unit="uV"/><scale value="4.88" unit="uV"/><digits>{" ".join(map(str, row))}</digits>'
        "</value></sequence></component>"
        for name, row in zip(("I", "AVR"), STEPS.tolist(), strict=True)
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><effectiveTime><low value="20190605102030.000"/>'
        '<high value="20190605102031"/></effectiveTime><component><series><code code="RHYTHM"/><component>'
        '<sequenceSet><component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        '<head value="20190605102030.000"/><increment value="0.00195" unit="s"/></value></sequence></component>'
        f"{leads}</sequenceSet></component></series></component></AnnotatedECG>"
    )
    (folder / "aecg").write_text(text)
    return folder / "aecg"


def philips(folder):
    samples = " ".join(map(str, STEPS.reshape(-1).tolist()))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><restingecgdata xmlns="http://www3.medical.philips.com">'
        "<documentinfo><documenttype>SierraECG</documenttype><documentversion>1.03</documentversion></documentinfo>"
        '<dataacquisition date="2019-06-05" time="10:20:30"><signalcharacteristics><samplingrate>500</samplingrate>'
        "<resolution>4.88</resolution><signalsigned>true</signalsigned></signalcharacteristics></dataacquisition>"
        '<waveforms><parsedwaveforms durationperchannel="1000" dataencoding="Plain" numberofleads="2" '
        f'leadlabels="I II">{samples}</parsedwaveforms></waveforms></restingecgdata>'
    )
    (folder / "philips").write_text(text)
    return folder / "philips"


def scp_section(number, body):
    body += b"\0" * (len(body) % 2)
    head = struct.pack("<HIBB6x", number, 16 + len(body), 20, 20)
    return _with_crc(head + body)


def _with_crc(content):
    return struct.pack("<H", binascii.crc_hqx(content, 0xFFFF)) + content


def scp(folder, *, starts=(1, 1)):
    who = b"\x00\x09\x00Lovelace\0" + b"\x19\x04\x00" + struct.pack("<HBB", 2019, 6, 5)
    who += b"\x1a\x03\x00" + bytes([10, 20, 30]) + b"\xff\0\0"
    leads = struct.pack("<BB", 2, 0x04 | (2 << 3))
    leads += b"".join(struct.pack("<IIB", s, s + 499, code) for s, code in zip(starts, (1, 2), strict=True))
    rhythm = struct.pack("<HHBBHH", 4880, 2000, 0, 0, 1000, 1000) + STEPS.tobytes()
    parts = {1: scp_section(1, who), 3: scp_section(3, leads), 6: scp_section(6, rhythm)}
    at = 7 + 16 + 10 * 4
    pointers = struct.pack("<HII", 0, at - 7, 7)
    for number, part in parts.items():
        pointers += struct.pack("<HII", number, len(part), at)
        at += len(part)
    body = scp_section(0, pointers) + b"".join(parts.values())
    (folder / "scp").write_bytes(_with_crc(struct.pack("<I", 6 + len(body)) + body))
    return folder / "scp"


def dicom_channel(name):
    channel, source, unit = Dataset(), Dataset(), Dataset()
    source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = "5.6.3-9-1", "SCPECG", name
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
    channel.ChannelSourceSequence = [source]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "4.88", "1", "0"
    channel.ChannelSensitivityUnitsSequence = [unit]
    channel.WaveformBitsStored = 16
    return channel


def dicom_group(label, steps):
    group = Dataset()
    group.MultiplexGroupLabel, group.WaveformOriginality = label, "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = steps.shape
    group.SamplingFrequency, group.WaveformBitsAllocated, group.WaveformSampleInterpretation = "500", 16, "SS"
    group.ChannelDefinitionSequence = [dicom_channel("Lead I (Einthoven)"), dicom_channel("aVR")]
    group.WaveformData = steps.T.astype("<i2").tobytes()
    return group


def dicom(folder):
    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = TwelveLeadECGWaveformStorage, generate_uid(), "ECG"
    file.PatientName, file.PatientID, file.PatientBirthDate = "Lovelace^Ada", "77", "19151210"
    file.AcquisitionDateTime, file.Manufacturer = "20190605102030.5", "Acme"
    file.WaveformSequence = [dicom_group("MEDIAN BEAT", STEPS[:, :60] * 0 + 7), dicom_group("RHYTHM", STEPS)]
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    pydicom.dcmwrite(folder / "dicom", file, enforce_file_format=True)
    return folder / "dicom"


@pytest.mark.parametrize(
    ("write", "rate", "names"),
    [
        (muse, 500, ("I", "II")),
        (aecg, 1 / 0.00195, ("I", "aVR")),
        (philips, 500, ("I", "II")),
        (scp, 500, ("I", "II")),
        (dicom, 500, ("I", "aVR")),
    ],
)
def test_the_rhythm_strip_is_read_in_millivolts_at_its_rate(tmp_path, write, rate, names):
    record = read(write(tmp_path))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (pytest.approx(rate), names, "mV")
    np.testing.assert_allclose(signal.values, MILLIVOLT, atol=1e-6)
    assert record.when is not None
    assert record.when.replace(microsecond=0) == datetime(2019, 6, 5, 10, 20, 30)


@pytest.mark.parametrize("write", [muse, scp, dicom])
def test_the_person_is_dropped_unless_asked_for(tmp_path, write):
    path = write(tmp_path)
    assert set(read(path).facts) <= {"device"}
    assert "Lovelace" in str(read(path, keep_identity=True).facts["name"])


def test_samples_without_a_scale_need_their_unit_declared(tmp_path):
    path = muse(tmp_path, scaled=False)
    with pytest.raises(UnitError, match="whose scale the file does not state; pass --unit mV"):
        read(path)
    np.testing.assert_allclose(read(path, unit="a.u.").signals[0].values, STEPS)


def test_leads_that_begin_later_stay_where_they_were_in_time(tmp_path):
    first, second = read(scp(tmp_path, starts=(1, 501))).signals
    assert (first.channels, second.channels) == (("I",), ("II",))
    assert np.isnan(second.values[0, :500]).all()
    np.testing.assert_allclose(second.values[0, 500:], MILLIVOLT[1], atol=1e-6)


def test_a_wrong_checksum_is_logged(tmp_path, caplog):
    path = scp(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "stethos"):
        read(path)
    assert "CRC mismatch" in caplog.text


def test_a_dicom_image_is_no_waveform(tmp_path):
    path = dicom(tmp_path)
    file = pydicom.dcmread(path)
    del file.WaveformSequence
    file.save_as(path)
    with pytest.raises(FormatError, match="a DICOM file without a waveform"):
        read(path)


@pytest.mark.parametrize(("write", "package"), [(muse, "ecgdatakit"), (dicom, "pydicom")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, write, package):
    path = write(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf'needs {package}; install it with: pip install "stethos\[clinical\]"'
    ):
        read(path)


def test_an_xml_bomb_is_refused(tmp_path):
    entities = '<!DOCTYPE RestingECG [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    text = muse(tmp_path).read_text("latin-1").replace('<!DOCTYPE RestingECG SYSTEM "restecg.dtd">', entities)
    (tmp_path / "muse").write_text(text, "latin-1")
    with pytest.raises(FormatError, match="not readable"):
        read(tmp_path / "muse")


@pytest.mark.parametrize("write", [muse, aecg, philips, scp, dicom])
def test_damaged_clinical_files_are_read_or_refused_with_our_own_error(tmp_path, write):
    path = write(tmp_path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for trial in range(25):
        content = bytearray(whole)
        for _ in range(3):
            content[random.integers(len(content) if trial % 2 else 600)] = random.integers(256)
        path.write_bytes(content[: len(content) // 2] if trial % 5 == 0 else content)
        try:
            assert read(path).signals
        except StethosError:
            continue
