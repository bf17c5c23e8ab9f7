"""Reads a table's items as pages of bytes, with one segment or several in parallel."""

from __future__ import annotations

import base64
import itertools
import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from rollbook.engine.dynamodb.rate_limiter import THROTTLING, RateLimiter
from rollbook.engine.dynamodb.raw import Scanned

_WAIT_SECONDS = 0.1
# A page has up to 1 MB as DynamoDB counts it. Its JSON may be nine times as long: of lists of empty texts, for example.
# So each page may have as many items as fit into these bytes, by the length of the items of the page before.
_PAGE_BYTES = 2 * 1024 * 1024
# Of the first page of a segment.
_FIRST_ITEMS = 100
Key = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Page:
    """One page of a scan.

    Arguments:
        items: the items as DynamoDB wrote them, without line breaks; bytes or `msgspec.Raw`.
        read_units: the consumed read capacity.
        segment: the part of the table that it is of.
        last_key: where the rest of the segment begins, as DynamoDB wrote it; None if there is no rest.
        size: of the response in bytes.
    """

    items: Sequence[Any]
    read_units: float
    segment: int = 0
    last_key: Key | None = None
    size: int = 0

    def parts(self) -> Iterator[Sequence[Any]]:
        """Yield the items of a long page in several parts, because joining them copies them."""
        step = max(1, len(self.items) * _PAGE_BYTES // max(self.size, _PAGE_BYTES))
        for start in range(0, len(self.items), step):
            yield self.items[start : start + step] if step < len(self.items) else self.items


class ScanError(RuntimeError):
    """DynamoDB's response cannot be read."""


def pages(
    dynamodb: Any,
    table_name: str,
    *,
    segments: int = 1,
    limiter: RateLimiter | None = None,
    is_consistent: bool = False,
    positions: Mapping[int, Key | None] | None = None,
) -> Generator[Page, None, None]:
    """Yield all pages of a table that have items. With several segments, the order is undefined.

    Arguments:
        dynamodb: a client of `wire.client`.
        segments: how many parts of the table to read in parallel, 1 to 1,000,000; each has a page in memory.
        limiter: limits the rate of all segments together.
        is_consistent: use strongly consistent reads, which cost twice the read units (DynamoDB Developer Guide,
            "DynamoDB read consistency").
        positions: `last_key` of the last page of each segment that was read before, by the segment's number.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused, after all retries.
        ScanError: the response cannot be read although its CRC is correct.
    """
    limiter = limiter or RateLimiter()
    handler_id = f"limiter-{id(limiter)}"
    dynamodb.meta.events.register("needs-retry.dynamodb.Scan", _slow_down(limiter), unique_id=handler_id)
    options = {"ConsistentRead": True} if is_consistent else {}
    known = dict(positions or {})
    readers = [
        _segment(dynamodb, table_name, options | _part(number, segments), limiter, number, known.get(number))
        for number in range(segments)
        if known.get(number, {}) is not None
    ]
    try:
        yield from _merged(readers) if len(readers) > 1 else itertools.chain.from_iterable(readers)
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


def _part(number: int, segments: int) -> dict[str, Any]:
    return {"Segment": number, "TotalSegments": segments} if segments > 1 else {}


def _segment(
    dynamodb: Any, table_name: str, options: dict[str, Any], limiter: RateLimiter, number: int, last_key: Key | None
) -> Iterator[Page]:
    start: dict[str, Any] = _start(last_key)
    limit = _FIRST_ITEMS
    while True:
        response = limiter.retry_throttled(
            partial(
                dynamodb.scan, TableName=table_name, ReturnConsumedCapacity="TOTAL", **options, Limit=limit, **start
            )
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
        limit = max(1, answer.count * _PAGE_BYTES // response["Bytes"]) if answer.count else limit
        last, page = answer.last_key, [Page(items, units, number, answer.last_key, response["Bytes"])]
        # Frees the page when its consumer has done with it, before the next one is read.
        del answer, items, response
        if page[0].items:
            yield page.pop()
        if not last:
            return
        start = _start(last)


def _start(last_key: Key | None) -> dict[str, Any]:
    if not last_key:
        return {}
    return {"ExclusiveStartKey": {name: _key_value(value) for name, value in last_key.items()}}


def _key_value(value: dict[str, str]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if "B" in value else dict(value)


def _merged(readers: Sequence[Iterator[Page]]) -> Iterator[Page]:
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

    def read(pages: Iterator[Page]) -> None:
        try:
            for page in pages:
                deliver(page)
                del page
                if stop.is_set():
                    return
        except BaseException as error:
            deliver(error)
        else:
            deliver(None)

    threads = [threading.Thread(target=read, args=(reader,), daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        left = len(readers)
        while left:
            result = ready.get()
            if result is None:
                left -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
                del result
    finally:
        stop.set()
        for thread in threads:
            thread.join()
