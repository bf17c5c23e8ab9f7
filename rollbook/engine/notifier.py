"""Sends the notifications of an execution: metrics, event and mail. Also records a table's newest backup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollbook.contract import events, moments
from rollbook.contract.environment import Notifications
from rollbook.engine.deadline import Clock
from rollbook.engine.executions import Execution
from rollbook.engine.history import History, latest
from rollbook.messages import mail, metrics
from rollbook.messages.bus import Bus


class Notifier:
    """Sends the notifications of all tables' executions.

    Arguments:
        client: returns a client of a service by its name. The clients of SES and EventBridge are created only when
            they are needed, because the scan needs the memory before.
        clock: returns the time now (aware).
    """

    def __init__(
        self,
        environment: Notifications,
        *,
        history: History,
        client: Callable[[str], Any],
        clock: Clock,
    ) -> None:
        self._environment = environment
        self._history = history
        self._client = client
        self._clock = clock

    def completed(self, done: Execution) -> None:
        """Send the notifications of a completed backup, once per execution.

        Raises:
            Exception: the event or the mail could not be sent. The next try may send it immediately.
        """
        table = done.table_name
        if not table or done.items is None or done.bytes is None:
            raise ValueError(f"the row {done.id} of the history lacks the table, the items or the bytes of its backup")
        metrics.put(
            table,
            BackupsCompleted=1,
            BackupItems=done.items,
            BackupBytes=done.bytes,
            BackupSeconds=done.seconds or 0.0,
        )
        remembered = {
            "key": done.key,
            "engine": done.engine,
            "items": done.items,
            "bytes": done.bytes,
            "exportedUntil": done.exported_until.isoformat() if done.exported_until else None,
            "scanRate": int(done.scan_rate) if done.scan_rate else None,
            "execution": done.id,
        }
        known = {name: value for name, value in remembered.items() if value is not None}
        self._history.remember(latest(table), known, started_at=done.started_at)
        event = events.BackupCompleted(
            correlation_id=done.id,
            table=table,
            bucket=self._environment.s3_bucket_name,
            key=done.key,
            trigger=done.source,
            engine=done.engine,
            format=done.format,
            items=done.items,
            bytes=done.bytes,
            started_at=moments.to_text(done.started_at),
            ended_at=moments.to_text(done.ended_at or done.started_at),
        )
        self._once(event, f"Backup Completed: {done.key}", self._body(table, done))

    def drill_failed(self, event: events.DrillFailed, body: str) -> None:
        """Send the notifications of a failed drill, once per execution."""
        self._once(event, f"Drill Failed: {event.key or event.table}", body)

    def backup_failed(self, event: events.BackupFailed, body: str, *, incident: str) -> None:
        """Send the notifications of a failed backup, once per incident.

        Arguments:
            incident: names the failure. The execution's own mail is still sent if a later try completes it.
        """
        self._history.remember(incident, {"execution": event.correlation_id})
        self._once(event, f"Backup Failed: {event.table}", body, claimed=incident)

    def event(self, event: events.Event) -> None:
        """Put an event on the bus and write its metrics. No mail is sent."""
        match event:
            case events.BackupFailed():
                metrics.put(event.table, BackupsFailed=1)
            case events.DrillFailed():
                metrics.put(event.table, DrillsFailed=1)
            case events.DrillPassed():
                metrics.put(
                    event.table, DrillsPassed=1, DrillRtoSeconds=event.rto_seconds, DrillRpoSeconds=event.rpo_seconds
                )
        Bus(self._client("events"), self._environment.event_bus_name).put(event)

    def _once(self, event: events.Event, subject: str, body: str, *, claimed: str = "") -> None:
        execution = claimed or event.correlation_id
        if not self._history.claim_mail(execution, now=self._clock()):
            return
        try:
            self.event(event)
            mail.send(
                self._client("sesv2"),
                sender=self._environment.sender_email,
                recipient=self._environment.recipient_email,
                subject=subject,
                body=body,
            )
        except BaseException:
            self._history.release_mail(execution)
            raise
        self._history.mailed(execution, now=self._clock())

    def _body(self, table: str, done: Execution) -> str:
        digest = "of the item lines" if done.format == "json" else "of manifest-files.json"
        manifest = f"Manifest:  {done.manifest}\n" if done.manifest else ""
        return f"""Backup saved to s3://{self._environment.s3_bucket_name}/{done.key}

Table:     {table}
Items:     {done.items:,}
Bytes:     {done.bytes:,}
Duration:  {done.seconds or 0:.1f} s
SHA-256:   {done.sha256} ({digest})
{manifest}Engine:    {done.engine} ({done.reason})
Source:    {done.source}
Execution: {done.id}
"""
