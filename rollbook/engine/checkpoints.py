"""How far a scan over several invocations has come. The history keeps it until the backup is complete."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from rollbook.contract.fields import from_texts
from rollbook.contract.jobs import BackupJob
from rollbook.engine.backup_request import Request
from rollbook.engine.executions import LONGEST_SCAN
from rollbook.engine.history import History, LeaseLost

LONGEST = LONGEST_SCAN
_KEPT = timedelta(days=3)


class NotReadInTime(RuntimeError):
    """A table cannot be read before S3 deletes the parts that were uploaded first."""


class File(msgspec.Struct, rename="camel"):
    """A data file whose bytes are uploaded. It is not visible before its upload is completed.

    Arguments:
        upload: what `Upload.saved` returned.
        md5: of the stored bytes, in Base64.
        etag: of the object; empty while its upload is not completed.
    """

    upload: dict[str, Any]
    items: int
    md5: str
    etag: str = ""


class Checkpoint(msgspec.Struct, rename="camel", kw_only=True):
    """The state of a scan after its last uploaded file.

    Arguments:
        job, request: of the backup, so that the next invocation needs only the execution's id.
        name: the backup's key without its suffix.
        reason: why the scan takes several invocations.
        began_at: when the scan began (aware).
        ended_at: when the last item was read; None before.
        positions: LastEvaluatedKey of each segment, as DynamoDB wrote it; None for a segment that is read completely.
            A segment that has not begun is missing.
        files: the number of uploaded files.
        bytes: their size.
        read_seconds: how long the invocations have read, in seconds.
    """

    job: dict[str, str]
    request: Request
    name: str
    reason: str
    export_id: str
    table_id: str
    segments: int
    began_at: datetime
    ended_at: datetime | None = None
    positions: dict[int, dict[str, dict[str, str]] | None] = {}
    files: int = 0
    items: int = 0
    bytes: int = 0
    read_units: float = 0.0
    read_seconds: float = 0.0
    invocations: int = 0

    def is_recent(self, now: datetime) -> bool:
        """Return whether the uploaded files are still there. Otherwise the table must be read from its beginning.

        Raises:
            NotReadInTime: most of the longest time was spent on reading. The next time would not be enough either.
        """
        if now - self.began_at < LONGEST:
            return True
        if self.read_seconds < LONGEST.total_seconds() / 2:
            return False  # it was abandoned for a while
        raise NotReadInTime(
            f"the table was not read within {LONGEST / timedelta(hours=1):g} hours; {self.items:,} items in "
            f"{self.invocations} invocations. Raise the memory of the function or the segments of the table, or switch "
            "point-in-time recovery on for an export"
        )

    def of_job(self) -> BackupJob:
        """Return the settings of the backup."""
        return from_texts(BackupJob, self.job)


class Checkpoints:
    """The checkpoint and the files of one execution.

    Arguments:
        tries: of the claim that saves. What a later claim has saved stays as it is.
    """

    def __init__(self, history: History, execution_id: str, tries: int = 0) -> None:
        self._history = history
        self._row = f"scan#{execution_id}"
        self._tries = tries

    def find(self) -> Checkpoint | None:
        """Return the checkpoint, or None if the execution has none."""
        row = self._history.recall(self._row)
        return msgspec.json.decode(row["state"], type=Checkpoint) if row and row.get("state") else None

    def save(self, state: Checkpoint, file: File | None, now: datetime) -> None:
        """Save a file, then the checkpoint that counts it. A kill between them loses the file.

        Raises:
            LeaseLost: a later claim of the execution has saved its own checkpoint.
        """
        if file is not None:
            self.save_file(state.files - 1, file, now)
        self._save(self._row, state, now)

    def files(self, state: Checkpoint) -> list[File]:
        """Return the files that were uploaded until the checkpoint."""
        rows = (self._history.recall(f"{self._row}#{number}") or {} for number in range(state.files))
        return [msgspec.json.decode(row["state"], type=File) for row in rows]

    def save_file(self, number: int, file: File, now: datetime) -> None:
        """Save one file."""
        self._save(f"{self._row}#{number}", file, now)

    def forget(self) -> None:
        """Remove the checkpoint. The rows expire later."""
        self._history.update(self._row, {"state": ""}, "attribute_exists(id)", {})

    def _save(self, row: str, value: Any, now: datetime) -> None:
        state = msgspec.json.encode(value).decode()
        values = {"state": state, "tries": self._tries, "expiresAt": int((now + _KEPT).timestamp())}
        if not self._history.update(row, values, "attribute_not_exists(tries) OR tries <= :tries", {}).granted:
            raise LeaseLost(f"a later invocation than try {self._tries} continues the scan {row}, and completes it")
