"""ONNX graphs put together node by node, joined, and labelled with what a reader needs.

Only standard operators are used, in the set and the file format that onnxruntime 1.20 and its build for browsers
read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

OPSET = 18
FORMAT = 10  # of the file, `ir_version`
KEY = "stethos"  # in `metadata_props`
_START = np.iinfo(np.int64).min  # a slice that goes down to the first sample

Shape = Sequence[int | str]
"""Sizes; a name where any size will do."""


def library() -> Any:
    """The package onnx.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnx
        import onnx.compose
    except ImportError as error:
        raise MissingExtraError('an ONNX graph needs the package onnx; pip install "stethos[edge]"') from error
    return onnx


@dataclass(frozen=True)
class Graph:
    """A graph in the making. Each method adds to it and returns the name of what it added.

    Args:
        prefix: Start of every name; a loop's body needs one that nothing around it has.
        nodes: What was added so far.
        constants: The same.
    """

    prefix: str = ""
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, operator: str, *inputs: str | np.ndarray, outputs: int = 1, **attributes: Any) -> str:
        """A node; where it has several outputs, the name of the first.

        Args:
            operator: Such as "MatMul".
            inputs: Names, or arrays that become constants.
            outputs: How many it has.
            attributes: As ONNX calls them.
        """
        named = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        made = [f"{self.prefix}{operator}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(library().helper.make_node(operator, named, made, name=made[0], **attributes))
        return made[0]

    def constant(self, values: np.ndarray) -> str:
        """An array that is part of the file; an equal one that is there already serves again."""
        wide = np.int64 if values.dtype.kind == "i" else values.dtype  # shapes and places are int64 everywhere
        made = library().numpy_helper.from_array(np.array(values, wide, order="C"))
        for held in self.constants:
            if (held.data_type, held.dims, held.raw_data) == (made.data_type, made.dims, made.raw_data):
                return held.name
        made.name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(made)
        return made.name

    def named(self, name: str, x: str) -> str:
        """The same numbers under a name of one's own, as an output needs."""
        self.nodes.append(library().helper.make_node("Identity", [x], [name], name=name))
        return name

    def slice(self, x: str, start: int, stop: int, step: int = 1) -> str:
        """`x[start:stop:step]` along the first axis; negative numbers count from the end."""
        return self.add("Slice", x, *(np.array([number]) for number in (start, stop, 0, step)))

    def backwards(self, x: str) -> str:
        """`x[::-1]` along the first axis."""
        return self.slice(x, -1, int(_START), -1)

    def reshaped(self, x: str, *shape: int) -> str:
        """The same numbers in another shape; −1 for what remains."""
        return self.add("Reshape", x, np.array(shape))

    def cast(self, x: str, dtype: type) -> str:
        """The same numbers in another type."""
        return self.add("Cast", x, to=_type(dtype))

    def rounded(self, x: str) -> str:
        """float64 with no more digits than float32 has, as a `Signal` holds its samples."""
        return self.cast(self.cast(x, np.float32), np.float64)

    def closed(self, name: str, inputs: Mapping[str, tuple[type, Shape]], outputs: Mapping[str, Any]) -> GraphProto:
        """The finished graph.

        Args:
            name: Of the graph.
            inputs: Name → type and shape.
            outputs: Name → type and shape.
        """
        helper = library().helper
        ends = [
            [helper.make_tensor_value_info(end, _type(kind), list(shape)) for end, (kind, shape) in side.items()]
            for side in (inputs, outputs)
        ]
        return helper.make_graph(self.nodes, name, *ends, initializer=self.constants)

    def model(self, name: str, inputs: Mapping[str, tuple[type, Shape]], outputs: Mapping[str, Any]) -> ModelProto:
        """The finished graph as what a file holds, checked; arguments as `closed` takes them."""
        onnx = library()
        sets = [onnx.helper.make_opsetid("", OPSET)]
        made = onnx.helper.make_model(
            self.closed(name, inputs, outputs), opset_imports=sets, ir_version=FORMAT, producer_name="stethos"
        )
        onnx.checker.check_model(made, full_check=True)
        return made


def composed(prepare: ModelProto, score: ModelProto) -> ModelProto:
    """Preparation and network as one graph, from input "signal" to output "logit"; neither's metadata are kept.

    Args:
        prepare: "signal" `(1, T)` → "x" `(1, 1, samples)`.
        score: "x" `(B, 1, samples)` → "logit" `(B, K)`.

    Returns:
        "signal" `(1, T)` → "logit" `(1, K)`.

    Raises:
        FormatError: The two are of different file formats or operator sets, or their ends do not fit.
    """
    formats = [(part.ir_version, _opset(part)) for part in (prepare, score)]
    if formats[0] != formats[1]:
        raise FormatError(
            f"joining two graphs needs one file format and one operator set; the preparation has {formats[0]}, "
            f"the network {formats[1]}; export both with opset {OPSET}"
        )
    _fitting(prepare, score)
    compose = library().compose
    parts = [_inside(part, prefix) for part, prefix in ((prepare, "prepare/"), (score, "score/"))]
    whole = compose.merge_models(*parts, io_map=[("x", "x")])
    whole.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    library().checker.check_model(whole)
    return whole


def write_metadata(model: ModelProto, facts: Mapping[str, Any]) -> None:
    """Put facts into a graph, as JSON; they replace those that were there.

    Args:
        model: Changed in place.
        facts: What JSON can hold; NaN and infinity it cannot.

    Raises:
        FormatError: JSON cannot hold them.
    """
    try:
        text = json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FormatError(f"metadata need to be what JSON can hold ({error}); leave that fact out") from error
    kept = {prop.key: prop.value for prop in model.metadata_props}
    library().helper.set_model_props(model, kept | {KEY: text})


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The facts that a file holds.

    Args:
        path: An ONNX file.

    Raises:
        FormatError: It is none, or was not written by Stethos.
    """
    try:
        model = library().load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's and the system's have no common base
        raise FormatError(f"{path}: no ONNX file that can be opened ({error})") from error
    for prop in model.metadata_props:
        if prop.key == KEY:
            return json.loads(prop.value)
    raise FormatError(f'{path}: needs the metadata "{KEY}", and has none; export the run again')


def _type(dtype: type) -> int:
    return library().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _opset(model: ModelProto) -> int:
    """Number of the standard operators' set."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _ends(side: Any) -> list[tuple[str, int]]:
    """Name and last size of every input or output; 0 where any size will do."""
    return [(end.name, end.type.tensor_type.shape.dim[-1].dim_value) for end in side]


def _fitting(prepare: ModelProto, score: ModelProto) -> None:
    given, taken = _ends(prepare.graph.output), _ends(score.graph.input)
    samples = {size for _, size in given + taken if size}
    if [name for name, _ in given + taken] != ["x", "x"] or len(samples) > 1:
        raise FormatError(
            f'joining two graphs needs one output "x" that is the other\'s one input "x"; '
            f"the preparation gives {given}, the network takes {taken}"
        )


def _inside(model: ModelProto, prefix: str) -> ModelProto:
    """A copy whose inner names begin with a prefix, and whose metadata are gone."""
    copy = deepcopy(model)
    del copy.metadata_props[:]
    return library().compose.add_prefix(copy, prefix, rename_inputs=False, rename_outputs=False, inplace=True)
