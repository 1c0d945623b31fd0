"""Who is trained on, what is told apart, and what comes of each recording, by hand and on a small factory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import CohortError, QualityError, RecipeError
from stethos.signal.clip import ClipWindows
from stethos.study import clips
from stethos.study.clips import Divided, Hearing, classes_of, divide
from stethos.study.listening import Listening, anomaly_of, identity_of, refuse_impossible, words
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.types import Cohort, Record, Run, Signal

HUM = 0.1 * np.sin(2 * np.pi * 120 * np.arange(16_000) / 16_000)  # a second


def people(count: int, values: np.ndarray | list | None = None, **columns: object) -> Cohort:
    """So many recordings; a column is one value for all, or one each. A recording sounds as its values do."""
    rows = {"id": np.array([f"r{row}" for row in range(count)])}
    for name, column in ({"subject": rows["id"], "machine": "fan", "section": "id_00"} | columns).items():
        every = list(column) if isinstance(column, (list, np.ndarray)) else [column] * count
        numbers = all(item is None or isinstance(item, (int, float)) for item in every)
        rows[name] = np.array([np.nan if item is None else item for item in every] if numbers else every)
        if not numbers:
            rows[name] = np.array(every, dtype=str if name == "subject" else object)
    sounds = [HUM] * count if values is None else list(values)

    def opened(row: int) -> Record:
        return Record(
            str(rows["subject"][row]), str(rows["id"][row]), (Signal(sounds[row][None], 16_000, ("1",), "1"),)
        )

    return Cohort(rows, opened)


def parts(cohort: Cohort, **settings: object) -> dict[str, list[int]]:
    return {name: rows.tolist() for name, rows in divide(cohort, Listening(**settings))[0].items()}


# --- columns ------------------------------------------------------------------------------------------------


def test_a_text_column_is_empty_where_unknown_and_whole_numbers_keep_all_their_digits():
    cohort = people(3, machine=[10_000_001, 10_000_002, None], note=["a", None, "b"])
    assert words(cohort, "machine").tolist() == ["10000001", "10000002", ""]
    assert words(cohort, "note").tolist() == ["a", "", "b"]
    assert words(cohort, "absent").tolist() == ["", "", ""]


def test_anomaly_is_0_or_1_or_unknown_and_words_are_refused():
    assert anomaly_of(people(3, anomaly=[0, 1, None])).tolist()[:2] == [0, 1]
    assert np.isnan(anomaly_of(people(2))).all()
    with pytest.raises(CohortError, match="holds 0, 1 or nothing; got anomaly, normal"):
        anomaly_of(people(2, anomaly=["normal", "anomaly"]))
    with pytest.raises(CohortError, match="got 2"):
        divide(people(3, split="train", anomaly=[0, 2, 0]), Listening())


def test_an_identity_is_machine_and_section_or_the_machine_alone():
    assert identity_of(np.array(["fan", "pump"]), np.array(["id_00", ""])).tolist() == ["fan/id_00", "pump"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 0.1}, "between 0.2 and 60; got 0.1"),
        ({"seconds": float("nan")}, "between 0.2 and 60"),
        ({"valid_fraction": 0.0}, "--valid-fraction lies between 0 and 1"),
        ({"valid_fraction": 1.0}, "--valid-fraction"),
        ({"test_fraction": 1.0}, "--test-fraction from 0 to below 1"),
    ],
)
def test_what_cannot_be_heard_is_refused(change, words):
    with pytest.raises(RecipeError, match=words):
        refuse_impossible(Listening(**change))
    refuse_impossible(Listening(seconds=0.2, test_fraction=0))


# --- who is where -------------------------------------------------------------------------------------------


def test_the_split_column_says_who_is_tested_and_a_tenth_of_the_rest_validates():
    cohort = people(40, split=["train"] * 30 + ["test"] * 10, anomaly=[0] * 35 + [1] * 5)
    found = parts(cohort)
    assert found["internal"] == list(range(30, 40))
    assert len(found["valid"]) == 3
    assert sorted(found["train"] + found["valid"]) == list(range(30))
    assert parts(cohort) == found
    assert parts(cohort, split_seed=1) != found


def test_without_a_split_a_share_of_the_normals_is_tested_beside_all_anomalies():
    cohort = people(50, anomaly=[0] * 40 + [1] * 10)
    found = parts(cohort, test_fraction=0.25)
    assert len(set(found["internal"]) & set(range(40))) == 10
    assert set(range(40, 50)) < set(found["internal"])
    assert set(found["train"]) | set(found["valid"]) | set(found["internal"]) == set(range(50))
    assert parts(cohort, test_fraction=0)["internal"] == list(range(40, 50))


def test_training_recordings_need_no_label_and_test_recordings_of_unknown_truth_are_tested():
    found = parts(people(24, split=["train"] * 20 + ["test"] * 4, anomaly=[None] * 22 + [0, 1]))
    assert sorted(found["train"] + found["valid"]) == list(range(20))
    assert found["internal"] == [20, 21, 22, 23]


def test_anomalies_among_the_training_recordings_are_left_out_and_counted():
    cohort = people(22, split=["train"] * 20 + ["test"] * 2, anomaly=[1, 1] + [0] * 18 + [0, 1])
    rows, flow = divide(cohort, Listening())
    assert not {0, 1} & set(np.concatenate(list(rows.values())).tolist())
    assert [(step.label, step.records, step.lost) for step in flow] == [
        ("all recordings", 22, ""),
        ("usable as labelled", 20, "2 anomalies among the training recordings"),
    ]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"anomaly": [0, None, None, None]}, "3 recordings have neither split nor anomaly"),
        ({}, "4 recordings have neither split nor anomaly"),
        ({"anomaly": 1}, "has none outside of its tests"),
        ({"split": "test", "anomaly": 0}, "has none outside of its tests"),
        ({"split": ["train", "train", "valid", "dev"]}, "split holds train, test or nothing; got dev, valid"),
        ({"split": "train", "domain": "src"}, "domain holds source, target or nothing; got src"),
        ({"split": "train", "machine": ["fan", None, "fan", None]}, "2 of 4 recordings have nothing in the column"),
        ({"split": ["train", "train", "test", "test"], "subject": list("abab")}, "2 tested recordings come from"),
        ({"anomaly": [0, 0, 0, 1], "subject": "fan"}, "1 tested recordings come from a source that is trained on"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_words(columns, said):
    with pytest.raises(CohortError, match=said):
        divide(people(4, **columns), Listening())


def test_every_group_keeps_one_to_train_on_and_a_large_group_gives_its_share():
    attributes = ["slow"] * 100 + ["fast"] * 20 + ["once"]
    rows, _ = divide(people(121, split="train", attributes=attributes), Listening(valid_fraction=0.2))
    valid = np.array(attributes)[rows["valid"]]
    assert [(valid == name).sum() for name in ("slow", "fast", "once")] == [20, 4, 0]


def test_there_is_something_to_validate_on_wherever_two_recordings_are_alike():
    for seed in range(20):
        found = parts(people(3, split="train", section=["id_00", "id_00", "id_02"]), split_seed=seed)
        assert len(found["valid"]) == 1
        assert found["valid"][0] < 2
    assert parts(people(2, split="train", section=["id_00", "id_02"]))["valid"] == []


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2), st.sampled_from("xyz")), min_size=4),
    seed=st.integers(0, 99),
)
def test_a_source_is_never_on_two_sides(rows, seed):
    """Sources with recordings of several machines and conditions included."""
    subject, section, attributes = ([row[place] for row in rows] for place in range(3))
    cohort = people(len(rows), subject=subject, section=[f"id_0{n}" for n in section], attributes=attributes, anomaly=0)
    found = parts(cohort, split_seed=seed, valid_fraction=0.3)
    sides = [set(cohort.subjects[side].tolist()) for side in found.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert sorted(np.concatenate([np.array(side, int) for side in found.values()]).tolist()) == list(range(len(rows)))


# --- what is told apart -------------------------------------------------------------------------------------


def labelled(kind: str, copies: int = 1, **columns: object):
    cohort = people(6, **columns)
    return classes_of(cohort, np.arange(4), kind, copies)


def test_sections_are_the_classes_and_what_was_not_trained_on_has_none():
    found = labelled("auto", copies=6, machine=["pump", "fan", "fan", "fan", "saw", "pump"], section=list("001110"))
    assert found.names == found.machines == ("fan/0", "fan/1", "pump/0")
    assert found.label.tolist() == found.machine.tolist() == [2, 0, 1, 1, -1, 2]
    assert (found.outputs, found.copies) == (3, 1)


def test_one_machine_is_told_apart_by_its_attributes_and_several_classes_have_one_owner():
    columns = {"attributes": ["vel_6", "vel_8", "vel_6", None, "vel_9", "vel_8"]}
    for kind in ("auto", "attributes"):
        found = labelled(kind, **columns)
        assert found.names == ("fan/id_00/", "fan/id_00/vel_6", "fan/id_00/vel_8")
        assert found.label.tolist() == [1, 2, 1, 0, -1, 2]
        assert found.machines == ("fan/id_00",)
        assert found.machine.tolist() == [0] * 6
        assert found.owner.tolist() == [0, 0, 0]


def test_several_machines_own_their_attributes():
    found = labelled("attributes", machine=["pump", "fan", "fan", "pump", "pump", "fan"], attributes=list("abcabb"))
    assert found.names == ("fan/id_00/b", "fan/id_00/c", "pump/id_00/a")
    assert found.owner.tolist() == [0, 0, 1]
    assert found.label.tolist() == [2, 0, 1, 2, -1, 0]
    assert found.machine.tolist() == [1, 0, 0, 1, 1, 0]


def test_where_nothing_differs_transformed_copies_are_told_apart():
    for kind in ("auto", "copies"):
        found = labelled(kind, copies=6)
        assert (found.names, found.copies, found.outputs) == (("fan/id_00",), 6, 6)
    both = labelled("copies", copies=6, machine=["pump", "fan"] * 3)
    assert both.outputs == 12
    for kind in ("section", "attributes"):
        with pytest.raises(RecipeError, match=f"--classes {kind} gives one class only; take --classes copies, or auto"):
            labelled(kind, copies=6)


# --- cut and kept -------------------------------------------------------------------------------------------


LISTEN = Listening(seconds=1.0)


def heard(cohort: Cohort, folder) -> Hearing:
    rows, flow = divide(cohort, LISTEN)
    run = Run(folder)
    run.private.mkdir(parents=True)
    return clips.begin(Divided(cohort, rows, classes_of(cohort, rows["train"], "auto", 6), flow), run, LISTEN)


def test_unusable_recordings_and_machines_without_normals_leave_the_parts_and_are_counted(tmp_path):
    """A silent test recording; a machine that is only tested; one whose only normals to train on are silent."""
    silent, count = np.zeros(16_000), 22
    sounds = [HUM] * 18 + [silent, HUM] + [silent, HUM]
    machine = ["fan"] * 19 + ["saw"] + ["pump"] * 2
    split = ["train"] * 16 + ["test"] * 4 + ["train", "test"]
    hearing = heard(people(count, sounds, machine=machine, split=split, anomaly=0), tmp_path)
    assert hearing.parts["internal"].tolist() == [16, 17]
    assert 20 not in hearing.parts["train"]
    lost = {step.label: step.lost for step in hearing.flow}
    assert lost["internal"] == "1 unusable, 2 of machines without normal recordings to train on"
    assert lost["train"] == "1 unusable"
    assert [name for name, _ in hearing.prepared.refused] == ["r18", "r20"]


@pytest.mark.parametrize(("sections", "part"), [("ab", "valid"), ("a", "train"), ("aa", "train")])
def test_too_few_recordings_are_refused_with_the_part_that_lacks_them(sections, part, tmp_path):
    with pytest.raises(CohortError, match=f"not enough normal recordings are left for the part {part}: there are too"):
        heard(people(len(sections), split="train", section=list(sections)), tmp_path)


def test_where_all_are_silent_the_reason_is_told(tmp_path):
    with pytest.raises(CohortError, match=r"for the part train: .*all its samples are the same.*; add recordings"):
        heard(people(6, [np.zeros(16_000)] * 6, split="train"), tmp_path)


def test_windows_belong_to_their_recordings_and_parts(tmp_path):
    """A recording of 2.5 s gives three windows, one of half a second is repeated to one."""
    cohort = people(8, [HUM] * 6 + [np.resize(HUM, 40_000), HUM[:8000]], split="train")
    hearing = heard(cohort, tmp_path)
    assert np.bincount(hearing.prepared.window_record).tolist() == [1] * 6 + [3, 1]
    for part, rows in hearing.parts.items():
        assert set(hearing.prepared.window_record[hearing.windows_of(part)].tolist()) == set(rows.tolist())
    assert hearing.prepared.facts["clip_seconds"].tolist() == [1.0] * 6 + [2.5, 0.5]
    windows = hearing.windows_of("train")
    assert np.array_equal(hearing.label_of(windows), hearing.classes.label[hearing.prepared.window_record[windows]])


def test_predictions_say_what_is_known_of_the_tested_recordings(tmp_path):
    cohort = people(
        14, split=["train"] * 10 + ["test"] * 4, anomaly=[None] * 10 + [0, 1, None, 1], domain="source", year=2022
    )
    cohort = cohort.with_columns(fault=np.array([None] * 11 + ["leak", None, "leak"], object))
    hearing = heard(cohort, tmp_path)
    said = clips.as_predictions(hearing, np.arange(14.0), 3, ("valid", "internal"))
    assert set(said.split) == {"valid", "internal"}
    tested = said.part("internal")
    assert tested.record.tolist() == ["r10", "r11", "r12", "r13"]
    assert tested.score[:, 0].tolist() == [10, 11, 12, 13]
    assert tested.truth[[0, 1, 3], 0].tolist() == [0, 1, 1]
    assert np.isnan(tested.truth[2, 0])
    assert said.part("valid").truth.tolist() == [[0.0]]  # what was to be trained on counts as normal
    assert set(said.seed) == {3}
    facts = {name: column[-1] for name, column in said.facts.items()}
    assert facts == {"machine": "fan", "section": "id_00", "domain": "source", "attributes": "", "year": "2022",
                     "fault": "leak", "severity": ""}  # fmt: skip
    assert set(clips.as_predictions(hearing, np.arange(14.0), 0).split) == {"train", "valid", "internal"}


def test_a_windows_cutter_refuses_silence_and_tells_the_length():
    (signal,) = people(1)[0].signals
    windows, facts = clips.cut(ClipWindows(1.0), Record("s", "r", (signal,)))
    assert (windows.shape, facts) == ((1, 1, 16_000), {"clip_seconds": 1.0})
    with pytest.raises(QualityError, match="all its samples are the same"):
        clips.cut(ClipWindows(1.0), Record("s", "r", (replace(signal, values=np.zeros((1, 16_000))),)))


def test_a_fingerprint_is_of_the_recordings_and_what_is_known_of_them_in_this_order():
    cohort = people(4, split="train", attributes=["a", "b", "a", "b"])
    same, other = people(4, split="train", attributes=["a", "b", "a", "b"]), people(4, split="train")
    assert clips.fingerprint(cohort) == clips.fingerprint(same)
    assert len({clips.fingerprint(item) for item in (cohort, other, cohort.take([1, 0, 2, 3]))}) == 3


def test_the_simulated_factory_is_divided_as_it_says():
    cohort = factory(Plan(("fan", "valve"), 2, 12, 8, seconds=1.0))
    rows, _ = divide(cohort, Listening())
    assert [len(rows[name]) for name in ("train", "valid", "internal")] == [
        48 - len(rows["valid"]),
        len(rows["valid"]),
        32,
    ]
    assert 2 <= len(rows["valid"]) <= 8
    found = classes_of(cohort, rows["train"], "auto", 6)
    assert found.names == ("fan/id_00", "fan/id_01", "valve/id_00", "valve/id_01")
