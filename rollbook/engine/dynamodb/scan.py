"""Reads a table's items as pages of bytes, with one segment or several in parallel."""

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
    """One page of a scan.

    Arguments:
        items: the items as DynamoDB wrote them, without line breaks; bytes or `msgspec.Raw`.
        read_units: the consumed read capacity.
    """

    items: Sequence[Any]
    read_units: float


class ScanError(RuntimeError):
    """DynamoDB's response cannot be read."""


def pages(
    dynamodb: Any,
    table_name: str,
    *,
    segments: int = 1,
    limiter: RateLimiter | None = None,
    is_consistent: bool = False,
) -> Generator[Page, None, None]:
    """Yield all pages of a table that have items. With several segments, the order is undefined.

    Arguments:
        dynamodb: a client of `wire.client`.
        segments: how many parts of the table to read in parallel, 1 to 1,000,000; each has a page in memory.
        limiter: limits the rate of all segments together.
        is_consistent: use strongly consistent reads, which cost twice the read units (DynamoDB Developer Guide,
            "DynamoDB read consistency").

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused, after all retries.
        ScanError: the response cannot be read although its CRC is correct.
    """
    limiter = limiter or RateLimiter()
    handler_id = f"limiter-{id(limiter)}"
    dynamodb.meta.events.register("needs-retry.dynamodb.Scan", _slow_down(limiter), unique_id=handler_id)
    options = {"ConsistentRead": True} if is_consistent else {}
    try:
        if segments == 1:
            yield from _segment(dynamodb, table_name, options, limiter)
        else:
            yield from _merged(dynamodb, table_name, segments, options, limiter)
    finally:
        dynamodb.meta.events.unregister("needs-retry.dynamodb.Scan", unique_id=handler_id)


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
        is_consistent: use strongly consistent reads, which cost twice the read units.
    """
    for page in pages(dynamodb, table_name, segments=segments, limiter=limiter, is_consistent=is_consistent):
        for found in page.items:
            yield bytes(found)


def _slow_down(limiter: RateLimiter) -> Any:
    def on_response(response: Any, **_: Any) -> None:
        if response is not None and response[1].get("Error", {}).get("Code") in THROTTLING:
            limiter.slow_down()

    return on_response


def _segment(dynamodb: Any, table_name: str, options: dict[str, Any], limiter: RateLimiter) -> Iterator[Page]:
    start: dict[str, Any] = {}
    while True:
        response = limiter.retry_throttled(
            partial(dynamodb.scan, TableName=table_name, ReturnConsumedCapacity="TOTAL", **options, **start)
        )
        if "Fault" in response:
            raise ScanError(f"DynamoDB answered the scan of {table_name} with {response['Fault']}")
        answer: Scanned = response["Answer"]
        if answer.count != len(answer.items):
            counts = f"{len(answer.items)} of {answer.count} items"
            raise ScanError(f"DynamoDB answered the scan of {table_name} with {counts}")
        units = answer.capacity.units if answer.capacity else 0.0
        limiter.spend(units)
        items: list[Any] = answer.items
        if response["Indented"]:
            # DynamoDB sends no line breaks. Another server may, and a document has one line per item.
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
    """Yield the pages of all segments as they arrive.

    At most one page is in the queue, and each segment holds at most one more.
    """
    ready: queue.Queue[Page | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def deliver(result: Page | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(result, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return

    def read(number: int) -> None:
        try:
            segment = options | {"Segment": number, "TotalSegments": segments}
            for page in _segment(dynamodb, table_name, segment, limiter):
                deliver(page)
                if stop.is_set():
                    return
        except BaseException as error:
            deliver(error)
        else:
            deliver(None)

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(segments)]
    for thread in threads:
        thread.start()
    try:
        left = segments
        while left:
            result = ready.get()
            if result is None:
                left -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()
