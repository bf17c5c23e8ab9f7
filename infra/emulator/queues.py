"""Sends messages of AWS services to SQS queues."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from ministack.core.responses import get_account_id
from ministack.services import sqs


def put(queue: dict[str, Any], body: str, attributes: Mapping[str, str]) -> None:
    """Put a message of a service into a queue.

    Arguments:
        queue: MiniStack's record of the queue.
        attributes: message attributes, all of the type String.
    """
    now = time.time()
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


def find(arn: str) -> dict[str, Any] | None:
    """Return MiniStack's record of a queue, or None."""
    return sqs._queue_by_arn(arn) if arn else None
