"""Learnt spectrograms: published shapes, a plain second implementation, clips of any length."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stethos.errors import RecipeError
from stethos.nn.mel import LogMel
from stethos.nn.tfgram import TFgram, Tgram, TimeNorm, _largest


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def shapes(layers: list[nn.Module], net: nn.Module, *inputs: Tensor) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for layer in layers:
        layer.register_forward_hook(lambda _module, _inputs, output: found.append(tuple(output.shape[1:])))
    with torch.device("meta"):
        net(*inputs)
    return found


def test_ten_seconds_have_the_published_shapes():
    with torch.device("meta"):
        tgram, tfgram, wave = Tgram(), TFgram(), torch.empty(2, 1, 160_000)
    assert shapes([tgram.filters, *tgram.layers], tgram, wave) == [(128, 313)] * 10
    found = shapes([tfgram.stem, tfgram.block1, tfgram.block2, tfgram.block3], tfgram, wave)
    assert found == [(64, 1, 32_000), (64, 1, 32_000), (128, 1, 8_000), (128, 1, 626)]
    assert tfgram(wave).shape == (2, 128, 313)


def test_a_filterbank_hears_a_click_in_the_two_frames_whose_filters_hold_it():
    tgram, wave = Tgram(8, None), torch.zeros(1, 1, 4096)
    wave[..., 2000] = 1  # frame f spans 512 (f − 1) to 512 (f + 1) − 1
    picture = tgram.filters(wave)[0]
    assert picture.any(0).nonzero().flatten().tolist() == [3, 4]
    assert torch.equal(picture[:, 3], tgram.filters.weight[:, 0, 2000 - 1024])
    assert torch.equal(picture[:, 4], tgram.filters.weight[:, 0, 2000 - 1536])


def test_norm_over_time_is_that_of_each_row_with_a_scale_a_channel():
    norm, x = TimeNorm(5).double(), 3 + 7 * noise(2, 5, 11, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(noise(5, 1, seed=1))
        norm.bias.copy_(noise(5, 1, seed=2))
    want = F.instance_norm(x, weight=norm.weight[:, 0], bias=norm.bias[:, 0])
    assert torch.allclose(norm(x), want, atol=1e-12)


def test_the_two_norms_differ_in_their_scale_alone():
    published, free = Tgram(16, 32), Tgram(16, None)
    state = {name: value for name, value in published.state_dict().items() if value.ndim > 1}
    assert free.load_state_dict(state, strict=False).unexpected_keys == []
    assert torch.allclose(published(wave := noise(2, 1, 16_000)), free(wave), atol=1e-5)


def plain_tgram(net: Tgram, wave: Tensor) -> Tensor:
    """Tgram with the published norm, from its description."""
    first, *rest = net.state_dict().values()
    x = F.conv1d(wave, first, stride=512, padding=512)
    for scale, offset, weight in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() * scale + offset
        x = F.conv1d(torch.where(x > 0, x, 0.2 * x), weight, padding=1)
    return x


def test_a_published_tgram_computes_what_a_plain_implementation_computes():
    net = Tgram(6, 32).double()
    for seed, layer in enumerate(net.layers[::3]):
        layer.load_state_dict({name: noise(32, seed=seed) for name in ("weight", "bias")})
    wave = noise(2, 1, 16_000, dtype=torch.float64)
    assert (net(wave) - plain_tgram(net, wave)).abs().max() < 1e-12


@pytest.mark.parametrize("samples", [1000, 15_871, 16_384, 960_000])
def test_a_published_tgram_says_which_clips_it_reads(samples: int):
    with torch.device("meta"):
        tgram = Tgram(4, 32)
        assert tgram(torch.empty(1, 1, 15_872)).shape == tgram(torch.empty(1, 1, 16_383)).shape == (1, 4, 32)
        with pytest.raises(RecipeError, match=f"of 32 frames reads clips of 15872 to 16383 samples, got {samples};"):
            tgram(torch.empty(1, 1, samples))


def plain_tfgram(net: TFgram, wave: Tensor, frames: int) -> Tensor:
    """TFgram in one dimension, in evaluation, from its description."""
    state = iter(net.state_dict().values())

    def layer(x: Tensor, stride: int, padding: int, gap: int) -> Tensor:
        weight, scale, offset, mean, variance, _ = (next(state) for _ in range(6))
        x = F.conv1d(x, weight[:, :, 0], None, stride, padding, gap)
        along = (x - mean[:, None]) / (variance[:, None] + 1e-5).sqrt() * scale[:, None] + offset[:, None]
        return along.clamp(min=0)

    x = layer(wave, 5, 5, 1)
    x = F.max_pool1d(layer(layer(x, 1, 1, 1), 1, 2, 2), 4)
    x = F.adaptive_max_pool1d(layer(layer(x, 1, 1, 1), 1, 2, 2), 2 * frames)
    return F.adaptive_max_pool1d(layer(layer(x, 1, 1, 1), 1, 2, 2), frames)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_computes_what_a_plain_implementation_computes(layout: torch.memory_format):
    net = TFgram(8).double().to(memory_format=layout)
    for step in range(3):
        net(noise(2, 1, 9000, seed=step, dtype=torch.float64))  # statistics away from 0 and 1
    wave = noise(3, 1, 9000, seed=9, dtype=torch.float64)
    for frames in (18, 7):
        got = net.eval()(wave, frames)
        assert (got - plain_tfgram(net, wave, frames)).abs().max() < 1e-12


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(100, 200_000), clips=st.integers(1, 2))
def test_clips_of_any_length_give_pictures_of_the_shape_of_a_log_mel(samples: int, clips: int):
    wave = noise(clips, 1, samples)
    tgram, tfgram = Tgram(128, None), TFgram(8)
    want = (clips, 128, 1 + samples // 512)
    assert LogMel()(wave).shape == tgram(wave).shape == want
    assert tfgram(wave).shape == (clips, 8, want[2])  # also in training, also a clip alone
    assert tfgram.eval()(wave).isfinite().all()


def test_a_minute_is_read():
    with torch.device("meta"):
        wave = torch.empty(1, 1, 960_000)
        assert Tgram(128, None)(wave).shape == TFgram()(wave).shape == (1, 128, 1876)


def test_a_clip_does_not_depend_on_its_neighbours():
    wave = noise(3, 1, 16_000)
    for net in (Tgram(8, None).eval(), TFgram(8).eval()):
        assert torch.allclose(net(wave)[1:2], net(wave[1:2]), atol=1e-5)


@pytest.mark.parametrize("net", [Tgram(8, 32), Tgram(8, None), TFgram(8)], ids=["published", "free", "tf"])
def test_gradients_reach_every_weight(net: nn.Module):
    picture = net(noise(2, 1, 16_000))
    (picture * noise(*picture.shape, seed=1)).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in net.parameters())


def test_convolutions_start_with_the_variance_of_glorot():
    for module in TFgram().modules():
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[1]
            variance = 2 / (kernel * (module.in_channels + module.out_channels))
            assert module.weight.var().item() == pytest.approx(variance, rel=0.2)
            assert module.weight.abs().max().item() <= (3 * variance) ** 0.5  # uniform


@settings(max_examples=50, deadline=None)
@given(length=st.integers(1, 200), columns=st.integers(1, 100))
def test_the_largest_of_each_part_is_the_same_where_it_is_exported(length: int, columns: int):
    x = noise(2, 3, 1, length)
    with mock.patch("torch.compiler.is_compiling", return_value=True):
        assert torch.equal(_largest(x, columns), F.adaptive_max_pool2d(x, (1, columns)))
