"""Sounds: samples of full scale from every coding, one sentence for every file that does not keep its promise."""

import json
import re
import struct
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from stethos.errors import FormatError, RateError, StethosError, UnitError
from stethos.io import inspect, read
from stethos.io.container import container_of
from stethos.io.sound import read_sound, sound_header, write_sound
from stethos.io.wfdb import write_wfdb
from stethos.types import Record, Signal

NOISE = np.clip(np.random.default_rng(0).normal(0, 0.2, (2, 1000)), -0.99, 0.99)  # (C, T)
TONES = 0.5 * np.sin(2 * np.pi * np.array([[440.0], [660.0]]) * np.arange(1000) / 8000)
STEP = 2.0**-15

# coding → largest difference that it may make, in fractions of full scale; None: it is made for tones, not for noise
EXACT = {
    ("WAV", "PCM_U8"): 2.0**-7,
    ("WAV", "PCM_16"): STEP,
    ("WAV", "PCM_24"): 2.0**-23,
    ("WAV", "PCM_32"): 1e-7,
    ("WAV", "FLOAT"): 1e-7,
    ("WAV", "DOUBLE"): 1e-7,
    ("WAV", "ULAW"): 0.02,
    ("WAV", "ALAW"): 0.02,
    ("WAV", "IMA_ADPCM"): None,
    ("WAV", "MS_ADPCM"): None,
    ("WAVEX", "PCM_24"): 2.0**-23,
    ("RF64", "PCM_16"): STEP,
    ("FLAC", "PCM_16"): STEP,
    ("FLAC", "PCM_24"): 2.0**-23,
    ("AIFF", "PCM_S8"): 2.0**-7,
    ("AIFF", "PCM_16"): STEP,
    ("AIFF", "FLOAT"): 1e-7,
    ("OGG", "VORBIS"): None,
}


def written(path, values, kind="WAV", coding="PCM_16", rate=16000, comment="", endian=None):
    """A file by another hand than ours; values are `(C, T)`."""
    shape = {"samplerate": rate, "channels": len(values), "format": kind, "subtype": coding, "endian": endian}
    with path.open("wb") as out, soundfile.SoundFile(out, "w", **shape) as file:
        if comment:
            file.comment = comment
        file.write(np.asarray(values).T)
    return path


def sound(values, rate=16000.0):
    values = np.atleast_2d(np.asarray(values, np.float32))
    return Signal(values, rate, tuple(str(n + 1) for n in range(len(values))), "1")


@pytest.mark.parametrize(("kind", "coding"), EXACT)
def test_every_coding_is_read_in_fractions_of_full_scale(tmp_path, kind, coding):
    values = NOISE if EXACT[kind, coding] else TONES
    record = read(written(tmp_path / "x", values, kind, coding, rate=8000))
    (signal,) = record.signals
    assert (signal.rate, signal.channels, signal.unit, record.origin) == (8000.0, ("1", "2"), "1", "real")
    assert record.facts["encoding"] == coding
    if limit := EXACT[kind, coding]:
        assert signal.values.shape == values.shape
        assert np.abs(signal.values - values).max() <= limit
    else:
        assert np.corrcoef(signal.values[:, :1000].ravel(), values.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("coding", ["GSM610", "G721_32"])
def test_codings_of_one_slow_channel_are_read_too(tmp_path, coding):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3200) / 8000)[None]
    (signal,) = read(written(tmp_path / "x.wav", tone, "WAV", coding, rate=8000)).signals
    assert np.corrcoef(signal.values[0, 200:3000], tone[0, 200:3000])[0, 1] > 0.9


def test_big_endian_wav_is_read(tmp_path):
    path = written(tmp_path / "x.wav", NOISE, endian="BIG")
    assert path.read_bytes().startswith(b"RIFX")
    assert np.abs(read(path).signals[0].values - NOISE).max() <= STEP


def test_two_other_readers_hear_the_same(tmp_path):
    path = written(tmp_path / "x.wav", NOISE)
    rate, theirs = wavfile.read(path)  # (T, C)
    with wave.open(str(path)) as file:
        raw = np.frombuffer(file.readframes(1000), "<i2").reshape(-1, 2)
    (signal,) = read(path).signals
    assert rate == signal.rate
    np.testing.assert_array_equal(signal.values * 32768, theirs.T)
    np.testing.assert_array_equal(theirs, raw)


@pytest.mark.parametrize("suffix", ["", ".csv", ".raw", ".vox", ".flac", ".WAV"])
@pytest.mark.parametrize("kind", ["WAV", "RF64", "FLAC", "OGG", "AIFF"])
def test_the_content_decides_the_format_and_not_the_suffix(tmp_path, kind, suffix):
    coding = "VORBIS" if kind == "OGG" else "PCM_16"
    assert read(written(tmp_path / f"x{suffix}", NOISE, kind, coding)).signals[0].values.shape == NOISE.shape


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "FLAC", "OGG", "AIFF"])
def test_a_file_says_in_its_comment_that_it_is_synthetic(tmp_path, kind):
    coding = "VORBIS" if kind == "OGG" else "PCM_16"
    said = {"origin=synthetic": "synthetic", "take 3; origin=generated": "generated", "origin=moon": "real"}
    said |= {"no_origin=synthetic": "real", "": "real"}
    for comment, origin in said.items():
        path = written(tmp_path / "x", NOISE, kind, coding, comment=comment)
        assert read(path).origin == origin
        assert sound_header(path).origin == origin


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50),
    rate=st.sampled_from([8000, 16000, 44100, 192000]),
    origin=st.sampled_from(["real", "synthetic", "generated"]),
)
def test_what_is_written_comes_back_within_one_step(tmp_path_factory, values, rate, origin):
    path = tmp_path_factory.getbasetemp() / "step.wav"
    write_sound(sound([values, values[::-1]], rate), path, origin)
    record = read_sound(path)
    assert (record.origin, record.signals[0].rate) == (origin, rate)
    np.testing.assert_allclose(record.signals[0].values, [values, values[::-1]], rtol=0, atol=STEP)
    write_sound(record, path, origin)  # a second time nothing changes any more
    np.testing.assert_array_equal(read_sound(path).signals[0].values, record.signals[0].values)


@settings(deadline=None)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_what_is_too_loud_is_clipped_and_never_wraps(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "loud.wav"
    write_sound(sound(values), path, "synthetic")
    (got,) = read_sound(path).signals[0].values
    np.testing.assert_allclose(got, np.clip(values, -1, 1 - STEP), rtol=0, atol=STEP)


def test_a_written_sound_is_an_ordinary_wav_with_a_list_of_facts(tmp_path):
    write_sound(Record("s", "s", (sound(NOISE),)), tmp_path / "new" / "x.wav", "synthetic")
    content = (tmp_path / "new" / "x.wav").read_bytes()
    assert content[:4] + content[8:12] == b"RIFFWAVE"
    assert content.index(b"INFOICMT") < content.index(b"data")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.wav"]
    rate, values = wavfile.read(tmp_path / "new" / "x.wav")
    assert (rate, values.shape, values.dtype) == (16000, (1000, 2), np.int16)


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        (sound([0.0], rate=16000.5), RateError, "whole number of Hz"),
        (Signal(np.zeros((1, 5)), 500, ("I",), "mV"), UnitError, "got mV"),
        (sound([0.0, np.nan]), FormatError, "missing samples"),
        (sound([]), FormatError, "got 1 of 0 samples"),
        (Record("s", "s", ()), FormatError, "got none"),
        (Record("s", "s", (sound([0.0]), sound([0.0], 8000))), FormatError, "got 2"),
    ],
)
def test_what_no_wav_can_hold_is_not_written(tmp_path, what, error, words):
    with pytest.raises(error, match=words):
        write_sound(what, tmp_path / "x.wav", "real")
    assert list(tmp_path.iterdir()) == []


# --- files that do not keep their promise ----------------------------------------------------------------------


def test_a_text_that_is_called_wav_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text("Sorry, this recording has been removed.")
    with pytest.raises(FormatError, match="unknown format; it begins with b'Sorry"):
        read(tmp_path / "a.wav")
    with pytest.raises(FormatError, match="not a sound; it begins with b'Sorry"):
        read_sound(tmp_path / "a.wav")


def test_an_empty_file_and_one_without_frames_are_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(FormatError, match="not a sound; it is empty"):
        read_sound(tmp_path / "a.wav")
    with pytest.raises(FormatError, match="holds 0 frames; record or export it again"):
        read(written(tmp_path / "a.wav", NOISE[:, :0]))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FormatError, match=r"cannot be read \(No such file"):
        read_sound(tmp_path / "nothere.wav")
    with pytest.raises(FormatError, match=r"cannot be read \(Is a directory"):
        sound_header(tmp_path)


@pytest.mark.parametrize(
    ("kind", "coding", "frame", "unit"),
    [
        ("WAV", "PCM_16", 4, "frames"),
        ("WAV", "PCM_24", 6, "frames"),
        ("WAV", "DOUBLE", 16, "frames"),
        ("WAVEX", "PCM_16", 4, "frames"),
        ("RF64", "PCM_16", 4, "frames"),
        ("AIFF", "PCM_16", 4, "frames"),
        ("AIFF", "FLOAT", 8, "frames"),
        ("WAV", "MS_ADPCM", 1, "bytes of sound"),
        ("AIFF", "ULAW", 1, "bytes of sound"),
    ],
)
def test_a_cut_off_copy_says_how_much_was_promised_and_how_much_came(tmp_path, kind, coding, frame, unit):
    whole = written(tmp_path / "x", NOISE, kind, coding).read_bytes()
    cut = whole[: len(whole) - 10 * frame]
    (tmp_path / "cut").write_bytes(cut)
    with pytest.raises(
        FormatError, match=rf"header promises (\d+) {unit}, the file holds (\d+); copy it again"
    ) as said:
        read(tmp_path / "cut")
    promised, held = (int(number) for number in re.findall(rf"promises (\d+) {unit}.* (\d+);", str(said.value))[0])
    assert promised - held == 10
    assert promised == 1000 or unit != "frames"


def test_even_half_a_frame_less_is_less(tmp_path):
    whole = written(tmp_path / "x.wav", NOISE).read_bytes()
    (tmp_path / "x.wav").write_bytes(whole[:-1])
    with pytest.raises(FormatError, match="promises 1000 frames, the file holds 999"):
        read(tmp_path / "x.wav")


@pytest.mark.parametrize(("kind", "coding"), [("FLAC", "PCM_16"), ("OGG", "VORBIS")])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_cut_off_stream_is_refused(tmp_path, kind, coding, share):
    whole = written(tmp_path / "x", np.tile(NOISE, 20), kind, coding).read_bytes()
    (tmp_path / "x").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FormatError, match="again"):
        read(tmp_path / "x")


def test_a_flac_stream_of_unknown_length_is_refused(tmp_path):
    path = written(tmp_path / "x.flac", NOISE, "FLAC")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits after the sample size count the samples; 0: unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="does not say how long it is"):
        read(path)


def test_chunks_behind_the_sound_are_no_sound(tmp_path):
    path = written(tmp_path / "x.wav", NOISE)
    content = bytearray(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"adtl")
    content[4:8] = struct.pack("<I", len(content) - 8)
    path.write_bytes(content)
    assert read(path).signals[0].values.shape == (2, 1000)


def test_a_recorder_that_could_not_go_back_to_its_header_is_believed(tmp_path):
    path = written(tmp_path / "x.wav", NOISE)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert read(path).signals[0].values.shape == (2, 1000)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_counted_and_refused(tmp_path, wrong):
    values = NOISE.copy()
    values[1, 3:6] = wrong
    with pytest.raises(FormatError, match="3 of 2000 samples are no numbers"):
        read(written(tmp_path / "x.wav", values, coding="FLOAT"))


@settings(max_examples=150, deadline=None)
@given(start=st.sampled_from([b"RIFF\0\0\0\0WAVE", b"RF64\xff\xff\xff\xffWAVE", b"FORM\0\0\0\0AIFF", b"fLaC", b"OggS"]),
       rest=st.binary(max_size=200))  # fmt: skip
def test_noise_behind_a_right_beginning_gives_nothing_but_our_own_error(tmp_path_factory, start, rest):
    path = tmp_path_factory.getbasetemp() / "noise.wav"
    path.write_bytes(start + rest)
    assert container_of(start + rest)
    with pytest.raises(StethosError):
        read(path)


KINDS = [("WAV", "PCM_16"), ("WAVEX", "FLOAT"), ("RF64", "PCM_24"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"),
         ("OGG", "VORBIS"), ("AIFF", "PCM_16")]  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_a_damaged_sound_is_read_or_refused_with_our_own_error(tmp_path_factory, kind, data):
    path = written(tmp_path_factory.getbasetemp() / "damaged", NOISE, *kind, comment="origin=real")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, min(len(content), 150) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        record = read(path)
    except StethosError:
        return
    assert all(np.isfinite(signal.values).all() for signal in record.signals)


# --- what is said of them --------------------------------------------------------------------------------------


def test_a_full_scale_square_has_0_and_a_full_scale_sine_minus_3_decibels(tmp_path):
    sine = np.sin(2 * np.pi * 100 * np.arange(16000) / 16000)
    square = np.where(np.arange(16000) % 160 < 80, 1.0, -1.0)
    said = inspect(written(tmp_path / "x.wav", [square, sine, sine / 2, np.zeros(16000)], coding="FLOAT"))
    assert [level.decibels for level in said.levels] == [0.0, -3.01, -9.03, None]
    assert [level.peak for level in said.levels] == [0.0, 0.0, -6.02, None]
    assert said.levels[0].clipped == 1.0
    assert said.lines()[1:] == [
        "  1, 2, 3, 4: 16000 Hz, FLOAT, 16000 samples, 1.000 s",
        "  1: 0.0 dBFS, peak 0.0 dBFS, 100.000 % at full scale",
        f"  2: -3.0 dBFS, peak 0.0 dBFS, {100 * said.levels[1].clipped:.3f} % at full scale",
        "  3: -9.0 dBFS, peak -6.0 dBFS, 0.000 % at full scale",
        "  4: silent",
    ]


@pytest.mark.parametrize("coding", ["PCM_U8", "PCM_16", "PCM_24"])
def test_the_share_that_was_clipped_is_that_of_the_samples_beyond_full_scale(tmp_path, coding):
    loud = 2 * np.sin(2 * np.pi * np.arange(16000) / 160)
    (level,) = inspect(written(tmp_path / "x.wav", [loud], coding=coding)).levels
    assert level.clipped == pytest.approx(np.mean(np.abs(loud) >= 1), abs=0.01)
    assert level.clipped == pytest.approx(2 / 3, abs=0.02)  # |sin| is above one half for two thirds of the time


def test_a_sound_is_not_judged_as_an_ecg_and_an_ecg_not_as_a_sound(tmp_path):
    trace = np.sin(np.arange(6000) / 9) / 2
    said = inspect(written(tmp_path / "x.wav", [trace], rate=500))
    assert (said.format, said.quality, len(said.levels)) == ("sound", (), 1)
    write_wfdb(Record("e", "e", (Signal(trace[None], 500, ("I",), "mV"),)), tmp_path, "e")
    said = inspect(tmp_path / "e.hea")
    assert (len(said.quality) > 0, said.levels, said.encoding) == (True, (), "")


def test_what_is_said_of_a_sound_can_be_written_as_json(tmp_path):
    said = json.loads(json.dumps(inspect(written(tmp_path / "x.wav", [np.zeros(8)])).to_json(), allow_nan=False))
    assert said["levels"] == [{"channel": "1", "decibels": None, "peak": None, "clipped": 0.0}]


def test_a_declared_rate_or_unit_that_contradicts_the_sound_is_refused(tmp_path):
    path = written(tmp_path / "x.wav", NOISE)
    assert read(path, rate=16000).signals[0].rate == 16000
    with pytest.raises(RateError, match="the file states 16000 Hz and --rate says 500"):
        read(path, rate=500)
    with pytest.raises(UnitError, match="the file states 1 and --unit says mV"):
        read(path, unit="mV")


@pytest.mark.realdata
def test_every_real_sound_here_is_read_as_the_standard_library_reads_it(real):
    paths = sorted((real / "sound").rglob("*.wav"))
    assert len(paths) == 109
    shapes = set()
    for path in paths:
        (signal,) = read(path).signals
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnframes()) == (signal.rate, signal.values.shape[1])
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        np.testing.assert_array_equal(signal.values * 32768, raw.T)
        shapes.add((len(signal.channels), signal.rate))
    assert shapes == {(1, 16000.0), (2, 16000.0), (2, 44100.0)}


@pytest.mark.realdata
def test_a_real_stereo_sound_survives_being_written(real, tmp_path):
    record = read(real / "sound" / "bldc" / "Healthy" / "M1" / "1400.wav")
    assert (record.signals[0].rate, record.signals[0].channels) == (44100.0, ("1", "2"))
    write_sound(record, tmp_path / "x.wav", record.origin)
    np.testing.assert_array_equal(read(tmp_path / "x.wav").signals[0].values, record.signals[0].values)
