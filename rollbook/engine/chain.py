"""Finds and reads a chain: a full export and the incremental exports that continue it.

Each description names its base and its predecessor. A chain is whole if every link can be opened, is of the same table,
begins no later than its predecessor ends, and does not end before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from datetime import datetime

from botocore.exceptions import ClientError

from rollbook.engine import fingerprints
from rollbook.engine.dynamodb import definitions
from rollbook.engine.formats import incremental
from rollbook.engine.formats.description import Description
from rollbook.engine.formats.lines import Corrupted, Verified
from rollbook.engine.stored import StoredBackup
from rollbook.engine.stored_export import StoredExport

Opener = Callable[[str], StoredBackup]
_ABSENT = {"404", "NoSuchKey"}


class ChainBroken(Corrupted):
    """A link of a chain is missing or does not continue its predecessor. The message names it."""


def newest_of(table_name: str) -> str:
    """Return the id of the history row of a table's newest export, which the next increment continues."""
    return f"chain#{table_name}"


def find(open_backup: Opener, key: str) -> list[StoredBackup]:
    """Return the links of a backup's chain, the base first. A full backup is its own chain.

    Opening a link reads its description and its manifest. The data files are not read.

    Arguments:
        open_backup: opens a backup by its key, such as `Resources.open_backup`.

    Raises:
        ChainBroken: a link is missing, is of another table, or does not continue its predecessor.
        Corrupted: a description or a manifest is damaged.
    """
    links = [_open(open_backup, key, key)]
    seen = {key}
    while links[0].change_of:
        link = links[0]
        described = _description_of(link)
        if described is None or not described.predecessor_key:
            raise ChainBroken(
                f"{link.key} has only changes and does not name the export that it continues; restore that export, and "
                "then this one with --into"
            )
        if described.predecessor_key in seen:
            raise ChainBroken(f"the chain of {key} names {described.predecessor_key} twice")
        seen.add(described.predecessor_key)
        before = _open(open_backup, described.predecessor_key, key)
        _check(described, link, before)
        links.insert(0, before)
    return links


def open_chain(open_backup: Opener, key: str) -> StoredBackup:
    """Open a backup of any kind with everything that is needed to restore it.

    Returns:
        The backup if it is full; for an incremental export, the state at its end.

    Raises:
        ChainBroken, Corrupted: see `find`.
        botocore.exceptions.ClientError: the backup does not exist, or access is denied.
    """
    backup = open_backup(key)
    return backup if backup.change_of is None else ChainState(find(open_backup, key))


def as_of(backup: StoredBackup) -> datetime | None:
    """Return the moment of the newest data in a backup: the end of an export, or the beginning of a scan."""
    if isinstance(backup, ChainState):
        return as_of(backup.links[-1])
    if isinstance(backup, StoredExport):
        text = backup.summary.export_to_time if backup.change_of else backup.summary.export_time
        return datetime.fromisoformat(text) if text else backup.started_at
    return backup.started_at


class ChainState:
    """The state of a table at the end of a chain, which can be read like a full backup.

    It needs about 150 bytes of memory for each key that the increments contain.

    Arguments:
        links: the base first.
    """

    def __init__(self, links: list[StoredBackup]) -> None:
        self.links = links
        last = links[-1]
        self.key = last.key
        self.table = last.table
        self.started_at = last.started_at
        self.execution = last.execution
        self.recorded = last.recorded if all(link.recorded for link in links) else None
        self.change_of: tuple[str, str] | None = None
        self.manifest: str | None = None
        self._newest: dict[bytes, int] | None = None

    def items(self) -> Generator[bytes, None, Verified]:
        """Yield each item in its last state after checking it.

        Raises:
            Corrupted: a link is damaged.
        """
        newest = self._newest_changes()
        names = definitions.key_names(self.table or {"keySchema": []})
        key_of = fingerprints.fingerprint_of(names)
        count = size = 0
        for item in self.links[0].items():
            if _short(key_of(item).key) not in newest:
                count, size = count + 1, size + len(item)
                yield item
        for number, link in enumerate(self.links[1:], start=1):
            for line in link.items():
                change = incremental.read(line)
                item = bytes(change.new)
                if item and newest[_short(fingerprints.canonical(bytes(change.keys)))] == number:
                    count, size = count + 1, size + len(item)
                    yield item
        return Verified(count, size, "")

    def stored_bytes(self) -> int:
        """Return the size of all links in S3, in bytes."""
        return sum(link.stored_bytes() for link in self.links)

    def crc32(self) -> str | None:
        """Return None: a chain is several objects."""
        return None

    def _newest_changes(self) -> dict[bytes, int]:
        """Return the number of the last link that contains a key, for each changed key."""
        if self._newest is None:
            newest: dict[bytes, int] = {}
            for number, link in enumerate(self.links[1:], start=1):
                for line in link.items():
                    newest[_short(fingerprints.canonical(bytes(incremental.read(line).keys)))] = number
            self._newest = newest
        return self._newest


def _short(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=fingerprints.DIGEST_BYTES).digest()


def _open(open_backup: Opener, key: str, of: str) -> StoredBackup:
    try:
        return open_backup(key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        raise ChainBroken(f"the chain of {of} is broken: {key} is missing") from None


def _description_of(backup: StoredBackup) -> Description | None:
    return backup.description if isinstance(backup, StoredExport) else None


def _check(described: Description, link: StoredBackup, before: StoredBackup) -> None:
    """Raise ChainBroken if a link does not continue the export before it."""
    end, begin = as_of(before), (link.change_of or ("", ""))[0]
    if end is None or not begin or datetime.fromisoformat(begin) > end:
        raise ChainBroken(f"{link.key} begins at {begin}, but {before.key}, which it continues, ends at {end}")
    if link.change_of and datetime.fromisoformat(link.change_of[1]) < end:
        raise ChainBroken(f"{link.key} ends at {link.change_of[1]}, but {before.key}, which it continues, ends later")
    other = _description_of(before)
    if other is None or other.table_id != described.table_id:
        raise ChainBroken(f"{link.key} and {before.key}, which it continues, are of different tables")
