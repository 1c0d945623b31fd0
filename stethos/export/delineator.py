"""The small network that finds P, QRS and T (`stethos.signal.delineator`) as an ONNX graph.

Beside a score's graph it lets a device show which part of the beat is which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stethos.export.graph import Graph
from stethos.signal.delineator import Weights, trained

if TYPE_CHECKING:
    from onnx import ModelProto


def delineator_graph() -> ModelProto:
    """The network with the weights that come with Stethos.

    Returns:
        From "trace", what `stethos.signal.delineator.prepared` gives followed by zeros up to a multiple of 32
        samples, float32 `(1, T')`, to "shares", probabilities of nothing, P, QRS and T, float32 `(4, T')`.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    weights = trained()
    layers = len(weights) // 2
    levels = layers // 2 - 1
    graph = Graph()
    x, aside = graph.add("Unsqueeze", "trace", np.array([0])), []  # (1, 1, T')
    for i in range(levels):
        aside.append(_layer(graph, x, weights, i))
        x = graph.add("MaxPool", aside[-1], kernel_shape=[2], strides=[2])
    x = _layer(graph, _layer(graph, x, weights, levels), weights, levels + 1)
    for i in range(levels):
        x = _layer(graph, graph.add("Concat", _doubled(graph, x), aside.pop(), axis=1), weights, levels + 2 + i)
    logit = _convolved(graph, x, weights, layers - 1)  # (1, 4, T')
    graph.named("shares", graph.reshaped(graph.add("Softmax", logit, axis=1), 4, -1))
    return graph.model("delineator", {"trace": (np.float32, (1, "T"))}, {"shares": (np.float32, (4, "T"))})


def _layer(graph: Graph, x: str, weights: Weights, i: int) -> str:
    return graph.add("Relu", _convolved(graph, x, weights, i))


def _convolved(graph: Graph, x: str, weights: Weights, i: int) -> str:
    """Zero-padded, as long as what goes in."""
    weight = weights[f"w{i}"].transpose(1, 2, 0)  # (out, in, taps)
    half = weight.shape[2] // 2
    return graph.add("Conv", x, weight, weights[f"b{i}"], pads=[half, half])


def _doubled(graph: Graph, x: str) -> str:
    """Each sample twice."""
    scales = np.array([1, 1, 2], np.float32)
    return graph.add(
        "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
