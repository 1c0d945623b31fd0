from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ChannelError, CohortError, FormatError, RateError, SplitError
from stethos.types import Cohort, Estimate, Predictions, Record, Signal, refuse_overlap

ECG = Signal(np.arange(20.0).reshape(2, 10), rate=5.0, channels=("I", "II"), unit="mV")


def cohort_of(subjects: list[str], **columns: np.ndarray) -> Cohort:
    ids = np.array([f"visit{row}" for row in range(len(subjects))])
    rows = {"id": ids, "subject": np.array(subjects), **columns}
    return Cohort(rows, lambda row: Record(subjects[row], str(ids[row]), (ECG,)))


def days(*dates: str) -> np.ndarray:
    return np.array(dates, "datetime64[s]")


def predictions(split: list[str], record: list[str], seed: list[int], score: list[float]) -> Predictions:
    rows = np.arange(len(split), dtype=float)
    return Predictions(
        score=np.array(score)[:, None],
        truth=np.where(rows % 2 == 0, 1.0, np.nan)[:, None],
        record=np.array(record),
        subject=np.array([name[0] for name in record]),
        split=np.array(split),
        seed=np.array(seed),
        facts={"age": 40.0 + rows, "site": np.array(["north" if row else None for row in rows], object)},
        names=("high potassium",),
        origin="synthetic",
    )


def test_a_signal_keeps_float32_and_cannot_be_written_to():
    assert ECG.values.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        ECG.values[0, 0] = 1


def test_a_signal_does_not_lock_the_array_it_was_made_from():
    mine = np.zeros((1, 4), np.float32)
    signal = Signal(mine, 4.0, ("I",), "mV")
    mine[0, 0] = 5
    assert signal.values[0, 0] == 0


def test_duration_is_samples_over_rate():
    assert ECG.duration == 2.0


def test_picking_leads_keeps_the_order_asked_for():
    assert ECG.pick("II", "I").values[:, 0].tolist() == [10.0, 0.0]


def test_picking_an_absent_lead_names_it_and_what_is_there():
    with pytest.raises(ChannelError, match="V1; the signal has I, II"):
        ECG.pick("V1")


def test_cropping_is_in_seconds_and_stops_at_the_ends():
    assert ECG.crop(0.4, 1.0).values[0].tolist() == [2.0, 3.0, 4.0]
    assert ECG.crop(-1, 9).values.shape == (2, 10)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_signal_without_a_positive_rate_is_refused(rate: float):
    with pytest.raises(RateError, match="positive sampling rate"):
        Signal(np.zeros((1, 2)), rate, ("I",), "mV")


@pytest.mark.parametrize(
    ("values", "channels"),
    [(np.zeros(4), ("I",)), (np.zeros((2, 4)), ("I",)), (np.zeros((2, 4)), ("I", "I"))],
)
def test_a_signal_whose_names_do_not_fit_its_rows_is_refused(values: np.ndarray, channels: tuple[str, ...]):
    with pytest.raises(FormatError, match="channel"):
        Signal(values, 1.0, channels, "mV")


def test_a_record_picks_leads_from_the_signal_that_has_all_of_them():
    pulse = Signal(np.ones((1, 3)), 1.0, ("PLETH",), "1")
    record = Record("a", "1", (ECG, pulse))
    assert record.pick("PLETH").rate == 1.0
    with pytest.raises(ChannelError, match="record 1"):
        record.pick("I", "PLETH")


def test_a_cohort_without_subjects_is_refused():
    with pytest.raises(CohortError, match="subject"):
        Cohort({"id": np.array(["a"])}, lambda row: Record("a", "a", ()))


def test_a_cohort_with_an_id_twice_is_refused():
    with pytest.raises(CohortError, match="a stands 2 times"):
        Cohort({"id": np.array(["a", "a"]), "subject": np.array(["x", "y"])}, lambda row: Record("a", "a", ()))


def test_a_cohort_with_ragged_columns_is_refused():
    with pytest.raises(CohortError, match="age"):
        cohort_of(["x", "y"], age=np.array([1.0]))


def test_taking_rows_twice_still_opens_the_right_record():
    cohort = cohort_of(["a", "b", "c", "d"])
    part = cohort.take([3, 1, 0]).take(np.array([True, False, True]))
    assert [record.subject for record in part] == ["d", "a"]
    assert part.subjects.tolist() == ["d", "a"]


def test_a_column_that_is_absent_is_named():
    with pytest.raises(CohortError, match="potassium; the cohort has id, subject"):
        cohort_of(["a"]).column("potassium")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.integers(0, 5))
def test_group_splits_share_no_subject_and_lose_no_visit(subjects: list[str], seed: int):
    parts = cohort_of(subjects).split_by_group((0.5, 0.3, 0.2), seed)
    refuse_overlap(**{f"part{number}": part for number, part in enumerate(parts)})
    assert sum(map(len, parts)) == len(subjects)
    assert set().union(*(part.subjects.tolist() for part in parts)) == set(subjects)


def test_group_splits_have_the_fractions_asked_for_and_follow_the_seed():
    cohort = cohort_of([f"s{row}" for row in range(100)])
    train, test = cohort.split_by_group((0.7, 0.2), seed=1)
    assert (len(train), len(test)) == (70, 20)
    assert train.subjects.tolist() == cohort.split_by_group((0.7, 0.2), seed=1)[0].subjects.tolist()
    assert train.subjects.tolist() != cohort.split_by_group((0.7, 0.2), seed=2)[0].subjects.tolist()


@pytest.mark.parametrize("fractions", [(0.8, 0.3), (0.0, 1.0), (-0.1, 0.5)])
def test_fractions_that_are_none_are_refused(fractions: tuple[float, ...]):
    with pytest.raises(SplitError, match="fractions"):
        cohort_of(["a", "b"]).split_by_group(fractions)


def test_a_time_split_keeps_a_subject_of_both_sides_in_the_earlier_part_and_counts_its_later_visits():
    cohort = cohort_of(list("aabc"), when=days("2019-05-01", "2021-05-01", "2021-06-01", "2018-01-01"))
    early, late, removed = cohort.split_by_time("2020-01-01")
    assert (early.subjects.tolist(), late.subjects.tolist(), removed) == (["a", "c"], ["b"], 1)


def test_the_moment_of_a_time_split_belongs_to_the_later_part():
    early, late, _ = cohort_of(["a", "b"], when=days("2019-12-31T23:59:59", "2020-01-01")).split_by_time("2020-01-01")
    assert (early.subjects.tolist(), late.subjects.tolist()) == (["a"], ["b"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 20)), min_size=1, max_size=20))
def test_time_splits_share_no_subject_and_account_for_every_visit(visits: list[tuple[str, int]]):
    when = np.datetime64("2020-01-01", "s") + np.array([day * 86400 for _, day in visits])
    early, late, removed = cohort_of([name for name, _ in visits], when=when).split_by_time("2020-01-11")
    refuse_overlap(early=early, late=late)
    assert len(early) + len(late) + removed == len(visits)
    assert all(early.rows["when"] < np.datetime64("2020-01-11"))
    assert all(late.rows["when"] >= np.datetime64("2020-01-11"))


def test_a_time_split_of_shifted_dates_is_refused_and_offers_the_anchor_group():
    cohort = cohort_of(["a", "b"], when=days("2119-01-01", "2121-01-01"), shifted=np.array([1.0, 1.0]))
    with pytest.raises(SplitError, match="anchor_year_group"):
        cohort.split_by_time("2120-01-01")


def test_a_time_split_without_a_date_is_refused():
    with pytest.raises(SplitError, match="1 have none"):
        cohort_of(["a", "b"], when=days("2019-01-01", "NaT")).split_by_time("2020-01-01")


def test_a_site_split_leaves_a_subject_seen_at_both_with_the_others():
    cohort = cohort_of(list("aabc"), site=np.array(["north", "south", "south", "north"], object))
    inside, outside = cohort.split_by_site("south")
    assert (inside.rows["id"].tolist(), outside.rows["id"].tolist()) == (["visit0", "visit3"], ["visit2"])


def test_an_unknown_site_is_refused():
    with pytest.raises(SplitError, match="east; sites are north"):
        cohort_of(["a"], site=np.array(["north"], object)).split_by_site("east")


def test_overlapping_cohorts_are_named_and_the_shared_subjects_counted():
    with pytest.raises(SplitError, match="train and test must not share subjects; 1 are in both"):
        refuse_overlap(train=cohort_of(["a", "b"]), valid=cohort_of(["c"]), test=cohort_of(["b", "d"]))


def test_predictions_come_back_as_they_were_saved(tmp_path: Path):
    kept = predictions(["internal", "external"], ["a1", "b2"], [0, 1], [0.5, -2.0])
    kept.save(tmp_path / "predictions.npz")
    back = Predictions.load(tmp_path / "predictions.npz")
    for item in ("score", "truth", "record", "subject", "split", "seed"):
        np.testing.assert_array_equal(getattr(back, item), getattr(kept, item))
    assert (back.names, back.origin) == (kept.names, "synthetic")
    assert back.facts["age"].tolist() == [40.0, 41.0]
    assert back.facts["site"].tolist() == ["", "north"]
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]


def test_predictions_of_the_wrong_shape_are_refused():
    with pytest.raises(FormatError, match=r"\(2, 1\)"):
        Predictions(
            np.zeros((3, 1)), np.zeros((2, 1)), np.array(["a", "b"]), np.array(["a", "b"]),
            np.array(["test"] * 2), np.array([0, 0]), {}, ("k",),
        )  # fmt: skip


def test_the_mean_over_seeds_is_of_logits_per_record_and_split_in_order_of_appearance():
    both = predictions(["valid", "test", "valid", "test"], ["b1", "a1", "b1", "a1"], [0, 0, 1, 1], [1.0, 2.0, 3.0, 6.0])
    mean = both.mean_over_seeds()
    assert mean.record.tolist() == ["b1", "a1"]
    assert mean.score[:, 0].tolist() == [2.0, 4.0]
    assert mean.seed.tolist() == [-1, -1]
    assert mean.facts["age"].tolist() == [40.0, 41.0]


def test_the_mean_over_seeds_keeps_records_apart_whose_split_and_name_run_together():
    apart = predictions(["site", "site1"], ["12", "2"], [0, 0], [1.0, 3.0])
    assert apart.mean_over_seeds().score[:, 0].tolist() == [1.0, 3.0]


def test_an_estimate_prints_its_interval():
    estimate = Estimate(0.9123, 0.897, 0.926, n=100)
    assert str(estimate) == "0.912 (0.897 to 0.926)"
    assert estimate.excludes(0.5)
    assert not estimate.excludes(0.9)


def test_a_record_keeps_its_date_and_does_not_share_its_facts():
    facts = {"age": 60.0}
    record = Record("a", "1", (ECG,), when=datetime(2020, 1, 2), facts=facts)
    facts["age"] = 1.0
    assert record.facts["age"] == 60.0
    with pytest.raises(TypeError):
        record.facts["age"] = 2.0  # type: ignore[index]
