"""From recordings to patches and back: nothing is lost without a word, and strangers are strangers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulses import feet_at, pulse_of

from stethos.errors import CohortError, QualityError, RecipeError, SplitError
from stethos.study.pulse_arms import (
    better_classical,
    classical_answers,
    constant,
    graded_of,
    linear_probes,
)
from stethos.study.pulse_parts import keep_met, met_by, refuse_met, subject_folds
from stethos.study.pulse_space import asked_of, learnable_rows, spread, strangers, texts_for, write_nearest
from stethos.study.pulses import (
    PulseWindows,
    begin_pulses,
    filled,
    kin_of,
    patches_of,
    pulse_rows,
    pulse_scores,
    stretches,
    tell_pulses,
)
from stethos.synth import hospital, lasting, ppg_world
from stethos.types import Run, Signal


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    people = hospital(25, seed=3, world=ppg_world())
    people = people.with_columns(report=np.array([f"Text {i // 2}." for i in range(len(people))], dtype=object))
    told = tell_pulses(people, ("af", "hr", "nowhere"))
    return begin_pulses(told, Run(tmp_path_factory.mktemp("ward")), PulseWindows(measure=True))


def pulse(seconds, rate):
    return pulse_of(feet_at(70, seconds), rate, seconds, noise=0.01)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_column_that_is_missing_is_unknown_and_no_error(ward):
    assert np.isnan(ward.told.truth[:, 2]).all()
    assert np.isfinite(ward.told.truth[:, :2]).all()
    with pytest.raises(Exception, match="nowhere"):
        tell_pulses(ward.told.cohort, ("nowhere > 3",))


def test_every_record_is_prepared_or_refused_with_a_reason(ward):
    used = set(ward.prepared.window_record.tolist())
    assert len(used) + len(ward.prepared.refused) == len(ward.told.cohort)
    assert all("no usable patch: " in reason for _, reason in ward.prepared.refused)


def test_patches_come_back_as_the_windows_cut_them(ward):
    row = int(ward.prepared.window_record[0])
    expected, facts = PulseWindows(measure=True)(ward.told.cohort[row])
    assert np.array_equal(patches_of(ward.prepared, row), expected)
    assert ward.prepared.facts["pulse_hr"][row] == pytest.approx(facts["pulse_hr"])


def test_the_measured_heart_rate_is_that_of_the_truth(ward):
    rows = np.unique(ward.prepared.window_record)
    regular = rows[ward.told.truth[rows, 0] == 0]
    assert np.median(np.abs(ward.prepared.facts["pulse_hr"][regular] - ward.told.truth[regular, 1])) < 1.5


def test_scores_are_of_the_record_and_unknown_where_it_was_refused(ward):
    rows = np.arange(len(ward.told.cohort))
    table = pulse_scores(lambda x: x[:, :, 0].mean(axis=(1, 2))[:, None], ward.prepared, rows)
    seen = np.unique(ward.prepared.window_record)
    assert np.isnan(table[np.setdiff1d(rows, seen)]).all()
    for row in seen[:5]:
        assert table[row, 0] == pytest.approx(patches_of(ward.prepared, row)[:, 0].mean(), rel=1e-4)


def test_scoring_fills_no_recording_up(ward):
    shapes = []
    pulse_scores(lambda x: (shapes.append(x), np.zeros((len(x), 1)))[1], ward.prepared, ward.prepared.window_record)
    assert all((part[:, :, 1].reshape(len(part), -1).max(axis=1) == 1).all() for part in shapes)


def test_gain_and_polarity_leave_the_patches_alone():
    signal = pulse(seconds=60.0, rate=125.0)
    windows = PulseWindows()
    plain, _ = windows.of(signal)
    for changed in (signal.values * 100, -signal.values):
        other, _ = windows.of(Signal(changed, signal.rate, signal.channels, signal.unit))
        assert np.abs(other - plain).max() < 1e-3


@pytest.mark.parametrize("rate", [25.0, 64.0, 125.0, 250.0, 1000.0])
def test_any_rate_gives_patches_of_one_rate(rate):
    patches, _ = PulseWindows().of(pulse(seconds=60.0, rate=rate))
    assert patches.shape == (2, 2, 1200)


def test_three_seconds_are_a_patch_most_of_which_is_not_valid():
    patches, _ = PulseWindows().of(pulse(seconds=3.2, rate=125.0))
    assert patches.shape == (1, 2, 1200)
    assert 110 < patches[0, 1].sum() < 140


@pytest.mark.parametrize(("values", "reason"), [(np.ones(7500), "flat"), (np.full(7500, np.nan), "missing")])
def test_a_pulse_that_is_none_is_refused_with_the_reason(values, reason):
    with pytest.raises(QualityError, match=reason):
        PulseWindows().of(Signal(values[None].astype(np.float32), 125.0, ("PLETH",), "1"))


def test_a_modulation_of_a_tenth_of_a_hertz_survives():
    time = np.arange(120 * 125) / 125
    signal = pulse(seconds=120.0, rate=125.0)
    swaying = signal.values + 0.3 * np.ptp(signal.values) * np.sin(2 * np.pi * 0.1 * time)[None]
    patches = PulseWindows().cut(Signal(swaying.astype(np.float32), 125.0, ("PLETH",), "1"))
    trace = patches[:, 0].ravel()
    power = np.abs(np.fft.rfft(trace * np.hanning(len(trace))))
    slow = np.fft.rfftfreq(len(trace), 1 / 40)
    inside = (slow > 0.05) & (slow < 0.5)
    assert slow[inside][power[inside].argmax()] == pytest.approx(0.1, abs=0.01)
    assert power[inside].max() > 0.5 * power[slow > 0.5].max()


def test_a_day_is_prepared_in_bounded_memory():
    import tracemalloc

    short = pulse(seconds=600.0, rate=125.0)
    day = Signal(np.tile(short.values, (1, 36)), 125.0, ("PLETH",), "1")  # 6 h
    tracemalloc.start()
    patches = PulseWindows().cut(day)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert patches.shape == (720, 2, 1200)
    assert peak < 16 * day.values.nbytes


def test_recordings_of_different_length_are_filled_with_patches_that_are_not_valid():
    parts = [np.ones((1, 2, 4), np.float32), np.ones((3, 2, 4), np.float32)]
    whole = filled(parts, 2)
    assert whole.shape == (2, 2, 2, 4)
    assert whole[0, 1].max() == 0
    assert whole[1].min() == 1


def test_a_long_recording_is_seen_from_another_place_at_every_step():
    class Rows:
        @staticmethod
        def take(row):
            return np.broadcast_to(np.arange(50)[:, None, None], (50, 2, 3)).astype(np.float32)

    begins = {int(stretches(Rows, np.array([7]), 4, 0, step)[0, 0, 0, 0]) for step in range(60)}
    assert len(begins) > 25
    one = stretches(Rows, np.array([7, 8]), 4, 0, 5)
    assert np.array_equal(one[1], stretches(Rows, np.array([8]), 4, 0, 5)[0])
    assert np.array_equal(np.diff(one[0, :, 0, 0]), np.ones(3))


def test_kin_share_a_subject_or_a_text_and_no_text_is_no_kin():
    kin = kin_of(np.array(["a", "a", "b", "c"]), ["x", "y", "x", ""])
    assert kin[0, 0] == kin[1, 0] != kin[2, 0]
    assert kin[0, 1] == kin[2, 1] != kin[1, 1]
    assert kin[3, 1] == -1


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_strangers_text_is_of_another_subject(people, seed):
    subject = np.array([f"p{person}" for person in people])
    whose = strangers(subject, seed)
    if len(set(people)) > 1:
        assert (subject[whose] != subject).all()
    else:
        assert (whose < len(people)).all()


def test_no_text_of_a_tested_record_is_read(ward):
    seen = ward.seen(np.arange(len(ward.told.cohort)))
    learned = {"train": seen[:8], "valid": seen[8:14]}
    for records in ("own", "shuffled"):
        text = texts_for(ward, learned, records, 0)
        told = np.flatnonzero([bool(item) for item in text])
        assert np.array_equal(told, np.sort(seen[:14]))
        own = {name: {ward.told.text[row] for row in rows} for name, rows in learned.items()}
        assert all({text[row] for row in rows} <= own[name] for name, rows in learned.items())
    assert not any(texts_for(ward, learned, "none", 0))


def test_a_pretraining_without_texts_says_what_it_needs(ward):
    bare = tell_pulses(ward.told.cohort.with_columns(report=np.full(len(ward.told.cohort), None, dtype=object)), ())
    case = type(ward)(ward.run, bare, ward.prepared)
    with pytest.raises(CohortError, match=r"a text \(column report\)"):
        learnable_rows(case, np.arange(len(bare.cohort)), "own")
    assert len(learnable_rows(case, np.arange(len(bare.cohort)), "none")) > 10


def test_whom_a_pretraining_met_is_not_tested(tmp_path, ward):
    run = Run(tmp_path)
    assert met_by(run).size == 0
    keep_met(run, ward.told.cohort.subjects[:3])
    parts = {"train": ward.told.cohort, "internal": ward.told.cohort.take(np.arange(3, len(ward.told.cohort)) * 1)}
    shared = set(ward.told.cohort.subjects[:3]) & set(parts["internal"].subjects)
    if shared:
        with pytest.raises(Exception, match="were pretrained on"):
            refuse_met([run], parts)
    with pytest.raises(Exception, match="subjects of the part internal were pretrained on"):
        refuse_met([run], {"internal": ward.told.cohort})
    refuse_met([run], {"train": ward.told.cohort})


def test_identical_rows_do_not_spread_and_random_ones_do():
    z = rng().normal(size=(4000, 32))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    assert spread(z) == pytest.approx(1, abs=0.02)
    assert spread(np.repeat(z[:1], 50, axis=0)) < 1e-12


def test_the_nearest_are_patients_each_once_and_go_into_private(tmp_path, ward):
    table = np.full((len(ward.told.cohort), 2), np.nan)
    seen = ward.seen(np.arange(len(table)))
    angle = np.linspace(0, 1, len(seen))
    table[seen] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    said = write_nearest(Run(tmp_path), type(ward)(Run(tmp_path), ward.told, ward.prepared), table, np.array([1, 0]), 3)
    rows = (tmp_path / "private" / "nearest.csv").read_text().splitlines()
    assert "private" in said
    assert len({row.split(",")[0] for row in rows[1:]}) == 3
    assert rows[1].split(",")[0] == str(ward.told.cohort.subjects[seen[0]])


def test_a_query_is_a_column_and_a_sentence():
    assert asked_of(["af=Atrial fibrillation."]) == {"af": "Atrial fibrillation."}
    assert "hypertension" in asked_of([])
    with pytest.raises(RecipeError, match="COLUMN=SENTENCE"):
        asked_of(["fibrillation"])


def test_a_task_is_graded_where_a_value_is_neither_nought_nor_one():
    truth = np.array([[0, 70.0, np.nan], [1, 1, np.nan], [np.nan, 0, np.nan]])
    assert graded_of(truth).tolist() == [False, True, False]


def test_linear_probes_find_a_linear_truth_and_say_the_mean_where_there_is_none():
    table, subject = rng().normal(size=(400, 5)), np.arange(400) // 2
    truth = np.stack([table @ [1, -2, 0, 0, 3] + 70, np.full(400, np.nan), (table[:, 1] > 0).astype(float)], axis=1)
    weight, bias = linear_probes(table, truth, subject, np.array([True, False, False]))
    assert weight[0] == pytest.approx([1, -2, 0, 0, 3], abs=0.05)
    assert bias[0] == pytest.approx(70, abs=0.05)
    assert not weight[1].any()
    assert (np.sign(table @ weight[2] + bias[2]) == np.sign(table[:, 1])).mean() > 0.95


def test_what_says_nothing_is_the_mean_or_the_prevalence():
    assert constant(np.array([1.0, 3.0]), graded=True) == 2
    assert constant(np.array([1.0] * 10 + [0.0] * 90), graded=False) == pytest.approx(np.log(10.5 / 90.5))
    assert constant(np.array([]), graded=True) == 0


def test_the_better_of_line_and_trees_is_taken_by_inner_folds():
    x, subject = rng().uniform(-1, 1, size=(600, 2)), np.arange(600)
    straight = better_classical(x, 5 * x[:, 0] + 0.1 * rng(1).normal(size=600), subject, True)
    bent = better_classical(x, 5 * (x[:, 0] * x[:, 1] > 0), subject, True)
    assert type(straight).__name__ == "Pipeline"
    assert type(bent).__name__ == "HistGradientBoostingRegressor"


def test_classical_answers_bear_features_that_were_not_measured():
    x, subject = rng().normal(size=(300, 3)), np.arange(300)
    x[::3, 0] = np.nan
    x[:, 2] = np.nan
    truth = np.stack([70 + 3 * x[:, 1], np.full(300, np.nan)], axis=1)
    said = classical_answers((x, truth, subject), x, np.array([True, False]))
    assert np.abs(said[:, 0] - truth[:, 0]).mean() < 0.5
    assert not said[:, 1].any()


def test_folds_share_no_subject_and_test_everybody_once():
    subject = rng().integers(0, 12, 100)
    tested = []
    for inside, outside in subject_folds(subject, 99):
        assert not set(subject[inside]) & set(subject[outside])
        tested.extend(outside.tolist())
    assert sorted(tested) == list(range(100))
    with pytest.raises(SplitError, match="three subjects"):
        next(subject_folds(np.array(["a", "a"]), 5))


def test_rows_of_a_training_are_those_with_a_usable_patch(ward):
    rows = pulse_rows(ward, np.arange(len(ward.told.cohort)))
    assert len(rows) == len(np.unique(ward.prepared.window_record))
    assert np.array_equal(rows.take(3), patches_of(ward.prepared, int(rows.record[3])))


def test_what_moved_is_refused_and_counted():
    world = lasting(ppg_world(), 120.0)
    people = hospital(30, seed=1, world=world)
    worn = [record for record in people if any("ACC_X" in signal.channels for signal in record.signals)]
    assert worn
    lost = [PulseWindows(motion=motion) for motion in (True, False)]
    used = [[_used(windows, record) for record in worn] for windows in lost]
    assert sum(used[0]) < sum(used[1])


def _used(windows, record):
    try:
        return windows(record)[1]["patches_used"]
    except QualityError:
        return 0
