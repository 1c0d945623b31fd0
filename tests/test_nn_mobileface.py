"""MobileFaceNet on spectrograms, and the published assembly that it ends: shapes, counts, clips of any length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.errors import RecipeError
from stethos.nn.heads import Bottleneck, CosineHead
from stethos.nn.mel import LogMel
from stethos.nn.mobileface import Depthwise, InvertedResidual, MobileFace
from stethos.nn.tfgram import TFgram, Tgram


class Assembly(nn.Module):
    """Log-mel, Tgram and TFgram as channels of one picture, MobileFaceNet, bottleneck, cosines."""

    def __init__(self, frames: int | None = 313, grid: tuple[int, int] | None = (8, 20), scale: float = 1.0):
        super().__init__()
        self.mel, self.tgram, self.tfgram = LogMel(), Tgram(frames=frames), TFgram()
        self.encoder, self.head, self.cosine = MobileFace(grid=grid, scale=scale), Bottleneck(), CosineHead(128, 41)

    def forward(self, wave: Tensor) -> Tensor:
        picture = torch.stack([self.mel(wave), self.tgram(wave), self.tfgram(wave)], 1)
        return self.cosine(self.head(self.encoder(picture)))


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def count(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters() if weight.requires_grad)


def test_the_published_assembly_has_1372246_weights():
    net = Assembly()
    parts = {
        "tgram": 280_406,
        "tfgram": 198_720,
        "encoder": 876_201 - 129 * 41,  # published with a classifier that nothing reads
        "head": 16_960,
        "cosine": 41 * 128,
    }
    assert {name: count(net.get_submodule(name)) for name in parts} == parts
    assert count(net) == sum(parts.values()) == 1_372_246
    assert count(MobileFace(channels=1)) == 875_049 - 129 * 41


def multiplications(net: nn.Module, x: Tensor) -> float:
    """Of the convolutions and linear layers, for one clip, in 10⁹."""
    total = []

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        total.append(output[0].numel() * module.weight[0].numel())

    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    with torch.device("meta"):
        net(x)
    return sum(total) / 1e9


def test_ten_seconds_cost_the_published_multiplications():
    with torch.device("meta"):
        wave, picture, features = torch.empty(2, 1, 160_000), torch.empty(2, 3, 128, 313), torch.empty(2, 128)
        parts = [(Tgram(), wave, 0.087), (TFgram(), wave, 1.460), (MobileFace(), picture, 0.704)]
        found = [multiplications(net, x) for net, x, _ in parts]
        assert found == [pytest.approx(want, rel=0.005) for *_, want in parts]
        assert sum(found) + multiplications(Bottleneck(), features) == pytest.approx(2.252, rel=0.005)


def test_ten_seconds_have_the_published_shapes():
    with torch.device("meta"):
        net, found = MobileFace(), []
        for layer in (net.stem[0], net.stem, *net.blocks, net.widen, net.fold, net.project):
            layer.register_forward_hook(lambda _module, _inputs, output: found.append(tuple(output.shape[1:])))
        assert net(torch.empty(2, 3, 128, 313)).shape == (2, 128)
    maps = [(32, 79), (32, 79), (16, 40), (16, 40), (8, 20), (8, 20)]
    assert found == [(64, 64, 157)] * 2 + [(128, *size) for size in maps] + [(512, 8, 20), (512, 1, 1), (128, 1, 1)]
    assert [block.residual for block in net.blocks] == [False, True] * 3
    assert [block.layers[0].out_channels for block in net.blocks] == [128, 256, 512, 512, 512, 512]


def test_a_residual_that_says_nothing_is_the_identity():
    block, x = InvertedResidual(4, 4, 1, 2), noise(2, 4, 5, 6)
    nn.init.zeros_(block.layers[-1].weight)
    assert torch.equal(block(x), x)
    assert not InvertedResidual(4, 4, 2, 2).residual
    assert not InvertedResidual(4, 8, 1, 2).residual


def test_a_residual_computes_what_a_plain_implementation_computes():
    block, x = InvertedResidual(4, 4, 1, 3).double().eval(), noise(2, 4, 5, 6, dtype=torch.float64)
    narrow = 1 / (1 + 1e-5) ** 0.5  # the norm of an untrained batch norm
    state = block.layers.state_dict()
    h = F.prelu(F.conv2d(x, state["0.weight"]) * narrow, state["2.weight"])
    h = F.prelu(F.conv2d(h, state["3.weight"], padding=1, groups=12) * narrow, state["5.weight"])
    assert torch.allclose(block(x), x + F.conv2d(h, state["6.weight"]) * narrow, atol=1e-12)


def test_a_mean_over_time_is_a_kernel_that_is_the_same_at_all_times():
    free, published = MobileFace(grid=None, scale=0.25).eval(), MobileFace(grid=(8, 20), scale=0.25).eval()
    state = free.state_dict()
    state["fold.0.weight"] = state["fold.0.weight"].expand(-1, -1, 8, 20) / 20
    published.load_state_dict(state)
    picture = noise(2, 3, 128, 313)
    assert torch.allclose(free(picture), published(picture), atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(seconds=st.floats(1, 60), clips=st.integers(1, 2))
def test_clips_of_a_second_to_a_minute_are_read(seconds: float, clips: int):
    net = MobileFace(grid=None, scale=0.125).eval()
    with torch.no_grad():
        vectors = net(noise(clips, 3, 128, 1 + round(16_000 * seconds) // 512))
    assert vectors.shape == (clips, 128)
    assert vectors.isfinite().all()


@pytest.mark.parametrize("seconds", [1, 5, 11, 60])
def test_the_assembly_reads_one_clip_of_any_length(seconds: int):
    net = Assembly(frames=None, grid=None, scale=0.25).eval()
    with torch.no_grad():
        cosine = net(0.1 * noise(1, 1, 16_000 * seconds))
    assert cosine.shape == (1, 41)
    assert cosine.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("net", [Assembly(), Assembly(None, None, 0.25)], ids=["published", "free"])
def test_gradients_reach_every_weight(net: nn.Module):
    wave = noise(3, 1, 160_000 if net.tgram.frames else 20_000)
    F.cross_entropy(30 * net(wave), torch.arange(3)).backward()
    assert all(weight.grad.isfinite().all() and weight.grad.abs().sum() > 0 for weight in net.parameters())


@pytest.mark.parametrize("frames", [312 - 16, 313 + 16])
def test_a_picture_of_another_size_is_refused(frames: int):
    with torch.device("meta"):
        net = MobileFace().eval()
        with pytest.raises(RecipeError, match=f"last map of 8 × 20, got 8 × .* from a picture of 128 × {frames}"):
            net(torch.empty(1, 3, 128, frames))
        with pytest.raises(RecipeError, match="last map of 8 × any, got 4 × 20"):
            MobileFace(grid=None).eval()(torch.empty(1, 3, 64, 313))
        assert MobileFace(grid=(4, None)).eval()(torch.empty(1, 3, 64, 77)).shape == (1, 128)


def test_a_narrow_one_has_a_sixteenth_of_the_multiplications():
    with torch.device("meta"):
        picture = torch.empty(2, 3, 128, 313)
        ratio = multiplications(MobileFace(scale=0.25), picture) / multiplications(MobileFace(), picture)
        assert MobileFace(scale=0.25, width=24)(picture).shape == (2, 24)
    assert 1 / 16 < ratio < 1 / 10  # the depthwise ones fall by four only


def test_the_memory_format_does_not_change_the_vectors():
    net, picture = MobileFace(grid=None, scale=0.25).eval(), noise(2, 3, 128, 60)
    want = net(picture)
    assert torch.allclose(net.to(memory_format=torch.channels_last)(picture), want, atol=1e-5)


def test_a_depthwise_convolution_with_a_stride_keeps_its_digits():
    layer, x = Depthwise(6, 2), noise(2, 6, 8, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert Depthwise(6)(x).dtype == torch.bfloat16
    assert y.dtype == torch.float32
    assert torch.allclose(y, F.conv2d(x, layer.weight, stride=2, padding=1, groups=6), atol=1e-6)


def test_bfloat16_changes_a_vector_by_a_percent():
    net, picture = MobileFace(grid=None, scale=0.25).eval(), noise(4, 3, 128, 60)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(picture)
    assert F.cosine_similarity(rough.float(), net(picture)).min() > 0.999


def test_convolutions_start_with_the_published_variance():
    for module in MobileFace().modules():
        if isinstance(module, nn.Conv2d):
            area = module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / (area * module.out_channels)) ** 0.5, rel=0.1)


def test_one_exported_graph_holds_for_every_batch():
    net = Assembly(frames=None, grid=None, scale=0.125).eval()
    wave = 0.1 * noise(3, 1, 16_000)
    graph = torch.export.export(net, (wave[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    assert "adaptive" not in graph.code  # ONNX has no such pooling
    for batch in (wave, wave[:1]):
        assert torch.allclose(graph(batch), net(batch), atol=1e-4)
