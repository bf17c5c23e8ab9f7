"""Tells of a completed backup: the row that remembers the newest, the event, the mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollbook.contract import events
from rollbook.contract.environment import Reporting
from rollbook.engine.deadline import Clock
from rollbook.engine.history import History, Row, latest
from rollbook.messages import mail, metrics
from rollbook.messages.bus import Bus

_REMEMBERED = ("key", "engine", "items", "bytes", "exportedUntil", "scanRate")


class Notifier:
    """Reports the executions of one table.

    Arguments:
        client: returns a client of a service by its name; asked for SES and EventBridge when there is news to tell, as
            until then the memory is the scan's.
        clock: returns the time now (aware).
    """

    def __init__(self, environment: Reporting, *, history: History, client: Callable[[str], Any], clock: Clock) -> None:
        self._environment = environment
        self._history = history
        self._client = client
        self._clock = clock

    def completed(self, row: Row) -> None:
        """Tell of a completed backup, once however often it is asked.

        Raises:
            Exception: what could not be told; the next try may tell it at once.
        """
        # The function that completes exports has those of all tables.
        table = str(row.get("tableName", self._environment.table_name))
        metrics.put(
            table,
            BackupsCompleted=1,
            BackupItems=int(row["items"]),
            BackupBytes=int(row["bytes"]),
            BackupSeconds=float(row["seconds"]),
        )
        kept = {name: row[name] for name in _REMEMBERED if name in row} | {"execution": row["id"]}
        self._history.remember(latest(table), kept, started_at=str(row["startedAt"]))
        event = events.BackupCompleted(
            correlation_id=str(row["id"]),
            table=table,
            bucket=self._environment.s3_bucket_name,
            key=str(row["key"]),
            trigger=str(row["source"]),
            engine=str(row["engine"]),
            format=str(row["format"]),
            items=int(row["items"]),
            bytes=int(row["bytes"]),
            started_at=str(row["startedAt"]),
            ended_at=str(row["endedAt"]),
        )
        self._once(event, f"Backup Completed: {row['key']}", _body(self._environment, table, row))

    def drill_failed(self, event: events.DrillFailed, body: str) -> None:
        """Tell of a failed drill, once for each execution."""
        self._once(event, f"Drill Failed: {event.key or event.table}", body)

    def event(self, event: events.Event) -> None:
        """Put an event on the bus, of which there is no mail, and what is measured by it."""
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

    def _once(self, event: events.Event, subject: str, body: str) -> None:
        execution = event.correlation_id
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


def _body(environment: Reporting, table: str, row: Row) -> str:
    digest = "of the item lines" if row["format"] == "json" else "of manifest-files.json"
    manifest = f"Manifest:  {row['manifest']}\n" if "manifest" in row else ""
    return f"""Backup saved to s3://{environment.s3_bucket_name}/{row["key"]}

Table:     {table}
Items:     {int(row["items"]):,}
Bytes:     {int(row["bytes"]):,}
Duration:  {row["seconds"]} s
SHA-256:   {row["sha256"]} ({digest})
{manifest}Engine:    {row["engine"]} ({row["reason"]})
Source:    {row["source"]}
Execution: {row["id"]}
"""
