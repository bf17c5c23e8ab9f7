"""The variables of each function: `infra` sets them from these classes, and the handlers read them with the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rollbook.contract import fields
from rollbook.contract.jobs import BackupJob


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Base of the typed environments. A field `table_name` is the variable `TABLE_NAME`."""

    def variables(self) -> dict[str, str]:
        """Return the variables as Lambda takes them, without those whose value is empty."""
        return {name.upper(): text for name, text in fields.to_texts(self).items() if text}

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the environment of this process.

        Raises:
            KeyError: a variable without a default is not set; names it.
            ValueError: a variable is not of its type; names it.
        """
        try:
            return fields.from_texts(cls, {name.lower(): text for name, text in environ.items()})
        except KeyError as missing:
            variable = str(missing.args[0]).upper()
            raise KeyError(f"the environment variable {variable} is not set; {cls.__name__} needs it") from None


@dataclass(frozen=True, kw_only=True)
class GetStudents(Environment):
    """Of the function behind `GET /students`."""

    table_name: str
    allowed_origin: str


@dataclass(frozen=True, kw_only=True)
class InsertStudent(Environment):
    """Of the function behind `POST /students`. Without a sender it sends no mail."""

    table_name: str
    allowed_origin: str
    max_body_bytes: int
    event_bus_name: str
    sender_email: str = ""
    recipient_email: str = ""


@dataclass(frozen=True, kw_only=True)
class Notifications(Environment):
    """Where a function records its executions and announces them: history, bus, mail."""

    s3_bucket_name: str
    sender_email: str
    recipient_email: str
    history_table_name: str
    history_days: int
    event_bus_name: str


@dataclass(frozen=True, kw_only=True)
class Backup(Environment):
    """Of the backup function. The job is that of a request which names no table."""

    notifications: Notifications
    job: BackupJob
    time_zone: str
    allowed_origin: str


@dataclass(frozen=True, kw_only=True)
class FinishExport(Environment):
    """Of the function that an export's manifest wakes. Rows of old executions without a table are of `TABLE_NAME`."""

    notifications: Notifications
    table_name: str


@dataclass(frozen=True, kw_only=True)
class Verify(Environment):
    """Of the function that verifies and compares backups."""

    s3_bucket_name: str


@dataclass(frozen=True, kw_only=True)
class Restore(Environment):
    """Of the function that restores. A new table's name begins with `RESTORED_PREFIX`."""

    restored_prefix: str
    s3_bucket_name: str
    history_table_name: str
    history_days: int
    event_bus_name: str


@dataclass(frozen=True, kw_only=True)
class Drill(Environment):
    """Of the weekly drill. A scratch table's name begins with `SCRATCH_PREFIX`."""

    notifications: Notifications
    table_name: str
    scratch_prefix: str


@dataclass(frozen=True, kw_only=True)
class Welcome(Environment):
    """Of the function that welcomes new users; `IDEMPOTENCY_TABLE_NAME` holds the ids of those already welcomed."""

    sender_email: str
    site_url: str
    idempotency_table_name: str


@dataclass(frozen=True, kw_only=True)
class Audit(Environment):
    """Of the function that checks access to the backups; the ARNs are joined by commas."""

    s3_bucket_name: str
    expected_role_arns: str
    topic_arn: str
    alert_refused: bool = False


@dataclass(frozen=True, kw_only=True)
class CopySnapshot(Environment):
    """Of the function that copies database snapshots."""

    destination_region: str
    copy_prefix: str
    key_arn: str
    retention_days: int
    option_group_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Validate(Environment):
    """Of the function that validates what AWS Backup restored."""

    s3_bucket_name: str
    key_prefix: str


@dataclass(frozen=True, kw_only=True)
class Report(Environment):
    """Of the function that mails the weekly report. `PRICES` is JSON.

    The tables come with the event: a function's variables have 4 KB together (Lambda quotas), and there may be any
    number of tables.
    """

    s3_bucket_name: str
    history_table_name: str
    schedule_group: str
    sender_email: str
    recipient_email: str
    prices: str
    prices_as_of: str
    prices_region: str
    time_zone: str
    rpo_hours: float
    rto_minutes: float
    days: int
    vault_name: str = ""
    plan_name: str = ""
