"""The request for a restore, its options, and the errors of a restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from rollbook.engine.comparison import Outcome
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.selection import Selection

# `all` writes every item without a condition; `missing` those whose key the table does not have; `differing` also those
# that differ. The last two write an item only if the table still has what was compared.
Mode = Literal["all", "missing", "differing"]
# A restore that has not renewed its lease for this time was killed, and another one may continue it.
LEASE = timedelta(seconds=30)
# A restore into a new table that stopped longer ago is not continued, because the table may be in use since. The token
# of ImportTable ends after 8 hours, too (API reference, "ImportTable"), and Lambda's retries after 6.
RESUMABLE = timedelta(hours=8)


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
        allows_unknown: whether to restore a backup that the history does not know.
        engine: `write` uses BatchWriteItem; `import` uses AWS's ImportTable, which creates a new table.
        selection: which items of the backup are restored.
        indexes_after: whether the global secondary indexes of a new table are created after the items are written.
            Then DynamoDB does not refuse an item because of an index's key; it leaves it out of the index.
        kms_key: the new table's key: an ARN, `aws-managed` or `aws-owned`; empty for the key of the backup's table.
        chain: whether to restore the base and all increments up to an incremental export.
    """

    key: str
    table_name: str
    is_new: bool
    mode: Mode = "all"
    scratch: bool = False
    engine: Literal["write", "import"] = "write"
    allows_unknown: bool = False
    selection: Selection = field(default_factory=Selection)
    indexes_after: bool = False
    kms_key: str = ""
    chain: bool = False

    @property
    def id(self) -> str:
        """Return the execution's id. A repeated request has the same id."""
        return f"restore#{self.table_name}#{self.key}{self.selection.id}{'#chain' if self.chain else ''}"


@dataclass(frozen=True)
class Change:
    """One item before and after a restore, as DynamoDB JSON; None if there is none."""

    key: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True)
class Plan:
    """The plan of a restore.

    Arguments:
        items: how many items the backup has.
        outcome: how the table differs from the backup; None if there is no such table.
        writes: how many items would be written.
        keys: the first keys by kind: `added` (the table does not have them), `newer` (they differ, and the table's item
            was written after the backup) and `replaced` (they differ, and it is unknown which is newer).
        changes: the first selected items before and after; empty if all items are restored.
    """

    items: int
    outcome: Outcome | None
    writes: int
    keys: dict[str, list[str]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


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
        managed_key: returns the ARN of the AWS managed key of DynamoDB; empty if it is unknown.
    """

    progress: Progress = field(default_factory=Progress)
    parallel: int = 4
    limiter: RateLimiter = field(default_factory=RateLimiter)
    lease: timedelta = LEASE
    managed_key: Callable[[], str] = field(default=lambda: "")
