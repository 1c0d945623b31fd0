"""AliveCor's .atc, against bytes worked out by hand and the layout that its specification shows."""

import struct

import numpy as np
import pytest
import wearable_files as worn
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import FormatError, RateError
from stethos.io import read

RATE = 300
TRACE = np.round(np.sin(np.arange(900) / 20) / 5, 4) + 0.0005


def test_a_strip_is_read_with_its_rate_its_start_and_the_recorder(tmp_path):
    record = read(worn.kardia_atc(tmp_path / "strip.atc", TRACE, RATE))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit) == (300, ("I",), "mV")
    np.testing.assert_allclose(signal.values[0], TRACE, atol=0.26e-3)  # half of a step of 500 nV
    assert record.when == worn.START.replace(microsecond=245_000)
    assert dict(record.facts) == {"device": "kardia_mobile"}


def test_bytes_written_by_hand_are_read(tmp_path):
    """Two blocks whose sums were added up by hand: 1 mV is 2000 steps of 500 nV."""
    coding = b"fmt " + bytes([8, 0, 0, 0, 1, 0x2C, 0x01, 0xF4, 0x01, 14, 0, 0])
    lead = b"ecg " + bytes([6, 0, 0, 0, 0xD0, 0x07, 0x30, 0xF8, 0x01, 0x00])
    sums = (359 + 8 + 1 + 0x2C + 1 + 0xF4 + 1 + 14, 335 + 6 + 0xD0 + 7 + 0x30 + 0xF8 + 1)
    blocks = coding + struct.pack("<I", sums[0]) + lead + struct.pack("<I", sums[1])
    (tmp_path / "x").write_bytes(b"ALIVE\0\0\0\x02\0\0\0" + blocks)
    signal = read(tmp_path / "x").signals[0]
    assert signal.rate == 300
    np.testing.assert_array_equal(signal.values[0], np.float32([1.0, -1.0, 0.0005]))


def test_the_files_of_these_tests_have_the_layout_of_the_specification(tmp_path):
    content = worn.kardia_atc(tmp_path / "x", np.zeros(9000)).read_bytes()
    assert content[:8] == bytes.fromhex("414c495645000000")
    assert (content[12:16], content[288:292], content[308:312]) == (b"info", b"fmt ", b"ecg ")
    assert struct.unpack_from("<HH", content, 297) == (300, 500)
    assert content[52:88] == b"58E0A7D7-EEBC-11D8-9669-0800200C9A66"
    assert struct.unpack_from("<I", content, 312) == (18_000,)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.integers(-32768, 32767), min_size=1, max_size=200),
    resolution=st.sampled_from([1, 500, 1000, 2441, 65535]),
    rate=st.integers(1, 65535),
)
def test_sixteen_bits_come_back_as_they_were(tmp_path_factory, steps, resolution, rate):
    folder = tmp_path_factory.mktemp("f")
    trace = np.array(steps) * resolution * 1e-6
    signal = read(worn.kardia_atc(folder / "x", trace, rate, resolution=resolution)).signals[0]
    assert signal.rate == rate
    np.testing.assert_array_equal(np.rint(signal.values[0].astype(float) / (resolution * 1e-6)), steps)


def test_six_leads_are_named_and_stand_together(tmp_path):
    leads = {f"ecg{n}": TRACE * n for n in range(2, 7)} | {"avg ": TRACE[:10]}
    (signal,) = read(worn.kardia_atc(tmp_path / "x", TRACE, RATE, leads=leads)).signals
    assert signal.channels == ("I", "II", "III", "aVR", "aVL", "aVF")
    np.testing.assert_allclose(signal.pick("aVF").values[0], TRACE * 6, atol=0.26e-3)
    chest = {f"ecg{n}": TRACE for n in "789abc"}
    assert read(worn.kardia_atc(tmp_path / "x", TRACE, RATE, leads=chest)).pick("V1", "V6").channels == ("V1", "V6")


def test_identifiers_are_dropped_unless_asked_for(tmp_path):
    path = worn.kardia_atc(tmp_path / "x", TRACE, RATE)
    kept = read(path, keep_identity=True).facts
    assert kept["device_data"] == "SN=AC6L100010,BAT=85"
    assert kept["recording"] == "58E0A7D7-EEBC-11D8-9669-0800200C9A66"
    assert set(kept) - set(read(path).facts) == {"recording", "phone", "model", "device_data"}


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"version": 6}, FormatError, "versions 2 to 5 of .atc are understood; this is 6"),
        ({"version": 1}, FormatError, "this is 1"),
        ({"with_ecg": False}, FormatError, "its blocks are info, fmt, ann"),
        ({"with_fmt": False}, FormatError, "needs a block fmt"),
        ({"rate": 0}, RateError, "a sampling rate of 0 Hz"),
    ],
)
def test_what_is_missing_or_impossible_is_said_in_a_sentence(tmp_path, options, kind, words):
    with pytest.raises(kind, match=words):
        read(worn.kardia_atc(tmp_path / "x", TRACE, **options))


def test_steps_of_nothing_and_other_codings_are_refused(tmp_path):
    for coding, words in ((struct.pack("<BHHBH", 1, 300, 0, 0, 0), "0 nV"), (b"\x02" + bytes(7), "format 2")):
        blocks = worn.atc_block("fmt ", coding) + worn.atc_block("ecg ", bytes(20))
        (tmp_path / "x").write_bytes(b"ALIVE\0\0\0\x05\0\0\0" + blocks)
        with pytest.raises(FormatError, match=words):
            read(tmp_path / "x")


def test_a_file_that_is_cut_off_says_where(tmp_path):
    content = worn.kardia_atc(tmp_path / "x", TRACE, RATE).read_bytes()
    (tmp_path / "x").write_bytes(content[:1000])
    with pytest.raises(FormatError, match="block 'ecg ' promises 1800 bytes, 684 are left; copy the file again"):
        read(tmp_path / "x")
    (tmp_path / "x").write_bytes(content[:10])
    with pytest.raises(FormatError, match="the file has 10 bytes"):
        read(tmp_path / "x")


@settings(max_examples=40, deadline=None)
@given(place=st.integers(12, 2000), change=st.integers(1, 255))
def test_any_byte_that_changes_is_noticed(tmp_path_factory, place, change):
    """Every byte behind the version stands in a block, and every block has its sum."""
    path = worn.kardia_atc(tmp_path_factory.mktemp("f") / "x", TRACE, RATE)
    content = bytearray(path.read_bytes())
    content[place] = (content[place] + change) % 256
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read(path)
