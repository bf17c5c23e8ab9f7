"""Decides which backups of a table are kept and which are marked, so that S3's lifecycle deletes them.

What is not certain is kept. The newest verified full backup is never marked, and neither is a newer one.

The periods have the meaning of restic's `forget` (restic documentation, "Removing snapshots according to a policy"): of
the newest N days that have a backup, the newest backup of each day is kept. Days without a backup do not count. While
fewer than N periods have a backup, the oldest backup is kept, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from rollbook.contract.retention import PERIODS, Policy

State = Literal["verified", "completed", "doubtful", "damaged", "unknown"]
# Only these count for the policy. A damaged backup must not take the place of a good one.
_COUNTED = frozenset({"verified", "completed"})


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup as the decision sees it.

    Arguments:
        taken_at: when the backup began (aware).
        state: `verified`: it was read and is whole. `completed`: the history says so. `doubtful`: its number of items
            is unusual. `damaged`: it cannot be restored. `unknown`: the history does not know it.
        is_full: whether it has all items, not only changes.
        base_key: of an increment: the full backup that it changes; empty if unknown.
        predecessor_key: of an increment: the backup before it in its chain; empty if unknown.
        is_marked: whether it has the mark already.
    """

    key: str
    taken_at: datetime
    state: State
    is_full: bool = True
    base_key: str = ""
    predecessor_key: str = ""
    is_pinned: bool = False
    is_marked: bool = False


@dataclass(frozen=True)
class Decision:
    """What happens to a backup. It is kept for each of the reasons; without a reason it is marked."""

    backup: Backup
    reasons: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Return whether the backup is kept."""
        return bool(self.reasons)


def decide(backups: Iterable[Backup], policy: Policy, zone: tzinfo, now: datetime | None = None) -> list[Decision]:
    """Decide about all backups of one table.

    Arguments:
        zone: the time zone in which a day, week, month and year begin. Weeks begin on Monday (ISO 8601).
        now: a backup with a later time was made with a wrong clock: it is kept, and it does not count for the policy.
            None if all count.

    Returns:
        A decision for each backup, the newest first.
    """
    table = _Table(backups, now)
    reasons: dict[str, list[str]] = {backup.key: [] for backup in table.backups}
    for key, reason in [
        *_by_policy(table, policy, zone),
        *_pinned(table),
        *_not_certain(table),
        *_of_the_future(table),
        *_since_the_last_good(table),
    ]:
        reasons[key].append(reason)
    for chain in table.chains.values():
        _keep_whole(chain, reasons)
    return [Decision(backup, tuple(reasons[backup.key])) for backup in table.backups]


class _Table:
    """The backups of a table, newest first, with their chains: a full backup and the increments that need it."""

    def __init__(self, backups: Iterable[Backup], now: datetime | None) -> None:
        self._now = now
        self.backups = sorted(backups, key=lambda backup: (backup.taken_at, backup.key), reverse=True)
        self.by_key = {backup.key: backup for backup in self.backups}
        self.chains: dict[str, list[Backup]] = defaultdict(list)
        for backup in self.backups:
            if base := self.base_of(backup):
                self.chains[base].append(backup)

    def base_of(self, backup: Backup) -> str:
        """Return the key of the full backup that a backup needs; empty if it is unknown."""
        seen: set[str] = set()
        while not backup.is_full and not backup.base_key:
            seen.add(backup.key)
            before = self.by_key.get(backup.predecessor_key)
            if before is None or before.key in seen:
                return ""
            backup = before
        return backup.key if backup.is_full else backup.base_key

    def is_of_the_future(self, backup: Backup) -> bool:
        """Return whether the time of a backup has not come yet."""
        return self._now is not None and backup.taken_at > self._now

    def can_be_restored(self, backup: Backup) -> bool:
        """Return whether a backup and all that it needs are present and not known to be damaged."""
        base = self.by_key.get(self.base_of(backup))
        if base is None or base.state not in _COUNTED or backup.state not in _COUNTED:
            return False
        seen: set[str] = set()
        while not backup.is_full and backup.predecessor_key:
            seen.add(backup.key)
            before = self.by_key.get(backup.predecessor_key)
            if before is None or before.key in seen or before.state not in _COUNTED:
                return False
            backup = before
        return True


def _by_policy(table: _Table, policy: Policy, zone: tzinfo) -> list[tuple[str, str]]:
    counted = [
        backup for backup in table.backups if table.can_be_restored(backup) and not table.is_of_the_future(backup)
    ]
    kept = [(backup.key, "last") for backup in counted[: policy.keep_last]]
    for name in PERIODS:
        kept += _of_period(counted, name, getattr(policy, name), zone)
    return kept


def _of_period(counted: Sequence[Backup], name: str, count: int, zone: tzinfo) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    previous: tuple[int, ...] | None = None
    for number, backup in enumerate(counted, start=1):
        if len(kept) == count:
            break
        period = _PERIOD[name](backup.taken_at.astimezone(zone))
        if period != previous:
            kept.append((backup.key, name))
        elif number == len(counted):
            kept.append((backup.key, f"oldest {name}"))
        previous = period
    return kept


_PERIOD: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "daily": lambda when: (when.year, when.month, when.day),
    "weekly": lambda when: tuple(when.isocalendar()[:2]),
    "monthly": lambda when: (when.year, when.month),
    "yearly": lambda when: (when.year,),
}


def _pinned(table: _Table) -> list[tuple[str, str]]:
    return [(backup.key, "pinned") for backup in table.backups if backup.is_pinned]


def _not_certain(table: _Table) -> list[tuple[str, str]]:
    """Keep what is not certain, and what it may need.

    A backup with the mark was certain once. S3 deletes the parts of a marked chain one by one, and the rest must not
    become uncertain by that.
    """
    kept = []
    for number, backup in enumerate(table.backups):
        if backup.is_marked:
            continue
        if backup.state == "unknown":
            kept.append((backup.key, "not in the history"))
        elif backup.state == "damaged":
            kept.append((backup.key, "damaged"))
        elif backup.state == "doubtful":
            kept.append((backup.key, "in doubt"))
        base = table.base_of(backup)
        if not base:
            kept.append((backup.key, "its base is unknown"))
            kept += [(older.key, f"may be needed by {backup.key}") for older in table.backups[number + 1 :]]
        elif not backup.is_full and backup.state in _COUNTED and not table.can_be_restored(backup):
            kept.append((backup.key, "its chain is broken"))
    return kept


def _of_the_future(table: _Table) -> list[tuple[str, str]]:
    return [(backup.key, "its time has not come yet") for backup in table.backups if table.is_of_the_future(backup)]


def _since_the_last_good(table: _Table) -> list[tuple[str, str]]:
    for number, backup in enumerate(table.backups):
        if backup.is_full and backup.state == "verified" and not table.is_of_the_future(backup):
            newer = [(each.key, f"newer than {backup.key}") for each in table.backups[:number]]
            return [(backup.key, "last good full"), *newer]
    return [(backup.key, "no full backup is verified") for backup in table.backups]


def _keep_whole(chain: Sequence[Backup], reasons: dict[str, list[str]]) -> None:
    keeping = [backup.key for backup in chain if reasons[backup.key]]
    if not keeping:
        return
    for backup in chain:
        if not reasons[backup.key]:
            reasons[backup.key].append(f"in the chain of {keeping[0]}")
