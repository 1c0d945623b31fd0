from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stethos.data.cohort import open_cohort
from stethos.data.importers import import_cinc2017, import_folder, import_mimic_ecg, import_ptbxl
from stethos.data.survey import survey
from stethos.errors import CohortError
from stethos.io.wfdb import write_wfdb
from stethos.types import Record, Signal


def recording(path: Path, origin: str = "real") -> None:
    signal = Signal(np.sin(np.arange(500) / 9)[None], 100.0, ("I",), "mV")
    write_wfdb(Record(path.name, path.name, (signal,), origin=origin), path.parent, path.name)  # type: ignore[arg-type]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf8")


@pytest.fixture
def ptbxl(tmp_path: Path) -> Path:
    source = tmp_path / "ptbxl"
    write(
        source / "ptbxl_database.csv",
        """
        ecg_id,patient_id,age,sex,height,weight,site,device,recording_date,report,scp_codes,strat_fold,filename_lr,filename_hr
        1,15709.0,56.0,1,,63.0,0.0,CS-12,1984-11-09 09:17:34,sinus,"{'NORM': 100.0, 'SR': 0.0}",3,l/1_lr,h/1_hr
        2,13243.0,300.0,0,180.0,70.0,2.0,CS-12,1984-11-14 12:55:37,infarct,"{'IMI': 50.0, 'LVH': 0.0}",2,l/2_lr,h/2_hr
        3,13243.0,40,0,,,,,1984-11-15 12:55:37,,"{'AFIB': 0.0}",2,l/3_lr,h/3_hr
        """,
    )
    write(
        source / "scp_statements.csv",
        """
        ,description,diagnostic,form,rhythm,diagnostic_class
        NORM,normal ECG,1.0,,,NORM
        IMI,inferior infarct,1.0,,,MI
        LVH,left ventricular hypertrophy,1.0,,,HYP
        SR,sinus,,,1.0,
        AFIB,atrial fibrillation,,,1.0,
        """,
    )
    for row in (1, 2):
        recording(source / "h" / f"{row}_hr")
    return source


def test_ptbxl_becomes_a_cohort_and_counts_what_is_not_here(ptbxl: Path, tmp_path: Path):
    result = import_ptbxl(ptbxl, tmp_path / "out")
    assert result.skipped == (("h/3_hr.hea", "the recording is not in the folder"),)
    assert result.lines()[1] == "  left out: 1: the recording is not in the folder"
    cohort = open_cohort(tmp_path / "out")
    assert cohort.terms == "CC BY 4.0"
    assert cohort.subjects.tolist() == ["15709", "13243"]
    assert cohort.rows["age"].tolist() == [56.0, 90.0]
    assert cohort.rows["sex"].tolist() == ["F", "M"]
    assert cohort.rows["scp_codes"].tolist() == ["NORM SR", "IMI LVH"]
    assert cohort.rows["site"].tolist() == ["0", "2"]
    assert str(cohort.rows["when"][1]) == "1984-11-14T12:55:37"
    assert (cohort[0].text, cohort[0].id, cohort[0].signals[0].rate) == ("sinus", "1", 100.0)


def test_a_superclass_needs_a_likelihood_above_zero(ptbxl: Path, tmp_path: Path):
    import_ptbxl(ptbxl, tmp_path / "out")
    rows = open_cohort(tmp_path / "out").rows
    held = {name: rows[name].tolist() for name in ("NORM", "MI", "STTC", "CD", "HYP")}
    assert held == {"NORM": [1, 0], "MI": [0, 1], "STTC": [0, 0], "CD": [0, 0], "HYP": [0, 0]}


def test_the_other_rate_is_looked_for_in_the_other_folder(ptbxl: Path, tmp_path: Path):
    with pytest.raises(CohortError, match="at least one readable recording; 3 were left out"):
        import_ptbxl(ptbxl, tmp_path / "out", rate=100)


def test_paths_are_relative_where_the_recordings_lie_in_the_cohort(ptbxl: Path):
    import_ptbxl(ptbxl, ptbxl)
    assert pl.read_csv(ptbxl / "cohort.csv")["path"].to_list() == ["h/1_hr.hea", "h/2_hr.hea"]
    assert len(open_cohort(ptbxl)) == 2


def test_a_folder_without_the_table_is_refused(tmp_path: Path):
    with pytest.raises(CohortError, match="there is no such file"):
        import_ptbxl(tmp_path, tmp_path / "out")
    with pytest.raises(CohortError, match=r"needs REFERENCE\.csv"):
        import_cinc2017(tmp_path, tmp_path / "out")


def test_noise_is_neither_af_nor_free_of_it(tmp_path: Path):
    write(tmp_path / "REFERENCE.csv", "A1,A\nA2,N\nA3,O\nA4,~\nA5,N")
    for name in ("A1", "A2", "A3", "A4"):
        recording(tmp_path / name)
    result = import_cinc2017(tmp_path, tmp_path / "out")
    assert [path for path, _ in result.skipped] == ["A5.hea"]
    rows = open_cohort(tmp_path / "out").rows
    assert rows["rhythm"].tolist() == ["A", "N", "O", "~"]
    np.testing.assert_array_equal(rows["af"], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(rows["af_or_normal"], [1, 0, np.nan, np.nan])


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    source = tmp_path / "mimic"
    write(
        source / "record_list.csv",
        """
        subject_id,study_id,file_name,ecg_time,path
        10000032,40689238,40689238,2180-07-23 08:44:00,files/p1000/40689238
        10000117,44458630,44458630,2181-03-04 17:14:00,files/p1000/44458630
        """,
    )
    for name in ("40689238", "44458630"):
        recording(source / "files" / "p1000" / name)
    write(
        source / "machine_measurements.csv",
        """
        subject_id,study_id,report_0,report_1,rr_interval,p_onset,p_end,qrs_onset,qrs_end,t_end,p_axis,qrs_axis,t_axis
        10000032,40689238,Sinus rhythm,Borderline ECG.,800,40,120,200,290,560,51,70,44
        """,
    )
    write(
        tmp_path / "patients.csv",
        """
        subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod
        10000032,F,52,2180,2014 - 2016,2180-09-09
        10000117,M,48,2174,2008 - 2010,
        """,
    )
    return source


def test_mimic_dates_are_marked_as_shifted_and_refuse_a_split_by_time(mimic: Path, tmp_path: Path):
    import_mimic_ecg(mimic, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cohort.rows["shifted"].tolist() == [1, 1]
    with pytest.raises(CohortError.__mro__[1], match="anchor_year_group"):
        cohort.split_by_time("2181-01-01")


def test_mimic_measurements_and_patients_become_facts(mimic: Path, tmp_path: Path):
    import_mimic_ecg(mimic, tmp_path / "out", tmp_path / "patients.csv")
    cohort = open_cohort(tmp_path / "out")
    first, second = cohort[0], cohort[1]
    assert (first.facts["heart_rate"], first.facts["qrs_axis"], first.text) == (
        75.0,
        70.0,
        "Sinus rhythm. Borderline ECG",
    )
    assert (first.facts["age"], second.facts["age"]) == (52.0, 55.0)
    assert second.facts["anchor_year_group"] == "2008 - 2010"
    assert second.facts["heart_rate"] is None
    assert "no redistribution" in cohort.terms


def test_a_machine_that_measured_nothing_leaves_nothing(mimic: Path, tmp_path: Path):
    table = mimic / "machine_measurements.csv"
    table.write_text(table.read_text("utf8").replace(",800,40,", ",29999,29999,"), encoding="utf8")
    import_mimic_ecg(mimic, tmp_path / "out")
    facts = open_cohort(tmp_path / "out")[0].facts
    assert facts.get("heart_rate") is None
    assert facts.get("rr_interval") is None
    assert facts["p_end"] == 120.0


def test_any_folder_becomes_a_cohort_by_sub_folder(tmp_path: Path):
    for name in ("anna/one", "anna/two", "ben/one"):
        recording(tmp_path / "in" / name)
    write(tmp_path / "in" / "anna" / "notes.txt", "not a recording")
    result = import_folder(tmp_path / "in", tmp_path / "out")
    assert [path for path, _ in result.skipped] == ["anna/notes.txt"]
    cohort = open_cohort(tmp_path / "out")
    assert cohort.rows["id"].tolist() == ["anna/one", "anna/two", "ben/one"]
    assert cohort.subjects.tolist() == ["anna", "anna", "ben"]


def test_a_folder_without_sub_folders_has_a_subject_a_file(tmp_path: Path):
    for name in ("one", "two"):
        recording(tmp_path / name)
    import_folder(tmp_path, tmp_path)
    assert open_cohort(tmp_path).subjects.tolist() == ["one", "two"]
    # the table that was written is not taken for a recording the second time
    assert import_folder(tmp_path, tmp_path).skipped == ()


def test_a_table_adds_its_columns_by_path_with_or_without_suffix(tmp_path: Path):
    for name in ("one", "two", "three"):
        recording(tmp_path / "in" / name)
    write(tmp_path / "labels.csv", "path,subject,potassium\none.hea,p1,5.8\ntwo,p1,4.1")
    import_folder(tmp_path / "in", tmp_path / "out", tmp_path / "labels.csv")
    cohort = open_cohort(tmp_path / "out")
    assert cohort.rows["id"].tolist() == ["one", "three", "two"]
    assert cohort.subjects.tolist() == ["p1", "three", "p1"]
    np.testing.assert_array_equal(cohort.rows["potassium"], [5.8, np.nan, 4.1])


def test_a_table_without_paths_is_refused(tmp_path: Path):
    recording(tmp_path / "one")
    write(tmp_path / "labels.csv", "file,potassium\none.hea,5.8")
    with pytest.raises(CohortError, match="needs the column path; it has file, potassium"):
        import_folder(tmp_path, tmp_path / "out", tmp_path / "labels.csv")


def test_files_that_state_no_rate_are_read_with_the_declared_one(tmp_path: Path):
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "strip.npz", I=np.zeros(300, np.float32))
    with pytest.raises(CohortError, match="1 were left out"):
        import_folder(tmp_path / "in", tmp_path / "out")
    import_folder(tmp_path / "in", tmp_path / "out", rate=150.0, unit="mV")
    assert open_cohort(tmp_path / "out")[0].signals[0].duration == 2.0


def test_synthetic_recordings_stay_synthetic(tmp_path: Path):
    recording(tmp_path / "one", origin="synthetic")
    import_folder(tmp_path, tmp_path / "out")
    assert open_cohort(tmp_path / "out").origin == "synthetic"


@pytest.mark.realdata
def test_all_ptbxl_records_here_are_read(real: Path, tmp_path: Path):
    result = import_ptbxl(real / "ecg" / "ptbxl", tmp_path)
    cohort = open_cohort(tmp_path)
    found = survey(cohort, workers=1)
    assert result.rows == found.records == len(list((real / "ecg" / "ptbxl" / "records500").rglob("*.hea")))
    assert found.unreadable == ()
    assert found.rates == {500.0: result.rows}
    # men are taller: the coding of the sex is the right way round
    height, sex = cohort.rows["height"], cohort.rows["sex"]
    assert np.nanmean(height[sex == "M"]) > np.nanmean(height[sex == "F"]) + 5


@pytest.mark.realdata
def test_all_handheld_strips_here_are_read(real: Path, tmp_path: Path):
    result = import_cinc2017(real / "ecg" / "cinc2017", tmp_path)
    found = survey(open_cohort(tmp_path), workers=1)
    assert (result.skipped, found.unreadable) == ((), ())
    assert found.rates == {300.0: result.rows}
    assert found.prevalences["af"] == (29, 180)


@pytest.mark.realdata
def test_a_folder_of_ludb_records_is_listed_without_its_annotations(real: Path, tmp_path: Path):
    result = import_folder(real / "ecg" / "ludb" / "data", tmp_path)
    assert (result.rows, result.skipped) == (100, ())
