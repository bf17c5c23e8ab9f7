"""Writes and reads the backup document `rollbook-backup/1` in one pass. It has a header, items and a footer.

    {"format":"rollbook-backup/1","table":{…},"startedAt":"…","items":[
    {"studentid":{"S":"SV001"},…},
    {"studentid":{"S":"SV002"},…}
    ],"itemCount":2,"sha256":"…","completedAt":"…"}

The SHA-256 covers the item lines: all bytes between the line break after `[` and the line break before `]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats import compression

FORMAT = "rollbook-backup/1"
_SEPARATOR = b",\n"
# The ten types (DynamoDB API reference, AttributeValue).
_TYPES = frozenset({"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"})
# An item has at most 400 KB (DynamoDB Developer Guide, "Quotas"). Its JSON, with escapes, is far below this limit.
_LONGEST_LINE = 8 * 1024 * 1024
_HEADER_END = b',"items":['
_decode_item = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]]).decode


class Footer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The document's last line, without the bracket and the comma at its beginning."""

    item_count: int
    sha256: str
    completed_at: datetime


class Corrupted(ValueError):
    """The backup is damaged. The message says where the first damage is."""


@dataclass(frozen=True)
class Verified:
    """The totals of a verified backup: items, bytes before compression, and the digest that the history has."""

    items: int
    bytes: int
    sha256: str


class Writer:
    """Converts pages to the bytes of a document, and counts items and read units."""

    def __init__(self) -> None:
        self.items = 0
        self.read_units = 0.0
        self.sha256 = ""

    def chunks(self, table: dict[str, Any], started_at: datetime, pages: Iterable[Page], clock: Any) -> Iterator[bytes]:
        """Yield the document in pieces. The largest piece is one page.

        Arguments:
            table: the table's definition that `definitions.describe` returned.
            started_at: when the run started (aware).
            pages: the pages of the scan.
            clock: returns the time now (aware); called after the last page.
        """
        header = {"format": FORMAT, "table": table, "startedAt": started_at}
        yield msgspec.json.encode(header)[:-1] + b',"items":[\n'
        digest = hashlib.sha256()
        for page in pages:
            lines = _SEPARATOR.join([b"", *page.items] if self.items else page.items)
            digest.update(lines)
            self.items += len(page.items)
            self.read_units += page.read_units
            yield lines
        self.sha256 = digest.hexdigest()
        footer = Footer(item_count=self.items, sha256=self.sha256, completed_at=clock())
        yield b"\n]," + msgspec.json.encode(footer)[1:] + b"\n"


def header(chunks: Iterable[bytes]) -> dict[str, Any]:
    """Read a document's header. Only the chunks of the first line are consumed.

    Raises:
        Corrupted: the first line is not a header.
    """
    _, first = next(lines(chunks), (0, b""))
    return _header(first)


def items(chunks: Iterable[bytes]) -> Generator[bytes, None, Verified]:
    """Yield each item of a document as bytes after checking it. Return the totals after the whole document is checked.

    Arguments:
        chunks: the document's bytes in pieces of any size. At most one piece and one line are in memory.

    Raises:
        Corrupted: the document is damaged. The message names the item and its byte range (from 0), or the fault.
    """
    numbered = lines(chunks)
    _, first = next(numbered, (0, b""))
    _header(first)
    digest = hashlib.sha256()
    count = 0
    last = b""
    for start, line in numbered:
        if line.startswith(b"],"):
            return _end(line, numbered, digest.hexdigest(), count, last, start)
        if count and not last.endswith(b","):
            raise _at(count - 1, start - 1 - len(last), last, "the comma at its end is missing")
        if line or count:
            item = line.removesuffix(b",")
            try:
                check(item)
            except ValueError as fault:
                raise _at(count, start, line, str(fault)) from None
            digest.update(b"\n" + line if count else line)
            count += 1
            yield item
        last = line
    raise Corrupted(f"it is truncated: it ends after {count:,} items, without a footer")


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


def _header(line: bytes) -> dict[str, Any]:
    try:
        if not line.endswith(_HEADER_END):
            raise msgspec.DecodeError("it does not end where the items begin")
        found: dict[str, Any] = msgspec.json.decode(line[: -len(_HEADER_END)] + b"}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Corrupted(f"its first line (bytes 0 to {max(len(line) - 1, 0):,}) is not a header: {error}") from None
    if found.get("format") != FORMAT:
        raise Corrupted(f"its format is {found.get('format')!r}, not {FORMAT!r}")
    return found


def _end(line: bytes, rest: Iterator[tuple[int, bytes]], sha256: str, count: int, last: bytes, start: int) -> Verified:
    if last.endswith(b","):
        raise _at(count - 1, start - 1 - len(last), last, "it is the last item and ends with a comma")
    try:
        footer = msgspec.json.decode(b"{" + line.removeprefix(b"],"), type=Footer)
    except msgspec.DecodeError as error:
        raise Corrupted(f"its last line (from byte {start:,}) is not a footer: {error}") from None
    if trailing := [content for _, content in rest if content]:
        raise Corrupted(f"there is data after its footer: {trailing[0][:40]!r}")
    if footer.item_count != count:
        raise Corrupted(f"it has {count:,} items, but its footer says {footer.item_count:,}")
    if footer.sha256 != sha256:
        raise Corrupted(f"the SHA-256 of its items is {sha256}, but its footer says {footer.sha256}")
    return Verified(count, start + len(line) + 1, sha256)


def _at(number: int, start: int, line: bytes, reason: str) -> Corrupted:
    end = start + max(len(line) - 1, 0)
    return Corrupted(f"item {number + 1:,} (bytes {start:,} to {end:,}) is damaged: {reason}. It begins {line[:60]!r}")
