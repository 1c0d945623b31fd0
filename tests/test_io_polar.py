"""Frames of a chest strap, against bytes worked out by hand and against what was sent."""

from datetime import datetime, timedelta

import numpy as np
import pytest
import wearable_files as worn
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ChannelError, FormatError, RateError
from stethos.io import inspect, read
from stethos.io.polar import looks_like_polar, polar_frames

TRUE = 130.21  # Hz
TRACE = np.round(np.sin(np.arange(73 * 20 + 11) / 15), 3)
SECOND = 10**9


def frame(moment: int, samples: str) -> bytes:
    return bytes.fromhex("00" + moment.to_bytes(8, "little").hex() + "00" + samples)


def test_three_bytes_are_one_signed_number_of_microvolts():
    """+1000, −1, the lowest, the highest, and 65,536, which two of three bytes would lose."""
    stream = polar_frames(frame(0, "e80300 ffffff 000080 ffff7f 000001"), rate=130)
    np.testing.assert_array_equal(stream.trace.values, [1000, -1, -8388608, 8388607, 65536])
    assert (stream.trace.name, stream.trace.unit, stream.trace.rate) == ("chest", "uV", 130)


def test_a_log_is_what_was_sent_at_the_rate_that_its_times_tell(tmp_path):
    record = read(worn.polar_log(tmp_path / "h10.polar", TRACE, TRUE))
    (signal,) = record.signals
    assert (signal.channels, signal.unit) == (("chest",), "mV")
    assert signal.rate == pytest.approx(TRUE, rel=1e-7)
    np.testing.assert_allclose(signal.values[0], TRACE, atol=1e-6)
    want = datetime(2000, 1, 1) + timedelta(seconds=830_000_000)
    assert abs((record.when - want).total_seconds()) < 1e-5
    counts = {"frames_lost": 0, "frames_repeated": 0, "frames_late": 0, "frames_other": 0}
    assert dict(record.facts) == {"device": "chest strap", "frames": 21} | counts


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rate=st.floats(127, 133), size=st.sampled_from([20, 73, 74]))
def test_what_is_lost_is_a_gap_and_the_rest_stands_where_it_was(tmp_path_factory, data, rate, size):
    count = -(-len(TRACE) // size)
    middle = st.integers(1, count - 2)
    lost = data.draw(st.sets(middle, max_size=count // 2 - 2))
    left = sorted(set(range(1, count - 2)) - lost)
    repeated = data.draw(st.sets(st.sampled_from(left), max_size=3))
    swapped = [n for n in data.draw(st.sets(st.sampled_from(left), max_size=2)) if n + 1 in left]
    swapped = [n for n in swapped if n - 1 not in swapped and not {n, n + 1} & repeated]
    path = tmp_path_factory.mktemp("f") / "x"
    record = read(worn.polar_log(path, TRACE, rate, size=size, lost=lost, repeated=repeated, swapped=swapped))
    want = TRACE.copy()
    for number in lost:
        want[number * size : (number + 1) * size] = np.nan
    np.testing.assert_allclose(record.signals[0].values[0], want, atol=1e-6)
    assert record.signals[0].rate == pytest.approx(rate, rel=1e-6)
    facts = record.facts
    assert (facts["frames"], facts["frames_lost"]) == (count - len(lost), len(lost))
    assert (facts["frames_repeated"], facts["frames_late"]) == (len(repeated), len(swapped))


def test_a_gap_is_said(tmp_path):
    text = str(inspect(worn.polar_log(tmp_path / "x", TRACE, 130, lost=[4, 5, 9])))
    assert "chest: 1.685 s missing in 2 gaps" in text


def test_a_chest_strap_is_not_lead_i_and_the_refusal_says_so(tmp_path):
    record = read(worn.polar_log(tmp_path / "h10", TRACE))
    with pytest.raises(
        ChannelError, match=r"record h10: needs channel I; it has chest; a chest strap .* is not lead I"
    ):
        record.pick("I")
    assert record.pick("chest").unit == "mV"


@pytest.mark.parametrize("way", ["upper", "spaced", "dashed", "prefixed", "noted"])
def test_other_ways_to_write_bytes_are_read(tmp_path, way):
    lines = worn.polar_log(tmp_path / "x", TRACE).read_text().split()
    written = {
        "upper": [line.upper() for line in lines],
        "spaced": [bytes.fromhex(line).hex(" ") for line in lines],
        "dashed": [bytes.fromhex(line).hex("-") for line in lines],
        "prefixed": [f"0x{line}" for line in lines],
        "noted": ["# strap H10", "", *lines],
    }[way]
    (tmp_path / "y.csv").write_text("\r\n".join(written))
    np.testing.assert_allclose(read(tmp_path / "y.csv").signals[0].values[0], TRACE, atol=1e-6)


def test_frames_of_other_sensors_are_counted_and_left_out(tmp_path):
    frames = worn.polar_frames(TRACE)
    moved = [b"\x02" + each[1:9] + b"\x01" + bytes(36) for each in frames]
    log = [each.hex() for pair in zip(frames, moved, strict=True) for each in pair]
    (tmp_path / "x").write_text("\n".join(log))
    record = read(tmp_path / "x")
    assert record.facts["frames_other"] == len(frames)
    np.testing.assert_allclose(record.signals[0].values[0], TRACE, atol=1e-6)


def test_a_frame_alone_tells_no_rate(tmp_path):
    path = worn.polar_log(tmp_path / "x", TRACE[:73])
    with pytest.raises(RateError, match="needs two frames or more"):
        read(path)
    assert read(path, rate=130).signals[0].values.shape == (1, 73)


@pytest.mark.parametrize("rate", [100.0, 200.0])
def test_times_of_another_rate_are_refused_unless_it_is_declared(tmp_path, rate):
    path = worn.polar_log(tmp_path / "x", TRACE, rate)
    with pytest.raises(RateError, match="tell no rate near 130 Hz; pass --rate HZ"):
        read(path)
    assert read(path, rate=rate).signals[0].rate == pytest.approx(rate, rel=1e-6)


def test_a_clock_that_was_set_between_two_frames_is_no_gap_of_years(tmp_path):
    early = worn.polar_frames(TRACE, first=600_000_000 * SECOND)
    frames = [*early[:5], *worn.polar_frames(TRACE)[5:]]
    (tmp_path / "x").write_text("\n".join(each.hex() for each in frames))
    with pytest.raises(FormatError, match="s lie between frames 5 and 6; the clock was set"):
        read(tmp_path / "x")


def test_a_clock_that_was_never_set_tells_no_start(tmp_path):
    frames = worn.polar_frames(TRACE, first=600_000_000 * SECOND)  # 2019
    (tmp_path / "x").write_text("\n".join(each.hex() for each in frames))
    assert read(tmp_path / "x").when is None


def test_a_line_that_is_cut_off_is_refused(tmp_path):
    lines = worn.polar_log(tmp_path / "x", TRACE).read_text().split()
    for place, cut, words in (
        (-2, 101, r"line 20 must be one frame in hexadecimal"),
        (-2, 102, r"frame 20 has 51 bytes, not 10 and 3 a sample"),
        (-2, 104, r"frame 20 by time is cut off: it holds 14 of 73 samples"),
    ):
        broken = list(lines)
        broken[place] = broken[place][:cut]
        (tmp_path / "y").write_text("\n".join(broken))
        with pytest.raises(FormatError, match=words):
            read(tmp_path / "y")


def test_frames_that_overlap_or_differ_at_one_time_are_refused():
    one, two = worn.polar_frames(TRACE[:146], 130)
    other = two[:-3] + bytes(3)
    with pytest.raises(FormatError, match="two frames with other samples bear the same time"):
        polar_frames([one, two, other])
    early = frame(int.from_bytes(one[1:9], "little") + SECOND // 4, two[10:].hex())
    with pytest.raises(FormatError, match="by time overlaps the one before by 40 samples"):
        polar_frames([one, early, *worn.polar_frames(TRACE[:146], 130, first=830_000_002 * SECOND)])


def test_a_frame_of_another_type_is_refused():
    with pytest.raises(FormatError, match="frame 1 is of type 128"):
        polar_frames(b"\0" + bytes(8) + b"\x80" + bytes(9))
    with pytest.raises(FormatError, match="needs frames of an ECG"):
        polar_frames([b"\x02" + bytes(20)])


@pytest.mark.parametrize(
    "text", ["00 11 22 33\n" * 20, "0011\n0022\n", "1.5\n2.5\n" * 20, "deadbeef" * 10 + "\n" + "cafe" * 20 + "\n"]
)
def test_numbers_that_are_no_frames_are_not_taken_for_them(text):
    assert not looks_like_polar(text)


def test_a_log_whose_start_is_seen_in_part_is_known(tmp_path):
    text = worn.polar_log(tmp_path / "x", TRACE).read_text()
    assert all(looks_like_polar(text[:seen]) for seen in (460, 700, 1001, len(text)))
