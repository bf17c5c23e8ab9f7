"""Completes the uploads of the data files of a scan over several invocations, so that the files are visible."""

from __future__ import annotations

from botocore.exceptions import ClientError

from rollbook.engine.checkpoints import Checkpoint, Checkpoints
from rollbook.engine.deadline import Deadline
from rollbook.engine.formats import export_files, export_layout
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.s3 import upload

# S3's answers if an upload was aborted or lacks a part. No retry completes it.
_LOST = frozenset({"404", "BadDigest", "InvalidPart", "NoSuchKey", "NoSuchUpload"})


class UploadLost(RuntimeError):
    """An uploaded file of a scan is gone. The next try reads the table from its beginning."""


def complete(
    resources: Resources, state: Checkpoint, saved: Checkpoints, deadline: Deadline, renewer: LeaseRenewer
) -> list[export_layout.File] | None:
    """Make the data files visible, and return them. None if the next invocation must continue this.

    Raises:
        UploadLost: S3 cannot complete a file.
    """
    files = saved.files(state)
    completed = 0
    for number, file in enumerate(files):
        if file.etag:
            continue
        if completed and deadline.left() <= 0:
            return None
        resumed = upload.Upload.resumed(
            resources.s3, bucket=resources.bucket, content_type=export_files.CONTENT_TYPE, saved=file.upload
        )
        try:
            file.etag = resumed.complete_once()
        except (ClientError, upload.ObjectExists) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] not in _LOST:
                raise
            raise UploadLost(f"S3 cannot complete {resumed.key}, so the next try begins again: {error}") from error
        saved.save_file(number, file, resources.clock())
        completed += 1
        renewer.renew_if_due({})
    return [export_layout.File(file.items, file.md5, file.etag, file.upload["key"]) for file in files]
