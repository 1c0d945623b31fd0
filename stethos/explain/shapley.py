"""Shapley values of a game, exact from all coalitions or sampled from permutations.

A game v gives every coalition S of n players a number (here: the logit of a recording of which only the parts in S are
there). The share of player i in v(N) − v(∅), and of a pair beyond what each adds alone, are

    φ_i  = Σ_{S ⊆ N∖i}  |S|! (n − |S| − 1)! / n!         · [v(S ∪ i) − v(S)]
    I_ij = Σ_{S ⊆ N∖ij} |S|! (n − |S| − 2)! / (n − 1)!   · [v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S)]

φ is the only division with efficiency (Σ φ = v(N) − v(∅)), symmetry, linearity, and nothing for a player that never
changes v. Both come from one table of 2ⁿ values.

Reference:
    Shapley 1953, doi:10.1515/9781400881970-018; Grabisch and Roubens 1999, doi:10.1007/s001820050125 (interaction).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from stethos.errors import RecipeError, ScoreError

Game = Callable[[np.ndarray], np.ndarray]
"""Who is there, Boolean `(M, n)` → value of each coalition, `(M,)` or `(M, K)`."""

MOST_PLAYERS = 10  # 1024 coalitions
_COALITIONS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Shapley:
    """What each player contributed.

    Args:
        values: φ, `(n, K)`; the sum over players is `full` − `empty`.
        empty: Value without any player, `(K,)`.
        full: Value with all of them, `(K,)`.
        error: Standard error of `values`, `(n, K)`; 0 where all coalitions were played.
        interaction: I, symmetric with 0 on its diagonal, `(n, n, K)`; None where values were sampled.
    """

    values: np.ndarray
    empty: np.ndarray
    full: np.ndarray
    error: np.ndarray
    interaction: np.ndarray | None = None


def coalitions(players: int) -> np.ndarray:
    """All of them, Boolean `(2ⁿ, n)`: row number in binary, the first player its highest digit.

    Raises:
        RecipeError: There is no player, or more than ten.
    """
    if not 1 <= players <= MOST_PLAYERS:
        raise RecipeError(
            f"exact Shapley values need 1 to {MOST_PLAYERS} players; got {players}; use sampled() for more"
        )
    return (np.arange(2**players)[:, None] >> np.arange(players)[::-1]) & 1 == 1


def exact(game: Game, players: int) -> Shapley:
    """Values and interactions from all 2ⁿ coalitions, in one call of the game.

    Args:
        game: Asked once, with all coalitions.
        players: n, at most 10.

    Raises:
        RecipeError: There is no player, or more than ten.
        ScoreError: The game does not return one finite value or row a coalition.
    """
    return from_table(_played(game, coalitions(players)))


def from_table(table: np.ndarray) -> Shapley:
    """Values and interactions from what every coalition is worth.

    Args:
        table: In the order of `coalitions`, `(2ⁿ, K)`.
    """
    players = len(table).bit_length() - 1
    cube = table.reshape(*(2,) * players, -1)  # one axis a player
    values = np.stack([_weighted(np.diff(cube, axis=i), players, 1) for i in range(players)])
    interaction = np.zeros((players, players, cube.shape[-1]))
    for i, j in combinations(range(players), 2):
        both = _weighted(np.diff(np.diff(cube, axis=i), axis=j), players, 2)
        interaction[i, j] = interaction[j, i] = both
    return Shapley(values, table[0], table[-1], np.zeros_like(values), interaction)


def sampled(game: Game, players: int, permutations: int, seed: int = 0) -> Shapley:
    """Values from players that join one after another, in random orders and in the reverse of each.

    Unbiased. Along an order the contributions telescope, so the sum is v(N) − v(∅) whatever the number of orders. An
    order and its reverse are one draw: the standard error comes from the scatter of such pairs.

    Args:
        game: Asked for (n − 1) · `permutations` + 2 coalitions, some thousands at a time.
        players: n.
        permutations: Number of orders, rounded up to an even number, at least 4.
        seed: Of the orders.

    Raises:
        RecipeError: There is no player.
        ScoreError: The game does not return one finite value or row a coalition.

    Reference:
        Castro, Gómez and Tejada 2009, doi:10.1016/j.cor.2008.04.004; Mitchell et al. 2022, arXiv:2104.12199 (pairs).
    """
    if players < 1:
        raise RecipeError(f"Shapley values need a player; got {players}")
    empty, full = _played(game, np.array([[False], [True]]).repeat(players, axis=1))
    pairs = max(2, -(-permutations // 2))
    generator = np.random.default_rng(seed)
    step = max(1, _COALITIONS_AT_ONCE // (2 * players))
    parts = [
        _along(game, generator.permuted(np.tile(np.arange(players), (count, 1)), axis=1), empty, full)
        for count in np.diff(np.append(np.arange(0, pairs, step), pairs))
    ]
    drawn = np.concatenate(parts)  # (pairs, n, K)
    return Shapley(drawn.mean(axis=0), empty, full, drawn.std(axis=0, ddof=1) / np.sqrt(pairs))


def _along(game: Game, order: np.ndarray, empty: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Contributions along each order and its reverse, averaged, `(pairs, n, K)`."""
    pairs, players = order.shape
    order = np.concatenate([order, order[:, ::-1]])  # (2 pairs, n)
    place = np.argsort(order, axis=1)
    present = place[:, None, :] < np.arange(1, players)[:, None]  # (2 pairs, n - 1, n)
    worth = np.empty((2 * pairs, players + 1, len(empty)))
    worth[:, 0], worth[:, -1] = empty, full
    if players > 1:
        worth[:, 1:-1] = _played(game, present.reshape(-1, players)).reshape(2 * pairs, players - 1, -1)
    gained = np.take_along_axis(np.diff(worth, axis=1), place[..., None], axis=1)  # (2 pairs, n, K)
    return (gained[:pairs] + gained[pairs:]) / 2


def _weighted(difference: np.ndarray, players: int, apart: int) -> np.ndarray:
    """Mean over the sizes of the coalitions of the others, and over those of one size, `(K,)`."""
    others = players - apart
    flat = difference.reshape(2**others, -1)
    size = np.bitwise_count(np.arange(2**others))
    weight = np.array([1 / ((others + 1) * comb(others, s)) for s in range(others + 1)])
    return weight[size] @ flat


def _played(game: Game, present: np.ndarray) -> np.ndarray:
    """What the game says of each coalition, float64 `(M, K)`."""
    worth = np.asarray(game(present), dtype=np.float64)
    worth = worth[:, None] if worth.ndim == 1 else worth
    if worth.ndim != 2 or len(worth) != len(present) or not np.isfinite(worth).all():
        raise ScoreError(
            f"a game must give one finite value or row to each of {len(present)} coalitions; got shape {worth.shape}"
            f"{'' if np.isfinite(worth).all() else ' with values that are not finite'}"
        )
    return worth
