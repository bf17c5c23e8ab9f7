"""`rollbook backups` on the embedded AWS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops.backups import command
from ops.cloud import Cloud, fetch
from ops.exits import Exit
from rollbook.contract.retention import MARK, YES
from rollbook.engine import stored
from tests.conftest import Local
from tests.local.aws import mails, scheduled_in_a_moment, table, wait_for

Ops = Callable[..., Result]


@pytest.fixture
def ops(local: Local, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.setattr(Cloud, "of", lambda _: local.cloud)
    return lambda *arguments: CliRunner().invoke(command.app, list(arguments))


@pytest.fixture
def made(local: Local) -> dict[str, Any]:
    record = {"studentid": "OPS-1", "name": "An", "class": "10A1", "birthdate": "2009-01-01", "email": "an@a.example"}
    saved = fetch(
        f"{local.cloud.site_url}/students?notify=false",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps(record).encode(),
    )
    assert saved.status in {200, 201}
    answer: dict[str, Any] = fetch(f"{local.cloud.site_url}/backup", method="POST").json()
    return answer


def test_a_backup_is_listed_shown_and_whole(ops: Ops, made: dict[str, Any]) -> None:
    [row] = [row for row in json.loads(ops("list", "--json").stdout) if row["key"] == made["key"]]
    assert (row["status"], row["source"]) == ("completed", "api")
    assert (row["items"], row["bytes"]) == (made["items"], made["bytes"])
    shown = json.loads(ops("show", made["key"], "--json").stdout)
    assert (shown["items"], shown["bytes"], shown["status"]) == (made["items"], made["bytes"], "completed")
    assert shown["table"]["keySchema"] == [{"AttributeName": "studentid", "KeyType": "HASH"}]
    verified = ops("verify", made["key"], "--json")
    assert verified.exit_code == 0
    facts = json.loads(verified.stdout)
    assert len(facts.pop("sha256")) == 64
    assert facts == {
        "key": made["key"],
        "isWhole": True,
        "isKnown": True,
        "areKeysChecked": True,
        "replaced": "",
        "items": made["items"],
        "bytes": made["bytes"],
    }


def damage(cloud: Cloud, key: str, body: bytes) -> None:
    """Replace a backup's object, and make the history name the new version, as if the old one were damaged in place."""
    put = cloud.client("s3").put_object(Bucket=cloud.settings.backups.bucket_name, Key=key, Body=body)
    cloud.client("dynamodb").update_item(
        TableName=cloud.settings.backups.history_table_name,
        Key={"id": {"S": f"backup#{key}"}},
        UpdateExpression="SET versionId = :version",
        ExpressionAttributeValues={":version": {"S": put["VersionId"]}},
    )


def test_a_replaced_backup_is_named_and_its_version_is_still_whole(
    local: Local, ops: Ops, made: dict[str, Any]
) -> None:
    bucket = local.cloud.settings.backups.bucket_name
    local.cloud.client("s3").put_object(Bucket=bucket, Key=made["key"], Body=b"{}")
    ended = ops("verify", made["key"])
    assert ended.exit_code == Exit.FINDINGS
    assert "was replaced by the version" in ended.stdout


def test_a_damaged_backup_is_named_and_the_exit_code_says_so(local: Local, ops: Ops, made: dict[str, Any]) -> None:
    s3 = local.cloud.client("s3")
    bucket = local.cloud.settings.backups.bucket_name
    whole = s3.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    begin = whole.index(b"[\n") + 2
    damage(local.cloud, made["key"], whole[:begin] + b"?" + whole[begin + 1 :])
    ended = ops("verify", made["key"])
    assert ended.exit_code == Exit.FINDINGS
    assert f"item 1 (bytes {begin:,} to" in ended.stderr
    assert "Traceback" not in ended.output


def test_a_key_that_is_not_there_is_one_message(ops: Ops) -> None:
    ended = ops("verify", "students-backup-19700101T0000.json")
    assert ended.exit_code == 1
    assert "cannot be read" in ended.stderr
    assert "Traceback" not in ended.output


def test_a_corrupted_backup_fails_the_drill_and_a_good_one_brings_the_table_back(
    local: Local, ops: Ops, made: dict[str, Any]
) -> None:
    """The main job, IAM enforced: the schedule's backup is damaged, named, drilled in vain; a good one restores."""
    cloud = local.cloud
    s3, bucket = cloud.client("s3"), cloud.settings.backups.bucket_name
    with scheduled_in_a_moment(cloud) as firing:
        [damaged] = wait_for(lambda: firing.keys(cloud))
    wait_for(lambda: mails(local, f"Backup Completed: {damaged}"))
    whole = s3.get_object(Bucket=bucket, Key=damaged)["Body"].read()
    damage(cloud, damaged, whole.replace(b"OPS-1", b"OPS-2"))
    assert "are damaged: their CRC32 is" in ops("verify", damaged).stderr
    failed = ops("drill")
    assert failed.exit_code == Exit.FINDINGS
    assert damaged in failed.stderr
    [mail] = mails(local, f"Drill Failed: {damaged}")
    assert "Corrupted" in mail["BodyText"]

    good = json.loads(ops("create", "--json").stdout)["key"]
    passed = json.loads(ops("drill", "--json").stdout)
    before = table(cloud)
    assert (passed["key"], passed["items"]) == (good, len(before))
    assert [name for name in cloud.client("dynamodb").list_tables()["TableNames"] if "-drill-20" in name] == []

    for studentid in before:
        cloud.client("dynamodb").delete_item(TableName="studentData", Key={"studentid": {"S": studentid}})
    assert ops("diff", good).exit_code == Exit.FINDINGS
    unconfirmed = ops("restore", good, "--into", "studentData", "--confirm", "other")
    assert unconfirmed.exit_code == Exit.REFUSED
    assert table(cloud) == {}
    restored = ops("restore", good, "--into", "studentData", "--confirm", "studentData", "--json")
    assert json.loads(restored.stdout)["written"] == len(before)
    assert ops("diff", good).exit_code == 0
    assert table(cloud) == before


def test_the_functions_verify_and_restore_under_their_own_roles(local: Local, made: dict[str, Any]) -> None:
    def invoke(name: str, event: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        answer = local.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        return "FunctionError" not in answer, json.load(answer["Payload"])

    key = made["key"]
    assert invoke("VerifyStudentBackup", {"key": key})[1]["isWhole"] is True
    assert invoke("VerifyStudentBackup", {"key": key, "against": "studentData"})[0] is True
    target = f"studentData-restored-{uuid.uuid4()}"
    is_done, answer = invoke("RestoreStudentData", {"key": key, "to": target})
    assert (is_done, answer.get("items")) == (True, made["items"]), answer
    refusals = {
        "its name must begin with studentData-restored-": {"key": key, "to": "elsewhere"},
        "changes the table": {"key": key, "into": "studentData"},
        "a new table": {"key": key},
    }
    for reason, event in refusals.items():
        is_done, answer = invoke("RestoreStudentData", event)
        assert not is_done
        assert reason in answer["errorMessage"]


def test_a_table_of_the_fleet_is_backed_up_by_its_own_schedule(local: Local, ops: Ops) -> None:
    cloud = local.cloud
    backups = cloud.settings.backups
    # A backup of the table that this test's schedule did not make, as the hourly schedule's own may be there.
    cloud.client("dynamodb").put_item(TableName="welcomed-users", Item={"id": {"S": "fleet"}, "status": {"S": "sent"}})
    assert ops("create", "--table", "welcomed-users").exit_code == 0
    with scheduled_in_a_moment(cloud, "welcomed-users") as firing:
        [key] = wait_for(lambda: firing.keys(cloud))
    assert key.endswith(".json.gz")
    backup = stored.open_backup(cloud.client("s3"), backups.bucket_name, key)
    assert backup.table is not None
    assert backup.table["name"] == "welcomed-users"
    assert any(b'"fleet"' in item for item in backup.items())
    tags = cloud.client("s3").get_object_tagging(Bucket=backups.bucket_name, Key=key)["TagSet"]
    assert tags == [{"Key": "Owner", "Value": "School office"}]
    wait_for(lambda: mails(local, f"Backup Completed: {key}"))
    rows = cloud.client("dynamodb").scan(TableName=backups.history_table_name)["Items"]
    [row] = [row for row in rows if "kind" in row and row.get("key", {}).get("S") == key]
    assert (row["tableName"]["S"], row["status"]["S"]) == ("welcomed-users", "completed")


def test_a_table_of_the_fleet_is_backed_up_by_hand(local: Local, ops: Ops) -> None:
    made = ops("create", "--table", "welcomed-users", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["key"].startswith("welcomed-users/")
    unknown = ops("create", "--table", "no-such")
    assert unknown.exit_code == 1
    assert "there are: studentData, welcomed-users" in " ".join(unknown.stderr.split())


def test_after_a_completed_backup_a_function_marks_the_oldest(local: Local, ops: Ops) -> None:
    """The mark is all that the function may write, and a lifecycle rule acts on nothing else."""
    s3, bucket = local.cloud.client("s3"), local.cloud.settings.backups.bucket_name
    [table] = [table for table in local.cloud.settings.backups.tables if table.table_name == "welcomed-users"]
    assert table.retention is not None
    made = []
    for _ in range(table.retention.keep_last + 1):
        created = ops("create", "--table", "welcomed-users", "--json")
        assert created.exit_code == 0, created.output
        made.append(json.loads(created.stdout)["key"])

    def tags(key: str) -> dict[str, str]:
        tagged = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in tagged}

    wait_for(lambda: MARK in tags(made[0]))
    assert tags(made[0]) == {"Owner": "School office", MARK: YES}
    assert [key for key in made[1:] if MARK in tags(key)] == []
    # The kept ones of this and other tests have no mark, and a second look finds nothing more to mark.
    pruned = ops("prune", "--dry-run", "--json")
    assert pruned.exit_code == 0, pruned.output
    assert {each["key"]: each["isMarked"] for each in json.loads(pruned.stdout)}[made[0]]


def test_a_table_of_the_fleet_is_drilled_under_the_functions_own_role(local: Local, ops: Ops) -> None:
    created = ops("create", "--table", "welcomed-users", "--json")
    assert created.exit_code == 0, created.output
    passed = ops("drill", "--table", "welcomed-users", "--json")
    assert passed.exit_code == 0, passed.output
    assert json.loads(passed.stdout)["key"] == json.loads(created.stdout)["key"]
    names = local.cloud.client("dynamodb").list_tables()["TableNames"]
    assert [name for name in names if name.startswith("welcomed-users-drill-")] == []


def test_an_export_that_failed_without_an_event_is_reported_by_the_watch(local: Local) -> None:
    """The function asks DynamoDB under its own role, and sends the mail."""
    cloud = local.cloud
    dynamodb, history = cloud.client("dynamodb"), cloud.settings.backups.history_table_name
    described = dynamodb.describe_table(TableName="studentData")["Table"]
    begun = dynamodb.export_table_to_point_in_time(TableArn=described["TableArn"], S3Bucket="no-such-bucket-here")
    arn = begun["ExportDescription"]["ExportArn"]
    wait_for(lambda: dynamodb.describe_export(ExportArn=arn)["ExportDescription"]["ExportStatus"] == "FAILED")
    id_ = f"manual#{uuid.uuid4()}"
    row = {"id": id_, "kind": "backup", "tableName": "studentData", "status": "exporting", "key": f"{id_}.json"}
    row |= {"startedAt": "2025-07-08T00:00:00.000Z", "exportArn": arn}
    dynamodb.put_item(TableName=history, Item={name: {"S": value} for name, value in row.items()})
    dynamodb.update_item(
        TableName=history,
        Key={"id": {"S": "exports-in-progress"}},
        UpdateExpression="ADD executions :ids",
        ExpressionAttributeValues={":ids": {"SS": [id_]}},
    )
    name = cloud.settings.backups.finish_function_name
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"source": "aws.events"}))
    assert "FunctionError" not in answer, answer["Payload"].read()
    found = dynamodb.get_item(TableName=history, Key={"id": {"S": id_}})["Item"]
    assert (found["status"]["S"], "S3NoSuchBucket" in found["error"]["S"]) == ("failed", True)
    [mail] = [each for each in mails(local, "Backup Failed: studentData") if id_ in each["BodyText"]]
    assert arn in mail["BodyText"]
