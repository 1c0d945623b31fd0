"""From probabilities to the waves of beats: crossings and evidence worked out by hand."""

import numpy as np
import pytest

from stethos.signal.delineator import QRS, RATE, P, T
from stethos.signal.marks import marks, runs, usual

R = np.array([1.0, 2.0, 3.0, 4.0])


def given(beats=R, seconds=5.0, **waves):
    """Shares in which each beat has P, QRS and T of probability 0.95, and a trace that is highest in their middles."""
    count = round(seconds * RATE)
    share, trace = np.zeros((4, count)), np.zeros(count)
    for kind, start, stop in ((P, -0.2, -0.1), (QRS, -0.04, 0.04), (T, 0.2, 0.4)):
        for beat in beats:
            first, last = round((beat + start) * RATE), round((beat + stop) * RATE)
            share[kind, first : last + 1] = 0.95
            trace[first : last + 1] = np.hanning(last - first + 1)
    return share, trace


def test_a_bound_is_where_the_line_between_two_samples_crosses_a_half():
    found = runs(np.array([0, 0, 0.2, 0.8, 1.0, 0.9, 0.4, 0, 0.6, 0.6]))
    # 0.2 to 0.8 is halfway after sample 2; 0.9 to 0.4 is 0.8 after sample 5
    np.testing.assert_allclose(found[0], np.array([2.5, 5.8, 2.7]) / RATE)
    # the last sample ends what reaches the end
    np.testing.assert_allclose(found[1], np.array([7 + 5 / 6, 9, 1.2]) / RATE)
    assert runs(np.zeros(5)).shape == (0, 3)
    assert len(runs(np.zeros(0))) == 0


def test_each_beat_gets_its_own_waves():
    found = marks(*given(), R)
    for name, want in (
        ("p_on", -0.2), ("p_peak", -0.15), ("p_off", -0.1), ("qrs_on", -0.04), ("qrs_off", 0.04),
        ("t_on", 0.2), ("t_peak", 0.3), ("t_off", 0.4),
    ):  # fmt: skip
        np.testing.assert_allclose(found[name], R + want, atol=0.003, err_msg=name)


def test_a_p_wave_before_one_beat_of_many_is_kept_and_no_beat_is_given_that_of_the_others():
    share, trace = given()
    share[P, : round(2.5 * RATE)] = 0
    assert np.isfinite(marks(share, trace, R)["p_on"]).tolist() == [False, False, True, True]
    share[P, : round(3.5 * RATE)] = 0
    assert np.isfinite(marks(share, trace, R)["p_on"]).tolist() == [False, False, False, True]


def test_faint_evidence_counts_where_the_other_beats_have_the_wave_and_not_alone():
    share, trace = given()
    share[P, : round(1.5 * RATE)] *= 0.3
    assert np.isfinite(marks(share, trace, R)["p_on"]).all()  # (0.3 + (0.3 + 3) / 4) / 2 > 0.5
    share, trace = given()
    share[P, round(1.5 * RATE) :] = 0
    share[P] *= 0.75  # (0.71 + 0.71 / 4) / 2 < 0.5
    assert np.isnan(marks(share, trace, R)["p_on"]).all()


def test_the_usual_beat_is_the_mean_over_the_beats_that_reach_so_far():
    share = np.zeros(1250)
    share[round(0.8 * RATE)], share[round(1.8 * RATE)] = 1.0, 0.6
    laid = usual(share, R, before=True)
    at = np.flatnonzero(laid)
    np.testing.assert_array_equal(at, np.rint((R - 0.2) * RATE))
    np.testing.assert_allclose(laid[at], 0.4)
    assert not usual(share, R, before=False)[: round(0.9 * RATE)].any()


def test_qrs_elsewhere_than_at_r_is_another_beats():
    share, trace = given()
    found = marks(share, trace, np.array([1.0, 2.5]))
    assert np.isfinite(found["qrs_on"]).tolist() == [True, False]


@pytest.mark.parametrize("r", [[], [0.0], [4.999], [1.0, 1.0, 1.004], [0.0, 2.5, 4.99]])
def test_any_times_of_r_give_so_many_beats_in_order(r):
    found = marks(*given(), np.array(r))
    bounds = np.stack(
        [found[name] for name in ("p_on", "p_peak", "p_off", "qrs_on", "qrs_off", "t_on", "t_peak", "t_off")]
    )
    assert bounds.shape == (8, len(r))
    assert ((bounds >= 0) & (bounds <= 5) | np.isnan(bounds)).all()
    for beat in bounds.T:
        assert (np.diff(beat[np.isfinite(beat)]) >= -1e-9).all()
