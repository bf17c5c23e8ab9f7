"""A test that asks another machine fails, whether or not there is a network."""

from __future__ import annotations

import socket

import pytest

from tests.offline import AskedTheNetwork


@pytest.mark.parametrize("host", ["sts.us-east-1.amazonaws.com", b"example.com", "192.0.2.1", "2001:db8::1"])
def test_no_name_of_another_machine_is_looked_up(host: str | bytes) -> None:
    with pytest.raises(AskedTheNetwork):
        socket.getaddrinfo(host, 443)


def test_no_connection_is_made_to_another_machine() -> None:
    with socket.socket() as client, pytest.raises(AskedTheNetwork, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 443))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_may_be_asked(host: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection((host, server.getsockname()[1])) as client:
            assert client.getpeername()[0] == "127.0.0.1"
