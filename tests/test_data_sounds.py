"""Folders of sounds become cohorts: DCASE by its names and lists, any other by the words of its folders."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.data.layout import FOLDER_WORDS, places
from stethos.data.sounds import COLUMNS, import_dcase, import_sounds
from stethos.data.survey import survey
from stethos.errors import CohortError, FormatError
from stethos.io.sound import write_sound
from stethos.types import Cohort, Origin, Signal


def sound(path: Path, *, channels: int = 1, rate: float = 16000, origin: Origin = "real") -> None:
    values = np.random.default_rng(0).normal(0, 0.1, (channels, 160))
    write_sound(Signal(values, rate, tuple(str(n + 1) for n in range(channels)), "1"), path, origin)


def put(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def column(cohort: Cohort, name: str) -> list:
    """A column as text, "" where unknown, numbers as they are."""
    values = cohort.rows[name]
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else float(value) for value in values]
    return ["" if value is None else str(value) for value in values]


@pytest.fixture
def dcase2020(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    for name in (
        "dev_data/fan/train/normal_id_00_00000000.wav",
        "dev_data/fan/test/normal_id_00_00000000.wav",
        "dev_data/fan/test/anomaly_id_00_00000000.wav",
        "eval_data/fan/test/id_01_00000000.wav",
        "eval_data/fan/test/id_01_00000001.wav",
    ):
        sound(source / name)
    return source


def test_dcase_2020_becomes_a_cohort(dcase2020: Path, tmp_path: Path):
    put(dcase2020 / "eval_data_list.csv", "fan", "id_01_00000000.wav,anomaly_id_01_00000098.wav,1")
    result = import_dcase(dcase2020, tmp_path / "out")
    assert result.skipped == ()
    assert result.lines()[1:] == [
        "  clips: 1 normal (test), 2 anomalous (test), 1 unlabelled (test), 1 normal (train)",
        "  without a label: 1; name the folder of the ground truth with --table",
    ]
    cohort = open_cohort(tmp_path / "out")
    assert cohort.terms == "CC BY-NC-SA 4.0"
    assert column(cohort, "id")[0] == "dev_data/fan/test/anomaly_id_00_00000000"
    assert cohort.subjects.tolist() == column(cohort, "id")
    assert column(cohort, "machine") == ["fan"] * 5
    assert column(cohort, "section") == ["id_00"] * 3 + ["id_01"] * 2
    assert column(cohort, "split") == ["test", "test", "train", "test", "test"]
    assert column(cohort, "anomaly") == [1, 0, 0, 1, ""]
    assert column(cohort, "year") == [2020] * 5
    assert column(cohort, "domain") == column(cohort, "attributes") == [""] * 5
    record = cohort[0]
    assert (record.signals[0].channels, record.facts["machine"], record.facts["anomaly"]) == (("1",), "fan", 1.0)


def test_every_sound_cohort_has_the_same_columns_first(dcase2020: Path, tmp_path: Path):
    import_dcase(dcase2020, tmp_path / "a")
    import_sounds(dcase2020, tmp_path / "b")
    for folder, more in (("a", ",terms"), ("b", "")):
        first = (tmp_path / folder / "cohort.csv").read_text().splitlines()[0]
        assert first == "path,id,subject,origin," + ",".join(COLUMNS) + more


def test_a_folder_called_id_99_does_not_matter(tmp_path: Path):
    sound(tmp_path / "id_99" / "fan" / "test" / "anomaly_id_02_00000000.wav")
    import_dcase(tmp_path / "id_99", tmp_path / "out")
    assert column(open_cohort(tmp_path / "out"), "section") == ["id_02"]


def test_a_folder_of_machines_or_one_machine_alone_is_enough(dcase2020: Path, tmp_path: Path):
    for source in (dcase2020 / "dev_data", dcase2020 / "dev_data" / "fan", dcase2020 / "dev_data" / "fan" / "test"):
        import_dcase(source, tmp_path / "out")
        assert set(column(open_cohort(tmp_path / "out"), "machine")) == {"fan"}


def test_dcase_2022_takes_the_organisers_word_and_counts_where_a_merged_list_differs(tmp_path: Path):
    source, truth = tmp_path / "dcase2022", tmp_path / "evaluator"
    sound(source / "dev_data" / "fan" / "train" / "section_00_source_train_normal_0000_m-n_W.wav")
    for number in range(3):
        sound(source / "eval_data" / "fan" / "test" / f"section_03_{number:04d}.wav")
    put(
        source / "dev_data" / "fan" / "attributes_00.csv",
        "file_name,d1p,d1v,d2p,d2v",
        "fan/train/section_00_source_train_normal_0000_m-n_W.wav,m-n,W,mic,1",
    )
    name = "ground_truth_fan_section_03_test.csv"
    put(truth / "ground_truth_data" / name, *(f"section_03_test_{n:04d}.wav,{n % 2}" for n in range(3)))
    put(truth / "ground_truth_domain" / name, *(f"section_03_test_{n:04d}.wav,{n // 2}" for n in range(3)))
    put(
        truth / "eval_data_list_2022.csv",
        *("fan", "section_03_0000.wav,section_03_source_test_normal_0000.wav"),
        *("section_03_0001.wav,section_03_source_test_normal_0001.wav",),
        *("section_03_0002.wav,section_03_source_test_anomaly_0002.wav",),
    )
    result = import_dcase(source, tmp_path / "out", truth)
    assert result.notes[1:] == (
        "eval_data_list_2022.csv disagrees with the official ground truth on 2 of 3 labels and 1 of 3 domains; "
        "the official ones were taken",
    )
    cohort = open_cohort(tmp_path / "out")
    assert column(cohort, "anomaly") == [0, 0, 1, 0]
    assert column(cohort, "domain") == ["source", "source", "source", "target"]
    assert column(cohort, "split") == ["train", "test", "test", "test"]
    assert column(cohort, "year") == [2022] * 4
    assert column(cohort, "attributes")[0] == "m-n_W_mic_1"
    assert (column(cohort, "attr_m-n")[0], column(cohort, "attr_mic")[0]) == ("W", 1.0)
    assert survey(cohort, workers=1).prevalences == {"anomaly": (1, 4)}  # a microphone is no label
    assert cohort.terms == "CC BY 4.0"


def test_the_folders_of_2021_tell_its_year_and_domains(tmp_path: Path):
    sound(tmp_path / "in" / "fan" / "train" / "section_00_source_train_normal_0000_strength_1_ambient.wav")
    sound(tmp_path / "in" / "fan" / "source_test" / "section_00_source_test_normal_0000.wav")
    sound(tmp_path / "in" / "fan" / "target_test" / "section_00_target_test_anomaly_0000.wav")
    import_dcase(tmp_path / "in", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert column(cohort, "year") == [2021] * 3
    assert sorted(zip(column(cohort, "split"), column(cohort, "domain"), strict=True)) == [
        ("test", "source"),
        ("test", "target"),
        ("train", "source"),
    ]
    assert set(column(cohort, "attr_strength")) == {"", "1_ambient"}


def test_a_year_that_nothing_tells_is_asked_for(tmp_path: Path):
    sound(tmp_path / "in" / "fan" / "test" / "section_00_source_test_normal_0000.wav")
    assert "the year is not known: name it with --year" in import_dcase(tmp_path / "in", tmp_path / "out").notes
    assert column(open_cohort(tmp_path / "out"), "year") == [""]
    import_dcase(tmp_path / "in", tmp_path / "out", year=2024)
    assert column(open_cohort(tmp_path / "out"), "year") == [2024]


@pytest.mark.parametrize(
    ("folder", "year"),
    [("dcase2023", 2023), ("DCASE2024_task2", 2024), ("dcase2022t2", 2022), ("my_dcase2023", ""), ("dcase20230", "")],
)
def test_a_folder_named_after_the_challenge_tells_the_year(tmp_path: Path, folder, year):
    sound(tmp_path / folder / "dev_data" / "fan" / "test" / "section_00_source_test_normal_0000.wav")
    import_dcase(tmp_path / folder / "dev_data", tmp_path / "out")
    assert column(open_cohort(tmp_path / "out"), "year") == [year]


def test_what_is_left_out_is_counted_by_its_reason(dcase2020: Path, tmp_path: Path):
    fan = dcase2020 / "dev_data" / "fan" / "test"
    sound(fan / "my own.wav")
    put(fan / "anomaly_id_00_00000001.wav", "a text")
    put(dcase2020 / "readme.txt", "about")
    whole = (fan / "normal_id_00_00000000.wav").read_bytes()
    (fan / "normal_id_00_00000001.wav").write_bytes(whole[:-100])
    result = import_dcase(dcase2020, tmp_path / "out")
    assert (result.rows, sorted(result.skipped)) == (
        5,
        [
            ("dev_data/fan/test/anomaly_id_00_00000001.wav", "not a sound"),
            ("dev_data/fan/test/my own.wav", "its name is none of DCASE Task 2"),
            (
                "dev_data/fan/test/normal_id_00_00000001.wav",
                "header promises 160 frames, the file holds 110; copy it again",
            ),
            ("readme.txt", "not a sound"),
        ],
    )
    assert "  left out: 2: not a sound" in result.lines()


def test_copies_that_were_renamed_by_a_merged_list_do_not_count_twice(tmp_path: Path):
    fan = tmp_path / "in" / "eval_data" / "fan"
    sound(fan / "test_rename" / "section_03_source_test_anomaly_0000.wav")
    import_dcase(tmp_path / "in", tmp_path / "out")
    assert column(open_cohort(tmp_path / "out"), "machine") == ["fan"]
    sound(fan / "test" / "section_03_0000.wav")
    result = import_dcase(tmp_path / "in", tmp_path / "out")
    assert column(open_cohort(tmp_path / "out"), "id") == ["eval_data/fan/test/section_03_0000"]
    assert [reason for _, reason in result.skipped] == ["a copy of a clip in test, renamed by a merged list"]


def test_a_source_or_ground_truth_that_holds_nothing_is_refused(dcase2020: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match="at least one readable recording"):
        import_dcase(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(CohortError, match="needs ground_truth_data, ground_truth_domain or an eval_data_list"):
        import_dcase(dcase2020, tmp_path / "out", tmp_path / "empty")
    with pytest.raises(CohortError, match="needs a folder of sounds, and there is none"):
        import_sounds(tmp_path / "nowhere", tmp_path / "out")
    put(dcase2020 / "eval_data_list.csv", "fan", "what,is,this")
    with pytest.raises(FormatError, match="'what' names no clip"):
        import_dcase(dcase2020, tmp_path / "out")


def test_a_simulated_factory_stays_simulated(tmp_path: Path):
    sound(tmp_path / "in" / "fan" / "normal" / "a.wav", origin="synthetic")
    import_sounds(tmp_path / "in", tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert (cohort.origin, cohort[0].origin) == ("synthetic", "synthetic")


# --- any folder of sounds ------------------------------------------------------------------------------------------


def placed(*files: str) -> list[tuple]:
    found, _ = places([PurePosixPath(file) for file in files], "plant")
    return [(place.machine, place.section, place.split, place.anomaly) for place in found]


LAYOUTS = {
    "machine, split, condition": (
        ("fan/train/normal/a.wav", "fan/test/normal/b.wav", "fan/test/broken/c.wav"),
        [("fan", "section_00", "train", 0), ("fan", "section_00", "test", 0), ("fan", "section_00", "test", 1)],
    ),
    "machine, split": (
        ("fan/train/a.wav", "fan/Test/b.wav"),
        [("fan", "section_00", "train", 0), ("fan", "section_00", "test", None)],
    ),
    "machine, split, condition in the name": (
        ("fan/test/normal_1.wav", "fan/test/anomaly-2.wav", "fan/test/abnormality.wav"),
        [("fan", "section_00", "test", 0), ("fan", "section_00", "test", 1), ("fan", "section_00", "test", None)],
    ),
    "machine, condition": (
        ("pump/Normal/a.wav", "pump/Abnormal/b.wav", "fan/ok/c.wav", "fan/NG/d.wav"),
        [("pump", "section_00", None, 0), ("pump", "section_00", None, 1),
         ("fan", "section_00", None, 0), ("fan", "section_00", None, 1)],
    ),
    "condition at the top": (
        ("normal/a.wav", "anomaly/b.wav"),
        [("plant", "section_00", None, 0), ("plant", "section_00", None, 1)],
    ),
    "condition, machine; one condition has a name of its own": (
        ("Healthy/M1/1400.wav", "Propeller/M1/1400.wav", "Healthy/M2/1400.wav"),
        [("M1", "section_00", None, 0), ("M1", "section_00", None, 1), ("M2", "section_00", None, 0)],
    ),
    "split, machine, condition": (
        ("train/fan/a.wav", "test/fan/good/b.wav", "test/fan/scratch/c.wav"),
        [("fan", "section_00", "train", 0), ("fan", "section_00", "test", 0), ("fan", "section_00", "test", 1)],
    ),
    "machine, section, condition": (
        ("fan/id_00/normal/a.wav", "fan/id_02/abnormal/b.wav"),
        [("fan", "id_00", None, 0), ("fan", "id_02", None, 1)],
    ),
    "a machine beside a folder of normal sounds is no fault": (
        ("normal/a.wav", "fan/normal/b.wav", "fan/fault/c.wav"),
        [("plant", "section_00", None, 0), ("fan", "section_00", None, 0), ("fan", "section_00", None, 1)],
    ),
    "machines of one name in two halls": (
        ("north/fan/normal/a.wav", "south/fan/normal/b.wav", "south/pump/normal/c.wav"),
        [("north_fan", "section_00", None, 0), ("south_fan", "section_00", None, 0), ("pump", "section_00", None, 0)],
    ),
    "machines that are numbers keep their zeros": (
        ("01/normal/a.wav", "2/normal/b.wav"),
        [("machine_01", "section_00", None, 0), ("machine_2", "section_00", None, 0)],
    ),
    "what lies beside the folders that speak can only be scored": (
        ("fan/normal/a.wav", "pump/b.wav", "c.wav"),
        [("fan", "section_00", None, 0), ("pump", "section_00", "test", None), ("plant", "section_00", "test", None)],
    ),
    "nothing is said": (
        ("a.wav", "x/b.wav", "x/y/normally.wav"),
        [("plant", "section_00", None, 0)] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_words_of_the_folders_say_what_a_sound_is(layout):
    files, want = LAYOUTS[layout]
    assert placed(*files) == want


def test_what_had_to_be_assumed_is_said():
    _, said = places([PurePosixPath(file) for file in ("a.wav", "b.wav")], "plant")
    (sentence,) = said
    assert sentence.endswith("all are taken for normal sounds of one machine, plant")
    files = ("M/Healthy/a.wav", "M/Ball/b.wav", "M/Outer race/c.wav", "N/train/d.wav", "N/test/e.wav")
    _, said = places([PurePosixPath(file) for file in files], "plant")
    assert said == [
        "taken for normal, because they are for training: 1",
        "neither normal nor anomalous is said, so that they can only be scored: 1",
        "without a split, to be divided by the training: 3",
        "taken for anomalous, because they lie beside normal sounds: Ball, Outer race",
    ]


def test_no_word_has_two_meanings():
    words = [word for meaning in FOLDER_WORDS.values() for word in meaning]
    assert len(set(words)) == len(words)
    assert all(word == word.casefold() for word in words)


PART = st.sampled_from(["fan", "id_00", "train", "Test", "normal", "fault", "7", "x y", "Ball"])


@given(st.lists(st.lists(PART, max_size=4), min_size=1, max_size=6), st.randoms())
def test_the_order_of_the_files_does_not_matter(folders, random):
    files = [PurePosixPath(*folder, f"{number}.wav") for number, folder in enumerate(folders)]
    shuffled = random.sample(files, len(files))
    ordered, again = (dict(zip(some, places(some, "plant")[0], strict=True)) for some in (files, shuffled))
    assert ordered == again
    assert all(place.split in ("train", "test", None) and place.machine for place in ordered.values())


def test_sounds_of_one_machine_may_differ_in_rate_and_channels(tmp_path: Path):
    sound(tmp_path / "in" / "fan" / "normal" / "a.wav")
    sound(tmp_path / "in" / "fan" / "normal" / "b.wav", channels=2, rate=44100)
    (tmp_path / "in" / "fan" / "normal" / ".hidden.wav").write_text("x")
    result = import_sounds(tmp_path / "in", tmp_path / "out")
    assert (result.rows, result.skipped) == (2, ())
    assert result.notes[:2] == ("machines: fan/section_00 (2)", "sounds: 2 normal (no split)")
    found = survey(open_cohort(tmp_path / "out"), workers=1)
    assert found.rates == {16000.0: 1, 44100.0: 1}
    assert "channels: mono (1), stereo (1)" in found.lines()


def test_two_files_that_differ_in_their_suffix_keep_it(tmp_path: Path):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "a.flac")
    sound(tmp_path / "b.wav")
    import_sounds(tmp_path, tmp_path)
    assert column(open_cohort(tmp_path), "id") == ["a.flac", "a.wav", "b"]
    assert import_sounds(tmp_path, tmp_path).skipped == ()  # the table is not taken for a sound the second time


def test_names_of_dcase_are_pointed_out(dcase2020: Path, tmp_path: Path):
    said = import_sounds(dcase2020, tmp_path / "out").notes
    assert "names of DCASE Task 2: 5; the layout dcase reads more from them" in said


# --- the command line ----------------------------------------------------------------------------------------------


def test_a_cohort_of_sounds_is_shown_without_the_words_of_the_clinic(dcase2020: Path, tmp_path: Path, capsys):
    put(tmp_path / "truth" / "eval_data_list.csv", "fan", "id_01_00000000.wav,anomaly_id_01_00000098.wav,1")
    out = str(tmp_path / "out")
    main(["cohort", "import", "dcase", str(dcase2020), "--out", out, "--table", str(tmp_path / "truth")])
    main(["cohort", "show", out])
    said = capsys.readouterr().out
    assert said.splitlines()[3:] == [
        "5 sounds of 5 sources, real",
        "machines: fan (5)",
        "sections: fan/id_00 (3), fan/id_01 (2)",
        "splits: test (4), train (1)",
        "terms: CC BY-NC-SA 4.0",
        "rates: 16000 Hz (5)",
        "channels: mono (5)",
        "durations: median 0.0 s (0.0 to 0.0 s)",
        "prevalences:",
        "  anomaly: 2 of 4 (50.0 %)",
        "missing values:",
        "  anomaly: 1 (20.0 %)",
        "unreadable files: none",
    ]


def test_a_year_can_be_given_at_the_command_line(tmp_path: Path, capsys):
    sound(tmp_path / "in" / "fan" / "test" / "section_00_source_test_normal_0000.wav")
    main(["cohort", "import", "dcase", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--year", "2023"])
    main(["cohort", "import", "sounds", str(tmp_path / "in"), "--out", str(tmp_path / "plain")])
    assert column(open_cohort(tmp_path / "out"), "year") == [2023]
    assert "machines: fan/section_00 (1)" in capsys.readouterr().out


@pytest.mark.realdata
def test_the_real_clips_of_dcase_2020_become_a_cohort(real: Path, tmp_path: Path):
    result = import_dcase(real / "sound" / "dcase2020", tmp_path)
    found = survey(open_cohort(tmp_path), workers=1)
    assert (result.rows, result.skipped, found.unreadable) == (67, (), ())
    assert (len(found.sounds["machines"]), len(found.sounds["sections"])) == (6, 23)
    assert found.prevalences == {"anomaly": (30, 67)}
    assert np.allclose(sorted(set(found.durations)), [10, 11])


@pytest.mark.realdata
def test_the_real_clips_of_dcase_2023_become_a_cohort(real: Path, tmp_path: Path):
    result = import_dcase(real / "sound" / "dcase2023", tmp_path)
    cohort = open_cohort(tmp_path)
    assert (result.rows, result.skipped, set(cohort.rows["year"])) == (28, (), {2023.0})
    assert survey(cohort, workers=1).sounds["domains"] == {"source": 20, "target": 8}
    assert (cohort.rows["anomaly"][cohort.rows["split"] == "train"] == 0).all()
    assert "34V" in column(cohort, "attr_spd")


@pytest.mark.realdata
def test_the_real_motor_is_one_machine_with_healthy_and_broken_propellers(real: Path, tmp_path: Path):
    result = import_sounds(real / "sound" / "bldc", tmp_path)
    cohort = open_cohort(tmp_path)
    assert (result.rows, result.skipped, set(column(cohort, "machine"))) == (14, (), {"M1"})
    assert np.array_equal(cohort.rows["anomaly"] == 1, ["Propeller" in path for path in cohort.rows["path"]])
    found = survey(cohort, workers=1)
    assert found.rates == {16000.0: 13, 44100.0: 1}
    assert "channels: stereo (14)" in found.lines()
