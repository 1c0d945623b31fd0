"""Smaller numbers in a graph: weights of half precision, or integers of eight bits with blocks left as they are.

`half` stores every weight as float16 and casts it back when the graph is loaded, so that any processor can run it; what
is saved is bytes, not time. `integers` stores weights and activations of convolutions and of matrix products in eight
bits, with a scale for each output channel of a weight and one for each activation, which calibration windows decide.
Weights use seven of the eight bits, so that sums of pairs do not overflow on processors that add them in 16 bits: the
parity that was measured on one processor then holds on another. A network without normalisation has blocks whose
activations spread too widely for 256 steps; `sweep` finds them, by quantising one block at a time.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import MissingExtraError
from stethos.export.cost import MULTIPLIED
from stethos.export.graph import library
from stethos.export.score import block_nodes, session

if TYPE_CHECKING:
    from onnx import ModelProto

WINDOWS = 100  # that scales are taken from
SMALLEST = 16  # numbers of a tensor that is worth storing in half precision
_SCALED = ("QuantizeLinear", "DequantizeLinear")


def half(model: ModelProto) -> ModelProto:
    """The same graph with weights stored as float16; what comes in, what goes out and what is computed is float32.

    Scales of integers stay as they are: a small one would lose its digits.
    """
    onnx = library()
    made = onnx.ModelProto()
    made.CopyFrom(model)
    casts = []
    scales = {name for node in made.graph.node if node.op_type in _SCALED for name in node.input[1:]}
    for tensor in made.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= SMALLEST and tensor.name not in scales:
            name = tensor.name
            with np.errstate(over="ignore"):  # what overflows is infinite, which no gate lets through
                tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
            cast = onnx.helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/cast", to=onnx.TensorProto.FLOAT)
            casts.append(cast)
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def mixed(
    model: ModelProto,
    windows: np.ndarray,
    blocks: Sequence[str],
    too_far: Callable[[ModelProto], bool],
    always: Sequence[str] = (),
) -> tuple[ModelProto, dict[str, Any]]:
    """A graph of integers that answers well enough, and what was tried.

    The blocks that move the answer most are left in float32 one after another, until it is good enough or one block is
    left to quantise; then the graph with all blocks quantised is given back, for a gate to refuse.

    Args:
        model: As `score_graph` makes it.
        windows: Prepared windows for the scales, `(W, C, T)`.
        blocks: Names of the blocks.
        too_far: Whether a graph answers otherwise than it may.
        always: Blocks that stay float32 whatever they move.
    """
    whole = integers(model, windows, always)
    if not too_far(whole):
        return whole, {"kept_float32": [*always]}
    moved = sweep(model, windows, [block for block in blocks if block not in always])
    for count in range(1, len(moved)):
        kept = [*always, *list(moved)[:count]]
        small = integers(model, windows, kept)
        if not too_far(small):
            return small, {"kept_float32": kept, "sweep": moved}
    return whole, {"kept_float32": [*always], "sweep": moved}


def integers(model: ModelProto, windows: np.ndarray, kept: Sequence[str] = ()) -> ModelProto:
    """The same graph with int8 convolutions and matrix products.

    Args:
        model: As `score_graph` makes it.
        windows: Prepared windows that the scales of activations are taken from, `(W, C, T)`.
        kept: Blocks that stay float32.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    left = {node.name for block in kept for node in block_nodes(model, block)}
    return _quantised(model, windows, [name for name in quantisable(model) if name not in left])


def sweep(model: ModelProto, windows: np.ndarray, blocks: Sequence[str]) -> dict[str, float]:
    """How far what a graph puts out moves if one block alone is quantised, the worst first.

    Args:
        model: As `score_graph` makes it.
        windows: Prepared windows, `(W, C, T)`; scales are taken from them, and answers compared on them.
        blocks: Names of blocks; those with nothing to quantise are left out.

    Returns:
        Block → largest |Δ| of a logit, or of a number of an embedding.
    """
    (want,) = session(model).run(None, {"x": windows})
    able, found = set(quantisable(model)), {}
    for block in blocks:
        chosen = [node.name for node in block_nodes(model, block) if node.name in able]
        if chosen:
            (got,) = session(_quantised(model, windows, chosen)).run(None, {"x": windows})
            found[block] = float(np.abs(got - want).max())
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def quantisable(model: ModelProto) -> list[str]:
    """Names of the convolutions and matrix products that another one follows.

    The last one gives the logit, which 256 steps would make a coarse answer, and costs next to nothing.
    """
    followed: set[str] = set()  # values that a convolution or a product depends on
    found = []
    for node in reversed(model.graph.node):
        counts = node.op_type in MULTIPLIED
        if followed & set(node.output):
            followed |= set(node.input)
            found += [node.name] if counts else []
        elif counts:
            followed |= set(node.input)
    return found[::-1]


class _Reader:
    """Hands windows to the quantiser in batches, as it asks for them."""

    def __init__(self, windows: np.ndarray) -> None:
        self.batches: Iterator[np.ndarray] = iter(np.array_split(windows, -(-len(windows) // 20)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"x": np.ascontiguousarray(batch)}


def _quantised(model: ModelProto, windows: np.ndarray, nodes: list[str]) -> ModelProto:
    """Through onnxruntime's own quantiser, which reads and writes files."""
    if not nodes:
        return model
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise MissingExtraError('integers need onnxruntime; pip install "stethos[edge]"') from error
    CalibrationDataReader.register(_Reader)
    with tempfile.TemporaryDirectory() as folder, _quietly():
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        library().save(model, str(source))
        quantize_static(
            str(source), str(target), _Reader(windows), quant_format=QuantFormat.QDQ, per_channel=True,
            nodes_to_quantize=nodes, op_types_to_quantize=list(MULTIPLIED), activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, reduce_range=True,
        )  # fmt: skip
        made = library().load(str(target))
    del made.graph.value_info[:]
    made.producer_name = model.producer_name
    return made


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the quantiser's advice on the root logger, and without what the runtime says of its optimising."""
    import onnxruntime

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(2)
