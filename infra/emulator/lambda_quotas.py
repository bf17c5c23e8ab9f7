"""Lambda's size limits of events, responses and variables (Lambda Developer Guide, "Lambda quotas"; API, Invoke)."""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from infra.emulator.replacing import Original

# The limit of 6 MB, with the number that Lambda's error message has.
MOST_SYNCHRONOUS_BYTES = 6_291_556
_MOST_ASYNCHRONOUS_BYTES = 1024 * 1024
_MOST_VARIABLES_BYTES = 4096
_create_function = Original(lambda_svc, "_create_function")
_invoke = Original(lambda_svc, "_invoke")
_update_config = Original(lambda_svc, "_update_config")


def install() -> None:
    """Add the quotas to MiniStack's Lambda."""
    _create_function.replace(create_function)
    _invoke.replace(invoke)
    _update_config.replace(update_config)


def size(value: Any) -> int:
    """Return the size of a value as JSON, in bytes."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def create_function(data: dict[str, Any]) -> Any:
    """Create a function, if its variables are not too large."""
    return _variables_refused(data) or _create_function(data)


def update_config(name: str, data: dict[str, Any]) -> Any:
    """Change a function's configuration, if its variables are not too large."""
    return _variables_refused(data) or _update_config(name, data)


def _variables_refused(data: dict[str, Any]) -> Any:
    variables = (data.get("Environment") or {}).get("Variables") or {}
    if size(variables) <= _MOST_VARIABLES_BYTES:
        return None
    text = (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        "exceeded the 4KB limit."
    )
    return error_response_json("InvalidParameterValueException", text, 400)


async def invoke(name: str, event: Any, headers: dict[str, str], *details: Any, **named: Any) -> Any:
    """Invoke a function, if the event is not too large. A response that is too large is an error of the function."""
    asynchronous = headers.get("x-amz-invocation-type") == "Event"
    most = _MOST_ASYNCHRONOUS_BYTES if asynchronous else MOST_SYNCHRONOUS_BYTES
    if size(event) > most:
        text = f"{size(event)} byte payload is too large for the invocation type (limit {most} bytes)"
        return error_response_json("RequestTooLargeException", text, 413)
    status, answer_headers, body = await _invoke(name, event, headers, *details, **named)
    if asynchronous or not isinstance(body, str | bytes) or len(body) <= MOST_SYNCHRONOUS_BYTES:
        return status, answer_headers, body
    text = f"Response payload size exceeded maximum allowed payload size ({MOST_SYNCHRONOUS_BYTES} bytes)."
    error = json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}).encode()
    return 200, {**answer_headers, "X-Amz-Function-Error": "Unhandled"}, error
