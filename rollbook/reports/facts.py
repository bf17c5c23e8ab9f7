"""Reads the facts about the backups from AWS. A fact that cannot be read is unknown, and unknown is not good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from rollbook.engine import executions
from rollbook.engine.executions import Execution, UnreadableRow

T = TypeVar("T")
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Unknown:
    """A fact that could not be read, and why."""

    reason: str


@dataclass(frozen=True)
class StoredObject:
    """A backup's object in S3."""

    bytes: int
    storage_class: str
    modified_at: datetime


@dataclass(frozen=True)
class Schedule:
    """A schedule as configured in the account."""

    expression: str
    time_zone: str
    is_on: bool
    window_minutes: int


@dataclass(frozen=True)
class Job:
    """A backup or copy job of AWS Backup."""

    kind: str
    resource: str
    state: str
    created_at: datetime


@dataclass(frozen=True)
class RecoveryPoint:
    """A recovery point in the vault. `expires_at` is None if it never expires."""

    resource: str
    created_at: datetime
    expires_at: datetime | None
    bytes: int
    is_cold: bool


@dataclass(frozen=True)
class Facts:
    """The facts of a report. Schedules and table sizes are by table name."""

    executions: Sequence[Execution] | Unknown
    objects: Mapping[str, StoredObject] | Unknown
    schedules: Mapping[str, Schedule | Unknown]
    table_bytes: Mapping[str, int | Unknown]
    jobs: Sequence[Job] | Unknown
    recovery_points: Sequence[RecoveryPoint] | Unknown
    rules: Mapping[str, Schedule] | Unknown


def gather(
    client: Callable[[str], Any],
    *,
    history_table: str,
    bucket: str,
    schedule_group: str,
    tables: Mapping[str, str],
    default_table: str,
    since: datetime,
    vault_name: str = "",
    plan_name: str = "",
) -> Facts:
    """Read the facts from AWS.

    Arguments:
        client: returns a boto3 client of a service.
        tables: the name of each table's schedule, by table name.
        default_table: the table of old rows that name none.
        since: the time from which jobs of AWS Backup are read (aware).
        vault_name, plan_name: of AWS Backup; empty if it is not used.
    """
    dynamodb = client("dynamodb")
    scheduler = client("scheduler")
    none: Any = [] if vault_name else Unknown("AWS Backup is not used")
    return Facts(
        executions=_try(lambda: _executions(dynamodb, history_table, default_table)),
        objects=_try(lambda: _objects(client("s3"), bucket)),
        schedules={table: _try(partial(_schedule, scheduler, schedule_group, name)) for table, name in tables.items()},
        table_bytes={table: _try(partial(_size, dynamodb, table)) for table in tables},
        jobs=_try(lambda: _jobs(client("backup"), since)) if vault_name else none,
        recovery_points=_try(lambda: _recovery_points(client("backup"), vault_name)) if vault_name else none,
        rules=_try(lambda: _rules(client("backup"), plan_name)) if plan_name else none,
    )


def _try(read: Callable[[], T]) -> T | Unknown:
    try:
        return read()
    except (BotoCoreError, ClientError, UnreadableRow) as error:
        return Unknown(str(error))


def _size(dynamodb: Any, table: str) -> int:
    return int(dynamodb.describe_table(TableName=table)["Table"]["TableSizeBytes"])


def _executions(dynamodb: Any, table: str, default_table: str) -> list[Execution]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    rows = [{name: _deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"]]
    return [executions.read(row, default_table) for row in rows if "kind" in row]


def _objects(s3: Any, bucket: str) -> dict[str, StoredObject]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {
        found["Key"]: StoredObject(found["Size"], found.get("StorageClass", "STANDARD"), found["LastModified"])
        for page in pages
        for found in page.get("Contents", [])
    }


def _schedule(scheduler: Any, group: str, name: str) -> Schedule:
    found = scheduler.get_schedule(GroupName=group, Name=name)
    return Schedule(
        found["ScheduleExpression"],
        found.get("ScheduleExpressionTimezone", "UTC"),
        found.get("State", "ENABLED") == "ENABLED",
        int(found.get("FlexibleTimeWindow", {}).get("MaximumWindowInMinutes", 0)),
    )


def _jobs(backup: Any, since: datetime) -> list[Job]:
    jobs = []
    for kind, call, answer in (
        ("backup", "list_backup_jobs", "BackupJobs"),
        ("copy", "list_copy_jobs", "CopyJobs"),
    ):
        for page in backup.get_paginator(call).paginate(ByCreatedAfter=since):
            jobs += [Job(kind, job["ResourceArn"], job["State"], _aware(job["CreationDate"])) for job in page[answer]]
    return jobs


def _recovery_points(backup: Any, vault: str) -> list[RecoveryPoint]:
    pages = backup.get_paginator("list_recovery_points_by_backup_vault").paginate(BackupVaultName=vault)
    points = []
    for page in pages:
        for point in page["RecoveryPoints"]:
            lifecycle = point.get("CalculatedLifecycle", {})
            ends = lifecycle.get("DeleteAt")
            points.append(
                RecoveryPoint(
                    point["ResourceArn"],
                    _aware(point["CreationDate"]),
                    _aware(ends) if ends else None,
                    int(point.get("BackupSizeInBytes", 0)),
                    point.get("StorageClass") == "COLD",
                )
            )
    return points


def _rules(backup: Any, plan_name: str) -> dict[str, Schedule]:
    pages = backup.get_paginator("list_backup_plans").paginate()
    plans = [plan for page in pages for plan in page["BackupPlansList"] if plan["BackupPlanName"] == plan_name]
    return {
        rule["RuleName"]: Schedule(
            rule["ScheduleExpression"],
            rule.get("ScheduleExpressionTimezone", "UTC"),
            True,
            int(rule.get("StartWindowMinutes", 0)),
        )
        for plan in plans
        for rule in backup.get_backup_plan(BackupPlanId=plan["BackupPlanId"])["BackupPlan"]["Rules"]
    }


def _aware(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
