"""Arms beside each other: numbers worked out by hand, the same subjects for both sides of a difference."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from stethos.errors import RunError, ScoreError
from stethos.study.arms import arm_numbers, few_numbers, gates, ordered, refuse_nobody, split_seeds
from stethos.types import Predictions

NAMES = ("af", "hr")


def rng(seed=0):
    return np.random.default_rng(seed)


def said(score, truth, subject=None, split="internal", seed=0, names=NAMES):
    count = len(truth)
    return Predictions(
        score=np.asarray(score, float),
        truth=np.asarray(truth, float),
        record=np.array([f"r{i}" for i in range(count)]),
        subject=np.array([f"s{i}" for i in range(count)]) if subject is None else subject,
        split=np.full(count, split) if isinstance(split, str) else split,
        seed=np.full(count, seed),
        facts={},
        names=names,
        origin="synthetic",
    )


def truths(count=200):
    return np.stack([(rng().random(count) < 0.3).astype(float), rng(1).normal(75, 12, count)], axis=1)


def noisy(truth, level, seed=2):
    logit = 2 * truth[:, 0] - 1 + level * rng(seed).normal(size=len(truth))
    return np.stack([logit, truth[:, 1] + level * rng(seed + 1).normal(size=len(truth))], axis=1)


def test_errors_are_those_worked_out_by_hand():
    truth = np.array(
        [[0, 60], [1, 70], [0, 80], [1, 90], [0, 100], [1, 110], [0, 60], [1, 70], [0, 80], [1, 90]], float
    )
    score = truth.copy()
    score[:, 1] += [1, -1, 3, -3, 2, -2, 1, -1, 3, -3]
    found = arm_numbers({"pretrained": [said(score, truth)]})
    assert found["hr.pretrained.internal.mae"].value == pytest.approx(2.0)
    assert found["hr.pretrained.internal.rmse"].value == pytest.approx(np.sqrt(48 / 10))
    assert found["hr.pretrained.internal.bias"].value == pytest.approx(0)
    assert found["hr.pretrained.internal.upper"].value == pytest.approx(1.959964 * np.sqrt(4.8))
    assert found["af.pretrained.internal.auroc"].value == 1
    assert found["hr.pretrained.mae"] == found["hr.pretrained.internal.mae"]


def test_metrics_are_those_of_other_libraries():
    truth = truths()
    score = noisy(truth, 2.0)
    found = arm_numbers({"pretrained": [said(score, truth)]})
    assert found["af.pretrained.auroc"].value == pytest.approx(roc_auc_score(truth[:, 0], score[:, 0]))
    assert found["hr.pretrained.r"].value == pytest.approx(pearsonr(truth[:, 1], score[:, 1])[0])


def test_an_arm_does_not_differ_from_itself_and_a_swapped_sign_shows():
    truth = truths()
    good, bad = said(noisy(truth, 1.0), truth), said(noisy(truth, 4.0), truth)
    same = arm_numbers({"pretrained": [good], "scratch": [good]})
    assert same["hr.pretrained.internal.minus_scratch"].value == 0
    assert same["hr.pretrained.internal.minus_scratch"].high == 0
    found = arm_numbers({"pretrained": [good], "shuffled": [bad]})
    assert found["hr.pretrained.internal.minus_shuffled"].high < 0
    assert found["af.pretrained.internal.minus_shuffled"].low > 0
    assert found["record.hr.internal.minus_shuffled"].low > 0
    assert found["record.af.internal.minus_shuffled"].low > 0
    worse = arm_numbers({"pretrained": [bad], "shuffled": [good]})
    assert worse["record.hr.internal.minus_shuffled"].high < 0


def test_the_interval_of_a_difference_is_paired():
    truth = truths()
    score = noisy(truth, 6.0)
    nearly = score.copy()
    nearly[:, 1] = truth[:, 1] + 0.99 * (score[:, 1] - truth[:, 1])
    found = arm_numbers({"pretrained": [said(nearly, truth)], "scratch": [said(score, truth)]})
    own, difference = found["hr.pretrained.internal.mae"], found["hr.pretrained.internal.minus_scratch"]
    assert difference.high < 0
    assert difference.high - difference.low < 0.1 * (own.high - own.low)


def test_the_order_of_the_rows_changes_nothing_but_the_draws():
    truth = truths()
    score, order = noisy(truth, 2.0), rng(9).permutation(200)
    one = said(score, truth)
    found, other = arm_numbers({"pretrained": [one]}), arm_numbers({"pretrained": [one.take(order)]})
    assert {k: v.value for k, v in found.items()} == pytest.approx({k: v.value for k, v in other.items()})


def test_more_recordings_of_the_same_people_do_not_narrow_the_interval():
    truth = truths(60)
    score = noisy(truth, 2.0)
    subject = np.array([f"s{i}" for i in range(60)])
    once = arm_numbers({"pretrained": [said(score, truth, subject)]})["hr.pretrained.mae"]
    many = said(np.repeat(score, 8, axis=0), np.repeat(truth, 8, axis=0), np.repeat(subject, 8))
    often = arm_numbers({"pretrained": [many]})["hr.pretrained.mae"]
    assert (once.low, once.high, once.n) == pytest.approx((often.low, often.high, often.n))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for trial in range(60):
        truth = np.stack([np.full(60, np.nan), rng(trial).normal(75, 12, 60)], axis=1)
        score = truth + rng(1000 + trial).normal(size=truth.shape)
        item = arm_numbers({"pretrained": [said(score, truth)]})["hr.pretrained.mae"]
        held += item.low <= np.sqrt(2 / np.pi) <= item.high
    assert 50 <= held <= 60


def test_arms_of_other_recordings_are_refused():
    truth = truths()
    one = said(noisy(truth, 1.0), truth)
    with pytest.raises(RunError, match="the arm scratch was not tested on the recordings of the others"):
        arm_numbers({"pretrained": [one], "scratch": [one.take(np.arange(100))]})


def test_a_task_with_too_few_subjects_or_one_kind_is_left_out():
    truth = truths()
    truth[:, 0] = 0
    truth[4:, 1] = np.nan
    assert arm_numbers({"pretrained": [said(noisy(truths(), 1.0), truth)]}) == {}


def test_seeds_are_averaged_in_their_error():
    truth = truths()
    parts = [said(noisy(truth, level, seed=level), truth, seed=level) for level in (1, 3)]
    each = [arm_numbers({"pretrained": [part]})["hr.pretrained.mae"].value for part in parts]
    assert arm_numbers({"pretrained": parts})["hr.pretrained.mae"].value == pytest.approx(np.mean(each))
    stacked = replace(
        parts[0], **{name: np.concatenate([getattr(p, name) for p in parts])
                     for name in ("score", "truth", "record", "subject", "split", "seed")},
    )  # fmt: skip
    assert [part.score.tolist() for part in split_seeds(stacked)] == [part.score.tolist() for part in parts]


def test_only_what_beats_the_mean_on_the_validation_part_is_given_out():
    truth = truths()
    mean = np.full(truth.shape, truth.mean(axis=0))
    useful, useless = noisy(truth, 2.0), mean + rng(5).normal(size=truth.shape)
    for score, expected in ((useful, True), (useless, False), (mean, False)):
        assert gates(said(score, truth, split="valid"), said(mean, truth, split="valid")) == {"hr": expected}
    tested = said(useful, truth, split="internal")
    assert gates(tested, said(mean, truth, split="internal")) == {"hr": False}


def test_few_labels_are_told_by_share_and_arm():
    truth = truths()
    arms = {"pretrained": [said(noisy(truth, 1.0), truth)], "untrained": [said(noisy(truth, 4.0), truth)]}
    found = few_numbers({"0.05": arms})
    assert found["hr.labels.0.05.pretrained"].value < found["hr.labels.0.05.untrained"].value
    assert found["hr.labels.0.05.minus_untrained"].high < 0
    assert set(found) == {
        f"{task}.labels.0.05.{arm}" for task in NAMES for arm in ("pretrained", "untrained", "minus_untrained")
    }


def test_arms_are_told_in_order_and_nobody_tested_is_refused():
    assert ordered(["mean", "zebra", "pretrained", "fused"]) == ["pretrained", "fused", "mean", "zebra"]
    truth = truths()
    with pytest.raises(ScoreError, match="nobody was tested"):
        refuse_nobody(said(noisy(truth, 1.0), truth, split="valid"))
