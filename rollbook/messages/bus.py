"""Checks events and puts them on the bus in order and in batches. Each event is accepted or named in an error."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from rollbook.contract import pauses
from rollbook.contract.events import Event

# A call accepts 10 entries and 256 KB (EventBridge API reference, PutEvents; User Guide, "PutEvents entry size").
_ENTRIES = 10
_BYTES = 256 * 1024
# Error codes that are worth a retry. Any other code means that the entry itself is wrong.
_TRANSIENT = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.1
_encode = msgspec.json.Encoder(order="deterministic").encode
_chance = random.SystemRandom()


class EventNotAccepted(RuntimeError):
    """The bus did not accept some events. The message names them and says why."""


class EventTooLarge(ValueError):
    """An event is larger than EventBridge's limit."""


class Bus:
    """An event bus.

    Arguments:
        client: a boto3 `events` client.
        sleep: waits for a number of seconds; tests pass their own.
    """

    def __init__(self, client: Any, name: str, *, sleep: Callable[[float], None] = pauses.sleep_in_reserve) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def put(self, *events: Event) -> list[str]:
        """Put events on the bus in order, and return the ids that EventBridge assigned.

        Entries of a batch that EventBridge did not accept are sent again, after a pause that doubles. The next batch is
        sent when the whole batch is accepted.

        Raises:
            EventTooLarge: an event is too large. No event was sent.
            msgspec.ValidationError: an event does not match its class. No event was sent.
            EventNotAccepted: an entry is wrong, or six tries failed. The batches before it were accepted.
        """
        return [id_ for batch in list(_batches(map(self._entry, events))) for id_ in self._put_batch(batch)]

    def _entry(self, event: Event) -> dict[str, str]:
        detail = _encode(event)
        msgspec.json.decode(detail, type=type(event))  # a Struct does not check its values on construction
        return {
            "EventBusName": self._name,
            "Source": event.SOURCE,
            "DetailType": event.DETAIL_TYPE,
            "Detail": detail.decode(),
        }

    def _put_batch(self, batch: list[dict[str, str]]) -> list[str]:
        ids = [""] * len(batch)
        left = list(range(len(batch)))
        for attempt in range(_TRIES):
            if attempt:
                self._sleep(_FIRST_PAUSE_SECONDS * 2**attempt * _chance.uniform(0.5, 1))
            answers = self._client.put_events(Entries=[batch[number] for number in left])["Entries"]
            failed = {}
            for number, answer in zip(left, answers, strict=True):
                if "ErrorCode" in answer:
                    failed[number] = answer
                else:
                    ids[number] = str(answer["EventId"])
            if not failed:
                return ids
            left = list(failed)
            if any(answer["ErrorCode"] not in _TRANSIENT for answer in failed.values()):
                break
        named = "; ".join(
            f"{batch[number]['DetailType']!r}: {answer['ErrorCode']}: {answer.get('ErrorMessage', '')}"
            for number, answer in failed.items()
        )
        raise EventNotAccepted(f"the bus {self._name} did not accept {len(failed)} of {len(batch)} events: {named}")


def _batches(entries: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    batch: list[dict[str, str]] = []
    total = 0
    for entry in entries:
        size = sum(len(entry[part].encode()) for part in ("Source", "DetailType", "Detail"))
        if size > _BYTES:
            raise EventTooLarge(f"an event {entry['DetailType']!r} has {size:,} bytes; EventBridge accepts {_BYTES:,}")
        if batch and (len(batch) == _ENTRIES or total + size > _BYTES):
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch
