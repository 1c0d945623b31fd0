"""The published ECGFounder checkpoint (`1_lead_ECGFounder.pth`, `12_lead_ECGFounder.pth`), opened safely.

The file is a pickle of `epoch, step, state_dict, optimizer, scheduler, val_auroc`. It is opened without
running any code it may carry: tensors, plain containers and the one numpy number are let through, all else is
refused.
"""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stethos.errors import WeightsError

_log = logging.getLogger("stethos")

# The published network defines these and, with use_bn=False, never calls them.
_NORM = re.compile(r"(^|\.)(first_bn|bn[123])\.")
_BLOCK = re.compile(r"stage_list\.(\d+)\.block_list\.(\d+)\.")
_STEM, _HEAD = "first_conv.conv.weight", "dense.weight"


class PublishedWeights(NamedTuple):
    """What a published checkpoint holds that a network can use, and what it holds besides."""

    tensors: dict[str, Tensor]  # float32, under their published names
    channels: int
    classes: int
    widths: tuple[int, ...]  # of each stage
    blocks: tuple[int, ...]  # in each stage
    dropped: tuple[str, ...]  # names left behind: entries beside the weights, then unused norms


def read_ecgfounder(path: str | Path) -> PublishedWeights:
    """The tensors of an ECGFounder checkpoint, or of a bare state dict under the same names.

    Raises:
        WeightsError: The file holds anything but tensors and numbers, is damaged, or is no such network.
    """
    tensors, beside = _weights(_opened(Path(path)), path)
    norms = [name for name in tensors if _NORM.search(name)]
    _warn_if_used(tensors, norms, path)
    live = {name: tensor.float() for name, tensor in tensors.items() if not _NORM.search(name)}
    widths, blocks = _ladder(live, path)
    channels, classes = _size(live, _STEM, 1, path), _size(live, _HEAD, 0, path)
    dropped = (*beside, *norms)
    _log.info("%s: %d leads, %d classes, stages %s", path, channels, classes, widths)
    _log.info("%s: left behind %s", path, ", ".join([*beside, f"{len(norms)} tensors of unused batch norms"]))
    _log.debug("%s: unused batch norms: %s", path, ", ".join(norms))
    return PublishedWeights(live, channels, classes, widths, blocks, dropped)


def published_name(name: str) -> str:
    """The name in the published file of a tensor of `Net1d`.

    For example `stages.1.0.conv2.weight` is `stage_list.1.block_list.0.conv2.conv.weight`.
    """
    name = re.sub(r"^stages\.(\d+)\.(\d+)\.", r"stage_list.\1.block_list.\2.", name)
    name = re.sub(r"\.(conv[123])\.", r".\1.conv.", name)
    name = name.replace(".squeeze.", ".se_fc1.").replace(".excite.", ".se_fc2.")
    return re.sub("^head", "dense", re.sub("^stem", "first_conv.conv", name))


def _opened(path: Path) -> Any:
    # The validation AUROC was pickled as numpy.float64, under the module name of numpy 1 or of numpy 2.
    scalar = np.float64(0).__reduce__()[0]
    allowed = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType]
    try:
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds something other than tensors and numbers, so it was not opened; "
            "use the published file, or save its state_dict alone"
        ) from error
    # On damaged bytes the unpickler fails with whatever its half-read instructions led to.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "it ends too early")
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({reason}); download it again") from error


def _weights(content: Any, path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    beside = []
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        beside = [str(name) for name in content if name != "state_dict"]
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: needs a state_dict of tensors and holds none; use the published file")
    return {str(name): tensor for name, tensor in content.items()}, beside


def _warn_if_used(tensors: Mapping[str, Tensor], norms: list[str], path: str | Path) -> None:
    steps = [tensors[name] for name in norms if name.endswith("num_batches_tracked")]
    if any(bool(count.any()) for count in steps):
        _log.warning(
            "%s: its batch norms carry running statistics, so it may have been trained with them; "
            "they are left out all the same and the scores may not be those of its authors",
            path,
        )


def _ladder(tensors: Mapping[str, Tensor], path: str | Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    places = [tuple(map(int, match.groups())) for name in tensors if (match := _BLOCK.match(name))]
    if not places:
        raise WeightsError(f"{path}: needs tensors named stage_list.*, holds none; use the published file")
    stages = range(1 + max(stage for stage, _ in places))
    blocks = tuple(1 + max((block for at, block in places if at == stage), default=0) for stage in stages)
    widths = (_size(tensors, f"stage_list.{stage}.block_list.0.conv1.conv.weight", 0, path) for stage in stages)
    return tuple(widths), blocks


def _size(tensors: Mapping[str, Tensor], name: str, axis: int, path: str | Path) -> int:
    if name not in tensors or tensors[name].ndim <= axis:
        raise WeightsError(f"{path}: the tensor {name} is missing or misshapen; use the published file")
    return tensors[name].shape[axis]
