"""Read the events of the bus from its log group."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.cloud import Cloud
from ops.failures import OperatorError, explain

_POLL_SECONDS = 1.0


def read(cloud: Cloud, since: datetime, *, follow: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the events of the bus's log, each once, in the order of their arrival.

    Raises:
        OperatorError: the log cannot be read.
    """
    logs = cloud.client("logs")
    group = f"/aws/events/{cloud.settings.events.bus_name}"
    seen: set[str] = set()
    start = int(since.timestamp() * 1000)
    while True:
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start)
            found = [event for page in pages for event in page["events"] if event["eventId"] not in seen]
        except (BotoCoreError, ClientError) as error:
            raise OperatorError(f"the log group {group} cannot be read: {explain(error)}") from None
        for event in sorted(found, key=lambda event: event["timestamp"]):
            seen.add(event["eventId"])
            yield json.loads(event["message"])
        if not follow:
            return
        time.sleep(_POLL_SECONDS)
