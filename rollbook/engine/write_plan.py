"""Which items of a backup a restore writes, and what the table had when it was compared. Kept on disk."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from rollbook.engine.comparison import Difference, Outcome
from rollbook.engine.fingerprints import DIGEST_BYTES
from rollbook.engine.restore_request import Mode

# For each item of the backup: whether it is written, whether the table has its key, the digest of the table's item.
_RECORD = struct.Struct(f"<??{DIGEST_BYTES}s")
_MEMORY_BYTES = 4 * 1024 * 1024


class WritePlan:
    """The items that a restore writes. It is a context manager: its file is deleted at the end."""

    def __init__(self, mode: Mode, differences: Iterable[Difference]) -> None:
        kinds = {"removed"} if mode == "missing" else {"removed", "changed"}
        self._file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115
        for found in differences:
            if found.kind in kinds:
                self._file.seek(found.number * _RECORD.size)
                self._file.write(_RECORD.pack(True, found.kind == "changed", found.digest))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def selected(self, items: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the items to write, each with the digest of the table's item; None if the table has none.

        Arguments:
            items: of the backup, in the order in which they were compared.
        """
        self._file.seek(0)
        for item in items:
            record = self._file.read(_RECORD.size).ljust(_RECORD.size, b"\0")
            is_written, is_there, digest = _RECORD.unpack(record)
            if is_written:
                yield item, digest if is_there else None


def writes(mode: Mode, outcome: Outcome) -> int:
    """Return the number of items that a restore with this mode writes."""
    if mode == "all":
        return outcome.first
    return outcome.removed if mode == "missing" else outcome.removed + outcome.changed
