"""Writes requests, given as bytes, by parallel BatchWriteItem calls. Each request succeeds or is named in an error."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from rollbook.contract import pauses
from rollbook.engine import fingerprints
from rollbook.engine.dynamodb import raw as wire
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.dynamodb.workers import REFUSALS, NotWritten, Refusal, Sent, Workers, not_written

__all__ = ["NotWritten", "Writer", "batches"]
# BatchWriteItem accepts 25 requests and 16 MB (API reference). Fewer bytes limit the memory of parallel batches.
_BATCH_REQUESTS = 25
_BATCH_BYTES = 2 * 1024 * 1024
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0
_chance = random.SystemRandom()


class Writer:
    """Writes into one table, regardless of the items that it has.

    Arguments:
        dynamodb: a client of `wire.client`.
        key_names: the key attributes, to name the items that were not written.
        parallel: the number of batches sent at the same time.
        limiter: limits the write units per second.
        check: called before each batch and between retries; raises when no time is left.
        progress: called after each batch with the number of requests executed so far.
    """

    def __init__(
        self,
        dynamodb: Any,
        table_name: str,
        *,
        key_names: Sequence[str],
        parallel: int = 4,
        limiter: RateLimiter | None = None,
        check: Callable[[], None] = lambda: None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._fingerprint = fingerprints.fingerprint_of(key_names)
        self._limiter = limiter or RateLimiter()
        self._check = check
        self._workers = Workers(parallel, check, progress)

    def write(self, requests: Iterable[bytes]) -> int:
        """Execute requests of `wire.put` and `wire.delete`, and return their number.

        Raises:
            NotWritten: DynamoDB refused some requests. All others are executed, if the error is about those alone.
            Exception: an error of the iterable `requests`. The batches already sent are written first.
        """
        sent = self.send(requests)
        if sent.refused:
            raise not_written(sent, self._table_name)
        return sent.written

    def send(self, requests: Iterable[bytes]) -> Sent:
        """Execute requests as `write` does, and return the refused ones instead of raising an error.

        Raises:
            NotWritten: an error that concerns every request.
        """
        return self._workers.run(batches(requests), self._send, self._table_name)

    def _send(self, batch: Sequence[bytes]) -> Sent:
        left = list(batch)
        pause = _FIRST_PAUSE_SECONDS
        try:
            while left:
                before = len(left)
                left = self._attempt(left)
                if not left:
                    break
                # DynamoDB had no capacity for the rest. While it still accepts some requests, the pause stays short.
                pause = _FIRST_PAUSE_SECONDS if len(left) < before else min(pause * 2, _LONGEST_PAUSE_SECONDS)
                self._limiter.slow_down()
                pauses.sleep(pause * _chance.uniform(0.5, 1))
                self._check()
        except ClientError as error:
            done = len(batch) - len(left)
            if error.response["Error"]["Code"] not in REFUSALS:
                return self._failed(left, error, done)
            if len(left) == 1:
                return Sent(done, [Refusal(self._name(left[0]), error.response["Error"]["Message"])])
            return self._send_halves(left, done)
        except (BotoCoreError, RuntimeError) as error:
            return self._failed(left, error, len(batch) - len(left))
        return Sent(len(batch))

    def _attempt(self, requests: Sequence[bytes]) -> list[bytes]:
        body = wire.batch(self._table_name, requests)
        response = self._limiter.retry_throttled(lambda: self._dynamodb.batch_write_item(RequestItems=body))
        if "Fault" in response:
            raise RuntimeError(f"DynamoDB answered the writes to {self._table_name} with {response['Fault']}")
        answer: wire.Written = response["Answer"]
        self._limiter.spend(sum(capacity.units for capacity in answer.capacity))
        return [_bytes(request) for table in answer.unprocessed.values() for request in table]

    def _send_halves(self, requests: Sequence[bytes], done: int) -> Sent:
        """Send a refused batch in halves. DynamoDB refuses a whole batch because of one item, and does not name it."""
        total = Sent(done)
        middle = len(requests) // 2
        for half in (requests[:middle], requests[middle:]):
            # After an error that concerns every item, the second half is not sent, but named.
            total.add(self._failed(half, total.error, 0) if total.error else self._send(half))
        return total

    def _failed(self, requests: Sequence[bytes], error: Exception, done: int) -> Sent:
        return Sent(done, failed=[Refusal(self._name(each), type(error).__name__) for each in requests], error=error)

    def _name(self, request: bytes) -> str:
        """Return the key of a request. Other attributes are personal data and must not appear in a log."""
        decoded = msgspec.json.decode(request, type=wire.Request)
        raw = decoded.put["Item"] if decoded.put else (decoded.delete or {})["Key"]
        return self._fingerprint(bytes(raw)).key.decode()


def batches(requests: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the requests in lists that BatchWriteItem accepts."""
    batch: list[bytes] = []
    size = 0
    for request in requests:
        if batch and (len(batch) == _BATCH_REQUESTS or size + len(request) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += len(request)
    if batch:
        yield batch


def _bytes(request: wire.Request) -> bytes:
    if request.put is not None:
        return wire.put(bytes(request.put["Item"]))
    if request.delete is not None:
        return wire.delete(bytes(request.delete["Key"]))
    raise RuntimeError("DynamoDB returned an unprocessed request that is neither a put nor a delete")
