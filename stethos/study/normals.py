"""Normal sound through the very path that a monitor takes, for its threshold and its reference."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from stethos.study.alarm import NormalBlocks
from stethos.study.judging import Model, scored
from stethos.study.sensor import SensorLimits
from stethos.study.source import Block, Source


def normal_blocks(
    source: Source, model: Model, block_seconds: float, sensor: SensorLimits | None = None
) -> tuple[NormalBlocks, np.ndarray]:
    """Scores and levels of recordings during which the machine was known to be normal.

    A block with a fault of the sensor has no score, and missing sound leaves a hole, as they do for the monitor.

    Args:
        source: That ends, such as `Recordings` that are not followed, in order of time.
        model: What scores a block.
        block_seconds: From the start of one block to the start of the next: the length of a block, or the period of a
            recorder that rests in between.
        sensor: Limits of the monitor.

    Returns:
        The blocks, each with the file it lies in as its recording, and their levels in dB of full scale `(N,)`.
    """
    rows: list[tuple[float, float, float]] = []
    files: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        source.restore(None, Path(folder))
        while not source.finished:
            piece = source.next(0.0)
            if isinstance(piece, Block):
                found = scored(piece, model, sensor or SensorLimits())
                rows.append((found.score, piece.start, found.level))
                files.append(piece.file)
    score, start, level = np.array(rows, np.float64).reshape(-1, 3).T
    recording = np.array(files) if any(files) else None
    return NormalBlocks(score, block_seconds, start, recording), level
