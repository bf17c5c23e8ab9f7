"""Writes and reads the backup document `rollbook-backup/2` in one pass. It has a header, items and a footer.

    {"format":"rollbook-backup/2","execution":"…","table":{…},"startedAt":"…","isConsistent":false,"items":[
    {"studentid":{"S":"SV001"},…},
    {"studentid":{"S":"SV002"},…}
    ],"itemCount":2,"completedAt":"…","blocks":["8f3a…",…],"sha256":"…"}

The SHA-256 covers all bytes before `,"sha256":`. A block is 1 MiB of the bytes before the last line; the last block is
shorter. The CRC32 of each block finds the place of a damage. Documents of `rollbook-backup/1` are read, too. They have
no execution and no blocks, and their SHA-256 covers the item lines alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats.checksums import BLOCK_BYTES, Checksums
from rollbook.engine.formats.lines import Corrupted, Verified, check, lines

FORMAT, FORMER_FORMAT = "rollbook-backup/2", "rollbook-backup/1"
_SEPARATOR = b",\n"
_HEADER_END = b',"items":['
_SHA256 = b',"sha256":"'
# Lines are hashed together, because a call of each digest for each line takes longer than hashing.
_UPDATE_BYTES = 64 * 1024


class Header(msgspec.Struct, rename="camel", frozen=True):
    """The document's first line, without the list of items.

    Arguments:
        execution: id of the execution that wrote it; empty in a document of the former format.
        table: the table's definition that `definitions.describe` returned.
        started_at: when the scan started (aware).
        is_consistent: whether the scan used strongly consistent reads.
    """

    format: str
    execution: str = ""
    table: dict[str, Any] | None = None
    started_at: datetime | None = None
    is_consistent: bool = False


class Footer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The document's last line, without the bracket and the comma at its beginning."""

    item_count: int
    completed_at: datetime
    sha256: str
    # CRC32 of each block in hexadecimal; None in a document of the former format.
    blocks: list[str] | None = None


class Writer:
    """Converts pages to the bytes of a document, and counts items and read units."""

    def __init__(self) -> None:
        self.items = 0
        self.read_units = 0.0
        self.sha256 = ""
        self.completed_at: datetime | None = None

    def chunks(self, header: Header, pages: Iterable[Page], clock: Callable[[], datetime]) -> Iterator[bytes]:
        """Yield the document in pieces. The largest piece is one page.

        Arguments:
            pages: the pages of the scan.
            clock: returns the time now (aware); called after the last page.
        """
        sums = Checksums()
        first = msgspec.json.encode(header)[:-1] + _HEADER_END + b"\n"
        sums.update(first)
        yield first
        for page in pages:
            self.read_units += page.read_units
            for items in page.parts():
                lines = _SEPARATOR.join([b"", *items] if self.items else items)
                sums.update(lines)
                self.items += len(items)
                yield lines
                del lines, items
            del page  # before the next one is read
        sums.update(b"\n")
        self.completed_at = clock()
        end = {"itemCount": self.items, "completedAt": self.completed_at, "blocks": sums.blocks()}
        last = b"]," + msgspec.json.encode(end)[1:-1]
        self.sha256 = sums.sha256(last)
        yield b"\n" + last + b'%s%s"}\n' % (_SHA256, self.sha256.encode())


def header(chunks: Iterable[bytes]) -> Header:
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
    reading = _Reading(_header(first).format == FORMER_FORMAT)
    reading.add(0, first)
    last = b""
    for start, line in numbered:
        if line.startswith(b"],"):
            if last.endswith(b","):
                raise _at(reading.items - 1, start - 1 - len(last), last, "it is the last item and ends with a comma")
            return _end(line, numbered, reading, start)
        if reading.items and not last.endswith(b","):
            raise _at(reading.items - 1, start - 1 - len(last), last, "the comma at its end is missing")
        reading.add(start, line)
        if line or reading.items:
            item = line.removesuffix(b",")
            try:
                check(item)
            except ValueError as fault:
                raise _at(reading.items, start, line, str(fault)) from None
            reading.items += 1
            yield item
        last = line
    raise Corrupted(f"it is truncated: it ends after {reading.items:,} items, without a footer")


class _Reading:
    """What is known of the lines that were read: their number, checksums, and the item at which each block begins."""

    def __init__(self, is_former: bool) -> None:
        self.is_former = is_former
        self.items = 0
        self.sums = Checksums()
        self._lines = bytearray()
        self._first_items: list[int] = []

    def add(self, start: int, line: bytes) -> None:
        if self.is_former and not start:
            return
        while len(self._first_items) * BLOCK_BYTES < start + len(line) + 1:
            self._first_items.append(self.items)
        self._lines += line
        self._lines += b"\n"
        if len(self._lines) > _UPDATE_BYTES:
            # The former digest has no line break after the last item.
            kept = 1 if self.is_former else 0
            self.sums.update(bytes(self._lines[: len(self._lines) - kept]))
            del self._lines[: len(self._lines) - kept]

    def sha256(self, last: bytes) -> str:
        """Return the digest of all lines and of the covered part of the last line."""
        self.sums.update(bytes(self._lines[:-1] if self.is_former else self._lines))
        self._lines.clear()
        return self.sums.sha256(b"" if self.is_former else last)

    def place(self, block: int, end: int) -> str:
        """Return which items and bytes are in a block. An item may begin in one block and end in the next.

        Arguments:
            end: the first byte after the last block.
        """
        first, after = self._first_items[block], [*self._first_items[block + 1 :], self.items - 1][0]
        begins = block * BLOCK_BYTES
        return f"items {first + 1:,} to {after + 1:,} (bytes {begins:,} to {min(begins + BLOCK_BYTES, end) - 1:,})"


def _header(line: bytes) -> Header:
    try:
        if not line.endswith(_HEADER_END):
            raise msgspec.DecodeError("it does not end where the items begin")
        found = msgspec.json.decode(line[: -len(_HEADER_END)] + b"}", type=Header)
    except msgspec.DecodeError as error:
        raise Corrupted(f"its first line (bytes 0 to {max(len(line) - 1, 0):,}) is not a header: {error}") from None
    if found.format not in (FORMAT, FORMER_FORMAT):
        raise Corrupted(f"its format is {found.format!r}, not {FORMAT!r}")
    return found


def _end(line: bytes, rest: Iterator[tuple[int, bytes]], reading: _Reading, start: int) -> Verified:
    try:
        footer = msgspec.json.decode(b"{" + line.removeprefix(b"],"), type=Footer)
    except msgspec.DecodeError as error:
        raise Corrupted(f"its last line (from byte {start:,}) is not a footer: {error}") from None
    if trailing := [content for _, content in rest if content]:
        raise Corrupted(f"there is data after its footer: {trailing[0][:40]!r}")
    found = reading.sha256(line.partition(_SHA256)[0])
    for block, (before, now) in enumerate(zip(footer.blocks or [], reading.sums.blocks(), strict=False)):
        if before != now:
            raise Corrupted(f"{reading.place(block, start)} are damaged: their CRC32 is {now}, not {before}")
    if footer.item_count != reading.items:
        raise Corrupted(f"it has {reading.items:,} items, but its footer says {footer.item_count:,}")
    if footer.sha256 != found:
        what = "of its items" if reading.is_former else "of all before it"
        raise Corrupted(f"the SHA-256 {what} is {found}, but its footer says {footer.sha256}")
    return Verified(reading.items, start + len(line) + 1, found, footer.completed_at)


def _at(number: int, start: int, line: bytes, reason: str) -> Corrupted:
    end = start + max(len(line) - 1, 0)
    return Corrupted(f"item {number + 1:,} (bytes {start:,} to {end:,}) is damaged: {reason}. It begins {line[:60]!r}")
