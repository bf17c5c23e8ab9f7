"""The time that an invocation has, and whether a scan will be done within it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollbook.engine.dynamodb.scan import Page

# What is kept for aborting the upload, the history and the mail.
_RESERVE_SECONDS = 15.0
# A projection is believed after this many seconds; before, a cold start is most of what it sees.
_TRUSTED_AFTER_SECONDS = 20.0
# ... and acted on if it is past the time by more than this.
_MARGIN = 1.25
# An eventually consistent read unit is two blocks of 4 KB (Developer Guide, "DynamoDB read consistency").
_BYTES_PER_READ_UNIT = 8192


Clock = Callable[[], datetime]


class OutOfTime(RuntimeError):
    """The work does not fit into the invocation; the message says how much it needs."""


@dataclass(frozen=True)
class Deadline:
    """When an invocation ends, by the monotonic clock: the wall clock may jump.

    Arguments:
        ends_at: by `clock`.
        memory_mb: what the function has; None outside of Lambda.
    """

    ends_at: float
    memory_mb: int | None = None
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, memory_mb: int | None = None) -> Deadline:
        """Return the deadline in so many seconds from now."""
        return cls(time.monotonic() + seconds, memory_mb)

    def until(self, now: datetime) -> datetime:
        """Return when the invocation ends, by a clock that shows `now`."""
        return now + timedelta(seconds=self.ends_at - self.clock())

    def left(self) -> float:
        """Return the seconds that are left for the work itself."""
        return self.ends_at - self.clock() - _RESERVE_SECONDS

    def check(self, what: str) -> None:
        """Raise if the time for the work is over.

        Arguments:
            what: what was at work and how far it came, as the beginning of a sentence.

        Raises:
            OutOfTime: it is.
        """
        if self.left() <= 0:
            raise OutOfTime(f"{what} when the time of the invocation was over; give the function more memory or time")

    def watch(self, pages: Generator[Page, None, None], table_bytes: int) -> Iterator[Page]:
        """Pass pages on for as long as the rest of them can be expected in time.

        Arguments:
            table_bytes: the table's size as DynamoDB last told (it does so every six hours).

        Raises:
            OutOfTime: with what was read, at what rate, and what all of it would need.
        """
        began = self.clock()
        budget = self.left()
        read = 0.0
        with closing(pages):  # so that its threads end with it
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
            f"({read / elapsed / 1e6:,.1f} MB/s); all of it needs {needed:,.0f} s or more, and it had "
            f"{budget:,.0f} s"
        )
        if self.memory_mb:
            # Lambda gives processor by memory, up to 10,240 MB.
            wanted = math.ceil(self.memory_mb * needed * _MARGIN / max(budget, 1) / 64) * 64
            remedy = f"raise backups.memory_mb from {self.memory_mb} to {wanted:,} or more" if wanted <= 10_240 else ""
            text += f". Either {remedy}, or set" if remedy else ". Set"
            text += ' backups.engine to "export" or "auto"'
        return text
