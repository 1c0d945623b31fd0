"""A network's `score` as an ONNX graph, and the blocks that it consists of.

A block is a module without children, or one whose children have none: a convolution of its own, a residual block, a
projection. The nodes of the graph are named by the block that they come from, so that what a block puts out can be
compared between torch and the graph, and a block can be left out of a quantisation.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import MissingExtraError, WeightsError
from stethos.export.graph import FORMAT, OPSET, library
from stethos.export.layout import in_pictures, zeros_behind

if TYPE_CHECKING:
    from onnx import ModelProto

CLOSE = 1e-4  # largest distance of a logit from torch's, of the larger of 1 and the logit
_SCOPES = "pkg.torch.onnx.name_scopes"
_BATCHES = (1, 2, 5)
_SIZES = (1, 7)  # of an axis of any size


class _Spoken(nn.Module):
    """A module whose forward is one of its methods; the exporter asks for nothing else."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, x: Tensor) -> Tensor:
        """What the method says."""
        return getattr(self.module, self.method)(x)


def score_graph(
    module: nn.Module,
    shape: Sequence[int],
    method: str = "score",
    output: str = "logit",
    free: Mapping[int, str] = MappingProxyType({}),
) -> ModelProto:
    """A network as a graph that takes any number of windows.

    Args:
        module: With a method that takes `(B, *shape)` and gives `(B, K)`; in evaluation mode.
        shape: Of one window, such as `(1, 1250)`.
        method: Which method.
        output: Name of the output.
        free: Axes beside the first that may have any size, each with a name; `shape` has an example above 1.

    Returns:
        "x" float32 `(B, *shape)` → `output` float32 `(B, K)`; its nodes are named `BLOCK/operator`.

    Raises:
        WeightsError: The graph's answers are not those of the network.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    library()
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))  # a batch of 1 would become a constant
    # several free axes lead to relations that the exporter cannot prove, and by name alone it does not ask for a proof
    dynamic = ({0: "B", **free} if free else {0: torch.export.Dim("B")},)
    with _quietly(), _in_single_steps(), torch.no_grad():
        made = torch.onnx.export(
            _Spoken(module, method).eval(), (example,), dynamo=True, input_names=["x"], output_names=[output],
            dynamic_shapes=dynamic, opset_version=OPSET, external_data=False, verbose=False,
        )  # fmt: skip
    assert made is not None
    model = made.model_proto
    model.ir_version = FORMAT
    _named_by_block(model)
    in_pictures(zeros_behind(model))
    for sizes in (shape, *(_with(shape, axis - 1, size) for axis in free for size in _SIZES)):
        _refuse_other_answers(model, getattr(module, method), sizes)
    return model


def blocks_of(module: nn.Module, name: str = "") -> dict[str, nn.Module]:
    """Every block by its dotted name, in order of definition."""
    children = dict(module.named_children())
    if name and all(not list(child.children()) for child in children.values()):
        return {name: module}
    found: dict[str, nn.Module] = {}
    for child, inner in children.items():
        found |= blocks_of(inner, f"{name}.{child}" if name else child)
    return found


def block_nodes(model: ModelProto, block: str) -> list[Any]:
    """The nodes of a graph that come from one block."""
    return [node for node in model.graph.node if node.name.startswith((f"{block}/", f"{block}."))]


def block_outputs(model: ModelProto, blocks: Sequence[str]) -> dict[str, str]:
    """Name of what each block puts out; blocks that the graph does not need are left out."""
    found = {block: block_nodes(model, block) for block in blocks}
    return {block: nodes[-1].output[0] for block, nodes in found.items() if nodes}


def activations(module: nn.Module, score: Callable[[Tensor], Tensor], x: np.ndarray) -> dict[str, np.ndarray]:
    """What every block of a network puts out for prepared windows `(B, C, T)`, by block, in order of calling."""
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor | tuple[Tensor, ...]) -> None:
            said = output[0] if isinstance(output, tuple) else output  # attention tells its weights too
            found[name] = said.detach().cpu().numpy()

        return hook

    hooks = [block.register_forward_hook(keep(name)) for name, block in blocks_of(module).items()]
    try:
        with torch.inference_mode():
            score(torch.from_numpy(np.asarray(x, np.float32)))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def session(model: ModelProto | str, outputs: Sequence[str] = ()) -> Any:
    """A graph, or the path of one, ready to run on one core.

    Args:
        model: The graph.
        outputs: Names of further values to be put out, in this order, after its own.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError('running an export needs onnxruntime; pip install "stethos[edge]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if isinstance(model, str):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shown = library().ModelProto()
    shown.CopyFrom(model)
    held = {item.name for item in shown.graph.output}
    shown.graph.output.extend(library().ValueInfoProto(name=name) for name in outputs if name not in held)
    return onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's own deprecations, its list of packages that are not there, and what it did not fold."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


@contextlib.contextmanager
def _in_single_steps() -> Iterator[None]:
    """Without the kernel that does a whole layer of a transformer, for which ONNX has no operator."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _with(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    """A shape with another size of one axis."""
    return tuple(size if place == axis else held for place, held in enumerate(shape))


def _named_by_block(model: ModelProto) -> None:
    """Name nodes by module and operator, and drop what the exporter noted: it holds paths of this machine."""
    for number, node in enumerate(model.graph.node):
        notes = {note.key: note.value for note in node.metadata_props}
        scope = [name for name in json.loads(notes.get(_SCOPES, "[]").replace("'", '"'))[:-1] if name]
        inside = scope[-1].removeprefix("module.") if scope else ""
        node.name = f"{inside}/{node.op_type}_{number}"
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    model.ClearField("doc_string")
    del model.graph.value_info[:]  # the quantiser takes some of them for contradictions


def _refuse_other_answers(model: ModelProto, score: Callable[[Tensor], Tensor], shape: Sequence[int]) -> None:
    ready, generator = session(model), torch.Generator().manual_seed(1)
    for batch in _BATCHES:
        x = torch.randn(batch, *shape, generator=generator)
        with torch.inference_mode():
            want = score(x).numpy()
        (got,) = ready.run(None, {"x": x.numpy()})
        error = np.abs(got - want) / np.maximum(1, np.abs(want)) if got.shape == want.shape else np.array(np.inf)
        if not error.max() <= CLOSE:
            raise WeightsError(
                f"a graph must answer as its network does, to {CLOSE:g}; of {batch} windows one differs by "
                f"{error.max():.2g}; this network cannot be exported as it is"
            )
