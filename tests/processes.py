"""A test file started as a program on two processes that train together."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from stethos.types import Run


def on_two_processes(program: str, folder: Path) -> None:
    """Run `program folder` under torchrun on the loopback; fails with what it printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*start, "--master-addr", "127.0.0.1", "--master-port", port, program, str(folder)]
    loopback = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).parents[1])
    loopback["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(command, env=loopback, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr


def learned_the_same(one: Run, two: Run, first: Mapping[str, torch.Tensor], stage: str = "pretrain") -> None:
    """Two trainings in double precision ended with the same weights, and moved on the way there by the same losses.

    Args:
        one: A run.
        two: Another.
        first: The weights that both began with.
        stage: Of the training.
    """
    states = [torch.load(run.private / f"checkpoint-{stage}.pt", weights_only=True)["model"] for run in (one, two)]
    assert max((states[0][name] - first[name]).abs().max() for name in first) > 1e-3
    for name, item in states[0].items():
        assert (item - states[1][name]).abs().max() <= 1e-6 * item.abs().max().clamp(min=1e-3), name
    logs = [[json.loads(line) for line in run.log.read_text().splitlines()] for run in (one, two)]
    for line, other in zip(*logs, strict=True):
        assert line.pop("stage") == other.pop("stage")
        assert line == pytest.approx(other, rel=1e-6, abs=1e-9)
