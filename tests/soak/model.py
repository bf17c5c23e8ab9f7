"""What is true of the backups of a school, in plain dictionaries. Nothing here asks the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollbook.contract.jobs import BackupJob
from rollbook.engine import backup
from rollbook.engine.executions import Execution

Item = dict[str, Any]
Versions = dict[str, list[tuple[str, bool]]]


@dataclass
class Run:
    """A run of a backup, from its first invocation to its completion.

    Arguments:
        attempts: of each invocation: when it began and ended by its clock, and the table at that time.
        holder: of the first invocation; Lambda retries it with the same one.
        is_open: whether an invocation was killed or failed, so that the run may be continued.
        mail_kills: how often an invocation had a fault after it had sent a mail, and could not record that.
    """

    request: backup.Request
    job: BackupJob
    attempts: list[tuple[datetime, datetime, dict[str, Item]]] = field(default_factory=list)
    export_arn: str = ""
    holder: str = ""
    is_open: bool = True
    mail_kills: int = 0

    def table_at(self, moment: datetime) -> dict[str, Item] | None:
        """Return the table as an invocation saw it at a moment."""
        return next((table for began, ended, table in self.attempts if began <= moment <= ended), None)


@dataclass
class Made:
    """A backup that was announced as completed.

    Arguments:
        table: what a restore must bring back.
        predecessor: the key of the export that an increment continues; empty for a full backup.
        objects: the version of each of its objects.
        is_expired: whether the lifecycle deleted it.
        is_told: whether its damage was found by a check and not repaired since.
        mails: how many mails of its damage must have been sent.
    """

    key: str
    run: Run
    row: Execution
    table: dict[str, Item]
    predecessor: str
    objects: dict[str, str]
    is_expired: bool = False
    is_marked: bool = False
    is_told: bool = False
    mails: int = 0

    @property
    def is_full(self) -> bool:
        return not self.predecessor

    @property
    def began(self) -> datetime:
        return self.row.read_from or self.row.started_at

    def is_untouched(self, versions: Versions) -> bool:
        """Return whether each of its objects is the current version of its key."""
        return _are_current(self.objects, versions)

    def is_readable(self, versions: Versions) -> bool:
        """Return whether the version of its own object exists, and its other objects are current."""
        others = (
            (versions.get(key) or [("", True)])[0][0] == at for key, at in self.objects.items() if key != self.key
        )
        return self.exists(versions) and all(others)

    def exists(self, versions: Versions) -> bool:
        """Return whether the version of its own object was not erased."""
        return any(version == self.objects[self.key] for version, _ in versions.get(self.key, []))


def _are_current(objects: dict[str, str], versions: Versions) -> bool:
    return all((versions.get(key) or [("", True)])[0][0] == version for key, version in objects.items())


class Model:
    """All runs and all backups."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.made: dict[str, Made] = {}

    def is_restorable(self, made: Made, versions: Versions) -> bool:
        """Return whether every link of a backup's chain was announced and can be read."""
        link: Made | None = made
        while link is not None and link.is_readable(versions):
            if link.is_full:
                return True
            link = self.made.get(link.predecessor)
        return False

    def newest_good(self) -> Made | None:
        """Return the newest backup that is not in doubt."""
        good = [made for made in self.made.values() if not made.row.doubt]
        return max(good, key=lambda made: made.began, default=None)

    def good_full(self, versions: Versions) -> list[Made]:
        """Return the full backups that are good and whole, the newest first."""
        found = [made for made in self.made.values() if made.is_full and not made.row.doubt]
        return sorted(
            (made for made in found if made.is_untouched(versions)), key=lambda made: made.row.started_at, reverse=True
        )

    def open_runs(self) -> Iterable[Run]:
        return (run for run in self.runs.values() if run.is_open)
