"""Faults between the engine and AWS: an invocation is killed at a request, or AWS throttles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

THROTTLED = "ThrottlingException"


class Killed(BaseException):
    """The invocation is over. It is no Exception, so that the engine cannot handle it."""


@dataclass(frozen=True)
class Fault:
    """What happens to an invocation.

    Arguments:
        kind: `kill before` and `kill after` a request; `throttle` some requests; `no mail`.
        at: the number of the request, from 1.
        count: how many requests are throttled.
    """

    kind: str = "none"
    at: int = 1
    count: int = 1


@dataclass
class Gate:
    """All requests of an invocation pass through it."""

    fault: Fault | None = None
    number: int = 0
    is_dead: bool = False
    hits: int = 0
    mailed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def invocation(self, fault: Fault) -> Iterator[None]:
        """Let the requests of an invocation have a fault."""
        self.fault, self.number, self.is_dead, self.hits, self.mailed = fault, 0, False, 0, 0
        try:
            yield
        finally:
            self.fault = None

    def request(self, operation: str, send: Callable[[], Any]) -> Any:
        """Send a request, or do what the fault does instead."""
        if self.fault is None:
            return send()
        with self._lock:
            if self.is_dead:
                raise Killed
            self.number += 1
            number, fault = self.number, self.fault
        is_hit = number == fault.at
        if fault.kind == "kill before" and is_hit:
            self._die()
        if fault.kind == "throttle" and fault.at <= number < fault.at + fault.count:
            self.hits += 1
            raise ClientError({"Error": {"Code": THROTTLED, "Message": "slow down"}}, operation)
        if fault.kind == "no mail" and operation == "SendEmail":
            self.hits += 1
            raise ClientError({"Error": {"Code": "SendingPausedException", "Message": "paused"}}, operation)
        answer = send()
        self.mailed += operation == "SendEmail"
        if fault.kind == "kill after" and is_hit:
            self._die()
        return answer

    def _die(self) -> None:
        self.is_dead, self.hits = True, 1
        raise Killed


@contextmanager
def in_force(gate: Gate) -> Iterator[None]:
    """Let every request of every client pass through a gate."""
    call = BaseClient._make_api_call

    def through(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        return gate.request(operation, lambda: call(client, operation, parameters))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", through)
        yield
