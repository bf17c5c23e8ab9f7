"""Accepts a backup that is in doubt: its table's number of items has changed on purpose."""

from __future__ import annotations

from rollbook.contract import moments
from rollbook.engine import doubt, recorded
from rollbook.engine.executions import Execution
from rollbook.engine.history import latest
from rollbook.engine.resources import Resources


class NotInDoubt(ValueError):
    """There is nothing to accept. The message says why."""


def accept(resources: Resources, key: str) -> Execution:
    """Make a backup in doubt the newest good one of its table.

    Raises:
        NotInDoubt: the history does not know the backup, or it is not in doubt.
    """
    history = resources.history
    known = recorded.find(history, key)
    execution = history.get(known.execution) if known else None
    if execution is None or execution.key != key or execution.items is None:
        raise NotInDoubt(f"the history knows no backup {key}")
    if not execution.doubt:
        raise NotInDoubt(f"{key} is not in doubt")
    began = execution.read_from or execution.started_at
    history.remember(
        latest(execution.table_name),
        {
            "key": key,
            "engine": execution.engine,
            "items": execution.items,
            "bytes": execution.bytes,
            "execution": execution.id,
            "recent": doubt.remembered([], began, execution.items),
            "startedAt": moments.to_text(began),
        },
    )
    history.remember(execution.id, {"doubt": ""})
    return execution
