"""Who touched the backups: an alert for exactly those who should not have. The records have CloudTrail's own form."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from handlers.audit import record
from tests.unit.aws import REGION, Context

BUCKET = "student-backup-20250706"
KEY = "students-backup-20260210T0700.json"
ROLES = [
    f"arn:aws:iam::111122223333:role/{name}"
    for name in ("DynamoDBBackupRoleStudent", "RestoreStudentDataRole", "DrillStudentBackupRole")
]
RECORDS = json.loads(Path(__file__).with_name("cloudtrail.json").read_text())


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with mock_aws():
        topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
        variables = {"EXPECTED_ROLE_ARNS": ",".join(ROLES), "S3_BUCKET_NAME": BUCKET, "TOPIC_ARN": topic}
        for name, value in (variables | {"ALERT_REFUSED": "yes"}).items():
            monkeypatch.setenv(name, value)
        yield importlib.reload(importlib.import_module("handlers.audit.alert"))


def alerts() -> list[tuple[str, str]]:
    topic = next(iter(sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics.values()))
    return [(sent[2], sent[1]) for sent in topic.sent_notifications]


@pytest.mark.parametrize("name", RECORDS)
def test_exactly_those_are_alerted_of_who_should_not_have(audit: Any, name: str) -> None:
    case = RECORDS[name]
    answer = audit.handler({"id": "1", "detail": case["record"]}, Context())
    assert answer == {"alerted": case["alarming"]}
    assert len(alerts()) == case["alarming"]


@pytest.mark.parametrize(
    ("name", "who", "what"),
    [
        ("IAM user reads", "the user binh (arn:aws:iam::111122223333:user/binh)", "GetObject: was read"),
        ("IAM user overwrites", "the user binh (arn:aws:iam::111122223333:user/binh)", "PutObject: was overwritten"),
        ("IAM user deletes", "the user binh (arn:aws:iam::111122223333:user/binh)", "DeleteObject: was deleted"),
        ("IAM user copies it elsewhere", "the user binh (arn:aws:iam::111122223333:user/binh)", "CopyObject: was read"),
        ("root reads", "the root user of the account 111122223333", "GetObject: was read"),
        (
            "cross-account reads",
            "the principal AROAOTHEREXAMPLE:session of the account 444455556666",
            "GetObject: was read",
        ),
        ("CloudFront reads", "the AWS service cloudfront.amazonaws.com", "GetObject: was read"),
        ("a caller without credentials is refused", "an anonymous user", "GetObject: was not read: refused"),
        (
            "assumed role reads",
            "the role arn:aws:iam::111122223333:role/Administrator as "
            "arn:aws:sts::111122223333:assumed-role/Administrator/an@school.example",
            "GetObject: was read",
        ),
    ],
)
def test_an_alert_says_who_from_where_what_and_when(audit: Any, name: str, who: str, what: str) -> None:
    case = RECORDS[name]["record"]
    audit.handler({"id": "1", "detail": case}, Context())
    [(subject, body)] = alerts()
    lines = dict(line.split(":", 1) for line in body.splitlines())
    said = {key: value.strip() for key, value in lines.items()}
    assert (said["Who"], said["What"]) == (who, what)
    assert said["From"].startswith(case["sourceIPAddress"])
    assert said["Backup"] == f"s3://{BUCKET}/{KEY}"
    assert said["When"] == "2026-02-10T02:11:45Z, Region ap-southeast-1"
    assert said["Answer"] == case.get("errorCode", "success")
    assert subject.startswith(f"A backup {what.split(': ', 1)[1]}, by ")
    assert len(subject) < 100


def test_a_deletion_of_many_names_the_bucket(audit: Any) -> None:
    audit.handler({"id": "1", "detail": RECORDS["IAM user deletes many"]["record"]}, Context())
    [(_, body)] = alerts()
    assert f"s3://{BUCKET} (the record names no key)" in body


def test_what_was_refused_can_be_left_out(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_REFUSED")
    audit = importlib.reload(audit)
    for name in ("IAM user is refused", "IAM user reads"):
        audit.handler({"id": "1", "detail": RECORDS[name]["record"]}, Context())
    assert len(alerts()) == 1


def test_a_name_with_line_breaks_or_letters_that_sns_refuses_is_still_an_alert(audit: Any) -> None:
    case = json.loads(json.dumps(RECORDS["IAM user reads"]["record"]))
    case["userIdentity"]["userName"] = "Ánh\nBackup: none"
    audit.handler({"id": "1", "detail": case}, Context())
    [(subject, body)] = alerts()
    assert subject.isascii()
    assert body.count("\nBackup:") == 1


def test_an_event_that_is_no_record_raises_and_says_where(audit: Any) -> None:
    with pytest.raises(record.Malformed, match="missing required field `eventTime`"):
        audit.handler({"id": "1", "detail": {}}, Context())
