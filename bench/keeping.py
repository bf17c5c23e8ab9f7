"""What a backup costs after it was made: it is read once more, and older ones are marked for deletion."""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from moto import mock_aws

from bench import engine, pages
from bench.replay import REGION
from rollbook.contract.environment import Notifications
from rollbook.contract.jobs import BackupJob
from rollbook.contract.retention import Policy, RetainedTable
from rollbook.engine import backup, retention
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.history import History
from rollbook.engine.inventory import Inventory
from rollbook.engine.marking import Marking
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources

_FEW, _MANY = 4, 24
_BACKUPS = (20, 60)
_KEEP = 7
_TABLE, _BUCKET, _HISTORY = "students", "backups", "history"
# US East, dollars for 1,000 requests (S3 pricing page, November 2026): a listing or a changed tag, and a read.
_WRITE_OR_LIST, _READ = 0.005, 0.0004
_WRITES = {"ListObjectsV2", "PutObjectTagging"}


def report() -> str:
    """Measure, and return the section of the page."""
    return f"## After a backup\n\n{_checking()}\n{_marking()}"


def _checking() -> str:
    kind = next(iter(pages.KINDS))
    engine.tell("check of a backup")
    few, many = (engine.medians(("ours", kind, count, "gzip", "2"), ("verify", kind, count)) for count in (_FEW, _MANY))
    made, read = (
        (more.cpu - less.cpu) / (more.megabytes - less.megabytes) * 1000 for less, more in zip(few, many, strict=True)
    )
    return (
        "Each new backup is read once more in a function of its own. It decodes each item and looks for keys "
        f"that occur twice, which the backup itself does not: CPU milliseconds that a further megabyte of {kind} "
        f"costs, from {_FEW} to {_MANY} MB, start not included.\n\n"
        "| | CPU ms/MB | of the backup | peak RSS, MB |\n| --- | --- | --- | --- |\n"
        f"| the backup | {made:.2f} | 1.00 | {many[0].rss:.0f} |\n"
        f"| its check | {read:.2f} | {read / made:.2f} | {many[1].rss:.0f} |\n"
    )


def _marking() -> str:
    engine.tell("marking")
    few, many = (_requests(count) for count in _BACKUPS)
    further = {
        name: (many[name] - few[name]) / (_BACKUPS[1] - _BACKUPS[0]) for name in sorted(many) if many[name] != few[name]
    }
    rows = "".join(f"| {name} | {few[name]} | {many[name]} | {further.get(name, 0):g} |\n" for name in sorted(many))
    dollars = sum(count * (_WRITE_OR_LIST if name in _WRITES else _READ) / 1000 for name, count in many.items())
    return (
        f"Then the retention decides. Requests of a run that reads the newest backup and marks one of {_BACKUPS[0]} "
        f"and of {_BACKUPS[1]} (a policy that keeps {_KEEP} marked the others before), counted on moto:\n\n"
        f"| | {_BACKUPS[0]} backups | {_BACKUPS[1]} backups | each further one |\n| --- | --- | --- | --- |\n{rows}\n"
        f"With {_BACKUPS[1]} backups a run costs ${dollars:.6f} for its requests to S3. The decision itself takes "
        f"{_decision_ms():.1f} ms of CPU for 1,000 backups.\n"
    )


def _requests(count: int) -> Counter[str]:
    """Make so many backups with a run after each of the last two, and count the requests of the last run."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION}
    began = datetime(2026, 1, 1, tzinfo=UTC)
    now = [began]
    with mock_aws():
        dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
        for name, key in ((_TABLE, "studentid"), (_HISTORY, "id")):
            dynamodb.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            )
        s3.create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        boto3.client("events").create_event_bus(Name="bus")
        boto3.client("sesv2").create_email_identity(EmailIdentity="office@school.example")
        dynamodb.put_item(TableName=_TABLE, Item={"studentid": {"S": "SV001"}})
        scanning = raw.Aws().dynamodb
        history = History(scanning, _HISTORY, 400)
        resources = Resources(scanning, s3, _BUCKET, history, lambda: now[0])
        marking = Marking(resources, Inventory(s3, dynamodb, _BUCKET, _HISTORY), UTC, 400)
        table = RetainedTable(_TABLE, "students-", Policy(keep_last=_KEEP))
        counted: Counter[str] = Counter()
        for number in range(count):
            now[0] = began + timedelta(days=number)
            _back_up(resources, history, now[0])
            if number < count - 2:
                continue
            if number == count - 1:
                for client in (dynamodb, scanning, s3):
                    client.meta.events.register("before-call", lambda model, **_: counted.update([model.name]))
            marking.run(table)
    return counted


def _back_up(resources: Resources, history: History, now: datetime) -> None:
    job = BackupJob(
        table_name=_TABLE,
        key_prefix="students-",
        engine="scan",
        format="json",
        compression="gzip",
        export_type="full",
        segments=1,
    )
    places = Notifications(
        s3_bucket_name=_BUCKET,
        sender_email="office@school.example",
        recipient_email="office@school.example",
        history_table_name=_HISTORY,
        history_days=400,
        event_bus_name="bus",
    )
    clients: dict[str, Any] = {name: boto3.client(name) for name in ("events", "sesv2")}
    notifier = Notifier(places, history=history, client=clients.__getitem__, clock=lambda: now)
    request = backup.scheduled(job, "UTC", now)
    with redirect_stdout(io.StringIO()):  # its metrics
        backup.Backup(job, resources, notifier).run(request, holder="1", deadline=Deadline.after(60))


def _decision_ms() -> float:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    backups = [
        retention.Backup(key=f"students-{number}", taken_at=began + timedelta(hours=number), state="verified")
        for number in range(1000)
    ]
    start = time.process_time()
    retention.decide(backups, Policy(keep_last=_KEEP, daily=30, weekly=12, monthly=24, yearly=5), UTC)
    return (time.process_time() - start) * 1000


if __name__ == "__main__":
    print(report())
