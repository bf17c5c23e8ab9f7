"""IAM's eventual consistency, as a fault that can be switched on: a change takes effect some seconds later.

IAM's own answers are always of now; what waits is who may do what. Source: IAM User Guide, "Troubleshoot IAM", "Changes
that I make are not always immediately visible". Switched on by the variable `IAM_PROPAGATION_SECONDS` or by a POST of
`{"Seconds": …}` to `/_rollbook/iam-propagation`; 0 switches it off.
"""

from __future__ import annotations

import copy
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import AccountScopedDict
from ministack.services import iam, sts

from infra.emulator import paths
from infra.emulator.replacing import Original

_STORES = ("_groups", "_group_inline_policies", "_policies", "_roles", "_user_inline_policies", "_users")
_READS = ("Generate", "Get", "List", "Simulate")
_Contents = dict[int, dict[Any, Any]]

_resolve_principal = Original(iam_evaluator, "resolve_principal")
_sts_request = Original(sts, "handle_request")

_seconds = 0.0
# What the stores held before each change that is younger than the delay: when it was made, and the contents by store.
_before: deque[tuple[float, _Contents]] = deque()
_seen: ContextVar[_Contents | None] = ContextVar("seen", default=None)


class _PropagatingStore(AccountScopedDict):  # type: ignore[misc]
    """A store of IAM, which gives an evaluation what has taken effect."""

    __slots__ = ()

    def _contents(self) -> Mapping[Any, Any]:
        seen = _seen.get()
        return self._data if seen is None else seen[id(self)]

    def get(self, key: Any, default: Any = None) -> Any:
        return self._contents().get(self._scoped(key), default)

    def get_scoped(self, account_id: str, region: str | None, key: Any, default: Any = None) -> Any:
        return self._contents().get((account_id, key), default)

    def items(self) -> list[tuple[Any, Any]]:
        return [(self._unscope(key), value) for key, value in list(self._contents().items()) if self._is_mine(key)]


def install() -> None:
    """Let changes of MiniStack's IAM take effect late, if somebody asks for it."""
    for name in _STORES:
        # In place, as MiniStack's functions and its persistence hold the same object.
        getattr(iam, name).__class__ = _PropagatingStore
    for action, handler in iam._IAM_HANDLERS.items():
        if not action.startswith(_READS):
            iam._IAM_HANDLERS[action] = functools.partial(_change, handler)
    _resolve_principal.replace(resolve_principal)
    _sts_request.replace(handle_sts)
    paths.add("iam-propagation", delay)
    delay({"Seconds": float(os.environ.get("IAM_PROPAGATION_SECONDS", 0))})


def delay(wanted: dict[str, Any]) -> dict[str, Any]:
    """Set how long changes take: `{"Seconds": …}`, 0 for at once.

    Raises:
        ValueError: the delay is negative.
    """
    global _seconds  # one process, one account of time
    if wanted["Seconds"] < 0:
        raise ValueError("Seconds has to be 0 or more")
    _seconds = float(wanted["Seconds"])
    _before.clear()
    return {"Seconds": _seconds}


def _change(handler: Callable[..., Any], *arguments: Any) -> Any:
    if _seconds:
        _forget_what_took_effect()
        stores = [getattr(iam, name) for name in _STORES]
        _before.append((time.monotonic(), {id(store): copy.deepcopy(store._data) for store in stores}))
    return handler(*arguments)


def _forget_what_took_effect() -> None:
    while _before and _before[0][0] <= time.monotonic() - _seconds:
        _before.popleft()


@contextmanager
def propagated() -> Iterator[None]:
    """Read IAM as it has taken effect."""
    _forget_what_took_effect()
    token = _seen.set(_before[0][1] if _before else None)
    try:
        yield
    finally:
        _seen.reset(token)


def resolve_principal(*arguments: Any, **named: Any) -> Any:
    """Return who calls, with the policies that have taken effect."""
    with propagated():
        return _resolve_principal(*arguments, **named)


async def handle_sts(*arguments: Any, **named: Any) -> Any:
    """Serve STS, which knows a role and its trust policy when they have taken effect."""
    with propagated():
        return await _sts_request(*arguments, **named)
