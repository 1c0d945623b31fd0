"""Files of published pulses: VitalDB, CapnoBase, WESAD and PPG-DaLiA, bare rows of numbers, workbooks."""

import gzip
import pickle
import struct
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ChannelError, FormatError, MissingExtraError, RateError, StethosError, UnitError
from stethos.io import read
from stethos.io.header import parse_header
from stethos.io.vital import read_vital, vital_means, vital_tracks
from stethos.io.workbook import read_workbook
from stethos.signal.marked import marked_rate

START = 1_600_000_000.0  # 2020-09-13 12:26:40 UTC


def text(said: str) -> bytes:
    return struct.pack("<I", len(said.encode())) + said.encode()


def packet(kind: int, content: bytes) -> bytes:
    return struct.pack("<BI", kind, len(content)) + content


def track(tid: int, kind: int, code: int, name: str, unit: str = "", rate: float = 0, scale=(1.0, 0.0), device=1):
    shown = struct.pack("<ffIfdd", 0, 100, 0, rate, *scale)
    return packet(
        0, struct.pack("<HBB", tid, kind, code) + text(name) + text(unit) + shown + struct.pack("<BI", 0, device)
    )


def piece(tid: int, time: float, content: bytes) -> bytes:
    return packet(1, struct.pack("<HdH", 10, time, tid) + content)


def wave(tid: int, time: float, values, dtype: str) -> bytes:
    return piece(tid, time, struct.pack("<I", len(values)) + np.asarray(values, dtype).tobytes())


def vital(path: Path, *packets: bytes, bias: int = -540) -> Path:
    head = struct.pack("<hIIdd", bias, 0, 0, START, START + 10)
    with gzip.open(path, "wb") as file:
        file.write(b"VITA" + struct.pack("<IH", 3, len(head)) + head + b"".join(packets))
    return path


DEVICES = packet(9, struct.pack("<I", 1) + text("SNUADC") + text("")) + packet(
    9, struct.pack("<I", 2) + text("Solar 8000") + text("Solar8000")
)
TRACKS = DEVICES + b"".join(
    (
        track(1, 1, 1, "PLETH", rate=4),
        track(2, 1, 5, "ART", "mmHg", rate=2, scale=(0.5, 10.0)),
        track(3, 2, 1, "HR", "/min", device=2),
        track(4, 5, 0, "EVENT", device=0),
    )
)
PIECES = (
    wave(1, START + 0.5, [1, 2, 3, 4], "<f4")
    + wave(2, START, [100, -32768, 120], "<i2")
    + piece(3, START, struct.pack("<f", 60))
    + piece(3, START + 2, struct.pack("<f", 80))
    + piece(4, START, struct.pack("<I", 0) + text("induction"))
    + wave(1, START + 2.0, [5, np.inf], "<f4")
)


def test_the_waves_of_an_operation_lie_on_one_time_axis_with_gaps_as_nan(tmp_path):
    record = read(vital(tmp_path / "0001.vital", TRACKS, PIECES))
    nan = np.nan
    pulse, pressure = record.pick("PLETH"), record.pick("ART")
    assert (pulse.rate, pulse.unit, pressure.rate, pressure.unit) == (4.0, "a.u.", 2.0, "mmHg")
    np.testing.assert_array_equal(pulse.values, [[nan, nan, 1, 2, 3, 4, nan, nan, 5, nan]])
    np.testing.assert_array_equal(pressure.values, [[60, nan, 70, nan, nan]])  # 0.5 × stored + 10
    assert record.when == datetime(2020, 9, 13, 21, 26, 40)  # nine hours ahead of UTC


def test_a_file_is_listed_by_its_beginning_and_its_numbers_are_averaged(tmp_path):
    path = vital(tmp_path / "1.vital", TRACKS, PIECES)
    assert vital_tracks(path) == ("SNUADC/PLETH", "SNUADC/ART", "Solar8000/HR", "EVENT")
    assert vital_means(path) == {"Solar8000/HR": 70.0}


def test_a_date_that_was_removed_is_none(tmp_path):
    moved = wave(1, datetime(2100, 1, 1).timestamp() + 86400, [1, 2], "<f4")
    assert read(vital(tmp_path / "1.vital", TRACKS, moved, bias=0)).when is None
    assert read(vital(tmp_path / "2.vital", TRACKS, wave(1, 0.0, [1, 2], "<f4"), bias=0)).when is None


@pytest.mark.parametrize(
    ("packets", "why"),
    [
        ((TRACKS,), "needs a wave, such as SNUADC/PLETH"),
        ((TRACKS, PIECES[:-3]), "a packet of 24 bytes ends after 21"),
        ((TRACKS, piece(1, START, struct.pack("<I", 9))), "a piece of a track is shorter than it says"),
        ((TRACKS, wave(1, START, [1], "<f4"), wave(1, START + 1e9, [1], "<f4")), "would hold 4e[+]09 samples"),
        ((packet(0, b"\x01\x00\x01\x01\x02"),), "is not described whole"),
    ],
)
def test_a_damaged_file_of_vital_recorder_says_what_is_wrong(tmp_path, packets, why):
    with pytest.raises(FormatError, match=why):
        read(vital(tmp_path / "1.vital", *packets))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_vital_file_is_read_or_refused_with_our_own_error(tmp_path_factory, data):
    path = vital(tmp_path_factory.mktemp("v") / "x.vital", TRACKS, PIECES)
    said = bytearray(gzip.decompress(path.read_bytes()))
    for _ in range(data.draw(st.integers(1, 3))):
        said[data.draw(st.integers(4, len(said) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(gzip.compress(bytes(said[: data.draw(st.sampled_from([len(said), 60, 9]))])))
    try:
        read_vital(path)
    except StethosError:
        return


def subject(**more: object) -> dict:
    wrist = {"BVP": np.arange(128.0)[:, None], "ACC": np.tile([0.0, 0.0, 64.0], (64, 1)), "EDA": np.zeros((8, 1))}
    chest = {"ECG": np.zeros((1400, 1)), "Resp": np.ones((1400, 1)), "ACC": np.ones((1400, 3))}
    return {"subject": "S2", "signal": {"wrist": wrist, "chest": chest}, **more}


def pickled(path: Path, held: object) -> Path:
    path.write_bytes(pickle.dumps(held, 2))
    return path


def test_wrist_and_chest_are_read_at_their_published_rates_and_units(tmp_path):
    record = read(pickled(tmp_path / "S2.pkl", subject(label=np.zeros(1400, int))))
    held = {signal.channels: (signal.rate, signal.unit, signal.duration) for signal in record.signals}
    assert held == {
        ("PLETH",): (64, "a.u.", 2),
        ("ACC_X", "ACC_Y", "ACC_Z"): (32, "g", 2),
        ("ECG",): (700, "mV", 2),
        ("RESP",): (700, "%", 2),
    }
    assert record.facts == {}  # a label of WESAD is a condition, not a heart rate


@pytest.mark.parametrize("one_g", [1.0, 64.0])
def test_a_wrist_at_rest_feels_one_g_in_either_scale(tmp_path, one_g):
    held = subject()
    held["signal"]["wrist"]["ACC"] = np.tile([0.6 * one_g, 0.0, 0.8 * one_g], (64, 1))
    acc = read(pickled(tmp_path / "S1.pkl", held)).pick("ACC_X", "ACC_Y", "ACC_Z").values
    assert np.linalg.norm(acc, axis=0) == pytest.approx(1)


def test_what_a_pickle_knows_of_its_subject_becomes_facts(tmp_path):
    asked = {"AGE": 34, "Gender": " m", "HEIGHT": 182.0, "WEIGHT": 78.0, "SKIN": 3}
    held = subject(label=np.array([60.0, 70.0, 74.0]), activity=np.zeros((8, 1)), questionnaire=asked)
    facts = read(pickled(tmp_path / "S1.pkl", held)).facts
    assert facts == {"age": 34, "sex": "M", "height": 182, "weight": 78, "hr": 68}


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ({"signal": {"chest": {}}}, "needs signal, wrist, BVP .* it has signal"),
        ([1, 2], "it has list"),
        ({"signal": {"wrist": {"BVP": np.zeros((4, 2))}}}, r"needs 1 columns of numbers; got shape \(4, 2\)"),
    ],
)
def test_a_pickle_of_another_layout_says_what_it_has(tmp_path, held, why):
    with pytest.raises(FormatError, match=why):
        read(pickled(tmp_path / "x.pkl", held))


def capnobase(path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, rate in (("pleth", 300.0), ("co2", 300.0), ("ecg", 300.0)):
            file[f"signal/{name}/y"] = np.arange(3000.0)[None]
            file[f"param/samplingrate/{name}"] = [[rate]]
        file["labels/co2/startinsp/x"] = np.arange(5)[None] * 1200.0  # every 4 s
        file["labels/pleth/peak/x"] = np.arange(9)[None] * 240.0  # every 0.8 s
        file["labels/ecg/peak/x"] = np.zeros(2, np.uint64)  # MATLAB's way to write what is empty
        file["labels/ecg/peak/x"].attrs["MATLAB_empty"] = 1
        file["meta/subject/age"], file["meta/subject/weight"] = [[7.5]], [[24.0]]
        file["meta/subject/gender"] = np.zeros(2, np.uint64)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def test_a_case_of_capnobase_is_read_with_its_experts_rates(tmp_path):
    record = read(capnobase(tmp_path / "0009_8min.mat"))
    (signal,) = record.signals
    assert (signal.channels, signal.rate, signal.unit, signal.duration) == (("PLETH", "ECG", "CO2"), 300, "a.u.", 10)
    assert record.facts == {"age": 7.5, "weight": 24, "resp_rate": 15, "hr": 75}


def test_hdf5_of_another_layout_or_damaged_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["signal/ecg/y"], file["param/samplingrate/ecg"] = np.zeros(9), [[100.0]]
    with pytest.raises(FormatError, match="HDF5 of another layout than CapnoBase's"):
        read(tmp_path / "x.h5")
    (tmp_path / "y.mat").write_bytes(capnobase(tmp_path / "0009_8min.mat").read_bytes()[:900])
    with pytest.raises(FormatError, match="a damaged HDF5 file"):
        read(tmp_path / "y.mat")


def test_hdf5_without_its_package_says_which_extra_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    with pytest.raises(MissingExtraError, match=r"pip install 'stethos\[hdf5\]', or save it as MATLAB 5 or NPZ"):
        read(tmp_path / "x.mat")


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_a_single_line_of_numbers_is_one_channel(tmp_path, separator):
    values = np.arange(300) / 8
    (tmp_path / "2_1.txt").write_text(separator.join(map(str, values)) + separator)
    signal = read(tmp_path / "2_1.txt", rate=1000, channels="PLETH [a.u.]").signals[0]
    assert (signal.channels, signal.unit, signal.duration) == (("PLETH",), "a.u.", 0.3)
    np.testing.assert_array_equal(signal.values[0], values.astype(np.float32))


def test_a_line_of_few_numbers_is_no_recording(tmp_path):
    (tmp_path / "x.txt").write_text("1\t2\t3\n")
    with pytest.raises(FormatError, match="unknown format"):
        read(tmp_path / "x.txt", rate=1000, unit="mV")


def test_channels_are_declared_in_order_with_their_units_and_may_be_left_out(tmp_path):
    np.savez(tmp_path / "x.npz", sig=np.arange(40.0).reshape(4, 10))
    record = read(tmp_path / "x.npz", rate=125, unit="g", channels="ECG [µV], PPG [a.u.], -, ACC_X")
    ecg, pulse, acc = record.signals
    assert (ecg.channels, ecg.unit, ecg.values[0, 9]) == (("ECG",), "mV", np.float32(0.009))
    assert (pulse.channels, pulse.unit, pulse.values[0, 0]) == (("PLETH",), "a.u.", 10)
    assert (acc.channels, acc.unit, acc.values[0, 0]) == (("ACC_X",), "g", 30)


@pytest.mark.parametrize(
    ("channels", "error", "why"),
    [
        ("PLETH [a.u.]", ChannelError, r"needs a name for each of its 2 channels \(I, pleth\); got 'PLETH \[a.u.\]'"),
        ("II [mV], PLETH", ChannelError, "the file names a channel I where II is declared"),
        ("I [mmHg], PLETH", UnitError, "the file states mV for I where mmHg is declared"),
        ("I, PLETH [furlong]", UnitError, "the unit must be one of"),
        ("I,", ChannelError, "needs a name for each"),
        ("I, PLETH", UnitError, "needs the unit of PLETH"),
    ],
)
def test_what_a_file_names_cannot_be_declared_otherwise(tmp_path, channels, error, why):
    (tmp_path / "x.csv").write_text("I [mV],pleth\n" + "1,2\n" * 9)
    with pytest.raises(error, match=why):
        read(tmp_path / "x.csv", rate=100, channels=channels)
    assert read(tmp_path / "x.csv", rate=100, channels="I, PLETH [1]").signals[1].unit == "1"


def test_a_format_that_names_its_channels_takes_no_declaration(tmp_path):
    path = vital(tmp_path / "1.vital", TRACKS, PIECES)
    with pytest.raises(ChannelError, match="a file of format vital names its channels itself"):
        read(path, channels="PLETH")


@pytest.mark.parametrize(
    "times",
    [
        np.arange(500) / 125,
        1.6e9 + np.arange(500) / 125,
        np.datetime64("2024-05-01T10:00") + (np.arange(500) * 8).astype("timedelta64[ms]"),
        (np.datetime64("2024-05-01T10:00") + (np.arange(500) * 8).astype("timedelta64[ms]")).astype(str),
    ],
)
def test_timestamps_give_the_rate_and_are_no_channel(tmp_path, times):
    np.savez(tmp_path / "x.npz", ppg_value=np.arange(500.0), timestamp=times)
    (signal,) = read(tmp_path / "x.npz", unit="a.u.").signals
    assert (signal.channels, signal.rate, signal.values.shape) == (("PLETH",), 125, (1, 500))


def test_a_declared_rate_is_taken_before_timestamps_that_jump(tmp_path):
    np.savez(tmp_path / "x.npz", ppg_value=np.arange(4.0), timestamp=np.array([0, 1, 5, 6.0]))
    with pytest.raises(RateError, match="pass --rate HZ"):
        read(tmp_path / "x.npz", unit="a.u.")
    assert read(tmp_path / "x.npz", unit="a.u.", rate=100).signals[0].rate == 100
    np.savez(tmp_path / "y.npz", ppg_value=np.arange(4.0), timestamp=np.array(["a", "b", "c", "d"]))
    with pytest.raises(RateError, match="timestamps must be seconds or ISO dates"):
        read(tmp_path / "y.npz", unit="a.u.")


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def workbook(path: Path, rows: list[list[str | float | None]]) -> Path:
    """A workbook as Excel writes it: texts shared, empty cells left out, the sheet named in the relations."""
    texts = list(dict.fromkeys(cell for row in rows for cell in row if isinstance(cell, str)))
    lines = []
    for at, row in enumerate(rows, start=1):
        cells = [
            f'<c r="{chr(65 + column)}{at}" t="s"><v>{texts.index(cell)}</v></c>'
            if isinstance(cell, str)
            else f'<c r="{chr(65 + column)}{at}"><v>{cell}</v></c>'
            for column, cell in enumerate(row)
            if cell is not None
        ]
        lines.append(f'<row r="{at}">{"".join(cells)}</row>')
    shared = "".join(f"<si><r><t>{said[:2]}</t></r><r><t>{said[2:]}</t></r></si>" for said in texts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="one" sheetId="7" r:id="rId3"/></sheets>'
            "</workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships><Relationship Id="rId3" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{shared}</sst>')
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
        )
    return path


def test_the_first_sheet_of_a_workbook_is_read_as_text(tmp_path):
    path = workbook(tmp_path / "x.xlsx", [["title"], [], ["Num.", "Age(year)", "Sex"], [1, 45.5, None], [2, None, "M"]])
    assert read_workbook(path) == [["title"], [], ["Num.", "Age(year)", "Sex"], ["1", "45.5"], ["2", "", "M"]]


def test_what_is_no_workbook_is_refused(tmp_path):
    (tmp_path / "x.xlsx").write_text("no")
    with pytest.raises(FormatError, match=r"not a readable \.xlsx workbook .*; save it as CSV"):
        read_workbook(tmp_path / "x.xlsx")
    with pytest.raises(FormatError, match="cannot be read"):
        read_workbook(tmp_path / "none.xlsx")


def test_a_header_says_when_it_starts_and_how_long_it_lasts(tmp_path):
    (tmp_path / "a.hea").write_text("a/2 1 62.4725/999.56 1000 16:57:09.250 26/10/2137\nb 400\nc 600\n")
    header = parse_header(tmp_path / "a.hea")
    assert header.when == datetime(2137, 10, 26, 16, 57, 9, 250_000)
    assert header.seconds == pytest.approx(16.007, abs=1e-3)
    (tmp_path / "b.hea").write_text("b 1 125 400 16:57:39\nb.dat 16\n")
    assert parse_header(tmp_path / "b.hea").when is None


def test_the_rate_of_marks_counts_intervals_from_the_first_to_the_last():
    assert marked_rate(np.array([1.0, 3.0, 5.0, 7.0])) == 30
    assert (
        marked_rate(np.array([7.0, 3.0, 5.0, 5.0, 1.0, np.nan, 90.0]), until=10) == 30
    )  # order, repeats, after the end
    assert marked_rate(np.array([1.0, 2.0])) is None
