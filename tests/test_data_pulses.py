"""Published pulses become cohorts: each layout small, as it is published, and the real ones where they are here."""

import json
import pickle
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.io
import wfdb

from stethos.data.cohort import open_cohort
from stethos.data.listing import MEANS
from stethos.data.pulse_exports import import_reports, import_vitaldb
from stethos.data.pulse_studies import import_capnobase, import_marsh, import_troika, import_wesad
from stethos.data.pulse_tables import import_bidmc, import_ppg_bp
from stethos.data.pulses import import_mcmed, import_mimic3_waves, import_mimic4_waves
from stethos.data.write import write_cohort
from stethos.errors import CohortError, MissingExtraError
from stethos.io import read
from stethos.io.wfdb import write_wfdb
from stethos.types import Cohort, Record, Signal
from tests.test_io_published import PIECES, TRACKS, capnobase, piece, track, vital, wave, workbook

PULSE = np.sin(np.arange(1000) / 20)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf8")


def recording(path: Path, channels: str = "PLETH", rate: float = 125.0, when: datetime | None = None, unit: str = "1"):
    names = tuple(channels.split())
    values = np.stack([PULSE * (place + 1) for place in range(len(names))])
    write_wfdb(Record("", "", (Signal(values, rate, names, unit),), when=when), path.parent, path.name)


def cells(cohort: Cohort, *names: str) -> list[tuple]:
    return list(zip(*(cohort.rows[name].tolist() for name in names), strict=True))


def mimic3(root: Path, subject: str, start: str, segments: list[str], layout: str = "PLETH II ABP") -> Path:
    """A record of segments: the channels of each, "~" for a gap of 500 samples, "!" for one that is missing."""
    folder = root / subject[:3] / subject
    stem = f"{int(subject[1:]):05d}{start[2:4]}"
    lines, length = [f"{stem}_layout 0"], 0
    for number, channels in enumerate(segments, start=1):
        if channels == "~":
            lines.append("~ 500")
        else:
            lines.append(f"{stem}_{number:04d} 1000")
            if channels != "!":
                recording(folder / f"{stem}_{number:04d}", channels)
        length += 500 if channels == "~" else 1000
    names = layout.split()
    write(
        folder / f"{stem}_layout.hea",
        "\n".join([f"{stem}_layout {len(names)} 125 0", *(f"~ 0 1/NU 16 0 0 0 0 {name}" for name in names)]),
    )
    name = f"{subject}-{start}"
    day = "/".join(reversed(start.split("-")[:3]))
    clock = ":".join(start.split("-")[3:]) + ":09.000"
    write(
        folder / f"{name}.hea",
        "\n".join([f"{name}/{len(lines)} {len(names)} 125 {length} {clock} {day}", *lines, "# Location: micu"]),
    )
    return folder / name


@pytest.fixture
def waves3(tmp_path: Path) -> Path:
    root = tmp_path / "mimic3"
    first = mimic3(root, "p000123", "2137-10-26-16-57", ["~", "PLETH", "II PLETH ABP"])
    mimic3(root, "p000123", "2138-01-02-03-04", ["II", "ABP"])
    mimic3(root, "p007000", "2101-01-01-00-00", ["PLETH", "!"])
    mimic3(root, "p007000", "2102-01-01-00-00", ["PLETH"])
    rates = np.array([[80.0, 0, 90], [0, 18, 0], [120, 124, 0], [80, 78, 0], [999, 999, 999]])
    names = ("HR", "RESP", "NBP SYS", "NBPDias", "ABP SYS")
    write_wfdb(Record("", "", (Signal(rates, 1.0, names, "1"),)), first.parent, f"{first.name}n")
    return root


def test_records_of_mimic_3_with_a_pulse_are_listed_gaps_and_all(waves3: Path, tmp_path: Path):
    result = import_mimic3_waves(waves3, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "id", "subject") == [
        ("p000123-2137-10-26-16-57", "p000123"),
        ("p007000-2102-01-01-00-00", "p007000"),
    ]
    assert str(cohort.rows["when"][0]) == "2137-10-26T16:57:09"
    assert dict(result.skipped) == {
        "p00/p000123/p000123-2138-01-02-03-04.hea": "it holds no PLETH",
        "p00/p007000/p007000-2101-01-01-00-00.hea": "cannot be read (No such file or directory); check the path",
    }
    pulse = cohort[0].pick("PLETH")
    assert (pulse.rate, pulse.values.shape) == (125.0, (1, 2500))
    assert np.isnan(pulse.values[0, :500]).all()
    want = np.concatenate([PULSE, 2 * PULSE])  # in the second segment the pulse is the second channel
    np.testing.assert_allclose(pulse.values[0, 500:], want, atol=1e-3)
    assert cohort.rows["shifted"].tolist() == [1, 1]
    assert cohort.terms == "ODbL 1.0"


def test_numerics_of_mimic_3_are_averaged_without_the_zeros_that_mean_nothing(waves3: Path, tmp_path: Path):
    write(waves3 / "p00" / "p007000" / "p007000-2102-01-01-00-00n.hea", "no header")
    result = import_mimic3_waves(waves3, tmp_path / "out")
    rows = open_cohort(tmp_path / "out").rows
    assert result.notes == (MEANS, "numerics that cannot be read, so that their means are missing: 1")
    first = {name: rows[name][0] for name in ("hr", "resp_rate", "sbp", "dbp")}
    # the arterial line states no lower pressure, so both pressures are the cuff's
    assert first == {"hr": 85.0, "resp_rate": 18.0, "sbp": 122.0, "dbp": 79.0}
    assert np.isnan(rows["hr"][1])


def test_the_patients_of_mimic_3_give_age_and_sex(waves3: Path, tmp_path: Path):
    write(
        tmp_path / "PATIENTS.csv",
        """
        ROW_ID,SUBJECT_ID,GENDER,DOB,DOD
        1,123,F,2077-10-27 00:00:00,
        2,7000,M,1801-05-05 00:00:00,
        """,
    )
    import_mimic3_waves(waves3, tmp_path / "out", tmp_path / "PATIENTS.csv")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "age", "sex") == [(59, "F"), (90, "M")]  # a day before the birthday; older than 89
    assert "no redistribution" in cohort.terms


def test_a_record_of_several_rates_and_layouts_is_read_as_the_package_reads_it(tmp_path: Path):
    folder = tmp_path / "waves" / "p100" / "p10014354" / "81739927"
    rng = np.random.default_rng(0)

    def segment(name: str, *signals: tuple[str, int, str]) -> None:
        made = [
            Signal(rng.normal(size=(1, 400 * spf)), 62.4725 * spf, (channel,), unit) for channel, spf, unit in signals
        ]
        write_wfdb(Record("", "", tuple(made)), folder, name)

    segment("81739927_0001", ("II", 4, "mV"), ("Resp", 1, "Ohm"))
    segment("81739927_0002", ("II", 4, "mV"), ("Pleth", 2, "1"), ("Resp", 1, "Ohm"))
    write(
        folder / "81739927_0000.hea",
        """
        81739927_0000 3 62.4725/999.56 0
        ~ 0x4 200/mV 14 0 0 0 0 II
        ~ 0x2 4096/NU 12 0 0 0 0 Pleth
        ~ 0 4093/Ohm 12 0 0 0 0 Resp
        """,
    )
    write(
        folder / "81739927.hea",
        """
        81739927/4 3 62.4725/999.56 1000 14:46:37.250 31/08/2148
        81739927_0000 0
        81739927_0001 400
        ~ 200
        81739927_0002 400
        # subject_id 10014354
        """,
    )
    import_mimic4_waves(tmp_path, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "id", "subject") == [("81739927", "10014354")]
    assert str(cohort.rows["when"][0]) == "2148-08-31T14:46:37"
    record = cohort[0]
    want = wfdb.rdrecord(str(folder / "81739927"), m2s=True, smooth_frames=False)
    for name, stated, values in zip(want.sig_name, ("II", "PLETH", "Resp"), want.e_p_signal, strict=True):
        got = record.pick(stated)
        assert got.rate == 62.4725 * {"II": 4, "Pleth": 2, "Resp": 1}[name]
        np.testing.assert_array_equal(got.values[0], values.astype(np.float32))
    assert np.isnan(record.pick("PLETH").values[0, :1200]).all()
    assert np.isfinite(record.pick("PLETH").values[0, 1200:]).all()


@pytest.fixture
def emergency(tmp_path: Path) -> Path:
    root = tmp_path / "mcmed"
    for csn, number, hour in (("99000123", 1, 10), ("99000123", 2, 12), ("99000777", 1, 9)):
        folder = root / "data" / "waveforms" / csn[-3:] / csn
        recording(folder / "Pleth" / f"{csn}_{number}", "Pleth", when=datetime(2097, 6, 6, hour))
        recording(folder / "II" / f"{csn}_{number}", "II", 500.0)
    write(
        root / "data" / "numerics.csv",
        """
        CSN,Source,Measure,Value,Time
        99000123,Monitor,HR,80,2097-06-06T10:00:01Z
        99000123,Monitor,HR,90,2097-06-06T10:00:07Z
        99000123,Monitor,HR,200,2097-06-06T10:00:08Z
        99000123,Monitor,SBP,131,2097-06-06T10:00:02Z
        99000123,Monitor,SpO2,97,2097-06-06T10:00:02Z
        99000777,Monitor,HR,55,2097-06-06T10:00:02Z
        """,
    )
    return root


VISITS = """
    MRN,CSN,Age,Gender,Dx_name,Arrival_time
    m1,99000123,54,Female,"Atrial fibrillation, unspecified",2097-06-06T09:00:00Z
"""


def test_segments_of_an_emergency_visit_belong_to_the_patient_of_the_visit(emergency: Path, tmp_path: Path):
    write(emergency / "data" / "visits.csv", VISITS)
    result = import_mcmed(emergency, tmp_path / "out", numerics=emergency / "data" / "numerics.csv")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "id", "subject", "sex", "visit") == [
        ("99000123_1", "m1", "F", 99000123),
        ("99000123_2", "m1", "F", 99000123),
        ("99000777_1", "99000777", None, 99000777),
    ]
    assert cohort.rows["diagnoses"][0] == "Atrial fibrillation, unspecified"
    # a recording lasts 8 s: what was measured at its end, or in another visit, does not count
    np.testing.assert_array_equal(cohort.rows["hr"], [85, np.nan, np.nan])
    np.testing.assert_array_equal(cohort.rows["sbp"], [131, np.nan, np.nan])
    assert str(cohort.rows["when"][1]) == "2097-06-06T12:00:00"
    assert cohort[0].signals[0].channels == ("PLETH",)
    assert result.notes == ("without a visit in visits.csv, so that the visit stands for the patient: 1 recordings",)


def test_without_visits_every_visit_is_a_subject_and_this_is_said(emergency: Path, tmp_path: Path):
    result = import_mcmed(emergency, tmp_path / "out")
    assert open_cohort(tmp_path / "out").subjects.tolist() == ["99000123", "99000123", "99000777"]
    assert result.notes[0].endswith("3 recordings")
    write(tmp_path / "n.csv", "a,b\n1,2")
    with pytest.raises(CohortError, match="needs the columns CSN, Measure, Value, Time; it has a, b"):
        import_mcmed(emergency, tmp_path / "out", numerics=tmp_path / "n.csv")
    write(tmp_path / "v.csv", "MRN\n1")
    with pytest.raises(CohortError, match="needs the column CSN; it has MRN"):
        import_mcmed(emergency, tmp_path / "out", tmp_path / "v.csv")


@pytest.fixture
def operations(tmp_path: Path) -> Path:
    root = tmp_path / "vitaldb"
    root.mkdir()
    vital(root / "0001.vital", TRACKS, PIECES)
    vital(root / "0002.vital", track(1, 1, 1, "ECG_II", rate=4), wave(1, 0.0, [1, 2], "<f4"))
    (root / "0003.vital").write_bytes(b"\x1f\x8bnot")
    rows = "".join(f"{n / 100:.2f},{n},{n + 60},72,120\n" for n in range(200))
    (root / "0004.csv").write_text("Time,SNUADC/PLETH,SNUADC/ART,Solar8000/HR,Solar8000/NIBP_SBP\n" + rows)
    np.savez(root / "5.npz", **{"SNUADC/PLETH": np.arange(200.0), "SNUADC/ECG_II": np.zeros(200)})
    write(
        root / "clinical_data.csv",
        """
        caseid,subjectid,age,sex,height,weight,dx,opname,preop_htn
        1,5955,77,M,160.2,67.5,Rectal cancer,Low anterior resection,1
        4,5955,78,M,160.2,67.5,Stoma,Closure,1
        """,
    )
    return root


def test_operations_with_a_pulse_are_listed_with_the_person_and_the_monitors_means(operations: Path, tmp_path: Path):
    result = import_vitaldb(operations, tmp_path / "out", rate=100.0)
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "id", "subject", "diagnoses", "hr")[:2] == [
        ("1", "5955", "Rectal cancer", 70.0),
        ("4", "5955", "Stoma", 72.0),
    ]
    assert cohort.subjects.tolist() == ["5955", "5955", "5"]
    assert cohort.rows["sbp"].tolist()[1] == 120
    assert [path for path, _ in result.skipped] == ["0002.vital", "0003.vital"]
    assert result.skipped[0][1] == "it holds no PLETH"
    assert result.notes == (
        MEANS,
        "not in the clinical table, so that the case stands for the person: 3 cases",
    )
    assert cohort.terms == "CC BY-NC-SA 4.0"


def test_exports_have_the_units_of_their_tracks_and_no_monitors_numbers(operations: Path, tmp_path: Path):
    import_vitaldb(operations, tmp_path / "out", rate=100.0)
    cohort = open_cohort(tmp_path / "out")
    held = [{name: signal.unit for signal in record.signals for name in signal.channels} for record in cohort]
    assert held == [
        {"PLETH": "a.u.", "ART": "mmHg"},
        {"PLETH": "a.u.", "SNUADC/ART": "mmHg"},
        {"PLETH": "a.u.", "SNUADC/ECG_II": "mV"},
    ]
    assert [record.pick("PLETH").rate for record in cohort] == [4, 100, 100]


@pytest.fixture
def intensive(tmp_path: Path) -> Path:
    root = tmp_path / "bidmc"
    rows = "".join(f"{n / 125:.3f},0.3,{np.sin(n / 20):.5f},0.5,40\n" for n in range(1000))
    write(root / "bidmc_csv" / "bidmc_01_Signals.csv", "Time [s], RESP, PLETH, II, CVP\n" + rows)
    write(root / "bidmc_csv" / "bidmc_02_Signals.csv", "Time [s], RESP, PLETH, II, CVP\n" + rows)
    write(
        root / "bidmc_csv" / "bidmc_01_Numerics.csv",
        "Time [s], HR, PULSE, RESP, SpO2\n0,90,91,25,97\n1,94,91,25,97\n2,,,,",
    )
    # every 3 s, and every 4 s; the second annotator marked one breath less
    marks = "\n".join(f"{375 * n},{500 * n if n < 4 else ''}" for n in range(5))
    write(
        root / "bidmc_csv" / "bidmc_01_Breaths.csv",
        f"breaths ann1 [signal sample no], breaths ann2 [signal sample no]\n{marks}",
    )
    write(root / "bidmc_csv" / "bidmc_01_Fix.txt", "Age: 67\nGender: F\nLocation: micu")
    recording(root / "bidmc02", "RESP, PLETH, V,")
    with (root / "bidmc02.hea").open("a") as header:
        header.write("# Age: 74 Sex: M Source: s00124\n")
    return root


def test_breaths_and_numerics_of_bidmc_become_rates(intensive: Path, tmp_path: Path):
    import_bidmc(intensive, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    by_id = {name: row for row, name in enumerate(cohort.rows["id"])}
    first, second = by_id["bidmc01"], by_id["bidmc02"]
    assert (cohort.rows["resp_rate"][first], cohort.rows["hr"][first]) == (17.5, 92)  # (20 + 15) / 2
    assert cells(cohort.take([first, second]), "subject", "age", "sex") == [("bidmc01", 67, "F"), ("s00124", 74, "M")]
    units = {name: signal.unit for signal in cohort[first].signals for name in signal.channels}
    assert units == {"RESP": "a.u.", "PLETH": "a.u.", "II": "mV", "CVP": "mmHg"}
    # WFDB is taken where both forms are there, and its names lose their commas
    assert cohort[second].signals[0].channels == ("RESP", "PLETH", "V")


def test_a_case_of_capnobase_is_listed_from_either_form(tmp_path: Path):
    root = tmp_path / "capno"
    write(root / "0015_8min_signal.csv", "co2_y,pleth_y,ecg_y\n" + "".join(f"{n % 9},{n % 7},0\n" for n in range(900)))
    write(root / "0015_8min_param.csv", "samplingrate_co2,samplingrate_pleth,samplingrate_ecg\n300,300,300")
    write(root / "0015_8min_labels.csv", "co2_startinsp_x,pleth_peak_x,ecg_peak_x\n1 901 1801 2701,1 301 601.0,")
    write(root / "0015_8min_meta.csv", "subject_age,subject_weight\n3.5,15")
    capnobase(root / "0009_8min.mat")
    capnobase(root / "0015_8min.mat")  # the same case in its other form
    import_capnobase(root, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "subject", "age", "resp_rate", "hr") == [("0009", 7.5, 15, 75), ("0015", 3.5, 20, 60)]
    assert [(record.pick("PLETH").rate, record.pick("PLETH").unit) for record in cohort] == [(300, "a.u.")] * 2
    np.testing.assert_array_equal(cohort[1].pick("PLETH").values[0, :8], [0, 1, 2, 3, 4, 5, 6, 0])


def test_capnobase_without_its_package_is_one_sentence_not_forty_two(tmp_path: Path, monkeypatch):
    (tmp_path / "0009_8min.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"stethos\[hdf5\]"):
        import_capnobase(tmp_path, tmp_path / "out")


PPG_BP = [
    ["Hypertension data", None],
    [
        *("Num.", "subject_ID", "Sex(M/F)", "Age(year)", "Height(cm)", "Weight(kg)", "Systolic Blood Pressure(mmHg)"),
        *("Diastolic Blood Pressure(mmHg)", "Heart Rate(b/m)", "BMI(kg/m^2)", "Hypertension", "Diabetes"),
        *("cerebral infarction", "cerebrovascular disease"),
    ],
    [1, 2, "Female", 45, 152, 63, 161, 89, 97, 27.3, "Stage 2 hypertension", None, None, None],
    [2, 3, "Male", 50, 157, 50, 112, 72, 76, 20.3, "Normal", "Type 2 Diabetes", "cerebral infarction", None],
]


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_a_pulse_of_ppg_bp_has_pressure_and_diagnoses_of_its_subject(tmp_path: Path, kind: str):
    root = tmp_path / "Data File"
    for name in ("2_1", "2_2", "3_1", "9_1"):
        write(root / "0_subject" / f"{name}.txt", "\t".join(f"{2000 + n}" for n in range(2100)) + "\t")
    write(root / "0_subject" / "3_2.txt", "no numbers")
    if kind == "xlsx":
        workbook(root / "PPG-BP dataset.xlsx", PPG_BP)
    else:
        write(root / "table.csv", "\n".join(",".join(str(cell or "") for cell in row) for row in PPG_BP))
    result = import_ppg_bp(root, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "id", "subject", "sex", "age", "sbp", "dbp", "hr") == [
        ("2_1", "2", "F", 45, 161, 89, 97),
        ("2_2", "2", "F", 45, 161, 89, 97),
        ("3_1", "3", "M", 50, 112, 72, 76),
    ]
    assert cohort.rows["diagnoses"].tolist()[1:] == ["Stage 2 hypertension", "Type 2 Diabetes; cerebral infarction"]
    assert [path for path, _ in result.skipped] == ["0_subject/3_2.txt", "0_subject/9_1.txt"]
    assert result.skipped[1][1] == "its subject is not in the table"
    signal = cohort[0].signals[0]
    assert (signal.channels, signal.rate, signal.unit, signal.duration) == (("PLETH",), 1000, "a.u.", 2.1)


def test_ppg_bp_without_its_table_or_a_column_says_what_is_needed(tmp_path: Path):
    write(tmp_path / "0_subject" / "2_1.txt", "1\t" * 2100)
    with pytest.raises(CohortError, match="needs the table of PPG-BP"):
        import_ppg_bp(tmp_path, tmp_path / "out")
    write(tmp_path / "t.csv", "subject_ID,Sex\n2,M")
    with pytest.raises(CohortError, match="needs a column that begins with Age; it has subject_id, sex"):
        import_ppg_bp(tmp_path, tmp_path / "out")
    write(tmp_path / "t.csv", "a,b\n2,M")
    with pytest.raises(CohortError, match="needs the column subject_ID"):
        import_ppg_bp(tmp_path, tmp_path / "out")


@pytest.fixture
def reported(tmp_path: Path) -> Path:
    root = tmp_path / "arrays"
    root.mkdir()
    np.savez(root / "a.npz", data=np.arange(400.0))
    np.savez(root / "b.npz", data=np.arange(800.0).reshape(2, 400))
    np.savez(root / "c.npz", ppg_value=np.arange(400.0), timestamp=np.arange(400) / 125)
    np.savez(root / "d.npz", ppg_value=np.arange(400.0), timestamp=np.arange(400) * 8.0)  # milliseconds
    np.savez(root / "e.npz", data=np.array([{"a": 1}]))
    for name, text in (("a", "Atrial fibrillation,\nsince 2019"), ("c", " "), ("z", "spare")):
        (root / f"{name}.json").write_text(json.dumps({"Report": text}))
    return root


def test_an_array_gets_the_report_of_its_name_and_what_has_none_is_counted(reported: Path, tmp_path: Path):
    result = import_reports(reported, tmp_path / "out", rate=125.0)
    cohort = open_cohort(tmp_path / "out")
    assert [(record.subject, record.text) for record in cohort][:2] == [
        ("a", "Atrial fibrillation,\nsince 2019"),
        ("b", None),
    ]
    assert result.notes == ("recordings without a report: 4", "reports without a recording: 1")
    assert [path for path, _ in result.skipped] == ["e.npz"]
    assert [record.signals[0].channels for record in cohort] == [("PLETH",)] * 4
    np.testing.assert_array_equal(cohort[1].signals[0].values, np.arange(400.0)[None])  # the first row


def test_timestamps_give_the_rate_where_no_flag_does(reported: Path, tmp_path: Path):
    result = import_reports(reported, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert [(record.id, record.signals[0].rate) for record in cohort] == [("c", 125.0)]
    said = dict(result.skipped)
    assert said["a.npz"].startswith("needs the sampling rate")
    assert said["d.npz"] == "its timestamps give 0.125 Hz, so they are not in seconds; pass --rate HZ"


def test_texts_may_lie_in_a_folder_of_their_own(reported: Path, tmp_path: Path):
    write(tmp_path / "texts" / "b.json", '{"Report": "Sepsis"}')
    import_reports(reported, tmp_path / "out", tmp_path / "texts", rate=125.0, unit="mV")
    cohort = open_cohort(tmp_path / "out")
    assert [record.text for record in cohort] == [None, "Sepsis", None, None]
    assert cohort[0].signals[0].unit == "mV"
    write(tmp_path / "texts" / "b.json", "{")
    with pytest.raises(CohortError, match=r"b\.json: needs JSON with the key Report"):
        import_reports(reported, tmp_path / "out", tmp_path / "texts", rate=125.0)


def marsh(folder: Path, rate: float, nasal: float) -> None:
    folder.mkdir(parents=True)
    scipy.io.savemat(folder / "PPG.mat", {"PPG": np.arange(int(60 * rate), dtype=np.int32)[:, None]})
    # beats every 0.75 s and on after the pulse has ended; breaths every 4 s, of which the chest misses half
    for name, every, counts in (("ECG", 0.75, 250), ("NASAL", 4, nasal), ("IP", 8, 250)):
        marks = np.arange(0, 90, every) * counts
        marks = np.append(marks, 200 * counts) if name == "ECG" else marks
        scipy.io.savemat(folder / f"{name}_annot.mat", {f"{name}_annot": marks.astype(np.int32)[None]})
    write(folder / "Data.txt", "25\nF\n158.5\n50\n112\n82")


def test_marks_of_marsh_count_at_the_rates_that_each_subject_has(tmp_path: Path):
    for subject, rate, nasal in (("0005", 500, 250), ("0046", 250, 250), ("8722", 500, 1000)):
        marsh(tmp_path / "m" / subject, rate, nasal)
    import_marsh(tmp_path / "m", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "subject", "rate", "hr", "resp_rate", "resp_rate_impedance") == [
        ("0005", 500, 80, 15, 7.5),
        ("0046", 250, 80, 15, 7.5),
        ("8722", 500, 80, 15, 7.5),
    ]
    assert cells(cohort, "age", "sex", "height", "weight", "sbp", "dbp")[0] == (25, "F", 158.5, 50, 112, 82)
    assert {(record.signals[0].channels, record.signals[0].duration) for record in cohort} == {(("PLETH",), 60.0)}
    assert "no redistribution" in cohort.terms


def test_rows_of_troika_are_named_in_their_own_units(tmp_path: Path):
    rows = np.arange(6)[:, None] + np.zeros((6, 2000))
    (tmp_path / "t").mkdir()
    for name in ("04_TYPE01", "04_TYPE02"):
        scipy.io.savemat(tmp_path / "t" / f"DATA_{name}.mat", {"sig": rows})
    scipy.io.savemat(tmp_path / "t" / "REF_04_TYPE01.mat", {"BPM0": np.array([[80.0], [90], [100]])})
    scipy.io.savemat(tmp_path / "t" / "DATA_05_TYPE02.mat", {"sig": rows[:5]})
    result = import_troika(tmp_path / "t", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "id", "subject") == [("04_TYPE01", "04"), ("04_TYPE02", "04")]
    np.testing.assert_array_equal(cohort.rows["hr"], [90, np.nan])
    still, moved = cohort[0].signals
    assert (still.channels, still.unit, still.values[:, 0].tolist()) == (("ECG", "PLETH", "PLETH_2"), "a.u.", [0, 1, 2])
    assert (moved.channels, moved.unit, moved.values[:, 0].tolist()) == (("ACC_X", "ACC_Y", "ACC_Z"), "g", [3, 4, 5])
    assert result.skipped[0][1].startswith("needs a name for each of its 5 channels")


def test_declared_channels_are_stated_by_the_files_once_a_cohort_is_written_anew(tmp_path: Path):
    (tmp_path / "t").mkdir()
    rows = np.arange(6)[:, None] + np.sin(np.arange(2000) / 9)
    scipy.io.savemat(tmp_path / "t" / "DATA_04_TYPE01.mat", {"sig": rows})
    import_troika(tmp_path / "t", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    write_cohort(cohort, tmp_path / "anew")
    anew = open_cohort(tmp_path / "anew")
    assert "channels" not in anew.rows
    for was, now in zip(cohort[0].signals, anew[0].signals, strict=True):
        assert (now.channels, now.rate, now.unit) == (was.channels, was.rate, was.unit)
        np.testing.assert_allclose(now.values, was.values, atol=1e-3)


def test_wrists_are_listed_and_a_pickle_that_asks_for_more_is_left_out_by_name(tmp_path: Path):
    wrist = {"BVP": np.zeros((640, 1)), "ACC": np.ones((320, 3))}
    known = {"activity": np.zeros(9), "label": np.array([70.0, 74.0]), "questionnaire": {"AGE": 34, "Gender": " f"}}
    for name, held in (
        ("S1", {"signal": {"wrist": wrist}, **known}),
        ("S2", {"signal": {"wrist": wrist}}),
        ("S3", Path()),
    ):
        (tmp_path / "w" / name).mkdir(parents=True)
        (tmp_path / "w" / name / f"{name}.pkl").write_bytes(pickle.dumps(held, 2))
    write(
        tmp_path / "w" / "S2" / "S2_readme.txt",
        "### Personal information\nAge: 27\nHeight (cm): 175\nWeight (kg): 80\nGender: male",
    )
    result = import_wesad(tmp_path / "w", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "subject", "age", "sex") == [("S1", 34, "F"), ("S2", 27, "M")]
    np.testing.assert_array_equal(cohort.rows["hr"], [72, np.nan])
    np.testing.assert_array_equal(cohort.rows["height"], [np.nan, 175])
    assert result.skipped[0][0] == "S3/S3.pkl"
    assert "asks for pathlib" in result.skipped[0][1]


IMPORTERS: list[Callable] = [
    import_mimic3_waves,
    import_mimic4_waves,
    import_mcmed,
    import_vitaldb,
    import_bidmc,
    import_capnobase,
    import_ppg_bp,
    import_reports,
    import_marsh,
    import_troika,
    import_wesad,
]


@pytest.mark.parametrize("importer", IMPORTERS, ids=lambda each: each.__name__)
def test_a_folder_that_is_not_there_or_holds_nothing_of_the_kind_says_what_is_needed(
    importer: Callable, tmp_path: Path
):
    with pytest.raises(CohortError, match=r"none: needs a folder with .*, and there is no such folder"):
        importer(tmp_path / "none", tmp_path / "out")
    with pytest.raises(CohortError, match=r": needs .*, and there is none in the folder or below it"):
        importer(tmp_path, tmp_path / "out")


def dominant(signal: Signal) -> float:
    """The strongest frequency of a pulse between 40 and 180 a minute, 1/min."""
    values = np.nan_to_num(signal.values[0].astype(np.float64))
    power = np.abs(np.fft.rfft((values - values.mean()) * np.hanning(len(values)))) ** 2
    perminute = 60 * np.fft.rfftfreq(len(values), 1 / signal.rate)
    smooth = np.convolve(power, np.ones(31) / 31, "same")
    band = (perminute >= 40) & (perminute <= 180)
    return float(perminute[band][smooth[band].argmax()])


@pytest.mark.realdata
def test_the_pulse_of_marsh_beats_at_the_rate_of_its_ecg(real: Path, tmp_path: Path):
    result = import_marsh(real / "ppg" / "marsh", tmp_path)
    cohort = open_cohort(tmp_path)
    assert (result.rows, result.skipped) == (14, ())
    away = np.array([abs(dominant(record.signals[0]) - record.facts["hr"]) for record in cohort])
    assert np.median(away) < 3
    assert (away < 15).all()  # at twice or half the rate it would be 30 away or more
    assert np.abs(cohort.rows["resp_rate"] - cohort.rows["resp_rate_impedance"]).max() < 2
    first = cells(cohort, "id", "age", "sex", "height", "weight", "sbp", "dbp")[0]
    assert first == ("0005", 25, "F", 158.5, 50, 112, 82)


@pytest.mark.realdata
def test_a_wrist_of_troika_feels_one_g_and_its_references_are_averaged(real: Path, tmp_path: Path):
    result = import_troika(real / "ppg" / "troika", tmp_path)
    cohort = open_cohort(tmp_path)
    assert (result.rows, result.skipped, len(set(cohort.subjects))) == (6, (), 5)
    for record in cohort:
        felt = np.linalg.norm(record.pick("ACC_X", "ACC_Y", "ACC_Z").values, axis=0)
        assert 0.9 < np.median(felt) < 1.1
    reference = scipy.io.loadmat(real / "ppg/troika/REF_01_TYPE01.mat")["BPM0"]
    assert cohort.rows["hr"][0] == pytest.approx(reference.mean(), abs=0.01)


@pytest.mark.realdata
def test_breaths_of_bidmc_are_those_of_its_annotators(real: Path, tmp_path: Path):
    import_bidmc(real / "ppg" / "bidmc", tmp_path)
    (record,) = open_cohort(tmp_path)
    marks = pl.read_csv(real / "ppg/bidmc/bidmc_01_Breaths.csv").to_numpy()
    rates = [60 * 125 * (len(one) - 1) / (one.max() - one.min()) for one in (m[np.isfinite(m)] for m in marks.T)]
    assert record.facts["resp_rate"] == pytest.approx(np.mean(rates), abs=0.01)
    breathed = record.pick("RESP")
    values = breathed.values[0] - np.nanmean(breathed.values[0])
    peak = np.abs(np.fft.rfft(values))[10:].argmax() + 10
    assert abs(60 * peak / breathed.duration - record.facts["resp_rate"]) < 1.5
    assert record.pick("PLETH").duration == pytest.approx(480, abs=0.1)


@pytest.mark.realdata
def test_a_real_record_of_mimic_3_is_listed_once_its_segments_are_there(real: Path, tmp_path: Path):
    source = real / "ppg" / "wfdb" / "multi-segment"
    with pytest.raises(CohortError, match=r"1 were left out \(cannot be read \(No such file"):
        import_mimic3_waves(source, tmp_path / "out")
    folder = tmp_path / "in" / "p00" / "p000878"
    folder.mkdir(parents=True)
    for file in (source / "p000878").glob("3269321_*"):
        shutil.copy(file, folder)
    name = "p000878-2137-10-26-16-57"
    whole = (source / "p000878" / f"{name}.hea").read_text().splitlines()
    (folder / f"{name}.hea").write_text("\n".join([f"{name}/4 4 125 7500 16:57:09.000 26/10/2137", *whole[1:5]]) + "\n")
    import_mimic3_waves(tmp_path / "in", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cells(cohort, "subject", "id") == [("p000878", name)]
    want = wfdb.rdrecord(str(folder / name), m2s=True)
    got = cohort[0].pick("PLETH").values[0]
    np.testing.assert_array_equal(got, want.p_signal[:, want.sig_name.index("PLETH")].astype(np.float32))
    assert np.isnan(got[:3750]).all()
    assert np.isfinite(got[3750:]).mean() > 0.9


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["a103l", "mixedsignals", "v102s", "multi-segment/041s/041s"])
def test_a_real_pulse_in_wfdb_is_what_the_package_reads(real: Path, name: str):
    path = real / "ppg" / "wfdb" / name
    want = wfdb.rdrecord(str(path), m2s=True, smooth_frames=False)
    at = [each.upper() for each in want.sig_name].index("PLETH")
    got = read(path).pick("PLETH")
    assert got.rate == want.fs * want.samps_per_frame[at]
    np.testing.assert_array_equal(got.values[0], want.e_p_signal[at].astype(np.float32))


def test_a_monitor_that_sends_no_number_leaves_no_mean(tmp_path: Path):
    packets = (TRACKS, PIECES, piece(3, 0.0, np.float32(np.nan).tobytes()))
    (tmp_path / "v").mkdir()
    vital(tmp_path / "v" / "1.vital", *packets)
    import_vitaldb(tmp_path / "v", tmp_path / "out")
    assert open_cohort(tmp_path / "out").rows["hr"].tolist() == [70]
