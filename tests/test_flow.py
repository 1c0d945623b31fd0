"""Straight paths, the steps that walk them, and guidance: orders of error, an independent solver, closed forms."""

import math
from itertools import pairwise

import pytest
import torch
from torchdiffeq import odeint

from stethos.errors import RecipeError
from stethos.flow.guidance import dropped, guided
from stethos.flow.path import along
from stethos.flow.solve import SOLVERS, solve

START = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0]], dtype=torch.float64)
THEIRS = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2"}
ORDER = {"euler": 1, "midpoint": 2, "heun": 2}


def bent(x, time):
    """A nonlinear field whose two coordinates pull at each other."""
    return torch.stack([torch.sin(3 * x[:, 1]) + time, x[:, 0] * torch.cos(5 * time) - 0.5 * x[:, 1] ** 2], dim=1)


def theirs(method, **options):
    def field(time, x):
        return bent(x, time.expand(len(x)))

    return odeint(field, START, torch.tensor([0.0, 1.0], dtype=torch.float64), method=method, **options)[-1]


@pytest.mark.parametrize("method", sorted(SOLVERS))
def test_each_step_is_the_step_of_an_independent_solver(method):
    want = theirs(THEIRS[method], options={"step_size": 1 / 16})
    torch.testing.assert_close(solve(bent, START, 16, method), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", sorted(SOLVERS))
def test_half_the_step_leaves_half_the_error_of_euler_and_a_quarter_of_the_others(method):
    exact = theirs("dopri5", rtol=1e-11, atol=1e-12)
    errors = [(solve(bent, START, steps, method) - exact).norm().item() for steps in (64, 128, 256)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(ORDER[method], abs=0.12)


@pytest.mark.parametrize("method", sorted(SOLVERS))
def test_the_flow_between_two_gaussians_ends_where_its_closed_form_says(method):
    mean, spread = 3.0, 0.4

    def velocity(x, time):
        t = time[:, None]
        variance = (1 - t) ** 2 + (t * spread) ** 2
        return mean + (t * spread**2 - (1 - t)) / variance * (x - t * mean)

    error = (solve(velocity, START, 400, method) - (mean + spread * START)).abs().max()
    assert error < (0.02 if method == "euler" else 1e-4)


def test_a_straight_way_is_walked_in_one_step():
    end = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for method in SOLVERS:
        torch.testing.assert_close(solve(lambda x, time: end - START, START, 1, method), end)


@pytest.mark.parametrize(("method", "asked"), [("euler", 5), ("midpoint", 10), ("heun", 10)])
def test_euler_asks_once_a_step_and_the_others_twice_each_time_for_every_row(method, asked):
    times = []

    def still(x, time):
        assert time.shape == (len(x),)
        times.append(time[0].item())
        return torch.zeros_like(x)

    assert torch.equal(solve(still, START, 5, method), START)
    assert len(times) == asked
    assert 0 <= min(times) <= max(times) <= 1 + 1e-12


@pytest.mark.parametrize(("steps", "method"), [(0, "euler"), (-1, "heun"), (4, "rk4")])
def test_no_step_or_an_unknown_method_is_refused(steps, method):
    with pytest.raises(RecipeError, match=f"at least one step of euler, midpoint, heun; got {steps} of '{method}'"):
        solve(bent, START, steps, method)


def test_a_path_starts_at_its_source_ends_at_its_data_and_keeps_its_velocity():
    source, data = torch.zeros(3, 2, 2), torch.full((3, 2, 2), 8.0)
    place, velocity = along(source, data, torch.tensor([0.0, 0.25, 1.0]))
    assert [row.unique().tolist() for row in place] == [[0.0], [2.0], [8.0]]
    assert torch.equal(velocity, data - source)


def test_the_mean_velocity_at_a_place_is_that_of_the_closed_form():
    generator = torch.Generator().manual_seed(1)
    source, noise = torch.randn(2, 200_000, 1, generator=generator, dtype=torch.float64)
    time = torch.full((len(source),), 0.3, dtype=torch.float64)
    place, velocity = along(source, 3.0 + 0.4 * noise, time)
    both = torch.cov(torch.cat([place, velocity], dim=1).T)
    want = (0.3 * 0.16 - 0.7) / (0.49 + 0.09 * 0.16)
    assert (both[0, 1] / both[0, 0]).item() == pytest.approx(want, abs=0.01)


def test_guidance_of_nought_is_no_condition_of_one_is_the_condition_and_beyond_goes_on_in_line():
    told, untold = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 1.0])
    assert guided(told, untold, 0).tolist() == [1.0, 1.0]
    assert guided(told, untold, 1).tolist() == [3.0, -1.0]
    assert guided(told, untold, 2).tolist() == [5.0, -3.0]
    assert torch.equal(guided(told, told, 7.5), told)


def test_conditions_are_dropped_as_often_as_asked_and_the_same_rows_for_the_same_draws():
    draws = torch.tensor([0.0, 0.05, 0.1, 0.5, 0.999])
    assert dropped(0.1, draws).tolist() == [True, True, False, False, False]
    assert not dropped(0.0, draws).any()
    assert dropped(1.0, draws).all()
