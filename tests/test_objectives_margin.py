"""ArcFace by hand, against an independent implementation, and at the poles."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ArcFaceLoss
from torch.nn import functional as F

from stethos.objectives.margin import arcface


def test_the_own_class_is_pushed_by_an_angle_by_hand():
    cosine = torch.tensor([[math.cos(1.0), 0.25]], dtype=torch.float64)
    logits = arcface(cosine, torch.tensor([0]), scale=10, margin=0.4)
    assert logits.tolist() == [pytest.approx([10 * math.cos(1.4), 2.5])]


def test_behind_the_turn_the_own_logit_goes_on_falling():
    angle = torch.linspace(0.01, math.pi - 0.01, 1000, dtype=torch.float64)
    own = arcface(angle.cos()[:, None], torch.zeros(1000, dtype=torch.long), scale=1, margin=0.4)[:, 0]
    assert (own.diff() < 0).all()
    assert own[-1].item() == pytest.approx(math.cos(math.pi - 0.01) - 0.4 * math.sin(0.4))


def test_without_a_margin_it_is_the_scale():
    cosine = torch.linspace(-1, 1, 12).view(4, 3)
    assert torch.equal(arcface(cosine, torch.tensor([0, 1, 2, 0]), 30, 0), 30 * cosine)


@pytest.mark.parametrize("margin", [0.1, 0.4, 0.7])
def test_the_loss_is_that_of_pytorch_metric_learning(margin: float):
    chance = torch.Generator().manual_seed(0)
    reference = ArcFaceLoss(5, 3, margin=math.degrees(margin), scale=30).double()
    reference.W.data = torch.randn(3, 5, generator=chance, dtype=torch.float64)
    rows, own = torch.randn(400, 3, generator=chance, dtype=torch.float64), torch.arange(400) % 5
    rows[:20] = 0.02 * rows[:20] - F.normalize(reference.W.data.T[own[:20]])  # behind the turn
    cosine = F.normalize(rows, dim=1) @ F.normalize(reference.W.detach(), dim=0)
    assert (cosine.gather(1, own[:, None]) < -math.cos(margin)).sum() >= 20
    got = F.cross_entropy(arcface(cosine, own, 30, margin), own)
    assert got.item() == pytest.approx(reference(rows, own).item(), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("cosine", [1.0, -1.0, 1.0 + 1e-7, -1.0 - 1e-7, 1.0 - 1e-7, 0.0])
def test_the_gradient_is_finite_at_the_poles(dtype: torch.dtype, cosine: float):
    x = torch.full((2, 3), cosine, dtype=dtype, requires_grad=True)
    logits = arcface(x, torch.tensor([0, 2]))
    F.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert logits.isfinite().all()
    assert x.grad.isfinite().all()
    assert logits.dtype == torch.promote_types(dtype, torch.float32)


@given(cosine=st.floats(-0.9, 0.99), margin=st.floats(0.01, 0.4))
def test_a_margin_never_helps_the_own_class_and_leaves_the_others_alone(cosine: float, margin: float):
    row = torch.tensor([[cosine, 0.1, -0.3]], dtype=torch.float64)
    logits = arcface(row, torch.tensor([0]), 30, margin)
    assert logits[0, 0] < 30 * row[0, 0]
    assert torch.equal(logits[:, 1:], 30 * row[:, 1:])


def test_the_gradient_is_right_by_differences():
    cosine = torch.tensor([[0.3, -0.2], [-0.97, 0.5], [0.9, 0.1]], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: arcface(x, torch.tensor([0, 0, 1])), (cosine,))
