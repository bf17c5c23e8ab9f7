"""Accepts a backup that is in doubt: its table's number of items has changed on purpose."""

from __future__ import annotations

from rollbook.engine import doubt, examination, recorded
from rollbook.engine.executions import Execution
from rollbook.engine.history import latest
from rollbook.engine.resources import Resources


class NotInDoubt(ValueError):
    """There is nothing to accept. The message says why."""


def accept(resources: Resources, key: str) -> Execution:
    """Call a backup in doubt good. It becomes the newest good one of its table, unless a newer one is good.

    Raises:
        NotInDoubt: the history does not know the backup, it is not in doubt, or it is damaged or cannot be read.
    """
    history = resources.history
    known = recorded.find(history, key)
    execution = history.get(known.execution) if known else None
    if execution is None or execution.key != key or execution.items is None:
        raise NotInDoubt(f"the history knows no backup {key}")
    if not execution.doubt:
        raise NotInDoubt(f"{key} is not in doubt")
    is_full = execution.export_type != "incremental"
    if not is_full and (why := doubt.doubt_of_base(resources, execution)):
        raise NotInDoubt(f"{key} cannot be accepted: {why}; accept that one first")
    found = examination.examine(resources, key)
    if found.fault or found.is_cold:
        raise NotInDoubt(
            f"{key} is damaged: {found.fault}" if found.fault else f"{key} is in Glacier: restore it first"
        )
    began = execution.read_from or execution.started_at
    history.remember(
        latest(execution.table_name),
        {
            "key": key,
            "engine": execution.engine,
            "items": execution.items,
            "bytes": execution.bytes,
            "execution": execution.id,
        }
        | ({"recent": doubt.remembered([], began, execution.items)} if is_full else {}),
        started_at=began,
    )
    history.remember(execution.id, {"doubt": ""})
    return execution
