"""The quick backward pass is that of torch."""

import pytest
import torch
from torch import Tensor, nn

from stethos.nn.prelu import PReLU


def grads(layer: nn.PReLU, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.clone().requires_grad_()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-0.5, 1.5, x.shape[1]))
    y = layer(x)
    (y * weight).sum().backward()
    return y, x.grad, layer.weight.grad


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 7), (3, 5, 7, 2)])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], dtype: torch.dtype, within: float):
    chance = torch.Generator().manual_seed(len(shape))
    x, weight = torch.randn(2, *shape, generator=chance, dtype=dtype)
    x[0, 0] = 0  # the corner
    for got, want in zip(grads(PReLU(5).to(dtype), x, weight), grads(nn.PReLU(5).to(dtype), x, weight), strict=True):
        assert got.dtype == dtype
        assert torch.allclose(got, want, rtol=within, atol=within)


def test_images_keep_their_memory_format():
    x, weight = torch.randn(2, 2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    x = x.to(memory_format=torch.channels_last)
    y, slope, _ = grads(PReLU(5), x, weight.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert slope.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(slope, grads(nn.PReLU(5), x, weight)[1])


def test_half_precision_sums_its_slope_in_float32():
    x, weight = torch.ones(2, 64, 1, 50, 50, dtype=torch.bfloat16)
    y, _, slope = grads(PReLU(1), -x, weight)
    assert y.dtype == torch.bfloat16
    assert slope.item() == -64 * 2500  # in bfloat16 it would be stuck at −256


def test_the_gradient_is_right_by_differences():
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    layer = PReLU(3).double()
    torch.autograd.gradcheck(
        lambda x, slope: torch.func.functional_call(layer, {"weight": slope}, x), (x, layer.weight)
    )


def test_evaluation_gives_the_same_values_and_gradients_of_gradients():
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer = PReLU(3)
    assert torch.equal(layer.train()(x), layer.eval()(x))
    (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    slope.sum().backward()
    assert x.grad.unique().tolist() == pytest.approx([2 * 0.25**2, 2])
