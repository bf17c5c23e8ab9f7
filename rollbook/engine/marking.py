"""Marks the backups that a table's policy no longer keeps. S3's lifecycle deletes only what has the mark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta, tzinfo

from botocore.exceptions import ClientError

from rollbook.contract import moments
from rollbook.contract.retention import MARK, PIN, YES, RetainedTable
from rollbook.engine import retention, stored
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.inventory import Entry, Inventory, full_backups
from rollbook.engine.recorded import PREFIX
from rollbook.engine.resources import Resources
from rollbook.engine.retention import Decision
from rollbook.engine.s3 import tags


class NotMarked(RuntimeError):
    """Backups could not be verified or marked. The message names them, says why, and what to do."""


class NoSuchBackup(LookupError):
    """The bucket has no backup with this key."""


@dataclass
class Outcome:
    """The keys of the backups that got the mark and of those that lost it, and how many are kept."""

    kept: int = 0
    marked: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)


class Marking:
    """Marks the backups of tables.

    Arguments:
        zone: the time zone of the policies' days, weeks, months and years.
        history_days: rows of backups that are kept get this many days again when half of them are over.
    """

    def __init__(self, resources: Resources, inventory: Inventory, zone: tzinfo, history_days: int) -> None:
        self._resources = resources
        self._inventory = inventory
        self._zone = zone
        self._history_days = history_days

    def plan(self, table: RetainedTable) -> list[Decision]:
        """Return what `run` would decide, the newest backup first. Assumes that the newest backups are whole."""
        entries = self._inventory.of(table)
        to_verify = {
            entry.backup.key for entry in _relied_on(entries) if not (entry.execution and entry.execution.doubt)
        }
        backups = [
            replace(entry.backup, state="verified") if entry.backup.key in to_verify else entry.backup
            for entry in entries
        ]
        return retention.decide(backups, table.policy, self._zone)

    def run(self, table: RetainedTable) -> Outcome:
        """Verify the newest backup, then mark what the policy does not keep, and unmark what it keeps.

        A backup is read only if no verification of it is recorded. A second run changes nothing.

        Raises:
            NotMarked: the newest backup is damaged, and nothing was marked; or S3 refused to mark some backups, and
                the others were marked.
        """
        entries = self._inventory.of(table)
        for entry in _relied_on(entries):
            entries[entries.index(entry)] = self._verified(entry)
        decisions = retention.decide([entry.backup for entry in entries], table.policy, self._zone)
        by_key = {entry.backup.key: entry for entry in entries}
        outcome, refused = Outcome(), list[str]()
        for decision in decisions:
            entry = by_key[decision.backup.key]
            try:
                self._apply(entry, decision, outcome)
            except ClientError as error:
                refused.append(f"{decision.backup.key}: {error}")
            if decision.is_kept:
                self._keep_row(entry)
        if refused:
            raise NotMarked(
                f"S3 refused to tag {len(refused)} backups of {table.table_name}, so they stay: "
                f"{'; '.join(refused[:5])}. The usual reason is a tag that the settings do not name: add it to the "
                "tags of the table's backups"
            )
        return outcome

    def pin(self, table: RetainedTable, key: str) -> Outcome:
        """Pin a backup, so that it is kept until it is unpinned. If it or a part of its chain has the mark, remove it.

        Raises:
            NoSuchBackup: the bucket has no such backup.
        """
        self._change_pin(table, key, YES)
        entries = {entry.backup.key: entry for entry in self._inventory.of(table)}
        outcome = Outcome()
        for decision in retention.decide([entry.backup for entry in entries.values()], table.policy, self._zone):
            if decision.is_kept:
                self._apply(entries[decision.backup.key], decision, outcome)
        return outcome

    def unpin(self, table: RetainedTable, key: str) -> None:
        """Remove the pin of a backup. The next run decides whether it gets the mark.

        Raises:
            NoSuchBackup: the bucket has no such backup.
        """
        self._change_pin(table, key, None)

    def _change_pin(self, table: RetainedTable, key: str, value: str | None) -> None:
        if key not in {entry.backup.key for entry in self._inventory.of(table)}:
            raise NoSuchBackup(
                f"s3://{self._resources.bucket}/{key} is no backup of {table.table_name}. If S3 has deleted it, remove "
                "its delete marker first"
            )
        tags.change(self._resources.s3, self._resources.bucket, key, PIN, value)

    def _verified(self, entry: Entry) -> Entry:
        """Read a backup, compare it with its row, and record the result."""
        resources, execution = self._resources, entry.execution
        assert execution is not None
        now = moments.to_text(resources.clock())
        try:
            stored.verify(resources.open_backup(execution.key))
        except Corrupted as damage:
            resources.history.remember(execution.id, {"damagedAt": now})
            raise NotMarked(
                f"the newest backup {execution.key} is damaged, so no backup of {execution.table_name} was marked: "
                f"{damage}. Make a new backup"
            ) from None
        resources.history.remember(execution.id, {"verifiedAt": now, "damagedAt": ""})
        if execution.doubt:  # whole, and still not a good one
            return entry
        return replace(entry, backup=replace(entry.backup, state="verified"))

    def _apply(self, entry: Entry, decision: Decision, outcome: Outcome) -> None:
        """Mark or unmark all objects of a backup.

        The first object gets the mark first and loses it last. So a run that was interrupted is completed by the next
        one, in both directions.
        """
        key = entry.backup.key
        if decision.is_kept:
            outcome.kept += 1
            if entry.backup.is_marked:
                self._tag(reversed(entry.objects), None)
                self._resources.history.update(PREFIX + key, {}, "attribute_exists(id)", {}, remove="markedAt")
                outcome.unmarked.append(key)
            return
        # Written first: the check of the backups must not report what the lifecycle deletes.
        values = {"markedAt": moments.to_text(self._resources.clock())}
        if not entry.backup.is_marked:
            self._resources.history.update(PREFIX + key, values, "attribute_exists(id)", {})
        if self._tag(entry.objects, YES):
            outcome.marked.append(key)

    def _tag(self, objects: Iterable[str], value: str | None) -> bool:
        resources = self._resources
        changed = [tags.change(resources.s3, resources.bucket, key, MARK, value) for key in objects]
        return any(changed)

    def _keep_row(self, entry: Entry) -> None:
        """Extend the row of a kept backup. Without its row the backup would be unknown, and never be marked."""
        if entry.execution is None or not entry.expires_at:
            return
        until = self._resources.clock() + timedelta(days=self._history_days)
        if entry.expires_at < (until - timedelta(days=self._history_days / 2)).timestamp():
            for row in (entry.execution.id, PREFIX + entry.backup.key):
                self._resources.history.update(row, {"expiresAt": int(until.timestamp())}, "attribute_exists(id)", {})


def _relied_on(entries: Sequence[Entry]) -> list[Entry]:
    """Return the newest backup and the newest full one, as far as they are not verified. The others may go after that.

    A backup that was found damaged is read again while it is the newest: the reading may have been the fault.
    """
    made = [entry for entry in entries if entry.execution]
    newest = max(made, key=lambda each: (each.backup.taken_at, each.backup.key), default=None)
    full = next(full_backups(entries), None)
    found = {entry.backup.key: entry for entry in (newest, full) if entry and entry.backup.state != "verified"}
    return list(found.values())
