"""Opens stored backups of both formats by their key.

A key names a document (`.json`, `.json.gz`), the description of an export (`.json`), or an export's
`manifest-summary.json`. Rollbook writes the description because AWS's files do not contain the table's indexes, TTL and
tags.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from typing import Any, Protocol

import msgspec
from botocore.exceptions import ClientError

from rollbook.engine.formats import description, document, lines
from rollbook.engine.formats.description import Description
from rollbook.engine.formats.lines import Corrupted, Verified
from rollbook.engine.recorded import Recorded
from rollbook.engine.s3 import download, upload
from rollbook.engine.s3.upload import Uploaded
from rollbook.engine.stored_export import StoredExport

_MANIFEST = "manifest-summary.json"


class StoredBackup(Protocol):
    """A stored backup. It can be read repeatedly.

    Attributes:
        table: the table's definition that `definitions.describe` returned; None if the backup does not contain it.
        started_at: when the backup began; None if the backup does not contain it.
        execution: id of the execution that made it; empty if the backup does not contain it.
        recorded: what the history records of it; None if that is unknown.
        change_of: beginning and end of an incremental export's period; None for a full backup.
        manifest: key of an export's `manifest-summary.json`; None for a document.
    """

    key: str
    table: dict[str, Any] | None
    started_at: datetime | None
    execution: str
    recorded: Recorded | None
    change_of: tuple[str, str] | None
    manifest: str | None

    def items(self) -> Generator[bytes, None, Verified]:
        """Yield each item after checking it. Return the totals after the whole backup is checked."""

    def stored_bytes(self) -> int:
        """Return the size of the items in S3, in bytes."""

    def crc32(self) -> str | None:
        """Return the CRC32 of the document or of `manifest-files.json`; None if S3 has another checksum."""


def open_backup(s3: Any, bucket: str, key: str, recorded: Recorded | None = None) -> StoredBackup:
    """Open a backup.

    Arguments:
        s3: a boto3 S3 client.
        recorded: what the history records of it. Its version is read, and reading it to the end compares the totals.

    Raises:
        Corrupted: the object is not a backup, or its beginning is damaged.
        botocore.exceptions.ClientError: the object does not exist, or access is denied.
    """
    if key.endswith(_MANIFEST):
        return StoredExport(s3, bucket, key, key)
    stored = StoredDocument(s3, bucket, key, recorded)
    first = next(stored.chunks(), b"")
    if first.startswith(b'{"format":"%s"' % description.FORMAT.encode()):
        return _described(s3, bucket, key, recorded)
    head = document.header([first]) if b"\n" in first else document.header(stored.chunks())
    if head.started_at is None:
        raise Corrupted(f"{key}: its header lacks startedAt")
    stored.table, stored.started_at, stored.execution = head.table, head.started_at, head.execution
    return stored


def verify(backup: StoredBackup, counted: Callable[[], None] = lambda: None) -> Verified:
    """Read a whole backup, check it and return its totals.

    Arguments:
        counted: called after each item.

    Raises:
        Corrupted: the backup is damaged. The message names the first damaged item, byte range, file or manifest.
    """
    reading = backup.items()
    while True:
        try:
            next(reading)
        except StopIteration as end:
            verified: Verified = end.value
            return verified
        counted()


def put_description(s3: Any, bucket: str, key: str, described: Description, *, replace_equal: bool = False) -> Uploaded:
    """Write the description of an export, which makes the export a backup. Return its object.

    Arguments:
        replace_equal: whether to accept an existing description of the same manifest.

    Raises:
        upload.ObjectExists: another object with that key exists.
    """
    body = msgspec.json.encode(described) + b"\n"
    try:
        return upload.put(s3, bucket=bucket, key=key, chunks=[body], content_type="application/json")
    except upload.ObjectExists:
        existing = open_backup(s3, bucket, key) if replace_equal else None
        if existing is None or existing.manifest != described.manifest:
            raise
        return current_object(s3, bucket, key)


def current_object(s3: Any, bucket: str, key: str) -> Uploaded:
    """Return what S3 has of the current version of a document or description, without its CRC32.

    Raises:
        botocore.exceptions.ClientError: there is none.
    """
    found = s3.head_object(Bucket=bucket, Key=key)
    return Uploaded(int(found["ContentLength"]), "", found["ETag"].strip('"'), upload.version_of(found))


def replaced(s3: Any, bucket: str, backup: StoredBackup) -> str:
    """Return what became of the object that a recorded backup wrote, as a sentence, or an empty text if it is current.

    Raises:
        botocore.exceptions.ClientError: access is denied.
    """
    if backup.recorded is None or not backup.recorded.version_id:
        return ""
    try:
        current = current_object(s3, bucket, backup.key).version_id
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
            raise
        return f"{backup.key} was deleted; S3 still has its version {backup.recorded.version_id}"
    if current == backup.recorded.version_id:
        return ""
    return (
        f"{backup.key} was replaced by the version {current}; {backup.recorded.execution} wrote the version "
        f"{backup.recorded.version_id}, which S3 still has"
    )


def _described(s3: Any, bucket: str, key: str, recorded: Recorded | None) -> StoredBackup:
    version_id = recorded.version_id if recorded else ""
    body = b"".join(download.read(s3, bucket=bucket, key=key, version_id=version_id))
    try:
        described = msgspec.json.decode(body, type=Description)
    except msgspec.DecodeError as error:
        raise Corrupted(f"s3://{bucket}/{key} is not a description of an export: {error}") from None
    return StoredExport(s3, bucket, key, described.manifest, described, recorded)


class StoredDocument:
    """A backup document."""

    def __init__(self, s3: Any, bucket: str, key: str, recorded: Recorded | None = None) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._version_id = recorded.version_id if recorded else ""
        self.key = key
        self.recorded = recorded
        self.execution = ""
        self.table: dict[str, Any] | None = None
        self.started_at: datetime | None = None
        self.change_of: tuple[str, str] | None = None
        self.manifest: str | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the document's bytes, uncompressed.

        Raises:
            Corrupted: the compressed stream is damaged.
        """
        stream = download.read(self._s3, bucket=self._bucket, key=self.key, version_id=self._version_id)
        return lines.uncompressed(stream, self.key)

    def items(self) -> Generator[bytes, None, Verified]:
        found = yield from document.items(self.chunks())
        if self.recorded:
            self.recorded.compare(found)
        return found

    def stored_bytes(self) -> int:
        return int(self._head()["ContentLength"])

    def crc32(self) -> str | None:
        """Return S3's CRC32 of the object in Base64, or None if S3 has a checksum of another algorithm."""
        found = self._head(ChecksumMode="ENABLED")
        if found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return None
        checksum: str | None = found.get("ChecksumCRC32")
        return checksum

    def _head(self, **options: str) -> Any:
        version = {"VersionId": self._version_id} if self._version_id else {}
        return self._s3.head_object(Bucket=self._bucket, Key=self.key, **version, **options)
