"""Every record tested once, by a model that never met its subject."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stethos.errors import SplitError
from stethos.study.folds import quarters, rotations
from stethos.study.partition import Partition
from stethos.types import Cohort


def cohort(subjects, **columns) -> Cohort:
    rows = {"id": np.arange(len(subjects)).astype(str), "subject": np.array(subjects)}
    return Cohort(rows | columns, lambda row: pytest.fail("no recording is opened"))


def test_eight_published_folds_become_four_in_their_order():
    published = np.array([8, 1, 2, 3, 4, 5, 6, 7, 7], dtype=float)
    people = cohort(list("abcdefghi"), strat_fold=published)
    assert quarters(people, 4, "strat_fold").tolist() == [3, 0, 0, 1, 1, 2, 2, 3, 3]
    assert quarters(people, 2, "strat_fold").tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1]


def test_published_folds_that_share_a_subject_are_refused():
    people = cohort(["a", "b", "a", "c"], fold=np.array([1.0, 1.0, 2.0, 2.0]))
    with pytest.raises(SplitError, match=r"fold 0 and fold 1 must not share subjects; 1 are in both"):
        quarters(people, 2, "fold")


def test_published_folds_that_do_not_divide_are_refused():
    people = cohort(["a", "b", "c"], fold=np.array([1.0, 2.0, 3.0]))
    with pytest.raises(SplitError, match="2 folds need a multiple of 2 values in fold; it has 3"):
        quarters(people, 2, "fold")


@pytest.mark.parametrize("count", [-1, 0, 1, 4])
def test_a_number_of_folds_that_three_subjects_do_not_fill_is_refused(count):
    with pytest.raises(SplitError, match=str(count)):
        quarters(cohort(["a", "b", "c", "c"]), count)


@pytest.mark.parametrize("column", [np.array(["x", None, "y"], dtype=object), np.array([1.0, np.nan, 2.0])])
def test_a_record_without_a_published_fold_is_refused(column):
    with pytest.raises(SplitError, match=r"1 .*fold"):
        quarters(cohort(["a", "b", "c"], fold=column), 2, "fold")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(2, 5), st.integers(0, 3))
def test_shuffled_folds_keep_subjects_whole_and_are_equal_to_one_subject(subjects, count, seed):
    assume(len(set(subjects)) >= count)
    people = cohort([str(item) for item in subjects])
    fold = quarters(people, count, seed=seed)
    homes = {subject: set(fold[people.subjects == subject]) for subject in people.subjects}
    assert all(len(home) == 1 for home in homes.values())
    sizes = np.bincount([home.pop() for home in homes.values()], minlength=count)
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(fold, quarters(people, count, seed=seed))


def test_every_record_is_tested_once_and_validation_stays_on_the_training_side():
    people = cohort([str(row // 2) for row in range(80)])
    fold = quarters(people, 4)
    turns = list(rotations(people, fold, Partition(valid_fraction=0.2)))
    assert sorted(name for turn in turns for name in turn["internal"].rows["id"]) == sorted(people.rows["id"])
    for k, turn in enumerate(turns):
        assert set(turn["internal"].rows["id"]) == set(people.rows["id"][fold == k])
        subjects = {name: set(part.subjects) for name, part in turn.items()}
        assert not subjects["train"] & subjects["valid"]
        assert not subjects["internal"] & (subjects["train"] | subjects["valid"])
        assert subjects["train"] | subjects["valid"] == set(people.subjects[fold != k])
        assert len(subjects["valid"]) == 6  # a fifth of thirty
