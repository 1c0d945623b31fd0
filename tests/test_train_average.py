import contextlib

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
