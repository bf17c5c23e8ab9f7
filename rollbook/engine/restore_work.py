"""Does the work of one restore: reads the backup, creates the table, writes the items and compares."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rollbook.engine import fingerprints
from rollbook.engine.comparison import Comparison, Difference, Outcome
from rollbook.engine.dynamodb import batch_write, definitions, raw, scan, tables
from rollbook.engine.executions import Execution, Row
from rollbook.engine.formats import incremental
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import Mode, NotEqual, Options, Request, RestoreRefused
from rollbook.engine.stored import StoredBackup
from rollbook.engine.stored_export import StoredExport

_NAMED = 20
# After this number of items, the progress is reported and the time is checked.
_PROGRESS_ITEMS = 1000
_POLL_SECONDS = 0.2


@dataclass
class RestoreWork:
    """The restore of one backup into one table.

    Arguments:
        names: the key attributes.
        comparison: holds the backup's fingerprints after `read`.
        renewer: renews the execution's lease; None for a plan.
    """

    request: Request
    backup: StoredBackup
    names: list[str]
    comparison: Comparison
    resources: Resources
    options: Options
    renewer: LeaseRenewer | None = None
    total: int = 0

    def read(self) -> int:
        """Verify the backup, store its fingerprints and return their number."""
        self.options.progress.step("Verifying the backup", 0)
        fingerprint = (incremental.fingerprint_of if self.backup.change_of else fingerprints.fingerprint_of)(self.names)
        self.total = self.comparison.read(map(fingerprint, self._counted(self.backup.items())))
        return self.total

    def compare(self) -> Outcome:
        """Compare the table's current items with the backup."""
        self.options.progress.step("Comparing", self.total)
        # An eventually consistent read may miss recent writes.
        found = scan.items(self.resources.dynamodb, self.request.table_name, is_consistent=True)
        return self.comparison.compare(map(fingerprints.fingerprint_of(self.names), self._counted(found)))

    def run(self, execution: Execution) -> Row:
        """Restore, compare and return the values for the history row."""
        # A try sets `has_begun` before it changes the target; completing the execution resets it.
        is_resumed = execution.has_begun
        if self.request.is_new and not is_resumed:
            self.refuse_existing_table()
        self._renew({"hasBegun": True})
        if self.request.engine == "import" and not is_resumed:
            self._import()
            written = self.total
        else:
            if self.request.is_new:
                self.options.progress.step("Creating the table", 0)
                self._create_table()
            written = self._write(is_resumed=is_resumed)
        outcome = self.compare()
        self._expect_equal(outcome)
        if self.request.is_new and not self.request.scratch:
            tables.finish(self.resources.dynamodb, self._definition(), self.request.table_name)
        return {
            "items": self.total,
            "written": execution.written + written if is_resumed else written,
            "differing": outcome.changed,
            "extra": outcome.added,
        }

    def refuse_existing_table(self) -> None:
        """Raise RestoreRefused if the new table exists already."""
        if tables.exists(self.resources.dynamodb, self.request.table_name):
            raise RestoreRefused(
                f"the table {self.request.table_name} exists already; to write into it, name it with --into"
            )

    def _definition(self) -> definitions.Definition:
        if self.backup.table is None:
            raise RestoreRefused(f"{self.request.key} does not contain the table's definition")
        return self.backup.table

    def _create_table(self) -> None:
        """Create the table, or continue where an earlier try stopped."""
        is_there = tables.exists(self.resources.dynamodb, self.request.table_name)
        (tables.prepare if is_there else tables.create)(
            self.resources.dynamodb,
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
            if number % _PROGRESS_ITEMS == 0:
                self.options.progress.advance(_PROGRESS_ITEMS)
                self._renew_if_due()

    def _write(self, *, is_resumed: bool) -> int:
        selected: bytearray | None = None
        count = self.total
        if is_resumed or self.request.mode != "all":
            outcome = self.compare()
            selected = _bitmap(self.total, self.request.mode, self.comparison.differences())
            count = writes(self.request.mode, outcome)
        self.options.progress.step("Writing", count)
        reached = 0

        def progress(written: int) -> None:
            nonlocal reached
            self.options.progress.advance(written - reached)
            reached = written
            if self.renewer:
                self.renewer.renew_if_due({"written": written})

        writer = batch_write.Writer(
            self.resources.dynamodb,
            self.request.table_name,
            key_names=self.names,
            parallel=self.options.parallel,
            limiter=self.options.limiter,
            check=self.renewer.check if self.renewer else lambda: None,
            progress=progress,
        )
        request_of = _change_request if self.backup.change_of else raw.put
        return writer.write(
            request_of(found)
            for number, found in enumerate(self.backup.items())
            if selected is None or selected[number >> 3] & 1 << (number & 7)
        )

    def _import(self) -> None:
        self.options.progress.step("Importing", 0)
        if not isinstance(self.backup, StoredExport):
            raise RestoreRefused("the engine import needs the export layout")
        prefix, method = self.backup.data()
        started = self.resources.dynamodb.import_table(
            ClientToken=hashlib.sha256(self.request.id.encode()).hexdigest()[:36],
            S3BucketSource={"S3Bucket": self.resources.bucket, "S3KeyPrefix": prefix},
            InputFormat="DYNAMODB_JSON",
            InputCompressionType=method.upper(),
            TableCreationParameters=definitions.parameters(
                self._definition(), self.request.table_name, self.resources.dynamodb.meta.region_name
            ),
        )["ImportTableDescription"]
        while True:
            found = self.resources.dynamodb.describe_import(ImportArn=started["ImportArn"])["ImportTableDescription"]
            if found["ImportStatus"] not in {"IN_PROGRESS", "CANCELLING"}:
                break
            self._renew_if_due()
            time.sleep(_POLL_SECONDS)
        if found["ImportStatus"] != "COMPLETED":
            raise RestoreRefused(
                f"the import {started['ImportArn']} ended with the status {found['ImportStatus']}: "
                f"{found.get('FailureCode')}: {found.get('FailureMessage')}; failed items: "
                f"{found.get('ErrorCount', 0):,}"
            )
        # ImportTable cannot turn on point-in-time recovery (API reference, "TableCreationParameters").
        self._create_table()

    def _expect_equal(self, outcome: Outcome) -> None:
        # Others may write to an existing table, so extra items are allowed. With `missing`, so are differing items.
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
            f"{self.request.table_name} is not equal to {self.request.key} after the restore: {count:,} keys differ; "
            f"the backup has {outcome.first:,} items:\n{named}{more}"
        )


def _change_request(line: bytes) -> bytes:
    return incremental.read(line).request


def _bitmap(total: int, mode: Mode, differences: Iterator[Difference]) -> bytearray:
    """Return one bit for each item of the backup: 1 if the item must be written."""
    selected = bytearray(total // 8 + 1)
    kinds = {"removed"} if mode == "missing" else {"removed", "changed"}
    for difference in differences:
        if difference.kind in kinds:
            selected[difference.number >> 3] |= 1 << (difference.number & 7)
    return selected


def writes(mode: Mode, outcome: Outcome) -> int:
    """Return the number of items that a restore with this mode writes."""
    if mode == "all":
        return outcome.first
    return outcome.removed if mode == "missing" else outcome.removed + outcome.changed
