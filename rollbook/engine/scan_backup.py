"""Scans a table and stores its items as one document or in AWS's export layout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from botocore.exceptions import ClientError

from rollbook.contract import moments
from rollbook.contract.jobs import BackupJob
from rollbook.engine import stored
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import scan
from rollbook.engine.dynamodb.definitions import Described
from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.executions import Execution, Row
from rollbook.engine.formats import compression, description, document, export_layout
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload


class ScanBackup:
    """The engine `scan` for one table."""

    def __init__(self, job: BackupJob, resources: Resources) -> None:
        self._job = job
        self._resources = resources

    def make(self, execution: Execution, name: str, key: str, described: Described, deadline: Deadline) -> Row:
        """Scan the table, store the backup and return the values for the history row.

        Arguments:
            execution: the claimed execution.
            name: the key without its suffix.
            key: of the document, or of the export's description.

        Raises:
            OutOfTime: the scan does not fit into the invocation's time. No object is visible.
            ObjectExists: an object with that key exists.
        """
        job = self._job
        pages = scan.pages(
            self._resources.dynamodb,
            job.table_name,
            segments=job.segments,
            limiter=deadline.limiter(job),
            is_consistent=job.consistent_reads,
        )
        watched = deadline.watch(pages, described.size_bytes, is_consistent=job.consistent_reads)
        started = self._resources.clock()
        make = self._document if job.format == "json" else self._export
        made = make(execution.id, name, key, described, started, watched)
        return made | {"key": key, "readFrom": moments.to_text(started), "isConsistent": job.consistent_reads}

    def adopt(self, execution: Execution) -> Row | None:
        """Return the values for the history row of the backup that an earlier try of the execution stored.

        Only a whole object that names this execution and this table, and that was started after the execution was
        claimed for the first time, is adopted.

        Returns:
            None if there is no such object.
        """
        s3, bucket, key = self._resources.s3, self._resources.bucket, execution.key
        try:
            made = stored.current_object(s3, bucket, key)
            backup = stored.open_backup(s3, bucket, key)
            began, first = backup.started_at, execution.claimed_at or execution.started_at
            table = (backup.table or {}).get("name")
            if (backup.execution, table) != (execution.id, self._job.table_name) or began is None or began < first:
                return None
            whole = stored.verify(backup)
        except Corrupted:
            return None
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                return None
            raise
        known = {"manifest": backup.manifest, "crc32": backup.crc32()}
        return {
            "key": key,
            "format": self._job.format,
            "items": whole.items,
            "bytes": backup.stored_bytes(),
            "sha256": whole.sha256,
            "etag": made.etag,
            "versionId": made.version_id,
            "readFrom": moments.to_text(began),
            "readUntil": moments.to_text(whole.completed_at or began),
            **{name: value for name, value in known.items() if value},
        }

    def _document(
        self, execution_id: str, _: str, key: str, described: Described, started: datetime, pages: Iterator[Page]
    ) -> Row:
        writer = document.Writer()
        header = document.Header(
            document.FORMAT, execution_id, described.definition, started, self._job.consistent_reads
        )
        uploaded = upload.put(
            self._resources.s3,
            bucket=self._resources.bucket,
            key=key,
            chunks=compression.compressed(writer.chunks(header, pages, self._resources.clock), self._job.compression),
            content_type="application/gzip" if self._job.compression == "gzip" else "application/json",
        )
        return {
            "format": "json",
            "items": writer.items,
            "bytes": uploaded.bytes,
            "sha256": writer.sha256,
            "crc32": uploaded.crc32,
            "etag": uploaded.etag,
            "versionId": uploaded.version_id,
            "readUntil": moments.to_text(writer.completed_at or started),
            "readUnits": f"{writer.read_units:g}",
        }

    def _export(
        self, execution_id: str, name: str, key: str, described: Described, started: datetime, pages: Iterator[Page]
    ) -> Row:
        s3, bucket = self._resources.s3, self._resources.bucket
        place = export_layout.Place(bucket, name, export_layout.new_id(started))
        writer = export_layout.Writer(s3, place, self._job.compression)
        writer.write(pages)
        ended = self._resources.clock()
        manifest = writer.complete(
            table_arn=described.definition["arn"], table_id=described.table_id, started_at=started, ended_at=ended
        )
        export = description.Description(
            format=description.FORMAT,
            table=described.definition,
            started_at=started,
            manifest=manifest,
            item_count=writer.items,
            sha256=writer.sha256,
            completed_at=ended,
            execution=execution_id,
        )
        put = stored.put_description(s3, bucket, key, export)
        return {
            "format": "dynamodb-export",
            "manifest": manifest,
            "items": writer.items,
            "bytes": writer.stored_bytes,
            "sha256": writer.sha256,
            "crc32": writer.crc32,
            "etag": put.etag,
            "versionId": put.version_id,
            "readUntil": moments.to_text(ended),
            "readUnits": f"{writer.read_units:g}",
        }
