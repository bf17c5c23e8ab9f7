"""A backup as it is stored, of either format, opened by its key.

A key names a document (`.json`, `.json.gz`), the description of an export (`.json`, written by Rollbook beside AWS's
files, as those say nothing of the table's indexes, TTL and tags), or an export's `manifest-summary.json` itself.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from typing import Any, Protocol

import msgspec
from botocore.exceptions import ClientError

from rollbook.engine import verify as documents
from rollbook.engine.formats import compression, export_layout, incremental
from rollbook.engine.s3 import download, upload
from rollbook.engine.verify import Corrupted, Verified

EXPORT_FORMAT = "rollbook-export/1"
_MANIFEST = "manifest-summary.json"


class Description(msgspec.Struct, rename="camel"):
    """What Rollbook adds to an export: the table's definition and where the manifest is."""

    format: str
    table: dict[str, Any]
    started_at: datetime
    manifest: str
    item_count: int
    sha256: str
    completed_at: datetime


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    item: msgspec.Raw = msgspec.field(name="Item")


class Stored(Protocol):
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


def open_backup(s3: Any, bucket: str, key: str) -> Stored:
    """Open a backup.

    Arguments:
        s3: a boto3 S3 client.

    Raises:
        Corrupted: the object is no backup's, or its beginning is damaged.
        botocore.exceptions.ClientError: it is not there, or may not be read.
    """
    if key.endswith(_MANIFEST):
        return Export(s3, bucket, key, key)
    document = Document(s3, bucket, key)
    first = next(document.chunks(), b"")
    if first.startswith(b'{"format":"%s"' % EXPORT_FORMAT.encode()):
        return _described(s3, bucket, key)
    head = documents.header([first]) if b"\n" in first else documents.header(document.chunks())
    document.table = head.get("table")
    document.started_at = _time(head.get("startedAt"), key)
    return document


def verify(backup: Stored, counted: Callable[[], None] = lambda: None) -> Verified:
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


def put_description(s3: Any, bucket: str, key: str, description: Description, *, replace_equal: bool = False) -> None:
    """Write the description of an export, by which it becomes a backup.

    Arguments:
        replace_equal: take one that is there for this one if it is of the same manifest.

    Raises:
        upload.ObjectExists: there is an object of that key.
    """
    body = msgspec.json.encode(description) + b"\n"
    try:
        upload.put(s3, bucket=bucket, key=key, chunks=[body], content_type="application/json")
    except upload.ObjectExists:
        there = open_backup(s3, bucket, key) if replace_equal else None
        if there is None or there.manifest != description.manifest:
            raise


def _described(s3: Any, bucket: str, key: str) -> Stored:
    body = b"".join(download.read(s3, bucket=bucket, key=key))
    try:
        description = msgspec.json.decode(body, type=Description)
    except msgspec.DecodeError as error:
        raise Corrupted(f"s3://{bucket}/{key} is no description of an export: {error}") from None
    return Export(s3, bucket, key, description.manifest, description)


def _time(value: Any, key: str) -> datetime:
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError as error:
        raise Corrupted(f"{key}: its header has no time at which it began: {error}") from None


class Document:
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
        return _uncompressed(stream, self.key)

    def items(self) -> Generator[bytes, None, Verified]:
        return (yield from documents.items(self.chunks()))

    def stored_bytes(self) -> int:
        return int(self._s3.head_object(Bucket=self._bucket, Key=self.key)["ContentLength"])

    def crc32(self) -> str | None:
        """Return the CRC32 of the object as S3 has it, in Base64, or None: other algorithms are possible."""
        found = self._s3.head_object(Bucket=self._bucket, Key=self.key, ChecksumMode="ENABLED")
        if found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return None
        checksum: str | None = found.get("ChecksumCRC32")
        return checksum


class Export:
    """An export in AWS's layout, of this project's making or of AWS's.

    Arguments:
        key: by which it was opened.
        manifest: key of its `manifest-summary.json`.
    """

    def __init__(self, s3: Any, bucket: str, key: str, manifest: str, description: Description | None = None) -> None:
        self._s3 = s3
        self._bucket = bucket
        self.manifest: str | None = manifest
        self._description = description
        self.key = key
        self.table = description.table if description else None
        self.started_at = description.started_at if description else None
        self.summary = self._decode(manifest, export_layout.Summary)
        self.change_of = (
            (self.summary.export_from_time or "", self.summary.export_to_time or "")
            if self.summary.export_type == "INCREMENTAL_EXPORT"
            else None
        )
        if self.summary.output_format != "DYNAMODB_JSON":
            raise Corrupted(f"{manifest}: its format is {self.summary.output_format}; only DYNAMODB_JSON can be read")

    def data(self) -> tuple[str, compression.Method]:
        """Return the prefix of the data files, as ImportTable takes it, and how they are compressed.

        Raises:
            Corrupted: the manifest names files of several folders or methods.
        """
        keys = [file.data_file_s3_key for file in self._listing()[0]]
        places = {(f"{key.rpartition('/')[0]}/", compression.method_of(key)) for key in keys}
        if len(places) != 1:
            raise Corrupted(f"{self.manifest} names files in {len(places)} places; an import takes those of one")
        return places.pop()

    def listing_sha256(self) -> str:
        """Return the SHA-256 of `manifest-files.json`, which has the MD5 of each file.

        Raises:
            Corrupted: it is not what its own MD5 or the description says.
        """
        return self._listing()[1]

    def crc32(self) -> str | None:
        """Return the CRC32 of `manifest-files.json`, in Base64."""
        listing = self._checked(self.summary.manifest_files_s3_key)
        return base64.b64encode(zlib.crc32(listing).to_bytes(4, "big")).decode()

    def stored_bytes(self) -> int:
        files = {file.data_file_s3_key for file in self._listing()[0]}
        folders = {key.rpartition("/")[0] for key in files}
        listed = self._s3.get_paginator("list_objects_v2")
        return sum(
            found["Size"]
            for folder in folders
            for page in listed.paginate(Bucket=self._bucket, Prefix=f"{folder}/")
            for found in page.get("Contents", [])
            if found["Key"] in files
        )

    def _listing(self) -> tuple[list[export_layout.File], str]:
        key = self.summary.manifest_files_s3_key
        listing = self._checked(key)
        sha256 = hashlib.sha256(listing).hexdigest()
        if self._description and sha256 != self._description.sha256:
            raise Corrupted(f"{key}: its SHA-256 is {sha256}, and {self.key} says {self._description.sha256}")
        try:
            return msgspec.json.Decoder(export_layout.File).decode_lines(listing), sha256
        except msgspec.DecodeError as error:
            raise Corrupted(f"{key} cannot be read: {error}") from None

    def items(self) -> Generator[bytes, None, Verified]:
        total = size = 0
        files, sha256 = self._listing()
        for file in files:
            count, length = yield from self._file(file)
            total += count
            size += length
        if total != self.summary.item_count:
            raise Corrupted(f"its files have {total:,} items, and {self.manifest} says {self.summary.item_count:,}")
        return Verified(total, size, sha256)

    def _file(self, file: export_layout.File) -> Generator[bytes, None, tuple[int, int]]:
        key = file.data_file_s3_key
        digest = hashlib.md5(usedforsecurity=False)
        chunks = _hashed(self._read(key), digest)
        count = size = 0
        for start, line in documents.lines(_uncompressed(chunks, key, compression.method_of(key))):
            try:
                item = bytes(self._item(line))
            except ValueError as fault:
                end = start + len(line) - 1
                raise Corrupted(
                    f"{key}: item {count + 1:,} (bytes {start:,} to {end:,}) is damaged: {fault}. "
                    f"It begins {line[:60]!r}"
                ) from None
            count += 1
            size = start + len(line) + 1
            yield item
        found = base64.b64encode(digest.digest()).decode()
        if found != file.md5_checksum:
            raise Corrupted(f"{key}: its MD5 is {found}, and the manifest says {file.md5_checksum}")
        if count != file.item_count:
            raise Corrupted(f"{key} has {count:,} items, and the manifest says {file.item_count:,}")
        return count, size

    def _item(self, line: bytes) -> bytes | msgspec.Raw:
        if self.change_of:
            documents.check(bytes(incremental.read(line).new) or b"{}")
            return line
        item = msgspec.json.decode(line, type=_Line).item
        documents.check(bytes(item))
        return item

    def _decode(self, key: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(self._checked(key), type=kind)
        except msgspec.DecodeError as error:
            raise Corrupted(f"{key} cannot be read: {error}") from None

    def _checked(self, key: str) -> bytes:
        """Read a manifest and hold it against the MD5 beside it, where there is one."""
        data = b"".join(self._read(key))
        beside = key.removesuffix(".json") + ".md5"
        try:
            wanted = b"".join(download.read(self._s3, bucket=self._bucket, key=beside)).decode().strip()
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            raise Corrupted(f"{beside} is missing") from None
        if export_layout.md5(data) != wanted:
            raise Corrupted(f"{key}: its MD5 is {export_layout.md5(data)}, and {beside} says {wanted}")
        return data

    def _read(self, key: str) -> Iterator[bytes]:
        try:
            yield from download.read(self._s3, bucket=self._bucket, key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            raise Corrupted(f"s3://{self._bucket}/{key} is missing") from None


def _uncompressed(chunks: Iterable[bytes], key: str, method: compression.Method | None = None) -> Iterator[bytes]:
    try:
        yield from compression.decompressed(chunks, method or compression.method_of(key))
    except compression.CompressionError as error:
        raise Corrupted(f"{key}: {error}") from None


def _hashed(chunks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
