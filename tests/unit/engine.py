"""The engine on moto: the tables of the synthesized JSON, a mail that can fail, a clock that stands."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from rollbook.contract.environment import Backup as BackupEnvironment
from rollbook.engine import backup, fingerprints, history, restore
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.notifier import Notifier

ENVIRONMENT = BackupEnvironment(
    table_name="studentData",
    s3_bucket_name="student-backup",
    sender_email="no-reply@school.example",
    recipient_email="office@school.example",
    history_table_name="backup-executions",
    history_days="400",
    event_bus_name="student-events",
    key_prefix="students-backup-",
    time_zone="Asia/Ho_Chi_Minh",
    allowed_origin="https://site.example",
    engine="scan",
    format="json",
    compression="none",
    export_type="full",
    segments="1",
)
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
    """Return the clients of moto, which takes its requests from whatever client there is."""
    return raw.Aws()


def backup_of(
    environment: BackupEnvironment, mail: Mail | None, clock: Clock, aws: raw.Aws | None = None
) -> backup.Backup:
    """Return the backup; without a `mail` its mails go to SES."""
    aws = aws or local()
    kept = history.History(aws.dynamodb, environment.history_table_name, int(environment.history_days))

    def client(name: str) -> Any:
        return mail if mail and name == "sesv2" else aws.client(name)

    notifier = Notifier(environment, history=kept, client=client, clock=clock)
    return backup.Backup(
        environment, dynamodb=aws.dynamodb, s3=aws.client("s3"), history=kept, notifier=notifier, clock=clock
    )


def restorer(clock: Clock, aws: raw.Aws | None = None, **options: Any) -> restore.Restore:
    aws = aws or local()
    kept = history.History(aws.dynamodb, ENVIRONMENT.history_table_name, 400)
    return restore.Restore(
        dynamodb=aws.dynamodb,
        s3=aws.client("s3"),
        bucket=ENVIRONMENT.s3_bucket_name,
        history=kept,
        clock=clock,
        **options,
    )


def table(name: str) -> dict[str, bytes]:
    """Return a table's items by their key, in the canonical form."""
    found = list(restore.items_of(local().dynamodb, name))
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
    return backup.scheduled(ENVIRONMENT, MIDNIGHT)
