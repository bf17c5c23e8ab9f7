"""Scans a table over several invocations, in AWS's export layout. Each one continues after the last uploaded file.

The uploads of the data files are completed after the last page. So nothing is visible before the table is read, and S3
deletes what an abandoned scan uploaded.
"""

from __future__ import annotations

from contextlib import closing

from rollbook.contract import moments
from rollbook.contract.fields import to_texts
from rollbook.contract.jobs import BackupJob
from rollbook.engine import scanned_files, stored
from rollbook.engine.backup_request import Request
from rollbook.engine.checkpoints import Checkpoint, Checkpoints, File, NotReadInTime
from rollbook.engine.deadline import Deadline, OutOfTime, bytes_per_read_unit
from rollbook.engine.dynamodb import scan
from rollbook.engine.dynamodb.definitions import Described
from rollbook.engine.engine_choice import measured
from rollbook.engine.executions import Execution, Row
from rollbook.engine.formats import description, export_files, export_layout
from rollbook.engine.formats.export_files import DataFile
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload
from rollbook.engine.scanned_files import UploadLost

# With less time, an invocation leaves the next step to the next one.
_LEAST_SECONDS = 5.0


class ContinuedScan:
    """The scan of one table over several invocations."""

    def __init__(self, job: BackupJob, resources: Resources) -> None:
        self._job = job
        self._resources = resources

    def find(self, execution: Execution, described: Described) -> Checkpoint | None:
        """Return where an earlier invocation stopped, or None if the table must be read from its beginning.

        Raises:
            NotReadInTime: see `Checkpoint.is_recent`.
        """
        state = Checkpoints(self._resources.history, execution.id).find()
        if state is None or state.table_id != described.table_id:
            return None
        try:
            return state if state.is_recent(self._resources.clock()) else None
        except NotReadInTime:
            self.forget(execution)  # so that a retry does not begin again
            raise

    def forget(self, execution: Execution) -> None:
        """Remove the checkpoint of an execution that is completed, or whose backup is made again."""
        Checkpoints(self._resources.history, execution.id).forget()

    def begin(self, request: Request, name: str, described: Described, reason: str) -> Checkpoint:
        """Return the checkpoint at the beginning of the table.

        Arguments:
            name: the backup's key without its suffix.
            reason: why the scan takes several invocations.
        """
        now = self._resources.clock()
        return Checkpoint(
            job=to_texts(self._job),
            request=request,
            name=name,
            reason=reason,
            export_id=export_layout.new_id(now),
            table_id=described.table_id,
            segments=self._job.segments,
            began_at=now,
        )

    def go_on(
        self, state: Checkpoint, execution: Execution, described: Described, deadline: Deadline, renewer: LeaseRenewer
    ) -> Row | None:
        """Continue the scan, and return the values for the history row. None if the next invocation must continue it.

        Raises:
            OutOfTime: this invocation got no further.
            LeaseLost: a later invocation continues the scan.
            UploadLost: S3 cannot complete a file.
            ObjectExists: another object has the backup's key.
        """
        saved = Checkpoints(self._resources.history, execution.id, execution.tries)
        state.invocations += 1
        # Now, so that an invocation that lost its lease cannot save a position that belongs to other files.
        saved.save(state, None, self._resources.clock())
        if state.invocations == 1 and deadline.left() < _LEAST_SECONDS:
            return None  # the time was spent on a document that did not fit
        if state.ended_at is None and (
            not self._read(state, saved, deadline, renewer) or deadline.left() < _LEAST_SECONDS
        ):
            return None
        try:
            files = scanned_files.complete(self._resources, state, saved, deadline, renewer)
        except UploadLost:
            again = self.begin(state.request, state.name, described, state.reason)
            saved.save(again, None, self._resources.clock())
            raise
        return None if files is None else self._describe(state, files, execution, described)

    def _read(self, state: Checkpoint, saved: Checkpoints, deadline: Deadline, renewer: LeaseRenewer) -> bool:
        """Read pages until the table or the time ends. The checkpoint is saved after each file.

        Returns:
            Whether the table was read completely.
        """
        began, saves = deadline.clock(), 0
        pages = scan.pages(
            self._resources.dynamodb,
            self._job.table_name,
            segments=state.segments,
            limiter=deadline.limiter(self._job),
            is_consistent=state.of_job().consistent_reads,  # a deployment may have changed it since
            positions=state.positions,
        )
        positions, units = dict(state.positions), 0.0
        file: DataFile | None = None
        is_between_pages = True

        def save() -> None:
            nonlocal file, began, units, saves
            # From here on, a checkpoint may count the file: it is neither aborted nor saved again.
            whole, file = file, None
            state.positions, state.read_units = dict(positions), state.read_units + units
            state.read_seconds, began, units = state.read_seconds + deadline.clock() - began, deadline.clock(), 0.0
            self._save(state, saved, whole)
            saves += 1

        try:
            with closing(pages):
                for page in pages:
                    is_between_pages = False
                    file = file or self._open(state)
                    for items in page.parts():
                        file.write(export_files.lines(items), len(items))
                    positions[page.segment] = page.last_key
                    units += page.read_units
                    del page  # before the next one is read
                    if file.size >= export_files.FILE_BYTES:
                        save()
                    is_between_pages = True
                    deadline.check(f"{self._job.table_name} was not read completely")
                    renewer.renew_if_due({})
            is_between_pages = False
            state.ended_at = self._resources.clock()
            file = file or (None if state.files else self._open(state))  # a backup has at least one file
            save()
        except OutOfTime as late:
            if file is not None and is_between_pages:
                save()
            elif file is not None:
                upload.abort([file.upload], late)  # it may have a part of a page, or lack a part of the upload
            if not saves:
                raise
            return False
        except BaseException as error:
            if file is not None:
                upload.abort([file.upload], error)
            raise
        return True

    def _open(self, state: Checkpoint) -> DataFile:
        method = state.of_job().compression  # of the first invocation; a deployment may have changed it since
        key = self._place(state).key(export_files.name_of(state.export_id, state.files, method))
        return DataFile(self._resources.s3, bucket=self._resources.bucket, key=key, method=method)

    def _place(self, state: Checkpoint) -> export_layout.Place:
        return export_layout.Place(self._resources.bucket, state.name, state.export_id)

    def _save(self, state: Checkpoint, saved: Checkpoints, file: DataFile | None) -> None:
        made: File | None = None
        if file is not None:
            file.end()
            made = File(file.upload.saved(), file.items, file.md5)
            state.files += 1
            state.items += file.items
            state.bytes += file.upload.bytes
        saved.save(state, made, self._resources.clock())

    def _describe(
        self, state: Checkpoint, files: list[export_layout.File], execution: Execution, described: Described
    ) -> Row:
        s3, bucket, place = self._resources.s3, self._resources.bucket, self._place(state)
        ended = state.ended_at or state.began_at
        sha256, crc32 = export_layout.put_manifests(
            s3,
            place,
            files,
            table_arn=described.definition["arn"],
            table_id=described.table_id,
            times=(state.began_at, ended),
            replace_equal=True,
        )
        key, manifest = f"{state.name}.json", place.key("manifest-summary.json")
        export = description.Description(
            format=description.FORMAT,
            table=described.definition,
            started_at=state.began_at,
            manifest=manifest,
            item_count=state.items,
            sha256=sha256,
            completed_at=ended,
            execution=execution.id,
        )
        put = stored.put_description(s3, bucket, key, export, replace_equal=True)
        is_consistent = state.of_job().consistent_reads
        per_unit = bytes_per_read_unit(is_consistent=is_consistent)
        return {
            "key": key,
            "format": "dynamodb-export",
            "manifest": manifest,
            "items": state.items,
            "bytes": state.bytes,
            "sha256": sha256,
            "crc32": crc32,
            "etag": put.etag,
            "versionId": put.version_id,
            "readFrom": moments.to_text(state.began_at),
            "readUntil": moments.to_text(ended),
            "readUnits": f"{state.read_units:g}",
            "isConsistent": is_consistent,
            **measured(state.read_units * per_unit, state.read_seconds),
        }
