"""Windows of a lead, and the scores of windows brought back to records."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.data.prepared import Prepared
from stethos.errors import ChannelError, QualityError
from stethos.signal.quality import windows
from stethos.study.lead import LeadWindows, as_predictions, joined, mean_of_windows, prepare_lead, record_scores
from stethos.synth import hospital
from stethos.types import Cohort, Record, Signal


def held(owners, logits, weight=None) -> Prepared:
    """Windows `(W, 1, 1)` that are their own logit, the record that each belongs to, and what each weighs."""
    values = np.array(logits, dtype=np.float32)[:, None, None]
    store = SimpleNamespace(take=lambda rows: values[rows])
    return Prepared(store, np.array(owners), (), {}, weight)  # type: ignore[arg-type]


def itself(windows: np.ndarray) -> np.ndarray:
    return windows[:, :, 0]


def cohort(**columns) -> Cohort:
    return Cohort(columns, lambda row: pytest.fail("no recording is opened"), "synthetic")


# record 0 has windows 1, 2, 6 · record 1 was refused · record 2 has one window · record 3 has two
OWNERS, LOGITS = [0, 0, 0, 2, 3, 3], [1, 2, 6, -4, 10, 20]


def test_a_record_scores_the_mean_of_its_windows():
    got = record_scores(itself, held(OWNERS, LOGITS), np.array([0, 2, 3]))
    assert got.tolist() == [[3.0], [-4.0], [15.0]]


def test_a_poor_window_weighs_less():
    weight = np.array([0.6, 0.6, 0.8, 0.7, 0.9, 0.6])
    got = record_scores(itself, held(OWNERS, LOGITS, weight), np.array([3, 0, 2]))
    assert got[:, 0] == pytest.approx([(0.9 * 10 + 0.6 * 20) / 1.5, (0.6 * 1 + 0.6 * 2 + 0.8 * 6) / 2, -4])
    assert got[2, 0] == -4.0  # a window that is alone keeps its very logit
    assert mean_of_windows(np.array([[10.0], [20.0]]), [0.9, 0.6])[0] == pytest.approx(14.0)


def test_a_prepared_cohort_scores_as_its_recordings_do_one_by_one(tmp_path):
    """A quiet and a noisy stretch in one recording: by the store, and by the recording at hand."""
    lead = hospital(1, seed=0)[0].signals[0]
    noise = np.random.default_rng(0).normal(0, 0.05, lead.values.shape)
    record = recording(np.concatenate([lead.values, lead.values + noise], axis=1)[0])
    people = Cohort({"id": np.array(["r"]), "subject": np.array(["s"])}, lambda row: record)
    prepared = prepare_lead(people, LeadWindows("I", "lead-v1"), tmp_path)
    x, _, weights = LeadWindows("I", "lead-v1")(record)
    assert weights[1] < weights[0]
    got = record_scores(lambda x: x[:, 0, :1], prepared, np.array([0]))[0]
    assert got == pytest.approx(mean_of_windows(x[:, 0, :1], weights))
    assert got == pytest.approx(np.average(x[:, 0, :1], axis=0, weights=weights))


def test_scores_come_in_the_order_of_the_rows_asked_for_and_refused_records_are_unknown():
    got = record_scores(itself, held(OWNERS, LOGITS), np.array([3, 1, 0]))[:, 0]
    assert got[0] == 15.0
    assert np.isnan(got[1])
    assert got[2] == 3.0


@pytest.mark.parametrize("chunk", [1, 2, 256])
def test_the_size_of_a_chunk_changes_nothing(chunk):
    got = record_scores(itself, held(OWNERS, LOGITS), np.array([2, 3, 0]), chunk)
    assert got[:, 0].tolist() == [-4.0, 15.0, 3.0]


def test_where_every_record_was_refused_all_are_unknown():
    got = record_scores(itself, held([5], [1.0]), np.array([1, 2]))
    assert got.shape == (2, 1)
    assert np.isnan(got).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.permutations(range(10)), st.integers(1, 10))
def test_record_scores_agree_with_a_plain_loop(owners, order, count):
    owners = sorted(owners)
    logits = np.random.default_rng(len(owners)).normal(size=len(owners)).astype(np.float32)
    rows = np.array(order[:count])
    want = [logits[np.array(owners) == row].astype(float) for row in rows]
    got = record_scores(itself, held(owners, logits), rows, chunk=7)[:, 0]
    assert np.allclose(got, [w.mean() if len(w) else np.nan for w in want], equal_nan=True)


def recording(values: np.ndarray, lead: str = "I") -> Record:
    return Record("s", "r", (Signal(values[None], 500.0, (lead,), "mV"),))


def test_a_record_becomes_prepared_windows_and_what_was_seen():
    record = hospital(1, seed=0)[0]
    values, facts, weights = LeadWindows("I", "lead-v1")(record)
    assert values.shape == (facts["windows_used"], 1, 1250)
    assert facts["windows"] == int(record.signals[0].duration // 9.9)
    assert facts["quality"].split(", ").count("ok") == facts["windows_used"]
    assert 30 < facts["ecg_heart_rate"] < 200
    assert weights == [window.score for window in windows(record.signals[0]) if window.ok]


def test_an_inverted_strip_is_turned_round_where_that_is_asked_for():
    upright = hospital(3, seed=1)[0].signals[0].values[0]
    plain, turned = LeadWindows("I", "lead-v1"), LeadWindows("I", "lead-v1", correct_polarity=True)
    want = plain(recording(upright))[0]
    assert np.array_equal(turned(recording(upright))[0], want)
    assert np.array_equal(turned(recording(-upright))[0], want)
    assert np.allclose(plain(recording(-upright))[0], -want, atol=1e-5)


def test_what_cannot_be_judged_is_refused_with_every_reason():
    flat, gone = np.zeros(5000, np.float32), np.full(5000, np.nan, np.float32)
    with pytest.raises(QualityError, match="no usable window: flat, missing"):
        LeadWindows("I", "lead-v1")(recording(np.concatenate([flat, gone])))


def test_a_missing_lead_is_named_with_those_that_are_there():
    with pytest.raises(ChannelError, match=r"record r: needs channel I; it has V1"):
        LeadWindows("I", "lead-v1")(recording(np.zeros(5000, np.float32), "V1"))


def test_a_cohort_is_prepared_once_and_a_refused_record_keeps_its_reason(tmp_path):
    people = hospital(3, seed=0)
    short = Record("s", "short", (Signal(np.zeros((1, 1500)), 500.0, ("I",), "mV"),))
    rows = {"id": np.array(["0", "1", "short"]), "subject": np.array(["a", "b", "s"])}
    mixed = Cohort(rows, lambda row: people[row] if row < 2 else short)
    prepared = prepare_lead(mixed, LeadWindows("I", "lead-v1"), tmp_path)
    assert set(prepared.window_record) == {0, 1}
    ((name, reason),) = prepared.refused
    assert (name, reason.endswith("no usable window: short")) == ("short", True)
    again = prepare_lead(Cohort(rows, lambda row: pytest.fail("read twice")), LeadWindows("I", "lead-v1"), tmp_path)
    assert np.array_equal(again.store.take([0]), prepared.store.take([0]))


def test_refused_records_are_left_out_of_predictions_and_facts_stay_beside_their_rows():
    people = cohort(id=np.array(["x", "y", "z"]), subject=np.array(["a", "b", "c"]), age=np.array([50.0, 60.0, 70.0]))
    said = as_predictions(
        people, np.array([[1.0], [np.nan], [3.0]]), np.array([0.0, 1.0, np.nan]), split="internal", seed=7, name="t"
    )
    assert said.record.tolist() == ["x", "z"]
    assert said.subject.tolist() == ["a", "c"]
    assert said.facts["age"].tolist() == [50.0, 70.0]
    assert (said.score[:, 0].tolist(), said.seed.tolist(), said.origin) == ([1.0, 3.0], [7, 7], "synthetic")
    assert set(said.facts) == {"age"}


def test_parts_are_joined_row_by_row_and_survive_the_disk(tmp_path):
    first = cohort(
        id=np.array(["x"]),
        subject=np.array(["a"]),
        sex=np.array([None], dtype=object),
        when=np.array(["2020-01-01"], dtype="datetime64[s]"),
    )
    second = cohort(
        id=np.array(["y"]),
        subject=np.array(["b"]),
        sex=np.array(["F"], dtype=object),
        when=np.array(["NaT"], dtype="datetime64[s]"),
    )
    parts = [
        as_predictions(part, np.array([[float(k)]]), np.array([k]), split=name, seed=0, name="t")
        for k, (name, part) in enumerate([("train", first), ("valid", second)])
    ]
    both = joined(parts)
    assert both.split.tolist() == ["train", "valid"]
    assert both.facts["sex"].tolist() == ["", "F"]
    both.save(tmp_path / "p.npz")
    read = type(both).load(tmp_path / "p.npz")
    assert read.facts["when"].tolist() == ["2020-01-01T00:00:00", "NaT"]
    assert read.score.tolist() == both.score.tolist()
