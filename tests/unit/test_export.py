"""The export engine: start and end, full and incremental exports, and the switch from a scan to an export."""

from __future__ import annotations

import gzip
import json
import re
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.dynamodb.models.table import Table

from rollbook.contract.jobs import BackupJob
from rollbook.engine import backup as run
from rollbook.engine import finish_export, history
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import exports
from rollbook.engine.executions import Execution
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.notifier import Notifier
from rollbook.engine.restore_request import Mode, Request, RestoreRefused
from tests.unit.engine import (
    JOB,
    PLACES,
    Clock,
    Mail,
    backup_of,
    executions,
    local,
    objects,
    put,
    resources,
    restorer,
    scheduled,
    soon,
    table,
)
from tests.unit.exports import put_manifests

BUCKET = PLACES.s3_bucket_name
PREFIX = "students-backup-20250708T0700"
EXPORT = replace(JOB, engine="export", format="dynamodb-export", compression="gzip")
AUTO = replace(JOB, engine="auto")


@pytest.fixture
def recovery(aws: None) -> None:
    boto3.client("dynamodb").update_continuous_backups(
        TableName="studentData", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def kept() -> history.History:
    return history.History(local().dynamodb, PLACES.history_table_name, 400)


def exported() -> str:
    """Wait for moto's export and return the key of its data file, which is all that moto writes."""
    for _ in range(500):
        found = [key for key in objects() if "/data/" in key]
        if found:
            return found[-1]
        time.sleep(0.01)
    raise AssertionError("there is no export")


def complete_the_export() -> str:
    """Write what moto leaves out: the manifests of what it has exported."""
    key = exported()
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    lines = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=key)
    [row] = executions()
    return put_manifests(key.rpartition("/data/")[0], row["exportArn"]["S"], {"one": lines})


def finished(manifest: str, mail: Mail, clock: Clock) -> Execution | None:
    used = resources(clock)
    notifier = Notifier(
        PLACES, history=used.history, client=lambda name: mail if name == "sesv2" else boto3.client(name), clock=clock
    )
    return finish_export.finish(manifest, used, notifier, holder="finisher", deadline=soon())


def begun(mail: Mail, clock: Clock, job: BackupJob = EXPORT, bucket: str = BUCKET) -> Execution:
    row = backup_of(job, mail, clock, bucket=bucket).run(scheduled(), holder="a", deadline=soon())
    assert row is not None
    return row


def test_an_export_is_begun_finished_by_its_manifest_reported_once_and_restored(
    recovery: None, mail: Mail, clock: Clock
) -> None:
    put(**{f"SV{number:03}": {"n": {"N": str(number)}} for number in range(40)})
    row = begun(mail, clock)
    assert (row.status, row.engine, row.export_type) == ("exporting", "export", "full")
    assert begun(mail, clock).status == "exporting"  # a retry leaves it alone
    assert mail.sent == []
    manifest = complete_the_export()
    clock.now += timedelta(minutes=5)
    row = finished(manifest, mail, clock)
    assert row is not None
    assert (row.status, row.items, row.manifest) == ("completed", 40, manifest)
    assert (row.bytes or 0) > 0
    assert row.seconds == 300.0
    finished(manifest, mail, clock)
    [sent] = mail.sent
    assert "Items:     40\n" in sent["Body"]["Text"]["Data"]
    assert f"Manifest:  {manifest}\n" in sent["Body"]["Text"]["Data"]
    restorer(clock).run(Request(row.key, "restored", is_new=True), holder="a")
    assert table("restored") == table("studentData")


def test_the_manifest_of_an_export_by_hand_is_left_alone(recovery: None, mail: Mail, clock: Clock) -> None:
    begun(mail, clock)
    exported()
    other = put_manifests("by-hand/AWSDynamoDB/1", "arn:aws:dynamodb:x:1:table/t/export/1", {"one": []})
    assert finished(other, mail, clock) is None
    same = put_manifests(f"{PREFIX}/AWSDynamoDB/2", "arn:aws:dynamodb:x:1:table/t/export/2", {"one": []})
    assert finished(same, mail, clock) is None
    assert mail.sent == []


def test_a_damaged_manifest_completes_nothing_and_the_next_try_does(recovery: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    begun(mail, clock)
    manifest = complete_the_export()
    listing = manifest.replace("summary", "files")
    s3 = boto3.client("s3")
    body = s3.get_object(Bucket=BUCKET, Key=listing)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=listing, Body=body + b" ")
    with pytest.raises(Corrupted, match="its MD5 is"):
        finished(manifest, mail, clock)
    assert mail.sent == []
    s3.put_object(Bucket=BUCKET, Key=listing, Body=body)
    done = finished(manifest, mail, clock)
    assert done is not None
    assert done.status == "completed"


def test_an_export_that_fails_is_an_error_and_the_next_try_begins_a_new_one(
    recovery: None, mail: Mail, clock: Clock
) -> None:
    arn = begun(mail, clock, bucket="not-there").export_arn
    while boto3.client("dynamodb").describe_export(ExportArn=arn)["ExportDescription"]["ExportStatus"] != "FAILED":
        time.sleep(0.01)
    with pytest.raises(exports.ExportFailed, match="S3NoSuchBucket"):
        begun(mail, clock, bucket="not-there")
    [row] = executions()
    assert row["status"]["S"] == "failed"
    assert begun(mail, clock).export_arn != arn


def test_without_point_in_time_recovery_the_export_engine_says_so(aws: None, mail: Mail, clock: Clock) -> None:
    with pytest.raises(ClientError, match="Point in time recovery"):
        begun(mail, clock)


def change(key: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> dict[str, Any]:
    keys = {"studentid": {"S": key}}
    line: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": {"N": "1751932800000000"}}, "Keys": keys}
    line |= {"NewImage": keys | new} if new is not None else {}
    return line | ({"OldImage": keys | old} if old is not None else {})


CHANGES = [
    change("SV001", {"n": {"N": "2"}}, {"n": {"N": "1"}}),
    change("SV002", None, {"n": {"N": "1"}}),
    change("SV003", {"n": {"N": "1"}}, None),
    change("SV004", None, None),  # was put and deleted between the two
]


def put_changes() -> str:
    return put_manifests(
        "incremental/AWSDynamoDB/1",
        "arn:aws:dynamodb:ap-southeast-1:1:table/studentData/export/1",
        {"one": CHANGES[:3], "two": CHANGES[3:]},
        exportType="INCREMENTAL_EXPORT",
        exportFromTime="2025-07-07T00:00:00.000Z",
        exportToTime="2025-07-08T00:00:00.000Z",
        outputView="NEW_AND_OLD_IMAGES",
    )


def restored_to_the_beginning() -> None:
    """Remember that the table has the state with which the changes begin."""
    table_id = boto3.client("dynamodb").describe_table(TableName="studentData")["Table"]["TableId"]
    kept().remember("applied#studentData", {"tableId": table_id, "until": "2025-07-07T00:00:00.000Z"})


@pytest.mark.parametrize("mode", ["all", "differing"])
def test_changes_are_applied_to_the_table_that_they_are_of(aws: None, clock: Clock, mode: Mode) -> None:
    put(SV000={"n": {"N": "0"}}, SV001={"n": {"N": "1"}}, SV002={"n": {"N": "1"}})
    restored_to_the_beginning()
    request = Request(put_changes(), "studentData", is_new=False, mode=mode, allows_unknown=True)
    plan = restorer(clock).plan(request)
    assert (plan.items, plan.writes) == (4, 4 if mode == "all" else 3)
    row = restorer(clock).run(request, holder="a")
    assert row.written == plan.writes
    assert {key: json.loads(found)["n"]["N"] for key, found in table("studentData").items()} == {
        "SV000": "0",
        "SV001": "2",
        "SV003": "1",
    }
    assert restorer(clock).run(replace(request, mode="differing"), holder="a").written == 0


def test_changes_are_no_table_and_no_missing_items(aws: None, clock: Clock) -> None:
    key = put_changes()
    with pytest.raises(RestoreRefused, match="does not contain the table's definition"):
        restorer(clock).run(Request(key, "restored", is_new=True, allows_unknown=True), holder="a")
    with pytest.raises(RestoreRefused, match="its changes replace and delete items"):
        restorer(clock).run(Request(key, "studentData", is_new=False, mode="missing", allows_unknown=True), holder="a")


def test_a_damaged_change_is_named_and_nothing_is_written(aws: None, clock: Clock) -> None:
    broken = put_manifests(
        "incremental/AWSDynamoDB/1",
        "arn:aws:dynamodb:ap-southeast-1:1:table/studentData/export/1",
        {"one": [CHANGES[0], {"Keys": {"studentid": {"S": "SV009"}}, "NewImage": {"studentid": {"X": "SV009"}}}]},
        exportType="INCREMENTAL_EXPORT",
        exportFromTime="2025-07-07T00:00:00.000Z",
        exportToTime="2025-07-08T00:00:00.000Z",
    )
    restored_to_the_beginning()
    with pytest.raises(Corrupted, match=r"item 2 .* does not have exactly one DynamoDB type"):
        restorer(clock).run(Request(broken, "studentData", is_new=False, allows_unknown=True), holder="a")
    assert table("studentData") == {}


def test_auto_scans_what_it_can_in_time_and_says_so(recovery: None, mail: Mail, clock: Clock) -> None:
    put(SV001={"text": {"S": "x" * 1000}})
    row = begun(mail, clock, AUTO)
    assert row.engine == "scan"
    assert re.search(r"at assumed 4\.0 MB/s take 0 s of 4\d s", row.reason)


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the table say that it has 1,000 bytes: moto's never say how large they are."""
    describe = Table.describe

    def described(self: Table, base_key: str = "TableDescription") -> dict[str, Any]:
        found: dict[str, Any] = describe(self, base_key)
        found[base_key]["TableSizeBytes"] = 1000
        return found

    monkeypatch.setattr(Table, "describe", described)


def test_auto_exports_what_it_could_not_scan_in_time_and_says_so(
    recovery: None, size: None, mail: Mail, clock: Clock
) -> None:
    put(SV001={"text": {"S": "x" * 1000}})
    kept().remember(history.latest("studentData"), {"scanRate": 10}, started_at=clock.now)
    row = begun(mail, clock, AUTO)
    assert (row.status, row.engine) == ("exporting", "export")
    assert "at measured 0.0 MB/s take" in row.reason


def test_auto_scans_where_it_cannot_export(aws: None, size: None, mail: Mail, clock: Clock) -> None:
    put(SV001={"text": {"S": "x" * 1000}})
    kept().remember(history.latest("studentData"), {"scanRate": 10}, started_at=clock.now)
    row = begun(mail, clock, AUTO)
    assert row.engine == "scan"
    assert "an export needs point-in-time recovery, which is off" in row.reason


def out_of_time_after_a_page() -> Deadline:
    """Return a deadline whose clock goes on by 30 s each time that it is asked, of 160 s."""
    asked = iter(range(0, 100_000, 30))
    return Deadline(ends_at=160.0, memory_mb=128, clock=lambda: float(next(asked)))


@pytest.mark.parametrize("layout", ["json", "dynamodb-export"])
def test_a_scan_that_runs_out_of_time_switches_to_an_export_and_leaves_no_partial_objects(
    recovery: None, mail: Mail, clock: Clock, layout: str
) -> None:
    put(SV001={"text": {"S": "x" * 1000}})
    job = replace(AUTO, format=layout)
    backup = backup_of(job, mail, clock)
    kept().remember(history.latest("studentData"), {"scanRate": 10**9}, started_at=clock.now)
    row = backup.run(scheduled(), holder="a", deadline=out_of_time_after_a_page())
    assert row is not None
    assert (row.status, row.engine) == ("exporting", "export")
    assert "switched to an export: in " in row.reason
    assert [key for key in objects() if "/AWSDynamoDB/" not in key] == []
    assert not boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    complete_the_export()


def test_a_scan_that_runs_out_of_time_says_how_much_memory_it_needs(backup: run.Backup) -> None:
    put(SV001={"text": {"S": "x" * 1000}})
    row = backup.run(scheduled(), holder="a", deadline=out_of_time_after_a_page())
    assert row is not None
    assert row.status == "continuing"
    assert re.search(r"raise backups\.memory_mb from 128 to", row.reason)
    assert objects() == []
