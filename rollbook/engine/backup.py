"""Executes one backup: claims it, chooses the engine, scans or exports, records the result and sends notifications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from dateutil import tz

from rollbook.contract import events
from rollbook.contract.jobs import BackupJob
from rollbook.engine.deadline import Deadline, OutOfTime
from rollbook.engine.dynamodb import definitions
from rollbook.engine.executions import COMPLETED, EXPORTING, Execution, Row
from rollbook.engine.export_backup import ExportBackup
from rollbook.engine.formats import compression
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload
from rollbook.engine.scan_backup import ScanBackup

# Assumed for a table that was never scanned: half of the rate measured with 128 MB of memory (docs/benchmarks.md).
_ASSUMED_BYTES_PER_SECOND = 4e6
# `auto` chooses a scan if its expected duration is at most this share of the remaining time.
_SHARE_OF_TIME = 0.75


@dataclass(frozen=True)
class Request:
    """A request for a backup.

    Arguments:
        id: identifies the execution. A second request with the same id belongs to the same execution.
        source: `schedule`, `api` or `manual`.
        name: the object's key without its suffix.
    """

    id: str
    source: str
    name: str


def scheduled(job: BackupJob, time_zone: str, scheduled_time: datetime) -> Request:
    """Return the request of a scheduled run. It is the same for every retry of the run."""
    stamp = scheduled_time.astimezone(_zone(time_zone)).strftime("%Y%m%dT%H%M")
    moment = scheduled_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Request(f"schedule#{job.table_name}#{moment}", "schedule", f"{job.key_prefix}{stamp}")


def manual(job: BackupJob, time_zone: str, source: str, request_id: str, now: datetime, mark: str = "") -> Request:
    """Return the request of a manual run. Its key contains the request's id and the mark."""
    stamp = now.astimezone(_zone(time_zone)).strftime("%Y%m%dT%H%M%S")
    marked = f"-{mark}" if mark else ""
    return Request(f"{source}#{request_id}", source, f"{job.key_prefix}{stamp}-{request_id[:8]}{marked}")


def _zone(name: str) -> tzinfo:
    # dateutil, which botocore needs, has its own zone files; the Lambda runtime may have none.
    zone: tzinfo | None = tz.gettz(name)
    if zone is None:
        raise ValueError(f"there is no time zone {name!r}; TIME_ZONE must be an IANA name")
    return zone


class Backup:
    """The backup of one table."""

    def __init__(self, job: BackupJob, resources: Resources, notifier: Notifier) -> None:
        self._job = job
        self._resources = resources
        self._notifier = notifier
        self._scan = ScanBackup(job, resources)
        self._export = ExportBackup(job, resources)

    def key(self, request: Request) -> str:
        """Return the key that identifies the backup."""
        is_document = self._job.format == "json"
        return f"{request.name}.json{compression.SUFFIXES[self._job.compression] if is_document else ''}"

    def run(self, request: Request, *, holder: str, deadline: Deadline) -> Execution | None:
        """Make the backup and send its notifications. Repeated calls with the same request do this once.

        Arguments:
            holder: identifies the calling invocation.
            deadline: when the invocation ends.

        Returns:
            The execution: completed, or exporting while AWS runs the export. None while another invocation runs it.

        Raises:
            Exception: the cause of the failure. It is recorded in the history, no object is visible, and a retry may
                start again.
        """
        now = self._resources.clock()
        claim = self._resources.history.claim(
            request.id,
            holder=holder,
            now=now,
            until=deadline.until(now),
            values={
                "kind": "backup",
                "tableName": self._job.table_name,
                "source": request.source,
                "key": self.key(request),
            },
        )
        execution = claim.execution
        if claim.granted:
            execution = self._make_or_fail(request, holder, deadline)
        elif execution.status == EXPORTING:
            self._export.check(execution, holder)
            return execution
        elif execution.status != COMPLETED:
            return None
        if execution.status == COMPLETED:
            self._notifier.completed(execution)
        return execution

    def _make_or_fail(self, request: Request, holder: str, deadline: Deadline) -> Execution:
        try:
            return self._make(request, holder, deadline)
        except BaseException as error:
            self._resources.history.fail(request.id, holder=holder, now=self._resources.clock(), error=error)
            try:
                self._notifier.event(
                    events.BackupFailed(
                        correlation_id=request.id,
                        table=self._job.table_name,
                        bucket=self._resources.bucket,
                        error=f"{type(error).__name__}: {error}"[:2000],
                    )
                )
            except Exception as fault:  # the caller must see the backup's own failure
                error.add_note(f"The event of this failure could not be sent: {fault}")
            raise

    def _make(self, request: Request, holder: str, deadline: Deadline) -> Execution:
        started = self._resources.clock()
        described = definitions.describe(self._resources.dynamodb, self._job.table_name)
        engine, reason = self._choose(described, deadline)
        if engine == "scan":
            try:
                result = self._scan_or_adopt(request, described, started, deadline)
            except OutOfTime as late:
                if self._job.engine != "auto" or not described.definition.get("pointInTimeRecovery"):
                    raise
                reason = f"switched to an export: {late}"
            else:
                result |= {"engine": engine, "reason": reason}
                return self._complete(request, holder, started, result)
        values = self._export.start(request.id, request.name, described, started)
        values["reason"] = "; ".join(filter(None, (reason, values["reason"])))
        return self._resources.history.mark_exporting(request.id, holder=holder, values=values)

    def _scan_or_adopt(
        self, request: Request, described: definitions.Described, started: datetime, deadline: Deadline
    ) -> Row:
        began = deadline.clock()
        key = self.key(request)
        try:
            result = self._scan.make(request.name, key, described, started, deadline)
        except upload.ObjectExists as found:
            if found.key != key:
                raise
            # An earlier invocation uploaded the object and died before it recorded that.
            return self._scan.read_back(key)
        rate = described.size_bytes / max(deadline.clock() - began, 1e-3)
        return result | ({"scanRate": int(rate)} if rate else {})

    def _choose(self, described: definitions.Described, deadline: Deadline) -> tuple[str, str]:
        if self._job.engine != "auto":
            return self._job.engine, f"backups.engine is {self._job.engine}"
        known = self._resources.history.newest_backup(self._job.table_name)
        rate = float(known.get("scanRate") or _ASSUMED_BYTES_PER_SECOND)
        how = "measured" if known.get("scanRate") else "assumed"
        seconds = described.size_bytes / rate
        expected = f"{described.size_bytes / 1e6:,.1f} MB at {how} {rate / 1e6:,.1f} MB/s take {seconds:,.0f} s"
        left = f"{deadline.left():,.0f} s"
        if seconds <= deadline.left() * _SHARE_OF_TIME:
            return "scan", f"{expected} of {left}"
        if not described.definition.get("pointInTimeRecovery"):
            return "scan", f"{expected} of {left}, and an export needs point-in-time recovery, which is off"
        return "export", f"{expected}, and only {left} are left"

    def _complete(self, request: Request, holder: str, started: datetime, values: Row) -> Execution:
        ended = self._resources.clock()
        values["seconds"] = f"{(ended - started).total_seconds():.1f}"
        return self._resources.history.complete(request.id, holder=holder, now=ended, values=values)
