"""The lines of an incremental export: what a key's item was and what it is, or that it is gone.

    {"Metadata":{…},"Keys":{"studentid":{"S":"SV001"}},"OldImage":{…},"NewImage":{…}}

Each key has one line, whatever happened to it meanwhile; without a new image there is no item of it now. Source:
DynamoDB Developer Guide, "DynamoDB table export output format".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rollbook.engine import fingerprints
from rollbook.engine.dynamodb import raw

# Stands for the digest of an item that must not be there.
GONE = bytes(fingerprints.DIGEST_BYTES)


class Change(msgspec.Struct):
    """A line."""

    keys: msgspec.Raw = msgspec.field(name="Keys")
    # Empty if there is none.
    new: msgspec.Raw = msgspec.field(name="NewImage", default=msgspec.Raw())

    @property
    def request(self) -> bytes:
        """Return the write that makes the change."""
        return raw.put(bytes(self.new)) if bytes(self.new) else raw.delete(bytes(self.keys))


_decode = msgspec.json.Decoder(Change).decode


def read(line: bytes) -> Change:
    """Read a line.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no change: {error}") from None


def fingerprint_of(names: Sequence[str]) -> Callable[[bytes], fingerprints.Fingerprint]:
    """Return a function that gives the fingerprint of the item that a change leaves, with `GONE` if it leaves none.

    Arguments:
        names: the key attributes.
    """
    whole = fingerprints.fingerprint_of(names)

    def fingerprint(line: bytes) -> fingerprints.Fingerprint:
        change = read(line)
        if not bytes(change.new):
            return fingerprints.Fingerprint(whole(bytes(change.keys)).key, GONE)
        return whole(bytes(change.new))

    return fingerprint
