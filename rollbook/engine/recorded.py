"""What the history records of a stored backup. A backup is compared with it, not only with its own footer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import msgspec

from rollbook.engine import executions
from rollbook.engine.executions import COMPLETED, Execution, UnreadableRow
from rollbook.engine.formats.lines import Corrupted, Verified
from rollbook.engine.history import History

# Of the id of the row by which a backup is found by its key.
PREFIX = "backup#"


class Recorded(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A completed backup, as the history has it.

    Arguments:
        execution: id of the execution that made it.
        sha256: of the document, or of the export's `manifest-files.json`.
        etag, version_id: of the object with the key; empty in rows of earlier releases.
        read_from: when its data was read, at the earliest.
        expires_on: when S3 deletes it; None if that is not known.
    """

    key: str
    execution: str
    table_name: str
    items: int
    bytes: int
    sha256: str
    etag: str = ""
    version_id: str = ""
    read_from: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    expires_on: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @classmethod
    def of(cls, done: Execution) -> Self:
        """Return what is recorded of a completed backup."""
        return cls(
            key=done.key,
            execution=done.id,
            table_name=done.table_name,
            items=done.items or 0,
            bytes=done.bytes or 0,
            sha256=done.sha256,
            etag=done.etag,
            version_id=done.version_id,
            read_from=done.read_from or done.started_at,
            expires_on=done.started_at + timedelta(days=done.expire_after_days) if done.expire_after_days else None,
        )

    def compare(self, found: Verified) -> None:
        """Compare the totals of a whole backup with those of the history.

        Raises:
            Corrupted: they differ, so the object is another one than the execution wrote.
        """
        if found.items != self.items:
            raise Corrupted(f"it has {found.items:,} items, but {self.execution} in the history has {self.items:,}")
        if found.sha256 != self.sha256:
            raise Corrupted(f"its SHA-256 is {found.sha256}, but {self.execution} in the history has {self.sha256}")


def record(history: History, done: Execution, now: datetime) -> None:
    """Write the row by which a backup is found by its key."""
    # A backup that was made again is there again, and nothing is known of the new version.
    is_other = "attribute_exists(versionId) AND versionId <> :versionId"
    unread = dict.fromkeys(("checkedAt", "triedAt", "damage"), "")
    history.update(_row(done.key), unread, is_other, {":versionId": done.version_id})
    values = _values(Recorded.of(done)) | {"isFormer": False, "expiresAt": history.expires_at(now)}
    history.remember(_row(done.key), values, remove="goneAt")


def keep(history: History, known: Recorded, now: datetime) -> None:
    """Write the row of a backup of an earlier release, which `find` found among the executions."""
    history.remember(_row(known.key), _values(known) | {"isFormer": True, "expiresAt": history.expires_at(now)})


def find(history: History, key: str, *, reads_all: bool = True) -> Recorded | None:
    """Return what the history records of a backup, or None if it knows none with that key.

    Earlier releases wrote no row for a key. So without one, all executions are read. A row without an execution is of
    an unknown backup: it has only the time of its last reading.

    Arguments:
        reads_all: whether to look among all executions. The functions that make backups may not.

    Raises:
        Corrupted: the row cannot be read.
    """
    row = history.recall(_row(key))
    if row and "execution" in row:
        try:
            return msgspec.convert({**row, **{n: int(row[n]) for n in ("items", "bytes")}}, Recorded, strict=False)
        except (msgspec.ValidationError, KeyError, ValueError) as error:
            raise Corrupted(f"the row {_row(key)} of the history cannot be read: {error}") from None
    if not reads_all:
        return None
    found = [each for each in map(_backup, history.rows()) if each and each.key == key]
    return Recorded.of(found[-1]) if found else None


def _values(recorded: Recorded) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(recorded).items() if value is not None}


def _backup(row: dict[str, Any]) -> Execution | None:
    if row.get("kind") != "backup" or row.get("status") != COMPLETED:
        return None
    try:
        return executions.read(row)
    except UnreadableRow:
        return None


def _row(key: str) -> str:
    return PREFIX + key
