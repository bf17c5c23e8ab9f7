"""The environment of each function: `infra` sets it from these classes, the handlers read it by them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Environment:
    """Base of the typed environments. A field `table_name` is the variable `TABLE_NAME`."""

    def variables(self) -> dict[str, str]:
        """Return the variables as Lambda takes them; an empty value is one that is not set."""
        return {name.upper(): value for name, value in asdict(self).items() if value}

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the environment of this process.

        Raises:
            KeyError: a variable without a default is not set; named.
        """
        values: dict[str, str] = {}
        for field in fields(cls):
            variable = field.name.upper()
            if variable in environ:
                values[field.name] = environ[variable]
            elif isinstance(field.default, str):
                values[field.name] = field.default
            else:
                raise KeyError(f"the environment variable {variable} is not set; {cls.__name__} needs it")
        return cls(**values)


@dataclass(frozen=True)
class GetStudents(Environment):
    """Of the function behind `GET /students`."""

    table_name: str
    allowed_origin: str


@dataclass(frozen=True)
class InsertStudent(Environment):
    """Of the function behind `POST /students`. Without a sender it sends no mail."""

    table_name: str
    allowed_origin: str
    max_body_bytes: str
    event_bus_name: str
    sender_email: str = ""
    recipient_email: str = ""


@dataclass(frozen=True)
class Reporting(Environment):
    """Of each function that reports its executions: to the history, on the bus, by mail."""

    table_name: str
    s3_bucket_name: str
    sender_email: str
    recipient_email: str
    history_table_name: str
    history_days: str
    event_bus_name: str


@dataclass(frozen=True)
class Backup(Reporting):
    """Of the backup function. `READ_UNITS_PER_SECOND` is the ceiling of a scan; without it there is none.

    `OBJECT_TAGS` is a query string, `key=value&…`.
    """

    key_prefix: str
    time_zone: str
    allowed_origin: str
    engine: str
    format: str
    compression: str
    export_type: str
    segments: str
    read_units_per_second: str = ""
    object_tags: str = ""


@dataclass(frozen=True)
class FinishExport(Reporting):
    """Of the function that an export's manifest wakes."""


@dataclass(frozen=True)
class Verify(Environment):
    """Of the function that verifies and compares backups."""

    s3_bucket_name: str


@dataclass(frozen=True)
class Restore(Environment):
    """Of the function that restores. A new table's name begins with `RESTORED_PREFIX`."""

    restored_prefix: str
    s3_bucket_name: str
    history_table_name: str
    history_days: str
    event_bus_name: str


@dataclass(frozen=True)
class Drill(Reporting):
    """Of the weekly drill. A scratch table's name begins with `SCRATCH_PREFIX`."""

    scratch_prefix: str


@dataclass(frozen=True)
class Welcome(Environment):
    """Of the function that welcomes who signed up; `IDEMPOTENCY_TABLE_NAME` knows whom it has welcomed."""

    sender_email: str
    site_url: str
    idempotency_table_name: str


@dataclass(frozen=True)
class Audit(Environment):
    """Of the function that watches who touches the backups; the ARNs are joined by commas."""

    s3_bucket_name: str
    expected_role_arns: str
    topic_arn: str
    alert_refused: str = ""


@dataclass(frozen=True)
class CopySnapshot(Environment):
    """Of the function that copies database snapshots."""

    destination_region: str
    copy_prefix: str
    key_arn: str
    retention_days: str
    option_group_name: str = ""


@dataclass(frozen=True)
class Validate(Environment):
    """Of the function that validates what AWS Backup restored."""

    s3_bucket_name: str
    key_prefix: str


@dataclass(frozen=True)
class ReportedTable:
    """What the settings say of a table's backups; a report holds what happened against it.

    Arguments:
        days: storage class to the days that a backup of 128 KB or more is in it, in their order.
        moves_small: a smaller one moves to Glacier, too; otherwise it stays in Standard.
        replicated_to: Region of the copies, or nothing.
        memory_mb, architecture: of the function that makes them.
    """

    table_name: str
    schedule_name: str
    expression: str
    time_zone: str
    window_minutes: int
    days: dict[str, int]
    replicated_to: str
    memory_mb: int
    architecture: str
    moves_small: bool = False


@dataclass(frozen=True)
class Report(Environment):
    """Of the function that mails the weekly report. `PRICES` is JSON; the tables come with the event.

    A function's variables have 4 KB together (Lambda quotas), and there may be any number of tables.
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
    rpo_hours: str
    rto_minutes: str
    days: str
    vault_name: str = ""
    plan_name: str = ""
