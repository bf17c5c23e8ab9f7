"""Sends the notifications of an execution: metrics, event and mail. Also records a table's newest backup."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rollbook.contract import events, moments
from rollbook.contract.environment import Notifications
from rollbook.engine import announcements, doubt, mails, recorded
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

    def count(self, done: Execution) -> None:
        """Write the metrics of a backup. The invocation that completed it calls this once."""
        metrics.put(
            done.table_name,
            **({"BackupsDoubtful": 1} if done.doubt else {"BackupsCompleted": 1}),
            BackupItems=done.items or 0,
            BackupBytes=done.bytes or 0,
            BackupSeconds=done.seconds or 0.0,
        )

    def completed(self, done: Execution) -> None:
        """Record a completed backup as a table's newest, and send the notifications, once per execution.

        Raises:
            Exception: the event or the mail could not be sent. The next try may send it immediately.
        """
        table = done.table_name
        if not table or done.items is None or done.bytes is None:
            raise ValueError(f"the row {done.id} of the history lacks the table, the items or the bytes of its backup")
        recorded.record(self._history, done, self._clock())
        self._remember(done, done.items)
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
            run_at=_text(done.run_at),
            read_from=_text(done.read_from),
            read_until=_text(done.read_until),
            doubt=done.doubt,
        )
        subject = "Backup in Doubt" if done.doubt else "Backup Completed"
        self._once(event, f"{subject}: {done.key}", mails.completed(self._environment.s3_bucket_name, done))

    def failed(self, execution: Execution, error: str) -> None:
        """Put the event of a failed backup on the bus. The first failure of a table since its last backup is mailed."""
        event = events.BackupFailed(
            correlation_id=execution.id,
            table=execution.table_name,
            bucket=self._environment.s3_bucket_name,
            error=error,
        )
        self.event(event)
        if not announcements.begin_incident(self._history, event.table, now=self._clock()):
            return
        try:
            self._mail(f"Backup Failed: {event.table}", mails.failed(event))
        except BaseException:
            announcements.release_incident(self._history, event.table)
            raise
        announcements.incident_told(self._history, event.table, now=self._clock())

    def damaged(self, event: events.BackupDamaged) -> None:
        """Put the event of a damaged backup on the bus, and send a mail once for each backup."""
        self.event(event)
        if not announcements.begin_damage(self._history, event.key, now=self._clock()):
            return
        try:
            self._mail(f"Backup Damaged: {event.key}", mails.damaged(event))
        except BaseException:
            announcements.release_damage(self._history, event.key)
            raise
        announcements.damage_told(self._history, event.key, now=self._clock())

    def _remember(self, done: Execution, items: int) -> None:
        """Write the row of the table's newest backup. A backup in doubt does not replace the last good one."""
        began = done.read_from or done.started_at
        known = doubt.recent_of(self._history.newest_backup(done.table_name), self._clock())
        is_counted = done.export_type == "incremental" or (began.replace(microsecond=0), items) in known
        values: dict[str, Any] = {} if is_counted else {"recent": doubt.remembered(known, began, items)}
        if done.doubt:
            self._history.remember(latest(done.table_name), values, remove="failingSince")
            return
        newest = {
            "key": done.key,
            "engine": done.engine,
            "items": done.items,
            "bytes": done.bytes,
            "exportedUntil": done.exported_until.isoformat() if done.exported_until else None,
            "scanRate": int(done.scan_rate) if done.scan_rate else None,
            "execution": done.id,
        }
        values |= {name: value for name, value in newest.items() if value is not None}
        self._history.remember(latest(done.table_name), values, started_at=began, remove="failingSince")

    def drill_failed(self, event: events.DrillFailed, body: str) -> None:
        """Send the notifications of a failed drill, once per execution."""
        self._once(event, f"Drill Failed: {event.key or event.table}", body)

    def backup_failed(self, event: events.BackupFailed, body: str, *, incident: str) -> None:
        """Put the event of a failed backup on the bus, once for each incident.

        The first failure of a table since its last backup is mailed.

        Arguments:
            incident: names the failure. The execution's own mail is still sent if a later try completes it.
        """
        self._history.remember(incident, {"execution": event.correlation_id})
        is_first = announcements.begin_incident(self._history, event.table, now=self._clock())
        try:
            self._once(event, f"Backup Failed: {event.table}", body if is_first else "", claimed=incident)
        except BaseException:
            if is_first:
                announcements.release_incident(self._history, event.table)
            raise
        if is_first:
            announcements.incident_told(self._history, event.table, now=self._clock())

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
        if not announcements.claim_mail(self._history, execution, now=self._clock()):
            return
        try:
            self.event(event)
            if body:
                self._mail(subject, body)
        except BaseException:
            announcements.release_mail(self._history, execution)
            raise
        announcements.mailed(self._history, execution, now=self._clock())

    def _mail(self, subject: str, body: str) -> None:
        mail.send(
            self._client("sesv2"),
            sender=self._environment.sender_email,
            recipient=self._environment.recipient_email,
            subject=subject,
            body=body,
        )


def _text(when: datetime | None) -> str:
    return moments.to_text(when) if when else ""
