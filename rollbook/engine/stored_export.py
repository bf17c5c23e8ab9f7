"""Reads a stored export in AWS's layout, written by Rollbook or by AWS."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from rollbook.engine.formats import compression, export_layout, incremental, lines
from rollbook.engine.formats.description import Description
from rollbook.engine.formats.lines import Corrupted, Verified
from rollbook.engine.recorded import Recorded
from rollbook.engine.s3 import download


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    item: msgspec.Raw = msgspec.field(name="Item")


class StoredExport:
    """An export in AWS's layout, written by Rollbook or by AWS.

    Arguments:
        key: the key with which it was opened.
        manifest: key of its `manifest-summary.json`.
    """

    def __init__(
        self,
        s3: Any,
        bucket: str,
        key: str,
        manifest: str,
        description: Description | None = None,
        recorded: Recorded | None = None,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self.manifest: str | None = manifest
        self.description = description
        self.key = key
        self.table = description.table if description else None
        self.started_at = description.started_at if description else None
        self.execution = description.execution if description else ""
        self.recorded = recorded
        self.summary = self._decode(manifest, export_layout.Summary)
        self.change_of = (
            (self.summary.export_from_time or "", self.summary.export_to_time or "")
            if self.summary.export_type == "INCREMENTAL_EXPORT"
            else None
        )
        if self.summary.output_format != "DYNAMODB_JSON":
            raise Corrupted(f"{manifest}: its format is {self.summary.output_format}; only DYNAMODB_JSON can be read")

    def data(self) -> tuple[str, compression.Method]:
        """Return the prefix of the data files for ImportTable, and their compression.

        Raises:
            Corrupted: the manifest names files with several prefixes or compression methods.
        """
        keys = [file.data_file_s3_key for file in self._listing()[0]]
        places = {(f"{key.rpartition('/')[0]}/", compression.method_of(key)) for key in keys}
        if len(places) != 1:
            raise Corrupted(f"{self.manifest} names files in {len(places)} places; an import needs exactly one place")
        return places.pop()

    def listing_sha256(self) -> str:
        """Return the SHA-256 of `manifest-files.json`, which contains the MD5 of each data file.

        Raises:
            Corrupted: the file does not match its MD5 or the description.
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
        if self.description and sha256 != self.description.sha256:
            raise Corrupted(f"{key}: its SHA-256 is {sha256}, but {self.key} says {self.description.sha256}")
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
            raise Corrupted(f"its files have {total:,} items, but {self.manifest} says {self.summary.item_count:,}")
        found = Verified(total, size, sha256, self.description.completed_at if self.description else None)
        if self.recorded:
            self.recorded.compare(found)
        return found

    def _file(self, file: export_layout.File) -> Generator[bytes, None, tuple[int, int]]:
        key = file.data_file_s3_key
        digest = hashlib.md5(usedforsecurity=False)
        chunks = _hashed(self._read(key), digest)
        count = size = 0
        for start, line in lines.lines(lines.uncompressed(chunks, key, compression.method_of(key))):
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
            raise Corrupted(f"{key}: its MD5 is {found}, but the manifest says {file.md5_checksum}")
        if count != file.item_count:
            raise Corrupted(f"{key} has {count:,} items, but the manifest says {file.item_count:,}")
        return count, size

    def _item(self, line: bytes) -> bytes | msgspec.Raw:
        if self.change_of:
            lines.check(bytes(incremental.read(line).new) or b"{}")
            return line
        item = msgspec.json.decode(line, type=_Line).item
        lines.check(bytes(item))
        return item

    def _decode(self, key: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(self._checked(key), type=kind)
        except msgspec.DecodeError as error:
            raise Corrupted(f"{key} cannot be read: {error}") from None

    def _checked(self, key: str) -> bytes:
        """Read a manifest and compare it with its MD5, which is stored beside it."""
        data = b"".join(self._read(key))
        md5_key = key.removesuffix(".json") + ".md5"
        try:
            expected = b"".join(download.read(self._s3, bucket=self._bucket, key=md5_key)).decode().strip()
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            raise Corrupted(f"{md5_key} is missing") from None
        if export_layout.md5(data) != expected:
            raise Corrupted(f"{key}: its MD5 is {export_layout.md5(data)}, but {md5_key} says {expected}")
        return data

    def _read(self, key: str) -> Iterator[bytes]:
        try:
            yield from download.read(self._s3, bucket=self._bucket, key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            raise Corrupted(f"s3://{self._bucket}/{key} is missing") from None


def _hashed(chunks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
