"""The drill: the newest backup restored into a scratch table, compared, thrown away; and how long that takes."""

from __future__ import annotations

from typing import Any

from rollbook.contract import events
from rollbook.engine import restore, stored
from rollbook.engine.deadline import Clock, Deadline
from rollbook.engine.dynamodb import tables
from rollbook.engine.history import COMPLETED, History, Row, latest, scratch_of
from rollbook.engine.notifier import Notifier


class DrillFailed(RuntimeError):
    """The newest backup could not be brought back; the message says which and why."""


class Drill:
    """Drills the backups of one table.

    Arguments:
        dynamodb: a client of `wire.client`.
        s3: a boto3 S3 client.
        scratch_prefix: what a scratch table's name begins with.
        clock: returns the time now (aware).
    """

    def __init__(
        self,
        *,
        table_name: str,
        bucket: str,
        scratch_prefix: str,
        dynamodb: Any,
        s3: Any,
        history: History,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._table_name = table_name
        self._bucket = bucket
        self._scratch_prefix = scratch_prefix
        self._dynamodb = dynamodb
        self._s3 = s3
        self._history = history
        self._notifier = notifier
        self._clock = clock

    def run(self, execution_id: str, *, holder: str, deadline: Deadline) -> Row | None:
        """Make a drill and record it: RTO, the seconds until the data was back, and RPO, the backup's age in seconds.

        Arguments:
            execution_id: a second run of the same id is the same drill.
            holder: the invocation that asks.

        Returns:
            The row of the history, or None while another invocation is at work on the same drill.

        Raises:
            DrillFailed: the backup is damaged, missing or not what was restored; the event and the mail say so too.
        """
        now = self._clock()
        claim = self._history.claim(
            execution_id,
            holder=holder,
            now=now,
            until=deadline.until(now),
            values={"kind": "drill", "table": self._table_name},
        )
        if not claim.granted:
            return claim.row if claim.row.get("status") == COMPLETED else None
        known = self._history.get(latest(self._table_name)) or {}
        key = str(known.get("key", ""))
        try:
            if not key:
                raise DrillFailed(f"the history knows of no backup of {self._table_name}; make one first")
            result = self._drill(execution_id, key, holder, deadline)
        except BaseException as error:
            failure = self._failure(key, error)
            self._history.fail(execution_id, holder=holder, now=self._clock(), error=failure)
            self._tell(execution_id, key, failure)
            if isinstance(error, Exception):
                raise failure from error
            raise
        row = self._history.complete(execution_id, holder=holder, now=self._clock(), values=result)
        self._notifier.event(
            events.DrillPassed(
                correlation_id=execution_id,
                table=self._table_name,
                bucket=self._bucket,
                key=key,
                items=int(row["items"]),
                rto_seconds=float(row["rtoSeconds"]),
                rpo_seconds=float(row["rpoSeconds"]),
            )
        )
        return row

    def _drill(self, execution_id: str, key: str, holder: str, deadline: Deadline) -> Row:
        began = self._clock()
        self._clear_away()
        scratch = f"{self._scratch_prefix}{began:%Y%m%dT%H%M%S}"
        self._history.remember(scratch_of(self._table_name), {"table": scratch})
        backup = stored.open_backup(self._s3, self._bucket, key)
        if backup.change_of and backup.table is not None:
            raise DrillFailed(f"the newest backup {key} has only changes; a drill needs a full one")
        restorer = restore.Restore(
            dynamodb=self._dynamodb,
            s3=self._s3,
            bucket=self._bucket,
            history=self._history,
            clock=self._clock,
        )
        request = restore.Request(key, scratch, is_new=True, scratch=True)
        try:
            restored = restorer.run(request, holder=holder, deadline=deadline)
            ended = self._clock()
        finally:
            tables.delete(self._dynamodb, scratch)
        age = (began - backup.started_at).total_seconds() if backup.started_at else 0.0
        return {
            "key": key,
            "items": restored["items"],
            "rtoSeconds": f"{(ended - began).total_seconds():.1f}",
            "rpoSeconds": f"{age:.0f}",
        }

    def _clear_away(self) -> None:
        """Delete the scratch table of a drill that died before it could."""
        left = self._history.get(scratch_of(self._table_name))
        if left:
            tables.delete(self._dynamodb, str(left["table"]))

    def _failure(self, key: str, error: BaseException) -> DrillFailed:
        if isinstance(error, DrillFailed):
            return error
        what = f"the backup s3://{self._bucket}/{key} could not be brought back"
        return DrillFailed(f"{what}: {type(error).__name__}: {error}")

    def _tell(self, execution_id: str, key: str, failure: DrillFailed) -> None:
        body = (
            f"{failure}\n\n"
            f"Table:     {self._table_name}\n"
            f"Backup:    {key or 'none'}\n"
            f"Execution: {execution_id}\n\n"
            "Until a drill passes, take it that this backup cannot be restored. Make a new one, run the drill again,\n"
            'and look for an older version of the object: docs/runbook.md, "A drill failed".\n'
        )
        event = events.DrillFailed(
            correlation_id=execution_id,
            table=self._table_name,
            bucket=self._bucket,
            key=key,
            error=str(failure)[:2000],
        )
        self._notifier.drill_failed(event, body)
