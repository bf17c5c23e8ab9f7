"""What two items have in common if they are the same: a canonical form, a digest, a key.

Neither the order of attributes and of a set's members, nor the way a number or a character is written, is part of an
item.
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
    """An attribute value; exactly one field is set. Lists of sets' members become sets, so they are sorted."""

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
# A number that is written otherwise: with an exponent, a plus, or zeros that say nothing. A quote within a text is
# escaped, so these bytes are nowhere but where a number is.
_ODD_NUMBER = re.compile(rb'"N":"(?!(?!-0")%s")' % _NUMBER)
_NUMBER_SET = re.compile(rb'"NS":\[([^\]]*)\]')
_NUMBERS = re.compile(rb'(?:"(?!-0")%s"(?:,|$))*' % _NUMBER)
_LONGEST_NUMBER = 200


class Fingerprint(NamedTuple):
    """What of an item is compared: its primary key, in the canonical form, and its digest."""

    key: bytes
    digest: bytes


def canonical(item: bytes) -> bytes:
    """Return the form that is the same for all ways of writing an item.

    Arguments:
        item: DynamoDB JSON.

    Raises:
        ValueError: it is no item.
    """
    return _canonical(_decoded(item))


def digest(item: bytes) -> bytes:
    """Return 16 bytes that are the same for all ways of writing an item, and for no other item."""
    return _digest(_decoded(item))


def fingerprint_of(names: Sequence[str]) -> Callable[[bytes], Fingerprint]:
    """Return a function that gives an item's fingerprint, and raises ValueError if it has none.

    Arguments:
        names: the key attributes.
    """

    def fingerprint(item: bytes) -> Fingerprint:
        attributes = _decoded(item)
        try:
            key = _canonical({name: attributes[name] for name in names})
        except KeyError:
            raise ValueError(f"it has no key of {', '.join(names)}. It begins {item[:60]!r}") from None
        return Fingerprint(key, _digest(attributes))

    return fingerprint


def _decoded(item: bytes) -> dict[str, _Value]:
    try:
        return _decode(item)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no item: {error}. It begins {item[:60]!r}") from None


def _canonical(attributes: dict[str, _Value]) -> bytes:
    encoded = _encode(attributes)
    is_odd = _ODD_NUMBER.search(encoded) or (
        b'"NS":' in encoded and any(not _NUMBERS.fullmatch(members[1]) for members in _NUMBER_SET.finditer(encoded))
    )
    return _encode(_plain(msgspec.json.decode(encoded))) if is_odd else encoded


def _digest(attributes: dict[str, _Value]) -> bytes:
    return hashlib.blake2b(_canonical(attributes), digest_size=DIGEST_BYTES).digest()


def _plain(value: Any) -> Any:
    """Return decoded attribute values with every number written plainly."""
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
        raise ValueError(f"{text!r} is no number of DynamoDB")
    plain = f"{number:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if number.is_zero() else plain
