"""What another pairing window or another limit does to the result."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stethos.errors import ScoreError
from stethos.study.sensitivity import by_window, cuts, cuts_tables, stricter
from stethos.types import Predictions


def people(count=400, seed=0) -> Predictions:
    """Potassium from 3 to 7, a score that follows it, blood drawn up to ten hours away."""
    rng = np.random.default_rng(seed)
    potassium = np.round(rng.uniform(3, 7, count), 1)
    return Predictions(
        score=(potassium - 5.5 + rng.normal(size=count))[:, None],
        truth=(potassium > 5.5).astype(float)[:, None],
        record=np.arange(count),
        subject=np.arange(count) // 2,
        split=np.where(np.arange(count) < count // 2, "internal", "temporal"),
        seed=np.zeros(count),
        facts={"potassium": potassium, "potassium_minutes": np.round(rng.uniform(-600, 600, count))},
        names=("potassium > 5.5",),
    )


def test_a_window_holds_what_was_drawn_within_it_on_either_side():
    part = people(8)
    minutes = np.array([-60, 60, 61, -120, 0, 300, 2000, np.nan])
    found = by_window(replace(part, facts={"potassium_minutes": minutes}), (24, 1, 2))
    assert [(item.hours, item.records) for item in found.windows] == [(1, 3), (2, 5), (24, 6)]
    assert (found.beyond, found.unknown) == (1, 1)


def test_the_area_in_a_window_is_that_of_its_records_alone():
    part = people()
    found = by_window(part)
    for item in found.windows[:3]:
        near = np.abs(part.facts["potassium_minutes"]) <= 60 * item.hours
        truth = part.truth[near, 0]
        assert item.auroc.value == pytest.approx(roc_auc_score(truth, part.score[near, 0]))
        assert item.events == truth.sum()
        assert item.auroc.low < item.auroc.value < item.auroc.high


def test_a_window_that_adds_nobody_says_so():
    part = people()
    near = part.take(np.abs(part.facts["potassium_minutes"]) <= 120)
    found = by_window(near)
    assert [item.same_as for item in found.windows] == [None, None, 2.0, 2.0]
    assert found.windows[3].auroc == found.windows[1].auroc
    added = [row[2] for row in found.table("t").rows]
    assert added[1] == str(found.windows[1].records - found.windows[0].records)
    assert added[2:] == ["none: as ≤ 2 h"] * 2


def test_a_window_without_anybody_has_no_area_and_no_error():
    part = replace(people(), facts={"potassium_minutes": np.full(400, 90.0)})
    found = by_window(part)
    assert found.windows[0].records == 0
    assert np.isnan(found.windows[0].auroc.value)
    assert found.windows[1].records == 400
    assert found.windows[1].same_as is None


def test_an_unknown_truth_counts_in_no_window():
    part = people()
    truth = np.where(np.arange(400) < 100, np.nan, part.truth[:, 0])[:, None]
    assert by_window(replace(part, truth=truth)).windows[3].records == 300


def test_a_cohort_that_does_not_know_the_distance_is_told():
    with pytest.raises(ScoreError, match="potassium_minutes"):
        by_window(replace(people(), facts={"age": np.zeros(400)}))


def test_both_conventions_worked_by_hand():
    potassium = np.array([4.0, 5.5, 5.6, 5.9, 6.0, 7.0, np.nan, 5.8, np.nan])
    truth = np.array([0, 0, 1, 1, 1, 1, 0, np.nan, 1.0])
    part = replace(people(9), truth=truth[:, None], facts={"potassium": potassium})
    dropped, counted = (stricter(part, 6.0, between=between).truth[:, 0] for between in ("drop", "negative"))
    assert np.array_equal(dropped, [0, 0, np.nan, np.nan, 1, 1, 0, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(counted, [0, 0, 0, 0, 1, 1, 0, np.nan, np.nan], equal_nan=True)
    assert stricter(part, 6.0).names == ("potassium >= 6",)
    assert np.array_equal(stricter(part, 6.0).score, part.score)


def test_a_cut_below_the_limit_of_the_target_is_refused():
    with pytest.raises(ScoreError, match="above the target's own limit"):
        stricter(people(), 5.0)
    with pytest.raises(ScoreError, match="lactate"):
        stricter(people(), 6.0, fact="lactate")


def test_leaving_the_middle_out_flatters_the_area():
    """The records between the limits are the hard ones: without them the same scores rank better."""
    found = {(item.split, item.between): item for item in cuts(people(2000), 6.0, threshold=0.0)}
    assert set(found) == {(split, between) for split in ("internal", "temporal") for between in ("drop", "negative")}
    for split in ("internal", "temporal"):
        drop, negative = found[split, "drop"], found[split, "negative"]
        assert drop.auroc.value > negative.auroc.value + 0.02
        assert drop.events == negative.events
        assert negative.records - drop.records == drop.moved == negative.moved > 0
        assert drop.point.sensitivity == negative.point.sensitivity
        assert drop.point.specificity.value > negative.point.specificity.value


def test_a_split_without_such_an_event_keeps_its_line_without_numbers():
    part = people()
    kept = part.take((part.split != "temporal") | (part.facts["potassium"] < 6))
    found = [item for item in cuts(kept, 6.0, 0.0) if item.split == "temporal"]
    assert [item.events for item in found] == [0, 0]
    assert all(item.point is None and np.isnan(item.auroc.value) for item in found)
    assert [len(table.rows) for table in cuts_tables(cuts(kept, 6.0, 0.0), "potassium ≥ 6.0")] == [4, 4]


def test_each_of_the_two_tables_against_a_limit_is_narrow_enough_for_a_screen():
    tables = cuts_tables(cuts(people(2000), 6.0, threshold=0.0), "potassium ≥ 6.0")
    assert [len(table.columns) for table in tables] == [6, 6]
    assert {"AUROC", "sensitivity", "NPV, trivial"} <= {name for table in tables for name in table.columns}
    assert [row[:2] for row in tables[0].rows] == [row[:2] for row in tables[1].rows]
