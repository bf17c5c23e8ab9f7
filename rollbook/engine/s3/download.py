"""Reading S3 objects of any size over connections that may break."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

# A request for each piece is $0.0004 for 4 GB; a connection that breaks costs no more than one piece.
_PIECE_BYTES = 4 * 1024 * 1024
_TRIES = 6


class ObjectChanged(RuntimeError):
    """The object was replaced while it was read."""


def read(s3: Any, *, bucket: str, key: str) -> Iterator[bytes]:
    """Yield an object's bytes, in pieces of at most 4 MiB.

    Raises:
        ObjectChanged: it was replaced meanwhile.
        botocore.exceptions.ClientError: it is not there, or may not be read.
    """
    found = s3.head_object(Bucket=bucket, Key=key)
    size, etag = int(found["ContentLength"]), found["ETag"]
    for start in range(0, size, _PIECE_BYTES):
        yield _piece(s3, bucket, key, etag, f"bytes={start}-{min(start + _PIECE_BYTES, size) - 1}")


def _piece(s3: Any, bucket: str, key: str, etag: str, range_: str) -> bytes:
    for attempt in range(1, _TRIES + 1):
        try:
            found = s3.get_object(Bucket=bucket, Key=key, Range=range_, IfMatch=etag)
            body: bytes = found["Body"].read()
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "PreconditionFailed":
                raise ObjectChanged(f"s3://{bucket}/{key} was replaced while it was read; begin again") from None
            raise
        except (HTTPClientError, IncompleteReadError, ResponseStreamingError, OSError):
            if attempt == _TRIES:
                raise
            time.sleep(0.1 * 2**attempt)
        else:
            return body
    raise AssertionError("unreachable")
