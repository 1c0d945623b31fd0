"""The front door: formats told apart by content, one sentence for every file that cannot be read."""

import json
import subprocess
import sys

import edfio
import numpy as np
import polars as pl
import pytest
import scipy.io
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import FormatError, RateError, StethosError, UnitError
from stethos.io import inspect, read
from stethos.io.wfdb import write_wfdb
from stethos.types import Record, Signal

WAVE = np.random.default_rng(0).normal(0, 0.4, 300).round(3)


def watch(folder):
    lines = [
        "Name,A",
        "Recorded Date,2026-05-30 16:32:18 +0200",
        "Sample Rate,512 Hz",
        "",
        "Lead,Lead I",
        "Unit,mV",
        "",
    ]
    (folder / "x").write_text("\n".join([*lines, *map(str, WAVE)]))


def table(folder):
    (folder / "x").write_text("\n".join(["# rate: 500", "I [mV],II [mV]", *(f"{v},{v}" for v in WAVE)]))


def npz(folder):
    with (folder / "x").open("wb") as file:
        np.savez_compressed(file, values=WAVE, rate=500, unit="mV")


def matlab(folder):
    with (folder / "x").open("wb") as file:
        scipy.io.savemat(file, {"ECG": WAVE[None], "fs": 500.0}, do_compression=False)


def matlab_4(folder):
    with (folder / "x").open("wb") as file:
        scipy.io.savemat(file, {"ECG": WAVE[None], "fs": 500.0}, format="4")


def parquet(folder):
    pl.DataFrame({"time": np.arange(300) / 500, "I [mV]": WAVE}).write_parquet(folder / "x")


def edf(folder):
    signal = edfio.EdfSignal(WAVE, 300, label="ECG I", physical_dimension="mV", physical_range=(-5, 5))
    edfio.Edf([signal]).write(folder / "x.edf")
    (folder / "x.edf").rename(folder / "x")


def wfdb_header(folder):
    wfdb.wrsamp("r", 500, ["mV"], ["I"], WAVE[:, None], fmt=["16"], write_dir=str(folder))
    (folder / "r.hea").rename(folder / "x")


WRITERS = {
    "watch": watch, "table": table, "npz": npz, "matlab": matlab, "matlab_4": matlab_4,
    "parquet": parquet, "edf": edf, "wfdb": wfdb_header,
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["", ".csv", ".edf", ".txt", ".xml"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_under_a_wrong_name_is_read_all_the_same(tmp_path, kind, suffix):
    WRITERS[kind](tmp_path)
    (tmp_path / "x").rename(tmp_path / f"y{suffix}")
    unit = "mV" if kind.startswith("matlab") else None
    record = read(tmp_path / f"y{suffix}", unit=unit)
    assert record.id == "y"
    np.testing.assert_allclose(record.signals[0].values[0], WAVE, atol=1e-3)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "it is empty"),
        (b"\x7fELF\0\0\0\0\0", "it begins with b'.x7fELF"),
        (b'{"samples": [1, 2]}', "it looks like JSON"),
        (b"PK\x03\x04zip", "it is a zip archive without arrays"),
        (b"<?xml version='1.0'?><html></html>", "it begins with"),
        (b"Dear colleague,\nplease find enclosed\nthe report.\n", "it begins with b'Dear"),
    ],
)
def test_an_unknown_format_says_what_was_seen_and_what_is_known(tmp_path, content, seen):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(FormatError, match=f"unknown format; {seen}.*known are WFDB, EDF"):
        read(tmp_path / "x.csv")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(FormatError, match="No such file"):
        read(tmp_path / "nothing")
    with pytest.raises(FormatError, match="a folder; name one recording"):
        read(tmp_path)


def test_a_rate_or_unit_that_the_file_contradicts_is_refused(tmp_path):
    wfdb.wrsamp("r", 500, ["mV"], ["I"], WAVE[:, None], fmt=["16"], write_dir=str(tmp_path))
    assert read(tmp_path / "r", rate=500, unit="uV").signals[0].unit == "mV"
    with pytest.raises(RateError, match="the file states 500 Hz and --rate says 250"):
        read(tmp_path / "r", rate=250)
    with pytest.raises(UnitError, match="the file states mV and --unit says Pa"):
        read(tmp_path / "r", unit="Pa")


def test_an_inspection_counts_gaps_and_speaks_in_lines_and_json(tmp_path):
    values = np.tile(np.float32(0.1), (2, 1000))
    values[0, 10:20] = values[0, 500:] = np.nan
    signals = (Signal(values, 100, ("PLETH", "RESP"), "1"),)
    write_wfdb(Record("s", "s", signals, origin="synthetic"), tmp_path, "w")
    found = inspect(tmp_path / "w")
    assert (found.format, found.origin, found.quality) == ("wfdb", "synthetic", ())
    assert [(gap.channel, gap.seconds, gap.runs) for gap in found.gaps] == [("PLETH", 5.1, 2)]
    assert [(s.rate, s.unit, s.samples, s.duration) for s in found.signals] == [(100, "1", 1000, 10)]
    assert "PLETH, RESP: 100 Hz, 1, 1000 samples, 10.000 s" in str(found)
    assert json.loads(json.dumps(found.to_json()))["gaps"][0]["runs"] == 2


def test_an_ecg_is_inspected_for_quality_and_a_flat_line_is_said_to_be_flat(tmp_path):
    (tmp_path / "flat.csv").write_text("# rate: 500\nI [mV]\n" + "0.1\n" * 10_000)
    found = inspect(tmp_path / "flat.csv")
    assert [window.ok for window in found.quality] == [False, False]
    assert "0 to 20 s: flat" in found.lines()[-1]


def test_importing_the_readers_imports_no_format_library():
    heavy = "{'wfdb', 'polars', 'edfio', 'pydicom', 'ecgdatakit', 'torch', 'pandas', 'neurokit2'}"
    code = f"import sys, stethos.io; print(sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(WRITERS)), data=st.data())
def test_a_damaged_file_is_read_or_refused_with_our_own_error(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("f")
    WRITERS[kind](folder)
    content = bytearray((folder / "x").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(len(content), 700) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content), len(content) // 2, 260, 20]))]
    (folder / "x").write_bytes(content)
    try:
        assert read(folder / "x", unit="mV").signals
    except StethosError:
        return
