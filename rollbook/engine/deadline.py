"""The time limit of an invocation, and a projection whether a scan finishes within it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rollbook.contract import pauses
from rollbook.contract.jobs import BackupJob
from rollbook.contract.pauses import RESERVE_SECONDS, OutOfTime
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.dynamodb.scan import Page

__all__ = ["Clock", "Deadline", "OutOfTime", "bytes_per_read_unit"]
# A projection is used after this time. Before it, the cold start dominates the measurement.
_TRUSTED_AFTER_SECONDS = 20.0
# The scan is stopped if the projection exceeds the remaining time by more than this factor.
_MARGIN = 1.25
# A strongly consistent read unit is a block of 4 KB, any other one two (Developer Guide, "DynamoDB read consistency").
_BLOCK_BYTES = 4096

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Deadline:
    """When an invocation ends, by the monotonic clock, because the wall clock may jump.

    Arguments:
        ends_at: the end, as `clock` measures it.
        memory_mb: the function's memory; None outside Lambda.
        pause: waits for a number of seconds; tests pass their own.
    """

    ends_at: float
    memory_mb: int | None = None
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = pauses.sleep

    @classmethod
    def after(cls, seconds: float, memory_mb: int | None = None) -> Deadline:
        """Return the deadline that is `seconds` from now."""
        return cls(time.monotonic() + seconds, memory_mb)

    def until(self, now: datetime) -> datetime:
        """Return when the invocation ends, by a wall clock that shows `now`."""
        return now + timedelta(seconds=self.ends_at - self.clock())

    def left(self) -> float:
        """Return the seconds that are left for the work, without the reserve."""
        return self.ends_at - self.clock() - RESERVE_SECONDS

    def earlier(self, seconds: float) -> Deadline:
        """Return a deadline that leaves some seconds for what comes after the work."""
        return replace(self, ends_at=self.ends_at - seconds)

    def sleep(self, seconds: float, what: str) -> None:
        """Pause during the work.

        Arguments:
            what: why, as the beginning of a sentence.

        Raises:
            OutOfTime: no time is left after the pause. It is not begun.
        """
        if seconds >= self.left():
            raise OutOfTime(
                f"{what}, and a pause of {seconds:,.0f} s does not fit into the {max(self.left(), 0):,.0f} s that are "
                "left; give the function more time"
            )
        self.pause(seconds)

    def limiter(self, job: BackupJob) -> RateLimiter:
        """Return the limiter of a scan, whose pauses end before the time does."""
        what = f"the rate of {job.table_name} or its limit is too low"
        return RateLimiter(
            job.read_units_per_second or None, sleep=lambda seconds: self.sleep(seconds, what), clock=self.clock
        )

    def check(self, what: str) -> None:
        """Raise if no time is left for the work.

        Arguments:
            what: the work and its progress, as the beginning of a sentence.

        Raises:
            OutOfTime: no time is left.
        """
        if self.left() <= 0:
            raise OutOfTime(f"{what} when the time of the invocation was over; give the function more memory or time")

    def watch(
        self, pages: Generator[Page, None, None], table_bytes: int, *, is_consistent: bool = False
    ) -> Iterator[Page]:
        """Yield the pages of a scan while it is expected to finish in time.

        Arguments:
            table_bytes: the table's size as last reported by DynamoDB, which updates it every six hours.
            is_consistent: whether the pages are of strongly consistent reads.

        Raises:
            OutOfTime: the scan will not finish in time. The message has the bytes read, the rate and the time needed.
        """
        began = self.clock()
        budget = self.left()
        read = 0.0
        with closing(pages):  # ends the threads of the scan
            for page in pages:
                units = page.read_units
                yield page
                del page  # before the next one is read
                read += units * bytes_per_read_unit(is_consistent=is_consistent)
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


def bytes_per_read_unit(*, is_consistent: bool) -> int:
    """Return how many bytes a scan reads for a read unit."""
    return _BLOCK_BYTES if is_consistent else 2 * _BLOCK_BYTES
