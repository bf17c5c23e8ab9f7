"""A backup as it is stored, of either format, opened by its key.

A key names a document (`.json`, `.json.gz`), the description of an export (`.json`, written by Rollbook beside AWS's
files, as those say nothing of the table's indexes, TTL and tags), or an export's `manifest-summary.json` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from typing import Any, Protocol

import msgspec

from rollbook.engine.formats import description, document
from rollbook.engine.formats.description import Description
from rollbook.engine.formats.document import Corrupted, Verified
from rollbook.engine.s3 import download, upload
from rollbook.engine.stored_export import StoredExport

_MANIFEST = "manifest-summary.json"


class StoredBackup(Protocol):
    """A backup that can be read as often as wanted.

    Attributes:
        table: the table's definition as `table.describe` has it; None if the backup does not know it.
        started_at: when its making began; None if the backup does not know it.
        change_of: None, or the times between which an incremental export has the changes.
        manifest: key of an export's `manifest-summary.json`; None for a document.
    """

    key: str
    table: dict[str, Any] | None
    started_at: datetime | None
    change_of: tuple[str, str] | None
    manifest: str | None

    def items(self) -> Generator[bytes, None, Verified]:
        """Yield the items, checked; return what there is when all of it is whole."""

    def stored_bytes(self) -> int:
        """Return the bytes that the items take in S3."""

    def crc32(self) -> str | None:
        """Return the CRC32 of the document, or of an export's list of files; None if S3 keeps another checksum."""


def open_backup(s3: Any, bucket: str, key: str) -> StoredBackup:
    """Open a backup.

    Arguments:
        s3: a boto3 S3 client.

    Raises:
        Corrupted: the object is no backup's, or its beginning is damaged.
        botocore.exceptions.ClientError: it is not there, or may not be read.
    """
    if key.endswith(_MANIFEST):
        return StoredExport(s3, bucket, key, key)
    stored = StoredDocument(s3, bucket, key)
    first = next(stored.chunks(), b"")
    if first.startswith(b'{"format":"%s"' % description.FORMAT.encode()):
        return _described(s3, bucket, key)
    head = document.header([first]) if b"\n" in first else document.header(stored.chunks())
    stored.table = head.get("table")
    stored.started_at = _time(head.get("startedAt"), key)
    return stored


def verify(backup: StoredBackup, counted: Callable[[], None] = lambda: None) -> Verified:
    """Read all of a backup and return what it holds.

    Arguments:
        counted: called after each item.

    Raises:
        Corrupted: with the first item, bytes, file or manifest that is not as it was written.
    """
    reading = backup.items()
    while True:
        try:
            next(reading)
        except StopIteration as end:
            whole: Verified = end.value
            return whole
        counted()


def put_description(s3: Any, bucket: str, key: str, described: Description, *, replace_equal: bool = False) -> None:
    """Write the description of an export, by which it becomes a backup.

    Arguments:
        replace_equal: take one that is there for this one if it is of the same manifest.

    Raises:
        upload.ObjectExists: there is an object of that key.
    """
    body = msgspec.json.encode(described) + b"\n"
    try:
        upload.put(s3, bucket=bucket, key=key, chunks=[body], content_type="application/json")
    except upload.ObjectExists:
        there = open_backup(s3, bucket, key) if replace_equal else None
        if there is None or there.manifest != described.manifest:
            raise


def _described(s3: Any, bucket: str, key: str) -> StoredBackup:
    body = b"".join(download.read(s3, bucket=bucket, key=key))
    try:
        described = msgspec.json.decode(body, type=Description)
    except msgspec.DecodeError as error:
        raise Corrupted(f"s3://{bucket}/{key} is no description of an export: {error}") from None
    return StoredExport(s3, bucket, key, described.manifest, described)


def _time(value: Any, key: str) -> datetime:
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError as error:
        raise Corrupted(f"{key}: its header has no time at which it began: {error}") from None


class StoredDocument:
    """A backup document."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self.key = key
        self.table: dict[str, Any] | None = None
        self.started_at: datetime | None = None
        self.change_of: tuple[str, str] | None = None
        self.manifest: str | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the document's bytes, uncompressed.

        Raises:
            Corrupted: it cannot be uncompressed.
        """
        stream = download.read(self._s3, bucket=self._bucket, key=self.key)
        return document.uncompressed(stream, self.key)

    def items(self) -> Generator[bytes, None, Verified]:
        return (yield from document.items(self.chunks()))

    def stored_bytes(self) -> int:
        return int(self._s3.head_object(Bucket=self._bucket, Key=self.key)["ContentLength"])

    def crc32(self) -> str | None:
        """Return the CRC32 of the object as S3 has it, in Base64, or None: other algorithms are possible."""
        found = self._s3.head_object(Bucket=self._bucket, Key=self.key, ChecksumMode="ENABLED")
        if found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return None
        checksum: str | None = found.get("ChecksumCRC32")
        return checksum
