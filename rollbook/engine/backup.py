"""One execution of the backup: engine, scan or export, upload, history, report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, cast

from dateutil import tz

from rollbook.contract import events
from rollbook.contract.environment import Backup as BackupEnvironment
from rollbook.engine import stored
from rollbook.engine.deadline import Clock, Deadline, OutOfTime
from rollbook.engine.dynamodb import exports, scan, tables
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.formats import compression, document, export_layout
from rollbook.engine.history import COMPLETED, EXPORTING, History, Row, exported_by, latest
from rollbook.engine.notifier import Notifier
from rollbook.engine.s3 import upload

# What is assumed of a table that was not scanned yet: half of what 128 MB of memory were measured to do
# (docs/benchmarks.md).
_ASSUMED_BYTES_PER_SECOND = 4e6
# A scan is chosen if it is expected to take no more than this part of the time.
_PART_OF_THE_TIME = 0.75


@dataclass(frozen=True)
class Request:
    """What is to be backed up, by whose order.

    Arguments:
        id: identifies the execution; a second request of the same id is the same execution.
        source: `schedule`, `api` or `manual`.
        name: the object's key without its suffix.
    """

    id: str
    source: str
    name: str


def scheduled(environment: BackupEnvironment, scheduled_time: datetime) -> Request:
    """Return the request of a scheduled run: the same for every try of it."""
    stamp = scheduled_time.astimezone(_zone(environment)).strftime("%Y%m%dT%H%M")
    moment = scheduled_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Request(f"schedule#{environment.table_name}#{moment}", "schedule", f"{environment.key_prefix}{stamp}")


def manual(environment: BackupEnvironment, source: str, request_id: str, now: datetime, mark: str = "") -> Request:
    """Return the request of a run that somebody asked for: its name is its own, to the request, and has the mark."""
    stamp = now.astimezone(_zone(environment)).strftime("%Y%m%dT%H%M%S")
    marked = f"-{mark}" if mark else ""
    return Request(f"{source}#{request_id}", source, f"{environment.key_prefix}{stamp}-{request_id[:8]}{marked}")


def _zone(environment: BackupEnvironment) -> tzinfo:
    # dateutil comes with botocore and brings its own zones, which a runtime's Linux may not have.
    zone: tzinfo | None = tz.gettz(environment.time_zone)
    if zone is None:
        raise ValueError(f"there is no time zone {environment.time_zone!r}; TIME_ZONE must be an IANA name")
    return zone


class Backup:
    """The backup of one table.

    Arguments:
        dynamodb: a client of `wire.client`.
        s3: a boto3 client of S3.
        clock: returns the time now (aware).
    """

    def __init__(
        self,
        environment: BackupEnvironment,
        *,
        dynamodb: Any,
        s3: Any,
        history: History,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._environment = environment
        self._dynamodb = dynamodb
        self._s3 = s3
        self._clock = clock
        self._history = history
        self._notifier = notifier
        self._method = cast(compression.Method, environment.compression)

    def key(self, request: Request) -> str:
        """Return the key of the object by which the backup is known."""
        is_document = self._environment.format == "json"
        return f"{request.name}.json{compression.SUFFIXES[self._method] if is_document else ''}"

    def run(self, request: Request, *, holder: str, deadline: Deadline) -> Row | None:
        """Make the backup and report it, once however often it is asked.

        Arguments:
            holder: the invocation that asks.
            deadline: when it ends.

        Returns:
            The row of the history: completed, or exporting while AWS is at work on it; None while another invocation
            is at work on the same execution.

        Raises:
            Exception: whatever went wrong; the history has it, no object is visible, and a retry may begin anew.
        """
        now = self._clock()
        claim = self._history.claim(
            request.id,
            holder=holder,
            now=now,
            until=deadline.until(now),
            values={
                "kind": "backup",
                "tableName": self._environment.table_name,
                "source": request.source,
                "key": self.key(request),
            },
        )
        row = claim.row
        if claim.granted:
            row = self._guarded(request, holder, deadline)
        elif row.get("status") == EXPORTING:
            self._check_export(row, holder)
            return row
        elif row.get("status") != COMPLETED:
            return None
        if row["status"] == COMPLETED:
            self._notifier.completed(row)
        return row

    def _guarded(self, request: Request, holder: str, deadline: Deadline) -> Row:
        try:
            return self._back_up(request, holder, deadline)
        except BaseException as error:
            self._history.fail(request.id, holder=holder, now=self._clock(), error=error)
            try:
                self._notifier.event(
                    events.BackupFailed(
                        correlation_id=request.id,
                        table=self._environment.table_name,
                        bucket=self._environment.s3_bucket_name,
                        error=f"{type(error).__name__}: {error}"[:2000],
                    )
                )
            except Exception as fault:  # the backup's own failure is the one to raise
                error.add_note(f"and the event of it was not taken: {fault}")
            raise

    def _back_up(self, request: Request, holder: str, deadline: Deadline) -> Row:
        started = self._clock()
        described = tables.describe(self._dynamodb, self._environment.table_name)
        known = self._history.get(latest(self._environment.table_name)) or {}
        engine, reason = self._choose(described, known, deadline)
        if engine == "scan":
            began = deadline.clock()
            try:
                result = self._scan(request, described, started, deadline)
            except OutOfTime as late:
                if self._environment.engine != "auto" or not described.definition.get("pointInTimeRecovery"):
                    raise
                reason = f"handed over, as {late}"
            except upload.ObjectExists as found:
                if found.key != self.key(request):
                    raise
                # The invocation before this one died after its upload and before it could say so.
                result = self._read(self.key(request))
                return self._complete(request, holder, started, result | {"engine": engine, "reason": reason})
            else:
                rate = described.size_bytes / max(deadline.clock() - began, 1e-3)
                result |= {"scanRate": int(rate)} if rate else {}
                return self._complete(request, holder, started, result | {"engine": engine, "reason": reason})
        return self._export(request, holder, described, known, started, reason)

    def _choose(self, described: tables.Described, known: Row, deadline: Deadline) -> tuple[str, str]:
        if self._environment.engine != "auto":
            return self._environment.engine, f"backups.engine is {self._environment.engine}"
        rate = float(known.get("scanRate") or _ASSUMED_BYTES_PER_SECOND)
        how = "measured" if known.get("scanRate") else "assumed"
        seconds = described.size_bytes / rate
        expected = f"{described.size_bytes / 1e6:,.1f} MB at {how} {rate / 1e6:,.1f} MB/s take {seconds:,.0f} s"
        time = f"{deadline.left():,.0f} s"
        if seconds <= deadline.left() * _PART_OF_THE_TIME:
            return "scan", f"{expected} of {time}"
        if not described.definition.get("pointInTimeRecovery"):
            return "scan", f"{expected} of {time}, and without point-in-time recovery there is no export"
        return "export", f"{expected}, and there are {time}"

    def _scan(self, request: Request, described: tables.Described, started: datetime, deadline: Deadline) -> Row:
        limiter = RateLimiter(
            float(self._environment.read_units_per_second or 0) or None,
            check=lambda: deadline.check(f"{self._environment.table_name} throttled the scan"),
        )
        pages = deadline.watch(
            scan.pages(
                self._dynamodb,
                self._environment.table_name,
                segments=int(self._environment.segments),
                limiter=limiter,
            ),
            described.size_bytes,
        )
        if self._environment.format == "json":
            return self._write_document(request, described, started, pages)
        return self._write_export(request, described, started, pages)

    def _write_document(self, request: Request, described: tables.Described, started: datetime, pages: Any) -> Row:
        writer = document.Writer()
        uploaded = upload.put(
            self._s3,
            bucket=self._environment.s3_bucket_name,
            key=self.key(request),
            chunks=compression.compressed(
                writer.chunks(described.definition, started, pages, self._clock), self._method
            ),
            content_type="application/gzip" if self._method == "gzip" else "application/json",
        )
        return {
            "format": "json",
            "items": writer.items,
            "bytes": uploaded.bytes,
            "sha256": writer.sha256,
            "crc32": uploaded.crc32,
            "readUnits": f"{writer.read_units:g}",
        }

    def _write_export(self, request: Request, described: tables.Described, started: datetime, pages: Any) -> Row:
        place = export_layout.Place(self._environment.s3_bucket_name, request.name, export_layout.new_id(started))
        writer = export_layout.Writer(self._s3, place, self._method)
        writer.write(pages)
        ended = self._clock()
        manifest = writer.complete(
            table_arn=described.definition["arn"], table_id=described.table_id, started_at=started, ended_at=ended
        )
        description = stored.Description(
            stored.EXPORT_FORMAT, described.definition, started, manifest, writer.items, writer.sha256, ended
        )
        stored.put_description(self._s3, self._environment.s3_bucket_name, self.key(request), description)
        return {
            "format": "dynamodb-export",
            "manifest": manifest,
            "items": writer.items,
            "bytes": writer.stored_bytes,
            "sha256": writer.sha256,
            "crc32": writer.crc32,
            "readUnits": f"{writer.read_units:g}",
        }

    def _read(self, key: str) -> Row:
        backup = stored.open_backup(self._s3, self._environment.s3_bucket_name, key)
        whole = stored.verify(backup)
        known = {"manifest": backup.manifest, "crc32": backup.crc32()}
        return {
            "format": self._environment.format,
            "items": whole.items,
            "bytes": backup.stored_bytes(),
            "sha256": whole.sha256,
            **{name: value for name, value in known.items() if value},
        }

    def _complete(self, request: Request, holder: str, started: datetime, values: Row) -> Row:
        ended = self._clock()
        values["seconds"] = f"{(ended - started).total_seconds():.1f}"
        return self._history.complete(request.id, holder=holder, now=ended, values=values)

    def _export(
        self,
        request: Request,
        holder: str,
        described: tables.Described,
        known: Row,
        started: datetime,
        reason: str,
    ) -> Row:
        period, why = self._period(known, started)
        # Before the export begins, so that its manifest always finds whose it is.
        self._history.remember(exported_by(request.name), {"execution": request.id})
        begun = exports.start(
            self._dynamodb,
            table_arn=described.definition["arn"],
            bucket=self._environment.s3_bucket_name,
            prefix=request.name,
            token=f"{request.id} {holder}",
            period=period,
        )
        until = period.until if period else started
        return self._history.hand_over(
            request.id,
            holder=holder,
            values={
                "engine": "export",
                "reason": f"{reason}; {why}" if why else reason,
                "format": "dynamodb-export",
                "key": f"{request.name}.json",
                "exportArn": begun["ExportArn"],
                "exportType": "incremental" if period else "full",
                "exportedUntil": until.isoformat(),
                "table": json.dumps(described.definition),
            },
        )

    def _period(self, known: Row, started: datetime) -> tuple[exports.Period | None, str]:
        """Return what an incremental export has to cover, or why it has to be a full one."""
        if self._environment.export_type != "incremental":
            return None, ""
        if "exportedUntil" not in known:
            return None, "full, as there was no export before it"
        since = datetime.fromisoformat(str(known["exportedUntil"]))
        if not exports.SHORTEST <= started - since <= exports.LONGEST:
            return (
                None,
                f"full, as the export before it is of {since:%Y-%m-%dT%H:%MZ}, not 15 minutes to 24 hours ago",
            )
        return exports.Period(since, started), ""

    def _check_export(self, row: Row, holder: str) -> None:
        """Raise if the export that was left at work has failed; the next try begins a new one."""
        fault = exports.fault(self._dynamodb, str(row["exportArn"]))
        if fault is None:
            return
        failed = exports.ExportFailed(f"AWS's export {row['exportArn']} failed: {fault}")
        now = self._clock()
        if self._history.take_back(str(row["id"]), holder=holder, now=now, until=now + timedelta(minutes=1)).granted:
            self._history.fail(str(row["id"]), holder=holder, now=now, error=failed)
        raise failed
