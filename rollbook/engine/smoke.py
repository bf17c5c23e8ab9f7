"""Uploads an object of several parts, so that a smoke test can prove that the function's permissions suffice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats import document
from rollbook.engine.s3 import upload

# More than one part; a part has 5 MiB (S3 User Guide, "Amazon S3 multipart upload limits").
BYTES = 6 * 1024 * 1024
_ITEM_BYTES = 1024
_PAGE_ITEMS = 256
_MARK = re.compile(r"[a-z0-9-]{1,40}")


def mark(text: Any) -> str:
    """Check the mark that becomes a part of an object's key, and return it.

    Raises:
        ValueError: it is not a text of 1 to 40 lower-case letters, digits and hyphens.
    """
    if not (isinstance(text, str) and _MARK.fullmatch(text)):
        raise ValueError(f"a mark must have 1 to 40 lower-case letters, digits and hyphens; this is {text!r}")
    return text


def key(key_prefix: str, marked: str) -> str:
    """Return the key of the upload. Its prefix puts it under the lifecycle rules of the backups."""
    return f"{key_prefix}smoke-{marked}.json"


def put(s3: Any, *, bucket: str, key_prefix: str, marked: str, clock: Callable[[], datetime]) -> dict[str, Any]:
    """Upload a backup document of `BYTES` or more, and return its key, size and checksums.

    Arguments:
        s3: a boto3 S3 client.
        marked: from `mark`.
        clock: returns the time now (aware).

    Raises:
        botocore.exceptions.ClientError: S3 refused.
    """
    writer = document.Writer()
    table = {
        "name": f"smoke-{marked}",
        "keySchema": [{"attributeName": "id", "keyType": "HASH"}],
        "attributeDefinitions": [{"attributeName": "id", "attributeType": "S"}],
    }
    chunks = writer.chunks(table, clock(), _pages(marked), clock)
    target = key(key_prefix, marked)
    done = upload.put(s3, bucket=bucket, key=target, chunks=chunks, content_type="application/json")
    return {"key": target, "bytes": done.bytes, "crc32": done.crc32, "items": writer.items, "sha256": writer.sha256}


def _pages(marked: str) -> Iterator[Page]:
    for first in range(0, BYTES // _ITEM_BYTES, _PAGE_ITEMS):
        yield Page([_item(marked, number) for number in range(first, first + _PAGE_ITEMS)], read_units=0.0)


def _item(marked: str, number: int) -> bytes:
    line = json.dumps(
        {"id": {"S": f"{marked}-{number:05}"}, "filling": {"S": "x" * _ITEM_BYTES}}, separators=(",", ":")
    )
    return line.encode()
