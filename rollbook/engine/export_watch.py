"""Looks at the exports in progress: completes those without a manifest event, and reports failed and silent ones.

DynamoDB publishes no event when an export ends: only API calls, through CloudTrail (EventBridge Events Reference,
"Amazon DynamoDB events"). A failed export writes no manifest, so S3 has no event for it either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollbook.contract import events
from rollbook.engine import exporting, finish_export
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import exports
from rollbook.engine.executions import COMPLETED, CONTINUING, EXPORTING, FAILED, Execution, is_stopped
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources

# The manifest's event usually completes an export. It is given this time before the watch completes the export.
_EVENT_TIME = timedelta(minutes=5)


class ExportAbandoned(RuntimeError):
    """The invocation that started an export died, and no other invocation continued it."""


class NotLookedAt(RuntimeError):
    """Exports could not be looked at. The message names each execution and why."""


@dataclass(frozen=True)
class ExportWatch:
    """Looks at the exports of all tables.

    Arguments:
        limit: after this time, an export that is still running is reported.
    """

    resources: Resources
    notifier: Notifier
    limit: timedelta

    def run(self, *, holder: str, deadline: Deadline) -> dict[str, str]:
        """Look at every export in progress once and return what was found, by execution.

        A fault of one export does not keep the others from being looked at.

        Raises:
            NotLookedAt: exports could not be looked at. The next run tries again.
        """
        found: dict[str, str] = {}
        faults: list[str] = []
        cause: Exception | None = None
        for execution_id in exporting.ids(self.resources.history):
            try:
                found[execution_id] = self._look(execution_id, holder, deadline)
            except Exception as fault:  # the other exports must be looked at, too
                faults.append(f"{execution_id}: {type(fault).__name__}: {fault}")
                cause = fault
        if faults:
            raise NotLookedAt(f"exports could not be looked at: {'; '.join(faults)}") from cause
        return found

    def _look(self, execution_id: str, holder: str, deadline: Deadline) -> str:
        history, now = self.resources.history, self.resources.clock()
        execution = history.get(execution_id)
        if execution is None or (execution.status == COMPLETED):
            exporting.discard(history, execution_id)
            return "completed"
        if execution.status == FAILED:
            return self._report(execution, execution.error)
        if execution.status == EXPORTING:
            return self._exporting(execution, holder, deadline)
        if execution.status == CONTINUING and not is_stopped(execution, now):
            return "continuing"
        if execution.lease_until < (now - _EVENT_TIME).timestamp():
            error = ExportAbandoned("the last invocation of the backup ended without recording a result")
            return self._fail(execution, holder, deadline, error)
        return "starting"

    def _exporting(self, execution: Execution, holder: str, deadline: Deadline) -> str:
        described = exports.describe(self.resources.dynamodb, execution.export_arn)
        fault = exports.fault_of(described)
        if fault is not None:
            error = exports.ExportFailed(f"the export {execution.export_arn} failed: {fault}")
            return self._fail(execution, holder, deadline, error)
        now = self.resources.clock()
        if described["ExportStatus"] == "COMPLETED":
            if now - _ended(described, execution) < _EVENT_TIME:
                return "completed; its manifest's event is awaited"
            manifest = str(described["ExportManifest"])
            finish_export.finish(manifest, self.resources, self.notifier, holder=holder, deadline=deadline)
            return "completed without an event"
        running = now - execution.started_at
        if running > self.limit:
            hours = f"{running / timedelta(hours=1):,.1f}"
            self._announce(execution, f"the export {execution.export_arn} is running for {hours} hours", "silent")
            return "silent"
        return "running"

    def _fail(self, execution: Execution, holder: str, deadline: Deadline, error: Exception) -> str:
        history, now = self.resources.history, self.resources.clock()
        claim = history.claim_exporting(execution.id, holder=holder, now=now, until=deadline.until(now))
        if not claim.granted:
            return "another invocation looks at it"
        history.fail(execution.id, holder=holder, now=now, error=error)
        return self._report(execution, f"{type(error).__name__}: {error}")

    def _report(self, execution: Execution, error: str) -> str:
        self._announce(execution, error, "failed")
        exporting.discard(self.resources.history, execution.id)
        return "failed"

    def _announce(self, execution: Execution, error: str, what: str) -> None:
        """Send the event and the mail, once for each export and state."""
        event = events.BackupFailed(
            correlation_id=execution.id,
            table=execution.table_name,
            bucket=self.resources.bucket,
            error=error[:2000],
        )
        body = (
            f"{error}\n\n"
            f"Table:     {execution.table_name}\n"
            f"Backup:    {execution.key}\n"
            f"Export:    {execution.export_arn or 'unknown'}\n"
            f"Execution: {execution.id}\n\n"
            f"{_ADVICE[what]}\n"
        )
        incident = f"incident#{execution.id}#{execution.export_arn}#{what}"
        self.notifier.backup_failed(event, body, incident=incident)


_ADVICE = {
    "failed": (
        "There is no backup of this run. Correct the cause, then make one: rollbook backups create.\n"
        'docs/runbook.md, "An export failed or is silent".'
    ),
    "silent": (
        "The export has neither completed nor failed. Look at it in the DynamoDB console under Exports, and make a\n"
        'backup by a scan if it does not end: docs/runbook.md, "An export failed or is silent".'
    ),
}


def _ended(described: dict[str, Any], execution: Execution) -> datetime:
    ended: datetime = described.get("EndTime") or execution.started_at
    return ended
