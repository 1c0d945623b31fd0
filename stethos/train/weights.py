"""A network's tensors on disk: safetensors, whole or not at all, loaded strictly."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from stethos.errors import WeightsError
from stethos.io.files import write_atomic
from stethos.nn.strict import refuse_misfit

# One entry, because safetensors writes several in random order and the same weights must make the same file.
_KEY = "stethos"


def save_weights(module: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write every parameter and buffer of `module` under its name.

    The file appears complete or not at all: it is written beside `path` and then moved there.

    Args:
        module: The network; its tensors may lie on any device.
        path: A file that ends in `.safetensors`; an older one is replaced.
        metadata: Names and values kept in the file's header.

    Raises:
        FormatError: The disk is full, or the folder cannot be written.
    """
    # Cloned, because the format refuses two names that share memory, as tied weights do.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    write_atomic(Path(path), save(tensors, metadata={_KEY: json.dumps(dict(metadata or {}), sort_keys=True)}))


def load_weights(module: nn.Module, path: str | Path) -> dict[str, str]:
    """Fill `module` from a file of `save_weights`; every name and every shape must agree.

    Returns:
        The metadata it was saved with; none if the file is not from `save_weights`.

    Raises:
        WeightsError: The file is no safetensors file, or a tensor is missing, unexpected or misshapen.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path}: needs a complete safetensors file, got: {error}") from error
    refuse_misfit(module.state_dict(), tensors, str(path))
    module.load_state_dict(tensors)
    return metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a file of `save_weights` was saved with, without its tensors.

    Raises:
        WeightsError: The file is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path}: needs a complete safetensors file, got: {error}") from error


def sha256(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file: a model's short name in what it predicts."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
