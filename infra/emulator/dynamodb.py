"""DynamoDB of the embedded AWS: exports that write, and eventually consistent reads that can be switched on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from ministack.services import dynamodb

from infra.emulator import changes, export, paths

# Seconds by which a read without ConsistentRead is late; 0 for none.
_lag = 0.0
_get_item = dynamodb._get_item
_query = dynamodb._query
_scan = dynamodb._scan
_batch_get_item = dynamodb._batch_get_item


def set_lag(request: dict[str, Any]) -> dict[str, Any]:
    """Set by how many seconds reads are late: `{"seconds": 5}`; 0 switches the fault off."""
    global _lag
    seconds = float(request["seconds"])
    if seconds < 0:
        raise ValueError("seconds must not be negative")
    _lag = seconds
    return {"seconds": _lag}


def _late(read: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Return a read of one table that sees it as it was, unless it is consistent.

    Source: DynamoDB Developer Guide, "DynamoDB read consistency". An index is read as it is.
    """

    def late(request: dict[str, Any]) -> Any:
        name = dynamodb._normalize_table_name(request.get("TableName"))
        if not _lag or request.get("ConsistentRead") or request.get("IndexName") or name not in dynamodb._tables:
            return read(request)
        with _as_it_was(name):
            return read(request)

    return late


def batch_get_item(request: dict[str, Any]) -> Any:
    """Read keys of several tables; only those that are read eventually consistent are late."""
    wanted = request.get("RequestItems")
    if not _lag or not isinstance(wanted, dict):
        return _batch_get_item(request)
    names = [
        dynamodb._normalize_table_name(name)
        for name, keys in wanted.items()
        if isinstance(keys, dict) and not keys.get("ConsistentRead")
    ]
    return _batch_late(request, [name for name in names if name in dynamodb._tables])


def _batch_late(request: dict[str, Any], names: list[str]) -> Any:
    if not names:
        return _batch_get_item(request)
    with _as_it_was(names[0]):
        return _batch_late(request, names[1:])


@contextmanager
def _as_it_was(name: str) -> Any:
    # Requests are carried out one after the other, so nothing else reads the table meanwhile.
    table = dynamodb._tables[name]
    items = table["items"]
    table["items"] = changes.items_at(name, time.time() - _lag)
    try:
        yield
    finally:
        table["items"] = items


def install() -> None:
    """Put the completions in MiniStack's place."""
    changes.install()
    export.install()
    dynamodb._get_item = _late(_get_item)
    dynamodb._query = _late(_query)
    dynamodb._scan = _late(_scan)
    dynamodb._batch_get_item = batch_get_item
    paths.add("dynamodb-lag", set_lag)
