"""Restores a backup into a table: the schema, the items, the comparison that proves it."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from rollbook.engine import fingerprints, stored
from rollbook.engine.comparison import Comparison, Difference, Outcome
from rollbook.engine.deadline import Clock, Deadline
from rollbook.engine.dynamodb import batch_write, raw, scan, tables
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.formats import incremental
from rollbook.engine.history import History, Row

# What is written: every item; those whose key the table has not; those that the table has not, or has otherwise.
Mode = Literal["all", "missing", "differing"]
# While a restore lives it says so this often; one that is silent for longer than its lease is taken for dead.
_HEARTBEAT_SECONDS = 5.0
LEASE = timedelta(seconds=30)
_NAMED = 20
# After so many items the progress is told and the time looked at.
_COUNTED = 1000
_POLL_SECONDS = 0.2


class RestoreRefused(ValueError):
    """The restore cannot be begun as it was asked for; nothing was changed."""


class NotEqual(RuntimeError):
    """The table is not equal to the backup after the restore; the message names keys."""


class AlreadyRunning(RuntimeError):
    """The same restore is at work already.

    Arguments:
        until: seconds since 1970 until which it need not say that it lives.
    """

    def __init__(self, message: str, until: int) -> None:
        super().__init__(message)
        self.until = until


@dataclass(frozen=True)
class Request:
    """What is to be restored where.

    Arguments:
        key: of the backup.
        table_name: the target.
        is_new: the target is to be made; otherwise it must be there.
        mode: what is written.
        scratch: the new table is one to be thrown away.
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
        """Return what identifies the execution: the same restore, begun again, is the same."""
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
    """Told how far a restore is; does nothing by itself."""

    step: Callable[[str, int], None] = field(default=lambda _step, _total: None)
    advance: Callable[[int], None] = field(default=lambda _count: None)


class Restore:
    """Restores backups of one bucket.

    Arguments:
        dynamodb: a client of `wire.client`.
        s3: a boto3 S3 client.
        clock: returns the time now (aware).
        parallel: batches under way at a time.
        lease: how long a restore may be silent before another may take it up.
    """

    def __init__(
        self,
        *,
        dynamodb: Any,
        s3: Any,
        bucket: str,
        history: History,
        clock: Clock,
        progress: Progress | None = None,
        parallel: int = 4,
        limiter: RateLimiter | None = None,
        lease: timedelta = LEASE,
    ) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._bucket = bucket
        self._history = history
        self._clock = clock
        self._progress = progress or Progress()
        self._parallel = parallel
        self._limiter = limiter or RateLimiter()
        self._lease = lease

    def plan(self, request: Request) -> Plan:
        """Read backup and table and tell what a restore would do; nothing is changed.

        Raises:
            Corrupted: the backup is damaged.
            RestoreRefused: see `run`.
        """
        with Comparison() as comparison:
            work = self._open(request, comparison)
            total = work.read()
            if request.is_new:
                work.refuse_if_there()
                return Plan(total, None, total)
            outcome = work.compare()
        return Plan(total, outcome, _writes(request.mode, outcome))

    def run(self, request: Request, *, holder: str, deadline: Deadline | None = None) -> Row:
        """Restore a backup and return the row of the history.

        A restore that was killed is taken up where it was: the table is compared with the backup, and what is not in
        it is written, so no item is written twice and none is left out.

        Arguments:
            holder: the invocation or process that asks.

        Raises:
            Corrupted: the backup is damaged; nothing was changed.
            RestoreRefused: the target is there, or is not, or has another key schema; nothing was changed.
            AlreadyRunning: the same restore is at work elsewhere.
            NotWritten: DynamoDB refused items, which are named.
            NotEqual: the table is not what the backup is, and by which keys.
            OutOfTime: the invocation's time is over; the next one goes on from there.
        """

        def check() -> None:
            if deadline:
                deadline.check(f"the restore of {request.key} was at work")

        with Comparison() as comparison:
            work = self._open(request, comparison)
            work.read()
            check()
            row = self._claim(request, holder)
            try:
                work.renewer = _LeaseRenewer(self._history, request.id, holder, self._clock, self._lease, check)
                result = work.run(row)
                ended = self._clock()
                result["seconds"] = f"{(ended - datetime.fromisoformat(str(row['startedAt']))).total_seconds():.1f}"
                return self._history.complete(request.id, holder=holder, now=ended, values=result | {"hasBegun": False})
            except BaseException as error:
                self._history.fail(request.id, holder=holder, now=self._clock(), error=error)
                raise

    def _claim(self, request: Request, holder: str) -> Row:
        now = self._clock()
        values = {"kind": "restore", "key": request.key, "table": request.table_name, "engine": request.engine}
        claim = self._history.claim(
            request.id, holder=holder, now=now, until=now + self._lease, values=values, again=True
        )
        if not claim.granted:
            until = int(claim.row.get("leaseUntil", 0))
            raise AlreadyRunning(f"{request.id} is at work as {claim.row.get('holder')}", until)
        return claim.row

    def _open(self, request: Request, comparison: Comparison) -> _Work:
        backup = stored.open_backup(self._s3, self._bucket, request.key)
        if request.is_new and backup.table is None:
            raise RestoreRefused(
                f"{request.key} does not say what the table was; make the table and name it with --into"
            )
        if backup.change_of and request.is_new:
            raise RestoreRefused(
                f"{request.key} has only what changed from {backup.change_of[0]} to {backup.change_of[1]}; restore the "
                "full export before it first, and this one into the same table with --into"
            )
        if backup.change_of and request.mode == "missing":
            raise RestoreRefused(f"{request.key} has changes; those of missing items alone are no state of the table")
        if request.engine == "import" and (backup.manifest is None or not request.is_new):
            raise RestoreRefused("the engine import makes a new table (--to) of a backup in the export layout")
        names = self._keys(request, backup.table)
        return _Work(
            request,
            backup,
            names,
            comparison,
            self._dynamodb,
            self._bucket,
            self._progress,
            self._parallel,
            self._limiter,
        )

    def _keys(self, request: Request, definition: tables.Definition | None) -> list[str]:
        """Return the key attributes, in which the backup's table and the target must be alike."""
        if request.is_new and definition:
            return tables.key_names(definition)
        if not tables.exists(self._dynamodb, request.table_name):
            raise RestoreRefused(f"there is no table {request.table_name}; to make it, name it with --to")
        found = self._dynamodb.describe_table(TableName=request.table_name)["Table"]["KeySchema"]
        names = tables.key_names({"keySchema": found})
        if definition and names != tables.key_names(definition):
            raise RestoreRefused(
                f"the key of {request.table_name} is {names}, and that of the backup's table "
                f"{tables.key_names(definition)}"
            )
        return names


class _LeaseRenewer:
    """Says in the history that a restore lives, now and then."""

    def __init__(
        self,
        history: History,
        execution: str,
        holder: str,
        clock: Clock,
        lease: timedelta,
        check: Callable[[], None],
    ) -> None:
        self._history = history
        self._execution = execution
        self._holder = holder
        self._clock = clock
        self._lease = lease
        self._renewed_at = time.monotonic()
        self.check = check

    def renew(self, values: Row) -> None:
        self._history.extend(self._execution, holder=self._holder, until=self._clock() + self._lease, values=values)
        self._renewed_at = time.monotonic()

    def renew_if_due(self, values: Row) -> None:
        self.check()
        if time.monotonic() - self._renewed_at > min(_HEARTBEAT_SECONDS, self._lease.total_seconds() / 3):
            self.renew(values)


@dataclass
class _Work:
    """One backup on its way into one table.

    Arguments:
        names: the key attributes.
        comparison: has the backup, once `read` was called.
        renewer: beaten once there is a row of the history.
    """

    request: Request
    backup: stored.Stored
    names: list[str]
    comparison: Comparison
    dynamodb: Any
    bucket: str
    progress: Progress
    parallel: int
    limiter: RateLimiter
    renewer: _LeaseRenewer | None = None
    total: int = 0

    def read(self) -> int:
        """Verify the backup, remember its fingerprints, and return how many there are."""
        self.progress.step("Verifying the backup", 0)
        fingerprint = (incremental.fingerprint_of if self.backup.change_of else fingerprints.fingerprint_of)(self.names)
        self.total = self.comparison.read(map(fingerprint, self._counted(self.backup.items())))
        return self.total

    def compare(self) -> Outcome:
        """Compare the table as it is now with the backup."""
        self.progress.step("Comparing", self.total)
        # An eventually consistent read may miss what was just written.
        found = items_of(self.dynamodb, self.request.table_name, is_consistent=True)
        return self.comparison.compare(map(fingerprints.fingerprint_of(self.names), self._counted(found)))

    def run(self, row: Row) -> Row:
        """Restore, prove it, and return what the history has to say of it."""
        # Set by a try before this one that had begun to change the target, and taken back when it was completed.
        is_resumed = bool(row.get("hasBegun"))
        if self.request.is_new and not is_resumed:
            self.refuse_if_there()
        self._renew({"hasBegun": True})
        if self.request.engine == "import" and not is_resumed:
            self._import()
            written = self.total
        else:
            if self.request.is_new:
                self.progress.step("Making the table", 0)
                self._make_table()
            written = self._write(is_resumed=is_resumed)
        outcome = self.compare()
        self._expect_equal(outcome)
        if self.request.is_new and not self.request.scratch:
            tables.finish(self.dynamodb, self._definition(), self.request.table_name)
        return {
            "items": self.total,
            "written": int(row.get("written", 0)) + written if is_resumed else written,
            "unlike": outcome.changed,
            "besides": outcome.added,
        }

    def refuse_if_there(self) -> None:
        """Raise if the table that is to be made is there already."""
        if tables.exists(self.dynamodb, self.request.table_name):
            raise RestoreRefused(
                f"there is a table {self.request.table_name} already; to write into it, name it with --into"
            )

    def _definition(self) -> tables.Definition:
        if self.backup.table is None:
            raise RestoreRefused(f"{self.request.key} does not say what the table was")
        return self.backup.table

    def _make_table(self) -> None:
        """Create the table, or go on where an earlier try was stopped."""
        is_there = tables.exists(self.dynamodb, self.request.table_name)
        (tables.prepare if is_there else tables.create)(
            self.dynamodb,
            self._definition(),
            self.request.table_name,
            scratch=self.request.scratch,
            waiting=self._renew_if_due,
        )

    def _renew(self, values: Row) -> None:
        if self.renewer:
            self.renewer.renew(values)

    def _renew_if_due(self) -> None:
        if self.renewer:
            self.renewer.renew_if_due({})

    def _counted(self, side: Iterator[bytes]) -> Iterator[bytes]:
        for number, found in enumerate(side, start=1):
            yield found
            if number % _COUNTED == 0:
                self.progress.advance(_COUNTED)
                self._renew_if_due()

    def _write(self, *, is_resumed: bool) -> int:
        wanted: bytearray | None = None
        count = self.total
        if is_resumed or self.request.mode != "all":
            outcome = self.compare()
            wanted = _bitmap(self.total, self.request.mode, self.comparison.differences())
            count = _writes(self.request.mode, outcome)
        self.progress.step("Writing", count)
        reached = 0

        def progress(written: int) -> None:
            nonlocal reached
            self.progress.advance(written - reached)
            reached = written
            if self.renewer:
                self.renewer.renew_if_due({"written": written})

        writer = batch_write.Writer(
            self.dynamodb,
            self.request.table_name,
            key_names=self.names,
            parallel=self.parallel,
            limiter=self.limiter,
            check=self.renewer.check if self.renewer else lambda: None,
            progress=progress,
        )
        request_of = _change_request if self.backup.change_of else raw.put
        return writer.write(
            request_of(found)
            for number, found in enumerate(self.backup.items())
            if wanted is None or wanted[number >> 3] & 1 << (number & 7)
        )

    def _import(self) -> None:
        self.progress.step("Importing", 0)
        if not isinstance(self.backup, stored.Export):
            raise RestoreRefused("the engine import needs the export layout")
        prefix, method = self.backup.data()
        started = self.dynamodb.import_table(
            ClientToken=hashlib.sha256(self.request.id.encode()).hexdigest()[:36],
            S3BucketSource={"S3Bucket": self.bucket, "S3KeyPrefix": prefix},
            InputFormat="DYNAMODB_JSON",
            InputCompressionType=method.upper(),
            TableCreationParameters=tables.parameters(
                self._definition(), self.request.table_name, self.dynamodb.meta.region_name
            ),
        )["ImportTableDescription"]
        while True:
            found = self.dynamodb.describe_import(ImportArn=started["ImportArn"])["ImportTableDescription"]
            if found["ImportStatus"] not in {"IN_PROGRESS", "CANCELLING"}:
                break
            self._renew_if_due()
            time.sleep(_POLL_SECONDS)
        if found["ImportStatus"] != "COMPLETED":
            raise RestoreRefused(
                f"AWS's import {started['ImportArn']} ended as {found['ImportStatus']}: "
                f"{found.get('FailureCode')}: {found.get('FailureMessage')}; {found.get('ErrorCount', 0):,} failed"
            )
        # ImportTable takes no point-in-time recovery (API reference, "TableCreationParameters").
        self._make_table()

    def _expect_equal(self, outcome: Outcome) -> None:
        # Into a table that others write to, what is there besides is theirs, and so is, with `missing`, what differs.
        allowed = set() if self.request.is_new else {"added"}
        allowed |= {"changed"} if self.request.mode == "missing" else set()
        counts = {"added": outcome.added, "removed": outcome.removed, "changed": outcome.changed}
        count = sum(number for kind, number in counts.items() if kind not in allowed)
        if not count:
            return
        wrong = (found for found in self.comparison.differences() if found.kind not in allowed)
        named = "\n".join(f"  {found.kind}: {found.key}" for found in itertools.islice(wrong, _NAMED))
        more = f"\n  and {count - _NAMED:,} more" if count > _NAMED else ""
        raise NotEqual(
            f"{self.request.table_name} is not equal to {self.request.key} after the restore: {count:,} keys differ, "
            f"of {outcome.first:,} items in the backup:\n{named}{more}"
        )


def _change_request(line: bytes) -> bytes:
    return incremental.read(line).request


def items_of(
    dynamodb: Any,
    table_name: str,
    *,
    segments: int = 1,
    limiter: RateLimiter | None = None,
    is_consistent: bool = False,
) -> Iterator[bytes]:
    """Yield the items of a table as bytes.

    Arguments:
        is_consistent: every write that was answered before is seen, for twice the read units.
    """
    for page in scan.pages(dynamodb, table_name, segments=segments, limiter=limiter, is_consistent=is_consistent):
        for found in page.items:
            yield bytes(found)


def _bitmap(total: int, mode: Mode, differences: Iterator[Difference]) -> bytearray:
    """Return one bit for each item of the backup: whether it is to be written."""
    wanted = bytearray(total // 8 + 1)
    kinds = {"removed"} if mode == "missing" else {"removed", "changed"}
    for difference in differences:
        if difference.kind in kinds:
            wanted[difference.number >> 3] |= 1 << (difference.number & 7)
    return wanted


def _writes(mode: Mode, outcome: Outcome) -> int:
    if mode == "all":
        return outcome.first
    return outcome.removed if mode == "missing" else outcome.removed + outcome.changed
