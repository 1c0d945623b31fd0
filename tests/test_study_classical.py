"""The control that reads nothing but intervals and amplitudes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stethos.study.classical import FEATURES, WaveFeatures, measure_waves, products, wave_features, waves_control
from stethos.synth import hospital, hospital_world, quiet, truth
from stethos.types import Cohort, Predictions, Record, Signal


@pytest.fixture(scope="module")
def people() -> Cohort:
    return hospital(50, seed=1, world=quiet(hospital_world()))


@pytest.fixture(scope="module")
def measured(people) -> dict[str, np.ndarray]:
    return measure_waves(people, WaveFeatures("I", correct_polarity=True))


def planted(chance, count=600, seed=0) -> Predictions:
    """Features as of a clinic, half of the subjects for training; the truth is drawn with a chance that they decide."""
    rng = np.random.default_rng(seed)
    facts = {name: rng.normal(size=count) for name in FEATURES}
    happens = rng.uniform(size=count) < chance(facts)
    subject = np.arange(count) // 2
    return Predictions(
        score=np.zeros((count, 1)),
        truth=happens[:, None].astype(float),
        record=np.arange(count),
        subject=subject,
        split=np.where(subject < count // 4, "train", "internal"),
        seed=np.zeros(count),
        facts=facts | {"age": rng.normal(size=count)},
        names=("t",),
    )


def area(said: Predictions) -> float:
    part = said.part("internal")
    return float(roc_auc_score(part.truth[:, 0], part.score[:, 0]))


def test_what_is_measured_follows_what_was_drawn(people, measured):
    drawn = truth(50, seed=1, world=quiet(hospital_world()))
    plain = np.isfinite(measured["ecg_t_amplitude"]) & (people.rows["atrial_fibrillation"] == 0)
    for name, latent in (("ecg_t_amplitude", "t_amplitude"), ("ecg_pr", "pr_ms"), ("ecg_r_amplitude", "r_amplitude")):
        both = plain & np.isfinite(measured[name]) & np.isfinite(drawn[latent])
        assert np.corrcoef(measured[name][both], drawn[latent][both])[0, 1] > 0.7, name
    assert np.isfinite(measured["ecg_pr"]).mean() > 0.8


def test_features_have_physiological_sizes(measured):
    middle = {name: np.nanmedian(measured[name]) for name in FEATURES}
    assert 50 < middle["ecg_heart_rate"] < 100
    assert 120 < middle["ecg_pr"] < 220
    assert 60 < middle["ecg_qrs"] < 120
    assert 360 < middle["ecg_qtc"] < 480
    assert 0.05 < middle["ecg_t_to_r"] < 1


def test_t_over_r_has_no_unit_and_no_polarity(people):
    lead = people[0].pick("I")
    plain = wave_features(lead)
    assert plain["ecg_t_to_r"] == pytest.approx(plain["ecg_t_amplitude"] / plain["ecg_r_amplitude"])
    scaled = wave_features(replace(lead, values=2 * lead.values))
    assert scaled["ecg_t_amplitude"] == pytest.approx(2 * plain["ecg_t_amplitude"], rel=0.02)
    assert scaled["ecg_t_to_r"] == pytest.approx(plain["ecg_t_to_r"], rel=0.02)


def test_a_strip_held_the_wrong_way_round_measures_the_same_where_it_is_turned(people):
    lead = people[0].pick("I")
    wrong = Record("s", "1", (replace(lead, values=-lead.values),))
    turned = WaveFeatures("I", correct_polarity=True)(wrong)
    assert turned == pytest.approx(wave_features(lead))
    assert WaveFeatures("I")(wrong)["ecg_r_amplitude"] == pytest.approx(-wave_features(lead)["ecg_r_amplitude"])


def test_a_strip_that_begins_within_a_beat_is_measured(people):
    """A beat that the first sample cuts is left out; the others are enough."""
    lead = people[0].pick("I")
    peak = int(np.argmax(lead.values[0, : round(1.5 * lead.rate)]))
    for ahead in (0, 2, 5, 10):
        found = wave_features(replace(lead, values=lead.values[:, peak - ahead :]))
        assert found["ecg_qrs"] == pytest.approx(wave_features(lead)["ecg_qrs"], rel=0.1)


def test_a_strip_that_begins_on_the_upstroke_of_a_beat_is_measured():
    found = wave_features(hospital(40, seed=0)[54].pick("I"))
    assert np.isfinite(list(found.values())).all()


def test_a_flat_line_measures_nothing():
    flat = Signal(np.zeros((1, 5000)), 500, ("I",), "mV")
    assert all(np.isnan(value) for value in wave_features(flat).values())
    assert tuple(wave_features(flat)) == FEATURES


def test_a_record_without_the_lead_is_unknown_and_the_others_stay(people):
    found = measure_waves(people.take([0, 1]), WaveFeatures("V5"))
    assert all(np.isnan(column).all() for column in found.values())


@pytest.mark.slow
def test_two_processes_measure_what_one_does(people, measured):
    found = measure_waves(people.take(np.arange(20)), WaveFeatures("I", True), workers=2)
    for name in FEATURES:
        assert np.array_equal(found[name], measured[name][:20], equal_nan=True)


def test_the_measurement_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(WaveFeatures("I", True))) == WaveFeatures("I", True)


def test_a_planted_effect_of_the_t_wave_is_recovered():
    said = planted(lambda facts: 1 / (1 + np.exp(-3 * facts["ecg_t_amplitude"])))
    best = roc_auc_score(said.part("internal").truth[:, 0], said.part("internal").facts["ecg_t_amplitude"])
    assert area(waves_control(said)) > best - 0.03


def test_an_effect_that_only_a_product_shows_is_recovered():
    said = planted(lambda facts: np.where(facts["ecg_qrs"] * facts["ecg_t_amplitude"] > 0, 0.9, 0.1), count=1200)
    assert area(waves_control(said)) > 0.75


def test_without_an_effect_the_control_is_at_chance():
    areas = [area(waves_control(planted(lambda facts: np.full(300, 0.3), 300, seed))) for seed in range(3)]
    assert abs(np.mean(areas) - 0.5) < 0.08


def test_truths_of_tested_rows_and_other_facts_move_no_score_and_features_may_come_beside():
    said = planted(lambda facts: 1 / (1 + np.exp(-3 * facts["ecg_t_amplitude"])), 200)
    flipped = np.where(said.split == "internal", 1 - said.truth[:, 0], said.truth[:, 0])[:, None]
    other = replace(said, truth=flipped, facts={"age": said.truth[:, 0]})
    assert np.array_equal(waves_control(other, said.facts).score, waves_control(said).score)


def test_unknown_features_are_filled_in_and_none_at_all_say_nothing():
    said = planted(lambda facts: 1 / (1 + np.exp(-3 * facts["ecg_t_amplitude"])))
    holes = {name: np.where(np.arange(600) % 7 == 0, np.nan, said.facts[name]) for name in FEATURES}
    holes["ecg_pr"] = np.full(600, np.nan)
    filled = waves_control(said, holes)
    assert np.isfinite(filled.score).all()
    assert area(filled) > 0.75
    assert not waves_control(said, {"ecg_pr": np.full(600, np.nan)}).score.any()
    assert not waves_control(replace(said, facts={})).score.any()


def test_products_worked_by_hand():
    table = np.array([[1.0, 10.0], [3.0, np.nan], [5.0, 40.0]])
    found = products(table, np.array([True, True, False]))
    # first column: mean 2, spread 1; second: median 10 fills the gap, no spread, mean 10
    assert found.tolist() == [[1, 0, 0], [1, 0, 0], [9, 90, 900]]
