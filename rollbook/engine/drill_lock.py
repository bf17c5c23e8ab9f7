"""Allows one drill of a table at a time, and finds the scratch table of a drill that was killed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rollbook.engine.dynamodb import tables
from rollbook.engine.history import History, scratch_of


class DrillRunning(RuntimeError):
    """Another drill of the same table is running."""


class DrillLock:
    """The lock of the drills of one table. It is a row of the history, and its lease ends with the invocation.

    Arguments:
        owner: identifies the execution and its invocation.
    """

    def __init__(self, history: History, dynamodb: Any, table_name: str, owner: str) -> None:
        self._history = history
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._owner = owner
        self._id = f"drill-lock#{table_name}"

    def take(self, *, now: datetime, until: datetime, scratch: str) -> None:
        """Take the lock, delete the scratch table of an earlier drill that was killed, and record one's own.

        Arguments:
            until: when the invocation has ended in any case (aware).
            scratch: the name of this drill's scratch table.

        Raises:
            DrillRunning: another drill holds the lock.
        """
        values = {"kind": "drill-lock", "tableName": self._table_name}
        claim = self._history.claim(self._id, holder=self._owner, now=now, until=until, values=values, again=True)
        if not claim.granted:
            end = datetime.fromtimestamp(claim.execution.lease_until, now.tzinfo)
            raise DrillRunning(
                f"another drill of {self._table_name} is running until {end:%H:%M:%S} UTC or earlier; run this "
                "one later"
            )
        left = (self._history.recall(scratch_of(self._table_name)) or {}).get("table")
        if left:
            tables.delete(self._dynamodb, str(left))
        self._history.remember(scratch_of(self._table_name), {"table": scratch})

    def release(self, *, now: datetime) -> None:
        """Release the lock after the own scratch table was deleted.

        Raises:
            LeaseLost: the lease expired, and another drill holds the lock. It has deleted the scratch table.
        """
        self._history.complete(self._id, holder=self._owner, now=now, values={})
