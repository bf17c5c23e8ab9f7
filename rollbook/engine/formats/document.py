"""The backup document `rollbook-backup/1`: header, items, footer, written and read in one pass.

    {"format":"rollbook-backup/1","table":{…},"startedAt":"…","items":[
    {"studentid":{"S":"SV001"},…},
    {"studentid":{"S":"SV002"},…}
    ],"itemCount":2,"sha256":"…","completedAt":"…"}

The SHA-256 is that of the item lines: all bytes between the line break after `[` and the one before `]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from rollbook.engine.dynamodb.scan import Page

FORMAT = "rollbook-backup/1"
_SEPARATOR = b",\n"
# A footer has about 150 bytes; this many from the end are sure to hold it and the line break before it.
FOOTER_BYTES = 512


class Footer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The document's last line, but for the bracket and the comma it begins with."""

    item_count: int
    sha256: str
    completed_at: datetime


class DocumentError(ValueError):
    """The bytes are no complete backup document."""


class Writer:
    """Turns pages into the bytes of a document and counts what passes."""

    def __init__(self) -> None:
        self.items = 0
        self.bytes = 0
        self.read_units = 0.0
        self.sha256 = ""

    def chunks(self, table: dict[str, Any], started_at: datetime, pages: Iterable[Page], clock: Any) -> Iterator[bytes]:
        """Yield the document piece by piece; the largest piece is one page.

        Arguments:
            table: what a restore must know of the table, as `table.describe` returns it.
            started_at: when the run started (aware).
            pages: the pages of the scan.
            clock: a function that returns the time now (aware), asked after the last page.
        """
        header = {"format": FORMAT, "table": table, "startedAt": started_at}
        yield self._count(msgspec.json.encode(header)[:-1] + b',"items":[\n')
        digest = hashlib.sha256()
        for page in pages:
            lines = _SEPARATOR.join([b"", *page.items] if self.items else page.items)
            digest.update(lines)
            self.items += len(page.items)
            self.read_units += page.read_units
            yield self._count(lines)
        self.sha256 = digest.hexdigest()
        footer = Footer(item_count=self.items, sha256=self.sha256, completed_at=clock())
        yield self._count(b"\n]," + msgspec.json.encode(footer)[1:] + b"\n")

    def _count(self, chunk: bytes) -> bytes:
        self.bytes += len(chunk)
        return chunk


def read_footer(tail: bytes) -> Footer:
    """Read the footer from a document's last bytes.

    Arguments:
        tail: the last `FOOTER_BYTES` bytes, or the whole document.

    Raises:
        DocumentError: they do not end as a document does.
    """
    _, found, text = tail.rpartition(b"\n],")
    try:
        if not found:
            raise msgspec.DecodeError("there is no line that begins with '],'")
        return msgspec.json.decode(b"{" + text, type=Footer)
    except msgspec.DecodeError as error:
        raise DocumentError(f"the document does not end with a footer: {error}") from None
