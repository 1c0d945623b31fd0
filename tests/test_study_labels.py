"""Nested shares of the training subjects, and what a model does with them."""

from dataclasses import replace

import numpy as np
import pytest

from stethos.errors import SplitError
from stethos.study.labels import label_efficiency, label_table, mean_auroc, nested_fractions
from stethos.study.validate import area
from stethos.types import Predictions

SUBJECT = np.repeat(np.arange(200), 2)
TRUTH = (SUBJECT % 4 == 0).astype(float)


def rows_scored(strength, seed) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = np.tile([0.0, 0.0, 1.0], 80)
    return Predictions(
        score=(strength * truth + rng.normal(size=240))[:, None],
        truth=truth[:, None],
        record=np.arange(240),
        subject=1000 + np.arange(240) // 2,
        split=np.where(np.arange(240) < 120, "internal", "temporal"),
        seed=np.full(240, seed),
        facts={},
        names=("t",),
    )


def learner(subjects, seed) -> Predictions:
    """A model that is the better the more subjects it saw."""
    return rows_scored(len(subjects) / 100, seed)


def test_a_smaller_share_lies_within_a_larger_one():
    shares = nested_fractions(SUBJECT, (1.0, 0.1, 0.5, 0.25), seed=3)
    assert {fraction: len(people) for fraction, people in shares.items()} == {0.1: 20, 0.25: 50, 0.5: 100, 1.0: 200}
    for small, large in ((0.1, 0.25), (0.25, 0.5), (0.5, 1.0)):
        assert set(shares[small]) < set(shares[large])
    assert set(shares[1.0]) == set(SUBJECT)


def test_a_share_does_not_depend_on_rows_nor_on_the_other_shares():
    alone = nested_fractions(np.unique(SUBJECT), (0.25,), seed=3)[0.25]
    assert np.array_equal(alone, nested_fractions(SUBJECT[::-1], (0.1, 0.25, 1.0), seed=3)[0.25])
    assert not np.array_equal(alone, nested_fractions(SUBJECT, (0.25,), seed=4)[0.25])


def test_the_smallest_share_is_one_subject():
    assert len(nested_fractions(SUBJECT, (1e-6,), seed=0)[1e-6]) == 1


@pytest.mark.parametrize("fractions", [(0.0,), (0.5, 1.5), ()])
def test_impossible_shares_are_refused(fractions):
    with pytest.raises(SplitError):
        nested_fractions(SUBJECT, fractions, seed=0)


def test_more_subjects_show_as_a_larger_area():
    points = label_efficiency(learner, SUBJECT, TRUTH, (0.1, 0.5, 1.0), seeds=(0, 1, 2))
    assert [point.subjects for point in points] == [20, 100, 200]
    for split in ("internal", "temporal"):
        areas = [point.auroc[split].value for point in points]
        assert areas[0] < areas[1] < areas[2]
        assert all(point.seed_sd[split] > 0 for point in points)
    assert points[2].events == (50, 50, 50)  # every fourth subject
    assert len(set(points[0].events)) > 1  # each seed takes its own
    assert len(label_table(points).rows) == 6
    assert label_table(points).rows[4][2] == "50"


def test_the_protocol_is_given_subjects_of_the_training_rows_and_its_seed():
    calls = []

    def spy(subjects, seed):
        calls.append((set(subjects.tolist()), seed))
        return learner(subjects, seed)

    label_efficiency(spy, SUBJECT, TRUTH, (0.2, 1.0), seeds=(5, 6))
    assert [(len(people), seed) for people, seed in calls] == [(40, 5), (40, 6), (200, 5), (200, 6)]
    assert calls[0][0] < calls[2][0] == set(SUBJECT)
    assert calls[0][0] != calls[1][0]


def test_the_mean_over_seeds_is_that_of_the_areas_and_its_interval_is_over_subjects():
    parts = [rows_scored(1.0, seed).part("internal") for seed in range(3)]
    mean = mean_auroc(parts)
    assert mean.value == pytest.approx(np.mean([area(part).value for part in parts]))
    assert mean.low < mean.value < mean.high
    assert mean.n == 60
    single = area(parts[0])
    same = mean_auroc([parts[0]] * 3)  # the same fit three times says nothing new: the interval is that of one
    assert same.high - same.low == pytest.approx(single.high - single.low, rel=0.15)
    assert mean_auroc(parts[:1]) == single


def test_fits_scored_on_other_records_are_not_averaged():
    part = rows_scored(1.0, 0).part("internal")
    with pytest.raises(SplitError, match="same tested records"):
        mean_auroc([part, replace(part, record=np.arange(120) + 1)])


def test_the_order_of_the_rows_does_not_matter():
    def shuffled(subjects, seed):
        return learner(subjects, seed).take(np.random.default_rng(seed).permutation(240))

    want = label_efficiency(learner, SUBJECT, TRUTH, (1.0,), seeds=(0, 1))[0]
    found = label_efficiency(shuffled, SUBJECT, TRUTH, (1.0,), seeds=(0, 1))[0]
    assert found.auroc["internal"].value == pytest.approx(want.auroc["internal"].value)
