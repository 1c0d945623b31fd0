"""Contrastive losses by hand, by their definition row by row, and against an independent implementation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from torch import Tensor
from torch.nn import functional as F

from stethos.objectives.contrastive import info_nce, kin_of, nt_xent, sup_con


def rows(count: int, width: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=1)


def plain(z: Tensor, kin: Tensor, temperature: float, anchors: list[int]) -> list[float]:
    """The loss of each anchor, from the definition."""
    losses = []
    for i in anchors:
        others = [k for k in range(len(z)) if k != i]
        below = sum(math.exp(float(z[i] @ z[k]) / temperature) for k in others)
        weight = sum(float(kin[i, j]) for j in others)
        terms = (float(kin[i, j]) * math.log(math.exp(float(z[i] @ z[j]) / temperature) / below) for j in others)
        losses.append(-sum(terms) / weight if weight else 0.0)
    return losses


def test_three_rows_by_hand():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    kin = torch.tensor([[9, 1, 0], [1, 9, 0], [0, 0, 9]])  # the diagonal is not read
    each = math.log(1 + math.exp(-4))  # −log [e² / (e² + e⁻²)], at a temperature of ½
    assert sup_con(z, kin, 0.5).item() == pytest.approx(2 * each / 3)  # the third row is alone, and counts
    assert sup_con(z, kin, 0.5, count_lonely=False).item() == pytest.approx(each)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 9), seed=st.integers(0, 99), temperature=st.floats(0.05, 2), lonely=st.booleans())
def test_graded_kin_follow_the_definition(count: int, seed: int, temperature: float, lonely: bool):
    chance = torch.Generator().manual_seed(seed)
    z = rows(count, seed=seed)
    kin = (torch.rand(count, count, generator=chance, dtype=torch.float64) - 0.5).clamp(min=0)
    valid = torch.rand(count, generator=chance) < 0.7
    anchors = valid.nonzero().flatten().tolist()
    related = [i for i in anchors if kin[i].sum() > kin[i, i]]
    losses = plain(z, kin, temperature, anchors if lonely else related)
    got = sup_con(z, kin, temperature, valid, count_lonely=lonely)
    assert got.item() == pytest.approx(sum(losses) / max(1, len(losses)), abs=1e-9)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_the_loss_is_that_of_pytorch_metric_learning(temperature: float):
    z, labels = rows(40), torch.arange(40) % 7
    kin = labels[:, None] == labels
    want = SupConLoss(temperature=temperature)(z, labels)
    assert sup_con(z, kin, temperature).item() == pytest.approx(want.item(), abs=1e-6)


def test_rows_without_kin_leave_the_mean_of_pytorch_metric_learning():
    z, labels = rows(12), torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8])
    want = SupConLoss(temperature=0.1)(z, labels)
    kin = labels[:, None] == labels
    assert sup_con(z, kin, 0.1, count_lonely=False).item() == pytest.approx(want.item(), abs=1e-6)
    assert sup_con(z, kin, 0.1).item() == pytest.approx(want.item() * 5 / 12, abs=1e-6)


@given(seed=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_and_a_factor_on_kin_do_not_matter(seed: int):
    z, kin = rows(8, seed=seed), torch.rand(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    want = sup_con(z, kin, 0.2).item()
    assert sup_con(z[order], kin[order][:, order], 0.2).item() == pytest.approx(want)
    assert sup_con(z, 5 * kin, 0.2).item() == pytest.approx(want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_and_opposite_rows_have_finite_gradients_at_a_low_temperature(dtype: torch.dtype, count: int):
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], dtype=dtype)[
        :count
    ].requires_grad_()
    for kin in (torch.zeros(count, count), torch.ones(count, count), torch.eye(count)):
        loss = sup_con(z, kin, 0.005)
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    assert sup_con(z, torch.zeros(count, count), 0.005) == 0


def test_the_gradients_are_right_by_differences():
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    kin = kin_of(
        torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 0, 2, 0, 0, 1]), torch.linspace(0, 1, 6).double(), 3
    )
    torch.autograd.gradcheck(lambda x: sup_con(F.normalize(x, dim=1), kin, 0.3), (x,))
    torch.autograd.gradcheck(lambda x: info_nce(*F.normalize(x, dim=1).chunk(2), 3.0), (x,))


def test_mixtures_are_kin_by_the_chance_that_their_labels_agree():
    # ¾ of class 0 and ¼ of 1; class 1 alone, said twice; ½ of 2 and ½ of 0
    kin = kin_of(torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), torch.tensor([0.75, 0.3, 0.5]), 3)
    assert kin.flatten().tolist() == pytest.approx([0.625, 0.25, 0.375, 0.25, 1, 0, 0.375, 0, 0.5])


def test_unmixed_rows_are_kin_where_their_labels_are_equal():
    labels = torch.tensor([3, 0, 3, 1])
    kin = kin_of(labels, labels.flip(0), torch.ones(4), 4)
    assert torch.equal(kin, (labels[:, None] == labels).float())


def test_two_views_by_hand():
    first, second = torch.eye(2), torch.eye(2)  # each view sees its double and two rows at right angles
    assert nt_xent(first, second, 0.5).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_two_views_are_told_as_by_pytorch_metric_learning(temperature: float):
    first, second = rows(10, seed=1), rows(10, seed=2)
    things = torch.arange(10)
    want = NTXentLoss(temperature=temperature)(torch.cat([first, second]), torch.cat([things, things]))
    assert nt_xent(first, second, temperature).item() == pytest.approx(want.item(), abs=1e-6)


def test_pairs_by_hand():
    a = torch.eye(2)
    assert info_nce(a, a, 2.0).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert info_nce(a, a.flip(0), 2.0).item() == pytest.approx(math.log(1 + math.exp(2)))


def test_pairs_are_told_in_both_directions():
    a, b = rows(7, seed=1), rows(7, seed=2)
    own = torch.arange(7)
    there, back = F.cross_entropy(5 * a @ b.T, own), F.cross_entropy(5 * b @ a.T, own)
    assert there != back
    assert info_nce(a, b, 5.0).item() == pytest.approx((there + back).item() / 2)
    assert info_nce(b, a, torch.tensor(5.0)).item() == pytest.approx((there + back).item() / 2)


def test_counterparts_of_the_same_subject_are_not_negatives():
    a, b = rows(3, seed=1), rows(3, seed=2)
    got = info_nce(a, b, 4.0, kin=torch.tensor([5, 8, 5]))
    logits = 4 * a @ b.T
    want = 0.0
    for i, others in enumerate(([0, 1], [0, 1, 2], [1, 2])):
        want += (logits[i, others].logsumexp(0) + logits[others, i].logsumexp(0) - 2 * logits[i, i]).item() / 6
    assert got.item() == pytest.approx(want)
    assert info_nce(a, b, 4.0, kin=torch.arange(3)) == info_nce(a, b, 4.0)
    assert info_nce(a, b, 4.0, kin=torch.zeros(3)) == 0


def test_autocast_does_not_round_a_loss():
    z = rows(16, dtype=torch.float32)
    losses = {
        "sup_con": lambda: sup_con(z, torch.ones(16, 16), 0.02),
        "nt_xent": lambda: nt_xent(z[:8], z[8:], 0.02),
        "info_nce": lambda: info_nce(z[:8], z[8:], 50.0),
    }
    for name, loss in losses.items():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = loss()
        assert torch.equal(rough, loss()), name
    assert sup_con(z.bfloat16(), torch.ones(16, 16), 0.02).dtype == torch.float32


def test_rows_that_share_an_id_of_any_kind_are_not_told_apart():
    """Row 0 and 1 share a subject, 1 and 2 a text; 0 and 2 nothing, so each is the other's negative."""
    a, b = F.normalize(torch.randn(3, 4, dtype=torch.float64), dim=1), F.normalize(torch.randn(3, 4).double(), dim=1)
    kin = torch.tensor([[7, 1, -1], [7, 2, -1], [8, 2, -1]])
    logits = 3 * a @ b.T
    keep = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
    there, back = (F.cross_entropy(z.masked_fill(~keep, -1e9), torch.arange(3)) for z in (logits, logits.T))
    assert info_nce(a, b, 3.0, kin=kin).item() == pytest.approx((there + back).item() / 2)


def test_an_id_below_zero_is_kin_to_none():
    a, b = (F.normalize(torch.randn(4, 3), dim=1) for _ in range(2))
    assert info_nce(a, b, 2.0, kin=torch.full((4, 2), -1)) == info_nce(a, b, 2.0)
