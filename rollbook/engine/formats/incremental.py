"""Reads the lines of an incremental export. A line has a key, its old item and its new item.

    {"Metadata":{…},"Keys":{"studentid":{"S":"SV001"}},"OldImage":{…},"NewImage":{…}}

Each key has one line, regardless of the number of its changes. A line without a new image means that the item was
deleted. Source: DynamoDB Developer Guide, "DynamoDB table export output format".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rollbook.engine import fingerprints
from rollbook.engine.dynamodb import raw

# The digest that represents a deleted item.
GONE = bytes(fingerprints.DIGEST_BYTES)


class Change(msgspec.Struct):
    """A line of an incremental export."""

    keys: msgspec.Raw = msgspec.field(name="Keys")
    # Empty if the item was deleted.
    new: msgspec.Raw = msgspec.field(name="NewImage", default=msgspec.Raw())

    @property
    def request(self) -> bytes:
        """Return the request that applies the change."""
        return raw.put(bytes(self.new)) if bytes(self.new) else raw.delete(bytes(self.keys))


_decode = msgspec.json.Decoder(Change).decode


def read(line: bytes) -> Change:
    """Parse a line.

    Raises:
        ValueError: it is not a line of an incremental export.
    """
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is not a line of an incremental export: {error}") from None


def fingerprint_of(names: Sequence[str]) -> Callable[[bytes], fingerprints.Fingerprint]:
    """Return a function that computes the fingerprint of a line's new item. A deleted item has the digest `GONE`.

    Arguments:
        names: the key attributes.
    """
    item_fingerprint = fingerprints.fingerprint_of(names)

    def fingerprint(line: bytes) -> fingerprints.Fingerprint:
        change = read(line)
        if not bytes(change.new):
            return fingerprints.Fingerprint(item_fingerprint(bytes(change.keys)).key, GONE)
        return item_fingerprint(bytes(change.new))

    return fingerprint
