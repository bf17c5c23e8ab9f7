"""HTTP paths that AWS does not have, with which tests control and inspect the embedded AWS. Bodies are JSON.

They need no credentials, because the process listens only on the loopback interface.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

_PREFIX = "/_rollbook/"
_answers: dict[str, Callable[[dict[str, Any]], Any]] = {}


def add(name: str, answer: Callable[[dict[str, Any]], Any]) -> None:
    """Register a function that serves POST requests to `/_rollbook/<name>`.

    Arguments:
        name: the last part of the path.
        answer: maps the request's body to the response's body. A KeyError or a ValueError becomes status 400.
    """
    _answers[f"{_PREFIX}{name}"] = answer


def has(path: str) -> bool:
    """Return whether a path is registered."""
    return path in _answers


async def serve(path: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Serve a request to a registered path."""
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
