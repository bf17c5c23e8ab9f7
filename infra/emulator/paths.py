"""Paths of the embedded AWS that AWS does not have: what a test sets or looks at. JSON in, JSON out.

They need no credentials, as the process listens on the loopback interface only.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

PREFIX = "/_rollbook/"
_answers: dict[str, Callable[[dict[str, Any]], Any]] = {}


def add(name: str, answer: Callable[[dict[str, Any]], Any]) -> None:
    """Answer a POST to `/_rollbook/<name>`.

    Arguments:
        name: the last part of the path.
        answer: takes the request's body and returns the answer's; a ValueError's text is answered with 400.
    """
    _answers[f"{PREFIX}{name}"] = answer


async def serve(path: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer a request to one of the paths."""
    body = b""
    while (part := await receive()).get("more_body"):
        body += part["body"]
    body += part.get("body", b"")
    status, answer = 404, {"message": f"there is no {path}"}
    if path in _answers:
        try:
            status, answer = 200, _answers[path](json.loads(body or b"{}"))
        except ValueError as error:
            status, answer = 400, {"message": str(error)}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
