"""A clock that the soak sets. Nothing of the engine reads the machine's clock, and nothing waits."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FunctionType, SimpleNamespace
from typing import Any

import moto.dynamodb.models.table
import moto.s3.models
import pytest

# Three days before both changes of daylight saving time of 2025 in Europe there is a Monday; this one is in March.
BEGINNING = datetime(2025, 3, 27, 23, 30, tzinfo=UTC)


class Times:
    """AWS's clock, and the clock of the functions, which may differ from it.

    Attributes:
        now: the time of AWS.
        skew: how far the clock of the functions is ahead.
    """

    def __init__(self) -> None:
        self.now = BEGINNING
        self.skew = timedelta()

    def __call__(self) -> datetime:
        """Return the time that the functions see."""
        return self.now + self.skew

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return (self.now - BEGINNING).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let a pause of the engine pass."""
        self.now += timedelta(seconds=seconds)


@contextmanager
def in_force(times: Times) -> Iterator[None]:
    """Give the engine and moto this clock instead of the machine's."""
    fake = SimpleNamespace(sleep=times.sleep, monotonic=times.monotonic, time=lambda: times.now.timestamp())
    replaced = {id(time.sleep): times.sleep, id(time.monotonic): times.monotonic}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if not name.startswith("rollbook."):
                continue
            if getattr(module, "time", None) is time:
                patch.setattr(module, "time", fake)
            for function in _constructors(module):
                for argument, value in (function.__kwdefaults__ or {}).items():
                    if id(value) in replaced:
                        patch.setitem(function.__kwdefaults__, argument, replaced[id(value)])
        for module in (moto.s3.models, moto.dynamodb.models.table):
            patch.setattr(module, "utcnow", lambda: times.now.replace(tzinfo=None))
        yield


def _constructors(module: Any) -> Iterator[FunctionType]:
    for each in vars(module).values():
        if isinstance(each, type) and isinstance(vars(each).get("__init__"), FunctionType):
            yield vars(each)["__init__"]
