import math

import pytest
from torch import nn

from stethos.errors import RecipeError
from stethos.train.optimise import adamw, rate_factor, set_rate
from stethos.types import Schedule


def test_the_rate_rises_straight_and_falls_as_half_a_cosine():
    schedule = Schedule(steps=10, warmup=0.2)
    factors = [rate_factor(step, schedule) for step in range(11)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert factors[6] == pytest.approx(0.5)  # half of the eight falling steps
    assert factors[4] == pytest.approx(0.5 + 0.5**1.5)  # a quarter: ½ (1 + cos 45°)
    assert factors[10] == pytest.approx(0)


def test_a_training_of_one_step_learns():
    assert rate_factor(0, Schedule(steps=1, warmup=1.0)) == 1


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Linear(2, 1))


def settings(model: nn.Module, schedule: Schedule, factors: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Name of each weight that learns → its rate and decay."""
    optimiser = adamw(model, schedule, factors)
    set_rate(optimiser, 0, schedule)
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {names[id(w)]: (g["lr"], g["weight_decay"]) for g in optimiser.param_groups for w in g["params"]}


def test_only_weights_of_two_or_more_dimensions_decay():
    found = settings(network(), Schedule(lr=1.0, decay=0.1, warmup=0), {})
    decays = {name: decay for name, (_, decay) in found.items()}
    assert decays == {"0.weight": 0.1, "0.bias": 0, "1.weight": 0, "1.bias": 0, "2.weight": 0.1, "2.bias": 0}


def test_a_part_learns_at_its_own_rate_and_the_longest_name_decides():
    model = nn.ModuleDict({"encoder": network(), "encoder2": nn.Linear(1, 1)})
    found = settings(model, Schedule(lr=1.0, warmup=0), {"encoder": 0.1, "encoder.2": 0.5})
    assert (found["encoder.0.weight"][0], found["encoder.2.bias"][0], found["encoder2.bias"][0]) == (
        0.1,
        0.5,
        1.0,
    )


def test_frozen_weights_are_left_out():
    model = network()
    model[0].requires_grad_(False)
    assert set(settings(model, Schedule(), {})) == {"1.weight", "1.bias", "2.weight", "2.bias"}


def test_a_part_without_a_weight_to_train_is_named():
    with pytest.raises(RecipeError, match="set for encoder, which"):
        adamw(network(), Schedule(), {"encoder": 0.1})
    with pytest.raises(RecipeError, match="all of the network is frozen"):
        adamw(network().requires_grad_(False), Schedule(), {})


@pytest.mark.parametrize(
    "wrong",
    [{"lr": math.nan}, {"lr": -1.0}, {"lr": math.inf}, {"decay": -0.1}, {"clip": -1.0}, {"ema": 1.5}, {"warmup": 2.0}],
)
def test_numbers_of_a_schedule_that_cannot_be_are_named(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(RecipeError, match=f"got --{name} {value:g}$"):
        adamw(nn.Linear(2, 2), Schedule(**wrong), {})
