"""Selects some items of a backup by their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from rollbook.engine import fingerprints


class NotSelectable(ValueError):
    """A key that was named is not a key of this table, or the backup does not have it."""


@dataclass(frozen=True)
class Selection:
    """The items that a restore concerns; without any key, all of them.

    Arguments:
        items: only these.
        excluded: not these.

    A key is the value of the partition key, which names all items of that partition, or the whole primary key as
    DynamoDB JSON.
    """

    items: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.items or self.excluded)

    @property
    def id(self) -> str:
        """Return a text that is different for different selections, and empty if all items are selected."""
        named = msgspec.json.encode([sorted(self.items), sorted(self.excluded)])
        return f"#{hashlib.sha256(named).hexdigest()[:16]}" if self else ""


class Selector:
    """Applies a selection to the items of one table.

    Arguments:
        names, types: the key attributes and their types (S, N or B), the partition key first.

    Raises:
        NotSelectable: a key that was named does not fit the table.
    """

    def __init__(self, selection: Selection, names: Sequence[str], types: Sequence[str]) -> None:
        self._names = names
        self._types = types
        self._items = {self._key(text): text for text in selection.items}
        self._excluded = {self._key(text) for text in selection.excluded}
        self._found: set[bytes] = set()

    def select(self, items: Iterable[bytes], key_of: Callable[[bytes], bytes]) -> Iterator[bytes]:
        """Yield the selected items.

        Arguments:
            key_of: returns an item's primary key in the canonical form.
        """
        if not (self._items or self._excluded):
            yield from items
            return
        for item in items:
            named = self._forms(key_of(item))
            if named & self._excluded or (self._items and not named & self._items.keys()):
                continue
            self._found |= named & self._items.keys()
            yield item

    def check_found(self) -> None:
        """Check that each item that was named has been found.

        Raises:
            NotSelectable: some have not.
        """
        lost = [text for key, text in self._items.items() if key not in self._found and key not in self._excluded]
        if lost:
            raise NotSelectable(f"the backup has no item {', '.join(lost)}; nothing was changed")

    def _forms(self, key: bytes) -> set[bytes]:
        """Return the forms in which a key may have been named: the whole key and the partition key."""
        if len(self._names) == 1:
            return {key}
        partition = {self._names[0]: msgspec.json.decode(key)[self._names[0]]}
        return {key, fingerprints.canonical(msgspec.json.encode(partition))}

    def _key(self, text: str) -> bytes:
        if text.startswith("{"):
            try:
                key = fingerprints.fingerprint_of(self._names)(text.encode()).key
            except ValueError as error:
                raise NotSelectable(f"{text} is not a primary key of the table: {error}") from None
            named = msgspec.json.decode(key)
            for name, kind in zip(self._names, self._types, strict=True):
                if set(named[name]) != {kind}:
                    raise NotSelectable(f"{text} is not a primary key of the table: the type of {name} is {kind}")
            return key
        try:
            return fingerprints.canonical(msgspec.json.encode({self._names[0]: {self._types[0]: text}}))
        except (ValueError, ArithmeticError) as error:
            raise NotSelectable(f"{text} is not a value of the key {self._names[0]}: {error}") from None
