"""Computes the canonical form, the digest and the key of an item. Equal items have equal ones.

Items are equal regardless of the order of attributes and of a set's members, and of how numbers and characters are
written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

DIGEST_BYTES = 16


class _Value(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An attribute value. Exactly one field is set. DynamoDB sets are Python sets, whose members are encoded sorted."""

    S: str | UnsetType = UNSET
    N: str | UnsetType = UNSET
    B: str | UnsetType = UNSET
    BOOL: bool | UnsetType = UNSET
    NULL: bool | UnsetType = UNSET
    L: list[_Value] | UnsetType = UNSET
    M: dict[str, _Value] | UnsetType = UNSET
    SS: set[str] | UnsetType = UNSET
    NS: set[str] | UnsetType = UNSET
    BS: set[str] | UnsetType = UNSET


_decode = msgspec.json.Decoder(dict[str, _Value]).decode
_encode = msgspec.json.Encoder(order="sorted").encode
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?"
# A number in another notation: with an exponent, a plus sign or redundant zeros. A quote within a text is escaped, so
# these bytes occur only at a number.
_ODD_NUMBER = re.compile(rb'"N":"(?!(?!-0")%s")' % _NUMBER)
_NUMBER_SET = re.compile(rb'"NS":\[([^\]]*)\]')
_NUMBERS = re.compile(rb'(?:"(?!-0")%s"(?:,|$))*' % _NUMBER)
_LONGEST_NUMBER = 200


class Fingerprint(NamedTuple):
    """An item's primary key in the canonical form, and the item's digest."""

    key: bytes
    digest: bytes


def canonical(item: bytes) -> bytes:
    """Return the canonical form, which is the same for all notations of an item.

    Arguments:
        item: DynamoDB JSON.

    Raises:
        ValueError: it is not an item.
    """
    return _canonical(_decoded(item))


def digest(item: bytes) -> bytes:
    """Return the item's digest: 16 bytes, computed of the canonical form."""
    return _digest(_decoded(item))


def fingerprint_of(names: Sequence[str]) -> Callable[[bytes], Fingerprint]:
    """Return a function that computes an item's fingerprint, and raises ValueError if the item is invalid.

    Arguments:
        names: the key attributes.
    """

    def fingerprint(item: bytes) -> Fingerprint:
        attributes = _decoded(item)
        try:
            key = _canonical({name: attributes[name] for name in names})
        except KeyError:
            raise ValueError(f"the key attributes {', '.join(names)} are missing. It begins {item[:60]!r}") from None
        return Fingerprint(key, _digest(attributes))

    return fingerprint


def _decoded(item: bytes) -> dict[str, _Value]:
    try:
        return _decode(item)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is not an item: {error}. It begins {item[:60]!r}") from None


def _canonical(attributes: dict[str, _Value]) -> bytes:
    encoded = _encode(attributes)
    is_odd = _ODD_NUMBER.search(encoded) or (
        b'"NS":' in encoded and any(not _NUMBERS.fullmatch(members[1]) for members in _NUMBER_SET.finditer(encoded))
    )
    return _encode(_plain(msgspec.json.decode(encoded))) if is_odd else encoded


def _digest(attributes: dict[str, _Value]) -> bytes:
    return hashlib.blake2b(_canonical(attributes), digest_size=DIGEST_BYTES).digest()


def _plain(value: Any) -> Any:
    """Return decoded attribute values with every number in plain notation."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(kind, inner)] = value.items()
        if kind == "N" and isinstance(inner, str):
            return {"N": _number(inner)}
        if kind == "NS" and isinstance(inner, list):
            return {"NS": sorted(_number(member) for member in inner)}
    return {name: _plain(inner) for name, inner in value.items()}


def _number(text: str) -> str:
    number = Decimal(text)
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        raise ValueError(f"{text!r} is not a DynamoDB number")
    plain = f"{number:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if number.is_zero() else plain
