import contextlib
import math

import pytest
import torch
from torch import nn

from stethos.train.average import Average, average_decay


def test_the_decay_starts_at_a_tenth_and_grows_to_its_limit():
    assert [average_decay(n, 0.5) for n in (0, 1, 2, 8, 1000)] == [1 / 10, 2 / 11, 3 / 12, 1 / 2, 1 / 2]


def test_the_mean_follows_the_weights_by_hand():
    line = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(line.weight, 1.0)
    average = Average(line, 0.999)
    nn.init.constant_(line.weight, 2.0)
    average.update(line)  # 0.1 · 1 + 0.9 · 2
    assert average.weights["weight"].item() == pytest.approx(1.9)
    nn.init.constant_(line.weight, 3.0)
    average.update(line)  # 2/11 · 1.9 + 9/11 · 3
    assert average.weights["weight"].item() == pytest.approx(2 / 11 * 1.9 + 9 / 11 * 3)


def test_the_weights_come_back_bit_for_bit_even_after_an_error():
    line = nn.Linear(3, 2)
    average = Average(line, 0.9)
    own = line.weight.detach().clone()
    average.weights["weight"] += 1
    with contextlib.suppress(KeyError), average.applied(line):
        assert torch.equal(line.weight, own + 1)
        raise KeyError
    assert torch.equal(line.weight, own)


def test_three_hundred_steps_with_the_published_decay_have_left_the_start():
    """With 0.9999 from the first step on, 97 % of the mean would still be the weights that nothing had taught."""
    line = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(line.weight, 1.0)
    average = Average(line, 0.9999)
    nn.init.constant_(line.weight, 0.0)
    for _ in range(300):
        average.update(line)
    left = math.factorial(9) / math.prod(range(301, 310))  # Π (1 + n) / (10 + n)
    assert average.weights["weight"].item() == pytest.approx(left)
    assert left < 1e-16 < 0.97 < 0.9999**300


def test_the_mean_follows_weights_that_move_steadily_by_a_tenth_of_the_way():
    """With a memory of (10 + n) / 9 steps the mean of weights that grow by one a step lags by about n / 10."""
    line = nn.Linear(1, 1, bias=False).double()
    average = Average(line, 0.9999)
    for step in range(300):
        nn.init.constant_(line.weight, float(step))
        average.update(line)
    assert average.weights["weight"].item() == pytest.approx(0.9 * 299, rel=0.02)


def test_running_statistics_are_not_averaged():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = Average(model, 0.9999)
    assert set(average.weights) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for _ in range(3):
        model(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
        average.update(model)
    own = {name: value.clone() for name, value in model.named_buffers()}
    with average.applied(model):
        assert all(torch.equal(value, own[name]) for name, value in model.named_buffers())
    assert all(torch.equal(value, own[name]) for name, value in model.named_buffers())
