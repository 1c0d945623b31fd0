"""Parts of the cohort."""

import numpy as np
import pytest

from stethos.errors import ScoreError
from stethos.metrics.interval import clustered_auroc
from stethos.metrics.subgroup import bands, by_group


def test_values_fall_into_bands_closed_below():
    got = bands(np.array([39.9, 40, 64, 65, np.nan, -1]), [40, 65])
    assert got.tolist() == ["< 40", "40 to < 65", "40 to < 65", "≥ 65", "unknown", "< 40"]
    assert bands(np.array([5.4, 5.5]), [5.5]).tolist() == ["< 5.5", "≥ 5.5"]
    with pytest.raises(ScoreError, match="rising order"):
        bands(np.zeros(3), [65, 40])


def test_every_group_is_listed_in_order_with_its_number_or_the_reason_for_none():
    generator = np.random.default_rng(0)
    age = np.concatenate([np.full(60, 30.0), np.full(60, 50), np.full(30, 120), np.full(4, np.nan)])
    truth = np.concatenate([np.arange(60) % 2, np.arange(60) % 2, np.zeros(30), [0, 1, 0, 1]])
    score, subject = generator.normal(size=154) + truth, np.arange(154) // 2
    got = by_group(truth, score, subject, bands(age, [40, 65]))
    assert [(part.name, part.rows, part.subjects) for part in got] == [
        ("< 40", 60, 30),
        ("40 to < 65", 60, 30),
        ("≥ 65", 30, 15),
        ("unknown", 4, 2),
    ]
    assert got[0].auroc == clustered_auroc(truth[:60], score[:60], subject[:60])
    assert got[0].reason == ""
    assert got[2].auroc is None
    assert got[2].reason == "0 subjects with the event and 15 without; needs 5 of each"
    assert got[3].auroc is None


def test_groups_may_be_numbers_or_text_with_gaps():
    truth, score = np.tile([0, 1], 20), np.arange(40.0)
    site = np.array([None, "B", "A", ""] * 10, dtype=object)
    assert [part.name for part in by_group(truth, score, np.arange(40), site)] == ["A", "B", "unknown"]
    year = np.array([2010.0, 2009.0, np.nan, 2010.0] * 10)
    assert [part.name for part in by_group(truth, score, np.arange(40), year)] == ["2009.0", "2010.0", "unknown"]


def test_rows_of_unknown_truth_are_not_counted():
    truth = np.array([np.nan, 1.0, 0.0])
    (part,) = by_group(truth, np.arange(3.0), np.arange(3), np.array(["x"] * 3))
    assert (part.rows, part.subjects) == (2, 2)
