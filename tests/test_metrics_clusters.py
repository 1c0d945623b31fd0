"""Which rows count, and which are refused with a reason."""

import numpy as np
import pytest

from stethos.errors import ScoreError
from stethos.metrics.clusters import Clusters, binary, effective_number, known
from stethos.metrics.interval import clustered_auroc, proportion
from stethos.metrics.ranking import auroc


def test_rows_of_unknown_truth_are_as_if_they_were_not_there():
    truth = np.array([1, 0, np.nan, 1, 0, 0])
    score = np.array([3.0, 1.0, np.nan, 2.0, 2.5, 0.0])
    subject = np.array(["a", "b", "zz", "c", "c", "d"])
    there = ~np.isnan(truth)
    assert auroc(truth, score) == auroc(truth[there], score[there])
    assert clustered_auroc(truth, score, subject) == clustered_auroc(truth[there], score[there], subject[there])
    assert proportion(truth, subject) == proportion(truth[there], subject[there])


def test_subjects_may_be_named_by_text_or_numbers():
    assert Clusters.of(np.array(["b", "a", "b"])).total(np.array([1.0, 2.0, 4.0])).tolist() == [2, 5]
    assert Clusters.of(np.array([70, 9, 70])).total(np.array([1.0, 2.0, 4.0])).tolist() == [2, 5]


def test_effective_subjects_are_fewer_where_visits_are_uneven():
    clusters = Clusters.of(np.array([0, 0, 0, 1]))
    assert effective_number(clusters.total(np.ones(4))) == pytest.approx(16 / 10)  # (3 + 1)² / (3² + 1²)
    assert clusters.with_any(np.array([True, True, False, False])) == 1


@pytest.mark.parametrize(
    ("truth", "score", "sentence"),
    [
        ([1, 0, 1], [1.0, np.nan, 2.0], "1 are NaN"),
        ([1, 2, 0], [1.0, 2.0, 3.0], "must be 0, 1 or NaN; got 2"),
        ([1, 1, np.nan], [1.0, 2.0, 3.0], "all 2 known rows are 1"),
        ([np.nan, np.nan], [1.0, 2.0], "at least one row"),
        ([1, 0], [1.0, 2.0, 3.0], "equally long"),
        ([[1, 0]], [[1.0, 2.0]], "flat"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_sentence(truth, score, sentence):
    with pytest.raises(ScoreError, match=sentence):
        binary(np.array(truth, float), np.array(score))


def test_a_measured_truth_is_known_but_not_binary():
    truth = np.array([4.2, np.nan, 5.9])
    assert known(truth, np.arange(3))[1].tolist() == [0, 2]
    with pytest.raises(ScoreError, match="compare a measured value with a limit"):
        binary(truth, np.arange(3))
