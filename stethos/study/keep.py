"""What is left behind of each alarm, for the engineer who comes to look: at most so many megabytes of it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import RecipeError, StethosError
from stethos.io.files import write_atomic
from stethos.io.sound import write_sound
from stethos.study.source import Block

_OURS = re.compile(r"alarm_\d{8}T\d{6}\.\d{3}Z_.+\.(npz|wav)")


@dataclass(frozen=True)
class Keep:
    """Where evidence of alarms goes, and what it is made of.

    Args:
        folder: For one `.npz` an alarm; made where it is missing.
        megabytes: Beyond which the oldest are deleted, never the newest alarm; only files of its own making are.
        spectrogram: Prepared block `(1, 1, T)` → log-mel `(mels, frames)`; None to leave none.
        region: Prepared block → plain values that say where the anomaly lies in time and frequency, or None.
        nearest: Prepared block → plain values that name the nearest normal recording, or None.
        audio: Whether the block itself is left, as a WAV: voices near the machine would be on it.

    Raises:
        RecipeError: Not a positive number of megabytes.
    """

    folder: Path
    megabytes: float = 100.0
    spectrogram: Callable[[np.ndarray], np.ndarray] | None = None
    region: Callable[[np.ndarray], Any] | None = None
    nearest: Callable[[np.ndarray], Any] | None = None
    audio: bool = False

    def __post_init__(self) -> None:
        if not self.megabytes > 0:
            raise RecipeError(f"evidence needs a positive number of megabytes; got {self.megabytes:g}")


def keep_alarm(keep: Keep, block: Block, x: np.ndarray, line: dict[str, Any], when: float) -> dict[str, Any]:
    """Leave the evidence of one alarm.

    Args:
        keep: Where and what.
        block: That the alarm went off at.
        x: The same as a network reads it, `(1, 1, T)`.
        line: What is said of it.
        when: POSIX time that goes into the name.

    Returns:
        What joins the line: the file's name, region and nearest; or why nothing was kept, for that stops no monitor.
    """
    try:
        about = {"region": keep.region and keep.region(x), "nearest": keep.nearest and keep.nearest(x)}
        arrays: dict[str, np.ndarray] = {"line": np.array(json.dumps({**line, **about}))}
        if keep.spectrogram is not None:
            arrays["log_mel"] = np.asarray(keep.spectrogram(x)).astype(np.float16)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        moment = datetime.fromtimestamp(when, UTC)
        stem = f"alarm_{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z_{line['source']}"
        write_atomic(keep.folder / f"{stem}.npz", buffer.getvalue())
        if keep.audio:
            write_sound(block.sound, keep.folder / f"{stem}.wav", block.origin)
        _make_room(keep, stem)
    except StethosError as error:
        return {"not_kept": str(error)}
    return {"kept": f"{stem}.npz", **{name: said for name, said in about.items() if said is not None}}


def _make_room(keep: Keep, newest: str) -> None:
    """Delete the oldest alarms until the rest fits."""
    ours = [path for path in keep.folder.iterdir() if _OURS.fullmatch(path.name)]
    sizes = {path: path.stat() for path in ours}
    total = sum(each.st_size for each in sizes.values())
    for path in sorted(ours, key=lambda path: (sizes[path].st_mtime_ns, path.name)):
        if total <= keep.megabytes * 1e6:
            return
        if path.stem != newest:
            path.unlink(missing_ok=True)
            total -= sizes[path].st_size
