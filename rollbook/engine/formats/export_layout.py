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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from rollbook.contract import moments
from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats import compression, export_files
from rollbook.engine.formats.export_files import DataFile
from rollbook.engine.s3 import upload

# In the key of each file of an export.
FOLDER = "/AWSDynamoDB/"
_VERSION = "2020-06-30"


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
        self._files: list[DataFile] = []
        self._open: DataFile | None = None
        self.items = 0
        self.read_units = 0.0
        self.sha256 = ""
        self.crc32 = ""

    @property
    def stored_bytes(self) -> int:
        """Return the total size of the stored data files in bytes."""
        return sum(file.upload.bytes for file in self._files)

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
            self.read_units += page.read_units
            for items in page.parts():
                self.items += len(items)
                yield export_files.lines(items), len(items)
            del page  # before the next one is read

    def _write_file(self, pieces: Iterator[tuple[bytes, int]]) -> None:
        key = self._place.key(export_files.name_of(self._place.export_id, len(self._files), self._method))
        self._open = DataFile(self._s3, bucket=self._place.bucket, key=key, method=self._method)
        for lines, count in pieces:
            self._open.write(lines, count)
        self._open.end()
        self._files.append(self._open)
        self._open = None

    def complete(self, *, table_arn: str, table_id: str, started_at: datetime, ended_at: datetime) -> str:
        """Complete the data files, then write the manifests. Return the key of `manifest-summary.json`."""
        try:
            files = [File(each.items, each.md5, each.upload.complete().etag, each.upload.key) for each in self._files]
        except BaseException as error:
            self.abort(error)
            raise
        put = put_manifests(
            self._s3, self._place, files, table_arn=table_arn, table_id=table_id, times=(started_at, ended_at)
        )
        self.sha256, self.crc32 = put
        return self._place.key("manifest-summary.json")

    def abort(self, error: BaseException) -> None:
        """Abort the uploads of all files that are not visible yet."""
        waiting = [*self._files, self._open] if self._open else self._files
        upload.abort([file.upload for file in waiting], error)


def put_manifests(
    s3: Any,
    place: Place,
    files: Sequence[File],
    *,
    table_arn: str,
    table_id: str,
    times: tuple[datetime, datetime],
    replace_equal: bool = False,
) -> tuple[str, str]:
    """Write the manifests, and return SHA-256 and CRC32 of `manifest-files.json`.

    Arguments:
        times: when the first and the last item were read.
        replace_equal: whether to accept existing manifests with the same content.

    Raises:
        upload.ObjectExists: another object has the key of a manifest.
    """
    began, ended = map(moments.to_text, times)
    summary = Summary(
        export_arn=f"{table_arn}/export/{place.export_id}",
        start_time=began,
        end_time=ended,
        table_arn=table_arn,
        table_id=table_id,
        export_time=began,
        s3_bucket=place.bucket,
        s3_prefix=place.prefix,
        manifest_files_s3_key=place.key("manifest-files.json"),
        billed_size_bytes=0,
        item_count=sum(file.item_count for file in files),
    )
    listing = b"".join(msgspec.json.encode(file) + b"\n" for file in files)
    contents = {"manifest-files": listing, "manifest-summary": msgspec.json.encode(summary)}
    for name, data in contents.items():
        # The MD5 first, so that a manifest that is visible can be checked.
        for suffix, body, kind in ((".md5", md5(data).encode(), "text/plain"), (".json", data, "application/json")):
            put = upload.put_equal if replace_equal else upload.put
            put(s3, bucket=place.bucket, key=place.key(name + suffix), chunks=[body], content_type=kind)
    return hashlib.sha256(listing).hexdigest(), upload.crc32_of(listing)


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
        if size > export_files.FILE_BYTES and size > len(piece[0]):
            rest.append(piece)
            return
        yield piece
        following = next(pieces, None)
        if following is not None:
            rest.append(following)
