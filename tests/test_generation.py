"""Clouds of features, draws against truths, memories and cycles: closed forms, points worked by hand, known limits."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import hadamard, sqrtm

from stethos.errors import ScoreError
from stethos.metrics import resample
from stethos.metrics.clusters import Clusters
from stethos.metrics.generation import (
    circular_error,
    circular_mean,
    cycle_closure,
    density_coverage,
    dispersion_ratio,
    expected_coverage,
    frechet_distance,
    halves_floor,
    interval_coverage,
    kernel_distance,
    membership_auc,
    nearest_ratio,
    precision_recall,
)
from stethos.metrics.interval import resampled

DISTANCES = [frechet_distance, kernel_distance]
OVERLAPS = [precision_recall, density_coverage]


def clouds(rows=(6, 9), width=(1, 4)):
    """Two clouds of the same width."""
    cell = st.floats(-10, 10, width=32)
    return st.integers(*width).flatmap(
        lambda features: st.tuples(*(arrays(np.float64, (count, features), elements=cell) for count in rows))
    )


def double_loop(a, b):
    """The kernel distance by its sums, one pair at a time."""

    def kernel(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows):
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    return within(a) + within(b) - 2 * sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))


def test_in_one_dimension_it_is_the_distance_of_means_and_of_deviations():
    generator = np.random.default_rng(0)
    a, b = generator.normal(2, 3, (40, 1)), generator.normal(-1, 0.5, (70, 1))
    want = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(want, rel=1e-12)


def test_uncorrelated_features_add_up():
    pattern = hadamard(8)[:, 1:5] * np.sqrt(7 / 8)  # four columns of mean 0, variance 1, without correlation
    mean, one, other = np.array([1.0, 0, -2, 3]), np.array([1.0, 2, 3, 0]), np.array([2.0, 2, 1, 5])
    # means 1 + 0 + 4 + 9, deviations 1 + 0 + 4 + 25
    assert frechet_distance(pattern * one + mean, pattern * other) == pytest.approx(44, rel=1e-12)


def test_it_agrees_with_the_root_of_the_product_of_covariances():
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(200, 6)) @ generator.normal(size=(6, 6)), generator.normal(size=(150, 6)) + 1
    covariance = [np.cov(cloud.T) for cloud in (a, b)]
    root = np.trace(sqrtm(covariance[0] @ covariance[1])).real
    shift = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    assert frechet_distance(a, b) == pytest.approx(shift + sum(map(np.trace, covariance)) - 2 * root, rel=1e-9)


def test_fewer_rows_than_features_give_the_distance_in_the_space_that_they_span():
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=(30, 3)), 2 * generator.normal(size=(25, 3)) + 1
    turn = np.linalg.qr(generator.normal(size=(200, 3)))[0]  # into 200 dimensions, lengths kept
    assert frechet_distance(a @ turn.T, b @ turn.T) == pytest.approx(frechet_distance(a, b), rel=1e-10)
    assert frechet_distance(a @ turn.T, a @ turn.T) == pytest.approx(0, abs=1e-12)


def test_a_cloud_and_itself_moved_are_only_the_shift_apart():
    a = np.random.default_rng(3).normal(size=(12, 40))
    assert frechet_distance(a, a + 2) == pytest.approx(4 * 40, rel=1e-12)


def test_the_kernel_distance_is_its_double_loop():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(7, 3)), generator.normal(0.4, 1.5, (9, 3))
    assert kernel_distance(a, b) == pytest.approx(double_loop(a, b), rel=1e-12)


def test_of_one_cloud_the_kernel_distance_is_zero_on_average_and_frechets_is_not():
    generator = np.random.default_rng(0)
    pairs = [(generator.normal(size=(20, 5)), generator.normal(size=(30, 5))) for _ in range(400)]
    kernel, frechet = ([distance(*pair) for pair in pairs] for distance in (kernel_distance, frechet_distance))
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / 20
    assert np.mean(frechet) > 10 * np.std(frechet) / 20


@settings(max_examples=60, deadline=None)
@given(clouds(), st.permutations(range(6)), st.permutations(range(9)))
@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_are_symmetric_and_blind_to_the_order_of_rows(distance, pair, first, second):
    a, b = pair
    size = 1 + np.abs(np.concatenate(pair)).max() ** 6
    assert distance(b, a) == pytest.approx(distance(a, b), rel=1e-7, abs=1e-12 * size)
    assert distance(a[list(first)], b[list(second)]) == pytest.approx(distance(a, b), rel=1e-7, abs=1e-12 * size)


@settings(max_examples=60, deadline=None)
@given(clouds(), st.floats(0.1, 10), st.floats(-5, 5))
def test_frechets_distance_is_not_negative_and_grows_with_the_square_of_the_scale(pair, scale, shift):
    a, b = pair
    found = frechet_distance(a, b)
    assert found >= 0
    assert 0 <= frechet_distance(a, a[::-1]) < 1e-10 * (1 + np.sum(a**2))
    assert frechet_distance(a * scale + shift, b * scale + shift) == pytest.approx(found * scale**2, rel=1e-6, abs=1e-7)


def test_halves_of_one_cloud_are_as_far_apart_as_two_samples_of_their_size():
    generator = np.random.default_rng(0)
    cloud = generator.normal(size=(400, 8))
    samples = [frechet_distance(generator.normal(size=(200, 8)), generator.normal(size=(200, 8))) for _ in range(20)]
    floor = halves_floor(cloud, frechet_distance, seed=1, repeats=20)
    assert floor == pytest.approx(np.mean(samples), rel=0.2)
    assert floor == halves_floor(cloud, frechet_distance, seed=1, repeats=20) != halves_floor(cloud, frechet_distance)


def test_halves_are_disjoint_and_equally_large():
    seen = []

    def record(a, b):
        seen.append((set(a.ravel()), set(b.ravel())))
        return float(len(seen))

    assert halves_floor(np.arange(7.0)[:, None], record, repeats=3) == 2
    assert all(len(a) == len(b) == 3 and not a & b for a, b in seen)
    assert seen[0] != seen[1]


def test_precision_and_recall_of_points_on_a_line_worked_by_hand():
    real, generated = np.array([[0.0], [1], [3], [7]]), np.array([[0.5], [2], [20], [21], [22.5]])
    # reach to the nearest other: real 1, 1, 2, 4; generated 1.5, 1.5, 1, 1, 1.5
    # generated 0.5 and 2 lie within; real 0 and 1 lie within 0.5's, 1 and 3 within 2's, 7 within none
    assert precision_recall(real, generated, neighbours=1) == (2 / 5, 3 / 4)
    # second nearest: real 3, 2, 3, 6; generated 18 about 2: now 7 is reached, and 20 by none still
    assert precision_recall(real, generated, neighbours=2) == (2 / 5, 1)


def test_density_and_coverage_of_points_on_a_line_worked_by_hand():
    real, generated = np.array([[0.0], [1], [3], [7]]), np.array([[0.5], [2], [20], [21], [22.5]])
    # reach 1, 1, 2, 4: 0.5 is in two (0 and 1), 2 in two (1 and 3), the others in none; 0, 1 and 3 reach any
    assert density_coverage(real, generated, neighbours=1) == (4 / 5, 3 / 4)
    # reach 3, 2, 3, 6: 0.5 is in three (all but 7), 2 in four; over k = 2
    assert density_coverage(real, generated, neighbours=2) == ((3 + 4) / 2 / 5, 1)


def test_generated_rows_on_one_real_row_are_precise_dense_and_cover_nothing_else():
    real = np.random.default_rng(0).normal(size=(200, 4))
    generated = real[:1] + 1e-6 * np.random.default_rng(1).normal(size=(100, 4))
    precision, recall = precision_recall(real, generated)
    assert precision == 1
    assert recall <= 1 / 200
    assert density_coverage(real, generated)[1] < 0.15


def test_a_perfect_generator_has_density_one_and_covers_all_but_one_in_two_to_the_k():
    generator = np.random.default_rng(0)
    found = [
        density_coverage(generator.normal(size=(150, 3)), generator.normal(size=(150, 3)), neighbours=3)
        for _ in range(60)
    ]
    assert np.mean(found, axis=0) == pytest.approx([1, 1 - 1 / 8], abs=0.02)


@settings(max_examples=60, deadline=None)
@given(clouds(rows=(7, 9)), st.permutations(range(7)), st.permutations(range(9)), st.sampled_from([0.25, 2.0, 64.0]))
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_overlaps_know_neither_order_nor_scale(overlap, pair, first, second, scale):
    real, generated = pair
    found = overlap(real, generated)
    assert found[0] >= 0
    assert 0 <= found[1] <= 1
    assert overlap(real[list(first)] * scale, generated[list(second)] * scale) == pytest.approx(found)


@settings(max_examples=60, deadline=None)
@given(clouds(rows=(7, 9)))
def test_precision_one_way_round_is_recall_the_other(pair):
    assert precision_recall(*pair) == precision_recall(*pair[::-1])[::-1]


@pytest.mark.parametrize("measure", [*DISTANCES, *OVERLAPS])
def test_clouds_that_cannot_be_compared_are_refused(measure):
    cloud = np.random.default_rng(0).normal(size=(10, 3))
    broken = cloud.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ScoreError, match=r"shapes \(10, 3\) and \(10, 2\)"):
        measure(cloud, cloud[:, :2])
    with pytest.raises(ScoreError, match="finite features"):
        measure(cloud, broken)
    with pytest.raises(ScoreError, match="got 1 and 10"):
        measure(cloud[:1], cloud)


@pytest.mark.parametrize(("draws", "level"), [(2, 0.8), (5, 0.9), (16, 0.8), (40, 0.5)])
def test_expected_coverage_is_what_exact_draws_of_a_bell_reach(draws, level):
    generator = np.random.default_rng(0)
    drawn, truth = generator.normal(size=(200_000, draws)), generator.normal(size=200_000)
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=1)
    assert expected_coverage(draws, level) == pytest.approx(np.mean((low <= truth) & (truth <= high)), abs=0.004)


def test_expected_coverage_at_whole_places_is_a_share_of_ranks():
    assert expected_coverage(11, 0.8) == pytest.approx(8 / 12)  # between the 2nd and the 10th of 11 draws
    assert expected_coverage(41, 0.9) == pytest.approx(36 / 42)
    assert expected_coverage(16, 0.8) == pytest.approx(0.714, abs=0.0005)
    assert expected_coverage(5000, 0.8) == pytest.approx(0.8, abs=0.001)


def test_coverage_counts_truths_between_the_quantiles():
    draws = np.tile(np.arange(11.0), (6, 1))  # the middle 80 % are 1 to 9
    got = interval_coverage(draws, np.array([0.9, 1.1, 5, 8.9, 9.1, np.nan]))
    assert (got.value, got.n, got.events) == (3 / 5, 5, None)
    assert got.low < 0.6 < got.high
    assert got.level == 0.95


def test_draws_of_the_posterior_cover_what_is_expected_and_overconfident_ones_less():
    generator = np.random.default_rng(0)
    centre = generator.normal(size=(1500, 1))
    truth = centre[:, 0] + generator.normal(size=1500)
    noise = generator.normal(size=(1500, 16))
    exact, sure, vague = (interval_coverage(centre + width * noise, truth) for width in (1, 0.5, 2))
    assert not exact.excludes(expected_coverage(16, 0.8))
    assert sure.high < expected_coverage(16, 0.8) < vague.low
    assert exact.excludes(0.8)  # held against 0.8 itself, exact draws would look overconfident


def test_rows_of_one_subject_widen_the_interval_of_coverage():
    generator = np.random.default_rng(0)
    subject = np.repeat(np.arange(60), 6)
    truth = generator.normal(size=60)[subject]
    draws = generator.normal(size=(60, 16))[subject]
    by_subject, by_row = (interval_coverage(draws, truth, subject=who) for who in (subject, None))
    assert by_subject.value == by_row.value
    assert by_subject.high - by_subject.low > 2 * (by_row.high - by_row.low)  # √6 = 2.4
    assert by_subject.n == 60


def test_coverage_of_unfit_draws_is_refused():
    with pytest.raises(ScoreError, match=r"2 draws.*got 1 and 0.8"):
        interval_coverage(np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(ScoreError, match=r"of 3 true values; got shape \(4, 5\)"):
        interval_coverage(np.zeros((4, 5)), np.zeros(3))
    with pytest.raises(ScoreError, match="1 are NaN"):
        interval_coverage(np.where(np.eye(4) * [0, 0, 0, 1] > 0, np.nan, 1.0), np.zeros(4))
    with pytest.raises(ScoreError, match="got 16 and 1"):
        expected_coverage(16, 1.0)


def test_half_the_spread_is_a_ratio_of_a_half_with_the_interval_of_two_deviations():
    generator = np.random.default_rng(0)
    real, generated = generator.normal(50, 10, 800), generator.normal(30, 5, 800)
    got = dispersion_ratio(generated, real)
    assert got.value == pytest.approx(generated.std() / real.std())
    # log SD of N Gaussian values has a standard error of √(1 / 2N), the ratio of two √2 times that
    error = got.value * np.sqrt(1 / 800)
    assert (got.low, got.high) == pytest.approx((got.value - 1.96 * error, got.value + 1.96 * error), abs=0.006)
    exact = dispersion_ratio(0.5 * real + 3, real)  # drawn together, their ratio is the same in each draw
    assert (exact.value, exact.low, exact.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_ratio_of_spreads_draws_subjects_as_any_statistic_of_rows_does():
    generator = np.random.default_rng(0)
    subject = np.repeat(np.arange(6), 2)
    real, generated = generator.normal(5, 1, 12), generator.normal(3, 2, 12)
    clusters = Clusters.of(subject)
    slow = resample.of_rows(lambda truth, made: made.std() / truth.std(), clusters, [real, generated])
    want = resampled(slow, clusters, None, 300, 0.95, 4)[0]
    got = dispersion_ratio(generated, real, subject, draws=300, seed=4)
    assert (got.value, got.low, got.high) == pytest.approx((want.value, want.low, want.high))
    assert got.n == 6


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.floats(-100, 100), st.permutations(range(30)))
def test_the_ratio_of_spreads_scales_with_what_is_generated(scale, shift, order):
    generator = np.random.default_rng(0)
    real, generated = generator.normal(size=30), generator.normal(size=30)
    base = dispersion_ratio(generated, real, draws=50)
    assert dispersion_ratio(generated * scale + shift, real, draws=50).value == pytest.approx(base.value * scale)
    assert dispersion_ratio(generated[list(order)], real, draws=50).value == pytest.approx(base.value)
    assert base.low <= base.value <= base.high


def test_a_ratio_to_no_spread_is_refused():
    with pytest.raises(ScoreError, match="5 that are 1"):
        dispersion_ratio(np.arange(5.0), np.ones(5))


def test_a_periodic_cine_closes_and_one_cut_short_does_not():
    turn = 2 * np.pi * np.arange(16) / 16
    angles = np.linspace(0, 2 * np.pi, 24 * 16, endpoint=False)
    ring = np.cos(turn[:, None, None] - angles[None, None])  # every phase is there: each step is the same
    assert cycle_closure(ring) == pytest.approx(1)
    # half a turn, whose chord is 2, with steps of chord 2 sin(π / 16)
    assert cycle_closure(ring[:9]) == pytest.approx(1 / np.sin(np.pi / 16))


def test_closure_worked_by_hand():
    cine = np.array([0, 2, 5, 4], np.uint8)[:, None, None]  # steps 2, 3, 1; back 4
    assert cycle_closure(cine) == 2
    assert cycle_closure(np.stack([cine, cine * 10])).tolist() == [2, 2]
    assert np.isnan(cycle_closure(np.ones((4, 2, 2))))
    with pytest.raises(ScoreError, match=r"3 frames; got shape \(2, 4, 4\)"):
        cycle_closure(np.ones((2, 4, 4)))


def people(seed, rows=150, features=6):
    return np.random.default_rng(seed).normal(size=(rows, features))


def test_nearest_rows_worked_by_hand():
    train, test = np.array([[0.0], [10]]), np.array([[2.0], [13], [16]])  # distances 2, 3, 6
    got = nearest_ratio(np.array([[1.0], [9], [10.5]]), train, test)  # distances 1, 1, 0.5
    assert got.value == pytest.approx(1 / 3)
    assert (got.low, got.high, got.n) == (0.5 / 6, 0.5, 3)
    assert got.low <= got.value <= got.high


def test_a_generator_that_repeats_is_closer_and_tells_who_it_was_trained_on():
    train, others = people(0), people(1)
    repeated = train + 0.01 * people(2)
    assert nearest_ratio(repeated, train, others).high < 0.05
    told = membership_auc(train, others, repeated)
    assert told.value > 0.999
    assert told.low > 0.95
    assert told.n == 300
    assert told.events == 150


def test_an_independent_generator_is_as_far_as_other_people_and_tells_nobody():
    ratio, told = nearest_ratio(people(2), people(0), people(1)), membership_auc(people(0), people(1), people(2))
    assert not ratio.excludes(1)
    assert not told.excludes(0.5)


def test_of_forty_independent_generators_nearly_all_intervals_hold_no_memory():
    held = [
        (
            not membership_auc(*(people(3 * seed + part, 60) for part in range(3))).excludes(0.5),
            not nearest_ratio(*(people(3 * seed + part, 60) for part in range(3)), draws=300).excludes(1),
        )
        for seed in range(40)
    ]
    assert np.all(np.sum(held, axis=0) >= 35)  # 95 % are meant to; 34 or fewer of 40 would come once in 70


def test_a_generator_of_middling_hearts_is_close_to_all_and_remembers_nobody():
    train, others, middling = people(0), people(1), 0.3 * people(2)
    assert nearest_ratio(middling, train, others).high < 1
    assert not membership_auc(train, others, middling).excludes(0.5)


def test_a_split_whose_sides_share_rows_is_refused():
    with pytest.raises(ScoreError, match="check the split"):
        nearest_ratio(people(1), people(0), people(0))


def test_phases_are_compared_the_shorter_way_round():
    assert circular_error(np.array([0.05, 0.4, np.nan]), np.array([0.95, 0.5, 0.1])) == pytest.approx(0.1)
    assert circular_error(np.array([0.0]), np.array([0.5])) == 0.5
    assert circular_mean(np.array([0.9, 0.2])) == pytest.approx(0.05)
    assert circular_mean(np.array([[0.25, 0.35], [0.95, 0.05]])) == pytest.approx([0.3, 0], abs=1e-12)
    assert np.isnan(circular_mean(np.array([[0.0, 0.5], [0.1, np.nan]]))).all()


@given(
    arrays(np.float64, 5, elements=st.floats(0, 1, exclude_max=True)),
    arrays(np.float64, 5, elements=st.floats(0, 1, exclude_max=True)),
    st.floats(0, 1),
    st.permutations(range(5)),
)
def test_circular_measures_turn_with_the_cycle(a, b, turn, order):
    error = circular_error(a, b)
    assert 0 <= error <= 0.5
    assert circular_error(b, a) == pytest.approx(error, abs=1e-9)
    assert circular_error((a + turn) % 1, (b + turn) % 1) == pytest.approx(error, abs=1e-9)
    assert circular_error(a[list(order)], b[list(order)]) == pytest.approx(error)
    assume(np.abs(np.exp(2j * np.pi * a).mean()) > 0.01)
    mean, turned = circular_mean(a), circular_mean((a + turn) % 1)
    assert 0 <= mean < 1
    assert circular_error(np.array([turned]), np.array([mean + turn])) == pytest.approx(0, abs=1e-9)
