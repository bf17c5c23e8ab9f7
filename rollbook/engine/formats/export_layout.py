"""AWS's layout of an export in S3. `ExportTableToPointInTime` writes it; `ImportTable`, Athena and Glue read it.

    <prefix>/AWSDynamoDB/<id>/manifest-summary.json     the table, the time and the number of items
    <prefix>/AWSDynamoDB/<id>/manifest-files.json       one line for each data file
    <prefix>/AWSDynamoDB/<id>/data/<name>.json.gz       one line for each item: {"Item":{…}}

An object beside each manifest has the manifest's MD5. `manifest-files.json` has the MD5 of each data file. An MD5 is
written in Base64 and covers the stored bytes. Keys are relative to the bucket. Source: DynamoDB Developer Guide,
"DynamoDB table export output format".
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from rollbook.contract import moments
from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats import compression
from rollbook.engine.s3 import upload

# In the key of each file of an export.
FOLDER = "/AWSDynamoDB/"
_VERSION = "2020-06-30"
# Uncompressed. ImportTable accepts 5,000 objects, which is 320 GB at this size.
_FILE_BYTES = 64 * 1024 * 1024
_OPEN, _BETWEEN, _CLOSE = b'{"Item":', b'}\n{"Item":', b"}\n"


class Summary(msgspec.Struct, rename="camel", kw_only=True):
    """The object `manifest-summary.json`. Times are in AWS's format, sizes in bytes."""

    version: str = _VERSION
    export_arn: str
    start_time: str
    end_time: str
    table_arn: str
    table_id: str
    export_time: str | None = None
    s3_bucket: str = msgspec.field(name="s3Bucket")
    s3_prefix: str | None = msgspec.field(name="s3Prefix")
    s3_sse_algorithm: str | None = msgspec.field(name="s3SseAlgorithm", default="AES256")
    s3_sse_kms_key_id: str | None = msgspec.field(name="s3SseKmsKeyId", default=None)
    manifest_files_s3_key: str = msgspec.field(name="manifestFilesS3Key")
    billed_size_bytes: int = 0
    item_count: int
    output_format: str = "DYNAMODB_JSON"
    output_view: str | None = None
    export_from_time: str | None = None
    export_to_time: str | None = None
    export_type: str = "FULL_EXPORT"


class File(msgspec.Struct, rename="camel"):
    """A line of `manifest-files.json`."""

    item_count: int
    md5_checksum: str
    etag: str
    data_file_s3_key: str = msgspec.field(name="dataFileS3Key")


@dataclass(frozen=True)
class Place:
    """Where an export is stored.

    Arguments:
        prefix: the beginning of its keys, without a slash at the end.
        export_id: the export's id in AWS's format, such as `01693685827463-2d8752fd`.
    """

    bucket: str
    prefix: str
    export_id: str

    def key(self, name: str) -> str:
        """Return the key of a file of the export."""
        return f"{self.prefix}{FOLDER}{self.export_id}/{name}"


def new_id(moment: datetime) -> str:
    """Return an export id in AWS's format: milliseconds since 1970 and eight random hexadecimal digits."""
    return f"{int(moment.timestamp() * 1000):014d}-{secrets.token_hex(4)}"


def md5(data: bytes) -> str:
    """Return the MD5 in the manifests' format, which is Base64."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


class Writer:
    """Writes the pages of a scan as an export. No object is visible before `complete`.

    `sha256` and `crc32` (Base64) are those of `manifest-files.json`, which contains the MD5 of each data file.

    Arguments:
        s3: a boto3 S3 client.
        method: compression of the data files.
    """

    def __init__(self, s3: Any, place: Place, method: compression.Method) -> None:
        self._s3 = s3
        self._place = place
        self._method = method
        self._files: list[tuple[upload.Upload, int, str]] = []
        self._open: upload.Upload | None = None
        self.items = 0
        self.read_units = 0.0
        self.sha256 = ""
        self.crc32 = ""

    @property
    def stored_bytes(self) -> int:
        """Return the total size of the stored data files in bytes."""
        return sum(file.bytes for file, _, _ in self._files)

    def write(self, pages: Iterable[Page]) -> None:
        """Upload the data files without completing them.

        Raises:
            Exception: the upload or the scan failed. All uploads are aborted first.
        """
        try:
            for file in _files(self._lines(pages)):
                self._write_file(file)
        except BaseException as error:
            self.abort(error)
            raise

    def _lines(self, pages: Iterable[Page]) -> Iterator[tuple[bytes, int]]:
        for page in pages:
            lines = _OPEN + _BETWEEN.join(page.items) + _CLOSE
            self.items += len(page.items)
            self.read_units += page.read_units
            yield lines, len(page.items)

    def _write_file(self, pieces: Iterator[tuple[bytes, int]]) -> None:
        name = hashlib.sha256(f"{self._place.export_id}/{len(self._files)}".encode()).hexdigest()[:26]
        key = self._place.key(f"data/{name}.json{compression.SUFFIXES[self._method]}")
        self._open = upload.Upload(
            self._s3, bucket=self._place.bucket, key=key, content_type="application/octet-stream"
        )
        digest = hashlib.md5(usedforsecurity=False)
        compressor = compression.compressor(self._method)
        items = 0
        for lines, count in pieces:
            items += count
            chunk = compressor.compress(lines)
            digest.update(chunk)
            self._open.write(chunk)
        chunk = compressor.flush()
        digest.update(chunk)
        self._open.write(chunk)
        self._open.flush()
        self._files.append((self._open, items, base64.b64encode(digest.digest()).decode()))
        self._open = None

    def complete(self, *, table_arn: str, table_id: str, started_at: datetime, ended_at: datetime) -> str:
        """Complete the data files, then write the manifests. Return the key of `manifest-summary.json`."""
        try:
            files = [File(items, checksum, file.complete().etag, file.key) for file, items, checksum in self._files]
        except BaseException as error:
            self.abort(error)
            raise
        place = self._place
        summary = Summary(
            export_arn=f"{table_arn}/export/{place.export_id}",
            start_time=moments.to_text(started_at),
            end_time=moments.to_text(ended_at),
            table_arn=table_arn,
            table_id=table_id,
            export_time=moments.to_text(started_at),
            s3_bucket=place.bucket,
            s3_prefix=place.prefix,
            manifest_files_s3_key=place.key("manifest-files.json"),
            billed_size_bytes=0,
            item_count=self.items,
        )
        listing = b"".join(msgspec.json.encode(file) + b"\n" for file in files)
        self.sha256 = hashlib.sha256(listing).hexdigest()
        self.crc32 = self._put("manifest-files", listing)
        self._put("manifest-summary", msgspec.json.encode(summary))
        return place.key("manifest-summary.json")

    def abort(self, error: BaseException) -> None:
        """Abort the uploads of all files that are not visible yet."""
        waiting = [file for file, _, _ in self._files]
        upload.abort([*waiting, self._open] if self._open else waiting, error)

    def _put(self, name: str, data: bytes) -> str:
        """Write a manifest's MD5, then the manifest. Return the manifest's CRC32."""
        self._put_file(f"{name}.md5", md5(data).encode(), "text/plain")
        return self._put_file(f"{name}.json", data, "application/json")

    def _put_file(self, name: str, body: bytes, content_type: str) -> str:
        key = self._place.key(name)
        return upload.put(self._s3, bucket=self._place.bucket, key=key, chunks=[body], content_type=content_type).crc32


def _files(pieces: Iterator[tuple[bytes, int]]) -> Iterator[Iterator[tuple[bytes, int]]]:
    """Split a stream of pieces into files. There is at least one file."""
    first = next(pieces, None)
    while True:
        rest: list[tuple[bytes, int]] = [] if first is None else [first]
        yield _file(rest, pieces)
        if not rest:
            return
        first = rest.pop()


def _file(rest: list[tuple[bytes, int]], pieces: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """Yield the pieces of one file. If another file follows, put its first piece into `rest`."""
    size = 0
    while rest:
        piece = rest.pop()
        size += len(piece[0])
        if size > _FILE_BYTES and size > len(piece[0]):
            rest.append(piece)
            return
        yield piece
        following = next(pieces, None)
        if following is not None:
            rest.append(following)
