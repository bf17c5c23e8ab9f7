"""Restores a backup into a table: the schema, the items, the comparison that proves it."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from handlers.backups import item as items
from handlers.backups import scan, stored, table, wire, write
from handlers.backups.compare import Comparison, Difference, Outcome
from handlers.backups.deadline import Deadline
from handlers.backups.history import History, Row
from handlers.backups.pace import Pace

Clock = Callable[[], datetime]
# What is written: every item; those whose key the table has not; those that the table has not, or has otherwise.
Mode = Literal["all", "missing", "differing"]
# While a restore lives it says so this often; one that is silent for longer than its lease is taken for dead.
_HEARTBEAT_SECONDS = 5.0
LEASE = timedelta(seconds=30)
_NAMED = 20


class RestoreRefused(ValueError):
    """The restore cannot be begun as it was asked for; nothing was changed."""


class NotEqual(RuntimeError):
    """The table is not equal to the backup after the restore; the message names keys."""


class AtWork(RuntimeError):
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
        pace: Pace | None = None,
        lease: timedelta = LEASE,
    ) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._bucket = bucket
        self._history = history
        self._clock = clock
        self._progress = progress or Progress()
        self._parallel = parallel
        self._pace = pace or Pace()
        self._lease = lease

    def plan(self, request: Request) -> Plan:
        """Read backup and table and tell what a restore would do; nothing is changed.

        Raises:
            Corrupted: the backup is damaged.
            RestoreRefused: see `run`.
        """
        backup, definition = self._open(request)
        whole = self._verified(backup)
        if not table.exists(self._dynamodb, request.table_name):
            if not request.is_new:
                raise RestoreRefused(f"there is no table {request.table_name}; to make it, name it with --to")
            return Plan(whole, None, whole)
        if request.is_new:
            raise RestoreRefused(
                f"there is a table {request.table_name} already; to write into it, name it with --into"
            )
        with Comparison(self._keys(request, definition)) as comparison:
            outcome = self._compare(comparison, backup, request.table_name, whole)
        return Plan(whole, outcome, _writes(request.mode, outcome))

    def run(self, request: Request, *, holder: str, deadline: Deadline | None = None) -> Row:
        """Restore a backup and return the row of the history.

        A restore that was killed is taken up where it was: the table is compared with the backup, and what is not in
        it is written, so no item is written twice and none is left out.

        Arguments:
            holder: the invocation or process that asks.

        Raises:
            Corrupted: the backup is damaged; nothing was changed.
            RestoreRefused: the target is there, or is not, or has another key schema; nothing was changed.
            AtWork: the same restore is at work elsewhere.
            NotWritten: DynamoDB refused items, which are named.
            NotEqual: the table is not what the backup is, and by which keys.
            OutOfTime: the invocation's time is over; the next one goes on from there.
        """

        def check() -> None:
            if deadline:
                deadline.check(f"the restore of {request.key} was at work")

        backup, definition = self._open(request)
        total = self._verified(backup)
        check()
        row = self._claim(request, holder)
        try:
            result = self._restore(request, backup, definition, total, row, holder, check)
            ended = self._clock()
            result["seconds"] = f"{(ended - datetime.fromisoformat(str(row['startedAt']))).total_seconds():.1f}"
            result["hasBegun"] = False
            return self._history.complete(request.id, holder=holder, now=ended, values=result)
        except BaseException as error:
            self._history.fail(request.id, holder=holder, now=self._clock(), error=error)
            raise

    def _open(self, request: Request) -> tuple[stored.Stored, table.Definition | None]:
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
        if backup.change_of:
            raise RestoreRefused(
                f"{request.key} has only what changed from {backup.change_of[0]} to {backup.change_of[1]}; apply it "
                "with AWS's own tools, or restore a full backup"
            )
        if request.engine == "import" and (backup.manifest is None or not request.is_new):
            raise RestoreRefused("the engine import makes a new table (--to) of a backup in the export layout")
        return backup, backup.table

    def _verified(self, backup: stored.Stored) -> int:
        self._progress.step("Verifying the backup", 0)
        return stored.verify(backup).items

    def _claim(self, request: Request, holder: str) -> Row:
        now = self._clock()
        values = {"kind": "restore", "key": request.key, "table": request.table_name, "engine": request.engine}
        claim = self._history.claim(
            request.id, holder=holder, now=now, until=now + self._lease, values=values, again=True
        )
        if not claim.granted:
            until = int(claim.row.get("leaseUntil", 0))
            raise AtWork(f"{request.id} is at work as {claim.row.get('holder')}", until)
        return claim.row

    def _restore(
        self,
        request: Request,
        backup: stored.Stored,
        definition: table.Definition | None,
        total: int,
        row: Row,
        holder: str,
        check: Callable[[], None],
    ) -> Row:
        alive = self._heart(request.id, holder, check)
        # Set by a try before this one that had begun to change the target, and taken back when it was completed.
        is_resumed = bool(row.get("hasBegun"))
        self._prepare(request, definition, is_resumed, alive)
        alive.beat({"hasBegun": True})
        written = 0
        if request.engine == "import" and not is_resumed:
            self._import(request, backup, definition or {}, alive)
            written = total
        else:
            written = self._write(request, backup, definition, total, is_resumed, alive)
        with Comparison(self._keys(request, definition)) as comparison:
            outcome = self._compare(comparison, backup, request.table_name, total, alive)
            self._expect_equal(request, comparison, outcome)
        if request.is_new and not request.scratch and definition:
            table.finish(self._dynamodb, definition, request.table_name)
        return {
            "items": total,
            "written": int(row.get("written", 0)) + written if is_resumed else written,
            "unlike": outcome.changed,
            "besides": outcome.added,
        }

    def _heart(self, execution: str, holder: str, check: Callable[[], None]) -> _Heart:
        return _Heart(self._history, execution, holder, self._clock, self._lease, check)

    def _prepare(self, request: Request, definition: table.Definition | None, is_resumed: bool, alive: _Heart) -> None:
        is_there = table.exists(self._dynamodb, request.table_name)
        if not request.is_new:
            if not is_there:
                raise RestoreRefused(f"there is no table {request.table_name}; to make it, name it with --to")
            self._keys(request, definition)
            return
        if is_there and not is_resumed:
            raise RestoreRefused(
                f"there is a table {request.table_name} already; to write into it, name it with --into"
            )
        alive.beat({"hasBegun": True})
        if not is_there and request.engine == "write" and definition:
            self._progress.step("Making the table", 0)
            table.create(self._dynamodb, definition, request.table_name, scratch=request.scratch)

    def _keys(self, request: Request, definition: table.Definition | None) -> list[str]:
        """Return the key attributes, which the backup's and the target's must be alike."""
        if request.is_new and definition:
            return table.key_names(definition)
        found = self._dynamodb.describe_table(TableName=request.table_name)["Table"]["KeySchema"]
        names = table.key_names({"keySchema": found})
        if definition and names != table.key_names(definition):
            raise RestoreRefused(
                f"the key of {request.table_name} is {names}, and that of the backup's table "
                f"{table.key_names(definition)}"
            )
        return names

    def _write(
        self,
        request: Request,
        backup: stored.Stored,
        definition: table.Definition | None,
        total: int,
        is_resumed: bool,
        alive: _Heart,
    ) -> int:
        wanted: bytearray | None = None
        count = total
        if is_resumed or request.mode != "all":
            with Comparison(self._keys(request, definition)) as comparison:
                outcome = self._compare(comparison, backup, request.table_name, total, alive)
                wanted = _bitmap(total, request.mode, comparison.differences())
            count = _writes(request.mode, outcome)
        self._progress.step("Writing", count)
        reached = 0

        def progress(written: int) -> None:
            nonlocal reached
            self._progress.advance(written - reached)
            reached = written
            alive.beat_if_due({"written": written})

        writer = write.Writer(
            self._dynamodb,
            request.table_name,
            key=items.key_of(self._keys(request, definition)),
            parallel=self._parallel,
            pace=self._pace,
            check=alive.check,
            progress=progress,
        )
        return writer.write(
            wire.put(found)
            for number, found in enumerate(backup.items())
            if wanted is None or wanted[number >> 3] & 1 << (number & 7)
        )

    def _import(self, request: Request, backup: stored.Stored, definition: table.Definition, alive: _Heart) -> None:
        self._progress.step("Importing", 0)
        export = backup
        if not isinstance(export, stored.Export):
            raise RestoreRefused("the engine import needs the export layout")
        prefix, method = export.data()
        given = table.parameters(definition, request.table_name)
        started = self._dynamodb.import_table(
            ClientToken=hashlib.sha256(request.id.encode()).hexdigest()[:36],
            S3BucketSource={"S3Bucket": self._bucket, "S3KeyPrefix": prefix},
            InputFormat="DYNAMODB_JSON",
            InputCompressionType=method.upper(),
            TableCreationParameters=given,
        )["ImportTableDescription"]
        while True:
            found = self._dynamodb.describe_import(ImportArn=started["ImportArn"])["ImportTableDescription"]
            if found["ImportStatus"] not in {"IN_PROGRESS", "CANCELLING"}:
                break
            alive.beat_if_due({})
            time.sleep(0.2)
        if found["ImportStatus"] != "COMPLETED":
            raise RestoreRefused(
                f"AWS's import {started['ImportArn']} ended as {found['ImportStatus']}: "
                f"{found.get('FailureCode')}: {found.get('FailureMessage')}; {found.get('ErrorCount', 0):,} failed"
            )

    def _compare(
        self,
        comparison: Comparison,
        backup: stored.Stored,
        table_name: str,
        total: int,
        alive: _Heart | None = None,
    ) -> Outcome:
        self._progress.step("Comparing", 2 * total)

        def counted(side: Iterator[bytes]) -> Iterator[bytes]:
            for number, found in enumerate(side, start=1):
                yield found
                if number % 1000 == 0:
                    self._progress.advance(1000)
                    if alive:
                        alive.beat_if_due({})

        return comparison.run(counted(backup.items()), counted(items_of(self._dynamodb, table_name)))

    def _expect_equal(self, request: Request, comparison: Comparison, outcome: Outcome) -> None:
        # Into a table that others write to, what is there besides is theirs, and so is, with `missing`, what differs.
        allowed = set() if request.is_new else {"added"}
        allowed |= {"changed"} if request.mode == "missing" else set()
        counts = {"added": outcome.added, "removed": outcome.removed, "changed": outcome.changed}
        count = sum(number for kind, number in counts.items() if kind not in allowed)
        if not count:
            return
        wrong = (found for found in comparison.differences() if found.kind not in allowed)
        named = "\n".join(f"  {found.kind}: {found.key}" for found in itertools.islice(wrong, _NAMED))
        more = f"\n  and {count - _NAMED:,} more" if count > _NAMED else ""
        raise NotEqual(
            f"{request.table_name} is not equal to {request.key} after the restore: {count:,} keys differ, of "
            f"{outcome.first:,} items in the backup:\n{named}{more}"
        )


class _Heart:
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
        self._beaten_at = time.monotonic()
        self.check = check

    def beat(self, values: Row) -> None:
        self._history.extend(self._execution, holder=self._holder, until=self._clock() + self._lease, values=values)
        self._beaten_at = time.monotonic()

    def beat_if_due(self, values: Row) -> None:
        self.check()
        if time.monotonic() - self._beaten_at > min(_HEARTBEAT_SECONDS, self._lease.total_seconds() / 3):
            self.beat(values)


def items_of(dynamodb: Any, table_name: str, *, segments: int = 1, pace: Pace | None = None) -> Iterator[bytes]:
    """Yield the items of a table as bytes."""
    for page in scan.pages(dynamodb, table_name, segments=segments, pace=pace):
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
