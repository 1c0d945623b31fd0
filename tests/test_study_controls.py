"""Controls: what age, sex and heart rate alone can say, and a linear model on features that nobody trained."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stethos.study import controls
from stethos.study.controls import fit_logistic, fit_ridge, linear_probe, vitals, vitals_control
from stethos.types import Predictions


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer penalties than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "STRENGTHS", np.logspace(-4, 2, 5))
        yield


def people(truth_of_age, count: int = 400, seed: int = 0) -> Predictions:
    """Two rows a subject, half of the subjects for training; the truth is drawn with a chance that age decides."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 90, count)
    facts = {"age": age, "sex": rng.choice(["F", "M", ""], count), "ecg_heart_rate": rng.uniform(50, 110, count)}
    truth = rng.uniform(size=count) < truth_of_age(age)
    subject = np.arange(count) // 2
    return Predictions(
        score=np.zeros((count, 1)),
        truth=truth[:, None].astype(float),
        record=np.arange(count),
        subject=subject,
        split=np.where(subject < count // 4, "train", "internal"),
        seed=np.zeros(count),
        facts=facts,
        names=("t",),
    )


def area(said: Predictions) -> float:
    part = said.part("internal")
    return float(roc_auc_score(part.truth[:, 0], part.score[:, 0]))


def test_a_planted_effect_of_age_is_recovered_from_the_training_rows():
    chance = lambda age: 1 / (1 + np.exp(-(age - 55) / 6))  # noqa: E731
    said = people(chance)
    best = roc_auc_score(said.part("internal").truth[:, 0], said.part("internal").facts["age"])
    assert best > 0.9
    assert area(vitals_control(said)) > best - 0.02


def test_an_effect_that_only_the_square_of_age_shows_is_recovered():
    assert area(vitals_control(people(lambda age: np.where(np.abs(age - 55) > 18, 0.95, 0.05)))) > 0.85


def test_without_an_effect_the_control_is_at_chance():
    areas = [area(vitals_control(people(lambda age: np.full(len(age), 0.3), seed=seed))) for seed in range(4)]
    assert abs(np.mean(areas) - 0.5) < 0.05


def test_truths_of_tested_rows_move_no_score():
    said = people(lambda age: age / 100)
    flipped = np.where(said.split == "internal", 1 - said.truth[:, 0], said.truth[:, 0])[:, None]
    assert np.array_equal(vitals_control(said).score, vitals_control(replace(said, truth=flipped)).score)


def test_unknown_facts_are_filled_in_and_no_facts_at_all_say_nothing():
    said = people(lambda age: age / 100)
    age = np.where(np.arange(len(said)) % 7 == 0, np.nan, said.facts["age"])
    assert np.isfinite(vitals_control(replace(said, facts={**said.facts, "age": age})).score).all()
    unknown = {"age": np.full(len(said), np.nan)}
    assert not vitals_control(replace(said, facts=unknown)).score.any()


def test_the_table_of_vitals_is_as_documented():
    table = vitals({"age": np.array([50.0]), "sex": np.array(["male"]), "ecg_heart_rate": np.array([120.0])})
    assert table.tolist() == [[1, 1, 2, 1, 4, 1, 2, 2]]
    table = vitals({"age": np.array([100.0, np.nan]), "sex": np.array(["f", "x"])})
    assert table[0, [0, 1, 3, 5]].tolist() == [2, 0, 4, 0]
    assert np.isnan(table[1]).all()
    assert np.isnan(table[:, 2]).all()


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 5)) * [1, 10, 0.1, 3, 1] + [0, 5, -1, 100, 0]
    x[:, 4] = 2.0  # a feature that never moves
    signal = x[:, 0] + 0.1 * (x[:, 1] - 5) + rng.normal(size=240)
    return x, signal, np.arange(240) // 3


def test_a_linear_probe_is_the_decision_function_of_its_model(features):
    x, signal, groups = features
    weight, bias = linear_probe(x, (signal > 0).astype(float), groups)
    want = fit_logistic(x, (signal > 0).astype(float), groups).decision_function(x)
    assert np.allclose(x @ weight + bias, want, rtol=1e-9, atol=1e-9)
    assert roc_auc_score(signal > 0, x @ weight + bias) > 0.8


def test_a_graded_probe_is_the_prediction_of_its_model(features):
    x, signal, groups = features
    weight, bias = linear_probe(x, signal, groups, graded=True)
    assert np.allclose(x @ weight + bias, fit_ridge(x, signal, groups).predict(x), rtol=1e-9, atol=1e-9)
    assert np.corrcoef(x @ weight + bias, signal)[0, 1] > 0.7


def test_the_penalty_is_tuned_on_subjects_that_were_not_fitted():
    """Columns that tell subjects apart reward a weak penalty on rows of the same subjects, and on no others."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 8)
    truth = np.repeat(rng.permutation(np.arange(40) % 2), 8).astype(float)
    faces = rng.normal(size=(40, 30))[groups]
    table = np.column_stack([faces, rng.normal(size=320) + 2 * truth])  # the last column alone carries over
    rows, subjects = (fit_logistic(table, truth, by)[-1].C for by in (np.arange(320), groups))
    assert subjects < 1 < rows


def test_few_events_make_few_folds():
    rng = np.random.default_rng(0)
    truth = np.zeros(60)
    truth[[3, 20, 41]] = 1
    x = rng.normal(size=(60, 2)) + 3 * truth[:, None]
    assert roc_auc_score(truth, fit_logistic(x, truth, np.arange(60)).decision_function(x)) > 0.9


def test_the_ridge_that_is_found_is_that_of_a_grid_search_over_pipelines():
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features, groups = rng.standard_normal((200, 30)), rng.integers(0, 60, 200)
    truth = features @ rng.standard_normal(30) * 0.2 + rng.standard_normal(200)
    features[rng.random((200, 30)) < 0.05] = np.nan
    pipeline = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), Ridge())
    folds = list(GroupKFold(5).split(truth, truth, groups))
    search = GridSearchCV(
        pipeline, {"ridge__alpha": 1 / controls.STRENGTHS}, scoring="neg_mean_squared_error", cv=folds
    )
    search.fit(features, truth)
    ours = fit_ridge(features, truth, groups)
    assert ours[-1].alpha == pytest.approx(search.best_params_["ridge__alpha"])
    np.testing.assert_allclose(ours.predict(features), search.predict(features))
