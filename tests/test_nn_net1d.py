"""Net1D against hand-worked numbers, a plain second implementation, and the published counts."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stethos.errors import RecipeError
from stethos.nn.net1d import BLOCKS, WIDTHS, Net1d, halve, pad_same, widen

TINY = {"channels": 2, "classes": 3, "widths": (16, 48), "blocks": (2, 1)}


def on_meta(*args: object, **kwargs: object) -> Net1d:
    with torch.device("meta"):
        return Net1d(*args, **kwargs)


def seeded(seed: int = 0, **kwargs: object) -> Net1d:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net1d(**kwargs)


def test_same_padding_reaches_seven_samples_back_and_eight_ahead():
    x = torch.zeros(1, 1, 40)
    x[..., 20] = 1
    y = torch.conv1d(pad_same(x), torch.ones(1, 1, 16))[0, 0]
    assert y.shape == (40,)
    assert y.nonzero().flatten().tolist() == list(range(12, 28))  # seen by the outputs 20 − 8 … 20 + 7


def test_an_odd_last_sample_is_pooled_with_a_zero_and_not_with_minus_infinity():
    x = torch.tensor([[[-3.0, -1.0, 4.0, 2.0, -2.0]]])
    assert halve(x).tolist() == [[[-1.0, 4.0, 0.0]]]
    assert halve(x[..., :4]).tolist() == [[[-1.0, 4.0]]]


def test_new_channels_are_zero_and_the_larger_half_of_them_lies_behind():
    x = torch.tensor([[[1.0], [2.0]]])
    assert widen(x, 5).flatten().tolist() == [0, 1, 2, 0, 0]
    assert torch.equal(widen(x, 2), x)


def test_a_block_worked_out_by_hand():
    net = Net1d(channels=1, classes=1, widths=(16,), blocks=(1,)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.stem.weight[0, 0, 7] = 1  # the sample itself, of every second one: −2, −6
        net.stages[0][0].conv3.bias[0] = 3  # a constant residual
        net.stages[0][0].excite.bias[0] = math.log(3)  # a gate of 0.75
        net.head.weight[0, 0] = 1
        net.head.bias[0] = 10
    x = torch.tensor([[[-2.0, 5.0, -6.0, 5.0, -1.0]]], dtype=torch.double)

    def swish(v: float) -> float:
        return v / (1 + math.exp(-v))

    pooled = [max(swish(-2), swish(-6)), 0.0]  # three samples leave the stem; the third is −1, paired with 0
    want = sum(pooled) / 2 + 0.75 * 3 + 10
    assert net(x).item() == pytest.approx(want, abs=1e-12)


def plain_convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """SAME convolution by its definition, `(C, T)` to `(O, ⌈T/s⌉)`, groups read from the weight's shape."""
    (width, depth, kernel), samples = weight.shape, x.shape[1]
    length = math.ceil(samples / stride)
    padding = max(0, (length - 1) * stride + kernel - samples)
    padded = np.pad(x, ((0, 0), (padding // 2, padding - padding // 2)))
    y = np.empty((width, length))
    for o, t in itertools.product(range(width), range(length)):
        group = o // (width * depth // x.shape[0])
        patch = padded[group * depth : (group + 1) * depth, t * stride : t * stride + kernel]
        y[o, t] = (patch * weight[o]).sum() + bias[o]
    return y


def plain_net(state: dict[str, Tensor], x: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """The network of the paper for one record, in numpy, from the description alone."""
    w = {name: tensor.double().numpy() for name, tensor in state.items()}

    def swish(v: np.ndarray) -> np.ndarray:
        return v / (1 + np.exp(-v))

    h = swish(plain_convolution(x, w["stem.weight"], w["stem.bias"], 2))
    for stage, block in ((s, b) for s, n in enumerate(blocks) for b in range(n)):
        at, stride = f"stages.{stage}.{block}.", 1 if block else 2
        r = h if stage == block == 0 else swish(h)
        r = plain_convolution(r, w[at + "conv1.weight"], w[at + "conv1.bias"], 1)
        r = plain_convolution(swish(r), w[at + "conv2.weight"], w[at + "conv2.bias"], stride)
        r = plain_convolution(swish(r), w[at + "conv3.weight"], w[at + "conv3.bias"], 1)
        s = swish(w[at + "squeeze.weight"] @ r.mean(1) + w[at + "squeeze.bias"])
        gate = 1 / (1 + np.exp(-(w[at + "excite.weight"] @ s + w[at + "excite.bias"])))
        if stride == 2:
            even = np.pad(h, ((0, 0), (0, h.shape[1] % 2)))
            h = np.maximum(even[:, ::2], even[:, 1::2])
        more = r.shape[0] - h.shape[0]
        h = np.pad(h, ((more // 2, more - more // 2), (0, 0))) + r * gate[:, None]
    return w["head.weight"] @ h.mean(1) + w["head.bias"]


@pytest.mark.parametrize("samples", [1, 2, 33, 46, 64])
def test_it_computes_what_a_plain_implementation_computes(samples: int):
    net = seeded(**TINY).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)  # far from zero, where a slip in an activation would hide
    x = torch.randn(2, 2, samples, dtype=torch.double, generator=torch.Generator().manual_seed(samples))
    want = np.stack([plain_net(net.state_dict(), row, TINY["blocks"]) for row in x.numpy()])
    got = net(x).detach().numpy()
    assert np.abs(got - want).max() < 1e-10 * np.abs(want).max()


def test_the_published_sizes_have_the_published_parameter_counts():
    def count(net: Net1d) -> int:
        return sum(parameter.numel() for parameter in net.parameters())

    assert count(on_meta(1, 150)) == 30_741_382
    assert count(on_meta(1, 1)) == 30_588_657
    assert count(on_meta(12, 150)) == 30_819_014 - 66_368  # published with the norms that are never used
    with torch.device("meta"):
        assert count(Net1d.scaled(1)) == 30_588_657
        assert round(count(Net1d.scaled(0.5)) / 1e6, 2) == 8.01
        assert round(count(Net1d.scaled(0.25)) / 1e6, 2) == 1.22


def test_ten_seconds_halve_eight_times_and_cost_1140_million_multiplications():
    net, lengths = on_meta(1, 150), []
    for layer in (net.stem, *net.stages):
        layer.register_forward_hook(lambda _module, _inputs, output: lengths.append(tuple(output.shape[1:])))
    with FlopCounterMode(display=False) as flops, torch.device("meta"):
        net(torch.empty(1, 1, 5000))
    assert lengths == list(zip((64, *WIDTHS), (2500, 1250, 625, 313, 157, 79, 40, 20), strict=True))
    assert round(flops.get_total_flops() / 2e6) == 1140


def test_features_are_what_the_head_reads():
    net = seeded(**TINY).eval()
    x = torch.ones(4, 2, 50)
    assert net.features(x).shape == (4, net.width) == (4, 48)
    assert torch.equal(net.head(net.features(x)), net(x))


def test_a_new_head_keeps_the_rest():
    net = seeded(**TINY).eval()
    x = torch.ones(1, 2, 50)
    before = net.features(x)
    assert net.replace_head(7)(x).shape == (1, 7)
    assert net.classes == 7
    assert torch.equal(net.features(x), before)


def test_dropout_and_stochastic_depth_act_in_training_only():
    x = torch.ones(8, 2, 50)
    plain = seeded(**TINY)
    for chance in ({"dropout": 0.3}, {"stochastic_depth": 0.9}):
        net = Net1d(**TINY, **chance)
        net.load_state_dict(plain.state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(0)
            assert not torch.allclose(net(x), plain(x))
        assert torch.equal(net.eval()(x), plain.eval()(x))
    assert torch.equal(plain.train()(x), plain(x))


def test_stochastic_depth_skips_late_blocks_more_and_keeps_the_mean():
    net = seeded(channels=1, classes=1, widths=(16,), blocks=(3,), stochastic_depth=0.6)
    assert [block.skip for block in net.stages[0]] == pytest.approx([0, 0.3, 0.6])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        alive = net.stages[0][2]._survive(torch.ones(4000, 2, 2))
    assert alive.unique().tolist() == pytest.approx([0, 2.5])
    assert alive.mean().item() == pytest.approx(1, abs=4 * math.sqrt(0.6 / 0.4 / 4000))
    assert torch.equal(alive[:, :1, :1].expand_as(alive), alive)  # a whole row or nothing


def test_gradients_reach_every_weight():
    net = seeded(**TINY)
    net(torch.randn(2, 2, 60, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize("samples", [50, 77])
def test_one_exported_graph_holds_for_every_batch(samples: int):
    net = seeded(**TINY).eval()
    x = torch.randn(5, 2, samples, generator=torch.Generator().manual_seed(2))
    graph = torch.export.export(net, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for batch in (x, x[:1]):
        assert torch.allclose(graph(batch), net(batch), atol=1e-6)


@pytest.mark.parametrize(
    ("widths", "blocks"),
    [((16, 40), (1, 1)), ((32, 16), (1, 1)), ((16,), (1, 1)), ((), ()), ((16,), (0,)), ((0,), (1,))],
)
def test_widths_and_blocks_that_make_no_network_are_refused(widths: tuple[int, ...], blocks: tuple[int, ...]):
    with pytest.raises(RecipeError, match="Net1d needs"):
        Net1d(1, 1, widths, blocks)


def test_a_fraction_without_a_ladder_is_refused_and_the_others_are_named():
    with pytest.raises(RecipeError, match=r"1, 0\.5, 0\.25 of its width, not at 0\.3"):
        Net1d.scaled(0.3)


def test_the_default_is_the_published_ladder():
    net = on_meta()
    assert (net.widths, net.blocks) == (WIDTHS, BLOCKS)
    assert len(net.stages) == 7
    assert sum(len(stage) for stage in net.stages) == 20
