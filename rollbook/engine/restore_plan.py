"""Reads the backup and the table, and says what a restore would write. Nothing is changed."""

from __future__ import annotations

import itertools

import msgspec

from rollbook.engine.dynamodb import conditional_write, tables
from rollbook.engine.formats import incremental
from rollbook.engine.restore_request import Change, Plan
from rollbook.engine.restore_work import RestoreWork
from rollbook.engine.write_plan import writes

# The number of keys of each kind, and of items before and after, that fit into the answer of a function.
_NAMED = 1000
_SHOWN = 100


def plan(work: RestoreWork) -> Plan:
    """Return what a restore would do.

    Raises:
        Corrupted: the backup is damaged.
        RestoreRefused: the restore cannot be executed.
    """
    total = work.read()
    if work.request.is_new:
        work.target.refuse_existing()
        return Plan(total, None, total, changes=_changes(work))
    outcome = work.compare()
    keys: dict[str, list[str]] = {"added": [], "newer": [], "replaced": []}
    differing = "newer" if _is_source(work) else "replaced"
    for found in work.comparison.differences():
        kind = {"removed": "added", "changed": differing}.get(found.kind)
        if kind and len(keys[kind]) < _NAMED:
            keys[kind].append(found.key)
    return Plan(total, outcome, writes(work.request.mode, outcome), keys, _changes(work))


def _is_source(work: RestoreWork) -> bool:
    """Return whether the target is the table of the backup, and not a later one of the same name.

    Then an item that differs was written after the backup was read. In another table this is unknown.
    """
    found = tables.found(work.resources.dynamodb, work.request.table_name)
    if found is None or work.backup.table is None or work.backup.started_at is None:
        return False
    is_same = found["TableArn"] == work.backup.table.get("arn")
    return bool(is_same and found["CreationDateTime"] <= work.backup.started_at)


def _changes(work: RestoreWork) -> list[Change]:
    if not work.request.selection:
        return []
    changes = []
    for line in itertools.islice(work.items(), _SHOWN):
        key = work.key_of(line)
        after = bytes(incremental.read(line).new) or None if work.backup.change_of else line
        before = None
        if not work.request.is_new:
            answer = work.resources.dynamodb.get_item(
                TableName=work.request.table_name, Key=conditional_write.parsed(key), ConsistentRead=True
            )
            before = msgspec.json.encode(answer["Item"]) if "Item" in answer else None
        changes.append(Change(key.decode(), before, after))
    return changes
