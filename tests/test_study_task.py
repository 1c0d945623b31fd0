"""From a cohort and a question to prepared windows, and from a network to what it says of every part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stethos.errors import CohortError, OriginError, RecipeError, RunError, SplitError
from stethos.study.lead import LeadWindows
from stethos.study.task import (
    Asked,
    Question,
    add_external,
    begin,
    fingerprint,
    labelled,
    labelled_here,
    named_folder,
    open_run,
    scored,
)
from stethos.synth import hospital
from stethos.systems.pocket_k import tiny
from stethos.types import Cohort, Predictions, Record, Run, Signal

WINDOWS = LeadWindows("I", "lead-v1")


@pytest.fixture(scope="module")
def trace() -> Signal:
    return hospital(1, seed=0)[0].signals[0]


def people(trace: Signal, names: str = "abcdef", origin="synthetic", **columns) -> Cohort:
    """A subject a letter with one strip of one, two, three … windows each; those in capitals are flat."""

    def strip(row: int) -> Record:
        values = np.tile(trace.values, 1 + row % 3) * (0 if names[row].isupper() else 1)
        return Record(names[row], f"{names[row]}-1", (replace(trace, values=values),), origin=origin)

    rows = {"id": np.array([f"{name}-1" for name in names]), "subject": np.array(list(names))}
    return Cohort(rows | columns, strip, origin)


def question(target: str = "k > 5", *exclude: str) -> Question:
    return Question(target, exclude, WINDOWS)


K = np.array([4.0, 6.0, np.nan, 5.0, 7.0, 4.5])


@pytest.fixture
def task(trace, tmp_path):
    haemolysed = np.array([0.0, 0.0, 0.0, 0.0, 1.0, np.nan])
    cohort = people(trace, "abcdeF", k=K, haemolysed=haemolysed, age=np.arange(6) * 10.0)
    return begin(cohort, Run(tmp_path), question("k > 5", "haemolysed == 1"))


def test_the_flow_says_who_was_left_out_and_why(task):
    boxes = [(step.label, step.records, step.lost) for step in task.flow]
    assert boxes == [
        ("all records", 6, ""),
        ("not: haemolysed == 1", 5, "1 with haemolysed == 1"),  # an unknown one stays
        ("target known", 4, "1 without a known target"),
    ]
    assert task.cohort.subjects.tolist() == ["a", "b", "d", "F"]
    assert task.truth.tolist() == [0, 1, 0, 0]  # 5 is not above 5
    assert not task.graded
    ((name, reason),) = task.prepared.refused
    assert (name, "flat" in reason) == ("F-1", True)
    assert task.seen(np.array([3, 1])).tolist() == [1]


def test_windows_carry_the_truth_of_their_record(task):
    windows = labelled(task, np.array([1, 2]), np.array([10.0, 20.0, 30.0, 40.0]))
    assert windows.truth.tolist() == [20, 20, 30]  # b has two windows; d, the fourth, one
    assert np.array_equal(windows.take(np.array([0])), windows.take(np.array([1])))  # one strip, laid end to end
    here = labelled_here(task.cohort.take([0, 1]), question())
    assert here.truth.tolist() == [0, 1, 1]
    assert np.array_equal(here.take(np.array([0])), labelled(task, np.array([0]), task.truth).take(np.array([0])))


@pytest.mark.parametrize(
    ("target", "graded"), [("k", True), ("haemolysed", False), ("k > 5", False), ("haemolysed == 1", False)]
)
def test_a_column_is_graded_where_it_is_more_than_zero_and_one(trace, tmp_path, target, graded):
    cohort = people(trace, k=K, haemolysed=np.array([0.0, 1, 0, 1, 0, 1]))
    assert begin(cohort, Run(tmp_path), question(target)).graded is graded


def test_a_column_of_which_a_cohort_shows_only_ones_is_graded_where_the_run_says_so(trace, tmp_path):
    cohort = people(trace, k=np.ones(6))
    assert begin(cohort, Run(tmp_path), question("k"), graded=True).graded


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("k > high", RecipeError, "'high' is none"),
        ("na > 5", CohortError, "needs the column na"),
        ("unknown > 5", CohortError, "unknown for all records; fill the column unknown"),
        ("import os", RecipeError, "cannot be read|needs"),
    ],
)
def test_a_question_without_an_answer_is_refused(trace, tmp_path, target, kind, words):
    cohort = people(trace, k=K, unknown=np.full(6, np.nan))
    with pytest.raises((kind, CohortError), match=words):
        begin(cohort, Run(tmp_path), question(target))


def test_a_cohort_without_a_usable_recording_is_refused(trace, tmp_path):
    with pytest.raises(CohortError, match="flat"):
        begin(people(trace, "ABCDEF", k=K), Run(tmp_path), question())


def test_a_fingerprint_knows_records_subjects_and_their_order(trace):
    first = fingerprint(people(trace, "abc"))
    assert first == fingerprint(people(trace, "abc", k=np.zeros(3)))
    assert len({first, fingerprint(people(trace, "abd")), fingerprint(people(trace, "bac"))}) == 3


def test_a_folder_is_come_back_to_with_the_same_records_only(trace, tmp_path):
    def again(names: str, windows: LeadWindows, truth: float = 1.0) -> None:
        cohort = people(trace, names)
        asked = Asked(cohort, np.full(len(cohort), truth), False, [])
        open_run("toy", tmp_path / "r", tiny(), asked, windows, {})

    again("abc", WINDOWS)
    again("abc", WINDOWS)
    with pytest.raises(RunError, match=r"prepare\.cohort"):
        again("abd", WINDOWS)
    with pytest.raises(RunError, match=r"prepare\.answers"):
        again("abc", WINDOWS, truth=0.0)
    with pytest.raises(RunError, match=r"prepare\.correct_polarity: false → true"):
        again("abc", replace(WINDOWS, correct_polarity=True))


@pytest.mark.parametrize("text", ["folder", "=folder", "name=", "two words=folder", "../x=folder"])
def test_an_external_cohort_is_name_and_folder(text):
    assert named_folder("other=a/b=c") == ("other", Path("a/b=c"))
    with pytest.raises(CohortError, match="NAME=DIR"):
        named_folder(text)


def test_every_part_is_scored_with_all_that_is_known(task):
    loudest = scored(task, {"train": np.array([0, 3]), "internal": np.array([1])}, lambda x: x.max(axis=2), seed=4)
    assert loudest.record.tolist() == ["a-1", "b-1"]  # F was refused
    assert loudest.split.tolist() == ["train", "internal"]
    assert loudest.facts["age"].tolist() == [0, 10]
    assert loudest.facts["windows_used"].tolist() == [1, 2]
    assert loudest.score[0, 0] == pytest.approx(loudest.score[1, 0])  # the mean over equal windows
    assert loudest.names == ("k > 5",)


# --- another hospital ------------------------------------------------------------------------------------------


@pytest.fixture
def run(task) -> Run:
    """A run whose network is the mean of a window, with one control."""
    rows = {"train": np.array([0]), "internal": np.array([1, 2])}
    for name in ("predictions", "control-untrained"):
        scored(task, rows, constant(1.0), seed=0).save(task.run.private / f"{name}.npz")
    return task.run


def constant(value: float):
    return lambda x: np.full((len(x), 1), value)


NETWORKS = {"predictions": [(0, constant(2.0))], "control-untrained": [(0, constant(3.0))]}


def other(trace, run: Run, names: str = "uvwxyz", **columns):
    return begin(people(trace, names, **({"k": K, "age": np.arange(6.0)} | columns)), run, question(), graded=False)


def test_another_cohort_stands_beside_the_runs_own_parts(trace, run):
    add_external(run, "lake", other(trace, run), NETWORKS)
    add_external(run, "lake", other(trace, run, "opqrst"), NETWORKS)  # in place of the first
    add_external(run, "hill", other(trace, run), NETWORKS)
    said = Predictions.load(run.predictions)
    assert {name: len(said.part(name)) for name in set(said.split)} == {
        "train": 1,
        "internal": 2,
        "external-lake": 5,
        "external-hill": 5,
    }
    assert set(said.part("external-lake").subject) == set("opqrst") - {"q"}
    assert set(said.part("external-lake").score[:, 0]) == {2.0}
    control = Predictions.load(run.private / "control-untrained.npz")
    assert set(control.part("external-lake").score[:, 0]) == {3.0}
    assert control.record.tolist() == said.record.tolist()


def test_records_of_the_run_and_names_of_its_parts_are_refused(trace, run):
    before = run.predictions.read_bytes()
    with pytest.raises(RunError, match="1 were seen"):
        add_external(run, "lake", other(trace, run, "avwxyz"), NETWORKS)
    with pytest.raises(RunError, match="needs a new name"):
        add_external(run, "internal", other(trace, run), NETWORKS)
    assert run.predictions.read_bytes() == before


def test_a_cohort_that_lacks_the_age_takes_it_from_nobody_else(trace, run):
    said = Predictions.load(run.predictions)
    without = begin(people(trace, "uvwxyz", k=K), run, question(), graded=False)
    add_external(run, "lake", without, NETWORKS)
    after = Predictions.load(run.predictions)
    assert after.take(after.split != "external-lake").facts["age"].tolist() == said.facts["age"].tolist()
    assert np.isnan(after.part("external-lake").facts["age"]).all()


@pytest.mark.parametrize("origin", ["real", "generated"])
def test_a_cohort_of_another_origin_is_refused(trace, run, origin):
    strangers = people(trace, "uvwxyz", origin, k=K, age=np.arange(6.0))
    with pytest.raises(OriginError, match="synthetic"):
        add_external(run, "lake", begin(strangers, run, question(), graded=False), NETWORKS)


def test_new_records_of_subjects_that_were_trained_on_are_refused(trace, run):
    again = people(trace, "avwxyz", k=K, age=np.arange(6.0))
    again = again.with_columns(id=np.char.add(again.rows["id"].astype(str), "-later"))
    with pytest.raises((RunError, SplitError), match="1"):
        add_external(run, "lake", begin(again, run, question(), graded=False), NETWORKS)
