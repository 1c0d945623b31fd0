import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.data.batch import balanced_rows, epoch_rows
from stethos.errors import CohortError


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 3), passes=st.integers(1, 4))
def test_every_row_is_seen_once_a_pass_whatever_the_batch(n: int, batch: int, seed: int, passes: int):
    steps = -(-n * passes // batch)
    drawn = np.concatenate([epoch_rows(n, step, batch, seed) for step in range(steps)])
    for epoch in range(passes):
        assert sorted(drawn[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_passes_are_shuffled_differently_and_follow_the_seed():
    first, second = epoch_rows(50, 0, 50, seed=1), epoch_rows(50, 1, 50, seed=1)
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_rows(50, 0, 50, seed=1).tolist()
    assert first.tolist() != epoch_rows(50, 0, 50, seed=2).tolist()


def test_the_size_of_the_batch_does_not_change_the_order_of_the_rows():
    by_four = np.concatenate([epoch_rows(10, step, 4, 0) for step in range(15)])
    by_six = np.concatenate([epoch_rows(10, step, 6, 0) for step in range(10)])
    assert by_four.tolist() == by_six.tolist()


def test_no_rows_are_refused():
    with pytest.raises(CohortError, match="at least one record"):
        epoch_rows(0, 0, 4, 0)


LABELS = np.array([0.0] * 90 + [1.0] * 7 + [np.nan] * 3)


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 33), steps=st.integers(1, 12), seed=st.integers(0, 3))
def test_classes_are_drawn_equally_often_to_within_one(batch: int, steps: int, seed: int):
    drawn = [balanced_rows(LABELS, step, batch, seed) for step in range(steps)]
    assert all(len(rows) == batch for rows in drawn)
    events = LABELS[np.concatenate(drawn)]
    assert not np.isnan(events).any()
    assert abs((events == 1).sum() - (events == 0).sum()) <= 1


def test_rows_of_the_rare_class_are_seen_equally_often():
    drawn = np.concatenate([balanced_rows(LABELS, step, 14, seed=3) for step in range(8)])
    rows, times = np.unique(drawn[LABELS[drawn] == 1], return_counts=True)
    assert rows.tolist() == list(range(90, 97))
    assert times.tolist() == [8] * 7


def test_three_classes_share_a_batch_that_they_do_not_divide():
    labels = np.repeat([0.0, 1.0, 2.0], [50, 5, 9])
    counts = np.bincount(labels[np.concatenate([balanced_rows(labels, s, 8, 0) for s in range(3)])].astype(int))
    assert counts.tolist() == [8, 8, 8]


def test_classes_are_not_in_blocks():
    events = LABELS[balanced_rows(LABELS, 0, 32, seed=0)]
    assert np.abs(np.diff(events)).sum() > 5


def test_one_known_class_is_refused():
    with pytest.raises(CohortError, match="known classes are: 1"):
        balanced_rows(np.array([1.0, 1.0, np.nan]), 0, 4, 0)
