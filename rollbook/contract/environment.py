"""The environment variables of each function. `infra` writes them and the handlers read them with the same classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rollbook.contract import fields
from rollbook.contract.jobs import BackupJob, DrillJob


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Base class of the typed environments. The field `table_name` is the variable `TABLE_NAME`."""

    def variables(self) -> dict[str, str]:
        """Return the variables for Lambda, without the empty ones."""
        return {name.upper(): text for name, text in fields.to_texts(self).items() if text}

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the environment of this process.

        Raises:
            KeyError: a variable without a default is not set. The message names the variable.
            ValueError: a variable has the wrong type. The message names the variable.
        """
        try:
            return fields.from_texts(cls, {name.lower(): text for name, text in environ.items()})
        except KeyError as missing:
            variable = str(missing.args[0]).upper()
            raise KeyError(f"the environment variable {variable} is not set; {cls.__name__} needs it") from None


@dataclass(frozen=True, kw_only=True)
class GetStudents(Environment):
    """Variables of the function behind `GET /students`."""

    table_name: str
    allowed_origin: str


@dataclass(frozen=True, kw_only=True)
class InsertStudent(Environment):
    """Variables of the function behind `POST /students`. It sends no mail if `SENDER_EMAIL` is empty."""

    table_name: str
    allowed_origin: str
    max_body_bytes: int
    event_bus_name: str
    sender_email: str = ""
    recipient_email: str = ""


@dataclass(frozen=True, kw_only=True)
class Notifications(Environment):
    """Where a function records its executions and sends notifications: history, event bus, mail."""

    s3_bucket_name: str
    sender_email: str
    recipient_email: str
    history_table_name: str
    history_days: int
    event_bus_name: str


@dataclass(frozen=True, kw_only=True)
class Backup(Environment):
    """Variables of the backup function. `job` is the default: it is used for a request that names no table."""

    notifications: Notifications
    job: BackupJob
    time_zone: str
    allowed_origin: str


@dataclass(frozen=True, kw_only=True)
class FinishExport(Environment):
    """Variables of the function that completes exports. S3 invokes it with a manifest, and a rule every few minutes.

    `TABLE_NAME` is the table of history rows that name none; earlier releases wrote such rows. An export that takes
    longer than `EXPORT_LIMIT_HOURS` is reported.
    """

    notifications: Notifications
    table_name: str
    export_limit_hours: float


@dataclass(frozen=True, kw_only=True)
class Verify(Environment):
    """Variables of the function that verifies and compares backups."""

    s3_bucket_name: str
    history_table_name: str


@dataclass(frozen=True, kw_only=True)
class CheckBackups(Environment):
    """Variables of the function that reads stored backups again. Each is read once within `WITHIN_DAYS`."""

    notifications: Notifications
    within_days: int


@dataclass(frozen=True, kw_only=True)
class Restore(Environment):
    """Variables of the restore function. The name of a new table begins with `RESTORED_PREFIX`."""

    restored_prefix: str
    s3_bucket_name: str
    history_table_name: str
    history_days: int
    event_bus_name: str


@dataclass(frozen=True, kw_only=True)
class Drill(Environment):
    """Variables of the drill function. `job` is the default: it is used for an event that names no table."""

    notifications: Notifications
    job: DrillJob


@dataclass(frozen=True, kw_only=True)
class Welcome(Environment):
    """Variables of the function that sends the welcome mail.

    The table `IDEMPOTENCY_TABLE_NAME` holds the ids of the users who have received it.
    """

    sender_email: str
    site_url: str
    idempotency_table_name: str


@dataclass(frozen=True, kw_only=True)
class Audit(Environment):
    """Variables of the function that checks access to the backups. The ARNs are separated by commas."""

    s3_bucket_name: str
    expected_role_arns: str
    topic_arn: str
    alert_refused: bool = False


@dataclass(frozen=True, kw_only=True)
class CopySnapshot(Environment):
    """Variables of the function that copies database snapshots."""

    destination_region: str
    copy_prefix: str
    key_arn: str
    retention_days: int
    option_group_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Validate(Environment):
    """Variables of the function that validates tables restored by AWS Backup."""

    s3_bucket_name: str
    key_prefix: str


@dataclass(frozen=True, kw_only=True)
class Report(Environment):
    """Variables of the function that mails the weekly report. `PRICES` is JSON.

    The event lists the tables: the variables of a function are limited to 4 KB in total (Lambda quotas), and the
    number of tables is not limited.
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
