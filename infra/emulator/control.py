"""The paths by which a test steers the embedded AWS: `POST /_rollbook/<name>` with a JSON object, on its own port.

The process listens on the loopback interface alone. AWS has no such paths, and nothing of the stack knows of them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ministack import app

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
_PREFIX = "/_rollbook/"
_functions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def add(name: str, function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Serve a function, which is given the request's object and returns the answer's."""
    _functions[name] = function


def install() -> None:
    """Serve the paths before what is served by now."""
    serve = app.app

    async def serve_control(scope: Scope, receive: Receive, send: Send) -> None:
        function = _functions.get(str(scope.get("path", "")).removeprefix(_PREFIX))
        if scope["type"] != "http" or function is None:
            await serve(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        try:
            status, answer = 200, function(json.loads(body or b"{}"))
        except (KeyError, ValueError) as error:
            status, answer = 400, {"message": f"{type(error).__name__}: {error}"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    app.app = serve_control
