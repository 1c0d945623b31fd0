"""A pretrained pulse encoder as a plug-in of the package `ppg-bench`, which is not imported and need not be installed.

The harness takes a class `ModelPort` with two methods, named in a YAML file beside the sampling rate that it delivers
and the width of what comes back:

    load_encoder()                               → a torch module, batch → (B, D)
    prepare_batch(batch, model_cfg, device)      → what that module takes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import QualityError, RunError
from stethos.systems import load
from stethos.types import Signal


class Encoder(nn.Module):
    """Prepared recordings `(B, P, 2, S)` to the rows that probes read, `(B, D + W)`.

    Args:
        model: Network of a run, with `pulse` and `prepare`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, "pulse"):
            raise RunError("the run holds no encoder of a pulse; give one of `stethos cap pretrain`")
        self.model = model

    @property
    def width(self) -> int:
        """D + W."""
        return cast(int, cast(Any, self.model).pulse.width)

    def forward(self, x: Tensor) -> Tensor:
        """One row a recording."""
        rows: Tensor = cast(Any, self.model).pulse.describe(x)
        return rows


class ModelPort:
    """What the harness calls.

    Args:
        model_cfg: Its settings of the model; `run` (or `init`) names the folder of a run, `fs` the sampling rate in Hz.
    """

    def __init__(self, model_cfg: Mapping[str, Any]) -> None:
        self.folder = Path(str(model_cfg.get("run") or model_cfg.get("init") or ""))
        self._encoder: Encoder | None = None

    def load_encoder(self) -> Encoder:
        """The frozen encoder of the run."""
        if self._encoder is None:
            self._encoder = Encoder(load(self.folder)).eval()
        return self._encoder

    def prepare_batch(self, batch: Any, model_cfg: Mapping[str, Any], device: Any) -> Tensor:
        """Windows of one length to what the encoder takes, `(B, P, 2, S)`; one without a pulse is all invalid.

        Args:
            batch: Pulses `(B, T)` or `(B, 1, T)`, an array or tensor.
            model_cfg: Its entry `fs` is their sampling rate, Hz.
            device: Where the result goes.
        """
        pulses = np.asarray(batch, np.float32).reshape(len(batch), -1)
        parts = [self._prepared(pulse, float(model_cfg["fs"])) for pulse in pulses]
        usable = next((part for part in parts if part is not None), None)
        if usable is None:
            raise QualityError("needs a window with a pulse; none of this batch has one")
        return torch.stack([torch.zeros_like(usable) if part is None else part for part in parts]).to(device)

    def _prepared(self, pulse: np.ndarray, rate: float) -> Tensor | None:
        try:
            prepared = cast(Any, self.load_encoder().model).prepare(Signal(pulse[None], rate, ("PLETH",), "1"))
            return cast(Tensor, prepared)[0]
        except QualityError:
            return None


def yaml_for(run: Path, rate: float) -> str:
    """The settings of a run for the harness.

    Args:
        run: Folder of a run.
        rate: Sampling rate that the harness is to deliver, Hz.
    """
    width = Encoder(load(run)).width
    lines = ("name: stethos-cap", "port: stethos.ports.ppg_bench:ModelPort", f"fs: {rate:g}", f"embedding_dim: {width}")
    folder = json.dumps(str(Path(run)))  # a string in JSON is one in YAML, whatever is in it
    return "\n".join((*lines, f"init: {folder}", f"run: {folder}")) + "\n"
