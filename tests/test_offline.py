"""The suite cannot reach anything but this machine."""

import socket

import pytest


@pytest.mark.parametrize("way", ["connect", "connect_ex"])
def test_a_connection_to_elsewhere_is_refused(way):
    with socket.socket() as here, pytest.raises(PermissionError, match=r"192\.0\.2\.1"):
        getattr(here, way)(("192.0.2.1", 80))


def test_a_datagram_to_elsewhere_is_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, pytest.raises(PermissionError):
        here.sendto(b"x", ("192.0.2.1", 53))


def test_loopback_is_open():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
