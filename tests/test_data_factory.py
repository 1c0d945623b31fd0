"""The simulated factory on disk is a DCASE data set and a cohort."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.data.factory import write_factory
from stethos.data.sounds import import_dcase
from stethos.errors import CohortError
from stethos.io.dcase import parse_name
from stethos.synth import Plan, factory, null_factory_world

SMALL = Plan(machines=("fan", "valve"), sections=2, train=4, test=4, seconds=1)
SHIFTED = Plan(machines=("slider",), sections=4, train=5, test=4, seconds=1, layout=2022)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("factory")
    write_factory(folder, SMALL)
    return folder


def test_clips_lie_where_dcase_2020_has_them(written):
    assert (written / "dev_data/fan/train/normal_id_00_00000000.wav").is_file()
    assert (written / "dev_data/valve/test/anomaly_id_01_00000001.wav").is_file()
    assert len(list(written.rglob("*.wav"))) == 2 * 2 * 8


@pytest.mark.parametrize("plan", [SMALL, SHIFTED])
def test_what_a_name_says_is_what_the_table_says(plan):
    cohort = factory(plan)
    for row, name in enumerate(cohort.rows["id"]):
        clip = parse_name(f"{name}.wav")
        for column in ("machine", "section", "split", "domain", "anomaly"):
            assert getattr(clip, column) == cohort.rows[column][row], column
        said = cohort.rows["attributes"][row]
        assert dict(clip.attributes) == ({} if said is None else dict([said.split("_")]))


def test_a_written_factory_opens_as_the_same_cohort(written):
    back, cohort = open_cohort(written), factory(SMALL)
    assert back.origin == "synthetic"
    for name in ("id", "subject", "machine", "section", "split", "anomaly", "year", "severity", "fault"):
        np.testing.assert_array_equal(back.rows[name], cohort.rows[name], err_msg=name)
    for row in (0, 7, 20):
        np.testing.assert_array_equal(back[row].signals[0].values, cohort[row].signals[0].values)
        assert (back[row].signals[0].channels, back[row].signals[0].unit) == (("1",), "1")
        assert back[row].origin == "synthetic"


def test_files_are_sixteen_bit_and_say_that_they_are_synthetic(written):
    with soundfile.SoundFile(written / "dev_data/fan/train/normal_id_00_00000000.wav") as file:
        assert (file.samplerate, file.channels, file.subtype, file.frames) == (16000, 1, "PCM_16", 16000)
        assert "synthetic" in file.comment


def test_a_factory_of_2022_reads_as_a_dcase_data_set(tmp_path):
    write_factory(tmp_path / "made", SHIFTED)
    import_dcase(tmp_path / "made", tmp_path / "read", year=2022)
    made, read = open_cohort(tmp_path / "made"), open_cohort(tmp_path / "read")
    assert read.origin == "synthetic"
    order = np.argsort(read.rows["id"])
    ours = np.argsort(made.rows["id"])
    assert len(read) == len(made) == 4 * 9
    for name in (
        "id",
        "machine",
        "section",
        "split",
        "domain",
        "anomaly",
        "year",
        "attributes",
        "attr_vel",
        "attr_loc",
    ):
        np.testing.assert_array_equal(read.rows[name][order], made.rows[name][ours], err_msg=name)
    listed = tmp_path / "made/dev_data/slider/attributes_00.csv"
    lines = list(csv.reader(listed.read_text().splitlines()))
    assert lines[0] == ["file_name", "d1p", "d1v"]
    assert len(lines) == 10
    assert all((tmp_path / "made/dev_data" / line[0]).is_file() and line[1] == "vel" for line in lines[1:])


def test_a_stopped_writing_goes_on_and_gives_the_same_bytes(written, tmp_path):
    write_factory(tmp_path, SMALL)
    files = sorted(tmp_path.rglob("*.wav"))
    (tmp_path / "cohort.csv").unlink()
    files[3].unlink()
    old = {path: path.stat().st_mtime_ns for path in files if path.exists()}
    seen = []
    write_factory(tmp_path, SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(32, 32)]
    assert all(path.stat().st_mtime_ns == time for path, time in old.items())
    for path in [*files, tmp_path / "cohort.csv"]:
        assert path.read_bytes() == (written / path.relative_to(tmp_path)).read_bytes()


def test_another_factory_in_the_same_folder_is_refused(written):
    for other in ({"seed": 1}, {"plan": SHIFTED}, {"world": null_factory_world()}):
        with pytest.raises(CohortError, match="another cohort"):
            write_factory(written, **{"plan": SMALL, **other})


def test_the_command_line_writes_a_factory(tmp_path, capsys):
    arguments = "synth factory --machines valve --sections 1 --train 4 --test 4 --seconds 1 --layout 2022 --seed 3"
    main([*arguments.split(), "--out", str(tmp_path)])
    assert "8 simulated clips" in capsys.readouterr().out
    cohort = open_cohort(tmp_path)
    assert len(cohort) == 8
    plan = Plan(machines=("valve",), sections=1, train=4, test=4, seconds=1, layout=2022)
    np.testing.assert_array_equal(cohort[0].signals[0].values, factory(plan, 3)[0].signals[0].values)


def test_a_factory_that_cannot_be_is_refused_in_one_sentence(tmp_path, capsys):
    for wrong in (["--sections", "9"], ["--machines", "mill"], ["--seconds", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(["synth", "factory", "--out", str(tmp_path / "x"), *wrong])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("stethos: a ")
        assert said.count("\n") == 1
