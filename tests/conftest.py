"""What every test gets: no network, one thread, and the real recordings where there are any."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _loopback_only(way: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, *arguments: Any) -> Any:
        address = arguments[-1]
        host = address[0] if isinstance(address, tuple) else address
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in LOOPBACK:
            raise PermissionError(f"a test tried to reach {host}")
        return way(self, *arguments)

    return guarded


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every socket that is not loopback is refused."""
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, _loopback_only(getattr(socket.socket, name)))


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real recordings; the test skips where STETHOS_DATA is unset."""
    folder = os.environ.get("STETHOS_DATA")
    if not folder:
        pytest.skip("STETHOS_DATA is not set: no real recordings here")
    return Path(folder).resolve()
