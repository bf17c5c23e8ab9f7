"""The lines of a stored backup: items as JSON, one each, compressed or not. Both formats have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from rollbook.engine.formats import compression

# The ten types (DynamoDB API reference, AttributeValue).
_TYPES = frozenset({"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"})
# An item has at most 400 KB (DynamoDB Developer Guide, "Quotas"). Its JSON, with escapes, is far below this limit.
_LONGEST_LINE = 8 * 1024 * 1024
_decode_item = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]]).decode


class Corrupted(ValueError):
    """The backup is damaged. The message says where the first damage is."""


@dataclass(frozen=True)
class Verified:
    """The totals of a verified backup.

    Arguments:
        bytes: before compression.
        sha256: the digest that the history has.
        completed_at: when the backup's last item was read; None if the backup does not say it.
    """

    items: int
    bytes: int
    sha256: str
    completed_at: datetime | None = None


def check(item: bytes) -> None:
    """Check that the bytes are an item: a JSON object of attributes, each with a value of one type.

    Raises:
        ValueError: they are not. The message says why.
    """
    try:
        attributes = _decode_item(item)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    for name, value in attributes.items():
        if len(value) != 1 or not value.keys() <= _TYPES:
            raise ValueError(f"its attribute {name!r} does not have exactly one DynamoDB type: {sorted(value)}")


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the position of each line's first byte, and the line without its line break.

    Raises:
        Corrupted: a line is longer than any item can be.
    """
    start = 0
    buffer = b""
    for chunk in chunks:
        *whole, buffer = (buffer + chunk).split(b"\n")
        for line in whole:
            yield start, line
            start += len(line) + 1
        if len(buffer) > _LONGEST_LINE:
            raise Corrupted(f"the line at byte {start:,} has over {_LONGEST_LINE:,} bytes; no item is that long")
    if buffer:
        yield start, buffer


def uncompressed(chunks: Iterable[bytes], key: str, method: compression.Method | None = None) -> Iterator[bytes]:
    """Yield the bytes of an object uncompressed.

    Arguments:
        key: of the object.
        method: of its compression; None to use that of the key's suffix.

    Raises:
        Corrupted: the stream is damaged.
    """
    try:
        yield from compression.decompressed(chunks, method or compression.method_of(key))
    except compression.CompressionError as error:
        raise Corrupted(f"{key}: {error}") from None
