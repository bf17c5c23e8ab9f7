"""One execution of the backup: scan, upload, history, mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from dateutil import tz

from handlers import mail
from handlers.backups import document, scan, table, upload
from handlers.backups.history import COMPLETED, History, Row
from handlers.environment import Backup as BackupEnvironment

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Request:
    """What is to be backed up, by whose order.

    Arguments:
        id: identifies the execution; a second request of the same id is the same execution.
        source: `schedule`, `api` or `manual`.
        key: the object's key.
    """

    id: str
    source: str
    key: str


def scheduled(environment: BackupEnvironment, scheduled_time: datetime) -> Request:
    """Return the request of a scheduled run: the same for every try of it."""
    stamp = scheduled_time.astimezone(_zone(environment)).strftime("%Y%m%dT%H%M")
    moment = scheduled_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Request(f"schedule#{environment.table_name}#{moment}", "schedule", f"{environment.key_prefix}{stamp}.json")


def manual(environment: BackupEnvironment, source: str, request_id: str, now: datetime) -> Request:
    """Return the request of a run that somebody asked for: its key is its own, to the request."""
    stamp = now.astimezone(_zone(environment)).strftime("%Y%m%dT%H%M%S")
    return Request(f"{source}#{request_id}", source, f"{environment.key_prefix}{stamp}-{request_id[:8]}.json")


def _zone(environment: BackupEnvironment) -> tzinfo:
    # dateutil comes with botocore and brings its own zones, which a runtime's Linux may not have.
    zone: tzinfo | None = tz.gettz(environment.time_zone)
    if zone is None:
        raise ValueError(f"there is no time zone {environment.time_zone!r}; TIME_ZONE must be an IANA name")
    return zone


class Backup:
    """The backup of one table.

    Arguments:
        dynamodb: a client of `scan.client`.
        s3, ses: boto3 clients of S3 and SES v2.
        clock: returns the time now (aware).
    """

    def __init__(self, environment: BackupEnvironment, *, dynamodb: Any, s3: Any, ses: Any, clock: Clock) -> None:
        self._environment = environment
        self._dynamodb = dynamodb
        self._s3 = s3
        self._ses = ses
        self._clock = clock
        self._history = History(dynamodb, environment.history_table_name, int(environment.history_days))

    def run(self, request: Request, *, holder: str, remaining: timedelta) -> Row | None:
        """Make the backup and send its mail, once however often it is asked.

        Arguments:
            holder: the invocation that asks.
            remaining: the time that the invocation has left.

        Returns:
            The row of the history, or None while another invocation is at work on the same execution.

        Raises:
            Exception: whatever went wrong; the history has it, no object is visible, and a retry may begin anew.
        """
        now = self._clock()
        values = {"kind": "backup", "source": request.source, "engine": "scan", "format": "json", "key": request.key}
        claim = self._history.claim(request.id, holder=holder, now=now, until=now + remaining, values=values)
        row = claim.row
        if claim.granted:
            row = self._back_up(request, holder)
        elif row.get("status") != COMPLETED:
            return None
        self._tell(request, row)
        return row

    def _back_up(self, request: Request, holder: str) -> Row:
        started = self._clock()
        try:
            try:
                result = self._write(request.key, started)
            except upload.ObjectExists:
                # The invocation before this one died after its upload and before it could say so.
                result = self._read(request.key)
            ended = self._clock()
            result["seconds"] = f"{(ended - started).total_seconds():.1f}"
            return self._history.complete(request.id, holder=holder, now=ended, values=result)
        except BaseException as error:
            self._history.fail(request.id, holder=holder, now=self._clock(), error=error)
            raise

    def _write(self, key: str, started: datetime) -> Row:
        writer = document.Writer()
        described = table.describe(self._dynamodb, self._environment.table_name)
        pages = scan.pages(self._dynamodb, self._environment.table_name)
        upload.put(
            self._s3,
            bucket=self._environment.s3_bucket_name,
            key=key,
            chunks=writer.chunks(described, started, pages, self._clock),
            content_type="application/json",
        )
        return {
            "items": writer.items,
            "bytes": writer.bytes,
            "sha256": writer.sha256,
            "readUnits": f"{writer.read_units:g}",
        }

    def _read(self, key: str) -> Row:
        found = self._s3.get_object(
            Bucket=self._environment.s3_bucket_name, Key=key, Range=f"bytes=-{document.FOOTER_BYTES}"
        )
        footer = document.read_footer(found["Body"].read())
        size = int(found["ContentRange"].rpartition("/")[2])
        return {"items": footer.item_count, "bytes": size, "sha256": footer.sha256}

    def _tell(self, request: Request, row: Row) -> None:
        if not self._history.claim_mail(request.id, now=self._clock()):
            return
        try:
            mail.send(
                self._ses,
                sender=self._environment.sender_email,
                recipient=self._environment.recipient_email,
                subject=f"Backup Completed: {row['key']}",
                body=_body(self._environment, row),
            )
        except BaseException:
            self._history.release_mail(request.id)
            raise
        self._history.mailed(request.id, now=self._clock())


def _body(environment: BackupEnvironment, row: Row) -> str:
    return f"""Backup saved to s3://{environment.s3_bucket_name}/{row["key"]}

Table:     {environment.table_name}
Items:     {row["items"]:,}
Bytes:     {row["bytes"]:,}
Duration:  {row["seconds"]} s
SHA-256:   {row["sha256"]} (of the item lines)
Source:    {row["source"]}
Execution: {row["id"]}
"""
