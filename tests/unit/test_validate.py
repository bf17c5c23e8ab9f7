"""What AWS Backup restored is compared with what its source was: a changed item is named, a change since is none."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from rollbook.engine import backup as run
from tests.unit.aws import Context
from tests.unit.engine import local, put, scheduled, soon

SOURCE, RESTORED = "studentData", "awsbackup-restore-test-1"
ARN = "arn:aws:dynamodb:ap-southeast-1:123456789012:table"


class Jobs:
    """AWS Backup's two calls about restore tests, which moto does not have."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.taken_at = datetime.now(UTC)

    def describe_restore_job(self, **_: Any) -> dict[str, Any]:
        arns = {"SourceResourceArn": f"{ARN}/{SOURCE}", "CreatedResourceArn": f"{ARN}/{RESTORED}"}
        return arns | {"RecoveryPointCreationDate": self.taken_at}

    def put_restore_validation_result(self, **answer: Any) -> None:
        self.answers.append(answer)


@pytest.fixture
def jobs(aws: None, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setenv("S3_BUCKET_NAME", "student-backup")
    monkeypatch.setenv("KEY_PREFIX", "students-backup-")
    put(**{f"SV{number:03}": {"class": {"S": "10A1"}} for number in range(20)})
    return Jobs()


def restore(*left_out: str, key: str = "studentid", **changed: dict[str, Any]) -> None:
    """Make the table that AWS Backup would have, damaged as is asked."""
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName=RESTORED,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
    )
    for item in dynamodb.scan(TableName=SOURCE)["Items"]:
        name = item["studentid"]["S"]
        if name not in left_out:
            dynamodb.put_item(TableName=RESTORED, Item=item | changed.get(name, {}) | {key: item["studentid"]})


def answer(jobs: Jobs, monkeypatch: pytest.MonkeyPatch, context: Context | None = None) -> dict[str, Any]:
    function = importlib.reload(importlib.import_module("handlers.validate"))
    monkeypatch.setattr(function, "_backup", jobs)
    monkeypatch.setattr(function._validation, "_dynamodb", local().dynamodb)
    function.handler({"detail": {"restoreJobId": "job-1"}}, context or Context())
    [told] = jobs.answers
    assert told["RestoreJobId"] == "job-1"
    return told


def test_an_equal_table_is_successful(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    restore()
    told = answer(jobs, monkeypatch)
    assert (told["ValidationStatus"], told["ValidationStatusMessage"]) == (
        "SUCCESSFUL",
        "20 items, all equal to the source table's current items",
    )


@pytest.mark.parametrize("with_a_backup", [True, False])
def test_one_changed_item_is_failed_with_its_key(
    jobs: Jobs, backup: run.Backup, monkeypatch: pytest.MonkeyPatch, with_a_backup: bool
) -> None:
    if with_a_backup:
        backup.run(scheduled(), holder="1", deadline=soon())
    jobs.taken_at = datetime.now(UTC) + timedelta(seconds=1)
    restore(SV007={"class": {"S": "10A2"}})
    told = answer(jobs, monkeypatch)
    assert told["ValidationStatus"] == "FAILED"
    assert '{"studentid":{"S":"SV007"}}' in told["ValidationStatusMessage"]
    assert told["ValidationStatusMessage"].startswith("1 of 20 items")


def test_what_changed_in_the_table_since_is_no_damage(
    jobs: Jobs, backup: run.Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup.run(scheduled(), holder="1", deadline=soon())
    jobs.taken_at = datetime.now(UTC) + timedelta(seconds=1)
    restore()
    put(SV003={"class": {"S": "11A1"}}, SV100={"class": {"S": "10A1"}})
    boto3.client("dynamodb").delete_item(TableName=SOURCE, Key={"studentid": {"S": "SV004"}})
    told = answer(jobs, monkeypatch)
    assert told["ValidationStatus"] == "SUCCESSFUL"
    assert "20 items; 3 of them have changed in the source table since" in told["ValidationStatusMessage"]


def test_damage_is_told_from_a_change(jobs: Jobs, backup: run.Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    backup.run(scheduled(), holder="1", deadline=soon())
    jobs.taken_at = datetime.now(UTC) + timedelta(seconds=1)
    restore("SV005", SV007={"class": {"S": "10A2"}})
    put(SV003={"class": {"S": "11A1"}})
    message = answer(jobs, monkeypatch)["ValidationStatusMessage"]
    assert message.startswith("2 of 19 items differ from the source table and from the earlier backup students-backup-")
    assert "SV005" in message
    assert "SV007" in message
    assert "SV003" not in message


def test_a_backup_of_later_is_no_witness(jobs: Jobs, backup: run.Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    backup.run(scheduled(), holder="1", deadline=soon())
    jobs.taken_at = datetime.now(UTC) - timedelta(hours=1)
    restore()
    put(SV003={"class": {"S": "11A1"}})
    told = answer(jobs, monkeypatch)
    assert told["ValidationStatus"] == "FAILED"
    assert "without a backup from before" in told["ValidationStatusMessage"]


def test_another_key_is_another_schema(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(key="id")
    told = answer(jobs, monkeypatch)
    assert told["ValidationStatus"] == "FAILED"
    assert "keySchema" in told["ValidationStatusMessage"]


def test_too_little_time_is_answered_as_such(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    restore()
    assert answer(jobs, monkeypatch, Context(remaining_ms=0))["ValidationStatus"] == "TIMED_OUT"


def test_a_table_that_is_gone_raises(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="ResourceNotFound"):
        answer(jobs, monkeypatch)
    assert not jobs.answers
