"""DCASE Task 2: what names say, what lists say where names are silent, and the score files of a submission."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import FormatError
from stethos.io.dcase import Clip, attributes_from, attributes_text, name_of, parse_name
from stethos.io.groundtruth import Lists, Truth, attribute_lists, is_list, merged_truth, official_truth, read_lists
from stethos.io.submission import Scores, read_scores, scores_from, write_scores
from stethos.types import Predictions

NAMES = {
    "dev_data/fan/train/normal_id_00_00000000.wav": (2020, "fan", "id_00", "train", None, 0, 0, {}),
    "dev_data/ToyCar/test/anomaly_id_04_00000263.wav": (2020, "ToyCar", "id_04", "test", None, 1, 263, {}),
    "eval_data/fan/test/id_01_00000007.wav": (2020, "fan", "id_01", "test", None, None, 7, {}),
    "fan/train/section_00_source_train_normal_0000_strength_1_ambient.wav": (
        *(None, "fan", "section_00", "train", "source", 0, 0),
        {"strength": "1_ambient"},
    ),
    "fan/source_test/section_00_source_test_normal_0003.wav": (2021, "fan", "section_00", "test", "source", 0, 3, {}),
    "fan/target_test/section_03_target_test_0004.wav": (2021, "fan", "section_03", "test", "target", None, 4, {}),
    "bearing/test/section_00_target_test_anomaly_0021_vel_8_loc_G.wav": (
        *(None, "bearing", "section_00", "test", "target", 1, 21),
        {"vel": "8", "loc": "G"},
    ),
    "ToyCar/train/section_00_source_train_normal_0362_car_C2_spd_31V_mic_1.wav": (
        *(None, "ToyCar", "section_00", "train", "source", 0, 362),
        {"car": "C2", "spd": "31V", "mic": "1"},
    ),
    "slider/train/section_00_source_train_normal_0853_vel_500_ac_0.30.wav": (
        *(None, "slider", "section_00", "train", "source", 0, 853),
        {"vel": "500", "ac": "0.30"},
    ),
    "fan/train/section_01_source_train_normal_0001_f-n_A.wav": (
        *(None, "fan", "section_01", "train", "source", 0, 1),
        {"f-n": "A"},
    ),
    "3DPrinter/train/section_00_source_train_normal_0001_noAttribute.wav": (
        *(None, "3DPrinter", "section_00", "train", "source", 0, 1),
        {},
    ),
    "fan/test/section_03_test_0199.wav": (None, "fan", "section_03", "test", None, None, 199, {}),
    "fan/test/section_03_0199.wav": (None, "fan", "section_03", "test", None, None, 199, {}),
}


@pytest.mark.parametrize("path", NAMES)
def test_a_name_of_any_year_says_what_the_challenge_says_it_does(path):
    assert parse_name(path) == Clip(Path(path), *NAMES[path])


@pytest.mark.parametrize(
    "above", ["id_99", "section_77_target_test_anomaly_0001", "anomaly_id_99_00000001.wav", "target"]
)
def test_only_the_file_and_its_two_folders_speak(above):
    clip = parse_name(f"/{above}/deep/{above}/fan/test/normal_id_02_00000005.wav")
    assert (clip.machine, clip.section, clip.anomaly, clip.domain, clip.index) == ("fan", "id_02", 0, None, 5)
    assert parse_name(f"/data/{above}/normal_id_02_00000005.wav").machine == above


@pytest.mark.parametrize(
    "name",
    ["a.wav", "normal_id_0_00000000.wav", "normal_id_00_0.wav", "section_00.wav", "section_0_0000.wav",
     "xsection_00_0000.wav", "section_00_sauce_train_normal_0000.wav", "id_00_00000000.wav.bak", ""],
)  # fmt: skip
def test_a_name_of_another_kind_is_refused(name):
    with pytest.raises(FormatError, match="needs a name of DCASE Task 2"):
        parse_name(f"fan/train/{name}")


def test_a_value_with_a_point_is_no_suffix():
    assert parse_name("slider/test/section_00_source_test_normal_0001_vel_500_ac_0.30").attributes["ac"] == "0.30"


WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-.", min_size=1, max_size=6).filter(
    lambda word: word != "noAttribute"
)
MACHINES = st.sampled_from(["fan", "ToyCar", "3DPrinter", "a machine_section_00"])


@st.composite
def clips(draw):
    """Any clip of 2022 and later, or of 2020, in the folder that its name fits."""
    number, machine = draw(st.integers(0, 99)), draw(MACHINES)
    anomaly = draw(st.sampled_from([0, 1, None]))
    if draw(st.booleans()):
        split = "test" if anomaly is None else draw(st.sampled_from(["train", "test"]))
        index = draw(st.integers(0, 99_999_999))
        clip = Clip(Path(), 2020, machine, f"id_{number:02d}", split, None, anomaly, index)
    else:
        split = "test" if anomaly is None else draw(st.sampled_from(["train", "test"]))
        domain = draw(st.sampled_from(["source", "target", None]))
        attributes = draw(st.dictionaries(WORDS, WORDS, max_size=3))
        index = draw(st.integers(0, 99_999))
        clip = Clip(Path(), None, machine, f"section_{number:02d}", split, domain, anomaly, index, attributes)
    return Clip(Path(machine) / str(split) / name_of(clip), *list(vars(clip).values())[1:])


@settings(max_examples=300)
@given(clips())
def test_a_name_that_was_made_from_a_clip_gives_the_clip_back(clip):
    assert parse_name(clip.path) == clip


@given(st.dictionaries(WORDS, WORDS, max_size=4))
def test_attributes_in_a_name_come_back(attributes):
    assert attributes_from(attributes_text(attributes)) == attributes


def test_words_that_are_no_pairs_are_kept():
    assert attributes_from("pattern_00_no_pump") == {"pattern": "00", "no": "pump"}
    assert attributes_from("A1Spd28VMic1") == {"attribute": "A1Spd28VMic1"}
    assert attributes_from("") == attributes_from("noAttribute") == {}


# --- lists ---------------------------------------------------------------------------------------------------------


def put(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def to_be_judged(machine: str, name: str) -> Clip:
    return parse_name(f"eval_data/{machine}/test/{name}")


def test_the_organisers_lists_give_labels_and_domains_however_they_spell_the_name(tmp_path):
    lists = read_lists(
        [
            put(tmp_path / "ground_truth_data" / "ground_truth_fan_section_03_test.csv",
                "section_03_test_0000.wav,0", "section_03_0001.wav,1"),
            put(tmp_path / "ground_truth_domain" / "ground_truth_fan_section_03_test.csv",
                "section_03_test_0000.wav,1", "section_03_0001.wav,0"),
        ]
    )  # fmt: skip
    for spelling in ("section_03_{}.wav", "section_03_test_{}.wav"):
        told = [lists.tell(to_be_judged("fan", spelling.format(number))) for number in ("0000", "0001", "0002")]
        assert [clip.anomaly for clip in told] == [0, 1, None]
        assert [clip.domain for clip in told] == ["target", "source", None]
    assert lists.tell(to_be_judged("valve", "section_03_0000.wav")).anomaly is None


def test_the_lists_of_2021_count_each_domain_from_0(tmp_path):
    lists = read_lists(
        [
            put(tmp_path / "ground_truth_data" / f"ground_truth_fan_section_03_{domain}_test.csv",
                f"section_03_{domain}_test_0000.wav,{label}")
            for domain, label in (("source", 0), ("target", 1))
        ]
    )  # fmt: skip
    source = parse_name("fan/source_test/section_03_source_test_0000.wav")
    target = parse_name("fan/target_test/section_03_target_test_0000.wav")
    assert (lists.tell(source).anomaly, lists.tell(target).anomaly) == (0, 1)


def test_the_list_of_2020_names_the_machine_first_and_the_label_last(tmp_path):
    path = put(
        tmp_path / "eval_data_list.csv",
        *("fan", "id_01_00000000.wav,normal_id_01_00000098.wav,0", "id_01_00000001.wav,anomaly_id_01_00000011.wav,1"),
        *("", "ToyCar", "id_05_00000000.wav,anomaly_id_05_00000009.wav,1"),
    )
    lists = read_lists([path])
    clips = [to_be_judged(machine, name) for machine, name in (
        ("fan", "id_01_00000000.wav"), ("fan", "id_01_00000001.wav"), ("ToyCar", "id_05_00000000.wav"),
        ("ToyCar", "id_01_00000000.wav"))]  # fmt: skip
    assert [lists.tell(clip).anomaly for clip in clips] == [0, 1, 1, None]
    assert lists.notes(clips) == []  # it is the organisers' own


def trap(folder: Path) -> list[Path]:
    """A merged list that disagrees with the organisers about one label and two domains of three clips."""
    official = ("section_03_0000.wav,{}", "section_03_0001.wav,{}", "section_03_0002.wav,{}")
    labels = [line.format(value) for line, value in zip(official, (0, 1, 0), strict=True)]
    domains = [line.format(value) for line, value in zip(official, (0, 0, 1), strict=True)]
    return [
        put(folder / "ground_truth_data" / "ground_truth_ToyCar_section_03_test.csv", *labels),
        put(folder / "ground_truth_domain" / "ground_truth_ToyCar_section_03_test.csv", *domains),
        put(
            folder / "eval_data_list_2022.csv",
            "ToyCar",
            "section_03_0000.wav,section_03_source_test_normal_0000_car_F1.wav",
            "section_03_0001.wav,section_03_target_test_normal_0001_car_F1.wav",
            "section_03_0002.wav,section_03_source_test_normal_0002_car_F1.wav",
            "section_03_0003.wav,section_03_source_test_anomaly_0003_car_F1.wav",
        ),
    ]


def test_the_organisers_win_over_a_merged_list_and_each_disagreement_is_counted(tmp_path):
    lists = read_lists(trap(tmp_path))
    clips = [to_be_judged("ToyCar", f"section_03_{number:04d}.wav") for number in range(4)]
    told = [lists.tell(clip) for clip in clips]
    assert [clip.anomaly for clip in told] == [0, 1, 0, 1]
    assert [clip.domain for clip in told] == ["source", "source", "target", "source"]
    assert lists.notes(clips) == [
        "eval_data_list_2022.csv disagrees with the official ground truth on 1 of 3 labels and 2 of 3 domains; "
        "the official ones were taken",
        "1 labels come from eval_data_list_2022.csv, not from the official ground truth",
    ]


def test_lists_that_agree_are_not_mentioned(tmp_path):
    paths = trap(tmp_path)
    lists = read_lists(paths[:2])
    same = Lists(lists.official, lists.official, {})
    clips = [to_be_judged("ToyCar", f"section_03_{number:04d}.wav") for number in range(3)]
    assert same.notes(clips) == []


def test_a_label_in_the_name_is_not_overruled(tmp_path):
    lists = read_lists(trap(tmp_path))
    clip = parse_name("ToyCar/test/section_03_source_test_anomaly_0000.wav")
    assert lists.tell(clip) == clip


def test_an_attribute_list_wins_over_the_name(tmp_path):
    lists = attribute_lists(
        [
            put(
                tmp_path / "gearbox" / "attributes_00.csv",
                "file_name,d1p,d1v,d2p,d2v,file_name_with_attributes",
                "gearbox/train/section_00_source_train_normal_0000_volt_1.5.wav,volt,1.5,wt,50,whatever",
                "section_00_source_train_normal_0001_volt_1.5.wav,noAttribute,,,",
            )
        ]
    )
    tell = Lists(Truth(), Truth(), lists).tell
    told = tell(parse_name("gearbox/train/section_00_source_train_normal_0000_volt_1.5.wav"))
    assert told.attributes == {"volt": "1.5", "wt": "50"}
    # a list that says nothing leaves what the name says; another machine's list is not asked
    assert tell(parse_name("gearbox/train/section_00_source_train_normal_0001_volt_1.5.wav")).attributes == {
        "volt": "1.5"
    }
    assert tell(parse_name("fan/train/section_00_source_train_normal_0000_volt_1.5.wav")).attributes == {"volt": "1.5"}


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        (
            "ground_truth_data/ground_truth_fan_section_03_test.csv",
            ["section_03_0000.wav,2"],
            "has the value 2; needs 0",
        ),
        ("ground_truth_data/ground_truth_fan_section_03_test.csv", ["section_03_0000.wav"], "needs FILE,NUMBER"),
        ("ground_truth_data/ground_truth_fan_section_03_test.csv", ["a.wav,1"], "'a.wav' names no clip"),
        ("eval_data_list.csv", ["id_01_00000000.wav,normal_id_01_00000098.wav,0"], "needs a line with the machine"),
        ("eval_data_list.csv", ["fan", "id_01.wav,normal_id_01_00000098.wav,0"], "'id_01.wav' names no clip"),
        ("fan/attributes_00.csv", ["file,d1p", "a,b"], "needs the column file_name; it has file, d1p"),
        ("fan/attributes_00.csv", [], "it has none"),
    ],
)
def test_a_list_that_cannot_be_understood_is_named(tmp_path, name, lines, words):
    path = put(tmp_path / name, *lines)
    assert is_list(path)
    with pytest.raises(FormatError, match=words):
        read_lists([path])


def test_other_tables_are_no_lists(tmp_path):
    paths = [put(tmp_path / name, "x") for name in ("ground_truth_fan_section_03_test.csv", "readme.csv", "a/b.csv")]
    assert not any(is_list(path) for path in paths)
    assert (official_truth(paths), merged_truth(paths), attribute_lists(paths)) == (Truth(), Truth(), {})


# --- submissions ---------------------------------------------------------------------------------------------------


def scores(*rows: tuple[str, str, str, str, float, float]) -> Scores:
    machine, section, domain, file, score, decision = zip(*rows, strict=True)
    return Scores(
        *(np.array(column) for column in (machine, section, domain, file)), np.array(score), np.array(decision)
    )


def test_the_files_of_each_year_have_the_names_that_the_challenge_asked_for(tmp_path):
    nothing = float("nan")
    paths = write_scores(tmp_path / "2020", scores(("fan", "id_01", "", "id_01_00000000.wav", 0.123, nothing)), 2020)
    assert [path.name for path in paths] == ["anomaly_score_fan_id_01.csv"]
    assert paths[0].read_text() == "id_01_00000000.wav,0.123\n"

    rows = [
        ("fan", "section_03", domain, f"section_03_{domain}_test_0000.wav", 1.5, 1) for domain in ("source", "target")
    ]
    assert [path.name for path in write_scores(tmp_path / "2021", scores(*rows), 2021)] == [
        "anomaly_score_fan_section_03_source_test.csv",
        "decision_result_fan_section_03_source_test.csv",
        "anomaly_score_fan_section_03_target_test.csv",
        "decision_result_fan_section_03_target_test.csv",
    ]
    paths = write_scores(tmp_path / "2022", scores(*rows), 2022)
    assert [path.name for path in paths] == [
        "anomaly_score_fan_section_03_test.csv",
        "decision_result_fan_section_03_test.csv",
    ]
    assert paths[1].read_text() == "section_03_source_test_0000.wav,1\nsection_03_target_test_0000.wav,1\n"


@st.composite
def submissions(draw):
    """Scores of some clips, with decisions or without, and a year that they fit."""
    year = draw(st.integers(2020, 2024))
    decided = year > 2020 and draw(st.booleans())
    rows = {}
    for number in range(draw(st.integers(1, 12))):
        machine = draw(st.sampled_from(["fan", "ToyCar", "a_b", "x_section_00"]))
        section = f"{'id' if year == 2020 else 'section'}_{draw(st.integers(0, 2)):02d}"
        domain = "" if year == 2020 else draw(st.sampled_from(["source", "target"]))
        words = [section, *([domain, "test"] if domain else []), f"{number:08d}"]
        score = draw(st.floats(allow_nan=False, allow_infinity=False))
        decision = draw(st.integers(0, 1)) if decided else float("nan")
        rows[number] = (machine, section, domain, "_".join(words) + ".wav", score, decision)
    return year, scores(*rows.values())


@settings(max_examples=60, deadline=None)
@given(submissions())
def test_a_submission_comes_back_as_it_was_written(tmp_path_factory, submission):
    year, before = submission
    folder = tmp_path_factory.mktemp("submission")
    write_scores(folder, before, year)
    after = read_scores(folder)
    order, again = np.argsort(before.file), np.argsort(after.file)
    for name in ("machine", "section", "domain", "file", "score", "decision"):
        np.testing.assert_array_equal(getattr(after, name)[again], getattr(before, name)[order])


def test_predictions_become_scores_by_the_last_part_of_their_identifier():
    predictions = Predictions(
        np.array([[1.5], [-2.0]]),
        np.array([[1.0], [np.nan]]),
        np.array(
            ["dev_data/fan/test/section_00_0001", "dev_data/slider/test/section_00_source_test_normal_0002_ac_0.30"]
        ),
        np.array(["a", "b"]),
        np.array(["internal", "internal"]),
        np.zeros(2),
        {
            "machine": np.array(["fan", "slider"]),
            "section": np.array(["section_00"] * 2),
            "domain": np.array(["", "source"]),
        },
        ("anomaly",),
    )
    got = scores_from(predictions, np.array([1, 0]))
    assert got.file.tolist() == ["section_00_0001.wav", "section_00_source_test_normal_0002_ac_0.30.wav"]
    assert (got.score.tolist(), got.decision.tolist(), got.domain.tolist()) == ([1.5, -2.0], [1, 0], ["", "source"])
    assert np.isnan(scores_from(predictions).decision).all()


@pytest.mark.parametrize(
    ("rows", "year", "words"),
    [
        ([("fan", "id_01", "", "a.wav", float("nan"), 0)], 2020, "1 scores are no numbers"),
        ([("fan", "id_01", "", "a.wav", 1.0, 2)], 2020, "decisions must be 0 or 1"),
        ([("fan", "section_01", "", "a.wav", 1.0, 0)], 2021, "1 clips have none"),
        ([("fan", "3", "", "a.wav", 1.0, 0)], 2022, "got fan 3"),
        ([("../fan", "section_01", "", "a.wav", 1.0, 0)], 2022, r"got \.\./fan"),
        ([("fan", "section_01", "", "a.wav", score, 0) for score in (1.0, 2.0)], 2022, "fan section_01 a.wav stands"),
        ([("fan", "section_01", "", f"{n}.wav", 1.0, n) for n in (0, float("nan"))], 2022, "for all clips or for none"),
    ],
)
def test_what_is_no_submission_is_not_written(tmp_path, rows, year, words):
    with pytest.raises(FormatError, match=words):
        write_scores(tmp_path, scores(*rows), year)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "needs score files such as anomaly_score_fan_id_01.csv"),
        ({"anomaly_score_fan.csv": "a.wav,1"}, "needs a name such as"),
        ({"anomaly_score_fan_id_01.csv": "a.wav,loud"}, "each line needs FILE,NUMBER; got 'a.wav,loud'"),
        ({"anomaly_score_fan_id_01.csv": "a.wav,1\na.wav,2"}, "a.wav has several values"),
        ({"anomaly_score_fan_section_01_test.csv": "a.wav,1", "decision_result_fan_section_01_test.csv": "b.wav,1"},
         "1 clips have a decision and no score, such as b.wav"),
    ],
)  # fmt: skip
def test_a_submission_that_does_not_fit_is_named(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=words):
        read_scores(tmp_path)


def test_other_files_beside_a_submission_are_left_alone(tmp_path):
    (tmp_path / "result.csv").write_text("fan\nid,AUC,pAUC\n")
    (tmp_path / "anomaly_score_fan_id_01.csv").write_text("a.wav,1\n\n")
    assert read_scores(tmp_path).score.tolist() == [1.0]


@pytest.mark.realdata
def test_every_real_name_here_is_read_and_given_back(real):
    for folder in ("dcase2020", "dcase2023"):
        paths = sorted((real / "sound" / folder).rglob("*.wav"))
        clips = [parse_name(path) for path in paths]
        assert [name_of(clip) for clip in clips] == [path.name for path in paths]
        assert all(clip.machine == clip.path.parents[1].name and clip.split == clip.path.parent.name for clip in clips)
