"""From predictions to the numbers of a validation; what is chosen is chosen on the validation part."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from stethos.errors import ScoreError
from stethos.study import validate as study
from stethos.study.evidence import gather
from stethos.study.validate import (
    Operate,
    control_numbers,
    differences,
    known,
    operating,
    recalibrated,
    sigmoid,
    threshold_of,
    validate,
    validate_graded,
)
from stethos.types import Estimate, Predictions, Run

SPLITS = ("train", "valid", "internal", "temporal", "harbour")


def said(score, truth, split, subject=None) -> Predictions:
    count = len(score)
    return Predictions(
        score=np.array(score, float)[:, None],
        truth=np.array(truth, float)[:, None],
        record=np.arange(count),
        subject=np.arange(count) if subject is None else subject,
        split=split,
        seed=np.zeros(count),
        facts={},
        names=("t",),
    )


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "DRAWS", 60)
        yield


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """Two rows a subject, 100 subjects a split, a score that is worth something."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=1000) < 0.3
    return said(rng.normal(size=1000) + truth, truth, np.repeat(SPLITS, 200), np.arange(1000) // 2)


@pytest.fixture(scope="module")
def numbers(predictions) -> dict[str, Estimate]:
    return validate(predictions, Operate())


def test_the_operating_point_is_chosen_on_the_validation_part_alone(predictions):
    threshold = threshold_of(predictions, Operate("sensitivity", 0.9))
    moved = np.where(predictions.split == "valid", predictions.score[:, 0], -3 * predictions.score[:, 0])[:, None]
    flipped = np.where(predictions.split == "valid", predictions.truth[:, 0], 1 - predictions.truth[:, 0])[:, None]
    assert threshold_of(replace(predictions, score=moved, truth=flipped), Operate("sensitivity", 0.9)) == threshold
    other = np.where(predictions.split == "valid", predictions.score[:, 0] + 1, predictions.score[:, 0])[:, None]
    assert threshold_of(replace(predictions, score=other), Operate("sensitivity", 0.9)) == pytest.approx(threshold + 1)


def test_the_chosen_level_is_reached_on_the_validation_part(predictions):
    valid = predictions.part("valid")
    for at, level in (("sensitivity", 0.9), ("specificity", 0.8), ("npv", 0.85)):
        point = operating(valid, threshold_of(predictions, Operate(at, level)))
        assert getattr(point, at).value >= level
        assert getattr(point, at).value < level + 0.05


def test_a_threshold_worked_by_hand():
    score, truth = [-2, -1, 0, 1, 2, 9, 9], [0, 0, 1, 0, 1, 0, 1]
    split = ["valid"] * 5 + ["internal"] * 2
    # flagging 2 catches one of the two events, flagging 0 and above both: halfway to the next score below 0
    assert threshold_of(said(score, truth, split), Operate("sensitivity", 0.9)) == -0.5
    assert threshold_of(said(score, truth, split), Operate("sensitivity", 0.5)) == 1.5


def test_unknown_truths_of_the_validation_part_do_not_count():
    score, truth = [-2, -1, 0, 1, 2, -9], [0, 0, 1, 0, 1, np.nan]
    assert threshold_of(said(score, truth, ["valid"] * 6), Operate("sensitivity", 0.9)) == -0.5
    assert len(known(said(score, truth, ["valid"] * 6), "valid")) == 5


def test_headline_numbers_are_those_of_scikit_learn(predictions, numbers):
    threshold = threshold_of(predictions, Operate())
    for split in ("internal", "temporal", "harbour"):
        part = predictions.part(split)
        truth, score = part.truth[:, 0], part.score[:, 0]
        low = score < threshold
        want = {
            "auroc": roc_auc_score(truth, score),
            "ap": average_precision_score(truth, score),
            "sensitivity": np.mean(~low[truth == 1]),
            "specificity": np.mean(low[truth == 0]),
            "ppv": np.mean(truth[~low]),
            "npv": 1 - np.mean(truth[low]),
            "npv_trivial": 1 - np.mean(truth),
            "prevalence": np.mean(truth),
            "flagged": np.mean(~low),
            "calibration.brier": np.mean((sigmoid(score) - truth) ** 2),
        }
        for name, value in want.items():
            found = numbers[f"{split}.{name}"]
            assert found.value == pytest.approx(value, abs=1e-12), name
            assert found.low <= found.value <= found.high
        assert numbers[f"{split}.auroc"].n == len(np.unique(part.subject)) == 100
        assert numbers[f"{split}.npv_trivial"].value == pytest.approx(1 - numbers[f"{split}.prevalence"].value)


def test_no_number_is_given_for_the_parts_that_choices_were_made_on(predictions, numbers):
    assert {name.split(".")[0] for name in numbers} == {"internal", "temporal", "harbour"}
    assert study.tested(predictions) == ["internal", "temporal", "harbour"]
    assert study.tested(predictions.take(predictions.split != "internal")) == ["temporal", "harbour"]


def test_a_part_of_one_class_is_left_out_and_the_others_stay(predictions):
    truth = np.where(predictions.split == "temporal", 0.0, predictions.truth[:, 0])[:, None]
    numbers = validate(replace(predictions, truth=truth), Operate())
    assert {name.split(".")[0] for name in numbers} == {"internal", "harbour"}


def test_a_part_too_small_for_an_interval_says_so_and_gives_no_number(predictions, caplog):
    few = predictions.take((predictions.split != "temporal") | (np.arange(1000) // 2 == 300))
    truth = np.where(few.split == "temporal", np.arange(len(few)) % 2, few.truth[:, 0])[:, None]
    with caplog.at_level(logging.WARNING, logger="stethos"):
        numbers = validate(replace(few, truth=truth), Operate())
    assert np.isnan(numbers["temporal.auroc"].value)
    assert numbers["temporal.auroc"].n == 1
    assert "not estimated on temporal" in caplog.text
    assert np.isfinite(numbers["internal.auroc"].value)


def test_a_validation_part_without_events_is_told(predictions):
    truth = np.where(predictions.split == "valid", 0.0, predictions.truth[:, 0])[:, None]
    with pytest.raises(ScoreError):
        threshold_of(replace(predictions, truth=truth), Operate())


def test_recalibration_undoes_a_stretch_and_a_shift_and_leaves_the_ranks(predictions):
    rng = np.random.default_rng(1)
    logit = 1.5 * rng.normal(size=6000)
    truth = rng.uniform(size=6000) < sigmoid(logit)
    wrong = said(3 * logit + 2, truth, np.repeat(["valid", "internal"], 3000))
    again = recalibrated(wrong)
    assert np.abs(again.score[:, 0] - logit).max() < 0.5
    assert np.array_equal(np.argsort(again.score[:, 0]), np.argsort(logit))
    flipped = replace(wrong, truth=np.where(wrong.split == "internal", 1 - truth, truth)[:, None])
    assert np.array_equal(recalibrated(flipped).score, again.score)


def test_the_difference_from_itself_is_exactly_nothing(predictions):
    found = differences(predictions, {"itself": predictions})
    assert set(found) == {"itself.internal", "itself.temporal", "itself.harbour"}
    for item in found.values():
        assert (item.estimate.value, item.estimate.low, item.estimate.high, item.p) == (0, 0, 0, 1)


def test_a_control_is_numbered_on_every_tested_part_and_briefly_on_the_first(predictions):
    chance = replace(predictions, score=np.zeros_like(predictions.score))
    numbers = control_numbers({"chance": chance, "model": predictions})
    assert {name for name in numbers if name.startswith("control.chance")} == {
        "control.chance.auroc",
        *(f"control.chance.{split}.auroc" for split in ("internal", "temporal", "harbour")),
    }
    assert numbers["control.chance.auroc"].value == 0.5
    assert numbers["control.model.auroc"] == numbers["control.model.internal.auroc"]
    assert numbers["control.model.auroc"] != numbers["control.model.temporal.auroc"]
    gained = differences(predictions, {"chance": chance})["chance.internal"]
    internal = predictions.part("internal")
    assert gained.estimate.value == pytest.approx(roc_auc_score(internal.truth[:, 0], internal.score[:, 0]) - 0.5)
    assert gained.estimate.low > 0


def test_a_measured_target_is_held_against_always_saying_the_mean_of_the_training():
    split = ["train"] * 2 + ["valid"] * 2 + ["internal"] * 5
    truth = [3.0, 5.0, 9.0, 9.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    score = [0.0, 0.0, 0.0, 0.0, 3.5, 4.0, 5.5, 6.5, 8.0]
    numbers = validate_graded(said(score, truth, split))
    assert numbers["internal.mae"].value == pytest.approx((0.5 + 0 + 0.5 + 0.5 + 1) / 5)
    assert numbers["internal.bias"].value == pytest.approx(0.5)  # score minus truth
    assert numbers["internal.mae_of_the_mean"].value == pytest.approx((1 + 0 + 1 + 2 + 3) / 5)  # the mean is 4
    assert numbers["internal.pearson"].value == pytest.approx(np.corrcoef(score[4:], truth[4:])[0, 1])
    assert numbers["internal.spearman"].value == pytest.approx(1)


@pytest.mark.parametrize(("logit", "chance"), [(0.0, 0.5), (1000.0, 1.0), (-1000.0, 0.0), (np.log(3), 0.75)])
def test_a_logit_becomes_a_chance_without_overflow(logit, chance):
    assert sigmoid(np.array([logit]))[0] == pytest.approx(chance)


def with_vitals(predictions: Predictions) -> Predictions:
    rng = np.random.default_rng(2)
    return replace(predictions, facts={"age": rng.uniform(20, 90, len(predictions))})


def test_evidence_holds_every_number_before_and_after_recalibration(predictions, tmp_path):
    said = with_vitals(replace(predictions, score=3 * predictions.score + 1))
    found = gather(Run(tmp_path), said, said, Operate()).numbers
    assert found["internal.recalibrated.ece"].value < found["internal.calibration.ece"].value
    before, after = (found[f"internal.{kind}.slope"].value for kind in ("calibration", "recalibrated"))
    assert abs(np.log(after)) < abs(np.log(before))
    assert found["difference.vitals.internal.auroc"].low > 0
    assert found["control.vitals.auroc"].value == pytest.approx(0.5, abs=0.1)


def test_a_validation_part_without_errors_costs_the_recalibration_alone(predictions, tmp_path):
    valid = predictions.split == "valid"
    score = np.where(valid, 9 * predictions.truth[:, 0] - 4, predictions.score[:, 0])[:, None]
    said = with_vitals(replace(predictions, score=score))
    assert np.isfinite(gather(Run(tmp_path), said, said, Operate()).numbers["internal.auroc"].value)


def test_a_part_with_one_subject_of_a_kind_costs_its_own_numbers_alone(predictions, tmp_path):
    late = predictions.split == "temporal"
    truth = np.where(late, predictions.subject == predictions.subject[late][0], predictions.truth[:, 0])[:, None]
    said = with_vitals(replace(predictions, truth=truth))
    found = gather(Run(tmp_path), said, said, Operate()).numbers
    assert np.isfinite(found["difference.vitals.internal.auroc"].value)
