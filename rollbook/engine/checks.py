"""Reads stored backups again: each one after it was made, and a share of all of them every day."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from rollbook.contract import events, moments
from rollbook.engine import announcements, stored
from rollbook.engine.deadline import Deadline
from rollbook.engine.executions import Row
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.notifier import Notifier
from rollbook.engine.recorded import PREFIX
from rollbook.engine.resources import Resources

# Objects of these classes can be read only after a retrieval, which takes hours and costs money (S3 User Guide,
# "Understanding S3 Glacier storage classes").
_COLD = {"GLACIER", "DEEP_ARCHIVE"}
_GONE = {"404", "NoSuchKey", "NoSuchVersion"}


class DamageFound(RuntimeError):
    """Backups are damaged or were replaced. The message names them."""


@dataclass
class Outcome:
    """What became of the backups of one check: their keys.

    Arguments:
        read: whole.
        damaged: with the reason.
        cold: in a storage class that cannot be read at once.
        gone: the lifecycle deleted it: it has expired, or it was marked.
        left: due, and not read because the time was over.
    """

    read: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    cold: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Checks:
    """Reads stored backups, records the result in the history, and reports damage."""

    def __init__(self, resources: Resources, notifier: Notifier) -> None:
        self._resources = resources
        self._notifier = notifier

    def one(self, key: str, execution: str) -> Outcome:
        """Read one backup.

        Arguments:
            execution: the id of the check; a repeated check with the same id reports damage once.

        Raises:
            DamageFound: it is damaged, or it was replaced or deleted.
        """
        row = self._resources.history.recall(PREFIX + key)
        outcome = Outcome()
        self._check(key, row or {}, outcome)
        return self._told(outcome, execution)

    def share(self, within_days: int, execution: str, deadline: Deadline) -> Outcome:
        """Read the backups that are due, so that each is read once within a number of days.

        Those that were not read for the longest time come first.

        Arguments:
            within_days: 1 or more.

        Raises:
            DamageFound: a backup is damaged, or it was replaced or deleted. All others were read first.
        """
        now = self._resources.clock()
        rows = [row for row in self._resources.history.rows() if str(row["id"]).startswith(PREFIX)]
        rows = sorted((row for row in rows if not row.get("goneAt")), key=_checked_at)
        due_before = moments.to_text(now - timedelta(days=within_days - 1))
        overdue = sum(_checked_at(row) < due_before for row in rows)
        outcome = Outcome()
        for row in rows[: max(math.ceil(len(rows) / within_days), overdue)]:
            key = str(row["id"]).removeprefix(PREFIX)
            if deadline.left() <= 0:
                outcome.left.append(key)
            else:
                self._check(key, row, outcome)
        return self._told(outcome, execution)

    def _check(self, key: str, row: Row, outcome: Outcome) -> None:
        resources, now = self._resources, self._resources.clock()
        try:
            backup = resources.open_backup(key)
            fault = stored.replaced(resources.s3, resources.bucket, backup)
            if not fault and self._is_cold(key):
                outcome.cold.append(key)
                return self._remember(key, {"checkedAt": moments.to_text(now)})
            stored.verify(backup)
        except Corrupted as damage:
            fault = str(damage)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "InvalidObjectState":
                outcome.cold.append(key)
                return self._remember(key, {"checkedAt": moments.to_text(now)})
            if code not in _GONE:
                raise
            fault = f"S3 has no object {key}, and not the version that {row.get('execution', 'a backup')} wrote"
        if fault and _may_be_gone(row, now) and self._is_absent(key):
            outcome.gone.append(key)
            return self._remember(key, {"goneAt": moments.to_text(now)})
        # Without a newer backup, the function that marks does not run, and the rows would expire before the backup.
        kept = {"expiresAt": resources.history.expires_at(now)}
        if backup_of := row.get("execution"):
            found = (
                {"damagedAt": moments.to_text(now)} if fault else {"verifiedAt": moments.to_text(now), "damagedAt": ""}
            )
            resources.history.update(str(backup_of), found | kept, "attribute_exists(id)", {})
        if fault:
            outcome.damaged[key] = fault
            return self._remember(key, kept | {"checkedAt": moments.to_text(now), "damage": fault[:2000]})
        outcome.read.append(key)
        announcements.end_damage(resources.history, key)  # damage that comes back is another incident
        at = moments.to_text(now)
        return self._remember(key, kept | {"checkedAt": at, "verifiedAt": at, "damage": ""})

    def _is_absent(self, key: str) -> bool:
        try:
            stored.current_object(self._resources.s3, self._resources.bucket, key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return True
        return False

    def _is_cold(self, key: str) -> bool:
        found = self._resources.s3.head_object(Bucket=self._resources.bucket, Key=key)
        return found.get("StorageClass") in _COLD

    def _remember(self, key: str, values: Row) -> None:
        self._resources.history.update(PREFIX + key, values, "attribute_exists(id)", {})

    def _told(self, outcome: Outcome, execution: str) -> Outcome:
        for key, fault in outcome.damaged.items():
            self._notifier.damaged(
                events.BackupDamaged(
                    correlation_id=execution, bucket=self._resources.bucket, key=key, error=fault[:2000]
                )
            )
        if outcome.damaged:
            named = "; ".join(f"{key}: {fault}" for key, fault in outcome.damaged.items())
            raise DamageFound(f"{len(outcome.damaged)} backups are damaged: {named}")
        return outcome


def _may_be_gone(row: Row, now: datetime) -> bool:
    """Return whether the bucket's lifecycle may have deleted a backup. Any other deletion is damage."""
    expires_on = row.get("expiresOn")
    return bool(row.get("markedAt")) or bool(expires_on and now >= datetime.fromisoformat(str(expires_on)))


def _checked_at(row: dict[str, Any]) -> str:
    return str(row.get("checkedAt") or "")
