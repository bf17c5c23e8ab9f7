"""Lambda: what a failed asynchronous invocation leaves in the dead-letter queue and at the destination."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from ministack.services import lambda_svc

from infra.emulator import queues
from infra.emulator.replacing import Original

_route_async_failure = Original(lambda_svc, "_route_async_failure")


def install() -> None:
    """Complete MiniStack's Lambda."""
    _route_async_failure.replace(route_async_failure)


def route_async_failure(target_arn: str, name: str, event: dict[str, Any], result: dict[str, Any]) -> None:
    """Put what failed where Lambda does: into its destination, and into its dead-letter queue.

    The queue gets the event itself, with the error in attributes (Lambda Developer Guide, "Dead-letter queues").
    MiniStack serves one of the two, and writes into the queue what a destination gets.
    """
    _, config, _ = lambda_svc._get_func_record_for_ref(name)
    queue_arn = ((config or {}).get("DeadLetterConfig") or {}).get("TargetArn", "")
    if target_arn != queue_arn:
        _route_async_failure(target_arn, name, event, result)
    queue = queues.find(queue_arn)
    if queue is None:
        return
    error = result.get("body")
    reason = error.get("errorMessage", "") if isinstance(error, dict) else str(error)
    attributes = {"RequestID": str(uuid4()), "ErrorCode": "200", "ErrorMessage": reason[:1024] or "Unhandled"}
    queues.put(queue, json.dumps(event), attributes)
