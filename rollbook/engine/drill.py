"""Restores the newest backup, with its chain, into a scratch table, compares the two and measures the time."""

from __future__ import annotations

import hashlib
from datetime import datetime

from rollbook.contract import events
from rollbook.contract.jobs import DrillJob
from rollbook.engine import chain
from rollbook.engine.deadline import Deadline
from rollbook.engine.drill_lock import DrillLock, DrillRunning
from rollbook.engine.dynamodb import tables
from rollbook.engine.executions import COMPLETED, Execution, Row
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import Request

_LONGEST_NAME = 255


class DrillFailed(RuntimeError):
    """The newest backup could not be restored, or an objective was missed. The message says which and why."""


class Drill:
    """Drills the backups of one table.

    Arguments:
        job: the table and its objectives.
    """

    def __init__(self, job: DrillJob, resources: Resources, notifier: Notifier) -> None:
        self._job = job
        self._table_name = job.table_name
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
            DrillFailed: the backup is damaged, missing, too old or not equal to the restored table. A notification is
                sent, too.
            DrillRunning: another drill of this table is running. Nothing was changed.
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
            result = self._locked(execution_id, key, holder, deadline)
        except DrillRunning as other:  # the other drill says whether the backup can be restored
            history.fail(execution_id, holder=holder, now=self._resources.clock(), error=other)
            raise
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

    def _locked(self, execution_id: str, key: str, holder: str, deadline: Deadline) -> Row:
        resources, owner = self._resources, f"{execution_id} {holder}"
        began = resources.clock()
        scratch = self._scratch_name(began, owner)
        lock = DrillLock(resources.history, resources.dynamodb, self._table_name, owner)
        lock.take(now=began, until=deadline.until(began), scratch=scratch)
        try:
            return self._drill(key, scratch, holder, deadline)
        finally:
            # Only the own table. The name is unique, so this deletes no other drill's table.
            tables.delete(resources.dynamodb, scratch)
            lock.release(now=resources.clock())

    def _scratch_name(self, began: datetime, owner: str) -> str:
        unique = f"{began:%Y%m%dT%H%M%S}-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"
        return f"{self._job.scratch_prefix[: _LONGEST_NAME - len(unique)]}{unique}"

    def _drill(self, key: str, scratch: str, holder: str, deadline: Deadline) -> Row:
        resources = self._resources
        began = resources.clock()
        backup = chain.open_chain(resources.open_backup, key)
        request = Request(key, scratch, is_new=True, scratch=True, chain=True, kms_key=self._job.kms_key_arn)
        restored = Restore(resources).run(request, holder=holder, deadline=deadline)
        took = max(0.0, (resources.clock() - began).total_seconds())
        data = chain.as_of(backup)
        if data is None:
            raise DrillFailed(f"the backup {key} does not say when it was made, so its age is unknown")
        age = max(0.0, (began - data).total_seconds())  # a clock may be behind
        self._expect_objectives(key, data, age, took)
        return {"key": key, "items": restored.items, "rtoSeconds": f"{took:.1f}", "rpoSeconds": f"{age:.0f}"}

    def _expect_objectives(self, key: str, data: datetime, age: float, took: float) -> None:
        if age > self._job.rpo_hours * 3600:
            raise DrillFailed(
                f"the newest backup {key} was restored and compared, but its data is of {data:%Y-%m-%d %H:%M} UTC: "
                f"{age / 3600:,.1f} hours old, and the objective (RPO) is {self._job.rpo_hours:g} hours"
            )
        if took > self._job.rto_minutes * 60:
            raise DrillFailed(
                f"the newest backup {key} was restored and compared, but that took {took / 60:,.1f} minutes, and the "
                f"objective (RTO) is {self._job.rto_minutes:g} minutes"
            )

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
            "Make a new backup and run the drill again. If the backup is damaged, look for an older version of the\n"
            'object: docs/runbook.md, "A drill failed".\n'
        )
        event = events.DrillFailed(
            correlation_id=execution_id,
            table=self._table_name,
            bucket=self._resources.bucket,
            key=key,
            error=str(failure)[:2000],
        )
        self._notifier.drill_failed(event, body)
