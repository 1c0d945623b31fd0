"""A machine that no network was trained on, heard by what its normals score against each other."""

import numpy as np
import pytest
from torch import nn

from stethos.errors import QualityError
from stethos.signal.clip import ClipWindows
from stethos.study.detector import Detector, Memory
from stethos.study.distances import cosine
from stethos.study.enrol import COUNTS, enrolled, enrolment_curve


def around(angle: float, count: int, spread: float, seed: int = 0) -> np.ndarray:
    """Points on the circle, `(count, 2)`."""
    angles = angle + spread * np.random.default_rng(seed).standard_normal(count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def detector(networks: int = 1) -> Detector:
    known = Memory(
        (around(0, 5, 0.1),) * networks,
        np.zeros(5, int),
        np.full(5, ""),
        np.array([f"n{number}" for number in range(5)]),
        ("fan",),
        np.zeros(1, int),
        np.array([0.5]),
    )
    return Detector([nn.Identity()] * networks, ClipWindows(1.0), known, "nearest")


def test_the_threshold_is_the_90th_percentile_of_what_each_normal_scores_against_the_others():
    heard = around(2, 20, 0.1)
    found = enrolled(detector(), "pump41", [heard])
    apart = cosine(heard, heard) + 9 * np.eye(20)
    want = np.sort(apart.min(axis=1))[-2]  # of 20 the 19th: the smallest that nine tenths do not exceed
    assert found.memory.threshold.tolist() == pytest.approx([0.5, want])
    assert found.memory.machines == ("fan", "pump41")
    assert found.memory.embedding[0][5:].tolist() == heard.tolist()


def test_several_networks_are_left_out_together():
    one, two = around(2, 8, 0.1), around(1, 8, 0.3, seed=1)
    both = enrolled(detector(2), "pump41", [one, two]).memory.threshold[1]
    apart = [(cosine(heard, heard) + 9 * np.eye(8)).min(axis=1) for heard in (one, two)]
    assert both == pytest.approx(np.quantile(np.mean(apart, axis=0), 0.9, method="higher"))


def test_what_is_far_from_the_enrolled_normals_is_above_the_threshold_and_more_of_them_are_below():
    found = enrolled(detector(), "pump41", [around(2, 30, 0.05)])
    place, limit = found.machine_of("pump41"), found.memory.threshold[1]
    assert (found.judge([around(2.5, 10, 0.05)], place) > limit).all()
    assert (found.judge([around(2, 200, 0.05, seed=3)], place) <= limit).mean() > 0.8


def test_enrolling_again_replaces_and_changes_no_other_machine():
    first = enrolled(detector(), "pump41", [around(2, 10, 0.05)])
    again = enrolled(first, "pump41", [around(4, 5, 0.05)])
    assert (again.memory.machine == 1).sum() == 5
    assert again.memory.threshold[0] == 0.5
    assert again.judge([around(4, 1, 0)], 1) < again.judge([around(2, 1, 0)], 1)


def test_two_recordings_are_too_few_and_three_that_are_copies_are_enough():
    with pytest.raises(QualityError, match="enrolling pump41 needs 3 normal recordings; got 2: record more of them"):
        enrolled(detector(), "pump41", [around(2, 2, 0.1)])
    assert enrolled(detector(), "pump41", [around(2, 3, 0)]).memory.threshold[1] == pytest.approx(0, abs=1e-12)


def test_the_curve_rises_with_the_number_of_normals_and_is_one_where_nothing_overlaps():
    tested = np.concatenate([around(2, 30, 0.2, seed=5), around(3, 30, 0.2, seed=6)]), np.repeat([0, 1], 30)
    curve = enrolment_curve(detector(), "new", [around(2, 60, 0.2)], ([tested[0]], tested[1]), draws=30)
    assert [point.count for point in curve] == [count for count in COUNTS if count <= 60]
    areas = [point.auroc.value for point in curve]
    assert areas[-1] > areas[0]
    assert all(point.auroc.low <= point.auroc.value <= point.auroc.high for point in curve)
    assert (curve[0].auroc.n, curve[0].auroc.events) == (60, 30)
    far = np.concatenate([around(2, 30, 0.01), around(5, 30, 0.01)])
    sure = enrolment_curve(detector(), "new", [around(2, 4, 0.01)], ([far], np.repeat([0, 1], 30)), draws=3)
    assert [(point.count, point.auroc.value) for point in sure] == [(3, 1.0)]


def test_the_curve_is_that_of_its_seed():
    tested = [around(2.2, 20, 0.3)], np.tile([0, 1], 10)
    once, again, other = (
        enrolment_curve(detector(), "new", [around(2, 12, 0.2)], tested, draws=4, seed=seed) for seed in (1, 1, 2)
    )
    assert once == again != other
