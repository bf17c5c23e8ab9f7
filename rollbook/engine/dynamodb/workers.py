"""Sends writes in parallel, and collects what was written, refused or left because it changed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

# The number of keys that fit into a message and a history row.
NAMED = 20
# DynamoDB refuses these because of the item. Other errors concern every item (API reference, "PutItem", "Errors").
REFUSALS = frozenset(
    {"ValidationException", "ItemCollectionSizeLimitExceededException", "TransactionConflictException"}
)


@dataclass(frozen=True)
class Refusal:
    """An item that was not written, and why. The key is DynamoDB JSON; other attributes are personal data."""

    key: str
    reason: str


@dataclass
class Sent:
    """The result of some writes.

    Arguments:
        written: how many were executed.
        refused: those that DynamoDB does not accept.
        changed: keys of the items that were changed meanwhile and therefore left.
        failed: those that were not executed because of `error`, which ends the writing.
    """

    written: int = 0
    refused: list[Refusal] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[Refusal] = field(default_factory=list)
    error: Exception | None = None

    def add(self, other: Sent) -> None:
        """Add the result of other writes."""
        self.written += other.written
        self.refused += other.refused
        self.changed += other.changed
        self.failed += other.failed
        self.error = self.error or other.error


class NotWritten(RuntimeError):
    """Some items were not written. The message says why and names the first ones.

    Arguments:
        count: the number of items that were sent and not written.
        refused: all of them.
        is_complete: whether every other item was written.
    """

    def __init__(self, message: str, count: int, refused: Sequence[Refusal] = (), *, is_complete: bool = False) -> None:
        super().__init__(message)
        self.count = count
        self.refused = refused
        self.is_complete = is_complete


class Workers:
    """Threads that send units of writes.

    Arguments:
        parallel: the number of threads.
        check: called before each unit; raises when no time is left.
        progress: called after each unit with the number of writes executed so far.
    """

    def __init__(self, parallel: int, check: Callable[[], None], progress: Callable[[int], None]) -> None:
        self._parallel = parallel
        self._check = check
        self._progress = progress
        self._lock = threading.Lock()
        self._is_stopped = False
        self._total = Sent()

    def run(self, units: Iterator[Any], send: Callable[[Any], Sent], table_name: str) -> Sent:
        """Send all units and return the total. A refused item does not stop the others.

        Raises:
            NotWritten: an error that concerns every item. Units already sent are written; no more are sent.
            Exception: an error of the iterator `units`. The units already sent are written first.
        """
        self._is_stopped = False
        self._total = Sent()
        with ThreadPoolExecutor(self._parallel) as pool:
            # Each worker fetches its own units: passing them through a queue costs a third of the sending time.
            workers = [pool.submit(self._work, units, send) for _ in range(self._parallel)]
            try:
                wait(workers)
            finally:
                self._is_stopped = True
        error = next(filter(None, (worker.exception() for worker in workers)), None)
        if self._total.error:
            raise not_written(self._total, table_name) from (error or self._total.error)
        if error:
            raise error
        return self._total

    def _work(self, units: Iterator[Any], send: Callable[[Any], Sent]) -> None:
        try:
            while (unit := self._next(units)) is not None:
                sent = send(unit)
                with self._lock:
                    self._is_stopped = self._is_stopped or sent.error is not None
                    self._total.add(sent)
                    self._progress(self._total.written)
        except BaseException:
            self._is_stopped = True
            raise

    def _next(self, units: Iterator[Any]) -> Any:
        with self._lock:
            if self._is_stopped:
                return None
            self._check()
            return next(units, None)


def not_written(sent: Sent, table_name: str, addition: str = "") -> NotWritten:
    """Return the error that names the items that were not written.

    Arguments:
        addition: the end of the message.
    """
    left = [*sent.failed, *sent.refused]
    why = f" ({sent.error})" if sent.error else ""
    named = "\n".join(f"  {item.key}: {item.reason}" for item in left[:NAMED])
    more = f"\n  and {len(left) - NAMED:,} more" if len(left) > NAMED else ""
    return NotWritten(
        f"{len(left):,} writes to {table_name} failed{why}; {sent.written:,} succeeded. "
        f"Not written:\n{named}{more}{addition}",
        len(left),
        left,
        is_complete=sent.error is None,
    )
