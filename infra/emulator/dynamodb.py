"""DynamoDB: exports that write files, and eventually consistent reads as a fault that tests can turn on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from ministack.services import dynamodb

from infra.emulator import changes, export, paths, recovery

# The delay of reads without ConsistentRead, in seconds; 0 for no delay.
_lag = 0.0
_get_item = dynamodb._get_item
_query = dynamodb._query
_scan = dynamodb._scan
_batch_get_item = dynamodb._batch_get_item


def set_lag(request: dict[str, Any]) -> dict[str, Any]:
    """Set the delay of reads in seconds: `{"seconds": 5}`; 0 turns the fault off."""
    global _lag
    seconds = float(request["seconds"])
    if seconds < 0:
        raise ValueError("seconds must not be negative")
    _lag = seconds
    return {"seconds": _lag}


def _late(read: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Return a read of one table that returns earlier data, unless the read is consistent.

    Source: DynamoDB Developer Guide, "DynamoDB read consistency". Reads of an index are not delayed.
    """

    def late(request: dict[str, Any]) -> Any:
        name = dynamodb._normalize_table_name(request.get("TableName"))
        if not _lag or request.get("ConsistentRead") or request.get("IndexName") or name not in dynamodb._tables:
            return read(request)
        with _as_it_was(name):
            return read(request)

    return late


def batch_get_item(request: dict[str, Any]) -> Any:
    """Read keys of several tables. Only eventually consistent reads are delayed."""
    requested = request.get("RequestItems")
    if not _lag or not isinstance(requested, dict):
        return _batch_get_item(request)
    names = [
        dynamodb._normalize_table_name(name)
        for name, keys in requested.items()
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
    # Requests are executed one after the other, so no other request reads the table now.
    table = dynamodb._tables[name]
    items = table["items"]
    table["items"] = changes.items_at(name, time.time() - _lag)
    try:
        yield
    finally:
        table["items"] = items


def install() -> None:
    """Complete MiniStack's DynamoDB."""
    changes.install()
    export.install()
    recovery.install()
    dynamodb._get_item = _late(_get_item)
    dynamodb._query = _late(_query)
    dynamodb._scan = _late(_scan)
    dynamodb._batch_get_item = batch_get_item
    paths.add("dynamodb-lag", set_lag)
