"""What a graph costs a device: multiplications, memory and bytes, counted and not timed.

A convolution makes one multiplication for each weight that meets each sample put out, a matrix product one for each
of its three sizes multiplied; additions of biases, activations and pooling are not counted, as is the custom. The peak
of activations is the largest sum of the values that are still needed, if nodes run in the order of the file, with
nothing computed in place: about what a runtime needs beside the weights. What happens inside a loop (the filters of a
preparation have one, with a small product for each 64 samples) is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import FormatError
from stethos.export.graph import library
from stethos.export.score import session

if TYPE_CHECKING:
    from onnx import ModelProto

MULTIPLIED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Cost:
    """What one window costs.

    Args:
        macs: Multiplications with an addition, of convolutions and matrix products.
        parameters: Numbers stored in the graph's weights; a scale or an index of a quantised graph is none.
        peak_bytes: Largest sum of the activations alive at one time.
    """

    macs: int
    parameters: int
    peak_bytes: int


def cost(model: ModelProto, given: Mapping[str, np.ndarray] | None = None) -> Cost:
    """What a graph costs for a batch of one.

    Args:
        model: All sizes but that of the batch are known, unless an example is given.
        given: What comes in, by name, for a graph whose sizes depend on it: sizes are then those of a run.

    Raises:
        FormatError: A size is not known.
    """
    sizes = _sizes(model) if given is None else _sizes_met(model, given)
    macs = sum(_macs(node, sizes) for node in model.graph.node if node.op_type in MULTIPLIED)
    return Cost(macs, _parameters(model), _peak(model, sizes))


def _sizes(model: ModelProto) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape, and bytes of one number, of every value of a graph."""
    onnx = library()
    one = onnx.ModelProto()
    one.CopyFrom(model)
    del one.graph.value_info[:]
    for end in (*one.graph.input, *one.graph.output):
        if not end.type.tensor_type.shape.dim[0].dim_value:
            end.type.tensor_type.shape.dim[0].dim_value = 1
    told = onnx.shape_inference.infer_shapes(one, data_prop=True).graph
    found = {}
    for value in (*told.input, *told.value_info, *told.output):
        kind = value.type.tensor_type
        if all(size.HasField("dim_value") for size in kind.shape.dim):
            found[value.name] = tuple(size.dim_value for size in kind.shape.dim), _bytes(kind.elem_type)
    return found | {tensor.name: (tuple(tensor.dims), _bytes(tensor.data_type)) for tensor in told.initializer}


def _sizes_met(model: ModelProto, given: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], int]]:
    """The same as a run with an example meets them."""
    names = [name for node in model.graph.node for name in node.output if name]
    made = session(model, names).run(names, dict(given))
    met = {name: np.asarray(value) for name, value in (*given.items(), *zip(names, made, strict=True))}
    stored = {tensor.name: (tuple(tensor.dims), _bytes(tensor.data_type)) for tensor in model.graph.initializer}
    return {name: (value.shape, value.itemsize) for name, value in met.items()} | stored


def _bytes(kind: int) -> int:
    return int(library().helper.tensor_dtype_to_np_dtype(kind).itemsize)


def _shape(name: str, sizes: dict[str, tuple[tuple[int, ...], int]]) -> tuple[int, ...]:
    if name not in sizes:
        raise FormatError(f"counting needs the size of every value of the graph, and that of {name!r} is not known")
    return sizes[name][0]


def _macs(node: Any, sizes: dict[str, tuple[tuple[int, ...], int]]) -> int:
    made = math.prod(_shape(node.output[0], sizes))
    if node.op_type == "Conv":
        return made * math.prod(_shape(node.input[1], sizes)[1:])  # weight (outputs, inputs / groups, kernel …)
    first = _shape(node.input[0], sizes)
    turned = any(item.name == "transA" and item.i for item in node.attribute)
    return made * (first[0] if turned else first[-1])


def _parameters(model: ModelProto) -> int:
    """Numbers of the weights and biases, in whatever type they are stored."""
    held = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    source = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type in ("Cast", "DequantizeLinear")
    }
    used = set()
    for node in model.graph.node:
        if node.op_type in MULTIPLIED:
            used |= {source.get(name, name) for name in node.input[1:]}
    return sum(held[name] for name in used if name in held)


def _constants(model: ModelProto) -> set[str]:
    """What does not depend on the input: weights, and weights that are cast or scaled when the graph is loaded."""
    found = {tensor.name for tensor in model.graph.initializer} | {""}
    for node in model.graph.node:
        if found.issuperset(node.input):
            found |= set(node.output)
    return found


def _peak(model: ModelProto, sizes: dict[str, tuple[tuple[int, ...], int]]) -> int:
    stored = _constants(model)
    last = {name: len(model.graph.node) for name in (item.name for item in model.graph.output)}
    for place, node in reversed(list(enumerate(model.graph.node))):
        for name in node.input:
            last.setdefault(name, place)
    alive = {item.name for item in model.graph.input}
    peak = 0
    for place, node in enumerate(model.graph.node):
        alive |= set(node.output) - {""}
        peak = max(peak, sum(math.prod(_shape(name, sizes)) * sizes[name][1] for name in alive - stored))
        alive -= {name for name in alive if last.get(name, place) <= place}
    return peak
