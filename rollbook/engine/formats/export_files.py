"""The data files of an export, which are written one after the other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from rollbook.engine.formats import compression
from rollbook.engine.s3 import upload

# Uncompressed. ImportTable accepts 5,000 objects, which is 320 GB at this size.
FILE_BYTES = 64 * 1024 * 1024
CONTENT_TYPE = "application/octet-stream"
_OPEN, _BETWEEN, _CLOSE = b'{"Item":', b'}\n{"Item":', b"}\n"


def lines(items: Sequence[Any]) -> bytes:
    """Return the lines of some items, each with its line break."""
    return _OPEN + _BETWEEN.join(items) + _CLOSE


def name_of(export_id: str, number: int, method: compression.Method) -> str:
    """Return the name of a data file below the export's prefix. It is the same in every invocation."""
    name = hashlib.sha256(f"{export_id}/{number}".encode()).hexdigest()[:26]
    return f"data/{name}.json{compression.SUFFIXES[method]}"


class DataFile:
    """A data file. It is not visible before `upload.complete`.

    Arguments:
        s3: a boto3 S3 client.
        method: compression of the file.
    """

    def __init__(self, s3: Any, *, bucket: str, key: str, method: compression.Method) -> None:
        self.upload = upload.Upload(s3, bucket=bucket, key=key, content_type=CONTENT_TYPE)
        self.items = 0
        self.size = 0
        self._compressor = compression.compressor(method)
        self._digest = hashlib.md5(usedforsecurity=False)

    @property
    def md5(self) -> str:
        """Return the MD5 of the stored bytes in Base64."""
        return base64.b64encode(self._digest.digest()).decode()

    def write(self, piece: bytes, items: int) -> None:
        """Append the lines of some items."""
        self.items += items
        self.size += len(piece)
        self._store(self._compressor.compress(piece))

    def end(self) -> None:
        """Upload the rest."""
        self._store(self._compressor.flush())
        self.upload.flush()

    def _store(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.upload.write(chunk)
