"""Lambda: the answer of a failed Python function names the class of its exception."""

from __future__ import annotations

import re
from typing import Any

from ministack.services import lambda_svc

from infra.emulator.replacing import Original

# MiniStack's type for every exception of a handler.
_UNNAMED = "Runtime.HandlerError"
_execute = Original(lambda_svc, "_execute_function_warm")


def install() -> None:
    """Complete MiniStack's Lambda."""
    _execute.replace(execute)


def execute(*arguments: Any, **named: Any) -> dict[str, Any]:
    """Execute a function; if its handler raised, `errorType` is the class of the exception, without its module.

    Source: aws/aws-lambda-python-runtime-interface-client, awslambdaric/bootstrap.py, `handle_event_request`.
    """
    result: dict[str, Any] = _execute(*arguments, **named)
    body = result.get("body")
    if result.get("error") and isinstance(body, dict) and body.get("errorType") == _UNNAMED:
        found = exception_class(str(result.get("log", "")), str(body["errorMessage"]))
        if found:
            body["errorType"] = found
    return result


def exception_class(trace: str, message: str) -> str:
    """Return the class of the exception that a stack trace ends with; empty if it has none.

    Arguments:
        trace: as `traceback.format_exc` writes it; notes of the exception may follow its message.
        message: of the exception.
    """
    ending = f": {re.escape(message)}" if message else "(?: *:? *)$"
    named = re.findall(rf"^([\w.<>]+){ending}", trace, re.MULTILINE)
    return str(named[-1]).rpartition(".")[2] if named else ""
