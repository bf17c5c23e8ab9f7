"""Paths of the embedded AWS that AWS does not have: what a test sets or looks at. JSON in, JSON out.

They need no credentials, as the process listens on the loopback interface only.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

_PREFIX = "/_rollbook/"
_answers: dict[str, Callable[[dict[str, Any]], Any]] = {}


def add(name: str, answer: Callable[[dict[str, Any]], Any]) -> None:
    """Answer a POST to `/_rollbook/<name>`.

    Arguments:
        name: the last part of the path.
        answer: takes the request's body and returns the answer's; a KeyError or a ValueError is answered with 400.
    """
    _answers[f"{_PREFIX}{name}"] = answer


def has(path: str) -> bool:
    """Return whether somebody answers a path."""
    return path in _answers


async def serve(path: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer a request to one of the paths."""
    body = b""
    while (part := await receive()).get("more_body"):
        body += part["body"]
    body += part.get("body", b"")
    try:
        status, answer = 200, _answers[path](json.loads(body or b"{}"))
    except (KeyError, ValueError) as error:
        status, answer = 400, {"message": f"{type(error).__name__}: {error}"}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
