"""Back ends against numbers worked by hand, scikit-learn, and classes that are too small."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn import covariance
from sklearn.neighbors import NearestNeighbors

from stethos.errors import CohortError, RecipeError, StethosError
from stethos.metrics.ranking import auroc
from stethos.study.backends import (
    BACKENDS,
    NAMES,
    DomainBalanced,
    LocalDensity,
    Mahalanobis,
    MahalanobisByDomain,
    Nearest,
)
from stethos.study.distances import apart, cosine, euclidean, ledoit_wolf

FAN = np.array(["fan/id_00"])


class Embedded(NamedTuple):
    """Clips as a back end is fitted on them."""

    embedding: np.ndarray  # (N, D)
    clazz: np.ndarray  # (N,)
    domain: np.ndarray  # (N,)


def line(*places):
    """Embeddings on a line."""
    return np.array(places, float)[:, None]


def on_line(backend, normals, domains, clips):
    """Scores of clips of one class, all on a line."""
    clazz = np.repeat(FAN, len(normals))
    fitted = backend.fit(line(*normals), clazz, np.array(domains))
    return fitted.score(line(*clips), np.repeat(FAN, len(clips))).tolist()


def worlds(seed=0, width=8, classes=3, size=60):
    """Normals of some classes with their own mean and a shared scatter, and as many others of each."""
    generator = np.random.default_rng(seed)
    turn = generator.normal(size=(width, width))
    clazz = np.repeat([f"fan/id_{k:02d}" for k in range(classes)], size)
    mean = np.repeat(6 * generator.normal(size=(classes, width)), size, axis=0)
    normal, other = (mean + generator.normal(size=(len(clazz), width)) @ turn for _ in range(2))
    return Embedded(normal, clazz, np.full(len(clazz), "")), other


# worked by hand


def test_the_nearest_normals_of_the_own_class_are_averaged():
    normals, clazz = line(0, 1, 5, 100), np.array(["a", "a", "a", "b"])
    two = Nearest(2, euclidean).fit(normals, clazz, clazz)
    # of a clip of a at 4: 1 and 3; of a clip of b at 4 all that there is, 96
    assert two.score(line(4, 4), np.array(["a", "b"])).tolist() == [2, 96]
    # at 90 degrees, and at 180
    turned = Nearest().fit(np.array([[2.0, 0.0]]), FAN, FAN)
    assert turned.score(np.array([[0, 3], [-1, 0], [0, 0], [5, 0]]), np.repeat(FAN, 4)).tolist() == [1, 2, 1, 0]


def test_a_domain_is_measured_in_its_own_spread_and_the_nearer_one_speaks():
    # source normals 1 apart, target normals 10 apart
    normals, domains = (0, 1, 2, 3, 100, 110, 120), ("source",) * 4 + ("target",) * 3
    backend = DomainBalanced(1, euclidean)
    assert on_line(backend, normals, domains, [5, 130, 40]) == [2, 1, (100 - 40) / 10 * 1.0]
    # each domain by itself, without the other's
    assert on_line(backend, normals[:4], domains[:4], [130]) == [127]


def test_a_domain_of_one_clip_borrows_the_spread_of_the_other():
    assert on_line(DomainBalanced(1, euclidean), (0, 2, 4, 50), ("source",) * 3 + ("target",), [54, 10]) == [2, 3]


def test_a_normal_in_a_sparse_region_reaches_further():
    # neighbours 1 apart at 0, 1, 2, and 8 apart at 10, 18
    assert on_line(LocalDensity(1, euclidean), (0, 1, 2, 10, 18), ("",) * 5, [26, 4]) == pytest.approx([1, 6 / 8])


def test_the_distance_to_the_mean_is_in_units_of_the_scatter_within_classes():
    # both classes scatter by ±2 around 0 and 100; in one dimension nothing is shrunk
    fitted = Mahalanobis().fit(line(-2, 2, 98, 102), np.array(["a", "a", "b", "b"]), np.array([""] * 4))
    assert fitted.score(line(4, 100), np.array(["a", "b"])) == pytest.approx([2, 0], abs=1e-4)
    # by domain: means 0 and 100 of one class
    both = MahalanobisByDomain().fit(line(-2, 2, 98, 102), np.repeat(FAN, 4), np.array(list("sstt")))
    assert both.score(line(4, 96), np.repeat(FAN, 2)) == pytest.approx([2, 2], abs=1e-4)


# independent implementations


@given(st.integers(0, 1000), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_distances_are_those_of_scipy_and_neighbours_those_of_scikit_learn(seed, k):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(3, 1, (7, 4)), generator.normal(size=(9, 4))
    for ours, name in ((cosine, "cosine"), (euclidean, "euclidean")):
        assert ours(first, second) == pytest.approx(cdist(first, second, name), abs=1e-9)
        peer = NearestNeighbors(n_neighbors=k, metric=name).fit(second)
        found = Nearest(k, ours).fit(second, np.repeat(FAN, 9), np.repeat("", 9)).score(first, np.repeat(FAN, 7))
        assert found == pytest.approx(peer.kneighbors(first)[0].mean(axis=1), abs=1e-9)
        # without a query a clip is no neighbour of its own
        assert apart(second, k, ours) == pytest.approx(peer.kneighbors()[0].mean(axis=1), abs=1e-9)


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_the_covariance_is_that_of_scikit_learn(seed, count, width):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, width)) @ generator.normal(size=(width, width))
    rows -= rows.mean(axis=0)
    want = covariance.LedoitWolf(assume_centered=True).fit(rows).covariance_
    assert ledoit_wolf(rows) == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_with_many_clips_the_distance_is_that_of_the_true_covariance():
    generator = np.random.default_rng(0)
    turn = generator.normal(size=(4, 4))
    normal, other = generator.normal(size=(20_000, 4)) @ turn, generator.normal(size=(50, 4)) @ turn
    fitted = Mahalanobis().fit(normal, np.repeat(FAN, 20_000), np.repeat("", 20_000))
    want = np.sqrt(np.sum((other @ np.linalg.inv(turn)) ** 2, axis=1))
    assert fitted.score(other, np.repeat(FAN, 50)) == pytest.approx(want, rel=0.05)


# what all of them do


@pytest.mark.parametrize("name", BACKENDS)
def test_a_displaced_clip_scores_higher_than_a_normal_one(name):
    normals, normal = worlds()
    away = np.random.default_rng(1).normal(size=normal.shape)
    clips, clazz = np.vstack([normal, normal + 6 * away]), np.tile(normals.clazz, 2)
    score = BACKENDS[name]().fit(*normals).score(clips, clazz)
    assert auroc(np.repeat([0, 1], len(normal)), score) > 0.9


@pytest.mark.parametrize("name", BACKENDS)
def test_neither_the_order_of_the_normals_nor_that_of_the_clips_matters(name):
    normals, clips = worlds()
    order = np.random.default_rng(2).permutation(len(clips))
    first = BACKENDS[name]().fit(*normals).score(clips, normals.clazz)
    mixed = (column[order] for column in normals)
    second = BACKENDS[name]().fit(*mixed).score(clips[order], normals.clazz[order])
    assert second == pytest.approx(first[order], rel=1e-6)


@pytest.mark.parametrize("name", BACKENDS)
def test_classes_may_be_numbers_and_other_classes_change_nothing_but_the_shared_scatter(name):
    normals, clips = worlds()
    number = np.unique(normals.clazz, return_inverse=True)[1]
    whole = BACKENDS[name]().fit(normals.embedding, number, normals.domain).score(clips, number)
    assert whole == pytest.approx(BACKENDS[name]().fit(*normals).score(clips, normals.clazz))
    own = number == 1
    alone = BACKENDS[name]().fit(*(column[own] for column in normals)).score(clips[own], normals.clazz[own])
    if "mahalanobis" not in name:
        assert alone == pytest.approx(whole[own])


@pytest.mark.parametrize("name", BACKENDS)
def test_a_class_of_one_clip_and_copies_of_one_clip_are_scored(name):
    normals, _ = worlds(classes=1)
    generator = np.random.default_rng(3)
    single, copies = generator.normal(size=(1, 8)), np.repeat(generator.normal(size=(1, 8)), 5, axis=0)
    embedding = np.vstack([normals.embedding, single, copies])
    clazz = np.concatenate([normals.clazz, ["single"], ["copies"] * 5])
    fitted = BACKENDS[name]().fit(embedding, clazz, np.repeat("source", len(clazz)))
    clips = np.vstack([single, single + 1, copies[:1], copies[:1] + 1])
    score = fitted.score(clips, np.array(["single", "single", "copies", "copies"]))
    assert np.isfinite(score).all()
    assert score[[0, 2]] == pytest.approx([0, 0], abs=1e-6)
    assert np.all(score[[1, 3]] > 1e-3)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_refused_clip_has_no_score_and_a_refused_normal_is_not_taken(name):
    normals, clips = worlds()
    clips[3] = np.nan
    score = BACKENDS[name]().fit(*normals).score(clips, normals.clazz)
    assert np.flatnonzero(np.isnan(score)).tolist() == [3]
    broken = normals.embedding.copy()
    broken[5, 0] = np.nan
    with pytest.raises(CohortError, match="1 of 180 have none"):
        BACKENDS[name]().fit(broken, normals.clazz, normals.domain)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_class_that_was_not_heard_is_one_sentence(name):
    normals, clips = worlds()
    fitted = BACKENDS[name]().fit(*normals)
    with pytest.raises(
        StethosError, match="needs normal training clips of pump/id_04; there are none, but of 3"
    ) as why:
        fitted.score(clips[:2], np.array(["fan/id_00", "pump/id_04"]))
    assert "\n" not in str(why.value)
    with pytest.raises(StethosError, match="got none"):
        BACKENDS[name]().fit(clips[:0], normals.clazz[:0], normals.domain[:0])


def test_few_target_clips_count_as_much_as_many_of_source():
    # 400 source and 8 target normals; anomalies lie off either by as much in units of the domain's own scatter
    generator = np.random.default_rng(0)
    middle = np.zeros(16)
    middle[0] = 40

    def around(count, side, shift=0.0):
        return (middle if side == "target" else 0) + (1 + 2 * (side == "target")) * (
            generator.normal(size=(count, 16)) + shift
        )

    normals = np.vstack([around(400, "source"), around(8, "target")])
    clips = np.vstack([around(200, side, shift) for side in ("source", "target") for shift in (0.0, 0.9)])
    truth, source = np.tile(np.repeat([0, 1], 200), 2), np.repeat([True, False], 400)
    arguments = normals, np.repeat(FAN, 408), np.repeat(["source", "target"], [400, 8])
    auc = {}
    for name, backend in (("nearest", Nearest(1, euclidean)), ("balanced", DomainBalanced(1, euclidean))):
        score = backend.fit(*arguments).score(clips, np.repeat(FAN, 800))
        auc[name] = [auroc(truth[rows], score[rows]) for rows in (source | (truth == 1), ~source | (truth == 1))]
    assert auc["nearest"][1] < 0.6  # normals of target look as far as the anomalies of source
    assert auc["balanced"][1] > auc["nearest"][1] + 0.15
    assert min(auc["balanced"]) > min(auc["nearest"]) + 0.15


def test_what_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="k = 0"):
        Nearest(0).fit(line(1, 2), np.repeat(FAN, 2), np.repeat("", 2))
    with pytest.raises(CohortError, match="two different normal clips"):
        Mahalanobis().fit(line(1, 1), np.repeat(FAN, 2), np.repeat("", 2))
    with pytest.raises(CohortError, match="two different normal clips"):
        Mahalanobis().fit(line(1, 5), np.array(["a", "b"]), np.repeat("", 2))


def test_the_names_of_all_ways_to_score():
    assert set(NAMES) == {*BACKENDS, "own-class", "own-class-margin"}
    assert len(NAMES) == 7
