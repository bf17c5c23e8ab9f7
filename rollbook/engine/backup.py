"""Executes one backup: claims it, chooses the engine, scans or exports, records the result and sends notifications."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from botocore.exceptions import ClientError

from rollbook.contract import events, moments
from rollbook.contract.jobs import BackupJob
from rollbook.engine import doubt, exporting, stored
from rollbook.engine.backup_request import Request, manual, name_as_of, name_at, scheduled
from rollbook.engine.checkpoints import Checkpoint
from rollbook.engine.continued_scan import ContinuedScan
from rollbook.engine.deadline import Deadline, OutOfTime, bytes_per_read_unit
from rollbook.engine.dynamodb import definitions
from rollbook.engine.engine_choice import can_export, choose, measured
from rollbook.engine.executions import COMPLETED, CONTINUING, EXPORTING, Execution, Row
from rollbook.engine.export_backup import ExportBackup
from rollbook.engine.formats import compression
from rollbook.engine.history import Claim, LeaseLost
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload
from rollbook.engine.scan_backup import ScanBackup

__all__ = ["Backup", "Request", "manual", "scheduled"]
# Shorter than the minute that Lambda waits before it retries an event (Lambda Developer Guide, "Error handling and
# retries in asynchronous invocation"): the retry of a killed invocation finds the lease expired.
LEASE = timedelta(seconds=45)
# Left for starting an export, in addition to the reserve of every invocation.
_EXPORT_SECONDS = 15.0


class Backup:
    """The backup of one table."""

    def __init__(self, job: BackupJob, resources: Resources, notifier: Notifier) -> None:
        self._job = job
        self._resources = resources
        self._notifier = notifier
        self._scan = ScanBackup(job, resources)
        self._export = ExportBackup(job, resources)
        self._parts = ContinuedScan(job, resources)

    def key(self, name: str) -> str:
        """Return the key that identifies the backup with a name."""
        is_document = self._job.format == "json"
        return f"{name}.json{compression.SUFFIXES[self._job.compression] if is_document else ''}"

    def run(self, request: Request, *, holder: str, deadline: Deadline) -> Execution | None:
        """Make the backup and send its notifications. Repeated calls with the same request do this once.

        A repeated call makes the backup again if its object is gone or was replaced. Its data is then of now.

        Arguments:
            holder: identifies the calling invocation.
            deadline: when the invocation ends.

        Returns:
            The execution: completed, exporting while AWS runs the export, or continuing if the next invocation
            continues it. An event starts that one. None while another invocation runs it.

        Raises:
            Exception: the cause of the failure. It is recorded in the history, no object is visible, and a retry may
                start again.
        """
        claim = self._claim(request, holder)
        if claim.execution.status == COMPLETED and not self._is_stored(claim.execution):
            self._parts.forget(claim.execution)
            claim = self._claim(request, holder, again=True)
        execution = claim.execution
        if claim.granted:
            execution = self._make_or_fail(execution, request, holder, deadline)
            if execution.status == CONTINUING:
                self._notifier.event(events.BackupContinues(correlation_id=execution.id, table=execution.table_name))
            if execution.status == COMPLETED:
                self._notifier.count(execution)
        elif execution.status == EXPORTING:
            self._export.check(execution, holder)
            return execution
        elif execution.status != COMPLETED:
            return None
        if execution.status == COMPLETED:
            self._notifier.completed(execution)
            if execution.engine == "scan" and execution.manifest:
                # Last, because the event that continues the scan finds the execution by its checkpoint: after a kill,
                # its retry sends the notifications.
                self._parts.forget(execution)
                exporting.discard(self._resources.history, execution.id)
        return execution

    def _claim(self, request: Request, holder: str, *, again: bool = False) -> Claim:
        now = self._resources.clock()
        return self._resources.history.claim(
            request.id,
            holder=holder,
            now=now,
            until=now + LEASE,
            values={
                "kind": "backup",
                "tableName": self._job.table_name,
                "source": request.source,
                "runAt": moments.to_text(request.run_at),
                "expireAfterDays": self._job.expire_after_days,
            },
            once={"key": self.key(request.name)},
            again=again,
        )

    def _is_stored(self, done: Execution) -> bool:
        """Return whether the object that the execution wrote is the current one of its key."""
        try:
            found = stored.current_object(self._resources.s3, self._resources.bucket, done.key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                return False
            raise
        return not done.version_id or found.version_id == done.version_id

    def _make_or_fail(self, execution: Execution, request: Request, holder: str, deadline: Deadline) -> Execution:
        history, clock = self._resources.history, self._resources.clock
        renewer = LeaseRenewer(history, request.id, holder, clock, LEASE, lambda: None)
        try:
            with renewer:
                return self._make(execution, request, deadline, renewer)
        except LeaseLost:
            raise  # another invocation completes the backup
        except BaseException as error:
            if not history.fail(request.id, holder=holder, now=clock(), error=error):
                raise  # only the answer to the last write was lost, or another invocation completes the backup
            try:
                self._notifier.failed(execution, f"{type(error).__name__}: {error}"[:2000])
            except Exception as fault:  # the caller must see the backup's own failure
                error.add_note(f"The notification of this failure could not be sent: {fault}")
            raise

    def _make(self, execution: Execution, request: Request, deadline: Deadline, renewer: LeaseRenewer) -> Execution:
        described = definitions.describe(self._resources.dynamodb, self._job.table_name)
        if execution.tries > 1:
            if state := self._parts.find(execution, described):
                return self._continue(state, execution, described, deadline, renewer)
            if adopted := self._scan.adopt(execution):
                return self._complete(execution, adopted | {"engine": "scan", "reason": "stored by an earlier try"})
        started = self._resources.clock()
        name = name_at(request, started)
        newest = self._resources.history.newest_backup(self._job.table_name)
        choice = choose(self._job, newest, described, deadline)
        may_export, reason = can_export(self._job, described), choice.reason
        if execution.tries > 1 and execution.engine == "export" and may_export:
            choice, reason = replace(choice, engine="export"), execution.reason
        if choice.engine == "scan" and not choice.in_parts:
            try:
                # An export takes some requests to start. DynamoDB may throttle them.
                limit = deadline.earlier(_EXPORT_SECONDS) if may_export else deadline
                result = self._scan_table(execution, name, described, limit)
            except OutOfTime as late:
                reason = f"switched to an export: {late}" if may_export else f"continues in the next invocation: {late}"
                if may_export:
                    renewer.renew({"engine": "export", "reason": reason})  # a retry does not scan again
            else:
                return self._complete(execution, result | {"engine": "scan", "reason": reason})
        if choice.engine == "scan" and not may_export:
            state = self._parts.begin(request, name, described, reason)
            return self._continue(state, execution, described, deadline, renewer)
        values = self._export.start(request.id, name, described, started)
        values["reason"] = "; ".join(filter(None, (reason, values["reason"])))
        return self._resources.history.mark_exporting(request.id, holder=execution.holder, values=values)

    def _continue(
        self,
        state: Checkpoint,
        execution: Execution,
        described: definitions.Described,
        deadline: Deadline,
        renewer: LeaseRenewer,
    ) -> Execution:
        """Continue a scan over several invocations."""
        history = self._resources.history
        made = self._parts.go_on(state, execution, described, deadline, renewer)
        values: Row = {"engine": "scan", "reason": f"{state.reason}; {state.invocations} invocations"}
        if made is not None:
            return self._complete(execution, values | made, began=state.began_at)
        exporting.add(history, execution.id)  # the watch reports an execution that stops
        values["written"] = state.items
        return history.mark_continuing(
            execution.id, holder=execution.holder, now=self._resources.clock(), values=values
        )

    def _scan_table(self, execution: Execution, name: str, described: definitions.Described, deadline: Deadline) -> Row:
        began = deadline.clock()
        try:
            result = self._scan_as(name, execution, described, deadline)
        except upload.ObjectExists as found:
            if found.key != self.key(name):
                raise
            # The object is of another execution, and stays as it is.
            name = name_as_of(name, self._resources.clock())
            result = self._scan_as(name, execution, described, deadline)
        read_bytes = float(result["readUnits"]) * bytes_per_read_unit(is_consistent=self._job.consistent_reads)
        return result | measured(read_bytes, deadline.clock() - began)

    def _scan_as(self, name: str, execution: Execution, described: definitions.Described, deadline: Deadline) -> Row:
        key = self.key(name)
        if key != execution.key:
            # The next try looks for the object of this one there.
            until = self._resources.clock() + LEASE
            self._resources.history.extend(execution.id, holder=execution.holder, until=until, values={"key": key})
        return self._scan.make(execution, name, key, described, deadline)

    def _complete(self, execution: Execution, values: Row, *, began: datetime | None = None) -> Execution:
        history, ended = self._resources.history, self._resources.clock()
        recent = [items for _, items in doubt.recent_of(history.newest_backup(self._job.table_name), ended)]
        limits = doubt.Limits(self._job.doubtful_change_percent, self._job.doubtful_change_items)
        values["doubt"] = doubt.doubt(limits, int(values["items"]), recent)
        values |= {"verifiedAt": "", "damagedAt": ""}  # of a backup that an earlier try made, and that is gone
        values["seconds"] = f"{(ended - (began or execution.started_at)).total_seconds():.1f}"
        return history.complete(execution.id, holder=execution.holder, now=ended, values=values)
