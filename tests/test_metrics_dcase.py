"""The scores of anomalous sound detection against numbers worked by hand, scikit-learn, and simulated identities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import hmean, norm
from sklearn.metrics import roc_auc_score

from stethos.errors import ScoreError
from stethos.metrics.curves import Areas, Clips, Resampling
from stethos.metrics.dcase import (
    RULES,
    estimate,
    evaluate,
    mauc,
    official,
    official_2020,
    official_2021,
    official_2022,
    paired,
    point,
    pooled_auc,
    pooled_pauc,
)
from stethos.metrics.footing import Footing
from stethos.metrics.interval import clustered_auroc
from stethos.metrics.rules import harmonic_mean
from stethos.metrics.stratified import Strata, roc_areas


def table(rows):
    """Clips and scores from (machine, section, domain, scores of the normals, scores of the anomalies)."""
    flat = [
        (truth, machine, section, domain, score)
        for machine, section, domain, normal, anomalous in rows
        for truth, scores in ((0, normal), (1, anomalous))
        for score in scores
    ]
    truth, machine, section, domain, score = (np.array(column) for column in zip(*flat, strict=True))
    return Clips(truth, machine, section, domain), score.astype(float)


def world(seed=0, sections=3, size=40, shift=1.0):
    """Two machines of a few sections with two domains each."""
    generator = np.random.default_rng(seed)
    rows = [
        (machine, f"section_{k:02d}", domain, generator.normal(size=size), generator.normal(shift, 1, size))
        for machine in ("fan", "pump")
        for k in range(sections)
        for domain in ("source", "target")
    ]
    return table(rows)


# worked by hand


def test_2020_is_the_mean_over_machines_of_the_mean_over_identities():
    clips, score = table(
        [
            ("fan", "id_00", "", [1, 2], [3, 4]),  # AUC 1
            ("fan", "id_02", "", [1, 3], [2, 4]),  # 3 of 4 pairs
            ("pump", "id_00", "", [1, 4], [2, 3]),  # 2 of 4 pairs
        ]
    )
    named = evaluate(clips, score, 2020, Resampling(20)).named
    assert named["auc_2020"].value == pytest.approx(((1 + 0.75) / 2 + 0.5) / 2)
    # with two normals a tenth of false positives is the first fifth of the way to one of them: (0, a) to (0.1, a),
    # a the share of anomalies above both. So A = 0.1 a and pAUC = ½ [1 + (0.1 a − 0.005) / 0.095]
    partial = [(1 + (0.1 * a - 0.005) / 0.095) / 2 for a in (1, 0.5, 0)]
    assert named["pauc_2020"].value == pytest.approx(((partial[0] + partial[1]) / 2 + partial[2]) / 2)
    assert named["official_2020"].value == pytest.approx((named["auc_2020"].value + named["pauc_2020"].value) / 2)
    assert named["mauc"].value == pytest.approx((0.75 + 0.5) / 2)


def test_2021_looks_at_each_domain_alone_and_2022_sets_its_normals_against_all_anomalies():
    clips, score = table(
        [
            ("valve", "section_00", "source", [1, 2], [5, 2.5]),
            ("valve", "section_00", "target", [3, 4], [4.5, 0]),
        ]
    )
    areas = Areas.of(clips, score)
    auc = {curve.name: area for curve, area in zip(areas.curves, areas.auc, strict=True)}
    assert auc["valve/section_00, source alone"] == 1
    assert auc["valve/section_00, target alone"] == 0.5
    assert auc["valve/section_00, source against all"] == 6 / 8  # 0 is below both
    assert auc["valve/section_00, target against all"] == 4 / 8
    pauc = {curve.name: area for curve, area in zip(areas.curves, areas.pauc, strict=True)}
    alone = [(1 + (0.1 * a - 0.005) / 0.095) / 2 for a in (1, 0.5)]
    assert pauc["valve/section_00, source alone"] == pytest.approx(alone[0])
    assert pauc["valve/section_00, target alone"] == pytest.approx(alone[1])
    assert pauc["valve/section_00"] == pytest.approx(alone[1])  # of all four anomalies two are above all four normals
    assert point(official_2021, clips, score) == pytest.approx(4 / (1 / 1 + 1 / 0.5 + 1 / alone[0] + 1 / alone[1]))
    assert point(official_2022, clips, score) == pytest.approx(3 / (1 / 0.75 + 1 / 0.5 + 1 / alone[1]))


def test_pooling_is_not_the_mean_and_may_be_lower_or_higher():
    # both identities are ranked without a slip, but on scales of their own: no one threshold suits both
    shifted = [("fan", "id_00", "", [0, 1], [2, 3]), ("fan", "id_02", "", [10, 11], [12, 13])]
    clips, score = table(shifted)
    assert point(official_2020, clips, score) == 1
    assert point(pooled_auc, clips, score) == 12 / 16
    # at chance within each, but the identity with more anomalies scores higher
    uneven = [("fan", "id_00", "", [0, 2, 0, 2], [1]), ("fan", "id_02", "", [11], [10, 12, 10, 12])]
    clips, score = table(uneven)
    assert evaluate(clips, score, None, Resampling(20)).named["auc_2020"].value == 0.5
    assert point(pooled_auc, clips, score) == (2 + 2 + 4 * 4) / 25  # half within each, 16 across, 0 of 1 back


def test_a_harmonic_mean_with_a_zero_is_zero():
    assert harmonic_mean(np.array([1.0, 0.5])) == pytest.approx(2 / 3)
    assert harmonic_mean(np.array([[0.4, 0.9, 0.0], [0.4, 0.9, 0.7]])) == pytest.approx([0, hmean([0.4, 0.9, 0.7])])
    clips, score = table([("fan", "section_00", d, [2, 3], [0, 1]) for d in ("source", "target")])
    assert point(official_2022, clips, score) == 0


def test_the_year_names_the_rule():
    assert official(None) is official(float("nan")) is official(2020.0) is official_2020
    assert official(2021) is official_2021
    assert official(2022) is official(2024) is official_2022
    with pytest.raises(ScoreError, match="began in 2020; got 2019"):
        official(2019)


# independent implementations


def peer(clips, score, rows, **options):
    return roc_auc_score(clips.truth[rows], score[rows], **options)


@given(st.integers(0, 10_000), st.integers(2, 12), st.booleans())
@settings(max_examples=10, deadline=None)
def test_every_score_is_that_of_scikit_learn_combined_by_hand(seed, size, ties):
    clips, score = world(seed, sections=2, size=size, shift=0.7)
    score = score.round() if ties else score
    of = {"auc": {}, "pauc": {}}
    for name, options in (("auc", {}), ("pauc", {"max_fpr": 0.1})):
        for machine in ("fan", "pump"):
            whole = clips.machine == machine
            of[name][machine] = peer(clips, score, whole, **options)
            for section in ("section_00", "section_01"):
                own = whole & (clips.section == section)
                of[name][machine, section] = peer(clips, score, own, **options)
                for side in ("source", "target"):
                    inside = clips.domain == side
                    of[name][machine, section, side] = peer(clips, score, own & inside, **options)
                    of[name][machine, section, side, "all"] = peer(
                        clips, score, own & (inside | (clips.truth == 1)), **options
                    )

    def values(kind, length):
        return [item for key, item in of[kind].items() if len(key) == length and not isinstance(key, str)]

    def pooled(kind):
        return np.mean([of[kind]["fan"], of[kind]["pump"]])

    assert point(official_2020, clips, score) == pytest.approx(np.mean([values("auc", 2), values("pauc", 2)]))
    assert point(official_2021, clips, score) == pytest.approx(
        hmean(np.maximum(values("auc", 3) + values("pauc", 3), np.finfo(float).eps)), abs=1e-12
    )
    assert point(official_2022, clips, score) == pytest.approx(
        hmean(np.maximum(values("auc", 4) + values("pauc", 2), np.finfo(float).eps)), abs=1e-12
    )
    assert point(pooled_auc, clips, score) == pytest.approx(pooled("auc"))
    assert point(pooled_pauc, clips, score) == pytest.approx(pooled("pauc"))
    least = [min(of["auc"][machine, f"section_0{k}"] for k in (0, 1)) for machine in ("fan", "pump")]
    assert point(mauc, clips, score) == pytest.approx(np.mean(least))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-4, 4), st.integers(0, 3)), max_size=40), st.sampled_from([0.1, 0.5])
)
@settings(max_examples=80, deadline=None)
def test_areas_with_weights_are_those_of_scikit_learn(rows, edge):
    rows = [*rows, (True, 0, 1), (False, 0, 2)]
    event, score, times = (np.array(column) for column in zip(*rows, strict=True))
    whole, partial = roc_areas(event, score.astype(float), times[None].astype(np.int32), edge)
    assert whole[0] == pytest.approx(roc_auc_score(event, score, sample_weight=times), abs=1e-12)
    assert partial[0] == pytest.approx(roc_auc_score(event, score, sample_weight=times, max_fpr=edge), abs=1e-12)


def test_infinite_scores_rank_at_the_ends():
    event, score = np.array([1, 0, 1, 0], bool), np.array([np.inf, np.inf, 4.0, -np.inf])
    assert roc_areas(event, score, np.ones((1, 4), np.int32))[0][0] == (1.5 + 1) / 4


# invariances


@given(st.integers(0, 1000), st.sampled_from([np.exp, np.arctan, lambda score: 3 * score - 7]))
@settings(max_examples=15, deadline=None)
def test_a_rising_transform_of_all_scores_changes_nothing(seed, bend):
    clips, score = world(seed, sections=2, size=8)
    before, after = Areas.of(clips, score), Areas.of(clips, bend(score))
    assert np.array_equal(before.auc, after.auc)
    assert np.array_equal(before.pauc, after.pauc)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_rows_changes_neither_a_score_nor_its_interval(seed):
    clips, score = world(seed, sections=2, size=8)
    order = np.random.default_rng(seed).permutation(len(score))
    columns = clips.truth, clips.machine, clips.section, clips.domain, np.arange(len(score))
    one = evaluate(Clips(*columns), score, 2022, Resampling(50))
    other = evaluate(Clips(*(column[order] for column in columns)), score[order], 2022, Resampling(50))
    for name, first in one.named.items():
        second = other.named[name]
        assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


def test_a_shift_of_one_identity_moves_the_pooled_score_alone():
    clips, score = world()
    moved = score + 5 * (clips.section == "section_01")
    for name, rule in RULES.items():
        same = point(rule, clips, moved) == pytest.approx(point(rule, clips, score))
        assert same == (not name.startswith("pooled"))


# what cannot be estimated


def test_an_identity_with_one_class_is_listed_with_the_reason_and_in_no_mean():
    clips, score = table([("fan", "id_00", "", [1, 3], [2, 4]), ("fan", "id_02", "", [1, 2, 3], [])])
    found = evaluate(clips, score, None, Resampling(20))
    (left_out,) = found.not_estimated
    assert (left_out.name, left_out.reason) == ("fan/id_02", "no anomalous clip among 3")
    assert found.named["auc_2020"].value == 0.75
    assert (found.named["auc_2020"].n, found.named["auc_2020"].events) == (4, 2)
    assert found.named["pooled_auc"].n == 7
    assert [row.auc is None for row in found.curves] == [False, False, True]


def test_a_domain_without_clips_and_clips_without_a_domain_are_listed():
    rows = [("fan", "section_00", d, [1, 2], [3]) for d in ("source", "target")]
    clips, score = table([*rows, ("fan", "section_01", "source", [1, 2], [3]), ("pump", "section_00", "", [1], [2])])
    reasons = {curve.name: curve.reason for curve in evaluate(clips, score, 2022, Resampling(20)).not_estimated}
    assert reasons["fan/section_01, target alone"] == "no normal clip among 0"
    assert reasons["fan/section_01, target against all"] == "no normal clip among 1"
    assert reasons["pump/section_00, source against all"] == "2 of 2 clips have no known domain"
    assert len(reasons) == 6


def test_without_domains_the_scores_of_later_years_are_refused_and_not_among_the_named():
    clips, score = table([("fan", "id_00", "", [1, 2], [3])])
    assert set(RULES) - set(evaluate(clips, score, None, Resampling(20)).named) == {"official_2021", "official_2022"}
    for year in (2021, 2022):
        with pytest.raises(ScoreError, match="needs the domain"):
            estimate(official(year), clips, score, Resampling(20))


def test_clips_of_one_class_alone_are_refused():
    clips, score = table([("fan", "id_00", "", [1, 2], [])])
    with pytest.raises(ScoreError, match="fan/id_00 has no anomalous clip among 2"):
        point(official_2020, clips, score)


def test_unknown_truths_are_left_out_and_need_no_score():
    clips, score = world()
    truth = np.append(clips.truth, np.nan)
    more = (np.append(column, column[-1:]) for column in (clips.machine, clips.section, clips.domain))
    assert point(official_2022, Clips(truth, *more), np.append(score, np.nan)) == point(official_2022, clips, score)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truth": [0, 2]}, "0 .normal., 1 .anomalous. or NaN; got 2"),
        ({"truth": [np.nan, np.nan]}, "known truth"),
        ({"domain": ["source", "elsewhere"]}, "'elsewhere'"),
        ({"section": ["id_00"]}, "equally long"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    columns = {"truth": [0, 1], "machine": ["fan"] * 2, "section": ["id_00"] * 2, "domain": [None, "source"]}
    with pytest.raises(ScoreError, match=said):
        Clips(**{name: np.array(column) for name, column in (columns | change).items()})


def test_a_missing_score_and_a_single_draw_are_refused():
    clips, score = world(size=3)
    with pytest.raises(ScoreError, match="NaN"):
        point(official_2020, clips, np.where(score == score.max(), np.nan, score))
    with pytest.raises(ScoreError, match="at least 2 draws"):
        estimate(official_2020, clips, score, Resampling(1))


# intervals


def test_strata_keep_their_sizes_and_clips_of_one_recording_come_together():
    stratum, subject = np.array(list("aaaabbb")), np.array([1, 1, 2, 3, 1, 2, 3])
    times = Strata.of(stratum, subject).draw(400, np.random.default_rng(0).spawn(2))
    assert np.array_equal(times[:, 0], times[:, 1])  # of one recording
    assert not np.array_equal(times[:, 0], times[:, 4])  # the same name in another stratum
    assert np.all(times[:, 4:].sum(axis=1) == 3)
    assert np.all(times[:, [0, 2, 3]].sum(axis=1) == 3)
    assert times.mean(axis=0) == pytest.approx(np.ones(7), abs=0.12)


def test_the_interval_of_one_curve_is_that_of_delong():
    # drawn within the classes: DeLong's variance, up to the noise of 4000 draws
    clips, score = table([("fan", "id_00", "", *np.random.default_rng(3).normal([[0], [1]], 1, (2, 80)))])
    ours = estimate(RULES["auc_2020"], clips, score, Resampling(4000))
    theirs = clustered_auroc(clips.truth, score, np.arange(160))
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=3e-3)
    assert (ours.n, ours.events) == (160, 80)


def test_repeating_every_clip_under_its_recording_changes_no_interval_and_as_clips_of_their_own_narrows_it():
    clips, score = world(size=12)
    columns = [np.repeat(column, 4) for column in (clips.truth, clips.machine, clips.section, clips.domain)]
    own = np.repeat(np.arange(len(score)), 4)
    one = estimate(official_2022, clips, score)
    together = estimate(official_2022, Clips(*columns, own), np.repeat(score, 4))
    apart = estimate(official_2022, Clips(*columns), np.repeat(score, 4))
    assert (one.low, one.high) == pytest.approx((together.low, together.high), abs=1e-6)
    assert apart.high - apart.low < 0.6 * (one.high - one.low)


def test_a_pauc_rests_on_a_tenth_of_the_normals_and_a_mean_on_all_its_sections():
    clips, _ = world(sections=2, size=20)  # 40 of a class in a section, 2 machines × 2 sections
    section = [curve for curve in Areas.of(clips, np.arange(len(clips))).curves if curve.kind == "section"]
    assert Footing.of(section[:1], [], 80, 40).freedom == 40 - 1
    assert Footing.of([], section[:1], 80, 40).freedom == 0.1 * 40 - 1
    assert Footing.of(section, section, 320, 160).freedom == 4 * (0.1 * 40 - 1)
    assert Footing.of(section, [], 320, 160).quantile(0.95) == pytest.approx(1.9754, abs=1e-3)  # Student's, 156 degrees


def test_a_perfect_score_has_an_interval_with_a_width():
    clips, score = table([("fan", f"id_0{k}", "", np.arange(50), np.arange(50, 99)) for k in range(3)])
    found = estimate(official_2020, clips, score)
    assert found.value == found.high == 1
    assert 0.9 < found.low < 0.98


def test_the_same_order_differs_by_exactly_nothing():
    clips, score = world()
    got = paired(official_2022, clips, score, np.exp(score), Resampling(100))
    assert (got.estimate.value, got.estimate.low, got.estimate.high, got.p) == (0, 0, 0, 1)


def test_a_paired_difference_is_narrower_than_either_interval_and_changes_sign_when_exchanged():
    clips, score = world(size=100)
    generator = np.random.default_rng(1)
    worse = score + 0.5 * generator.normal(size=len(score))
    got, back = paired(official_2022, clips, score, worse), paired(official_2022, clips, worse, score)
    first, second = (estimate(official_2022, clips, item) for item in (score, worse))
    assert got.estimate.value == pytest.approx(first.value - second.value)
    assert got.estimate.high - got.estimate.low < 0.8 * (first.high - first.low)
    assert got.estimate.excludes(0) == (got.p < 0.05)
    assert got.p < 0.01
    assert (back.estimate.low, back.estimate.high, back.p) == pytest.approx(
        (-got.estimate.high, -got.estimate.low, got.p)
    )


def test_a_perfect_score_beats_a_constant_only_with_enough_clips():
    def difference(size):
        clips, score = table([("fan", "id_00", "", np.arange(size), np.arange(size, 2 * size))])
        return paired(RULES["auc_2020"], clips, score, np.zeros(2 * size), Resampling(50))

    assert difference(2).p > 0.05 > difference(50).p
    assert difference(50).estimate.value == 0.5


# coverage


def true_areas(shift):
    """AUC and pAUC of two normal distributions a shift apart."""
    area, _ = quad(lambda rate: norm.sf(norm.isf(rate) - shift), 0, 0.1)
    return norm.cdf(shift / np.sqrt(2)), (1 + (area - 0.005) / 0.095) / 2


def simulated(shifts, size, generator):
    """One machine whose sections have known areas."""
    return table(
        [
            ("fan", f"id_{k:02d}", "", generator.normal(size=size), generator.normal(shift, 1, size))
            for k, shift in enumerate(shifts)
        ]
    )


def shifts_of(*aucs):
    return [norm.ppf(auc) * np.sqrt(2) for auc in aucs]


SIMULATED = [
    # rule, true AUC of the sections, normal clips (and anomalous ones) of each
    ("auc_2020", (0.9,), 50),
    ("auc_2020", (0.997,), 100),
    ("pauc_2020", (0.9,), 50),
    ("pauc_2020", (0.97,), 100),
    ("official_2020", (0.8, 0.9, 0.95, 0.99), 100),
    ("official_2020", (0.99, 0.995, 0.999), 100),
    ("mauc", (0.8, 0.9, 0.95), 100),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "aucs", "size"), SIMULATED)
def test_an_interval_holds_the_true_value_at_least_as_often_as_it_says(name, aucs, size):
    """Of 95 % intervals in 500 simulations (one standard error is 1 %).

    rule            true AUC of sections     clips of a class   held
    auc_2020        0.9                      50                 96.2 %
    auc_2020        0.997                    100                98.6 %
    pauc_2020       0.9                      50                 97.8 %
    pauc_2020       0.97                     100                96.6 %
    official_2020   0.8, 0.9, 0.95, 0.99     100                94.4 %
    official_2020   0.99, 0.995, 0.999       100                97.0 %
    mauc            0.8, 0.9, 0.95           100                93.6 %
    official_2022   0.55, 0.65, 0.8          50 a domain        93.8 %, in the test below

    Percentiles of the same draws hold it 84 % of the time for an AUC of 0.997, and 87 % for the pAUC of 50 clips.
    """
    generator, held = np.random.default_rng(0), []
    truths = np.array([true_areas(shift) for shift in shifts_of(*aucs)])
    true = {
        "auc_2020": truths[:, 0].mean(),
        "pauc_2020": truths[:, 1].mean(),
        "official_2020": truths.mean(),
        "mauc": truths[:, 0].min(),
    }[name]
    for _ in range(500):
        clips, score = simulated(shifts_of(*aucs), size, generator)
        held.append(not estimate(RULES[name], clips, score, Resampling(200)).excludes(true))
    assert np.mean(held) > 0.93


@pytest.mark.slow
def test_an_interval_of_the_harmonic_mean_holds_the_true_value():
    generator, held = np.random.default_rng(0), []
    shifts = shifts_of(0.55, 0.65, 0.8)
    true = hmean(np.ravel([[*([auc] * 2), pauc] for auc, pauc in map(true_areas, shifts)]))
    for _ in range(400):
        rows = [
            ("fan", f"section_{k:02d}", side, generator.normal(size=50), generator.normal(shift, 1, 50))
            for k, shift in enumerate(shifts)
            for side in ("source", "target")
        ]
        held.append(not estimate(official_2022, *table(rows), Resampling(200)).excludes(true))
    assert 0.925 < np.mean(held) < 0.985


@pytest.mark.slow
@pytest.mark.parametrize("aucs", [(0.75, 0.9), (0.95, 0.98, 0.99)])
def test_a_difference_of_two_equally_good_scores_is_found_one_time_in_twenty(aucs):
    generator, found = np.random.default_rng(0), []
    for _ in range(500):
        clips, shared = simulated(shifts_of(*aucs), 80, generator)
        pair = [shared + 0.8 * generator.normal(size=len(shared)) for _ in range(2)]
        found.append(paired(official_2020, clips, *pair, Resampling(200)).p < 0.05)
    assert 0.02 < np.mean(found) < 0.08
