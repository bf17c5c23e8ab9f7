"""What the end-to-end tests look at: the table, the bucket, the mails, and a schedule that fires at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ops.cloud import Cloud
from ops.local import aws as emulated
from rollbook.contract import schedules
from tests.conftest import Local

T = TypeVar("T")


def table(cloud: Cloud) -> dict[str, Any]:
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName="studentData")
    return {item["studentid"]["S"]: item for page in pages for item in page["Items"]}


def keys(cloud: Cloud) -> set[str]:
    listed = cloud.client("s3").list_objects_v2(Bucket=cloud.settings.backups.bucket_name)
    return {found["Key"] for found in listed.get("Contents", [])}


def mails(local: Local, subject: str) -> list[dict[str, Any]]:
    return [mail for mail in emulated.mails(local.port) if mail["Subject"] == subject]


def wait_for(look: Callable[[], T], seconds: float = 105) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing came in {seconds} s"
        time.sleep(0.2)
    return found


# EventBridge Scheduler User Guide, "Adding context attributes".
_SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


@dataclass(frozen=True)
class Firing:
    """A one-time schedule, and what the key of its own backup begins with."""

    schedule: str
    key_begin: str

    def keys(self, cloud: Cloud) -> list[str]:
        """The backups of this firing, and of no other run: the key has its minute."""
        return [key for key in keys(cloud) if key.startswith(self.key_begin)]


@contextmanager
def scheduled_in_a_moment(cloud: Cloud, table_name: str = "studentData", **target: Any) -> Iterator[Firing]:
    """A one-time schedule beside a table's real one: same group, same target, same role."""
    scheduler = cloud.client("scheduler")
    [plan] = [plan for plan in cloud.settings.backed_up_tables if plan.table_name == table_name]
    group = cloud.settings.backups.schedule_group
    real = scheduler.get_schedule(Name=plan.schedule_name, GroupName=group)
    expressions = [(plan.expression, plan.time_zone) for plan in cloud.settings.backed_up_tables]
    zone = ZoneInfo(cloud.settings.time_zone)
    moment = datetime.now(UTC) + timedelta(seconds=2)
    minute = moment.replace(second=0, microsecond=0)

    def key_begin() -> str:
        return f"{plan.key_prefix}{minute.astimezone(zone):%Y%m%dT%H%M}."

    # A run is known by its minute. One in which a real schedule fires, or another test's, is not this test's own: the
    # run is then given an earlier minute that is free, so that nothing waits for the next one.
    while any(key.startswith(key_begin()) for key in keys(cloud)) or any(
        fires_in(expression, zone_name, minute) for expression, zone_name in expressions
    ):
        minute -= timedelta(minutes=1)
    message = real["Target"]["Input"]
    if minute < moment.replace(second=0, microsecond=0):
        message = message.replace(_SCHEDULED_TIME, f"{minute:%Y-%m-%dT%H:%M:%SZ}")
    firing = Firing(f"test-{uuid.uuid4()}", key_begin())
    scheduler.create_schedule(
        Name=firing.schedule,
        GroupName=group,
        ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=real["Target"] | {"Input": message} | target,
    )
    try:
        yield firing
    finally:
        scheduler.delete_schedule(Name=firing.schedule, GroupName=group)


def fires_in(expression: str, time_zone: str, moment: datetime) -> bool:
    """Whether a schedule fires in the minute of a moment."""
    minute = moment.replace(second=0, microsecond=0)
    end = minute + timedelta(minutes=1) - timedelta(microseconds=1)
    last = schedules.last_before(expression, time_zone, end)
    return last is not None and last >= minute
