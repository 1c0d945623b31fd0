"""Heads by hand."""

import pytest
import torch
from torch.nn import functional as F

from stethos.nn.heads import Bottleneck, CosineHead


def test_a_bottleneck_is_two_layers_each_normalised_after_its_activation():
    head, x = Bottleneck(6, 3).double().eval(), torch.randn(4, 6, dtype=torch.float64)
    first, _, norm1, second, _, norm2 = head.layers
    norm1.running_mean.fill_(0.5)
    norm2.running_var.fill_(4 - 1e-5)
    hidden = (F.linear(x, first.weight, first.bias).clamp(min=0) - 0.5) / (1 + 1e-5) ** 0.5
    want = F.linear(hidden, second.weight, second.bias).clamp(min=0) / 2
    assert torch.allclose(head(x), want, atol=1e-12)


def test_what_leaves_a_bottleneck_in_training_is_centred():
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    features = Bottleneck(16, 8)(x)
    assert features.mean(0).abs().max() < 1e-5
    assert features.min() < 0


def test_the_published_bottleneck_has_16960_weights():
    assert sum(weight.numel() for weight in Bottleneck().parameters()) == 16_960


def test_cosines_by_hand():
    head = CosineHead(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, -2.0]]))
    assert head(torch.tensor([[10.0, 0.0], [0.0, 0.5]])).flatten().tolist() == pytest.approx([0.6, 0, 0.8, -1])


def test_autocast_does_not_round_cosines():
    head, x = CosineHead(16, 5), torch.randn(3, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosine = head(x)
    assert cosine.dtype == torch.float32
    assert torch.equal(cosine, head(x))


def test_a_row_of_zeros_has_no_direction_and_a_finite_gradient():
    head, x = CosineHead(4, 3), torch.zeros(1, 4, requires_grad=True)
    head(x).sum().backward()
    assert head(x).abs().sum() == 0
    assert x.grad.isfinite().all()
