"""What a restore is asked for, and why it may be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from rollbook.engine.comparison import Outcome
from rollbook.engine.dynamodb.rate_limiter import RateLimiter

# What is written: every item; those whose key the table lacks; those that the table lacks or has otherwise.
Mode = Literal["all", "missing", "differing"]
# A restore whose lease is older than this was killed, and another may continue it.
LEASE = timedelta(seconds=30)


class RestoreRefused(ValueError):
    """The restore cannot be begun as it was asked for; nothing was changed."""


class NotEqual(RuntimeError):
    """The table differs from the backup after the restore; the message names keys."""


class AlreadyRunning(RuntimeError):
    """The same restore is at work already.

    Arguments:
        until: when its lease ends, in seconds since 1970.
    """

    def __init__(self, message: str, until: int) -> None:
        super().__init__(message)
        self.until = until


@dataclass(frozen=True)
class Request:
    """A request for a restore.

    Arguments:
        key: of the backup.
        table_name: the target.
        is_new: create the target; otherwise it must exist.
        mode: which items are written.
        scratch: the new table is deleted after a comparison.
        engine: `write`, by BatchWriteItem, or `import`, AWS's ImportTable into a new table.
    """

    key: str
    table_name: str
    is_new: bool
    mode: Mode = "all"
    scratch: bool = False
    engine: Literal["write", "import"] = "write"

    @property
    def id(self) -> str:
        """Return the id of the execution: the same restore, begun again, has the same."""
        return f"restore#{self.table_name}#{self.key}"


@dataclass(frozen=True)
class Plan:
    """What a restore would do.

    Arguments:
        items: how many items the backup has.
        outcome: how the table differs from the backup; None if there is no such table.
        writes: how many items would be written.
    """

    items: int
    outcome: Outcome | None
    writes: int


@dataclass
class Progress:
    """Two functions that a restore calls as it proceeds; by default they do nothing."""

    step: Callable[[str, int], None] = field(default=lambda _step, _total: None)
    advance: Callable[[int], None] = field(default=lambda _count: None)


@dataclass(frozen=True)
class Options:
    """How a restore proceeds.

    Arguments:
        progress: called as it proceeds.
        parallel: batches under way at a time.
        limiter: the rate of write units to keep.
        lease: how long a restore may be silent before another may continue it.
    """

    progress: Progress = field(default_factory=Progress)
    parallel: int = 4
    limiter: RateLimiter = field(default_factory=RateLimiter)
    lease: timedelta = LEASE
