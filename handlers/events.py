"""What happens is put on the event bus, source `rollbook.<capability>`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class EventNotTaken(RuntimeError):
    """The bus did not take an event; the message says why."""


def put(client: Any, *, bus: str, capability: str, what: str, detail: Mapping[str, Any]) -> None:
    """Put one event on the bus.

    Arguments:
        client: a boto3 `events` client.
        what: the detail type, such as `drill passed`.

    Raises:
        EventNotTaken: EventBridge answered 200 with a failed entry (API reference, PutEvents).
    """
    entry = {
        "EventBusName": bus,
        "Source": f"rollbook.{capability}",
        "DetailType": what,
        "Detail": msgspec.json.encode(detail, order="deterministic").decode(),
    }
    answer = client.put_events(Entries=[entry])
    if answer.get("FailedEntryCount"):
        [failed] = answer["Entries"]
        raise EventNotTaken(f"the bus {bus} did not take {what!r}: {failed.get('ErrorCode')}: {failed['ErrorMessage']}")
