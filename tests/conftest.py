"""What every test gets: no network, one thread, and the real recordings where there are any."""

import os
import socket
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else address
    if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
        raise PermissionError(f"a test tried to open a connection to {host}")
    _connect(self, address)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every socket that is not loopback is refused."""
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real recordings; the test skips where STETHOS_DATA is unset."""
    folder = os.environ.get("STETHOS_DATA")
    if not folder:
        pytest.skip("STETHOS_DATA is not set: no real recordings here")
    return Path(folder).resolve()
