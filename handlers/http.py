"""Reads requests and builds responses of the API's proxy integration."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

Event = Mapping[str, Any]
# Three times DynamoDB's limit (32 levels; DynamoDB Developer Guide, "Quotas"), and far below the limit of Python's
# parser, which differs between versions.
_MAX_NESTING = 96
# Strings are matched in order to skip them. A string without an end extends to the end of the text.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[{\]}]', re.DOTALL)
_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class Refusal(Exception):
    """The request is refused with an HTTP status.

    Arguments:
        status: 400, 403, 404, 409, 413 or 429.
        message: a sentence for the caller.
        errors: faults by field.
    """

    def __init__(self, status: int, message: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors


def answer(status: int, body: Mapping[str, Any], *, origin: str) -> dict[str, Any]:
    """Return a proxy response that scripts of one origin may read and that caches do not store."""
    return {
        "statusCode": status,
        "headers": {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "Access-Control-Allow-Origin": origin,
            "Vary": "Origin",
        },
        "body": _encoder.encode(body).decode(),
    }


def refuse(refusal: Refusal, *, origin: str) -> dict[str, Any]:
    """Return the response for a refusal."""
    errors = {"errors": refusal.errors} if refusal.errors else {}
    return answer(refusal.status, {"message": refusal.message, **errors}, origin=origin)


def parameter(event: Event, name: str) -> str | None:
    """Return a query parameter, or None."""
    value = (event.get("queryStringParameters") or {}).get(name)
    return None if value is None else str(value)


def nesting(raw: bytes) -> int:
    """Return the maximum depth of nested objects and arrays."""
    depth = deepest = 0
    for found in _BRACKETS.finditer(raw):
        bracket = found[0]
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in b"]}":
            depth -= 1
    return deepest


def json_body(event: Event, *, max_bytes: int) -> Any:
    """Return the decoded JSON body. Numbers with a fraction are `Decimal`, so no digit is lost.

    Raises:
        Refusal: the content type is wrong, or the body is empty, too large or not JSON.
    """
    content_type = next(
        (value for name, value in (event.get("headers") or {}).items() if name.lower() == "content-type"), ""
    )
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(400, f"The content type is {content_type or 'missing'}; send application/json.")
    body = event.get("body") or ""
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    if not raw.strip():
        raise Refusal(400, "The body is empty; send a JSON object.")
    if len(raw) > max_bytes:
        raise Refusal(413, f"The body has {len(raw):,} bytes; the limit is {max_bytes:,}.")
    if nesting(raw) > _MAX_NESTING:
        raise Refusal(400, f"The body is nested too deeply; the limit is {_MAX_NESTING} levels.")
    try:
        # Decoded here because json.loads would accept bytes in UTF-16 and UTF-32, whose brackets `nesting` cannot find.
        text = raw.decode("utf-8-sig")
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise Refusal(400, f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except UnicodeDecodeError as error:
        raise Refusal(400, f"The body is not UTF-8: byte {error.start} is invalid.") from None
    except ArithmeticError:
        raise Refusal(400, "The body contains a number whose exponent is too large.") from None
    except ValueError as error:
        raise Refusal(400, f"The body is not JSON: {error}.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object contains the name {twice!r} twice")
    return document
