"""Lambda: what a failed asynchronous invocation leaves in the dead-letter queue and at the destination."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any
from uuid import uuid4

from ministack.core.responses import get_account_id
from ministack.services import lambda_svc, sqs

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
    queue = sqs._queue_by_arn(queue_arn) if queue_arn else None
    if queue is None:
        return
    error = result.get("body")
    reason = error.get("errorMessage", "") if isinstance(error, dict) else str(error)
    body, now = json.dumps(event), time.time()
    attributes = {"RequestID": str(uuid4()), "ErrorCode": "200", "ErrorMessage": reason[:1024] or "Unhandled"}
    message = {
        "id": str(uuid4()),
        "body": body,
        "md5_body": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "sent_at": now,
        "visible_at": now,
        "receive_count": 0,
        "message_attributes": {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()},
        "sys": {"SenderId": get_account_id(), "SentTimestamp": str(int(now * 1000))},
    }
    unset = ("receipt_handle", "first_receive_at", "group_id", "dedup_id", "dedup_cache_key", "seq")
    queue["messages"].append(message | dict.fromkeys(unset) | {"md5_attrs": ""})
