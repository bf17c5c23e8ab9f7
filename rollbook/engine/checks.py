"""Reads stored backups again: each one after it was made, and a share of all of them every day."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from rollbook.contract import events, moments
from rollbook.contract.retention import SMOKE
from rollbook.engine import examination, recorded
from rollbook.engine.deadline import Deadline, OutOfTime
from rollbook.engine.examination import Examined
from rollbook.engine.executions import Row
from rollbook.engine.formats.export_layout import FOLDER
from rollbook.engine.recorded import PREFIX
from rollbook.engine.resources import Resources

Tell = Callable[[events.BackupDamaged], None]
_SMOKE = re.compile(rf"{SMOKE}[a-z0-9-]+\.json$")
_NAMED = 20


class DamageFound(RuntimeError):
    """Backups are damaged or were replaced. The message names them."""


class NotChecked(RuntimeError):
    """Backups could not be read, so that it is unknown whether they are whole. The message says why."""


@dataclass
class Outcome:
    """What became of the backups of one check: their keys.

    Arguments:
        read: whole, and as the history has them.
        unknown: whole by their own digests; the history does not know them.
        damaged: with the reason.
        failed: could not be read, with the reason.
        cold: in a storage class that cannot be read at once.
        gone: the lifecycle deleted it: it has expired, or it was marked.
        left: due, and not read because the time was over.
    """

    read: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    cold: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Raise an error that names what is not good.

        Raises:
            DamageFound, NotChecked: backups are damaged, or could not be read.
        """
        failed = f"{len(self.failed)} backups could not be read: {_named(self.failed)}" if self.failed else ""
        if self.damaged:
            found = f"{len(self.damaged)} backups are damaged: {_named(self.damaged)}"
            raise DamageFound(". ".join(filter(None, (found, failed))))
        if failed:
            raise NotChecked(failed)


@dataclass(frozen=True)
class Progress:
    """Callbacks of a check: when the reading of a backup begins, and after each of its items."""

    step: Callable[[str], None] = field(default=lambda _key: None)
    item: Callable[[], None] = field(default=lambda: None)


class Checks:
    """Reads stored backups, records the result in the history, and reports damage.

    Arguments:
        tell: reports the damage of one backup.
    """

    def __init__(self, resources: Resources, tell: Tell, progress: Progress | None = None) -> None:
        self._resources = resources
        self._tell = tell
        self._progress = progress or Progress()

    def one(self, key: str, execution: str, deadline: Deadline | None) -> Outcome:
        """Read one backup. The caller judges the outcome.

        Arguments:
            execution: the id of the check, for the events.
            deadline: when to stop; None for no limit.
        """
        outcome = Outcome()
        self._try(key, self._resources.history.recall(PREFIX + key) or {}, execution, outcome, deadline)
        return outcome

    def share(self, within_days: int, execution: str, deadline: Deadline | None) -> Outcome:
        """Read the backups that are due, so that each is read once within a number of days.

        Those that were not read for the longest time come first. What the bucket has and the history does not know is
        read, too. A backup that cannot be read does not keep the others unread. The caller judges the outcome.

        Arguments:
            within_days: 1 or more.
            execution, deadline: see `one`.
        """
        now, outcome = self._resources.clock(), Outcome()
        rows = sorted(self._rows(), key=lambda each: _last(each[1]))
        due_before = moments.to_text(now - timedelta(days=within_days - 1))
        overdue = sum(str(row.get("checkedAt") or "") < due_before for _, row in rows)
        for key, row in rows[: max(math.ceil(len(rows) / within_days), overdue)]:
            if deadline and deadline.left() <= 0:
                outcome.left.append(key)
                continue
            # If the invocation dies, the next one begins with others.
            self._resources.history.remember(PREFIX + key, {"triedAt": moments.to_text(self._resources.clock())})
            self._try(key, row, execution, outcome, deadline)
        return outcome

    def _try(self, key: str, row: Row, execution: str, outcome: Outcome, deadline: Deadline | None) -> None:
        is_first = outcome == Outcome()
        try:
            self._check(key, row, execution, outcome, deadline)
        except OutOfTime:
            if is_first:
                outcome.failed[key] = "reading it takes longer than an invocation; read it with rollbook backups check"
            else:
                outcome.left.append(key)
        except (BotoCoreError, ClientError, OSError, RuntimeError) as error:
            outcome.failed[key] = f"{type(error).__name__}: {error}"

    def _rows(self) -> Iterator[tuple[str, Row]]:
        """Yield the keys and rows of all backups. One that is in the bucket and has no row has an empty one."""
        known = {
            str(row["id"]).removeprefix(PREFIX): row
            for row in self._resources.history.rows()
            if str(row["id"]).startswith(PREFIX)
        }
        yield from ((key, row) for key, row in known.items() if not row.get("goneAt"))
        yield from ((key, {}) for key in self._stored() if key not in known)

    def _stored(self) -> Iterator[str]:
        pages = self._resources.s3.get_paginator("list_objects_v2").paginate(Bucket=self._resources.bucket)
        for page in pages:
            for found in page.get("Contents", []):
                key = str(found["Key"])
                if key.endswith((".json", ".json.gz")) and FOLDER not in key and not _SMOKE.search(key):
                    yield key

    def _check(self, key: str, row: Row, execution: str, outcome: Outcome, deadline: Deadline | None) -> None:
        def counted() -> None:
            self._progress.item()
            if deadline:
                deadline.check(f"the check of {key} was still running")

        self._progress.step(key)
        found = examination.examine(self._resources, key, counted)
        if found.fault and examination.is_absent(self._resources, key):
            if not row and found.known is None:
                outcome.failed[key] = f"{found.fault}; the history does not know it either"
                return
            if _may_be_gone(row, self._resources.clock()):
                outcome.gone.append(key)
                now = moments.to_text(self._resources.clock())
                self._resources.history.remember(PREFIX + key, {"goneAt": now})
                return
        if found.fault:
            outcome.damaged[key] = found.fault
            # Told before it is recorded: what was recorded is read again only after a month.
            bucket = self._resources.bucket
            self._tell(events.BackupDamaged(correlation_id=execution, bucket=bucket, key=key, error=found.fault[:2000]))
        elif found.is_cold:
            outcome.cold.append(key)
        else:
            (outcome.read if found.known else outcome.unknown).append(key)
        self._record(found, row)

    def _record(self, found: Examined, row: Row) -> None:
        history, now = self._resources.history, self._resources.clock()
        if "execution" not in row and found.known:
            recorded.keep(history, found.known, now)
        examination.record(self._resources, found)


def _may_be_gone(row: Row, now: datetime) -> bool:
    """Return whether the bucket's lifecycle may have deleted a backup. Any other deletion is damage.

    When a backup of an earlier release expires is not known.
    """
    expires_on = row.get("expiresOn")
    is_former = "execution" not in row or bool(row.get("isFormer"))
    is_expired = bool(expires_on) and now >= datetime.fromisoformat(str(expires_on))
    return is_former or bool(row.get("markedAt")) or is_expired


def _last(row: dict[str, Any]) -> str:
    """Return when a backup was read, or when a reading of it began and did not end."""
    return max(str(row.get(name) or "") for name in ("checkedAt", "triedAt"))


def _named(faults: dict[str, str]) -> str:
    named = "; ".join(f"{key}: {fault}" for key, fault in list(faults.items())[:_NAMED])
    return named + (f"; and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else "")
