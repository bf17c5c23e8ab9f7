"""Writes requests, given as bytes, by parallel BatchWriteItem calls. Each request succeeds or is named in an error."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from rollbook.engine import fingerprints
from rollbook.engine.dynamodb import raw as wire
from rollbook.engine.dynamodb.rate_limiter import RateLimiter

# BatchWriteItem accepts 25 requests and 16 MB (API reference). Fewer bytes limit the memory of parallel batches.
_BATCH_REQUESTS = 25
_BATCH_BYTES = 2 * 1024 * 1024
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0
# The number of keys that fit into a message and a history row.
_NAMED = 20
_chance = random.SystemRandom()


class NotWritten(RuntimeError):
    """DynamoDB did not execute some requests. The message names them and says why.

    Arguments:
        count: the number of requests that were sent and not executed.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


@dataclass(frozen=True)
class _Failure:
    """The refused requests of a batch, and the number of its requests that were written."""

    requests: Sequence[bytes]
    error: Exception
    done: int = 0


class Writer:
    """Writes into one table.

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
        self._parallel = parallel
        self._limiter = limiter or RateLimiter()
        self._check = check
        self._progress = progress
        self._lock = threading.Lock()
        self._is_stopped = False
        self._failures: list[_Failure] = []
        self.written = 0

    def write(self, requests: Iterable[bytes]) -> int:
        """Execute requests of `wire.put` and `wire.delete`, and return their number.

        Raises:
            NotWritten: DynamoDB refused some requests. The other batches already sent are written; no more are sent.
            Exception: an error of the iterable `requests`. The batches already sent are written first.
        """
        source = batches(requests)
        self._is_stopped = False
        self._failures = []
        with ThreadPoolExecutor(self._parallel) as pool:
            # Each worker fetches its own batches: passing them through a queue costs a third of the sending time.
            workers = [pool.submit(self._work, source) for _ in range(self._parallel)]
            try:
                wait(workers)
            finally:
                self._is_stopped = True
        error = next(filter(None, (worker.exception() for worker in workers)), None)
        if self._failures:
            raise self._not_written(self._failures) from error
        if error:
            raise error
        return self.written

    def _work(self, source: Iterator[list[bytes]]) -> None:
        try:
            while batch := self._next(source):
                result = self._send(batch)
                with self._lock:
                    if isinstance(result, _Failure):
                        self._is_stopped = True
                        self._failures.append(result)
                    self.written += result.done if isinstance(result, _Failure) else result
                    self._progress(self.written)
        except BaseException:
            self._is_stopped = True
            raise

    def _next(self, source: Iterator[list[bytes]]) -> list[bytes] | None:
        with self._lock:
            if self._is_stopped:
                return None
            self._check()
            return next(source, None)

    def _send(self, batch: Sequence[bytes]) -> _Failure | int:
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
                time.sleep(pause * _chance.uniform(0.5, 1))
                self._check()
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException" and len(left) > 1:
                return self._send_singly(left, len(batch) - len(left))
            return _Failure(left, error, len(batch) - len(left))
        except (BotoCoreError, RuntimeError) as error:
            return _Failure(left, error, len(batch) - len(left))
        return len(batch)

    def _attempt(self, requests: Sequence[bytes]) -> list[bytes]:
        body = wire.batch(self._table_name, requests)
        response = self._limiter.retry_throttled(lambda: self._dynamodb.batch_write_item(RequestItems=body))
        if "Fault" in response:
            raise RuntimeError(f"DynamoDB answered the writes to {self._table_name} with {response['Fault']}")
        answer: wire.Written = response["Answer"]
        self._limiter.spend(sum(capacity.units for capacity in answer.capacity))
        return [_bytes(request) for table in answer.unprocessed.values() for request in table]

    def _send_singly(self, requests: Sequence[bytes], done: int) -> _Failure | int:
        """Send the requests of a refused batch one by one, so that only the invalid ones fail."""
        refused: list[_Failure] = []
        for request in requests:
            result = self._send([request])
            if isinstance(result, _Failure):
                refused.append(result)
            else:
                done += result
        if refused:
            return _Failure([request for failure in refused for request in failure.requests], refused[0].error, done)
        return done

    def _name(self, request: bytes) -> str:
        """Return the key of a request. Other attributes are personal data and must not appear in a log."""
        decoded = msgspec.json.decode(request, type=wire.Request)
        raw = decoded.put["Item"] if decoded.put else (decoded.delete or {})["Key"]
        return self._fingerprint(bytes(raw)).key.decode()

    def _not_written(self, failures: Sequence[_Failure]) -> NotWritten:
        left = [request for failure in failures for request in failure.requests]
        named = "\n".join(f"  {self._name(request)}" for request in left[:_NAMED])
        more = f"\n  and {len(left) - _NAMED:,} more" if len(left) > _NAMED else ""
        return NotWritten(
            f"{len(left):,} writes to {self._table_name} failed ({failures[0].error}); "
            f"{self.written:,} succeeded. Not written:\n{named}{more}",
            len(left),
        )


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
