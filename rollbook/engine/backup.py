"""Executes one backup: claims it, chooses the engine, scans or exports, records the result and sends notifications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from botocore.exceptions import ClientError
from dateutil import tz

from rollbook.contract import moments
from rollbook.contract.jobs import BackupJob
from rollbook.engine import doubt, stored
from rollbook.engine.deadline import Deadline, OutOfTime
from rollbook.engine.dynamodb import definitions
from rollbook.engine.executions import COMPLETED, EXPORTING, Execution, Row
from rollbook.engine.export_backup import ExportBackup
from rollbook.engine.formats import compression
from rollbook.engine.history import Claim, LeaseLost
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload
from rollbook.engine.scan_backup import ScanBackup

# Assumed for a table that was never scanned: half of the rate measured with 128 MB of memory (docs/benchmarks.md).
_ASSUMED_BYTES_PER_SECOND = 4e6
# `auto` chooses a scan if its expected duration is at most this share of the remaining time.
_SHARE_OF_TIME = 0.75
# The Scheduler retries for hours, and a dead letter may be sent again after days. The data of such a run is of now.
_ON_TIME = timedelta(hours=1)
# Longer than the hours that a clock change repeats.
_CLOCK_CHANGE = timedelta(hours=3)


@dataclass(frozen=True)
class Request:
    """A request for a backup.

    Arguments:
        id: identifies the execution. A second request with the same id belongs to the same execution.
        source: `schedule`, `api` or `manual`.
        name: the object's key without its suffix.
        run_at: the time of the schedule, or of the request (aware).
    """

    id: str
    source: str
    name: str
    run_at: datetime


def scheduled(job: BackupJob, time_zone: str, scheduled_time: datetime) -> Request:
    """Return the request of a scheduled run. It is the same for every retry of the run."""
    zone = _zone(time_zone)
    universal = scheduled_time.astimezone(UTC)
    is_repeated = _is_repeated(universal, zone)
    stamp = f"{universal:%Y%m%dT%H%MZ}" if is_repeated else f"{universal.astimezone(zone):%Y%m%dT%H%M}"
    moment = universal.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Request(f"schedule#{job.table_name}#{moment}", "schedule", f"{job.key_prefix}{stamp}", scheduled_time)


def manual(job: BackupJob, time_zone: str, source: str, request_id: str, now: datetime, mark: str = "") -> Request:
    """Return the request of a manual run. Its key contains the request's id and the mark."""
    stamp = now.astimezone(_zone(time_zone)).strftime("%Y%m%dT%H%M%S")
    marked = f"-{mark}" if mark else ""
    return Request(f"{source}#{request_id}", source, f"{job.key_prefix}{stamp}-{request_id[:8]}{marked}", now)


def _is_repeated(moment: datetime, zone: tzinfo) -> bool:
    """Return whether another moment has the same local time, because a clock change repeats the hour."""
    local = moment.astimezone(zone)
    # `tz.datetime_ambiguous` misses zones whose winter time is the exception, such as Africa/Casablanca.
    for beside in (moment - _CLOCK_CHANGE, moment + _CLOCK_CHANGE):
        offset = beside.astimezone(zone).utcoffset() or timedelta()
        other = (local.replace(tzinfo=None) - offset).replace(tzinfo=UTC)
        if other != moment and other.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
            return True
    return False


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
            The execution: completed, or exporting while AWS runs the export. None while another invocation runs it.

        Raises:
            Exception: the cause of the failure. It is recorded in the history, no object is visible, and a retry may
                start again.
        """
        claim = self._claim(request, holder, deadline)
        if claim.execution.status == COMPLETED and not self._is_stored(claim.execution):
            claim = self._claim(request, holder, deadline, again=True)
        execution = claim.execution
        if claim.granted:
            execution = self._make_or_fail(execution, request, holder, deadline)
            if execution.status == COMPLETED:
                self._notifier.count(execution)
        elif execution.status == EXPORTING:
            self._export.check(execution, holder)
            return execution
        elif execution.status != COMPLETED:
            return None
        if execution.status == COMPLETED:
            self._notifier.completed(execution)
        return execution

    def _claim(self, request: Request, holder: str, deadline: Deadline, *, again: bool = False) -> Claim:
        now = self._resources.clock()
        return self._resources.history.claim(
            request.id,
            holder=holder,
            now=now,
            until=deadline.until(now),
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
        try:
            return self._make(execution, request, holder, deadline)
        except LeaseLost:
            raise  # another invocation completes the backup
        except BaseException as error:
            self._resources.history.fail(request.id, holder=holder, now=self._resources.clock(), error=error)
            try:
                self._notifier.failed(execution, f"{type(error).__name__}: {error}"[:2000])
            except Exception as fault:  # the caller must see the backup's own failure
                error.add_note(f"The notification of this failure could not be sent: {fault}")
            raise

    def _make(self, execution: Execution, request: Request, holder: str, deadline: Deadline) -> Execution:
        started = self._resources.clock()
        adopted = self._scan.adopt(execution) if execution.tries > 1 else None
        if adopted is not None:
            return self._complete(execution, holder, adopted | {"engine": "scan", "reason": "stored by an earlier try"})
        name = self._name(request, started)
        described = definitions.describe(self._resources.dynamodb, self._job.table_name)
        newest = self._resources.history.newest_backup(self._job.table_name)
        engine, reason = self._choose(newest, described, deadline)
        if engine == "scan":
            try:
                result = self._scan_table(execution, name, described, deadline)
            except OutOfTime as late:
                if self._job.engine != "auto" or not described.definition.get("pointInTimeRecovery"):
                    raise
                reason = f"switched to an export: {late}"
            else:
                return self._complete(execution, holder, result | {"engine": engine, "reason": reason})
        values = self._export.start(request.id, name, described, started)
        values["reason"] = "; ".join(filter(None, (reason, values["reason"])))
        return self._resources.history.mark_exporting(request.id, holder=holder, values=values)

    def _name(self, request: Request, now: datetime) -> str:
        """Return the key without its suffix. The data of a late run is of now, and its name says so."""
        is_late = request.source == "schedule" and now - request.run_at > _ON_TIME
        return self._name_as_of(request.name, now) if is_late else request.name

    def _name_as_of(self, name: str, now: datetime) -> str:
        return f"{name}-as-of-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"

    def _scan_table(self, execution: Execution, name: str, described: definitions.Described, deadline: Deadline) -> Row:
        began = deadline.clock()
        try:
            result = self._scan_as(name, execution, described, deadline)
        except upload.ObjectExists as found:
            if found.key != self.key(name):
                raise
            # The object is of another execution, and stays as it is.
            name = self._name_as_of(name, self._resources.clock())
            result = self._scan_as(name, execution, described, deadline)
        rate = described.size_bytes / max(deadline.clock() - began, 1e-3)
        return result | ({"scanRate": int(rate)} if rate else {})

    def _scan_as(self, name: str, execution: Execution, described: definitions.Described, deadline: Deadline) -> Row:
        key = self.key(name)
        if key != execution.key:
            # The next try looks for the object of this one there.
            until = deadline.until(self._resources.clock())
            self._resources.history.extend(execution.id, holder=execution.holder, until=until, values={"key": key})
        return self._scan.make(execution, name, key, described, deadline)

    def _choose(self, newest: Row, described: definitions.Described, deadline: Deadline) -> tuple[str, str]:
        if self._job.engine != "auto":
            return self._job.engine, f"backups.engine is {self._job.engine}"
        rate = float(newest.get("scanRate") or _ASSUMED_BYTES_PER_SECOND)
        how = "measured" if newest.get("scanRate") else "assumed"
        seconds = described.size_bytes / rate
        expected = f"{described.size_bytes / 1e6:,.1f} MB at {how} {rate / 1e6:,.1f} MB/s take {seconds:,.0f} s"
        left = f"{deadline.left():,.0f} s"
        if seconds <= deadline.left() * _SHARE_OF_TIME:
            return "scan", f"{expected} of {left}"
        if not described.definition.get("pointInTimeRecovery"):
            return "scan", f"{expected} of {left}, and an export needs point-in-time recovery, which is off"
        return "export", f"{expected}, and only {left} are left"

    def _complete(self, execution: Execution, holder: str, values: Row) -> Execution:
        history, ended = self._resources.history, self._resources.clock()
        recent = [items for _, items in doubt.recent_of(history.newest_backup(self._job.table_name), ended)]
        limits = doubt.Limits(self._job.doubtful_change_percent, self._job.doubtful_change_items)
        values["doubt"] = doubt.doubt(limits, int(values["items"]), recent)
        values["seconds"] = f"{(ended - execution.started_at).total_seconds():.1f}"
        return history.complete(execution.id, holder=holder, now=ended, values=values)
