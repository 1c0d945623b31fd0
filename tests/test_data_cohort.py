import pickle
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stethos.data.cohort import open_cohort
from stethos.data.survey import survey
from stethos.errors import CohortError, OriginError, StethosError
from stethos.io.wfdb import write_wfdb
from stethos.types import Record, Signal


def recording(folder: Path, name: str, origin: str = "real", seconds: float = 4.0) -> None:
    time = np.arange(round(seconds * 100)) / 100
    lead = np.sin(2 * np.pi * time)
    signal = Signal(np.stack([lead, -lead]), 100.0, ("I", "II"), "mV")
    when = datetime(2001, 1, 1)
    write_wfdb(Record(name, name, (signal,), when, origin=origin), folder, name)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a1", "a2", "b1"):
        recording(tmp_path, name)
    return tmp_path


def table(folder: Path, text: str) -> Path:
    lines = [line.strip() for line in text.strip().splitlines()]
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n", encoding="utf8")
    return folder


FULL = """
    path,subject,when,site,age,sex,report,terms
    a1.hea,a,2020-03-01T10:00:00,north,61,F,Sinus rhythm.,CC BY 4.0
    a2.hea,a,2021-03-01 09:30,north,,F,,CC BY 4.0
    b1.hea,b,,south,47.5,,,CC BY 4.0
"""


def test_columns_have_the_types_that_their_cells_allow(folder: Path):
    cohort = open_cohort(table(folder, FULL))
    np.testing.assert_array_equal(cohort.rows["age"], [61, np.nan, 47.5])
    assert cohort.rows["sex"].tolist() == ["F", "F", None]
    assert cohort.rows["when"].astype(str).tolist() == ["2020-03-01T10:00:00", "2021-03-01T09:30:00", "NaT"]
    assert cohort.rows["id"].tolist() == ["a1", "a2", "b1"]
    assert (cohort.origin, cohort.terms) == ("real", "CC BY 4.0")


def test_a_column_of_numbers_may_begin_with_a_gap(folder: Path):
    cohort = open_cohort(table(folder, "path,subject,potassium,note\na1.hea,a,,\na2.hea,b,4.5,x"))
    np.testing.assert_array_equal(cohort.rows["potassium"], [np.nan, 4.5])
    assert cohort.rows["note"].tolist() == [None, "x"]


def test_a_column_of_only_gaps_is_numbers_that_are_unknown(folder: Path):
    assert np.isnan(open_cohort(table(folder, "path,subject,k\na1.hea,a,\na2.hea,b,")).rows["k"]).all()


def test_a_record_is_the_file_with_what_the_table_says(folder: Path):
    record = open_cohort(table(folder, FULL))[0]
    assert (record.subject, record.id, record.site, record.text) == ("a", "a1", "north", "Sinus rhythm.")
    assert record.when == datetime(2020, 3, 1, 10)
    assert dict(record.facts) == {"age": 61.0, "sex": "F"}
    assert record.signals[0].values.shape == (2, 400)


def test_what_the_table_leaves_empty_stays_as_the_file_has_it(folder: Path):
    record = open_cohort(table(folder, FULL))[2]
    assert record.when == datetime(2001, 1, 1)
    assert record.facts["sex"] is None


def test_a_part_of_a_cohort_opens_its_own_records(folder: Path):
    assert [record.id for record in open_cohort(table(folder, FULL)).take([2, 0])] == ["b1", "a1"]


def test_a_parquet_table_says_the_same_as_a_csv(folder: Path):
    from_csv = open_cohort(table(folder, FULL)).rows
    typed = pl.read_csv(folder / "cohort.csv", try_parse_dates=True)
    (folder / "cohort.csv").unlink()
    typed.write_parquet(folder / "cohort.parquet")
    from_parquet = open_cohort(folder).rows
    assert set(from_csv) == set(from_parquet)
    for name, column in from_csv.items():
        np.testing.assert_array_equal(column, from_parquet[name])


def test_whole_numbers_as_subjects_lose_the_point_that_a_gap_gave_them(folder: Path):
    frame = pl.DataFrame({"path": ["a1.hea"], "subject": [17.0], "id": [3]})
    frame.write_parquet(folder / "cohort.parquet")
    cohort = open_cohort(folder)
    assert (cohort.subjects[0], cohort.rows["id"][0]) == ("17", "3")


def test_a_recording_may_lie_elsewhere_and_be_named_without_its_suffix(folder: Path, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    recording(other, "c1")
    cohort = open_cohort(table(folder, f"path,subject,id\n{other}/c1,c,c1\na1,a,a1"))
    assert [len(record.signals) for record in cohort] == [1, 1]


def test_a_declared_rate_and_unit_reach_the_reader(folder: Path):
    np.savez(folder / "strip.npz", I=np.zeros(300, np.float32))
    record = open_cohort(table(folder, "path,subject,rate,unit\nstrip.npz,a,100,mV"))[0]
    assert (record.signals[0].rate, record.signals[0].unit) == (100.0, "mV")
    assert "rate" not in record.facts


def test_a_report_may_be_a_text_file(folder: Path):
    (folder / "a1.txt").write_text("Mild mitral regurgitation.", encoding="utf8")
    record = open_cohort(table(folder, "path,subject,report\na1.hea,a,a1.txt"))[0]
    assert record.text == "Mild mitral regurgitation."


def test_dates_with_an_offset_become_utc(folder: Path):
    cohort = open_cohort(table(folder, "path,subject,when\na1.hea,a,2020-03-01T10:00:00+02:00"))
    assert str(cohort.rows["when"][0]) == "2020-03-01T08:00:00"


def test_the_opener_can_be_sent_to_another_process(folder: Path):
    cohort = open_cohort(table(folder, FULL))
    assert pickle.loads(pickle.dumps(cohort.open))(1).id == "a2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,when\na1.hea,2020-01-01", "needs the column subject; it has path, when"),
        ("file,subject\na1.hea,a", "needs the column path"),
        ("path,subject", "the table has no rows"),
        ("path,subject\na1.hea,", "column subject: needs a value in each row; row 1 has none"),
        ("path,subject\na1.hea,a\na1.hea,b", "each id stands once; more than once: a1"),
        ("path,subject,id\na1.hea,a,1\na1,b,2", "each path stands once; more than once: .*a1.hea"),
        ("path,subject,id\na1.hea,a,7\na2.hea,b,7", "each id stands once; more than once: 7"),
        ("path,subject\na1.hea,a\nx.hea,b\ny.hea,b", "2 of 3 paths do not exist: x.hea, y.hea"),
        ("path,subject\n../a1.hea,a", "must stay inside the folder; ../a1.hea leads out"),
        ("path,subject,when\na1.hea,a,01/03/2020", "column when, row 1: needs an ISO date .*'01/03/2020'"),
        ("path,subject,when\na1.hea,a,2020-01-01\na2.hea,a,2020-01-01T00:00Z", "offset from UTC or none"),
        ("path,subject,rate\na1.hea,a,fast", "column rate: needs positive numbers in Hz"),
        ("path,subject,rate\na1.hea,a,0", "column rate: needs positive numbers in Hz"),
        ("path,subject,origin\na1.hea,a,real\na2.hea,b,synthetic", "mixes real, synthetic"),
        ("path,subject,origin\na1.hea,a,invented", "column origin: needs real, synthetic, generated; got invented"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_sentence(folder: Path, text: str, says: str):
    with pytest.raises(CohortError, match=says):
        open_cohort(table(folder, text))


def test_absent_paths_are_counted_after_the_fifth(folder: Path):
    rows = "\n".join(f"x{row}.hea,a" for row in range(8))
    with pytest.raises(CohortError, match=r"8 of 8 paths do not exist: .*x4.hea and 3 more"):
        open_cohort(table(folder, f"path,subject\n{rows}"))


def test_a_folder_without_a_table_is_refused(tmp_path: Path):
    with pytest.raises(CohortError, match=r"needs cohort\.csv or cohort\.parquet"):
        open_cohort(tmp_path)


@pytest.mark.parametrize("content", [b"path,subject\na1.hea,a,extra\n", b"path,subject\n\xff\xfe,a\n"])
def test_a_broken_table_is_refused_in_a_sentence(folder: Path, content: bytes):
    (folder / "cohort.csv").write_bytes(content)
    with pytest.raises(CohortError, match="cannot be read as a table"):
        open_cohort(folder)


def test_an_empty_table_is_refused(tmp_path: Path):
    (tmp_path / "cohort.csv").write_bytes(b"")
    with pytest.raises(CohortError, match="the file is empty"):
        open_cohort(tmp_path)


def test_a_synthetic_file_in_a_cohort_that_claims_to_be_real_is_refused(folder: Path):
    recording(folder, "s1", origin="synthetic")
    with pytest.raises(OriginError, match="the file says synthetic, its cohort real"):
        open_cohort(table(folder, "path,subject\ns1.hea,s"))[0]


SURVEYED = """
    path,subject,when,site,age,af,shifted
    a1.hea,a,2120-03-01,north,61,1,1
    a2.hea,a,2121-03-01,north,,0,1
    b1.hea,b,2119-01-01,,40,,1
    broken.hea,c,2119-01-02,south,50,0,1
"""


def test_a_survey_counts_what_is_there_and_names_what_cannot_be_read(folder: Path):
    (folder / "broken.hea").write_text("broken 1 100 400\nmissing.dat 16 1000/mV 16 0 0 0 0 I\n", encoding="ascii")
    found = survey(open_cohort(table(folder, SURVEYED)))
    assert (found.records, found.subjects, found.shifted) == (4, 3, True)
    assert found.rates == {100.0: 3}
    assert found.leads == {("I", "II"): 3}
    assert found.units == {"mV": 3}
    assert found.prevalences["af"] == (1, 3)
    assert found.missing == {"age": 1, "af": 1, "site": 1}
    assert [name for name, _ in found.unreadable] == ["broken"]
    np.testing.assert_array_equal(found.durations, [4, 4, 4, np.nan])
    text = "\n".join(found.lines())
    assert "4 records of 3 subjects, real" in text
    assert "af: 1 of 3 (33.3 %)" in text
    assert "unreadable files: 1 of 4" in text


def test_a_survey_on_two_processes_says_the_same_as_on_one(folder: Path):
    cohort = open_cohort(table(folder, FULL))
    steps: list[tuple[int, int]] = []
    two = survey(cohort, workers=2, progress=lambda done, total: steps.append((done, total)))
    assert two.lines() == survey(cohort, workers=1).lines()
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("damage", ["truncated", "absent"])
def test_a_damaged_file_is_refused_when_it_is_opened(folder: Path, damage: str):
    data = folder / "a1.dat"
    data.write_bytes(data.read_bytes()[:100]) if damage == "truncated" else data.unlink()
    with pytest.raises(StethosError):
        open_cohort(table(folder, FULL))[0]
