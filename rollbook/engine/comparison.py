"""Compares two sets of items of any size by key and digest. It uses the disk and bounded memory.

Each fingerprint becomes a record (key, digest, number) in one of 64 files. A hash of the key chooses the file. Two
files with the same number are compared in memory. A file that is too large for that is split again.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rollbook.engine.fingerprints import DIGEST_BYTES, Fingerprint
from rollbook.engine.formats import incremental

_FILES = 64
# In a dictionary, a record takes about five times its size in bytes.
_LARGEST_FILE = 4 * 1024 * 1024
_DEEPEST = 4
_HEAD = struct.Struct(f"<H{DIGEST_BYTES}sQ")


@dataclass(frozen=True)
class Difference:
    """A key whose items differ.

    Arguments:
        kind: `added` (only in the second), `removed` (only in the first) or `changed`.
        key: the primary key as DynamoDB JSON.
        number: the item's place in the first, from 0; -1 if it is not there.
        digest: of the item in the second; empty if it is not there.
    """

    kind: str
    key: str
    number: int
    digest: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """The number of items on each side, and the number of differences."""

    first: int
    second: int
    added: int
    removed: int
    changed: int

    @property
    def is_equal(self) -> bool:
        """Return whether there is no difference."""
        return not (self.added or self.removed or self.changed)


class Duplicate(ValueError):
    """A set of items contains a key twice, which is impossible in a table."""


class Comparison:
    """Compares one set of items with others. It is a context manager: its files are deleted at the end.

    Arguments:
        folder: the parent of the temporary folder; the system's default if None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="rollbook-", dir=folder)
        self._folder = Path(self._temporary.name)
        self._differences = self._folder / "differences"
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def read(self, first: Iterable[Fingerprint]) -> int:
        """Read the first set, with which the others are compared. Return the number of its items."""
        self._count = _split(_records(first), self._folder / "first", 0)
        return self._count

    def compare(self, second: Iterable[Fingerprint]) -> Outcome:
        """Compare the first set with another. This may be called repeatedly.

        Raises:
            Duplicate: one of them contains a key twice.
        """
        other = self._folder / "second"
        shutil.rmtree(other, ignore_errors=True)
        count = _split(_records(second), other, 0)
        found = dict.fromkeys(("added", "removed", "changed"), 0)
        with self._differences.open("wb") as file:
            for difference in _compare(self._folder / "first", other, 0):
                found[difference.kind] += 1
                head = f"{difference.kind} {difference.number} {difference.digest.hex()} "
                file.write(head.encode() + difference.key.encode() + b"\n")
        return Outcome(self._count, count, **found)

    def differences(self) -> Iterator[Difference]:
        """Yield the differences of the last `compare`, in no particular order."""
        with self._differences.open("rb") as file:
            for line in file:
                kind, number, digest, key = line.decode().rstrip("\n").split(" ", 3)
                yield Difference(kind, key, int(number), bytes.fromhex(digest))

    def check_unique(self) -> None:
        """Check that the first set has each key once.

        Raises:
            Duplicate: it contains a key twice.
        """
        _check_unique(self._folder / "first", 0)


def _records(side: Iterable[Fingerprint]) -> Iterator[tuple[bytes, bytes]]:
    pack = _HEAD.pack
    for number, (key, digest) in enumerate(side):
        yield key, pack(len(key), digest, number) + key


def _split(records: Iterable[tuple[bytes, bytes]], folder: Path, depth: int) -> int:
    folder.mkdir()
    count = 0
    # Each depth has its own hash. With the same hash, all records of a file would go into one file again.
    salt = depth.to_bytes(1, "little")
    with ExitStack() as stack:
        files = [stack.enter_context((folder / str(number)).open("wb")).write for number in range(_FILES)]
        for key, record in records:
            count += 1
            files[hashlib.blake2b(key, digest_size=1, salt=salt).digest()[0] % _FILES](record)
    return count


def _compare(first: Path, second: Path, depth: int) -> Iterator[Difference]:
    for number in range(_FILES):
        pair = (first / str(number), second / str(number))
        halves = [path.with_name(f"{number}-split") for path in pair]
        # The first may have been split by a comparison before this one.
        if halves[0].exists() or (depth < _DEEPEST and max(path.stat().st_size for path in pair) > _LARGEST_FILE):
            for path, half in zip(pair, halves, strict=True):
                if not half.exists():
                    _halve(path, half, depth)
            yield from _compare(halves[0], halves[1], depth + 1)
        else:
            yield from _compare_in_memory(*pair)


def _check_unique(folder: Path, depth: int) -> None:
    for number in range(_FILES):
        path = folder / str(number)
        half = path.with_name(f"{number}-split")
        if not half.exists():
            if depth == _DEEPEST or path.stat().st_size <= _LARGEST_FILE:
                _load(path)
                continue
            _halve(path, half, depth)
        _check_unique(half, depth + 1)


def _halve(path: Path, half: Path, depth: int) -> None:
    with path.open("rb") as file:
        _split(((record[_HEAD.size :], record) for record in _read(file)), half, depth + 1)
    path.unlink()


def _compare_in_memory(first: Path, second: Path) -> Iterator[Difference]:
    left = _load(first)
    seen: set[bytes] = set()
    with second.open("rb") as file:
        for record in _read(file):
            _, digest, _ = _HEAD.unpack_from(record)
            key = record[_HEAD.size :]
            if key in seen:
                raise Duplicate(f"the other side contains the key {key.decode()} twice")
            seen.add(key)
            if key not in left:
                yield Difference("added", key.decode(), -1, digest)
                continue
            known, number = left.pop(key)
            if known != digest:
                yield Difference("changed", key.decode(), number, digest)
    for key, (digest, number) in left.items():
        if digest != incremental.GONE:
            yield Difference("removed", key.decode(), number)


def _load(path: Path) -> dict[bytes, tuple[bytes, int]]:
    loaded: dict[bytes, tuple[bytes, int]] = {}
    with path.open("rb") as file:
        for record in _read(file):
            _, digest, number = _HEAD.unpack_from(record)
            key = record[_HEAD.size :]
            if key in loaded:
                raise Duplicate(f"it contains the key {key.decode()} twice")
            loaded[key] = (digest, number)
    return loaded


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while head := file.read(_HEAD.size):
        yield head + file.read(_HEAD.unpack(head)[0])
