"""What label maps of a beating heart measure: pixels counted by hand, and discs whose radius is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stethos.errors import ScoreError
from stethos.metrics.phenotypes import area_curve, ejection_fraction, phenotypes, smallest_at

FRAMES, SIDE, SPACING = 24, 160, (0.5, 0.4)


def heart(largest=16.0, smallest=10.0, at=0.37, wall=5.0, right=8.0):
    """Labels of a left disc within a ring and a right disc beside it; radii in mm, the left smallest at a phase."""
    phase = np.arange(FRAMES) / FRAMES
    beat = 0.5 + 0.5 * np.cos(2 * np.pi * (phase - at))  # 1 at end systole
    radius = largest - (largest - smallest) * beat
    down, across = np.meshgrid(*(np.arange(SIDE) * step for step in SPACING), indexing="ij")
    away = np.hypot(down - 40.13, across - 24.07)
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for frame, reach, squeeze in zip(labels, radius, beat, strict=True):
        frame[away < reach + wall] = 2
        frame[away < reach] = 1
        frame[np.hypot(down - 40.13, across - 54.09) < right * (1 - 0.2 * squeeze)] = 3
    return labels, radius


def test_four_frames_counted_by_hand():
    labels = np.zeros((4, 3, 4), np.uint8)
    for frame, count in enumerate([6, 4, 3, 5]):
        labels[frame].ravel()[:count] = 1
        labels[frame, 2, :2] = 2
        labels[frame, 2, 2 : 4 - frame % 2] = 3  # 2, 1, 2, 1 pixels
    got = phenotypes(labels, (2.0, 1.5))  # 3 mm² a pixel
    assert (got["ed_area"], got["es_area"], got["myocardium"]) == (18, 9, 6)
    assert (got["rv_ed_area"], got["rv_fac"]) == (6, 0.5)
    assert got["fac"] == 0.5
    assert got["ef"] == pytest.approx(100 * 0.5 / (1 - 4 / 15 * 0.5))
    # neighbours of the smallest, 4 and 5: the parabola's foot lies (4 − 5) / 2 (4 − 6 + 5) of a frame from it
    assert got["es_phase"] == pytest.approx((2 - 1 / 6) / 4)
    assert area_curve(labels, (2.0, 1.5), 1).tolist() == [18, 12, 9, 15]


def test_a_disc_over_a_cosine_cycle_has_the_areas_and_the_phase_it_was_drawn_with():
    labels, radius = heart()
    got = phenotypes(labels, SPACING)
    area = np.pi * radius**2
    assert area_curve(labels, SPACING, 1) == pytest.approx(area, rel=0.005)
    assert got["ed_area"] == pytest.approx(area.max(), rel=0.005)
    assert got["es_area"] == pytest.approx(area.min(), rel=0.005)
    assert got["fac"] == pytest.approx(1 - (radius.min() / radius.max()) ** 2, abs=0.005)
    assert got["rv_ed_area"] == pytest.approx(np.pi * 8**2, rel=0.005)
    assert got["rv_fac"] == pytest.approx(1 - 0.8**2, abs=0.01)
    assert got["es_phase"] == pytest.approx(0.37, abs=0.2 / FRAMES)  # a fifth of a frame
    assert got["myocardium"] == pytest.approx(np.mean(np.pi * ((radius + 5) ** 2 - radius**2)), rel=0.005)


@pytest.mark.parametrize("at", [0.0, 0.01, 0.25, 0.49, 0.98, 0.999])
def test_end_systole_is_found_across_the_seam_of_the_cycle(at):
    error = phenotypes(heart(at=at)[0], SPACING)["es_phase"] - at
    assert abs((error + 0.5) % 1 - 0.5) < 0.2 / FRAMES


def test_a_bullet_that_loses_a_volume_is_given_its_ejection_fraction_back():
    # EF 60 %: length 0.84 of before, volume 0.4, so the area is 0.4 / 0.84
    assert ejection_fraction(np.array(1 - 0.4 / 0.84)) == pytest.approx(60)
    assert ejection_fraction(np.array([0.0, 1.0])) == pytest.approx([0, 100])


@given(st.floats(0.0, 0.99))
def test_the_ejection_fraction_undoes_the_bullet_model(share):
    area = (1 - share) / (1 - 0.16 / 0.6 * share)
    assert ejection_fraction(np.array(1 - area)) == pytest.approx(100 * share, abs=1e-9)


def test_many_cines_at_once_are_those_one_by_one():
    cines = np.stack([heart(smallest=size, at=at)[0] for size, at in ((8, 0.3), (11, 0.4), (14, 0.5))])
    together = phenotypes(cines, SPACING)
    for number, cine in enumerate(cines):
        for name, value in phenotypes(cine, SPACING).items():
            assert together[name].shape == (3,)
            assert together[name][number] == value
    assert phenotypes(cines[:, None], SPACING)["ef"].shape == (3, 1)


@pytest.mark.parametrize(
    ("label", "lost"),
    [
        (1, {"ed_area", "es_area", "fac", "ef", "es_phase"}),
        (2, {"myocardium"}),
        (3, {"rv_ed_area", "rv_fac"}),
    ],
)
def test_a_structure_missing_in_one_frame_leaves_its_own_numbers_unknown_and_no_other(label, lost):
    labels = np.stack([heart()[0]] * 2)
    labels[1, 5][labels[1, 5] == label] = 0
    got = phenotypes(labels, SPACING)
    assert {name for name, column in got.items() if np.isnan(column[1])} == lost
    assert not any(np.isnan(column[0]) for column in got.values())


COARSE = heart()[0][:, ::4, ::4]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 23), st.floats(0.2, 3.0), st.permutations(range(24)))
def test_areas_scale_with_spacing_and_only_the_phase_knows_the_order_of_frames(turn, factor, order):
    labels = COARSE
    base, wide = phenotypes(labels, SPACING), phenotypes(labels, (SPACING[0] * factor, SPACING[1]))
    turned, shuffled = phenotypes(np.roll(labels, turn, axis=0), SPACING), phenotypes(labels[list(order)], SPACING)
    for name, value in base.items():
        grows = factor if name in ("ed_area", "es_area", "myocardium", "rv_ed_area") else 1.0
        assert wide[name] == pytest.approx(value * grows)
        if name != "es_phase":
            assert turned[name] == pytest.approx(value)
            assert shuffled[name] == pytest.approx(value)
    assert 0 <= shuffled["es_phase"] < 1


@settings(deadline=None)
@given(arrays(np.float64, st.integers(3, 12), elements=st.integers(0, 50)), st.integers(0, 11))
def test_the_foot_is_in_the_cycle_and_within_half_a_frame_of_a_smallest_value(course, turn):
    at = smallest_at(np.roll(course, turn))
    assert 0 <= at < 1
    away = (at - np.flatnonzero(np.roll(course, turn) == course.min()) / len(course) + 0.5) % 1 - 0.5
    assert np.abs(away).min() <= 0.5 / len(course) + 1e-12


def test_a_course_just_before_its_start_is_not_at_phase_one():
    at = smallest_at(np.array([0.0, 1 + 4e-16, 2.0, 1.0]))  # the foot is 10⁻¹⁶ of a frame before the first
    assert at == 0


@pytest.mark.parametrize(
    ("labels", "spacing", "message"),
    [
        (np.zeros((4, 4), np.uint8), (1.0, 1.0), r"got uint8 of shape \(4, 4\)"),
        (np.zeros((4, 4, 4)), (1.0, 1.0), "got float64"),
        (np.ones((4, 4, 4), np.uint8), (1.0, 0.0), r"positive pixel spacing.*\(1, 0\)"),
        (np.full((4, 4, 4), 4, np.uint8), (1.0, 1.0), "labels 0 to 3; got 4 to 4"),
        (np.ones((2, 4, 4), np.uint8), (1.0, 1.0), "at least 3 frames; got 2"),
    ],
)
def test_what_cannot_be_measured_is_said(labels, spacing, message):
    with pytest.raises(ScoreError, match=message):
        phenotypes(labels, spacing)
