"""A detector of anomalous sound as graphs: log-mel, networks and back end, from windows to a score for each machine.

    x (B, 1, T) ─ STFT ─ log-mel ─ networks ─► embedding (B, S·D) ─ back end, in float64 ─► score (B, M)

The Fourier transform is ONNX's own operator: half the time of a convolution with sines, and a thirtieth of the bytes.
A distance between neighbours is a small difference of numbers near 1, which float32 would round away, so that the back
end computes in float64. What it compares with is part of the file: the embeddings of normal recordings, or their means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from stethos.export.graph import Graph, library
from stethos.export.score import score_graph

if TYPE_CHECKING:
    from onnx import ModelProto

Judge = Callable[[Graph, Sequence[str]], str]
"""A graph, and the embedding by each network in it, float64 `(B, D)` → name of the score, float64 `(B, 1)`."""


class Heard(nn.Module):
    """Networks side by side.

    Args:
        members: Each with `embed`, `(B, 1, T)` to `(B, D)`.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def embed(self, x: Tensor) -> Tensor:
        """Windows `(B, 1, T)` to all embeddings end to end, `(B, S·D)`."""
        return torch.cat([member.embed(x) for member in self.members], dim=1)  # type: ignore[operator]


def embedding_graph(members: Sequence[nn.Module], samples: int) -> ModelProto:
    """Networks as one graph, "x" float32 `(B, 1, T)` → "embedding" float32 `(B, S·D)`; what they share is there once.

    Args:
        members: Each with `embed`; in evaluation mode.
        samples: T, at 16 kHz.

    Raises:
        WeightsError: The graph's answers are not those of the networks.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    return merged(score_graph(Heard(members).eval(), (1, samples), "embed", "embedding"))


def merged(model: ModelProto) -> ModelProto:
    """The same graph without constants and nodes that are there already, such as the log-mel of a second network."""
    made = deepcopy(model)
    same: dict[str, str] = {}
    seen: dict[Any, Sequence[str]] = {}
    for tensor in made.graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), library().numpy_helper.to_array(tensor).tobytes())
        same[tensor.name] = seen.setdefault(key, [tensor.name])[0]
    kept, ends = [], {end.name for end in made.graph.output}
    for node in made.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        told = (node.op_type, node.domain, tuple(node.input), len(node.output))
        made_of = (told, tuple(sorted(item.SerializeToString(deterministic=True) for item in node.attribute)))
        first = seen.setdefault(made_of, list(node.output))
        if first == list(node.output) or ends & set(node.output):
            kept.append(node)
        else:
            same |= dict(zip(node.output, first, strict=True))
    tensors = [tensor for tensor in made.graph.initializer if same[tensor.name] == tensor.name]
    for field, items in ((made.graph.node, kept), (made.graph.initializer, tensors)):
        held = [deepcopy(item) for item in items]
        del field[:]
        field.extend(held)
    return made


def judge_graph(machines: Sequence[Judge], members: int, width: int) -> ModelProto:
    """The back end as a graph of its own, for the mean embedding of several windows.

    Args:
        machines: How each machine judges.
        members: Networks, S.
        width: D, of each one's embedding.

    Returns:
        "embedding" float32 `(B, S·D)` → "score" float32 `(B, M)`.
    """
    graph = _judged(machines, members, width)
    ends = [{"embedding": (np.float32, ("B", members * width))}, {"score": (np.float32, ("B", len(machines)))}]
    return graph.model("judge", *ends)


def with_judge(embedding: ModelProto, machines: Sequence[Judge], members: int, width: int) -> ModelProto:
    """Networks and back end as one graph, "x" → "embedding" and "score"; arguments as `judge_graph` takes them."""
    onnx, graph, made = library(), _judged(machines, members, width), deepcopy(embedding)
    made.graph.node.extend(graph.nodes)
    made.graph.initializer.extend(graph.constants)
    batch = made.graph.output[0].type.tensor_type.shape.dim[0].dim_param or "B"
    kind = onnx.TensorProto.FLOAT
    made.graph.output.append(onnx.helper.make_tensor_value_info("score", kind, [batch, len(machines)]))
    onnx.checker.check_model(made)
    return made


def mean_of(judges: Sequence[Judge]) -> Judge:
    """The mean over the networks, each judged by a judge of its own."""

    def add(graph: Graph, z: Sequence[str]) -> str:
        each = [judge(graph, [one]) for judge, one in zip(judges, z, strict=True)]
        total = each[0]
        for score in each[1:]:
            total = graph.add("Add", total, score)
        return graph.add("Mul", total, np.array(1 / len(each)))

    return add


def to_nearest(normals: np.ndarray, k: int, spread: float = 1.0) -> Judge:
    """Mean of the k smallest of 1 − cos to some normals `(N, D)`, divided by a spread."""

    def add(graph: Graph, z: Sequence[str]) -> str:
        count = min(k, len(normals))
        smallest = graph.add("TopK", _cosine(graph, z[0], normals), np.array([count]), outputs=2, axis=1, largest=0)
        mean = graph.add("ReduceMean", smallest, np.array([1]), keepdims=1)
        return graph.add("Mul", mean, np.array(1 / spread))

    return add


def to_densest(normals: np.ndarray, density: np.ndarray) -> Judge:
    """Smallest of 1 − cos to some normals `(N, D)`, each divided by its density `(N,)`."""

    def add(graph: Graph, z: Sequence[str]) -> str:
        near = graph.add("Div", _cosine(graph, z[0], normals), np.asarray(density, np.float64)[None])
        return graph.add("ReduceMin", near, np.array([1]), keepdims=1)

    return add


def to_means(means: np.ndarray, white: np.ndarray) -> Judge:
    """Euclidean distance to the nearest of some means `(N, D)`, after `white` `(D, D)`."""

    def add(graph: Graph, z: Sequence[str]) -> str:
        one = graph.add("Unsqueeze", graph.add("MatMul", z[0], white), np.array([1]))
        apart = graph.add("Sub", one, means[None])  # (B, N, D)
        square = graph.add("ReduceSum", graph.add("Mul", apart, apart), np.array([2]), keepdims=0)
        return graph.add("ReduceMin", graph.add("Sqrt", square), np.array([1]), keepdims=1)

    return add


def smallest_of(judges: Sequence[Judge]) -> Judge:
    """The smallest of what several say of the same networks."""

    def add(graph: Graph, z: Sequence[str]) -> str:
        every = graph.add("Concat", *(judge(graph, z) for judge in judges), axis=1)
        return graph.add("ReduceMin", every, np.array([1]), keepdims=1)

    return add


def by_own_class(centres: np.ndarray, own: np.ndarray, scale: float, margin: float) -> Judge:
    """Minus the log probability of the own classes, of which the nearest has the margin.

        cos(θ + m) = cos θ cos m − sin θ sin m        cos θ − m sin m where θ + m > π

    Args:
        centres: Direction of every class, `(K, D)`.
        own: Which classes are the machine's own, Boolean `(K,)`.
        scale: Factor of the cosines.
        margin: m, in radians; 0 for none.
    """

    def add(graph: Graph, z: Sequence[str]) -> str:
        cosine = graph.add("MatMul", z[0], np.ascontiguousarray(centres.T))  # (B, K)
        mine, others = (
            graph.add("Gather", cosine, np.flatnonzero(part), axis=1) if part.any() else "" for part in (own, ~own)
        )
        mine = _margined(graph, mine, margin) if margin > 0 else mine
        every = graph.add("Concat", mine, others, axis=1) if others else mine
        sums = [
            graph.add("ReduceLogSumExp", graph.add("Mul", part, np.array(scale)), np.array([1]), keepdims=1)
            for part in (every, mine)
        ]
        return graph.add("Sub", *sums)

    return add


def _margined(graph: Graph, mine: str, margin: float) -> str:
    nearest = graph.add("ReduceMax", mine, np.array([1]), keepdims=1)
    inside = graph.add("Clip", nearest, np.array(-1.0), np.array(1.0))
    sine = graph.add("Sqrt", graph.add("Sub", np.array(1.0), graph.add("Mul", inside, inside)))
    parts = graph.add("Mul", inside, np.array(np.cos(margin))), graph.add("Mul", sine, np.array(np.sin(margin)))
    turned, beyond = graph.add("Sub", *parts), graph.add("Sub", inside, np.array(margin * np.sin(margin)))
    within = graph.add("GreaterOrEqual", inside, np.array(-np.cos(margin)))
    own = graph.add("Where", within, turned, beyond)
    return graph.add("Where", graph.add("Equal", mine, nearest), own, mine)


def _judged(machines: Sequence[Judge], members: int, width: int) -> Graph:
    graph = Graph("judge/")
    wide = graph.cast("embedding", np.float64)
    z = [
        graph.add("Slice", wide, *(np.array([edge]) for edge in (number * width, (number + 1) * width, 1)))
        for number in range(members)
    ]
    every = graph.add("Concat", *(machine(graph, z) for machine in machines), axis=1)
    graph.named("score", graph.cast(every, np.float32))
    return graph


def _cosine(graph: Graph, z: str, normals: np.ndarray) -> str:
    """1 − cos, in [0, 2], `(B, N)`."""
    square = graph.add("ReduceSum", graph.add("Mul", z, z), np.array([1]), keepdims=1)
    length = graph.add("Max", graph.add("Sqrt", square), np.array(1e-300))
    unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    cosine = graph.add("MatMul", graph.add("Div", z, length), np.ascontiguousarray(unit.T))
    return graph.add("Clip", graph.add("Sub", np.array(1.0), cosine), np.array(0.0), np.array(2.0))
