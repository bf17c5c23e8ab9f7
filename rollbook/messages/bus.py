"""Puts events on the bus: checked, in order, in batches that EventBridge takes, until each is taken or named."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from rollbook.contract.events import Event

# A call takes 10 entries and 256 KB (EventBridge API reference, PutEvents; User Guide, "PutEvents entry size").
_ENTRIES = 10
_BYTES = 256 * 1024
# What may be otherwise a moment later; any other code of an entry says that the entry itself is wrong.
_PASSING = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.1
_encode = msgspec.json.Encoder(order="deterministic").encode
_chance = random.SystemRandom()


class EventNotTaken(RuntimeError):
    """The bus did not take some events; the message names them and says why."""


class EventTooLarge(ValueError):
    """An event has more than EventBridge takes."""


class Bus:
    """An event bus.

    Arguments:
        client: a boto3 `events` client.
        sleep: waits so many seconds; a test gives its own.
    """

    def __init__(self, client: Any, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def put(self, *events: Event) -> list[str]:
        """Put events on the bus, in their order, and return the ids that EventBridge gave them.

        A batch is taken as a whole before the next one is sent; what EventBridge did not take of it is sent again,
        after a pause that doubles.

        Raises:
            EventTooLarge: before anything is sent.
            msgspec.ValidationError: an event is not what its class says; before anything is sent.
            EventNotTaken: after six tries, or at once if an entry is wrong; what stands before it was taken.
        """
        return [id_ for batch in list(_batches(map(self._entry, events))) for id_ in self._put_batch(batch)]

    def _entry(self, event: Event) -> dict[str, str]:
        detail = _encode(event)
        msgspec.json.decode(detail, type=type(event))  # a Struct does not check what it is made of
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
            if any(answer["ErrorCode"] not in _PASSING for answer in failed.values()):
                break
        named = "; ".join(
            f"{batch[number]['DetailType']!r}: {answer['ErrorCode']}: {answer.get('ErrorMessage', '')}"
            for number, answer in failed.items()
        )
        raise EventNotTaken(f"the bus {self._name} did not take {len(failed)} of {len(batch)} events: {named}")


def _batches(entries: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    batch: list[dict[str, str]] = []
    total = 0
    for entry in entries:
        size = sum(len(entry[part].encode()) for part in ("Source", "DetailType", "Detail"))
        if size > _BYTES:
            raise EventTooLarge(f"an event {entry['DetailType']!r} has {size:,} bytes; EventBridge takes {_BYTES:,}")
        if batch and (len(batch) == _ENTRIES or total + size > _BYTES):
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch
