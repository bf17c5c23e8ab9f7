"""The engine on moto: the tables of the synthesized JSON, a mail that can fail, and a clock that tests set."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from rollbook.contract.environment import Backup as BackupEnvironment
from rollbook.contract.environment import Notifications
from rollbook.contract.jobs import BackupJob
from rollbook.engine import backup, fingerprints, history, restore
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw, scan
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import Options

ZONE = "Asia/Ho_Chi_Minh"
JOB = BackupJob(
    table_name="studentData",
    key_prefix="students-backup-",
    engine="scan",
    format="json",
    compression="none",
    export_type="full",
    segments=1,
)
PLACES = Notifications(
    s3_bucket_name="student-backup",
    sender_email="no-reply@school.example",
    recipient_email="office@school.example",
    history_table_name="backup-executions",
    history_days=400,
    event_bus_name="student-events",
)
ENVIRONMENT = BackupEnvironment(notifications=PLACES, job=JOB, time_zone=ZONE, allowed_origin="https://site.example")
MIDNIGHT = datetime(2025, 7, 8, tzinfo=UTC)
SCHEDULED = {"source": "schedule", "scheduledTime": "2025-07-08T00:00:00Z"}
KEY = "students-backup-20250708T0700.json"
# The smallest part that S3 takes.
PART_BYTES = 5 * 1024 * 1024
MINUTE = timedelta(minutes=1)


def soon() -> Deadline:
    return Deadline.after(60)


class Mail:
    """SES, which can be told to fail."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.fails = False

    def send_email(self, **mail: Any) -> dict[str, str]:
        if self.fails:
            raise ClientError({"Error": {"Code": "Throttling", "Message": "slow down"}}, "SendEmail")
        self.sent.append(mail["Content"]["Simple"])
        return {"MessageId": "1"}


class Clock:
    def __init__(self) -> None:
        self.now = MIDNIGHT + timedelta(seconds=3)

    def __call__(self) -> datetime:
        return self.now


@functools.cache
def local() -> raw.Aws:
    """Return the clients of moto, which intercepts the requests of any client."""
    return raw.Aws()


def resources(clock: Clock, aws: raw.Aws | None = None, bucket: str = PLACES.s3_bucket_name) -> Resources:
    aws = aws or local()
    kept = history.History(aws.dynamodb, PLACES.history_table_name, PLACES.history_days)
    return Resources(aws.dynamodb, aws.client("s3"), bucket, kept, clock)


def backup_of(
    job: BackupJob,
    mail: Mail | None,
    clock: Clock,
    aws: raw.Aws | None = None,
    bucket: str = PLACES.s3_bucket_name,
) -> backup.Backup:
    """Return the backup; without a `mail` its mails go to SES."""
    clients = aws or local()
    used = resources(clock, aws, bucket)

    def client(name: str) -> Any:
        return mail if mail and name == "sesv2" else clients.client(name)

    return backup.Backup(job, used, Notifier(PLACES, history=used.history, client=client, clock=clock))


def restorer(clock: Clock, aws: raw.Aws | None = None, **options: Any) -> restore.Restore:
    return restore.Restore(resources(clock, aws), Options(**options))


def table(name: str) -> dict[str, bytes]:
    """Return a table's items by their key, in the canonical form."""
    found = list(scan.items(local().dynamodb, name))
    return {json.loads(each)["studentid"]["S"]: fingerprints.canonical(each) for each in found}


def executions() -> list[dict[str, Any]]:
    rows = boto3.client("dynamodb").scan(TableName="backup-executions")["Items"]
    return [row for row in rows if "kind" in row]


def put(**items: dict[str, Any]) -> None:
    dynamodb = boto3.client("dynamodb")
    for studentid, attributes in items.items():
        dynamodb.put_item(TableName="studentData", Item={"studentid": {"S": studentid}, **attributes})


def objects() -> list[str]:
    return [found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket="student-backup").get("Contents", [])]


def read(key: str) -> bytes:
    body: bytes = boto3.client("s3").get_object(Bucket="student-backup", Key=key)["Body"].read()
    return body


def scheduled() -> backup.Request:
    return backup.scheduled(JOB, ZONE, MIDNIGHT)
