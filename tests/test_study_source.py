"""Sources of sound: files, a folder that grows, raw samples in chunks of any size."""

import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ChannelError, FormatError, RecipeError
from stethos.io.sound import write_sound
from stethos.study.pcm import Chunk, Pcm, PcmStream
from stethos.study.recordings import Recordings
from stethos.study.seen import SeenNames
from stethos.study.source import Block, Cut, Missing
from stethos.types import Signal

RATE = 1000
CUT = Cut(seconds=1.0)


def write(path: Path, seconds: float = 1.0, value: float = 0.1, channels: int = 1) -> Path:
    """A WAV that holds one value, so that blocks can be told apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((round(seconds * RATE), channels), value), RATE, subtype="FLOAT")
    return path


def begun(source, folder: Path, saved=None):
    source.restore(saved, folder)
    return source


def all_of(source, now: float = 0.0) -> list[Block | Missing]:
    """Pieces until there is nothing for now."""
    pieces = []
    while (piece := source.next(now)) is not None:
        pieces.append(piece)
    return pieces


def names(pieces: list[Block | Missing]) -> list[str]:
    return [piece.file for piece in pieces]


# Recordings


def test_a_file_is_cut_into_blocks_and_what_is_left_over_is_said(tmp_path):
    source = begun(Recordings("a", write(tmp_path / "x.wav", 3.4), CUT), tmp_path / "state")
    blocks = all_of(source)
    assert [(block.offset, block.left_out, block.sound.values.shape) for block in blocks] == [
        (0.0, 0.0, (1, 1000)),
        (1.0, 0.0, (1, 1000)),
        (2.0, 0.4, (1, 1000)),
    ]
    assert [block.start for block in blocks] == [0.0, 1.0, 2.0]
    assert source.finished


def test_a_block_may_lack_a_hundredth(tmp_path):
    source = begun(Recordings("a", write(tmp_path / "x.wav", 1.99), CUT), tmp_path / "state")
    assert [block.sound.duration for block in all_of(source)] == [1.0, 0.99]
    (short,) = all_of(begun(Recordings("a", write(tmp_path / "y.wav", 0.5), CUT), tmp_path / "state"))
    assert short == Missing("holds 0.5 s, a block takes 1 s", "y.wav", 0.5)


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("clip_10.wav", "clip_9.wav", "a/b.wav", "clip_9b.WAV", ".hidden.wav", "notes.txt", ".tmp/c.wav"):
        write(tmp_path / "in" / name) if name.lower().endswith("wav") else (tmp_path / "in" / name).write_text("x")
    source = begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state")
    assert names(all_of(source)) == ["a/b.wav", "clip_9.wav", "clip_9b.WAV", "clip_10.wav"]
    assert source.finished


def test_a_growing_file_waits_until_its_size_stays(tmp_path):
    write(tmp_path / "in" / "a.wav")
    source = begun(Recordings("a", tmp_path / "in", CUT), tmp_path / "state")
    assert source.next(0) is None
    write(tmp_path / "in" / "a.wav", 2.0)
    (tmp_path / "in" / "empty.wav").touch()
    assert source.next(1) is None  # no look: 2 s are not over
    assert source.next(2) is None
    assert source.waiting == 2
    assert names(all_of(source, 4)) == ["a.wav", "a.wav"]
    write(tmp_path / "in" / "empty.wav")
    write(tmp_path / "in" / "0.wav")
    assert all_of(source, 6) == []
    assert names(all_of(source, 8)) == ["0.wav", "empty.wav"]
    assert all_of(source, 10) == []
    assert not source.finished


def test_a_clock_that_is_put_back_stops_nothing(tmp_path):
    write(tmp_path / "in" / "a.wav")
    source = begun(Recordings("a", tmp_path / "in", CUT), tmp_path / "state")
    assert source.next(1e9) is None
    assert names(all_of(source, 5.0)) == ["a.wav"]
    assert all_of(source, -5.0) == []


def cut_off(path: Path) -> None:
    whole = write(path, 3).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_off, "header promises 3000 frames"),
        (lambda path: path.write_bytes(b"RIFF"), "b.wav"),
        (lambda path: path.write_text("no sound at all"), "b.wav"),
        (lambda path: soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT"), "are no numbers"),
    ],
)
def test_a_file_that_cannot_be_read_is_missing_sound_with_the_reason(tmp_path, spoil, said):
    write(tmp_path / "in" / "a.wav")
    spoil(tmp_path / "in" / "b.wav")
    write(tmp_path / "in" / "c.wav")
    first, bad, last = all_of(begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state"))
    assert (first.file, bad.file, last.file) == ("a.wav", "b.wav", "c.wav")
    assert isinstance(bad, Missing)
    assert said in bad.reason


def test_a_jump_between_stated_times_is_missing_sound(tmp_path):
    for name in ("1_20260301_120000.wav", "2_20260301_120001.wav", "3_2026-03-01T12-00-30.wav"):
        write(tmp_path / "in" / name)
    one, two, gap, three = all_of(begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state"))
    assert [one.stated, two.start - one.start, three.start - one.start] == [True, 1.0, 30.0]
    assert gap == Missing("nothing was recorded for 28.0 s before it", "3_2026-03-01T12-00-30.wav", 28.0)


def test_stated_times_that_go_back_are_no_gap(tmp_path):
    """As when a recorder's clock is put to winter time."""
    for name in ("1_20261025_030000.wav", "2_20261025_020001.wav", "3_20261025_020002.wav"):
        write(tmp_path / "in" / name)
    pieces = all_of(begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state"))
    assert all(isinstance(piece, Block) for piece in pieces)


def test_numbers_that_are_no_time_state_none(tmp_path):
    for name in ("00000000000001.wav", "20261399_000000.wav", "section_00_source_train_normal_0206_pat_01.wav"):
        write(tmp_path / "in" / name)
    pieces = all_of(begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state"))
    assert [(piece.stated, piece.start) for piece in pieces] == [(False, 0.0), (False, 1.0), (False, 2.0)]


def test_a_recorder_that_falls_silent_is_said_once(tmp_path):
    (tmp_path / "in").mkdir()
    source = begun(Recordings("a", tmp_path / "in", CUT), tmp_path / "state")
    said = [source.next(now) for now in range(0, 60)]
    (missing,) = [each for each in said if each is not None]
    assert missing.reason == "no new file for 12 s"  # a gap of 5 s and twice a block of 1 s with its look of 2 s
    write(tmp_path / "in" / "a.wav")
    assert names([piece for now in range(60, 68) for piece in all_of(source, now)]) == ["a.wav"]
    assert sum(source.next(now) is not None for now in range(68, 120)) == 1


def test_a_folder_that_goes_away_is_said_once(tmp_path):
    folder = tmp_path / "in"
    write(folder / "a.wav")
    source = begun(Recordings("a", folder, CUT), tmp_path / "state")
    assert names(all_of(source, 0) + all_of(source, 2)) == ["a.wav"]
    folder.rename(tmp_path / "away")
    (gone,) = [piece for now in range(4, 60) if (piece := source.next(now)) is not None]
    assert gone.reason.endswith("the folder is gone")
    (tmp_path / "away").rename(folder)
    write(folder / "b.wav")
    assert names([piece for now in range(60, 68) for piece in all_of(source, now)]) == ["b.wav"]


def test_the_channel_that_is_asked_for_is_heard(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.tile([0.1, 0.7], (RATE, 1)), RATE, subtype="FLOAT")
    for channel, value in ((None, 0.1), ("1", 0.1), ("2", 0.7)):
        cut = Cut(1.0, channel)
        (block,) = all_of(begun(Recordings("a", tmp_path / "x.wav", cut), tmp_path / f"state{channel}"))
        assert block.sound.values[0, 0] == pytest.approx(value)
    (missing,) = all_of(begun(Recordings("a", tmp_path / "x.wav", Cut(1.0, "3")), tmp_path / "state3"))
    assert "needs channel 3" in missing.reason


def test_simulated_sound_says_so(tmp_path):
    write_sound(Signal(np.full((1, RATE), 0.1), RATE, ("1",), "1"), tmp_path / "x.wav", "synthetic")
    (block,) = all_of(begun(Recordings("a", tmp_path / "x.wav", CUT), tmp_path / "state"))
    assert block.origin == "synthetic"


@pytest.mark.parametrize("at", range(8))
def test_a_folder_is_heard_once_however_often_it_is_begun_anew(tmp_path, at):
    """Stopped after any piece, with its state written or lost since the piece before."""
    for number, seconds in enumerate([2.5, 1, 0.3, 3]):
        write(tmp_path / "in" / f"{number}.wav", seconds, value=0.1 * number)
    state = tmp_path / "state"
    source = begun(Recordings("a", tmp_path / "in", CUT, follow=False), state)
    heard, saved = [], None
    for _ in range(at):
        heard.append(source.next(0.0))
        saved = json.loads(json.dumps(source.to_json()))
        source.settle()
    if at:
        source.next(0.0)  # given, and never dealt with
    again = begun(Recordings("a", tmp_path / "in", CUT, follow=False), state, saved)
    heard += all_of(again)
    uninterrupted = all_of(begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "other"))
    told = [[(each.file, getattr(each, "start", None)) for each in pieces if each] for pieces in (heard, uninterrupted)]
    assert told[0] == told[1]


def test_only_names_that_the_state_told_are_put_on_the_list(tmp_path):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.wav")
    source = begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state")
    source.next(0)
    assert source.to_json()["recent"] == ["0.wav"]
    source.next(0)
    source.settle()
    assert (tmp_path / "state" / "seen" / "a.txt").read_text().split() == ['"0.wav"']
    assert source.to_json()["recent"] == ["1.wav"]


def test_a_file_that_vanished_while_it_was_heard_is_missing(tmp_path):
    path = write(tmp_path / "in" / "a.wav", 3)
    source = begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state")
    source.next(0)
    saved = source.to_json()
    path.unlink()
    (missing,) = all_of(begun(Recordings("a", tmp_path / "in", CUT, follow=False), tmp_path / "state", saved))
    assert missing.file == "a.wav"


def test_sources_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(FormatError, match="no such file or folder"):
        Recordings("a", tmp_path / "nowhere", CUT)
    for name in ("", "a/b", "..", "-a"):
        with pytest.raises(RecipeError, match="name of a source"):
            Recordings(name, tmp_path, CUT)
    for wrong in ({"seconds": 0}, {"seconds": 1, "gap": 0}):
        with pytest.raises(RecipeError, match="positive seconds"):
            Cut(**wrong)


# Names that were seen


def test_seen_names_outlast_the_process_and_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "deep" / "seen.txt"
    odd = ["a b.wav", 'quote".wav', "line\nbreak.wav", "ü.wav", os.fsdecode(b"\xff.wav")]
    SeenNames(path).add(odd)
    with path.open("ab") as file:
        file.write(b'"half a na')
    SeenNames(path).add(["c.wav"])
    assert SeenNames(path).unseen({*odd, "c.wav", "d.wav"}) == {"d.wav"}


def test_names_of_files_that_are_gone_are_forgotten(tmp_path):
    seen = SeenNames(tmp_path / "seen.txt")
    seen.add([f"{number}.wav" for number in range(5000)])
    size = seen.path.stat().st_size
    assert seen.unseen({"4999.wav", "new.wav"}) == {"new.wav"}
    assert seen.path.stat().st_size < size / 100
    assert seen.unseen({"4999.wav", "3.wav"}) == {"3.wav"}


def test_an_empty_folder_forgets_nothing(tmp_path):
    """It may be a drive that is not mounted."""
    seen = SeenNames(tmp_path / "seen.txt")
    everything = {f"{number}.wav" for number in range(5000)}
    seen.add(sorted(everything))
    assert seen.unseen(set()) == set()
    assert seen.unseen(set(everything)) == set()


# Raw samples


@pytest.mark.parametrize(
    ("form", "subtype"), [("s16le", "PCM_16"), ("s24le", "PCM_24"), ("s32le", "PCM_32"), ("f32le", "FLOAT")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_decoded_as_soundfile_does(form, subtype, channels):
    values = np.random.default_rng(0).uniform(-1, 1, (200, channels))
    values[:2] = [[-1], [0.99999]]
    buffer = io.BytesIO()
    soundfile.write(buffer, values, RATE, subtype, "LITTLE", "RAW")
    buffer.seek(0)
    want, _ = soundfile.read(
        buffer, samplerate=RATE, channels=channels, subtype=subtype, endian="LITTLE", format="RAW",
        dtype="float32", always_2d=True,
    )  # fmt: skip
    got = Pcm(RATE, form, channels).decode(buffer.getvalue())
    assert got.dtype == np.float32
    assert np.array_equal(got, want.T)


def stream(data: bytes, cut: Cut = CUT, pcm: Pcm | None = None, **settings) -> PcmStream:
    return begun(PcmStream("mic", io.BytesIO(data), pcm or Pcm(RATE), cut, **settings), Path())


def fed(saved=None, pcm: Pcm | None = None) -> PcmStream:
    """A stream that reads nothing of itself."""
    source = begun(PcmStream("mic", io.BytesIO(), pcm or Pcm(RATE), CUT), Path(), saved)
    source._arrived = lambda: None
    return source


def heard(source: PcmStream) -> list[Block | Missing]:
    """All of a stream that ends."""
    pieces, until = [], time.monotonic() + 10
    while not source.finished and time.monotonic() < until:
        piece = source.next(time.time())
        pieces += [] if piece is None else [piece]
    assert source.finished
    return pieces


RAMP = np.arange(3500, dtype="<i2")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 999), min_size=1, max_size=60), st.sampled_from(["s16le", "s24le"]))
def test_the_size_of_the_chunks_makes_no_difference(sizes, form):
    data = RAMP.tobytes()[:6006]
    pcm = Pcm(RATE, form)
    source, pieces, at = fed(pcm=pcm), [], 0
    while at < len(data):
        for size in sizes:
            if data[at : at + size]:
                source.take(Chunk(data[at : at + size], 0.0))
            at += size
            pieces += all_of(source)
    whole = pcm.decode(data)[0]
    count = len(whole) // RATE
    assert [piece.sound.values[0].tolist() for piece in pieces] == whole[: count * RATE].reshape(count, RATE).tolist()


def test_an_end_within_a_block_is_missing_sound():
    one, two, three, end = heard(stream(RAMP.tobytes()))
    assert [one.start, two.start, three.offset] == [0.0, 1.0, 2.0]
    assert np.array_equal(three.sound.values[0], RAMP[2000:3000] / np.float32(32768))
    assert end == Missing("the stream ended 0.5 s into a block of 1 s", seconds=0.5)
    assert len(heard(stream(RAMP[:3000].tobytes()))) == 3
    assert heard(stream(b"")) == []


def test_one_channel_of_several_is_heard():
    data = np.stack([RAMP[:1000], 10 * RAMP[:1000]], axis=1).astype("<i2").tobytes()
    (block,) = heard(stream(data, Cut(1.0, "2"), Pcm(RATE, "s16le", 2)))
    assert block.sound.channels == ("2",)
    assert block.sound.values[0, 3] == np.float32(30 / 32768)
    with pytest.raises(ChannelError, match="needs channel 3; the stream has 1, 2"):
        stream(data, Cut(1.0, "3"), Pcm(RATE, "s16le", 2))


def test_a_stream_that_stops_and_goes_on_is_missing_sound_and_stays_in_step():
    source, data = fed(), RAMP.tobytes()
    assert source.take(Chunk(data[:2601], 100.0)) is None
    (block,) = all_of(source, 100.0)
    assert block.sound.values[0, -1] == np.float32(999 / 32768)
    # 300 whole frames and a byte are held when 20 s pass
    missing = source.take(Chunk(data[2601:4602], 120.0, waited=20.0))
    assert missing == Missing("nothing came for 20.0 s; the 0.3 s before are not judged", seconds=20.3)
    (block,) = all_of(source, 120.0)
    assert block.start == pytest.approx(1.0 + 20.3)
    assert block.sound.values[0].tolist() == (RAMP[1300:2300] / np.float32(32768)).tolist()


def test_a_stream_that_stays_away_is_said_once():
    read, write_end = os.pipe()
    with os.fdopen(read, "rb") as end, os.fdopen(write_end, "wb", buffering=0) as pipe:
        source = begun(PcmStream("mic", end, Pcm(RATE), CUT, clock=lambda: 0.0), Path())
        said = [source.next(now) for now in range(0, 30)]
        assert [each.reason for each in said if each] == ["nothing has come for 6.0 s"]
        pipe.write(RAMP.tobytes()[:2000])
        until = time.monotonic() + 10
        while (piece := source.next(30.0)) is None and time.monotonic() < until:
            time.sleep(0.005)
        assert isinstance(piece, Block)
        pipe.close()
        while not source.finished and time.monotonic() < until:
            assert source.next(0.0) is None
            time.sleep(0.005)
        assert source.finished


def test_after_a_restart_the_time_away_is_missing():
    source = fed()
    source.take(Chunk(RAMP.tobytes()[:2000], 100.0))
    assert len(all_of(source, 100.0)) == 1
    saved = json.loads(json.dumps(source.to_json()))
    assert fed(saved).take(Chunk(b"ab", 160.0)) == Missing("nothing came for 60.0 s", seconds=60.0)
    assert fed(saved).take(Chunk(b"ab", 101.0)) is None
    assert fed(saved).take(Chunk(b"ab", -5.0)) is None  # the clock was put back


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": 1, "channels": 0}, {"rate": 1, "format": "u8"}])
def test_samples_that_cannot_be_are_refused(wrong):
    with pytest.raises(RecipeError, match="raw samples need"):
        Pcm(**wrong)
