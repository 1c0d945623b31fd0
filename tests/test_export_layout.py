"""Graphs in another shape say the same, and keep saying it where a runtime would join what must not be joined."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from stethos.export.layout import in_pictures, zeros_behind
from stethos.export.score import score_graph, session
from stethos.nn.net1d import Net1d


def graph(nodes, **held):
    """A graph from x to y, `(B, 3, T)` float32 each, with its constants."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", None, None]) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    made = helper.make_graph(nodes, "test", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def said(model, x):
    return session(model).run(None, {"x": x})[0]


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 3), (1, 3, 1)])
def test_a_convolution_of_pictures_is_that_of_signals(stride, dilation, groups):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 3 // groups, 4)).astype(np.float32)
    settings = {"kernel_shape": [4], "strides": [stride], "dilations": [dilation], "group": groups, "pads": [2, 5]}
    model = graph([helper.make_node("Conv", ["x", "w"], ["y"], "block/Conv", **settings)], w=weight)
    x = rng.standard_normal((2, 3, 31)).astype(np.float32)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (2, 5))
    want = torch.nn.functional.conv1d(padded, torch.from_numpy(weight), None, stride, 0, dilation, groups).numpy()
    turned = in_pictures(model)
    assert [len(t.dims) for t in turned.graph.initializer if t.name == "w"] == [4]
    assert all(node.name.startswith("block/") for node in turned.graph.node)
    np.testing.assert_allclose(said(turned, x), want, atol=1e-5)


def test_a_weight_that_two_convolutions_share_is_turned_once():
    weight = np.ones((3, 3, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "a/Conv"),
        helper.make_node("Conv", ["h", "w"], ["y"], "b/Conv"),
    ]
    x = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    np.testing.assert_array_equal(said(in_pictures(graph(nodes, w=weight)), x), [[[18, 27]] * 3])


def test_a_zero_behind_wins_against_negative_neighbours():
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["h"], "halve/Pad"),
        helper.make_node("MaxPool", ["h"], ["y"], "halve/MaxPool", kernel_shape=[2], strides=[2]),
    ]
    turned = zeros_behind(graph(nodes, pads=np.array([0, 0, 0, 0, 0, 1])))
    assert "Pad" not in {node.op_type for node in turned.graph.node}
    onnx.checker.check_model(turned)
    np.testing.assert_array_equal(said(turned, np.array([[[-3, -2, -1]]], np.float32)), [[[-2, 0]]])


def test_other_paddings_stay():
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["h"], "wide/Pad"),
        helper.make_node("MaxPool", ["h"], ["y"], "halve/MaxPool", kernel_shape=[2], strides=[2]),
    ]
    model = zeros_behind(graph(nodes, pads=np.array([0, 1, 0, 0, 1, 0])))
    assert [node.op_type for node in model.graph.node] == ["Pad", "MaxPool"]


def test_a_network_with_odd_lengths_has_no_padding_that_is_pooled_and_only_pictures():
    model = score_graph(Net1d(widths=(16, 32), blocks=(1, 1)).eval(), (1, 61), "forward")
    padded = {node.output[0] for node in model.graph.node if node.op_type == "Pad"}
    assert not [node for node in model.graph.node if node.op_type == "MaxPool" and node.input[0] in padded]
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 7
    assert all(len(held[node.input[1]].dims) == 4 for node in convolutions)
