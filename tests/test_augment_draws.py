"""Draws are uniform, independent, and the same however a batch is divided."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from stethos.augment import draws

ROWS = torch.arange(64)
MASK = (1 << 64) - 1


def splitmix(key: int, n: int) -> list[int]:
    """The published generator, in whole numbers of Python."""
    out = []
    for _ in range(n):
        key = (key + 0x9E3779B97F4A7C15) & MASK
        z = ((key ^ key >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        out.append(z ^ z >> 31)
    return out


def test_a_row_draws_from_the_published_generator():
    # Known answers for the seed 1234567, as printed with the reference implementation.
    assert splitmix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for seed, step, row, stream in ((0, 0, 0, 0), (7, 1000, 2**40 + 1, 3), (-5, 2**63, -9, 2)):
        key = 0
        for word in (seed, step, row, stream):
            key = splitmix((key + word) & MASK, 1)[0]
        want = [bits / 2**64 for bits in splitmix(key, 5)]
        got = draws.uniform(seed, step, torch.tensor([row]), 5, stream)[0].tolist()
        assert got == [int(u * 2**24) / 2**24 for u in want]


def test_uniform_draws_are_uniform_within_a_row_and_across_rows():
    within = draws.uniform(0, 0, ROWS[:1], 50_000)[0]
    across = draws.uniform(0, 0, torch.arange(50_000), 1)[:, 0]
    for u in (within, across):
        assert u.min() >= 0
        assert u.max() < 1
        assert stats.kstest(u.numpy(), "uniform").pvalue > 0.01


def test_normal_draws_are_normal_to_the_fourth_moment():
    z = draws.normal(0, 0, ROWS, (2, 1000)).flatten().numpy()
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert abs(stats.kurtosis(z)) < 4 * np.sqrt(24 / z.size)
    assert np.isfinite(z).all()


@pytest.mark.parametrize("draw", [draws.uniform, draws.normal])
def test_neighbours_in_seed_step_row_stream_and_place_are_independent(draw):
    def numbers(seed: int = 0, step: int = 0, first: int = 0, stream: int = 0) -> np.ndarray:
        rows, n = torch.arange(first, first + 64), 500 if draw is draws.uniform else (500,)
        return draw(seed, step, rows, n, stream).numpy()

    base = numbers()
    others = [numbers(seed=1), numbers(step=1), numbers(first=1), numbers(stream=1), np.roll(base, 1, axis=1)]
    others += [numbers(seed=1, step=-1), numbers(step=64), numbers(first=64, step=1)]
    for one, other in itertools.combinations([base, *others], 2):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(base.size)
    assert abs(np.corrcoef(base)[np.triu_indices(64, 1)]).max() < 5 / np.sqrt(500)


def test_no_two_keys_draw_the_same_sequence():
    keys = itertools.product(range(4), range(4), range(4))
    seen = [draws.uniform(seed, step, torch.arange(4), 4, stream) for seed, step, stream in keys]
    assert torch.cat(seen).unique(dim=0).shape[0] == 256


@pytest.mark.parametrize("parts", [2, 3, 64])
def test_a_divided_batch_draws_what_the_whole_draws(parts: int):
    rows = ROWS.flip(0) * 1000
    uniform = torch.cat([draws.uniform(3, 9, part, 7, 2) for part in rows.chunk(parts)])
    normal = torch.cat([draws.normal(3, 9, part, (2, 33), 2) for part in rows.chunk(parts)])
    assert torch.equal(uniform, draws.uniform(3, 9, rows, 7, 2))
    assert torch.allclose(normal, draws.normal(3, 9, rows, (2, 33), 2), atol=1e-6)


def test_a_row_draws_the_same_first_numbers_whatever_their_count():
    assert torch.equal(draws.uniform(0, 0, ROWS, 3), draws.uniform(0, 0, ROWS, 30)[:, :3])
