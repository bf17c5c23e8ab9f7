"""What the end-to-end tests look at: the table, the bucket, the mails, and a schedule that fires at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ops import local as emulated
from ops.cloud import Cloud
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


@contextmanager
def scheduled_in_a_moment(cloud: Cloud, **target: Any) -> Iterator[str]:
    """A one-time schedule beside the real one: same group, same target, same role. Gives its stamp."""
    scheduler = cloud.client("scheduler")
    backups = cloud.settings.backups
    real = scheduler.get_schedule(Name=backups.schedule_name, GroupName=backups.schedule_group)
    moment = datetime.now(UTC) + timedelta(seconds=2)
    zone = ZoneInfo(cloud.settings.time_zone)
    # A run is known by its minute: what another test has backed up in this one is not backed up again.
    while f"{backups.key_prefix}{moment.astimezone(zone):%Y%m%dT%H%M}.json" in keys(cloud):
        moment = moment.replace(second=0) + timedelta(minutes=1)
    name = f"test-{uuid.uuid4()}"
    scheduler.create_schedule(
        Name=name,
        GroupName=backups.schedule_group,
        ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=real["Target"] | target,
    )
    try:
        yield name
    finally:
        scheduler.delete_schedule(Name=name, GroupName=backups.schedule_group)
