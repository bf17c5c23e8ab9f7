"""IAM's eventual consistency, as a fault that tests can turn on: a change takes effect some seconds later.

IAM's own responses are always current; only the evaluation of permissions is delayed. Source: IAM User Guide,
"Troubleshoot IAM", "Changes that I make are not always immediately visible". To turn it on, set the variable
`IAM_PROPAGATION_SECONDS` or POST `{"Seconds": …}` to `/_rollbook/iam-propagation`. 0 turns it off.
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
# For each change younger than the delay: its time, and the contents of the stores before it.
_before: deque[tuple[float, _Contents]] = deque()
_seen: ContextVar[_Contents | None] = ContextVar("seen", default=None)


class _PropagatingStore(AccountScopedDict):  # type: ignore[misc]
    """A store of IAM. An evaluation sees only the changes that have taken effect."""

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
    """Delay the effect of changes in MiniStack's IAM, if the fault is on."""
    for name in _STORES:
        # Changed in place, because MiniStack's functions and its persistence refer to the same object.
        getattr(iam, name).__class__ = _PropagatingStore
    for action, handler in iam._IAM_HANDLERS.items():
        if not action.startswith(_READS):
            iam._IAM_HANDLERS[action] = functools.partial(_change, handler)
    _resolve_principal.replace(resolve_principal)
    _sts_request.replace(handle_sts)
    paths.add("iam-propagation", delay)
    delay({"Seconds": float(os.environ.get("IAM_PROPAGATION_SECONDS", 0))})


def delay(request: dict[str, Any]) -> dict[str, Any]:
    """Set the delay of changes: `{"Seconds": …}`, 0 for no delay.

    Raises:
        ValueError: the delay is negative.
    """
    global _seconds
    if request["Seconds"] < 0:
        raise ValueError("Seconds must be 0 or more")
    _seconds = float(request["Seconds"])
    _before.clear()
    return {"Seconds": _seconds}


def _change(handler: Callable[..., Any], *arguments: Any) -> Any:
    if _seconds:
        _drop_effective_changes()
        stores = [getattr(iam, name) for name in _STORES]
        _before.append((time.monotonic(), {id(store): copy.deepcopy(store._data) for store in stores}))
    return handler(*arguments)


def _drop_effective_changes() -> None:
    while _before and _before[0][0] <= time.monotonic() - _seconds:
        _before.popleft()


@contextmanager
def propagated() -> Iterator[None]:
    """Make reads of IAM see only the changes that have taken effect."""
    _drop_effective_changes()
    token = _seen.set(_before[0][1] if _before else None)
    try:
        yield
    finally:
        _seen.reset(token)


def resolve_principal(*arguments: Any, **named: Any) -> Any:
    """Return the caller with the policies that have taken effect."""
    with propagated():
        return _resolve_principal(*arguments, **named)


async def handle_sts(*arguments: Any, **named: Any) -> Any:
    """Serve STS, which sees a role and its trust policy only after they have taken effect."""
    with propagated():
        return await _sts_request(*arguments, **named)
