"""A network as a graph: the same answers, in single, half and eight-bit precision, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stethos.errors import FormatError, WeightsError
from stethos.export.cost import Cost, cost
from stethos.export.graph import composed
from stethos.export.prepare import prepare_graph
from stethos.export.quantise import half, integers, sweep
from stethos.export.score import activations, block_nodes, block_outputs, blocks_of, score_graph, session
from stethos.nn.net1d import Net1d
from stethos.signal.prepare import PREPARATIONS
from stethos.study.ensemble import Ensemble
from stethos.systems.anyecg_echo import AnyECGEcho
from stethos.systems.anyecg_echo import tiny as echo_tiny

onnx = pytest.importorskip("onnx")
TensorProto, helper = onnx.TensorProto, onnx.helper

STAGES = ("net.stages.0.0", "net.stages.1.0", "net.stages.2.0")


class Voice(nn.Module):
    """A narrow Net1d with the two seams of a page's model."""

    def __init__(self, seed: int, classes: int = 1) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = Net1d(1, classes, (16, 32, 32), (1, 1, 1))

    def score(self, x: Tensor) -> Tensor:
        return self.net(x)


def strips(count: int, seed: int = 0, samples: int = 1250) -> np.ndarray:
    """Random walks of about unit size, `(count, 1, samples)`."""
    walk = np.cumsum(np.random.default_rng(seed).standard_normal((count, 1, samples)), -1)
    return (walk / np.abs(walk).max(-1, keepdims=True) * 3).astype(np.float32)


@pytest.fixture(scope="module")
def voice() -> Voice:
    """With one stage whose channels are of very different sizes, which 256 steps cannot hold."""
    model = Voice(0).eval()
    wide = model.net.stages[1][0]
    with torch.no_grad():
        wide.conv1.weight[0] *= 3000  # one channel, for which all others lose their digits
        wide.conv2.weight[:, 0] /= 3000
    return model


@pytest.fixture(scope="module")
def graph(voice):
    return score_graph(voice, (1, 1250))


def heard(graph, x: np.ndarray) -> np.ndarray:
    return session(graph).run(None, {"x": x})[0]


def spoken(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.score(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_graph_says_what_the_network_says(graph, voice, batch):
    x = strips(batch, seed=batch)
    got = heard(graph, x)
    assert got.shape == (batch, 1)
    assert np.abs(got - spoken(voice, x)).max() < 1e-5


def test_an_ensemble_of_several_classes_speaks_with_its_mean():
    members = [Voice(seed, classes=3).eval() for seed in (1, 2)]
    graph = score_graph(Ensemble(members).eval(), (1, 1250))
    x = strips(3)
    want = np.mean([spoken(member, x) for member in members], axis=0)
    assert heard(graph, x).shape == (3, 3)
    assert np.allclose(heard(graph, x), want, atol=1e-5)
    assert graph.graph.output[0].name == "logit"


def test_prompts_of_a_pretraining_are_scored_by_the_graph_too():
    model = AnyECGEcho(replace(echo_tiny(), widths=(16, 16), blocks=(1, 1), width=8)).eval()
    with torch.no_grad():
        for bank in (model.present, model.absent):
            bank.copy_(torch.randn(bank.shape, generator=torch.Generator().manual_seed(3)))
    x = strips(2)
    assert np.allclose(heard(score_graph(model, (1, 1250)), x), spoken(model, x), atol=1e-4)


def test_every_block_puts_out_in_the_graph_what_it_puts_out_in_torch(graph, voice):
    x = strips(2)
    mine, outputs = activations(voice, voice.score, x), block_outputs(graph, list(blocks_of(voice)))
    assert list(mine) == list(outputs) == ["net.stem", *STAGES, "net.head"]
    theirs = session(graph, list(outputs.values())).run(list(outputs.values()), {"x": x})
    for (name, want), got in zip(mine.items(), theirs, strict=True):
        assert np.linalg.norm(got - want) < 1e-5 * np.linalg.norm(want), name


def test_a_block_is_not_taken_for_one_whose_name_begins_alike(graph):
    assert not block_nodes(graph, "net.stages.1.")
    assert not block_nodes(graph, "net.stage")
    assert {node.name.split("/")[0] for node in block_nodes(graph, "net.stem")} == {"net.stem"}


def test_a_graph_tells_nothing_of_the_machine_that_it_was_made_on(graph):
    held = graph.SerializeToString()
    assert b"test_export_score" not in held
    assert b".py" not in held


def test_a_network_whose_graph_answers_otherwise_is_refused():
    class Moody(Voice):
        def score(self, x: Tensor) -> Tensor:
            return self.net(x) + torch.rand(1)

    with pytest.raises(WeightsError, match="must answer as its network"):
        score_graph(Moody(0), (1, 250))


def test_half_precision_halves_the_file_and_moves_the_logits_by_less_than_its_eleven_bits(graph, voice):
    small, x = half(graph), strips(20)
    sizes = len(small.SerializeToString()), len(graph.SerializeToString())
    assert sizes[0] < 0.65 * sizes[1]
    kinds = {item.data_type for item in small.graph.initializer if np.prod(item.dims) >= 16}
    assert kinds == {TensorProto.FLOAT16}
    want = spoken(voice, x)
    rounded = Voice(0).eval()
    state = {name: v.half().float() if v.numel() >= 16 else v for name, v in voice.state_dict().items()}
    rounded.load_state_dict(state)
    assert np.allclose(heard(small, x), spoken(rounded, x), atol=1e-5)  # torch's own rounding of the same weights
    assert 0 < np.abs(heard(small, x) - want).max() < 5e-3 * np.abs(want).max()


def test_a_weight_beyond_half_precision_becomes_no_number_that_a_gate_could_miss(graph):
    wild = onnx.ModelProto()
    wild.CopyFrom(graph)
    held = next(item for item in wild.graph.initializer if "stem.weight" in item.name)
    held.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(held.dims), 1e6, np.float32), held.name))
    assert not np.isfinite(heard(half(wild), strips(1))).all()


def test_the_sweep_finds_the_block_that_eight_bits_cannot_hold(graph, voice):
    moved = sweep(graph, strips(20), list(blocks_of(voice)))
    assert set(moved) == {"net.stem", *STAGES}  # the head, which gives the logit, is never quantised
    assert next(iter(moved)) == STAGES[1]
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_a_block_that_is_kept_stays_as_it_is_and_brings_the_answers_back(graph, voice):
    x = strips(20)
    whole, mixed = integers(graph, x), integers(graph, x, [STAGES[1]])

    def weights(model) -> set[str]:
        return {item.name for item in model.graph.initializer if item.data_type == TensorProto.FLOAT and item.dims}

    assert f"{STAGES[1]}.conv1.weight" in {name.removeprefix("module.") for name in weights(mixed)}
    assert not [name for name in weights(whole) if name.endswith("conv1.weight")]
    assert {item.data_type for item in whole.graph.initializer if item.name.endswith("weight_quantized")} == {
        TensorProto.INT8
    }
    error = [np.abs(heard(model, x) - spoken(voice, x)).max() for model in (whole, mixed)]
    assert error[1] < 0.5 * error[0]


# --- costs, by hand ---------------------------------------------------------------------------------------------


def two_layers():
    """Ten samples; a convolution to 4 channels of 5 samples; ReLU; the mean; a matrix product to 2 classes."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], strides=[2], pads=[1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("ReduceMean", ["r", "axis"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "v", "c"], ["logit"], transB=1),
    ]
    stored = {"w": (4, 1, 3), "b": (4,), "v": (2, 4), "c": (2,)}
    tensors = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in stored.items()]
    tensors.append(onnx.numpy_helper.from_array(np.array([2]), "axis"))
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 1, 10]),
        helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["B", 2]),
    ]
    made = helper.make_graph(nodes, "two", ends[:1], ends[1:], initializer=tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_two_layers_cost_what_they_cost_by_hand():
    macs = 4 * 5 * 3 + 4 * 2  # 20 samples put out of 3 weights each; 2 classes of 4 features
    parameters = 4 * 3 + 4 + 2 * 4 + 2
    peak = 4 * (20 + 20)  # the convolution's 4 × 5 numbers of 4 bytes and the ReLU's
    assert cost(two_layers()) == Cost(macs, parameters, peak)


def test_half_precision_changes_no_count_but_the_bytes(graph):
    assert cost(half(graph)) == cost(graph)


def test_the_parameters_of_a_graph_are_those_of_the_network(graph, voice):
    assert cost(graph).parameters == sum(value.numel() for value in voice.parameters())
    assert cost(integers(graph, strips(5))).parameters == cost(graph).parameters


def test_the_multiplications_are_those_that_torch_counts(graph, voice):
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        voice.score(torch.zeros(1, 1, 1250))
    assert cost(graph).macs == counter.get_total_flops() // 2


def test_a_graph_with_an_unknown_size_is_not_counted():
    made = two_layers()
    made.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "T"
    with pytest.raises(FormatError, match="size of every value"):
        cost(made)


def test_a_joined_graph_costs_its_parts(graph):
    prepare = prepare_graph(PREPARATIONS["lead-v1"], 250.0)
    parts, whole = (cost(prepare), cost(graph)), cost(composed(prepare, graph))
    assert whole.macs == parts[0].macs + parts[1].macs
    assert whole.peak_bytes == max(part.peak_bytes for part in parts)
