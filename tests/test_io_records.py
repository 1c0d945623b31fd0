"""Records of four layouts become events of one form, and nothing is lost without being counted."""

import gzip
from datetime import datetime

import polars as pl
import pytest

from stethos.errors import FormatError
from stethos.io.meds import write_meds
from stethos.io.mimic import lost_zeros, read_mimic
from stethos.io.records import read_records

COLUMNS = ["subject_id", "time", "code", "numeric_value", "text_value", "event", "stay"]


def write(folder, **tables):
    for name, text in tables.items():
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.strip() + "\n")
    return folder


@pytest.fixture
def fourth(tmp_path):
    """MIMIC-IV in its folders, one table packed."""
    write(
        tmp_path / "hosp",
        patients="subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n7,F,60,2150,2011 - 2013,",
        admissions="subject_id,hadm_id,admittime,dischtime\n7,70,2150-01-01 08:00:00,2150-01-05 10:00:00",
        prescriptions="subject_id,hadm_id,starttime,drug\n7,70,2150-01-02 00:00:00,Metoprolol\n7,70,,Aspirin",
        labevents="subject_id,hadm_id,itemid,charttime,value,valuenum,valueuom\n"
        "7,70,50971,2150-01-02 06:00:00,6.1,6.1,mEq/L",
        d_labitems="itemid,label,fluid,category\n50971,Potassium,Blood,Chemistry",
        omr="subject_id,chartdate,seq_num,result_name,result_value\n7,2149-12-01,1,Blood Pressure,131/77",
        procedures_icd="subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version\n7,70,1,2150-01-03,0210093,10",
        d_icd_diagnoses="icd_code,icd_version,long_title\n0389,9,Unspecified septicemia",
    )
    text = "subject_id,hadm_id,seq_num,icd_code,icd_version\n7,70,1,0389,9\n7,70,2,I5023,10\n,70,3,I10,10\n"
    with gzip.open(tmp_path / "hosp" / "diagnoses_icd.csv.gz", "wt") as file:
        file.write(text)
    return tmp_path


@pytest.fixture
def third(tmp_path):
    """MIMIC-III in capitals."""
    return write(
        tmp_path,
        PATIENTS="ROW_ID,SUBJECT_ID,GENDER,DOB\n1,7,M,2090-02-01 00:00:00\n2,8,F,1850-01-01 00:00:00",
        ADMISSIONS="ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME\n1,7,70,2150-01-01 08:00:00,2150-01-05 10:00:00\n"
        "2,8,80,2150-01-01 08:00:00,2150-01-02 10:00:00",
        DIAGNOSES_ICD="ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,7,70,1,0389\n2,8,80,1,4280",
        NOTEEVENTS="ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n"
        '1,7,70,2150-01-02,2150-01-02 09:00:00,,Nursing,Report,,,"Known HTN,\nstable"\n'
        "2,7,70,2150-01-03,,,Nursing,Report,,1,wrong patient\n3,7,70,2150-01-04,,,Nursing,Report,,,later",
    )


def collected(folder):
    records = read_records(folder)
    events = records.events.collect()
    assert events.columns == COLUMNS
    assert events["event"].n_unique() == len(events)
    return records, events


def times(events, start):
    return events.filter(pl.col("code").str.starts_with(start))["time"].to_list()


def test_the_fourth_mimic_is_read_with_leading_zeros_and_packed_tables(fourth):
    records, events = collected(fourth)
    assert records.kind == "MIMIC"
    codes = set(events["code"])
    assert {"DIAGNOSIS//ICD//9//0389", "DIAGNOSIS//ICD//10//I5023", "PROCEDURE//ICD//10//0210093"} <= codes
    assert {"GENDER//F", "MEDS_BIRTH", "MEDICATION//START//Metoprolol", "LAB//50971//Potassium//mEq/L"} <= codes
    assert str(times(events, "DIAGNOSIS")[0]) == "2150-01-05 10:00:00"  # coded when the stay ended
    assert str(times(events, "PROCEDURE")[0]) == "2150-01-03 00:00:00"
    assert str(times(events, "MEDS_BIRTH")[0]) == "2090-01-01 00:00:00"
    assert records.titles["DIAGNOSIS//ICD//9//0389"] == "Unspecified septicemia"
    assert records.skipped == {"rows without a subject or a code": 1, "rows without a time": 1}
    assert "credentialed" in records.terms


def test_the_third_mimic_is_read_in_capitals_with_its_notes_and_moved_births(third):
    records, events = collected(third)
    assert events.filter(pl.col("code") == "DIAGNOSIS//ICD//9//0389").height == 1
    notes = events.filter(pl.col("code").str.starts_with("NOTE"))
    assert notes["text_value"].to_list() == ["Known HTN,\nstable", "later"]
    # a day alone is over before anything of it counts
    assert [str(time) for time in notes["time"]] == ["2150-01-02 09:00:00", "2150-01-05 00:00:00"]
    births = dict(events.filter(pl.col("code") == "MEDS_BIRTH").select("subject_id", "time").iter_rows())
    assert str(births[7])[:10] == "2090-02-01"
    assert str(births[8])[:4] == "2059"  # moved by 300 years: told as 91 years old
    assert records.skipped == {}


def test_small_letters_read_the_same(third, tmp_path):
    lower = tmp_path / "lower"
    lower.mkdir()
    for path in third.glob("*.csv"):
        head, _, rest = path.read_text().partition("\n")
        (lower / path.name.lower()).write_text(f"{head.lower()}\n{rest}")
    assert read_mimic(lower)[0].collect().equals(read_mimic(third)[0].collect())


def test_a_table_without_a_column_says_which(fourth):
    (fourth / "hosp" / "prescriptions.csv").write_text("subject_id,starttime\n7,2150-01-02\n")
    with pytest.raises(FormatError, match="prescriptions needs the column drug; it has subject_id, starttime"):
        read_records(fourth)


def test_lost_leading_zeros_are_told(tmp_path):
    codes = "\n".join(f"7,70,{i},{389 + i},9" for i in range(600))
    write(
        tmp_path,
        patients="subject_id,gender,anchor_age,anchor_year\n7,F,60,2150",
        admissions="subject_id,hadm_id,admittime,dischtime\n7,70,2150-01-01,2150-01-05",
        diagnoses_icd=f"subject_id,hadm_id,seq_num,icd_code,icd_version\n{codes}",
    )
    assert "leading zeros seem to be lost" in lost_zeros(tmp_path)
    assert read_records(tmp_path).notes
    write(tmp_path, diagnoses_icd=f"subject_id,hadm_id,seq_num,icd_code,icd_version\n{codes}\n7,70,700,0389,9")
    assert lost_zeros(tmp_path) == ""


def test_mc_med_is_read_by_any_name_of_its_columns(tmp_path):
    write(
        tmp_path,
        visits="MRN,CSN,Age,Gender,Dx_ICD9,Dx_ICD10,Dx_name,Arrival_time,Departure_time\n"
        "11,900,64,F,428.0,I50.9,Heart failure,2021-03-01 10:00:00,2021-03-01 18:00:00",
        pmh="MRN,Code,CodeType,Desc10\n11,J44.9,10,Chronic obstructive pulmonary disease",
        meds="MRN,name,generic,start_date\n11,Lopressor,metoprolol,2020-01-05",
        labs="CSN,Component_name,Component_value,Component_units,Result_time\n"
        "900,Potassium,6.0,mmol/L,2021-03-01 11:00:00",
        rads="CSN,Study,Result_time,Impression\n900,XR CHEST,2021-03-01 12:00:00,No pneumonia.",
        numerics="CSN,Source,Measure,Value,Time\n900,Monitor,HR,88,2021-03-01 10:30:00",
    )
    records, events = collected(tmp_path)
    assert records.kind == "MC-MED"
    codes = set(events["code"])
    assert {"DIAGNOSIS//ICD//10//I509", "DIAGNOSIS//ICD//10//J449", "MEDICATION//START//metoprolol"} <= codes
    assert "DIAGNOSIS//ICD//9//4280" not in codes  # one revision, or all would count twice
    assert {"LAB//Potassium//mmol/L", "NOTE//RADIOLOGY", "VITAL//heart rate"} <= codes
    assert set(events["subject_id"]) == {11}
    assert str(times(events, "DIAGNOSIS//ICD//10//I509")[0]) == "2021-03-01 18:00:00"
    assert records.titles["DIAGNOSIS//ICD//10//J449"].startswith("Chronic obstructive")


def test_mc_med_without_a_column_lists_what_was_looked_for(tmp_path):
    write(tmp_path, visits="MRN,CSN,Gender,Arrival_time\n11,900,F,2021-03-01")
    with pytest.raises(FormatError, match=r"visits.csv needs a column age; it has mrn, csn, gender, arrival_time"):
        read_records(tmp_path)


def test_meds_rows_keep_their_number_and_their_stay(tmp_path):
    rows = {
        "subject_id": [1, 1],
        "time": [None, datetime(2020, 1, 1)],
        "code": ["GENDER//F", "DIAGNOSIS//ICD//10//I10"],
        "hadm_id": [None, 5],
    }
    write_meds(tmp_path, pl.DataFrame(rows), descriptions={"DIAGNOSIS//ICD//10//I10": "hypertension"})
    records, events = collected(tmp_path)
    assert records.kind == "MEDS"
    assert events["event"].to_list() == ["meds/0", "meds/1"]
    assert records.titles == {"DIAGNOSIS//ICD//10//I10": "hypertension"}


def test_a_folder_of_something_else_says_what_was_looked_for(tmp_path):
    with pytest.raises(FormatError, match="needs patients' records: a MEDS folder"):
        read_records(tmp_path)


@pytest.mark.realdata
def test_both_forms_of_the_demo_hold_the_same_patients_and_diagnoses(real):
    forms = [read_records(real / "ehr" / name) for name in ("mimic-iv-demo-meds", "mimic-iv-demo-2.2")]
    people, pairs = [], []
    for records in forms:
        events = records.events.filter(pl.col("code").str.starts_with("DIAGNOSIS")).collect()
        people.append(set(records.events.select("subject_id").unique().collect().to_series()))
        pairs.append(set(events.select("subject_id", pl.col("code").str.replace("//0+", "//")).iter_rows()))
    assert people[0] == people[1]
    assert len(people[0]) == 100
    assert pairs[0] == pairs[1]  # this copy of the tables has lost its leading zeros, which is told
    assert "leading zeros" in forms[1].notes[0]
    assert forms[0].notes == ()
