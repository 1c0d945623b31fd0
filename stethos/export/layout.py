"""The same graph in a shape that runtimes are quick at: convolutions over pictures one pixel high.

onnxruntime has fast kernels, with channels in blocks, for convolutions of two dimensions and none for those of one; a
signal `(B, C, T)` is therefore convolved as a picture `(B, C, 1, T)`. Not one weight changes.

Some versions of it join a padding of zeros to the maximum pooling behind it, which pads with −∞: a zero that is to win
against negative neighbours is lost. So such a zero is made of the last sample and put behind the signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.export.graph import library

if TYPE_CHECKING:
    from onnx import ModelProto

_HEIGHT = "layout/height"  # the axis that a picture has and a signal has not
_LAST, _END, _TIME = "layout/last", "layout/end", "layout/time"


def in_pictures(model: ModelProto) -> ModelProto:
    """A graph whose convolutions of one dimension are of two; it is changed in place.

    Args:
        model: Of signals; its nodes are named `BLOCK/operator`.
    """
    onnx, nodes = library(), []
    signals = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 3}
    turned: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1] in signals:
            turned.add(node.input[1])
            nodes += _as_picture(node)
        else:
            nodes.append(node)
    for name in turned:
        values = onnx.numpy_helper.to_array(signals[name])
        signals[name].CopyFrom(onnx.numpy_helper.from_array(values[:, :, None], name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if turned:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2], np.int64), _HEIGHT))
    return model


def zeros_behind(model: ModelProto) -> ModelProto:
    """A graph in which a single zero behind a signal that is pooled is no padding; it is changed in place."""
    onnx, nodes = library(), []
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pooled = {node.input[0] for node in model.graph.node if node.op_type == "MaxPool"}
    for node in model.graph.node:
        adds = (
            held.get(node.input[1], np.zeros(0)) if node.op_type == "Pad" and node.output[0] in pooled else np.zeros(0)
        )
        nodes += _zero_behind(node) if np.array_equal(adds, (0, 0, 0, 0, 0, 1)) and len(node.input) == 2 else [node]
    if len(nodes) > len(model.graph.node):
        for name, value in ((_LAST, -1), (_END, np.iinfo(np.int64).max), (_TIME, 2)):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _zero_behind(node: Any) -> list[Any]:
    """The last sample, itself minus itself, and that behind the signal `(B, C, T)`."""
    make, name, signal = library().helper.make_node, node.output[0], node.input[0]
    return [
        make("Slice", [signal, _LAST, _END, _TIME], [f"{name}/last"], f"{node.name}/last"),
        make("Sub", [f"{name}/last", f"{name}/last"], [f"{name}/zero"], f"{node.name}/zero"),
        make("Concat", [signal, f"{name}/zero"], [name], f"{node.name}/behind", axis=2),
    ]


def _as_picture(node: Any) -> list[Any]:
    """A height before the convolution, the convolution of two dimensions, and no height behind it."""
    onnx = library()
    before, after = f"{node.output[0]}/before", f"{node.output[0]}/after"
    raised = onnx.helper.make_node("Unsqueeze", [node.input[0], _HEIGHT], [before], f"{node.name}/raised")
    lowered = onnx.helper.make_node("Squeeze", [after, _HEIGHT], [node.output[0]], f"{node.name}/lowered")
    node.input[0], node.output[0] = before, after
    for attribute in node.attribute:
        if attribute.name in ("kernel_shape", "strides", "dilations"):
            attribute.ints[:] = [1, *attribute.ints]
        elif attribute.name == "pads":
            attribute.ints[:] = [0, attribute.ints[0], 0, attribute.ints[1]]
    return [raised, node, lowered]
