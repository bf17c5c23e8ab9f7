"""Compares two sets of items of any size by key and digest, on disk, in bounded memory.

Each item becomes a record (its key, its digest, its number) in one of 64 files chosen by a hash of the key. Two files
of the same number are compared in memory; files that are too large for that are split again.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from handlers.backups import item as items

_FILES = 64
# A record takes about five times its bytes once it is in a dictionary.
_LARGEST_FILE = 4 * 1024 * 1024
_DEEPEST = 4
_RECORD = struct.Struct(f"<H{items.DIGEST_BYTES}sQ")


@dataclass(frozen=True)
class Difference:
    """A key by which the two differ.

    Arguments:
        kind: `added` (only in the second), `removed` (only in the first) or `changed`.
        key: the primary key as DynamoDB JSON.
        number: the item's place in the first, from 0; -1 if it is not there.
    """

    kind: str
    key: str
    number: int


@dataclass(frozen=True)
class Outcome:
    """How many items each has, and by how many they differ."""

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
    """A set of items has a key twice, which no table can."""


class Comparison:
    """A comparison; a context manager, as it keeps its files until it is left.

    Arguments:
        key_names: the key attributes, the partition key first.
        folder: where to put a temporary folder; the system's own place by default.
    """

    def __init__(self, key_names: Sequence[str], folder: Path | None = None) -> None:
        self._key = items.key_of(key_names)
        self._temporary = tempfile.TemporaryDirectory(prefix="rollbook-", dir=folder)
        self._folder = Path(self._temporary.name)
        self._differences = self._folder / "differences"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def run(self, first: Iterable[bytes], second: Iterable[bytes]) -> Outcome:
        """Read both to their ends and compare them.

        Raises:
            Duplicate: one has a key twice.
            ValueError: an item cannot be read or has no key.
        """
        counts = [
            self._split(self._records(side), self._folder / name, 0)
            for name, side in (("first", first), ("second", second))
        ]
        found = dict.fromkeys(("added", "removed", "changed"), 0)
        with self._differences.open("wb") as file:
            for difference in self._compare(self._folder / "first", self._folder / "second", 0):
                found[difference.kind] += 1
                head = f"{difference.kind} {difference.number} "
                file.write(head.encode() + difference.key.encode() + b"\n")
        return Outcome(*counts, **found)

    def differences(self) -> Iterator[Difference]:
        """Yield the differences that `run` found, in no order."""
        with self._differences.open("rb") as file:
            for line in file:
                kind, number, key = line.decode().rstrip("\n").split(" ", 2)
                yield Difference(kind, key, int(number))

    def _records(self, side: Iterable[bytes]) -> Iterator[bytes]:
        for number, item in enumerate(side):
            key = self._key(item)
            yield _RECORD.pack(len(key), items.digest(item), number) + key

    def _split(self, records: Iterable[bytes], folder: Path, depth: int) -> int:
        folder.mkdir()
        count = 0
        salt = depth.to_bytes(1, "little")
        with ExitStack() as stack:
            files = [stack.enter_context((folder / str(number)).open("wb")) for number in range(_FILES)]
            for record in records:
                hashed = hashlib.blake2b(record[_RECORD.size :], digest_size=1, salt=salt).digest()[0]
                files[hashed % _FILES].write(record)
                count += 1
        return count

    def _compare(self, first: Path, second: Path, depth: int) -> Iterator[Difference]:
        for number in range(_FILES):
            pair = (first / str(number), second / str(number))
            if max(path.stat().st_size for path in pair) > _LARGEST_FILE and depth < _DEEPEST:
                halves = [path.with_name(f"{number}-split") for path in pair]
                for path, half in zip(pair, halves, strict=True):
                    with path.open("rb") as file:
                        self._split(_read(file), half, depth + 1)
                    path.unlink()
                yield from self._compare(halves[0], halves[1], depth + 1)
            else:
                yield from _compare_in_memory(*pair)


def _compare_in_memory(first: Path, second: Path) -> Iterator[Difference]:
    left = _load(first)
    seen: set[bytes] = set()
    with second.open("rb") as file:
        for record in _read(file):
            _, digest, _ = _RECORD.unpack_from(record)
            key = record[_RECORD.size :]
            if key in seen:
                raise Duplicate(f"the key {key.decode()} stands twice in the second")
            seen.add(key)
            if key not in left:
                yield Difference("added", key.decode(), -1)
                continue
            known, number = left.pop(key)
            if known != digest:
                yield Difference("changed", key.decode(), number)
    for key, (_, number) in left.items():
        yield Difference("removed", key.decode(), number)


def _load(path: Path) -> dict[bytes, tuple[bytes, int]]:
    loaded: dict[bytes, tuple[bytes, int]] = {}
    with path.open("rb") as file:
        for record in _read(file):
            _, digest, number = _RECORD.unpack_from(record)
            key = record[_RECORD.size :]
            if key in loaded:
                raise Duplicate(f"the key {key.decode()} stands twice in the first")
            loaded[key] = (digest, number)
    return loaded


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while head := file.read(_RECORD.size):
        yield head + file.read(_RECORD.unpack(head)[0])
