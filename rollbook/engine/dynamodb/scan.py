"""A table's items as pages of bytes, read by one or several segments at a time."""

from __future__ import annotations

import base64
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from rollbook.engine.dynamodb.rate_limiter import THROTTLING, RateLimiter
from rollbook.engine.dynamodb.raw import Scanned

_WAIT_SECONDS = 0.1


@dataclass(frozen=True)
class Page:
    """One page.

    Arguments:
        items: the items as DynamoDB wrote them, without line breaks; bytes or `msgspec.Raw`.
        read_units: what reading them cost.
    """

    items: Sequence[Any]
    read_units: float


class ScanError(RuntimeError):
    """The service's answer cannot be read."""


def pages(
    dynamodb: Any,
    table_name: str,
    *,
    segments: int = 1,
    limiter: RateLimiter | None = None,
    is_consistent: bool = False,
) -> Generator[Page, None, None]:
    """Yield all pages of a table that have items, in no order when there are several segments.

    Arguments:
        dynamodb: a client of `wire.client`.
        segments: how many parts of the table to read at a time, 1 to 1,000,000; each has a page in memory.
        limiter: the rate to keep, shared by the segments.
        is_consistent: every write that was answered before is seen, for twice the read units (DynamoDB Developer Guide,
            "DynamoDB read consistency").

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused, after all retries.
        ScanError: the service answered with what cannot be read, its CRC being right.
    """
    kept = limiter or RateLimiter()
    dynamodb.meta.events.register("needs-retry.dynamodb.Scan", _slow_down(kept), unique_id=f"limiter-{id(kept)}")
    options = {"ConsistentRead": True} if is_consistent else {}
    try:
        if segments == 1:
            yield from _segment(dynamodb, table_name, options, kept)
        else:
            yield from _merged(dynamodb, table_name, segments, options, kept)
    finally:
        dynamodb.meta.events.unregister("needs-retry.dynamodb.Scan", unique_id=f"limiter-{id(kept)}")


def items(
    dynamodb: Any,
    table_name: str,
    *,
    segments: int = 1,
    limiter: RateLimiter | None = None,
    is_consistent: bool = False,
) -> Iterator[bytes]:
    """Yield the items of a table as bytes.

    Arguments:
        is_consistent: every write that was answered before is seen, for twice the read units.
    """
    for page in pages(dynamodb, table_name, segments=segments, limiter=limiter, is_consistent=is_consistent):
        for found in page.items:
            yield bytes(found)


def _slow_down(limiter: RateLimiter) -> Any:
    def look(response: Any, **_: Any) -> None:
        if response is not None and response[1].get("Error", {}).get("Code") in THROTTLING:
            limiter.slow_down()

    return look


def _segment(dynamodb: Any, table_name: str, options: dict[str, Any], limiter: RateLimiter) -> Iterator[Page]:
    start: dict[str, Any] = {}
    while True:
        response = limiter.retry_throttled(
            partial(dynamodb.scan, TableName=table_name, ReturnConsumedCapacity="TOTAL", **options, **start)
        )
        if "Fault" in response:
            raise ScanError(f"DynamoDB answered the scan of {table_name} with {response['Fault']}")
        answer: Scanned = response["Answer"]
        units = answer.capacity.units if answer.capacity else 0.0
        limiter.spend(units)
        items: list[Any] = answer.items
        if response["Indented"]:
            # DynamoDB sends no line breaks; where a server does, a line per item has to be made.
            items = [msgspec.json.format(bytes(item), indent=-1) for item in items]
        if items:
            yield Page(items, units)
        if not answer.last_key:
            return
        start = {"ExclusiveStartKey": {name: _key_value(value) for name, value in answer.last_key.items()}}


def _key_value(value: dict[str, str]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if "B" in value else dict(value)


def _merged(
    dynamodb: Any, table_name: str, segments: int, options: dict[str, Any], limiter: RateLimiter
) -> Iterator[Page]:
    """Yield the pages of all segments as they come; one is ready and one is at work in each segment, no more."""
    ready: queue.Queue[Page | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def hand_over(what: Page | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(what, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return

    def read(number: int) -> None:
        try:
            segment = options | {"Segment": number, "TotalSegments": segments}
            for page in _segment(dynamodb, table_name, segment, limiter):
                hand_over(page)
                if stop.is_set():
                    return
        except BaseException as error:
            hand_over(error)
        else:
            hand_over(None)

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(segments)]
    for thread in threads:
        thread.start()
    try:
        left = segments
        while left:
            what = ready.get()
            if what is None:
                left -= 1
            elif isinstance(what, BaseException):
                raise what
            else:
                yield what
    finally:
        stop.set()
        for thread in threads:
            thread.join()
