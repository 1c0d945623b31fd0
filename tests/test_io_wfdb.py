import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stethos.errors import FormatError
from stethos.io import read
from stethos.io.wfdb import read_wfdb, write_wfdb
from stethos.types import Record, Signal


def record_of(*signals: Signal, **known) -> Record:
    return Record("s", "s", signals, **known)


def write_hand(folder: Path, header: str, samples: list[int], name: str = "r", dtype: str = "<i2") -> Path:
    (folder / f"{name}.hea").write_text(header, encoding="utf-8")
    (folder / f"{name}.dat").write_bytes(np.array(samples, dtype).tobytes())
    return folder / name


def test_units_gain_baseline_and_invalid_samples_are_as_worked_out_by_hand(tmp_path):
    path = write_hand(
        tmp_path,
        "r 2 250 3 10:20:30 05/06/2024\nr.dat 16 1000(500)/uV 16 0 0 0 0 avr\nr.dat 16 4(-2)/NU 16 0 0 0 0 PLETH\n",
        [1500, 2, -32768, 6, 500, -32768],
    )
    record = read_wfdb(path)
    ecg, ppg = record.signals
    assert (ecg.unit, ecg.rate, ecg.channels, ppg.unit, ppg.channels) == ("mV", 250.0, ("aVR",), "1", ("PLETH",))
    np.testing.assert_allclose(ecg.values, [[0.001, np.nan, 0.0]])
    np.testing.assert_allclose(ppg.values, [[1.0, 2.0, np.nan]])
    assert (record.id, record.subject, record.origin) == ("r", "r", "real")
    assert record.when == datetime(2024, 6, 5, 10, 20, 30)


def test_several_samples_a_frame_are_a_signal_of_that_rate(tmp_path):
    header = (
        "r 3 62.5 2\nr.dat 16x4 1/mV 16 0 0 0 0 II\nr.dat 16x4 1/mV 16 0 0 0 0 V1\nr.dat 16 1/mmHg 16 0 0 0 0 ABP\n"
    )
    record = read_wfdb(write_hand(tmp_path, header, [1, 2, 3, 4, 11, 12, 13, 14, 90, 5, 6, 7, 8, 15, 16, 17, 18, 91]))
    fast, slow = record.signals
    assert (fast.rate, slow.rate) == (250.0, 62.5)
    assert fast.values.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [11, 12, 13, 14, 15, 16, 17, 18]]
    assert slow.values.tolist() == [[90, 91]]


def test_a_gap_between_segments_and_a_channel_that_comes_later_are_nan(tmp_path):
    (tmp_path / "m.hea").write_text("m/4 2 100 8\nm_layout 0\na 3\n~ 2\nb 3\n")
    (tmp_path / "m_layout.hea").write_text("m_layout 2 100 0\n~ 0 1/mV 16 0 0 0 0 I\n~ 0 1/mV 16 0 0 0 0 II\n")
    write_hand(tmp_path, "a 1 100 3\na.dat 16 1/mV 16 0 0 0 0 I\n", [1, 2, 3], "a")
    write_hand(
        tmp_path,
        "b 2 100 3\nb.dat 16 1/mV 16 0 0 0 0 II\nb.dat 16 1/mV 16 0 0 0 0 I\n",
        [7, 4, 8, 5, 9, 6],
        "b",
    )
    (signal,) = read_wfdb(tmp_path / "m").signals
    nan = np.nan
    assert signal.channels == ("I", "II")
    np.testing.assert_array_equal(signal.values, [[1, 2, 3, nan, nan, 4, 5, 6], [nan, nan, nan, nan, nan, 7, 8, 9]])


@pytest.mark.parametrize("coding", ["80", "212", "16", "24", "32", "508", "516", "524"])
def test_every_format_the_package_writes_is_read_as_the_package_reads_it(tmp_path, coding):
    wave = np.random.default_rng(0).normal(0, 0.3, (101, 2))
    wfdb.wrsamp("r", 360, ["mV"] * 2, ["I", "V5"], wave, fmt=[coding] * 2, write_dir=str(tmp_path))
    want = wfdb.rdrecord(str(tmp_path / "r")).p_signal.T
    np.testing.assert_array_equal(read_wfdb(tmp_path / "r.hea").signals[0].values, want.astype(np.float32))


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_a_record_may_be_named_by_its_stem_its_header_or_its_signal_file(tmp_path, suffix):
    path = write_hand(tmp_path, "r 1 100 2\nr.dat 16 1/mV 16 0 0 0 0 I\n", [1, 2])
    assert read(f"{path}{suffix}").signals[0].values.tolist() == [[1, 2]]


def test_a_header_under_another_suffix_is_read(tmp_path):
    path = write_hand(tmp_path, "r 1 100 2\nr.dat 16 1/mV 16 0 0 0 0 I\n", [1, 2])
    path.with_suffix(".hea").rename(tmp_path / "other.txt")
    assert read(tmp_path / "other.txt").signals[0].values.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "stamp", ["2014-05-08 05:05:15", "08/05/2014 05:05:15", "05:05:15 2014-05-08", "05:05:15 08/05/2014"]
)
def test_date_and_time_are_understood_in_either_order_and_the_header_stays_as_it_was(tmp_path, stamp):
    text = f"r 1 300 2 {stamp} \nr.dat 16 1000/mV 16 0 -127 0 0 ECG \n"
    record = read_wfdb(write_hand(tmp_path, text, [-127, 500]))
    assert record.when == datetime(2014, 5, 8, 5, 5, 15)
    assert (tmp_path / "r.hea").read_text() == text


def test_a_date_alone_gives_no_start(tmp_path):
    assert read_wfdb(write_hand(tmp_path, "r 1 300 1 2014-05-08\nr.dat 16 1/mV\n", [1])).when is None


@pytest.mark.parametrize(("unit", "encoding"), [("µV", "utf-8"), ("μV", "utf-8"), ("µV", "latin-1")])
def test_microvolts_with_the_greek_letter_are_not_volts(tmp_path, unit, encoding):
    path = write_hand(tmp_path, "", [1500])
    (tmp_path / "r.hea").write_text(f"r 1 100 1\nr.dat 16 1/{unit} 16 0 0 0 0 I\n", encoding)
    (signal,) = read_wfdb(path).signals
    assert (signal.unit, signal.values.tolist()) == ("mV", [[1.5]])


def test_a_unit_with_dots_does_not_spill_into_the_name(tmp_path):
    (signal,) = read_wfdb(write_hand(tmp_path, "r 1 100 1\nr.dat 16 2/a.u. 16 0 0 0 0 PLETH\n", [3])).signals
    assert (signal.unit, signal.channels, signal.values.tolist()) == ("a.u.", ("PLETH",), [[1.5]])


def test_a_truncated_signal_file_says_what_was_promised_and_what_is_there(tmp_path):
    path = write_hand(tmp_path, "r 2 100 5\nr.dat 16 1/mV\nr.dat 16 1/mV\n", [1] * 7)
    with pytest.raises(FormatError, match=r"header promises 5 samples, r\.dat holds 3"):
        read_wfdb(path)


@pytest.mark.parametrize("coding", ["212", "24", "310", "508"])
def test_a_header_that_promises_more_than_there_is_is_refused_in_every_format(tmp_path, coding):
    write_hand(tmp_path, f"r 1 100 999999\nr.dat {coding} 1/mV\n", [1] * 20)
    if coding == "508":
        wfdb.wrsamp("r", 100, ["mV"], ["I"], np.linspace(0, 1, 50)[:, None], fmt=["508"], write_dir=str(tmp_path))
        text = (tmp_path / "r.hea").read_text()
        (tmp_path / "r.hea").write_text(text.replace("100 50", "100 999999"))
    with pytest.raises(FormatError, match="header promises 999999 samples"):
        read_wfdb(tmp_path / "r")


@pytest.mark.parametrize("name", ["../../x.dat", "/etc/passwd", "sub/x.dat", "..", "..\\x.dat"])
def test_a_header_that_names_a_file_elsewhere_is_refused(tmp_path, name):
    write_hand(tmp_path, f"r 1 100 2\n{name} 16 1/mV\n", [1, 2])
    with pytest.raises(FormatError, match="not beside it; a record's files must lie in the folder of its header"):
        read_wfdb(tmp_path / "r")


def test_a_segment_elsewhere_is_refused(tmp_path):
    (tmp_path / "m.hea").write_text("m/1 1 100 2\n../r 2\n")
    with pytest.raises(FormatError, match="not beside it"):
        read_wfdb(tmp_path / "m")


def test_a_channel_that_changes_its_unit_between_segments_is_refused(tmp_path):
    (tmp_path / "m.hea").write_text("m/2 1 100 2\na 1\nb 1\n")
    write_hand(tmp_path, "a 1 100 1\na.dat 16 1/mV 16 0 0 0 0 I\n", [1], "a")
    write_hand(tmp_path, "b 1 100 1\nb.dat 16 1/uV 16 0 0 0 0 I\n", [1], "b")
    with pytest.raises(FormatError, match="channel I is in mV in one segment and in uV in another"):
        read_wfdb(tmp_path / "m")


def test_a_missing_signal_file_and_a_missing_segment_are_named(tmp_path):
    (tmp_path / "r.hea").write_text("r 1 100 2\nr.dat 16 1/mV\n")
    with pytest.raises(FormatError, match=r"r\.dat: the header names this file and it is not there"):
        read_wfdb(tmp_path / "r")
    (tmp_path / "m.hea").write_text("m/1 1 100 2\nq 2\n")
    with pytest.raises(FormatError, match=r"q\.hea: cannot be read"):
        read_wfdb(tmp_path / "m")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with name, channels and rate; got an empty file"),
        ("\0\1garbage", "begins with name, channels and rate"),
        ("r 3 100 2\nr.dat 16 1/mV\n", "promises 3 channels and describes 1"),
        ("r 1 100 2\nr.dat 17 1/mV\n", "signal format 17 is unknown"),
        ("r 1 100 2\nr.dat\n", "a signal line begins with a file and a format"),
        ("r 1 100 2\nr.dat 16x0 1/mV\n", "0 samples a frame"),
        ("m/2 1 100 2\na 1\nb\n", "a segment line is a name and a length"),
        ("m/2 1 100 9\na 1\nb 1\n", "promises 9 samples, its segments add up to 2"),
        ("m/1 1 100 99999999999\n~ 99999999999\n", "at most 1000000000 are read at once"),
        ("r 1 100 0\n~ 0 1/mV\n", "a layout header without samples"),
    ],
)
def test_a_broken_header_says_what_is_wrong(tmp_path, text, said):
    write_hand(tmp_path, text, [1, 2])
    with pytest.raises(FormatError, match=said):
        read_wfdb(tmp_path / "r")


def test_origin_is_written_and_read_back_and_no_identity_is_written(tmp_path):
    signal = Signal(np.ones((1, 4)), 500, ("I",), "mV")
    record = record_of(signal, origin="synthetic", facts={"name": "Ada"}, when=datetime(2031, 2, 3, 4, 5, 6, 700000))
    header = write_wfdb(record, tmp_path, "w")
    assert (read_wfdb(header).origin, read_wfdb(header).when) == ("synthetic", record.when)
    assert "Ada" not in header.read_text()


@settings(max_examples=40, deadline=None)
@given(
    values=arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 40)),
        elements=st.floats(-30, 30, width=32) | st.just(np.nan),
    ),
    rate=st.sampled_from([100.0, 511.422, 512.844, 1000 / 3]),
    unit=st.sampled_from(["mV", "1", "a.u.", "Pa", "m/s2", "mmHg"]),
)
def test_what_is_written_is_read_back_to_half_a_step(tmp_path_factory, values, rate, unit):
    folder = tmp_path_factory.mktemp("w")
    signal = Signal(values, rate, ("I", "II", "V2")[: len(values)], unit)
    write_wfdb(record_of(signal), folder, "w")
    (got,) = read_wfdb(folder / "w").signals
    assert (got.rate, got.channels, got.unit) == (pytest.approx(rate, rel=1e-12), signal.channels, unit)
    # voltages to half a microvolt, others to the 13 000th part of their span (65 000 steps, gains of 1, 2, 5)
    span = max((np.ptp(row[np.isfinite(row)]) for row in values if np.isfinite(row).any()), default=0)
    step = 1e-3 if unit == "mV" else max(span / 13_000, 1e-3)
    np.testing.assert_allclose(got.values, values, atol=0.51 * step + 2e-6)


def test_the_package_reads_what_is_written_with_its_checksum(tmp_path):
    values = np.random.default_rng(1).normal(0, 1, (12, 500)).astype(np.float32)
    write_wfdb(record_of(Signal(values, 500, [f"c{i}" for i in range(12)], "mV")), tmp_path, "w")
    other = wfdb.rdrecord(str(tmp_path / "w"), physical=False)
    assert [stated % 65536 for stated in other.checksum] == other.calc_checksum()
    assert other.init_value == other.d_signal[0].tolist()
    assert set(other.fmt) == {"16"}
    assert min(other.adc_gain) >= 1000
    np.testing.assert_allclose(wfdb.rdrecord(str(tmp_path / "w")).p_signal.T, values, atol=5e-4)


def test_a_span_that_16_bits_do_not_hold_at_a_microvolt_is_written_with_32(tmp_path):
    values = np.array([[0, 100.0004, -100]])
    header = write_wfdb(record_of(Signal(values, 500, ("I",), "mV")), tmp_path, "w")
    assert " 32 1000(" in header.read_text()
    np.testing.assert_allclose(read_wfdb(header).signals[0].values, values, atol=6e-4)


def test_signals_of_two_rates_share_a_file_and_come_back_apart(tmp_path):
    fast = Signal(np.arange(9.0)[None] / 10, 500, ("I",), "mV")
    slow = Signal(np.array([[5.0, 6, 7], [1, 2, 3]]), 125, ("PLETH", "ABP"), "1")
    got = read_wfdb(write_wfdb(record_of(fast, slow), tmp_path, "w")).signals
    assert [(signal.rate, signal.channels) for signal in got] == [(500.0, ("I",)), (125.0, ("PLETH", "ABP"))]
    np.testing.assert_allclose(got[0].values[:, :9], fast.values, atol=1e-5)
    assert np.isnan(got[0].values[:, 9:]).all()  # filled up to a whole frame
    np.testing.assert_allclose(got[1].values, slow.values, atol=1e-4)


def test_what_cannot_be_written_is_refused_in_a_sentence(tmp_path):
    long = Signal(np.ones((1, 5000)), 500, ("I",), "mV")
    with pytest.raises(FormatError, match="fit no common frame; write them as separate records"):
        write_wfdb(record_of(long, Signal(np.ones((1, 5000)), 512.844, ("II",), "mV")), tmp_path, "w")
    with pytest.raises(FormatError, match="fit no common frame"):
        write_wfdb(record_of(long, Signal(np.ones((1, 100)), 500, ("II",), "mV")), tmp_path, "w")
    with pytest.raises(FormatError, match=r"letters, digits, - and _; got '\.\./w'"):
        write_wfdb(record_of(long), tmp_path, "../w")
    with pytest.raises(FormatError, match="no signals"):
        write_wfdb(record_of(), tmp_path, "w")


@pytest.mark.realdata
def test_all_handheld_strips_of_cinc_2017_equal_their_matlab_values(real):
    headers = sorted((real / "ecg/cinc2017").glob("*.hea"))
    assert len(headers) == 200
    for header in headers:
        record = read(header)
        want = scipy.io.loadmat(header.with_suffix(".mat"))["val"] / 1000
        assert record.when is not None
        assert (record.signals[0].rate, record.signals[0].unit) == (300.0, "mV")
        np.testing.assert_array_equal(record.signals[0].values, want.astype(np.float32))


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["ecg/ptbxl/records500", "ecg/ludb/data", "ppg/wfdb"])
def test_real_records_equal_what_the_package_reads(real, folder):
    for header in sorted((real / folder).rglob("*.hea"))[::5]:
        if header.stem.endswith("_layout") or header.stem.startswith("p000878"):
            continue
        want = wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
        got = [row for signal in read_wfdb(header).signals for row in signal.values]
        assert len(got) == want.n_sig
        for row, wave in zip(got, want.e_p_signal, strict=True):
            np.testing.assert_array_equal(row, wave.astype(np.float32))


@pytest.mark.realdata
def test_a_variable_layout_is_read_where_its_segments_are_there(real, tmp_path):
    source = real / "ppg/wfdb/multi-segment/p000878"
    with pytest.raises(FormatError, match=r"3269321_0003\.hea: cannot be read"):
        read_wfdb(source / "p000878-2137-10-26-16-57")
    for file in source.glob("3269321_*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "cut.hea").write_text(
        "cut/4 4 125 7500\n3269321_layout 0\n~ 3750\n3269321_0001 2000\n3269321_0002 1750\n"
    )
    pulse = read_wfdb(tmp_path / "cut").pick("PLETH")
    assert np.isnan(pulse.values[0, :3750]).all()
    want = read_wfdb(tmp_path / "3269321_0001").pick("PLETH").values
    np.testing.assert_array_equal(pulse.values[:, 3750:5750], want)
