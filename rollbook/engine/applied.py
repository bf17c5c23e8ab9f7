"""Remembers which moment of an exported table a target is restored to, so that increments are applied in order."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rollbook.contract import moments
from rollbook.engine import chain
from rollbook.engine.dynamodb import tables
from rollbook.engine.executions import Row
from rollbook.engine.history import History
from rollbook.engine.restore_request import Request, RestoreRefused
from rollbook.engine.stored import StoredBackup


def check(history: History, dynamodb: Any, request: Request, backup: StoredBackup) -> None:
    """Refuse an increment that does not continue what the target contains.

    A restore of the same increment is not refused, because applying it again has the same result.

    Raises:
        RestoreRefused: the target has another state, or its state is unknown.
    """
    if backup.change_of is None:
        return
    begin, end = backup.change_of
    row = history.recall(_of(request.table_name)) or {}
    is_same_table = bool(row) and row["tableId"] == _table_id(dynamodb, request.table_name)
    until = str(row["until"]) if is_same_table else ""
    if until and begin and end:
        first, reached, last = map(datetime.fromisoformat, (begin, until, end))
        if first <= reached <= last:
            return
    state = f"it is restored to {until}" if until else "the history has no restore of this table"
    raise RestoreRefused(
        f"{request.key} has only the changes from {begin} to {end}, and {request.table_name} is not at their "
        f"beginning: {state}. Restore the base and all increments with --chain into a new table"
    )


def forget(history: History, request: Request, backup: StoredBackup) -> None:
    """Forget the moment of an existing target before a full backup, or a part of one, is written into it.

    An increment leaves the moment: if it is interrupted, it can be applied again.
    """
    if backup.change_of is None and not request.is_new:
        history.update(_of(request.table_name), {"until": ""}, "attribute_exists(id)", {})


def remember(history: History, dynamodb: Any, request: Request, backup: StoredBackup, result: Row) -> None:
    """Record the moment to which a table is restored, if the table has exactly the state of that moment.

    Arguments:
        result: of the restore: the number of items that differ, and of items that only the table has.
    """
    end = chain.as_of(backup)
    is_exact = backup.change_of is not None or not (result["differing"] or result["extra"])
    if end is None or not is_exact or request.scratch or request.selection:
        return
    values = {"tableId": _table_id(dynamodb, request.table_name), "key": request.key, "until": moments.to_text(end)}
    history.remember(_of(request.table_name), values)


def _of(table_name: str) -> str:
    return f"applied#{table_name}"


def _table_id(dynamodb: Any, table_name: str) -> str:
    if not tables.exists(dynamodb, table_name):
        return ""
    return str(dynamodb.describe_table(TableName=table_name)["Table"].get("TableId", ""))
