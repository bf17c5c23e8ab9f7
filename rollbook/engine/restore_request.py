"""The request for a restore, its options, and the errors of a restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from rollbook.engine.comparison import Outcome
from rollbook.engine.dynamodb.rate_limiter import RateLimiter

# `all` writes every item; `missing` those whose key the table does not have; `differing` also those that differ.
Mode = Literal["all", "missing", "differing"]
# A restore that has not renewed its lease for this time was killed, and another one may continue it.
LEASE = timedelta(seconds=30)


class RestoreRefused(ValueError):
    """The request cannot be executed. Nothing was changed."""


class NotEqual(RuntimeError):
    """The table differs from the backup after the restore. The message names keys."""


class AlreadyRunning(RuntimeError):
    """The same restore is already running.

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
        is_new: whether to create the target; otherwise it must exist.
        mode: which items are written.
        scratch: whether the new table is temporary and will be deleted.
        engine: `write` uses BatchWriteItem; `import` uses AWS's ImportTable, which creates a new table.
        chain: whether to restore the base and all increments up to an incremental export.
    """

    key: str
    table_name: str
    is_new: bool
    mode: Mode = "all"
    scratch: bool = False
    engine: Literal["write", "import"] = "write"
    chain: bool = False

    @property
    def id(self) -> str:
        """Return the execution's id. A repeated request has the same id."""
        return f"restore#{self.table_name}#{self.key}{'#chain' if self.chain else ''}"


@dataclass(frozen=True)
class Plan:
    """The plan of a restore.

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
    """Two callbacks that report the progress of a restore. By default they do nothing."""

    step: Callable[[str, int], None] = field(default=lambda _step, _total: None)
    advance: Callable[[int], None] = field(default=lambda _count: None)


@dataclass(frozen=True)
class Options:
    """The options of a restore.

    Arguments:
        progress: called during the restore.
        parallel: the number of batches sent at the same time.
        limiter: limits the write units per second.
        lease: how long the lease lasts without renewal; then another process may continue the restore.
    """

    progress: Progress = field(default_factory=Progress)
    parallel: int = 4
    limiter: RateLimiter = field(default_factory=RateLimiter)
    lease: timedelta = LEASE
