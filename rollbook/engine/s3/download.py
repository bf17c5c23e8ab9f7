"""Reads S3 objects of any size, with retries when a connection breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

from rollbook.contract import pauses

# The requests of these pieces cost $0.0004 for 4 GB. After a broken connection, at most one piece is read again.
_PIECE_BYTES = 4 * 1024 * 1024
_TRIES = 6


class ObjectChanged(RuntimeError):
    """The object was replaced while it was being read."""


def read(s3: Any, *, bucket: str, key: str, version_id: str = "") -> Iterator[bytes]:
    """Yield an object's bytes, in pieces of at most 4 MiB.

    Arguments:
        version_id: which version to read; empty for the current one.

    Raises:
        ObjectChanged: the object was replaced during the read.
        botocore.exceptions.ClientError: the object does not exist, or access is denied.
    """
    target = {"Bucket": bucket, "Key": key} | ({"VersionId": version_id} if version_id else {})
    found = s3.head_object(**target)
    size, etag = int(found["ContentLength"]), found["ETag"]
    for start in range(0, size, _PIECE_BYTES):
        yield _piece(s3, target, etag, f"bytes={start}-{min(start + _PIECE_BYTES, size) - 1}")


def _piece(s3: Any, target: dict[str, str], etag: str, range_: str) -> bytes:
    for attempt in range(1, _TRIES + 1):
        try:
            found = s3.get_object(**target, Range=range_, IfMatch=etag)
            body: bytes = found["Body"].read()
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "PreconditionFailed":
                where = f"s3://{target['Bucket']}/{target['Key']}"
                raise ObjectChanged(f"{where} was replaced while it was being read; retry") from None
            raise
        except (HTTPClientError, IncompleteReadError, ResponseStreamingError, OSError):
            if attempt == _TRIES:
                raise
            pauses.sleep(0.1 * 2**attempt)
        else:
            return body
    raise AssertionError("unreachable")
