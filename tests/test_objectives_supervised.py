import math

import pytest
import torch

from stethos.objectives.supervised import masked_bce, masked_mse


def test_cross_entropy_of_a_coin_is_log_two():
    values, known = masked_bce(torch.zeros(2, 1), torch.tensor([[0.0], [1.0]]))
    assert values.flatten().tolist() == pytest.approx([math.log(2)] * 2)
    assert known.all()


def test_cross_entropy_by_hand():
    values, _ = masked_bce(torch.tensor([[math.log(3)]]), torch.tensor([[1.0]]))  # p = 3/4
    assert values.item() == pytest.approx(math.log(4 / 3))


def test_smoothing_moves_the_truth_towards_one_half():
    # y = 0.9 · 1 + 0.05 = 0.95 and p = 3/4
    values, _ = masked_bce(torch.tensor([[math.log(3)]]), torch.tensor([[1.0]]), smoothing=0.1)
    assert values.item() == pytest.approx(-0.95 * math.log(3 / 4) - 0.05 * math.log(1 / 4))


def test_squared_difference_by_hand():
    values, known = masked_mse(torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, torch.nan]]))
    assert values.tolist() == [[4.0, 0.0]]
    assert known.tolist() == [[True, False]]


@pytest.mark.parametrize("objective", [masked_bce, masked_mse])
def test_an_unknown_truth_moves_nothing(objective):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    truth = torch.ones(4, 3)
    truth[1, 2] = truth[3, 0] = torch.nan
    values, known = objective(x, truth)
    values.sum().backward()
    assert torch.equal(known, truth == 1)
    assert torch.equal(x.grad != 0, known)  # NaN would count as other than 0
