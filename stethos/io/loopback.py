"""Connections to addresses that were looked at first, and whether they are this machine's own."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence

Address = tuple[str, int]


def resolve(host: str, port: int) -> list[Address]:
    """Every address of a host, as numbers, with the port.

    Raises:
        OSError: It has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(entry[4][0]), port) for entry in found))


def is_loopback(address: Address) -> bool:
    """Whether what is sent to an address stays on this machine: 127.0.0.0/8, ::1, and the former as IPv6."""
    found = ipaddress.ip_address(address[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def connect(addresses: Sequence[Address], name: str, timeout: float) -> socket.socket:
    """A connection to the first address that takes one.

    Args:
        addresses: Looked at; no name is resolved again.
        name: That the certificate must bear; empty for a connection that is not encrypted.
        timeout: Of each step, in s.

    Raises:
        OSError: None takes one, or the certificate is not that of the name.
    """
    reason = OSError("it has no address")
    for address in addresses:
        try:
            sock = socket.create_connection(address, timeout)
        except OSError as error:
            reason = error
            continue
        return _encrypted(sock, name) if name else sock
    raise reason


def _encrypted(sock: socket.socket, name: str) -> socket.socket:
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        found = ssl.create_default_context().wrap_socket(sock, server_hostname=name)
        undo.pop_all()
        return found


@contextlib.contextmanager
def ends_at(deadline: float, sock: socket.socket) -> Iterator[None]:
    """Within it a connection ends at a time of `time.monotonic()`: its own timeout begins anew with every byte."""
    watch = threading.Timer(max(deadline - time.monotonic(), 0.0), _shut, [sock])
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not that of TLS, which drops what the reader holds
