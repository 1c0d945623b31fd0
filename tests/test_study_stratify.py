"""A small share of labelled subjects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import SplitError
from stethos.study.stratify import stratified_share


def hospital(seed: int = 0, subjects: int = 2000):
    """Two visits each; prevalences from 1 % to 20 %."""
    draw = np.random.default_rng(seed)
    subject = np.repeat([f"s{number}" for number in range(subjects)], 2)
    rate = np.array([0.01, 0.03, 0.05, 0.1, 0.2])
    return subject, (draw.random((2 * subjects, len(rate))) < rate).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_every_label_has_five_subjects_with_and_without_in_a_hundredth(seed: int):
    subject, truth = hospital()
    share = stratified_share(subject, truth, 0.01, seed)
    assert len(share.subjects) == 20
    assert share.kept.all()
    rows = np.isin(subject, share.subjects)
    for column in truth[rows].T:
        for value in (0, 1):
            assert len(np.unique(subject[rows][column == value])) >= 5


def test_draws_differ_and_one_seed_gives_one_draw():
    subject, truth = hospital()
    one, again, other = (stratified_share(subject, truth, 0.01, seed).subjects.tolist() for seed in (0, 0, 1))
    assert one == again != other


def test_a_label_that_cannot_be_served_is_not_kept():
    subject, truth = hospital()
    truth[:, 0] = 0
    truth[:4, 0] = 1  # two subjects
    assert stratified_share(subject, truth, 0.01, 0).kept.tolist() == [False, True, True, True, True]


def test_unknown_labels_serve_neither_side():
    subject, truth = hospital()
    truth[:, 1] = np.nan
    assert not stratified_share(subject, truth, 0.5, 0).kept[1]


def test_the_whole_is_everybody():
    subject, truth = hospital(subjects=50)
    assert len(stratified_share(subject, truth, 1.0, 0).subjects) == 50


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.001, 1))
def test_the_share_has_its_size_and_no_subject_twice(seed: int, fraction: float):
    subject, truth = hospital(subjects=100)
    chosen = stratified_share(subject, truth, fraction, seed).subjects
    assert len(chosen) == len(set(chosen.tolist())) == max(1, round(fraction * 100))


def test_a_share_of_nobody_is_refused():
    with pytest.raises(SplitError, match="above 0 and at most 1; got 0"):
        stratified_share(*hospital(subjects=10), 0.0, 0)
