"""Restores the newest backup into a scratch table, compares the two, deletes the table and measures the time."""

from __future__ import annotations

from rollbook.contract import events
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import tables
from rollbook.engine.executions import COMPLETED, Execution, Row
from rollbook.engine.history import scratch_of
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import Request


class DrillFailed(RuntimeError):
    """The newest backup could not be restored. The message names it and says why."""


class Drill:
    """Drills the backups of one table.

    Arguments:
        scratch_prefix: the beginning of a scratch table's name.
    """

    def __init__(self, table_name: str, scratch_prefix: str, resources: Resources, notifier: Notifier) -> None:
        self._table_name = table_name
        self._scratch_prefix = scratch_prefix
        self._resources = resources
        self._notifier = notifier

    def run(self, execution_id: str, *, holder: str, deadline: Deadline) -> Execution | None:
        """Run a drill and record its result.

        The result has the RTO (the duration of the restore) and the RPO (the age of the backup), both in seconds.

        Arguments:
            execution_id: a second run with the same id is the same drill.
            holder: identifies the calling invocation.

        Returns:
            The execution, or None while another invocation runs it.

        Raises:
            DrillFailed: the backup is damaged, missing or not equal to the restored table. A notification is sent, too.
        """
        history, now = self._resources.history, self._resources.clock()
        claim = history.claim(
            execution_id,
            holder=holder,
            now=now,
            until=deadline.until(now),
            values={"kind": "drill", "tableName": self._table_name},
        )
        if not claim.granted:
            return claim.execution if claim.execution.status == COMPLETED else None
        key = str(history.newest_backup(self._table_name).get("key", ""))
        try:
            if not key:
                raise DrillFailed(f"the history has no backup of {self._table_name}; make one first")
            result = self._drill(key, holder, deadline)
        except BaseException as error:
            failure = self._failure(key, error)
            history.fail(execution_id, holder=holder, now=self._resources.clock(), error=failure)
            self._announce(execution_id, key, failure)
            if isinstance(error, Exception):
                raise failure from error
            raise
        done = history.complete(execution_id, holder=holder, now=self._resources.clock(), values=result)
        self._notifier.event(
            events.DrillPassed(
                correlation_id=execution_id,
                table=self._table_name,
                bucket=self._resources.bucket,
                key=key,
                items=done.items or 0,
                rto_seconds=done.rto_seconds or 0.0,
                rpo_seconds=done.rpo_seconds or 0.0,
            )
        )
        return done

    def _drill(self, key: str, holder: str, deadline: Deadline) -> Row:
        resources = self._resources
        began = resources.clock()
        self._delete_last_scratch_table()
        scratch = f"{self._scratch_prefix}{began:%Y%m%dT%H%M%S}"
        resources.history.remember(scratch_of(self._table_name), {"table": scratch})
        backup = resources.open_backup(key)
        if backup.change_of and backup.table is not None:
            raise DrillFailed(f"the newest backup {key} has only changes; a drill needs a full one")
        request = Request(key, scratch, is_new=True, scratch=True)
        try:
            restored = Restore(resources).run(request, holder=holder, deadline=deadline)
            ended = resources.clock()
        finally:
            tables.delete(resources.dynamodb, scratch)
        age = (began - backup.started_at).total_seconds() if backup.started_at else 0.0
        return {
            "key": key,
            "items": restored.items,
            "rtoSeconds": f"{(ended - began).total_seconds():.1f}",
            "rpoSeconds": f"{age:.0f}",
        }

    def _delete_last_scratch_table(self) -> None:
        """Delete the scratch table of an earlier drill that died before it deleted the table."""
        left = self._resources.history.recall(scratch_of(self._table_name))
        if left:
            tables.delete(self._resources.dynamodb, str(left["table"]))

    def _failure(self, key: str, error: BaseException) -> DrillFailed:
        if isinstance(error, DrillFailed):
            return error
        what = f"the backup s3://{self._resources.bucket}/{key} could not be restored"
        return DrillFailed(f"{what}: {type(error).__name__}: {error}")

    def _announce(self, execution_id: str, key: str, failure: DrillFailed) -> None:
        body = (
            f"{failure}\n\n"
            f"Table:     {self._table_name}\n"
            f"Backup:    {key or 'none'}\n"
            f"Execution: {execution_id}\n\n"
            "Until a drill passes, assume that this backup cannot be restored. Make a new one, run the drill again,\n"
            'and look for an older version of the object: docs/runbook.md, "A drill failed".\n'
        )
        event = events.DrillFailed(
            correlation_id=execution_id,
            table=self._table_name,
            bucket=self._resources.bucket,
            key=key,
            error=str(failure)[:2000],
        )
        self._notifier.drill_failed(event, body)
