"""Records every change of an item, to reconstruct earlier states for exports and eventually consistent reads."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb

Item = dict[str, Any]
# DynamoDB's point-in-time recovery covers 35 days (Developer Guide, "Point-in-time backups").
_KEPT_SECONDS = 35 * 86_400
_emit_stream_event = dynamodb._emit_stream_event
_log: dict[tuple[str, str, str], list[Change]] = defaultdict(list)


@dataclass(frozen=True)
class Change:
    """A write.

    Arguments:
        at: seconds since 1970.
        key: the key attributes.
        old, new: the item before and after; None if there is none.
    """

    at: float
    key: Item
    old: Item | None
    new: Item | None


def record(table_name: str, event: str, old: Item | None, new: Item | None, replicate: bool = True) -> Any:
    """Record a change, then call MiniStack's function."""
    table = dynamodb._tables.get(table_name)
    if table:
        key = dynamodb._extract_key_from_item(table, new or old or {})
        now = time.time()
        changes = _log[_name(table_name)]
        changes.append(Change(now, key, copy.deepcopy(old), copy.deepcopy(new)))
        while changes[0].at < now - _KEPT_SECONDS:
            del changes[0]
    return _emit_stream_event(table_name, event, old, new, replicate)


def between(table_name: str, since: float, until: float) -> list[Change]:
    """Return the change of each changed key within a period, from its item before to its item at the end.

    Arguments:
        since: included; seconds since 1970.
        until: excluded.
    """
    merged: dict[tuple[str, str], Change] = {}
    for change in _log[_name(table_name)]:
        if since <= change.at < until:
            key = _place(dynamodb._tables[table_name], change.key)
            first = merged.get(key, change)
            merged[key] = Change(change.at, change.key, first.old, change.new)
    return list(merged.values())


def items_at(table_name: str, moment: float) -> dict[str, dict[str, Item]]:
    """Return a table's items at a moment, in MiniStack's structure: by partition key and sort key."""
    table = dynamodb._tables[table_name]
    items: dict[str, dict[str, Item]] = defaultdict(dict)
    for partition, of_partition in table["items"].items():
        items[partition].update(of_partition)
    for change in reversed(_log[_name(table_name)]):
        if change.at <= moment:
            break
        partition, sort = _place(table, change.key)
        if change.old is None:
            items[partition].pop(sort, None)
        else:
            items[partition][sort] = change.old
    return items


def _name(table_name: str) -> tuple[str, str, str]:
    # Identified by its id, because a later table with the same name has other changes.
    table = dynamodb._tables[table_name]
    return get_account_id(), get_region(), str(table.get("TableId") or table_name)


def _place(table: Any, key: Item) -> tuple[str, str]:
    partition, sort, _ = dynamodb._resolve_table_key_values(table, key, allow_extra=True)
    return partition, sort


def install() -> None:
    """Record the changes of MiniStack's tables."""
    dynamodb._emit_stream_event = record
