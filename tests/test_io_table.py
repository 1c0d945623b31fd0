import io

import numpy as np
import polars as pl
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stethos.errors import FormatError, RateError, UnitError
from stethos.io import read
from stethos.io.matlab import numeric_arrays


def text_file(folder, text, name="x.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def array_file(folder, name="x.npz", **content):
    np.savez(folder / name, **content)
    return folder / name


def test_units_in_headings_make_one_signal_a_unit(tmp_path):
    path = text_file(tmp_path, "# rate: 250\n# origin: synthetic\nI [uV],II (µV),PPG [a.u.]\n1000,2000,3\n,500,4\n")
    ecg, ppg = read(path).signals
    assert (ecg.channels, ecg.unit, ecg.rate, ppg.channels, ppg.unit) == (("I", "II"), "mV", 250, ("PLETH",), "a.u.")
    np.testing.assert_array_equal(ecg.values, np.array([[1, np.nan], [2, 0.5]], np.float32))
    assert read(path).origin == "synthetic"


@pytest.mark.parametrize(
    "text",
    ["I;II\n1,5;-2\n0,25;3\n", "I\tII\n1.5\t-2\n0.25\t3\n", "1.5,-2\n0.25,3\n", "\ufeffI,II\r\n1.5,-2\r\n.25,3\r\n"],
)
def test_separators_decimal_commas_and_missing_headings_are_understood(tmp_path, text):
    signal = read(text_file(tmp_path, text), rate=100, unit="mV").signals[0]
    assert signal.values.tolist() == [[1.5, 0.25], [-2, 3]]
    assert signal.channels in (("I", "II"), ("ch1", "ch2"))


def test_a_time_column_gives_the_rate_and_is_no_channel(tmp_path):
    lines = [f"{n},{n / 300:.3f},{n * 2}" for n in range(3000)]  # milliseconds round a step by 10 %
    signal = read(text_file(tmp_path, "\n".join([",Time [s],II [mV]", *lines]))).signals[0]
    assert (signal.rate, signal.channels, signal.values[0, :3].tolist()) == (300, ("II",), [0, 2, 4])
    lines = [f"{n * 1.95:.5f},{n}" for n in range(100)]
    assert read(text_file(tmp_path, "\n".join(["t (ms),II [mV]", *lines]))).signals[0].rate == pytest.approx(512.8205)


@pytest.mark.parametrize("times", [[0, 1, 2, 4, 5, 6], [0, 1, 1, 0.5, 3], [0, 0, 0]])
def test_a_time_column_that_jumps_or_turns_back_is_refused(tmp_path, times):
    lines = "\n".join(f"{t / 250:.6f},1" for t in times)
    with pytest.raises(RateError, match="the time column must"):
        read(text_file(tmp_path, f"time,I [mV]\n{lines}\n"))


def test_a_rate_column_is_used_and_is_no_channel(tmp_path):
    signal = read(text_file(tmp_path, "Sampling Freq,Time [s], II\n125,0,0.1\n,0.008,0.2\n"), unit="mV").signals[0]
    assert (signal.rate, signal.channels) == (125, ("II",))


def test_an_empty_line_in_a_single_column_is_a_missing_sample(tmp_path):
    signal = read(text_file(tmp_path, "I [mV]\n1\n\n3\n\n"), rate=100).signals[0]
    np.testing.assert_array_equal(signal.values, [[1, np.nan, 3]])


def test_what_is_not_stated_must_be_declared_and_the_flag_is_named(tmp_path):
    path = text_file(tmp_path, "I,II\n1,2\n3,4\n")
    with pytest.raises(RateError, match="sampling rate, which the file does not state; pass --rate HZ"):
        read(path, unit="mV")
    with pytest.raises(UnitError, match="unit of I, II, which the file does not state; pass --unit mV"):
        read(path, rate=100)
    with pytest.raises(UnitError, match="must be one of µV"):
        read(path, rate=100, unit="furlong")
    with pytest.raises(RateError, match="positive number of Hz; got -1"):
        read(path, rate=-1, unit="mV")


def test_what_is_stated_cannot_be_declared_otherwise(tmp_path):
    path = text_file(tmp_path, "# fs = 500 Hz\nI [mV]\n1\n2\n")
    assert read(path, rate=500, unit="mV").signals[0].rate == 500
    with pytest.raises(RateError, match="states 500 Hz and --rate says 250; leave --rate away"):
        read(path, rate=250)
    with pytest.raises(UnitError, match="states mV and --unit says Pa"):
        read(path, unit="Pa")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I,II\n1,2\n3,abc\n5,6\n", "column II must hold numbers; it has 'abc'"),
        ("I,II\n1,2\n3,4,5\n", "not a table with 2 columns"),
        ("# rate: 5\n", "unknown format|empty table"),
        ("a,b\nred,one\ngreen,two\n", "unknown format"),
    ],
)
def test_a_broken_table_says_what_is_wrong(tmp_path, text, said):
    with pytest.raises(FormatError, match=said):
        read(text_file(tmp_path, text), rate=100, unit="mV")


def test_a_rate_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(RateError, match="'fast'; it must be a number"):
        read(text_file(tmp_path, "# rate: fast\nI [mV]\n1\n2\n3\n"))


def test_parquet_columns_are_channels_and_a_date_column_gives_the_rate(tmp_path):
    start = np.datetime64("2024-01-01T00:00:00", "us")
    times = start + (np.arange(50) * 4000).astype("timedelta64[us]")
    frame = pl.DataFrame({"Time": times, "V1 [uV]": np.arange(50), "V2 [uV]": [None, *range(1, 50)]})
    frame.write_parquet(tmp_path / "x.bin")
    signal = read(tmp_path / "x.bin").signals[0]
    assert (signal.rate, signal.channels, signal.unit) == (250, ("V1", "V2"), "mV")
    np.testing.assert_allclose(signal.values[:, :2], [[0, 0.001], [np.nan, 0.001]])


@pytest.mark.parametrize("key", ["rate", "fs", "sampling_rate"])
def test_an_npz_may_state_rate_unit_channels_and_origin(tmp_path, key):
    path = array_file(
        tmp_path,
        values=np.arange(6.0).reshape(2, 3),
        channels=["I", "II"],
        unit="uV",
        origin="synthetic",
        **{key: 512.5},
    )
    record = read(path)
    assert (record.origin, record.signals[0].rate, record.signals[0].channels) == ("synthetic", 512.5, ("I", "II"))
    np.testing.assert_allclose(record.pick("II").values, [[0.003, 0.004, 0.005]], rtol=1e-6)


def test_arrays_by_channel_and_single_arrays_are_read(tmp_path):
    assert read(array_file(tmp_path, I=np.ones(3), II=np.zeros(3)), rate=9, unit="mV").pick("II").values.sum() == 0
    assert read(array_file(tmp_path, PLETH=np.ones(3)), rate=9, unit="1").signals[0].channels == ("PLETH",)
    np.save(tmp_path / "x.npy", np.arange(8).reshape(2, 4))
    assert read(tmp_path / "x.npy", rate=9, unit="mV").signals[0].values.shape == (2, 4)
    scipy.io.savemat(tmp_path / "x.mat", {"PPG": np.arange(50)[:, None], "fs": 125.0})
    assert read(tmp_path / "x.mat", unit="1").signals[0].values.shape == (1, 50)
    scipy.io.savemat(tmp_path / "old.mat", {"PPG": np.arange(50.0)[:, None]}, format="4")
    assert read(tmp_path / "old.mat", unit="1", rate=9).signals[0].channels == ("PLETH",)


@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", ">i2", "i4", "u4", "f4", "f8", "i8", "u8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_arrays_equal_what_scipy_reads(tmp_path, kind, compressed):
    content = {"a": np.arange(12).reshape(3, 4).astype(kind), "note": "text", "x1": np.ones(1), "s": {"b": 1}}
    scipy.io.savemat(tmp_path / "x.mat", content, do_compression=compressed)
    want = scipy.io.loadmat(tmp_path / "x.mat")
    got = numeric_arrays((tmp_path / "x.mat").read_bytes())
    assert set(got) == {"a", "x1"}
    for name, array in got.items():
        np.testing.assert_array_equal(array, want[name])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"values": np.ones((500, 12))}, r"shape \(channels, samples\); got \(500, 12\); transpose it"),
        ({"values": np.ones((2, 9)), "channels": ["I", "II", "III"]}, "names 3 channels for an array of shape"),
        ({"I": np.ones(9), "II": np.ones(8)}, "equally long ones by channel; holds"),
        ({"values": np.array([{"a": 1}], dtype=object)}, "pickled objects are not opened"),
        ({"note": np.array("hello")}, "needs one array"),
    ],
)
def test_arrays_that_are_no_recording_say_why(tmp_path, content, said):
    with pytest.raises(FormatError, match=said):
        read(array_file(tmp_path, **content), rate=100, unit="mV")


RECORDINGS = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(4, 30)),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan),
)


@settings(max_examples=40, deadline=None)
@given(values=RECORDINGS, rate=st.floats(1, 2000))
def test_any_recording_survives_npz(tmp_path_factory, values, rate):
    names = [f"a{n}" for n in range(len(values))]
    path = array_file(tmp_path_factory.mktemp("n"), values=values, rate=rate, channels=names, unit="mmHg")
    (signal,) = read(path).signals
    assert (signal.rate, signal.unit, signal.channels) == (rate, "mmHg", tuple(names))
    np.testing.assert_array_equal(signal.values, values)


@settings(max_examples=40, deadline=None)
@given(values=RECORDINGS, comma=st.booleans())
def test_any_recording_survives_csv(tmp_path_factory, values, comma):
    values = np.where(np.isnan(values).all(), 0, values)
    frame = pl.DataFrame({f"a{n}": row.astype(np.float64) for n, row in enumerate(values)})
    buffer = io.BytesIO()
    frame.fill_nan(None).write_csv(buffer, null_value="NA", separator=";" if comma else ",", decimal_comma=comma)
    path = tmp_path_factory.mktemp("c") / "x.csv"
    path.write_bytes(b"# rate: 125\n# unit: a.u.\n" + buffer.getvalue())
    np.testing.assert_array_equal(read(path).signals[0].values, values)


@pytest.mark.realdata
def test_real_tables_and_arrays_are_read_at_their_rate(real):
    ppg = read(real / "ppg/bidmc/bidmc_01_Signals.csv", unit="a.u.").signals[0]
    assert (ppg.rate, ppg.values.shape) == (125, (5, 60001))
    assert ppg.pick("PLETH").values[0, :2].tolist() == pytest.approx([0.43597, 0.43206])
    for path in (real / "ecg/code15/org").glob("*.mat"):
        want = scipy.io.loadmat(path)["feats"]
        got = read(path, unit="mV").signals[0]
        assert got.rate == 400
        np.testing.assert_array_equal(got.values, want.astype(np.float32))
    for path in (real / "ppg/marsh").glob("*/PPG.mat"):
        assert read(path, rate=500, unit="a.u.").signals[0].values.shape[1] > 200_000
