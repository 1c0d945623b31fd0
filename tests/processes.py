"""A test file started as a program on two processes that train together."""

import os
import socket
import subprocess
import sys
from pathlib import Path


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
