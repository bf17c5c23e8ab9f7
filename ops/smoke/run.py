"""One run of the smoke test: what each step does, and the clean-up."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from ops.backups.function import invoke, make_drill
from ops.cloud import Cloud, fetch
from ops.events import bus_log
from ops.failures import explain
from ops.local import aws
from ops.smoke import alarms
from ops.smoke.failure import StepFailed
from rollbook.contract.retention import SMOKE_DAYS
from rollbook.engine import stored

_POLL_SECONDS = 1.0
# Longest waits. EventBridge and SES take seconds, CloudWatch takes minutes to read metrics from a log, and CloudTrail
# delivers after 5 minutes on average (CloudTrail User Guide, "How CloudTrail works").
_EVENT_SECONDS = 90
_MAIL_SECONDS = 90
_METRIC_SECONDS = 300
AUDIT_SECONDS = 900
_PAGE = 1000


@dataclass
class Smoke:
    """One smoke test of an environment.

    Arguments:
        patience: longest wait in a step, seconds.
    """

    cloud: Cloud
    patience: float = AUDIT_SECONDS
    id: str = field(default_factory=lambda: uuid4().hex[:8])
    key: str = ""
    uploaded: str = ""
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = datetime.now(UTC)
        self.studentid = f"SMOKE-{self.id}"
        self._is_saved = False
        self._warning = ""
        self._sent_before: float | None = None
        self._raised_before: list[dict[str, Any]] = []

    def record(self) -> str:
        """Save a marked record through the site and read it back."""
        cloud = self.cloud
        # The backup and the drill of this run clear alarms that missing data raised.
        with contextlib.suppress(BotoCoreError, ClientError):
            self._raised_before = alarms.raised(self.cloud)
        with contextlib.suppress(BotoCoreError, ClientError):
            self._sent_before = self._sent()  # only the step `mail` needs it
        student = {
            "studentid": self.studentid,
            "name": "Smoke Test",
            "class": "smoke",
            "birthdate": "2008-01-01",
            "email": cloud.settings.mail.recipient,
        }
        self._is_saved = True  # it may be saved although the answer is lost
        answer = fetch(
            f"{cloud.site_url}/students",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps(student).encode(),
        )
        if answer.status != 201:
            raise StepFailed(f"POST {cloud.site_url}/students answered {answer.status}: {answer.body[:300]!r}")
        warning = answer.json().get("warning", "")
        self._warning = str(warning)
        if not any(student.items() <= found.items() for found in self._students()):
            raise StepFailed(f"{self.studentid} was saved, but GET {cloud.site_url}/students does not return it")
        return f"saved {self.studentid} through {cloud.site_url} and read it back" + (f"; {warning}" if warning else "")

    def _students(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = fetch(f"{self.cloud.site_url}/students?limit={_PAGE}" + (f"&next={token}" if token else ""))
            if page.status != 200:
                raise StepFailed(f"GET {self.cloud.site_url}/students answered {page.status}: {page.body[:300]!r}")
            yield from page.json()["students"]
            token = page.json()["next"] or ""
            if not token:
                return

    def mail(self) -> str:
        """Check that the mail of the record was sent."""
        settings = self.cloud.settings
        if not settings.mail.on_save:
            return "mail.on_save is off: a record causes no mail"
        subject = f"Student created: {self.studentid}"
        if "mail" in self._warning:
            raise StepFailed(self._warning)
        port = self.cloud.port
        if port is not None:
            self._wait(
                lambda: any(mail["Subject"] == subject for mail in aws.mails(port)),
                _MAIL_SECONDS,
                f"there is no mail {subject!r}",
            )
            return f"the mail {subject!r} was sent to {settings.mail.recipient}"
        if self._sent_before is None:
            self._sent()  # it raises the error that was suppressed before
        self._wait(
            lambda: self._sent() > (self._sent_before or 0),
            _MAIL_SECONDS,
            "SES has sent no mail since the step `record`",
        )
        return f"SES accepted a mail; check that {subject!r} is in the inbox of {settings.mail.recipient}"

    def _sent(self) -> float:
        return float(self.cloud.client("sesv2").get_account()["SendQuota"]["SentLast24Hours"])

    def event(self) -> str:
        """Check that the log group of the bus has the event of the record."""
        since = self.began - timedelta(minutes=1)

        def is_there() -> bool:
            return any(event["detail"].get("studentid") == self.studentid for event in bus_log.read(self.cloud, since))

        group = f"/aws/events/{self.cloud.settings.events.bus_name}"
        self._wait(is_there, _EVENT_SECONDS, f"the log group {group} has no event of {self.studentid}")
        return f"the event 'student saved' is in {group}"

    def upload(self) -> str:
        """Upload an object in several parts with the role of the backup, and compare it with S3."""
        backup = self.cloud.settings.backups
        done = invoke(self.cloud, backup.function_name, {"smoke": self.id})
        if "key" not in done or "crc32" not in done:
            raise StepFailed(f"{backup.function_name} does not support the request; deploy the current code: {done}")
        self.uploaded = str(done["key"])
        where = f"s3://{backup.bucket_name}/{self.uploaded}"
        found = self.cloud.client("s3").head_object(
            Bucket=backup.bucket_name, Key=self.uploaded, ChecksumMode="ENABLED"
        )
        there = (found["ContentLength"], found.get("ChecksumCRC32"))
        if there != (done["bytes"], done["crc32"]):
            raise StepFailed(f"{where} has {there[0]} bytes and CRC32 {there[1]}, but the function sent {done}")
        return f"{done['bytes']:,} bytes with the role of {backup.function_name}; CRC32 in S3 and function agree"

    def backup(self) -> str:
        """Make a marked backup, which is kept. The marked record is deleted before, so no restore writes it."""
        self._remove_record()
        answer = invoke(self.cloud, self.cloud.settings.backups.function_name, {"mark": f"smoke-{self.id}"})
        self.key = str(answer["key"])
        self.left.append(f"the backup s3://{self.cloud.settings.backups.bucket_name}/{self.key}, which is kept")
        if "items" not in answer:
            self._wait(self._is_exported, self.patience, f"the export of {self.key} did not end")
        return f"{self.key}"

    def _is_exported(self) -> bool:
        history = self.cloud.settings.backups.history_table_name
        pages = (
            self.cloud.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=history,
                FilterExpression="#key = :key AND #status = :completed",
                ExpressionAttributeNames={"#key": "key", "#status": "status"},
                ExpressionAttributeValues={":key": {"S": self.key}, ":completed": {"S": "completed"}},
            )
        )
        return any(page["Items"] for page in pages)

    def whole(self) -> str:
        """Read the backup and check every item."""
        return whole(self.cloud, self.key)

    def drill(self) -> str:
        """Restore the newest backup into a scratch table, compare it and delete that table."""
        if not self.cloud.settings.drills.enabled:
            return "drills are off"
        return drilled(make_drill(self.cloud))

    def metric(self) -> str:
        """Check that the metric of the backup arrived."""
        table = self.cloud.settings.records.table_name
        name = f"Rollbook/BackupsCompleted of {table}"

        def arrived() -> bool:
            return bool(
                alarms.datapoints(
                    self.cloud, "Rollbook", "BackupsCompleted", [{"Name": "Table", "Value": table}], self.began
                )
            )

        self._wait(arrived, _METRIC_SECONDS, f"{name} has no data since {self.began:%H:%M:%S}Z")
        return f"{name} counted the backup"

    def alarms(self) -> str:
        """Check that no alarm of the stack is raised, except by waiting for a first success."""
        return alarms.check(self.cloud, self._raised_before, self.began)

    def audit(self) -> str:
        """Check that the log group of the audit has the read of the backup by the step `verification`."""
        audit = self.cloud.settings.audit
        if not audit.enabled:
            return "the audit is off"
        logs, group = self.cloud.client("logs"), f"/aws/events/{audit.trail_name}"
        since = int(self.began.timestamp() * 1000)

        def is_there() -> bool:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=since, filterPattern=f'"{self.key}"'
            )
            return any('"GetObject"' in event["message"] for page in pages for event in page["events"])

        self._wait(is_there, AUDIT_SECONDS, f"the log group {group} has no event of the read of {self.key}")
        return f"the read of {self.key} is in {group}, and the operator gets an alert"

    def clean(self) -> None:
        """Delete the record and the upload, if the caller may; `left` names what is kept."""
        settings, cloud = self.cloud.settings, self.cloud
        table = settings.records.table_name
        try:
            self._remove_record()
        except (BotoCoreError, ClientError) as error:
            self.left.append(f"the record {self.studentid} in {table}; delete it: {explain(error)}")
        if self.uploaded:
            try:
                cloud.client("s3").delete_object(Bucket=settings.backups.bucket_name, Key=self.uploaded)
            except (BotoCoreError, ClientError) as error:
                days = SMOKE_DAYS if settings.backups.retention else settings.backups.expire_after_days
                where = f"s3://{settings.backups.bucket_name}/{self.uploaded}"
                self.left.append(f"the upload {where}, which expires in {days} days: {explain(error)}")

    def _remove_record(self) -> None:
        if not self._is_saved:
            return
        self.cloud.client("dynamodb").delete_item(
            TableName=self.cloud.settings.records.table_name, Key={"studentid": {"S": self.studentid}}
        )
        self._is_saved = False

    def _wait(self, look: Callable[[], bool], seconds: float, fault: str) -> None:
        limit = min(seconds, self.patience)
        deadline = time.monotonic() + limit
        while not look():
            if time.monotonic() > deadline:
                raise StepFailed(f"{fault} after {limit:g} s")
            time.sleep(_POLL_SECONDS)


def whole(cloud: Cloud, key: str) -> str:
    """Read a backup and check every item, the counts and the digests.

    Raises:
        Corrupted: it is damaged.
    """
    backup = stored.open_backup(cloud.client("s3"), cloud.settings.backups.bucket_name, key)
    found = stored.verify(backup)
    return f"s3://{cloud.settings.backups.bucket_name}/{key} is whole: {found.items:,} items, {found.bytes:,} bytes"


def drilled(answer: dict[str, Any]) -> str:
    """Return the answer of a drill in one sentence."""
    return (
        f"the drill restored {answer['key']} into a scratch table in {answer['rtoSeconds']:.1f} s, compared all "
        f"{answer['items']} records and deleted the table"
    )
