"""Shapley values: games worked out by hand, the axioms, other implementations, the sampling error."""

import warnings
from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest

from stethos.errors import RecipeError, ScoreError
from stethos.explain.shapley import coalitions, exact, from_table, sampled


def table_game(players, outputs=1, seed=0):
    """A game with a random value for every coalition."""
    table = np.random.default_rng(seed).normal(size=(2**players, outputs))
    return lambda present: table[present.astype(int) @ (2 ** np.arange(players)[::-1])]


def one_left_glove(present):
    """Player 0 has a left glove, 1 and 2 a right one each; a pair is worth 1."""
    return (present[:, 0] & present[:, 1:].any(axis=1)).astype(float)


def test_one_left_glove_is_worth_two_thirds():
    found = exact(one_left_glove, 3)
    np.testing.assert_allclose(found.values[:, 0], [2 / 3, 1 / 6, 1 / 6], atol=1e-15)
    assert (found.empty, found.full) == (0, 1)


def test_gloves_that_need_each_other_interact_and_rivals_do_so_negatively():
    # left with a right one: ½ (1 − 0 − 0 + 0) + ½ (1 − 1 − 0 + 0); two right ones: ½ · 0 + ½ (1 − 1 − 1 + 0)
    want = [[0, 0.5, 0.5], [0.5, 0, -0.5], [0.5, -0.5, 0]]
    np.testing.assert_allclose(exact(one_left_glove, 3).interaction[..., 0], want, atol=1e-15)


def test_products_of_players_are_shared_by_halves_and_are_their_interaction():
    generator = np.random.default_rng(1)
    single, pair = generator.normal(size=5), np.triu(generator.normal(size=(5, 5)), 1)
    found = exact(lambda s: s @ single + np.einsum("mi,ij,mj->m", s, pair, s), 5)
    np.testing.assert_allclose(found.interaction[..., 0], pair + pair.T, atol=1e-14)
    np.testing.assert_allclose(found.values[:, 0], single + (pair + pair.T).sum(axis=1) / 2, atol=1e-14)


def test_interaction_is_the_sum_of_its_definition():
    game, n = table_game(5), 5
    found = exact(game, n).interaction[..., 0]

    def worth(*members):
        return game(np.isin(np.arange(n), members)[None])[0, 0]

    for i, j in combinations(range(n), 2):
        others = [k for k in range(n) if k not in (i, j)]
        want = sum(
            factorial(size) * factorial(n - size - 2) / factorial(n - 1)
            * (worth(*s, i, j) - worth(*s, i) - worth(*s, j) + worth(*s))
            for size in range(n - 1)
            for s in combinations(others, size)
        )  # fmt: skip
        assert found[i, j] == pytest.approx(want, abs=1e-14)
        assert found[j, i] == found[i, j]


@pytest.mark.parametrize("players", range(1, 11))
def test_values_sum_to_what_all_are_worth(players):
    found = exact(table_game(players, outputs=3, seed=players), players)
    np.testing.assert_allclose(found.values.sum(axis=0), found.full - found.empty, rtol=1e-9)
    assert (found.error == 0).all()


def test_a_player_that_changes_nothing_gets_exactly_nothing():
    game = table_game(4)
    found = exact(lambda present: game(present[:, [0, 1, 3, 4]]), 5)
    assert (found.values[2] == 0).all()
    assert (found.interaction[2] == 0).all()
    np.testing.assert_allclose(np.delete(found.values, 2, 0), exact(game, 4).values, atol=1e-14)


def test_players_that_do_the_same_get_the_same():
    game = table_game(4)  # of two players and of how many of two others are there
    found = exact(lambda s: game(np.stack([s[:, 0], s[:, 2], s[:, 1] ^ s[:, 3], s[:, 1] & s[:, 3]], axis=1)), 4)
    np.testing.assert_allclose(found.values[1], found.values[3], rtol=1e-12)


def test_two_heads_are_explained_as_each_alone_and_their_sum_as_the_sum():
    first, second = table_game(6, seed=1), table_game(6, seed=2)
    both = exact(lambda s: np.hstack([first(s), second(s)]), 6)
    np.testing.assert_allclose(both.values[:, :1], exact(first, 6).values, atol=1e-14)
    weighted = exact(lambda s: 2 * first(s) - 3 * second(s), 6)
    np.testing.assert_allclose(weighted.values, 2 * both.values[:, :1] - 3 * both.values[:, 1:], atol=1e-13)


def test_the_order_of_the_players_does_not_matter():
    game, order = table_game(5), np.array([3, 0, 4, 1, 2])
    plain = exact(game, 5)

    def moved(present):
        original = np.empty_like(present)
        original[:, order] = present
        return game(original)

    found = exact(moved, 5)
    np.testing.assert_allclose(found.values, plain.values[order], atol=1e-14)
    np.testing.assert_allclose(found.interaction, plain.interaction[np.ix_(order, order)], atol=1e-14)


def test_every_coalition_is_played_once_in_one_call():
    asked = []
    exact(lambda s: asked.append(s) or s.sum(axis=1), 7)
    (only,) = asked
    assert len(np.unique(only, axis=0)) == len(only) == 128
    assert not only[0].any()
    assert only[-1].all()
    np.testing.assert_array_equal(only, coalitions(7))


@pytest.mark.parametrize("players", [0, 11])
def test_no_player_or_more_than_ten_is_refused(players):
    with pytest.raises(RecipeError, match="1 to 10 players"):
        exact(table_game(2), players)


@pytest.mark.parametrize("worth", [np.zeros(3), np.full(4, np.nan), np.zeros((4, 1, 1))])
def test_a_game_without_one_finite_value_a_coalition_is_refused(worth):
    with pytest.raises(ScoreError, match="one finite value or row to each of 4"):
        exact(lambda s: worth, 2)


def every_order(game, players):
    """Contributions along all n! orders, `(n!, n)`."""
    rows = []
    for order in permutations(range(players)):
        present = np.zeros((players + 1, players), bool)
        for step, player in enumerate(order, start=1):
            present[step:, player] = True
        gained = np.diff(game(present)[:, 0])
        rows.append(gained[np.argsort(order)])
    return np.array(rows)


def test_exact_values_are_the_mean_over_all_orders():
    game = table_game(6)
    np.testing.assert_allclose(exact(game, 6).values[:, 0], every_order(game, 6).mean(axis=0), atol=1e-13)


def test_sampled_values_sum_to_what_all_are_worth_after_any_number_of_orders():
    for orders in (1, 7, 40):
        found = sampled(table_game(13, outputs=2), 13, orders, seed=orders)
        np.testing.assert_allclose(found.values.sum(axis=0), found.full - found.empty, rtol=1e-9)
        assert found.interaction is None


def test_sampling_is_unbiased_and_its_standard_error_is_honest():
    game = table_game(6)
    want = exact(game, 6).values[:, 0]
    found = [sampled(game, 6, 40, seed) for seed in range(400)]
    values = np.array([one.values[:, 0] for one in found])
    stated = np.sqrt(np.mean([one.error[:, 0] ** 2 for one in found], axis=0))
    scatter = values.std(axis=0, ddof=1)
    assert (np.abs(values.mean(axis=0) - want) < 4 * scatter / 20).all()
    np.testing.assert_allclose(stated, scatter, rtol=0.15)


def test_an_order_and_its_reverse_leave_no_error_where_players_act_in_pairs_only():
    pair = np.random.default_rng(0).normal(size=(14, 14))
    found = sampled(lambda s: np.einsum("mi,ij,mj->m", s, pair, s), 14, 4)
    want = (pair.sum(axis=0) + pair.sum(axis=1)) / 2
    np.testing.assert_allclose(found.values[:, 0], want, atol=1e-12)
    assert found.error.max() < 1e-12


def test_a_seed_fixes_the_orders_and_many_orders_come_in_several_calls():
    game, calls = table_game(16), []
    first = sampled(lambda s: calls.append(len(s)) or game(s), 16, 1000, seed=5)
    assert sum(calls) == 2 + 1000 * 15
    assert max(calls) <= 4096
    np.testing.assert_array_equal(first.values, sampled(game, 16, 1000, seed=5).values)
    assert (first.values != sampled(game, 16, 1000, seed=6).values).any()


def test_one_player_gets_it_all():
    for found in (exact(table_game(1), 1), sampled(table_game(1), 1, 4)):
        np.testing.assert_allclose(found.values[0], found.full - found.empty)


def test_captum_agrees_within_its_sampling_error():
    torch = pytest.importorskip("torch")
    attribution = pytest.importorskip("captum.attr")
    game, orders = table_game(6), 600
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        explainer = attribution.ShapleyValueSampling(lambda x: torch.from_numpy(game(x.numpy() > 0.5)[:, 0]))
        theirs = explainer.attribute(torch.ones(1, 6), baselines=torch.zeros(1, 6), n_samples=orders)[0].numpy()
    error = every_order(game, 6).std(axis=0) / np.sqrt(orders)
    assert (np.abs(theirs - exact(game, 6).values[:, 0]) < 3.5 * error).all()
    assert error.max() < 0.06


@pytest.mark.slow  # for its import
def test_shap_agrees():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shap = pytest.importorskip("shap")
        game = table_game(6)
        worth = lambda x: game(x > 0.5)[:, 0]  # noqa: E731
        absent, there = np.zeros((1, 6)), np.ones((1, 6))
        by_all = shap.explainers.Exact(worth, absent)(there, silent=True).values[0]
        by_regression = shap.KernelExplainer(worth, absent).shap_values(there, nsamples=200, silent=True)[0]
    want = exact(game, 6).values[:, 0]
    np.testing.assert_allclose(by_all, want, atol=1e-12)
    np.testing.assert_allclose(by_regression, want, atol=1e-6)


def test_a_table_is_enough():
    game = table_game(4)
    np.testing.assert_array_equal(from_table(game(coalitions(4))).values, exact(game, 4).values)
