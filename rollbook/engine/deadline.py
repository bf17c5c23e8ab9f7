"""The time limit of an invocation, and a projection whether a scan finishes within it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollbook.engine.dynamodb.scan import Page

# Reserved for aborting the upload, writing the history and sending the mail.
_RESERVE_SECONDS = 15.0
# A projection is used after this time. Before it, the cold start dominates the measurement.
_TRUSTED_AFTER_SECONDS = 20.0
# The scan is stopped if the projection exceeds the remaining time by more than this factor.
_MARGIN = 1.25
# An eventually consistent read unit is two blocks of 4 KB (Developer Guide, "DynamoDB read consistency").
_BYTES_PER_READ_UNIT = 8192


Clock = Callable[[], datetime]


class OutOfTime(RuntimeError):
    """The work does not fit into the invocation's time. The message says how much time it needs."""


@dataclass(frozen=True)
class Deadline:
    """When an invocation ends, by the monotonic clock, because the wall clock may jump.

    Arguments:
        ends_at: the end, as `clock` measures it.
        memory_mb: the function's memory; None outside Lambda.
    """

    ends_at: float
    memory_mb: int | None = None
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, memory_mb: int | None = None) -> Deadline:
        """Return the deadline that is `seconds` from now."""
        return cls(time.monotonic() + seconds, memory_mb)

    def until(self, now: datetime) -> datetime:
        """Return when the invocation ends, by a wall clock that shows `now`."""
        return now + timedelta(seconds=self.ends_at - self.clock())

    def left(self) -> float:
        """Return the seconds that are left for the work, without the reserve."""
        return self.ends_at - self.clock() - _RESERVE_SECONDS

    def check(self, what: str) -> None:
        """Raise if no time is left for the work.

        Arguments:
            what: the work and its progress, as the beginning of a sentence.

        Raises:
            OutOfTime: no time is left.
        """
        if self.left() <= 0:
            raise OutOfTime(f"{what} when the time of the invocation was over; give the function more memory or time")

    def watch(self, pages: Generator[Page, None, None], table_bytes: int) -> Iterator[Page]:
        """Yield the pages of a scan while it is expected to finish in time.

        Arguments:
            table_bytes: the table's size as last reported by DynamoDB, which updates it every six hours.

        Raises:
            OutOfTime: the scan will not finish in time. The message has the bytes read, the rate and the time needed.
        """
        began = self.clock()
        budget = self.left()
        read = 0.0
        with closing(pages):  # ends the threads of the scan
            for page in pages:
                yield page
                read += page.read_units * _BYTES_PER_READ_UNIT
                self._expect(read, max(table_bytes, read), self.clock() - began, budget)

    def _expect(self, read: float, size: float, elapsed: float, budget: float) -> None:
        needed = elapsed * size / read if read else elapsed
        is_late = elapsed > _TRUSTED_AFTER_SECONDS and needed > budget * _MARGIN
        if is_late or elapsed >= budget:
            raise OutOfTime(self._sentence(read, size, max(elapsed, 1e-3), max(needed, elapsed), budget))

    def _sentence(self, read: float, size: float, elapsed: float, needed: float, budget: float) -> str:
        text = (
            f"in {elapsed:,.0f} s the scan read {read / 1e6:,.0f} of about {size / 1e6:,.0f} MB "
            f"({read / elapsed / 1e6:,.1f} MB/s); the whole table needs {needed:,.0f} s or more, and the limit is "
            f"{budget:,.0f} s"
        )
        if self.memory_mb:
            # Lambda assigns CPU in proportion to memory, up to 10,240 MB.
            memory = math.ceil(self.memory_mb * needed * _MARGIN / max(budget, 1) / 64) * 64
            remedy = f"raise backups.memory_mb from {self.memory_mb} to {memory:,} or more" if memory <= 10_240 else ""
            text += f". Either {remedy}, or set" if remedy else ". Set"
            text += ' backups.engine to "export" or "auto"'
        return text
