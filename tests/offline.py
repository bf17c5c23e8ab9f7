"""No test leaves this machine: a connection elsewhere is an error in the process that runs the tests."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any


class AskedTheNetwork(BaseException):
    """A test connects to another machine, or looks up its name; no `except Exception` of what it tests hides this."""


def forbid() -> None:
    """Refuse, from now on and in this process, what leaves the machine."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and not _is_here(name):
        raise AskedTheNetwork(f"a test asks {name}; answer in its place")


def _is_here(name: str) -> bool:
    if name in {"", "localhost"} or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False
