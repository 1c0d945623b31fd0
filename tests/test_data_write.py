from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stethos.data.cohort import open_cohort
from stethos.data.join import join, measurements
from stethos.data.survey import survey
from stethos.data.write import write_cohort, write_hospital, write_table
from stethos.errors import CohortError
from stethos.io.meds import read_meds
from stethos.synth import echo_world, hospital, hospital_world, null_world, quiet
from stethos.types import Cohort, Record, Signal


def made(count: int = 3) -> Cohort:
    ids = np.array([f"visit/{row}" for row in range(count)])
    rows = {
        "id": ids,
        "subject": np.array(["a", "a", "b"])[:count],
        "when": np.array(["2020-01-01T10:00:00", "NaT", "2021-01-01"], "datetime64[s]")[:count],
        "site": np.array(["north", None, "south"], object)[:count],
        "age": np.array([61.5, np.nan, 40.0])[:count],
    }

    def opened(row: int) -> Record:
        values = np.round(np.sin(np.arange(500) / (9 + row)), 3)[None]
        text = "Sinus rhythm,\nno change." if row == 2 else None
        return Record("x", str(ids[row]), (Signal(values, 250.0, ("I",), "mV"),), text=text)

    return Cohort(rows, opened, "synthetic", "free to use")


def test_a_written_cohort_reads_back(tmp_path: Path):
    write_cohort(made(), tmp_path)
    back = open_cohort(tmp_path)
    assert (back.origin, back.terms) == ("synthetic", "free to use")
    for name, column in made().rows.items():
        np.testing.assert_array_equal(back.rows[name], column)
    for written, read in zip(made(), back, strict=True):
        np.testing.assert_allclose(read.signals[0].values, written.signals[0].values, atol=5.1e-4)
        assert (read.id, read.text) == (written.id, written.text)
    assert back[0].when == datetime(2020, 1, 1, 10)


def test_ids_that_differ_only_in_special_characters_get_files_of_their_own(tmp_path: Path):
    cohort = made().with_columns(id=np.array(["a/b", "a b", "a_b"]))
    write_cohort(cohort, tmp_path)
    assert len(open_cohort(tmp_path)) == 3


def test_a_repeated_call_does_not_write_records_again(tmp_path: Path):
    write_cohort(made(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").rglob("*.*")}
    (tmp_path / "cohort.csv").unlink()
    next(path for path in before if path.name.endswith("_0.hea")).unlink()
    write_cohort(made(), tmp_path)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").rglob("*.*")}
    assert len([path for path in before if before[path] != after[path]]) == 2  # one header and its samples
    assert open_cohort(tmp_path)[2].text == "Sinus rhythm,\nno change."


def test_a_folder_of_another_cohort_is_refused(tmp_path: Path):
    write_cohort(made(), tmp_path)
    with pytest.raises(CohortError, match="another cohort was written here"):
        write_cohort(made().take([0, 1]), tmp_path)


def test_declared_rates_end_where_the_file_states_them(tmp_path: Path):
    declared = made().with_columns(rate=np.full(3, 250.0), unit=np.array(["mV"] * 3, object))
    write_cohort(declared, tmp_path)
    assert "rate" not in open_cohort(tmp_path).rows


def test_a_joined_cohort_is_written_as_a_table_that_points_at_the_recordings(tmp_path: Path):
    write_cohort(made(), tmp_path / "in")
    table = pl.DataFrame({"subject": ["a"], "time": ["2020-01-01T10:30:00"], "potassium": [5.75]})
    joined = join(open_cohort(tmp_path / "in"), measurements(table, "potassium"), "1h")
    write_table(joined.cohort, tmp_path / "out")
    back = open_cohort(tmp_path / "out")
    assert (back.rows["potassium"].tolist(), back.rows["potassium_minutes"].tolist()) == ([5.75], [30.0])
    assert (back[0].id, back.origin, back.terms) == ("visit/0", "synthetic", "free to use")


def test_a_hospital_is_written_and_read_back_with_its_events(tmp_path: Path):
    write_hospital(tmp_path, patients=12, seed=3)
    back, made_again = open_cohort(tmp_path), hospital(12, 3)
    assert survey(back).unreadable == ()
    assert back.origin == "synthetic"
    for name, column in made_again.rows.items():
        kind = column if column.dtype.kind in "fM" else column.astype(object)
        np.testing.assert_array_equal(back.rows[name], kind)
    for row in (0, len(back) - 1):
        written, read = made_again[row], back[row]
        assert (read.id, read.when, read.signals[0].rate) == (written.id, written.when, written.signals[0].rate)
        np.testing.assert_allclose(read.signals[0].values, written.signals[0].values, atol=1e-3)
    events = read_meds(tmp_path / "meds").collect()
    assert set(events["subject_id"].cast(pl.String)) == set(back.subjects.tolist())


def test_a_hospital_with_an_echo_laboratory_is_written_and_read_back_with_its_reports(tmp_path: Path):
    from stethos.cli.tools import hospital as write

    write(out=tmp_path, patients=12, seed=3, echo=True)
    back, made_again = open_cohort(tmp_path), hospital(12, 3, echo_world())
    assert [record.text for record in back] == made_again.rows["report"].tolist()
    for name in ("lvef", "ivs", "lvedd", "la_diameter", "pasp", "mitral_area", "aortic_velocity"):
        np.testing.assert_array_equal(back.rows[name], made_again.rows[name])


def test_a_report_with_lines_quotes_and_chinese_survives_the_table(tmp_path: Path):
    said = [
        'LA "large", 4.6 cm;\n\nIMP:\n1. LAE, "mild"',
        "超声所见：\n左房增大，46mm。\n超声提示：\n1. 左房增大",
        None,
    ]
    write_cohort(made(), tmp_path / "in")
    table = open_cohort(tmp_path / "in").with_columns(report=np.array(said, object))
    write_table(table, tmp_path / "out")
    back = open_cohort(tmp_path / "out")
    assert back.rows["report"].tolist() == said
    assert [record.text for record in back] == said


def test_the_potassium_of_the_events_joins_back_to_the_table(tmp_path: Path):
    from stethos.synth.chart import POTASSIUM

    write_hospital(tmp_path, patients=40, seed=1)
    cohort = open_cohort(tmp_path)
    labs = measurements(tmp_path / "meds", "joined", code=POTASSIUM)
    joined = join(cohort, labs, "12h").cohort
    known = cohort.take(~np.isnan(cohort.rows["potassium"]))
    assert joined.rows["id"].tolist() == known.rows["id"].tolist()
    np.testing.assert_allclose(joined.rows["joined"], known.rows["potassium"], atol=1e-5)


def test_another_hospital_in_the_same_folder_is_refused(tmp_path: Path):
    write_hospital(tmp_path, patients=3, seed=0)
    others = ((4, 0, None), (3, 1, None), (3, 0, null_world()), (3, 0, quiet(hospital_world())), (3, 0, echo_world()))
    for patients, seed, world in others:
        with pytest.raises(CohortError, match="another cohort was written here"):
            write_hospital(tmp_path, patients, seed, world)
