"""Does the work of one restore: reads the backup, creates the table, writes the items and compares."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rollbook.engine import fingerprints
from rollbook.engine.comparison import Comparison, Difference, Duplicate, Outcome
from rollbook.engine.dynamodb import raw, scan
from rollbook.engine.dynamodb.batch_write import Writer
from rollbook.engine.dynamodb.conditional_write import ConditionalWriter, Write
from rollbook.engine.dynamodb.workers import NAMED, Sent, not_written
from rollbook.engine.executions import Execution, Row
from rollbook.engine.fingerprints import Fingerprint
from rollbook.engine.formats import incremental
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import Mode, NotEqual, Options, Request, RestoreRefused
from rollbook.engine.restore_target import RestoreTarget
from rollbook.engine.selection import NotSelectable, Selector
from rollbook.engine.stored import StoredBackup
from rollbook.engine.write_plan import WritePlan, writes

# After this number of items, the progress is reported and the time is checked.
_PROGRESS_ITEMS = 1000


@dataclass
class RestoreWork:
    """The restore of one backup into one table.

    Arguments:
        names: the key attributes.
        comparison: holds the backup's fingerprints after `read`.
    """

    request: Request
    backup: StoredBackup
    names: list[str]
    selector: Selector
    comparison: Comparison
    resources: Resources
    options: Options
    total: int = 0
    target: RestoreTarget = field(init=False)

    def __post_init__(self) -> None:
        self.target = RestoreTarget(self.request, self.backup, self.resources, self.options)
        self._fingerprint = fingerprints.fingerprint_of(self.names)
        of_backup = incremental.fingerprint_of(self.names) if self.backup.change_of else self._fingerprint
        self._backup_fingerprint = _or_corrupted(of_backup, self.request.key)

    @property
    def renewer(self) -> LeaseRenewer | None:
        """The renewer of the execution's lease; None for a plan."""
        return self.target.renewer

    def read(self) -> int:
        """Verify the backup, store its fingerprints and return their number.

        Raises:
            Corrupted: the backup is damaged, or it has a key twice.
            RestoreRefused: the backup does not have an item that was named.
        """
        self.options.progress.step("Verifying the backup", 0)
        self.total = self.comparison.read(map(self._backup_fingerprint, self._counted(self.items())))
        try:
            self.comparison.check_unique()
            self.selector.check_found()
        except Duplicate as error:
            raise Corrupted(f"{self.request.key}: {error}") from None
        except NotSelectable as error:
            raise RestoreRefused(str(error)) from None
        return self.total

    def items(self) -> Iterator[bytes]:
        """Yield the selected items of the backup; of an incremental one, its lines."""
        return self.selector.select(self.backup.items(), self.key_of)

    def key_of(self, line: bytes) -> bytes:
        """Return the primary key of an item of the backup, in the canonical form."""
        return self._backup_fingerprint(line).key

    def compare(self) -> Outcome:
        """Compare the table's current items with the backup."""
        self.options.progress.step("Comparing", self.total)
        # An eventually consistent read may miss recent writes.
        found = scan.items(self.resources.dynamodb, self.request.table_name, is_consistent=True)
        chosen = self.selector.select(self._counted(found), lambda item: self._fingerprint(item).key)
        return self.comparison.compare(map(self._fingerprint, chosen))

    def run(self, execution: Execution) -> Row:
        """Restore, compare and return the values for the history row."""
        # A try sets `has_begun` before it changes the target; completing the execution resets it.
        is_continued = self.target.is_continued(execution)
        if self.renewer:
            self.renewer.renew({"hasBegun": True} if is_continued else {"hasBegun": True, "tableId": ""})
        if self.request.engine == "import" and not is_continued:
            self.target.import_table()
            sent = Sent(self.total)
        else:
            if self.request.is_new:
                self.target.create()
            sent = self._write(is_continued=is_continued)
        outcome = self.compare()
        self._judge(outcome, sent)
        if self.request.is_new:
            self.target.finish()
        return {
            "items": self.total,
            "written": execution.written + sent.written if is_continued else sent.written,
            "differing": outcome.changed,
            "extra": outcome.added,
            "kept": len(sent.changed),
            "keptKeys": sent.changed[:NAMED],
            "notRestored": (self.backup.table or {}).get("notRestored", []) if self.request.is_new else [],
        }

    def _counted(self, side: Iterator[bytes]) -> Iterator[bytes]:
        for number, found in enumerate(side, start=1):
            yield found
            if number % _PROGRESS_ITEMS == 0:
                self.options.progress.advance(_PROGRESS_ITEMS)
                if self.renewer:
                    self.renewer.renew_if_due({})

    def _write(self, *, is_continued: bool) -> Sent:
        reached = 0

        def progress(written: int) -> None:
            nonlocal reached
            self.options.progress.advance(written - reached)
            reached = written
            if self.renewer:
                self.renewer.renew_if_due({"written": written})

        check: Callable[[], None] = self.renewer.check if self.renewer else lambda: None
        table, options = self.request.table_name, self.options
        if self.request.mode == "all" and not is_continued:
            options.progress.step("Writing", self.total)
            writer = Writer(
                self.resources.dynamodb,
                table,
                key_names=self.names,
                parallel=options.parallel,
                limiter=options.limiter,
                check=check,
                progress=progress,
            )
            request_of = _change_request if self.backup.change_of else raw.put
            return writer.send(map(request_of, self.items()))
        mode = self._mode_of_continuation() if is_continued else self.request.mode
        outcome = self.compare()
        options.progress.step("Writing", writes(mode, outcome))
        conditional = ConditionalWriter(
            self.resources.dynamodb,
            table,
            parallel=options.parallel,
            limiter=options.limiter,
            check=check,
            progress=progress,
        )
        with WritePlan(mode, self.comparison.differences()) as plan:
            return conditional.send(self._conditional(line, found) for line, found in plan.selected(self.items()))

    def _mode_of_continuation(self) -> Mode:
        """A new table has no differing item, unless somebody saved it since. Such an item is not replaced."""
        if self.request.is_new:
            return "missing"
        return "differing" if self.request.mode == "all" else self.request.mode

    def _conditional(self, line: bytes, compared: bytes | None) -> Write:
        item = bytes(incremental.read(line).new) or None if self.backup.change_of else line
        return Write(self.key_of(line), item, compared)

    def _judge(self, outcome: Outcome, sent: Sent) -> None:
        """Raise the error that names refused items, or keys that differ after the restore."""
        # Others may write to an existing table, so extra items are allowed. With `missing`, so are differing items.
        allowed = set() if self.request.is_new else {"added"}
        allowed |= {"changed"} if self.request.mode == "missing" else set()
        refused = {item.key for item in sent.refused}
        wrong = (
            found for found in self.comparison.differences() if found.kind not in allowed and found.key not in refused
        )
        count, named = _named(wrong)
        if sent.refused:
            rest = f"{count:,} other keys differ:\n{named}" if count else "All other items are equal to the backup."
            raise not_written(sent, self.request.table_name, f"\n{rest}")
        if not count:
            return
        meanwhile = f"; {len(sent.changed):,} items were changed during the restore and left" if sent.changed else ""
        raise NotEqual(
            f"{self.request.table_name} is not equal to {self.request.key} after the restore: {count:,} keys differ; "
            f"the backup has {outcome.first:,} items{meanwhile}:\n{named}"
        )


def _named(differences: Iterator[Difference]) -> tuple[int, str]:
    """Return the number of differences, and the first ones as lines."""
    lines = [f"  {found.kind}: {found.key}" for found in itertools.islice(differences, NAMED)]
    more = sum(1 for _ in differences)
    return len(lines) + more, "\n".join(lines) + (f"\n  and {more:,} more" if more else "")


def _change_request(line: bytes) -> bytes:
    return incremental.read(line).request


def _or_corrupted(fingerprint: Callable[[bytes], Fingerprint], key: str) -> Callable[[bytes], Fingerprint]:
    """Return a function that raises Corrupted for an item that is invalid or lacks its key."""

    def checked(item: bytes) -> Fingerprint:
        try:
            return fingerprint(item)
        except ValueError as fault:
            raise Corrupted(f"{key} is damaged: {fault}") from None

    return checked
