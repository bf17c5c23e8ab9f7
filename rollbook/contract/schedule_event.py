"""The event that a schedule of EventBridge Scheduler sends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def scheduled_time(event: Mapping[str, Any]) -> datetime:
    """Return the time for which a run was scheduled. It is the same for every retry of the run.

    Raises:
        ValueError: the event does not come from a schedule.
    """
    try:
        if event["source"] != "schedule":
            raise ValueError(f"its source is {event['source']!r}")
        moment = datetime.fromisoformat(event["scheduledTime"])
        if moment.tzinfo is None:
            raise ValueError(f"its time {event['scheduledTime']} has no zone")
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"the event is not a schedule event ({error}). A schedule sends "
            '{"source": "schedule", "scheduledTime": "2025-07-08T00:00:00Z"}; to invoke the function by hand, send {}'
        ) from error
    return moment
