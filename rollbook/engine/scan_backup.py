"""Scans a table and stores its items as one document or in AWS's export layout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rollbook.contract.jobs import BackupJob
from rollbook.engine import stored
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import scan
from rollbook.engine.dynamodb.definitions import Described
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.executions import Row
from rollbook.engine.formats import compression, description, document, export_layout
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload


class ScanBackup:
    """The engine `scan` for one table."""

    def __init__(self, job: BackupJob, resources: Resources) -> None:
        self._job = job
        self._resources = resources

    def make(self, name: str, key: str, described: Described, started: datetime, deadline: Deadline) -> Row:
        """Scan the table, store the backup and return the values for the history row.

        Arguments:
            name: the key without its suffix.
            key: of the document, or of the export's description.
            started: when the execution began (aware).

        Raises:
            OutOfTime: the scan does not fit into the invocation's time. No object is visible.
            ObjectExists: an object with that key exists.
        """
        limiter = RateLimiter(
            self._job.read_units_per_second or None,
            check=lambda: deadline.check(f"{self._job.table_name} was still throttling the scan"),
        )
        pages = scan.pages(self._resources.dynamodb, self._job.table_name, segments=self._job.segments, limiter=limiter)
        watched = deadline.watch(pages, described.size_bytes)
        if self._job.format == "json":
            return self._document(key, described, started, watched)
        return self._export(name, key, described, started, watched)

    def read_back(self, key: str) -> Row:
        """Read the stored backup of an earlier try and return the values for the history row.

        Raises:
            Corrupted: the backup is damaged.
        """
        backup = stored.open_backup(self._resources.s3, self._resources.bucket, key)
        whole = stored.verify(backup)
        known = {"manifest": backup.manifest, "crc32": backup.crc32()}
        return {
            "format": self._job.format,
            "items": whole.items,
            "bytes": backup.stored_bytes(),
            "sha256": whole.sha256,
            **{name: value for name, value in known.items() if value},
        }

    def _document(self, key: str, described: Described, started: datetime, pages: Iterator[Page]) -> Row:
        writer = document.Writer()
        chunks = writer.chunks(described.definition, started, pages, self._resources.clock)
        uploaded = upload.put(
            self._resources.s3,
            bucket=self._resources.bucket,
            key=key,
            chunks=compression.compressed(chunks, self._job.compression),
            content_type="application/gzip" if self._job.compression == "gzip" else "application/json",
        )
        return {
            "format": "json",
            "items": writer.items,
            "bytes": uploaded.bytes,
            "sha256": writer.sha256,
            "crc32": uploaded.crc32,
            "readUnits": f"{writer.read_units:g}",
        }

    def _export(self, name: str, key: str, described: Described, started: datetime, pages: Iterator[Page]) -> Row:
        s3, bucket = self._resources.s3, self._resources.bucket
        place = export_layout.Place(bucket, name, export_layout.new_id(started))
        writer = export_layout.Writer(s3, place, self._job.compression)
        writer.write(pages)
        ended = self._resources.clock()
        manifest = writer.complete(
            table_arn=described.definition["arn"], table_id=described.table_id, started_at=started, ended_at=ended
        )
        export = description.Description(
            description.FORMAT, described.definition, started, manifest, writer.items, writer.sha256, ended
        )
        stored.put_description(s3, bucket, key, export)
        return {
            "format": "dynamodb-export",
            "manifest": manifest,
            "items": writer.items,
            "bytes": writer.stored_bytes,
            "sha256": writer.sha256,
            "crc32": writer.crc32,
            "readUnits": f"{writer.read_units:g}",
        }
