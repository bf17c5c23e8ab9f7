"""The backup, against moto and the tables of the synthesized JSON."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from dateutil import tz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollbook.engine import backup as run
from rollbook.engine import history
from rollbook.engine.dynamodb import definitions, scan
from rollbook.engine.dynamodb import raw as wire
from rollbook.engine.formats import document, lines
from rollbook.engine.s3 import upload
from tests.conftest import Stacks
from tests.unit.aws import Context, create_tables, proxy_event
from tests.unit.engine import (
    ENVIRONMENT,
    JOB,
    KEY,
    MIDNIGHT,
    MINUTE,
    PART_BYTES,
    SCHEDULED,
    ZONE,
    Clock,
    Mail,
    backup_of,
    executions,
    local,
    objects,
    put,
    read,
    scheduled,
    soon,
)


def test_the_document_has_header_items_a_line_each_and_footer(backup: run.Backup, mail: Mail) -> None:
    put(SV001={"name": {"S": "An"}}, SV002={"marks": {"L": [{"N": "1"}]}})
    row = backup.run(scheduled(), holder="a", deadline=soon())
    assert row is not None
    raw = read(KEY)
    parsed = json.loads(raw)
    items = raw.split(b'"items":[\n')[1].rsplit(b"\n],", 1)[0]
    assert (parsed["format"], parsed["execution"]) == ("rollbook-backup/2", scheduled().id)
    assert parsed["table"]["name"] == "studentData"
    assert parsed["table"]["keySchema"] == [{"AttributeName": "studentid", "KeyType": "HASH"}]
    assert {"Key": "backup", "Value": "daily"} in parsed["table"]["tags"]
    assert parsed["itemCount"] == len(parsed["items"]) == len(items.splitlines()) == row.items == 2
    assert [json.loads(line.rstrip(b",")) for line in items.splitlines()] == parsed["items"]
    assert parsed["sha256"] == hashlib.sha256(raw.split(b',"sha256":')[0]).hexdigest() == row.sha256
    before = raw[: raw.index(b"\n],") + 1]
    assert parsed["blocks"] == [f"{zlib.crc32(before):08x}"]
    assert row.bytes == len(raw)
    assert (row.status, row.source, row.key) == ("completed", "schedule", KEY)


def test_the_mail_is_the_workshops_and_says_what_one_wants_to_know(backup: run.Backup, mail: Mail) -> None:
    put(SV001={})
    backup.run(scheduled(), holder="a", deadline=soon())
    [sent] = mail.sent
    assert sent["Subject"]["Data"] == f"Backup Completed: {KEY}"
    body = sent["Body"]["Text"]["Data"]
    assert body.startswith(f"Backup saved to s3://student-backup/{KEY}\n")
    assert "Items:     1\n" in body
    assert f"Bytes:     {len(read(KEY)):,}\n" in body


def test_an_empty_table_makes_a_valid_document(backup: run.Backup) -> None:
    backup.run(scheduled(), holder="a", deadline=soon())
    assert (json.loads(read(KEY))["items"], json.loads(read(KEY))["itemCount"]) == ([], 0)


def test_a_retry_of_a_completed_run_writes_no_second_backup_and_sends_no_second_mail(
    backup: run.Backup, mail: Mail
) -> None:
    put(SV001={})
    first = backup.run(scheduled(), holder="a", deadline=soon())
    before = read(KEY)
    put(SV002={})
    again = backup.run(scheduled(), holder="b", deadline=soon())
    assert first is not None
    assert again is not None
    assert again == first
    assert (objects(), read(KEY), len(mail.sent)) == ([KEY], before, 1)


def test_a_second_invocation_leaves_a_running_one_alone(backup: run.Backup, mail: Mail, clock: Clock) -> None:
    kept = history.History(boto3.client("dynamodb"), "backup-executions", 400)
    kept.claim(scheduled().id, holder="a", now=clock(), until=clock() + MINUTE, values={"kind": "backup", "key": KEY})
    assert backup.run(scheduled(), holder="b", deadline=soon()) is None
    assert (objects(), mail.sent) == ([], [])


HEADER = document.Header(document.FORMAT, "manual#1", {"name": "t"}, MIDNIGHT)


@pytest.mark.parametrize(("holder", "later"), [("a", timedelta(0)), ("b", 2 * MINUTE)])
def test_a_run_that_died_is_taken_up_by_its_own_retry_or_once_its_time_is_over(
    backup: run.Backup, clock: Clock, holder: str, later: timedelta
) -> None:
    kept = history.History(boto3.client("dynamodb"), "backup-executions", 400)
    kept.claim(scheduled().id, holder="a", now=clock(), until=clock() + MINUTE, values={"kind": "backup", "key": KEY})
    clock.now += later
    assert backup.run(scheduled(), holder=holder, deadline=soon()) is not None
    assert objects() == [KEY]


def test_an_invocation_that_was_overtaken_does_not_complete_and_sends_no_mail(
    backup: run.Backup, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = history.History(boto3.client("dynamodb"), "backup-executions", 400)
    pages = scan.pages

    def slow(*arguments: Any, **options: Any) -> Iterator[scan.Page]:
        clock.now += 2 * MINUTE
        assert kept.claim(
            scheduled().id, holder="b", now=clock(), until=clock() + MINUTE, values={"kind": "backup"}
        ).granted
        yield from pages(*arguments, **options)

    monkeypatch.setattr(scan, "pages", slow)
    with pytest.raises(history.LeaseLost, match=r"a lost the lease of .*; b holds it now"):
        backup.run(scheduled(), holder="a", deadline=soon())
    [row] = executions()
    assert (row["status"], row["holder"], mail.sent) == ({"S": "running"}, {"S": "b"}, [])


def died(execution: str) -> None:
    """Make the row of a completed execution that of an invocation which died before it wrote the result."""
    rows = boto3.resource("dynamodb").Table("backup-executions")
    row = rows.get_item(Key={"id": execution})["Item"]
    kept = {"id", "kind", "tableName", "source", "key", "runAt", "startedAt", "claimedAt", "expiresAt", "tries"}
    rows.put_item(Item={name: row[name] for name in kept} | {"status": "running", "holder": "dead", "leaseUntil": 0})


def test_a_run_that_died_after_its_upload_is_completed_with_the_numbers_of_the_object(
    backup: run.Backup, mail: Mail, clock: Clock
) -> None:
    put(SV001={})
    backup.run(scheduled(), holder="a", deadline=soon())
    before = json.loads(read(KEY))
    died(scheduled().id)
    put(SV002={})
    row = backup.run(scheduled(), holder="b", deadline=soon())
    assert row is not None
    assert (row.items, row.sha256, row.bytes) == (1, before["sha256"], len(read(KEY)))
    assert row.crc32 == crc32_of(read(KEY))


def test_a_mail_that_fails_raises_and_the_retry_sends_it_without_a_second_backup(
    backup: run.Backup, mail: Mail
) -> None:
    mail.fails = True
    with pytest.raises(ClientError, match="slow down"):
        backup.run(scheduled(), holder="a", deadline=soon())
    before = read(KEY)
    mail.fails = False
    backup.run(scheduled(), holder="a", deadline=soon())
    assert (read(KEY), len(mail.sent)) == (before, 1)


def test_a_failure_raises_is_in_the_history_and_leaves_nothing_visible(backup: run.Backup) -> None:
    boto3.client("dynamodb").delete_table(TableName="studentData")
    with pytest.raises(ClientError, match="not found"):
        backup.run(scheduled(), holder="a", deadline=soon())
    [row] = executions()
    assert row["status"] == {"S": "failed"}
    assert "not found" in row["error"]["S"]
    assert objects() == []


def test_a_failed_run_may_be_tried_again_by_anyone_at_once(backup: run.Backup, stacks: Stacks) -> None:
    boto3.client("dynamodb").delete_table(TableName="studentData")
    with pytest.raises(ClientError):
        backup.run(scheduled(), holder="a", deadline=soon())
    for name in boto3.client("dynamodb").list_tables()["TableNames"]:
        boto3.client("dynamodb").delete_table(TableName=name)
    create_tables(stacks)
    assert backup.run(scheduled(), holder="b", deadline=soon()) is not None


def test_the_stamp_is_in_the_configured_zone_also_where_linux_has_no_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tz.tz, "TZPATHS", [])
    tz.gettz.cache_clear()
    assert f"{scheduled().name}.json" == KEY
    tz.gettz.cache_clear()


def test_two_manual_runs_in_one_minute_are_two_backups(backup: run.Backup, clock: Clock) -> None:
    for request_id in ("aaaaaaaa-1", "bbbbbbbb-2"):
        backup.run(run.manual(JOB, ZONE, "api", request_id, clock()), holder=request_id, deadline=soon())
    assert objects() == [
        "students-backup-20250708T070003-aaaaaaaa.json",
        "students-backup-20250708T070003-bbbbbbbb.json",
    ]


def crc32_of(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def test_an_upload_in_parts_has_the_checksum_of_the_whole(aws: None) -> None:
    body = b"x" * PART_BYTES + b"the last part"
    uploaded = upload.put(
        boto3.client("s3"), bucket="student-backup", key="k", chunks=[body[:-5], body[-5:]], content_type="text/plain"
    )
    head = boto3.client("s3").head_object(Bucket="student-backup", Key="k", ChecksumMode="ENABLED")
    assert (uploaded.crc32, head["ChecksumCRC32"]) == (crc32_of(body), crc32_of(body))


def test_an_upload_that_ends_with_a_part_sends_no_empty_one(aws: None) -> None:
    s3 = boto3.client("s3")
    one = upload.Upload(s3, bucket="student-backup", key="k", content_type="text/plain")
    one.write(b"x" * PART_BYTES)
    one.flush()
    [pending] = s3.list_multipart_uploads(Bucket="student-backup")["Uploads"]
    parts = s3.list_parts(Bucket="student-backup", Key="k", UploadId=pending["UploadId"])["Parts"]
    assert [part["Size"] for part in parts] == [PART_BYTES]
    one.complete()


def test_a_row_has_the_checksum_of_the_object(backup: run.Backup) -> None:
    put(SV001={})
    row = backup.run(scheduled(), holder="a", deadline=soon())
    assert row is not None
    assert row.crc32 == crc32_of(read(KEY))


def test_a_row_of_an_export_has_the_checksum_of_the_list_of_its_files(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    job = replace(JOB, format="dynamodb-export", compression="gzip")
    row = backup_of(job, mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert row is not None
    assert row.crc32 == crc32_of(read(row.manifest.replace("manifest-summary", "manifest-files")))


def test_a_row_says_who_made_what_and_when_it_expires(backup: run.Backup, clock: Clock) -> None:
    put(SV001={})
    backup.run(scheduled(), holder="a", deadline=soon())
    [row] = executions()
    assert row["id"] == {"S": "schedule#studentData#2025-07-08T00:00:00Z"}
    assert row["startedAt"] == row["endedAt"] == {"S": "2025-07-08T00:00:03.000Z"}
    assert row["expiresAt"] == {"N": str(int((clock() + timedelta(days=400)).timestamp()))}
    assert float(row["readUnits"]["S"]) > 0


numbers = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12).map(str)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
binaries = st.binary(min_size=1, max_size=20)
scalars = st.one_of(
    texts.map(lambda value: {"S": value}),
    numbers.map(lambda value: {"N": value}),
    binaries.map(lambda value: {"B": value}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.sets(texts.filter(bool), min_size=1, max_size=3).map(lambda values: {"SS": sorted(values)}),
    st.sets(st.integers(-(10**30), 10**30), min_size=1, max_size=3).map(
        lambda values: {"NS": [str(v) for v in values]}
    ),
    st.sets(binaries, min_size=1, max_size=3).map(lambda values: {"BS": sorted(values)}),
)
attributes = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: {"L": values})
        | st.dictionaries(texts.filter(bool), inner, max_size=3).map(lambda values: {"M": values})
    ),
    max_leaves=8,
)


def on_the_wire(value: Any) -> Any:
    """DynamoDB JSON as it is on the wire: bytes as Base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: on_the_wire(inner) for name, inner in value.items()}
    return [on_the_wire(inner) for inner in value] if isinstance(value, list) else value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(item=st.dictionaries(texts.filter(lambda name: name and name != "studentid"), attributes, max_size=5))
def test_all_ten_types_reach_the_document_as_dynamodb_has_them(aws: None, item: dict[str, Any]) -> None:
    put(SV001=item)
    [page] = scan.pages(local().dynamodb, "studentData")
    assert [json.loads(bytes(found)) for found in page.items] == [{"studentid": {"S": "SV001"}, **on_the_wire(item)}]


def test_a_scan_goes_through_all_pages_and_a_key_of_bytes(aws: None) -> None:
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName="pages",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "B"}],
    )
    for number in range(12):
        dynamodb.put_item(TableName="pages", Item={"key": {"B": bytes([number])}, "x": {"S": "y" * 300_000}})
    pages = list(scan.pages(local().dynamodb, "pages"))
    keys = [json.loads(bytes(found))["key"]["B"] for page in pages for found in page.items]
    assert len(pages) > 2
    assert sorted(base64.b64decode(key) for key in keys) == [bytes([number]) for number in range(12)]


def test_the_items_of_an_indented_answer_get_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"Items": [{"a": {"S": "x\ny"}}, {"a": {"S": "{}"}}], "Count": 2}, indent=2).encode()
    client = wire.client(region_name="ap-southeast-1")
    client.meta.events.register("before-send", lambda **_: _Response(body))
    [page] = scan.pages(client, "any")
    assert [json.loads(bytes(found)) for found in page.items] == json.loads(body)["Items"]


class _Response:
    status_code = 200
    headers: dict[str, str] = {"content-type": "application/x-amz-json-1.0"}  # noqa: RUF012

    def __init__(self, content: bytes) -> None:
        self.content = content


def test_a_table_larger_than_a_part_is_uploaded_in_parts_and_memory_does_not_grow(aws: None) -> None:
    items = [b'{"studentid":{"S":"%09d"},"x":{"S":"%s"}}' % (i, b"y" * 970) for i in range(1000)]

    def pages(count: int) -> Iterator[scan.Page]:
        for _ in range(count):
            yield scan.Page(items, 1.0)

    class S3:
        """Counts what it is given and keeps nothing."""

        def __init__(self) -> None:
            self.parts: list[int] = []

        def create_multipart_upload(self, **_: Any) -> dict[str, str]:
            return {"UploadId": "1"}

        def upload_part(self, *, Body: bytes, **_: Any) -> dict[str, str]:
            self.parts.append(len(Body))
            return {"ETag": "e", "ChecksumCRC32": "AAAAAA=="}

        def complete_multipart_upload(self, **_: Any) -> dict[str, str]:
            return {"ETag": "e"}

    peaks = []
    for count in (30, 120):
        s3, writer = S3(), document.Writer()
        tracemalloc.start()
        chunks = writer.chunks(HEADER, pages(count), lambda: MIDNIGHT)
        upload.put(s3, bucket="b", key="k", chunks=chunks, content_type="application/json")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(s3.parts) > count * 1_000_000
        assert min(s3.parts[:-1]) >= PART_BYTES
    assert peaks[1] < peaks[0] * 1.1
    assert peaks[1] < 4 * PART_BYTES


def test_an_upload_that_fails_midway_leaves_no_object_and_no_parts(aws: None) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * (PART_BYTES + 1)
        raise RuntimeError("the scan failed")

    s3 = boto3.client("s3")
    with pytest.raises(RuntimeError, match="the scan failed"):
        upload.put(s3, bucket="student-backup", key="k", chunks=chunks(), content_type="application/json")
    assert objects() == []
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="student-backup")


@pytest.mark.parametrize("size", [10, 9 * 1024 * 1024])
def test_an_upload_never_replaces_an_object(aws: None, size: int) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket="student-backup", Key="k", Body=b"first")
    with pytest.raises(upload.ObjectExists, match=r"s3://student-backup/k exists already"):
        upload.put(s3, bucket="student-backup", key="k", chunks=[b"x" * size], content_type="application/json")
    assert read("k") == b"first"


def test_a_footer_that_is_cut_is_refused() -> None:
    writer = document.Writer()
    whole = b"".join(writer.chunks(HEADER, [scan.Page([b"{}"], 0.5)], lambda: MIDNIGHT))
    assert len(list(document.items([whole]))) == 1
    for cut in (whole[:-3], whole[: whole.index(b"\n],")], b""):
        with pytest.raises(lines.Corrupted):
            list(document.items([cut]))


def test_a_table_is_described_as_a_restore_needs_it(aws: None) -> None:
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName="rich",
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("p", "s", "g", "l")],
        ProvisionedThroughput={"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-g",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2},
            }
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by-l",
                "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    dynamodb.update_time_to_live(
        TableName="rich", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiresAt"}
    )
    described = definitions.describe(local().dynamodb, "rich").definition
    assert described["provisionedThroughput"] == {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4}
    assert [index["IndexName"] for index in described["globalSecondaryIndexes"]] == ["by-g"]
    assert described["globalSecondaryIndexes"][0]["ProvisionedThroughput"]["WriteCapacityUnits"] == 2
    assert [index["IndexName"] for index in described["localSecondaryIndexes"]] == ["by-l"]
    assert described["stream"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    assert described["timeToLive"] == "expiresAt"
    json.dumps(described)


@pytest.fixture
def function(aws: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in ENVIRONMENT.variables().items():
        monkeypatch.setenv(name, value)
    boto3.client("sesv2").create_email_identity(EmailIdentity="no-reply@school.example")
    return importlib.reload(importlib.import_module("handlers.backup"))


def test_the_function_answers_and_logs_what_it_did(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    summary = function.handler(scheduled_now(), Context())
    key = summary["key"]
    assert summary["message"] == f"Backup completed: {key}"
    assert (summary["items"], summary["bytes"]) == (0, len(read(key)))
    assert [(entry.getMessage(), vars(entry)["key"]) for entry in caplog.records] == [("Backup completed", key)]


def scheduled_now() -> dict[str, str]:
    return SCHEDULED | {"scheduledTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}


def test_the_api_is_answered_with_the_backup(function: Any) -> None:
    answer = function.handler(proxy_event("POST"), Context())
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["message"].startswith("Backup completed: students-backup-")


def test_by_hand_an_empty_event_is_enough(function: Any) -> None:
    assert function.handler({}, Context("by-hand-1"))["key"].endswith("-by-hand-.json")


@pytest.mark.parametrize(
    "event",
    [
        {"source": "aws.events"},
        {"source": "schedule"},
        {"source": "schedule", "scheduledTime": "<aws.scheduler.scheduled-time>"},
        {"source": "schedule", "scheduledTime": "2025-07-08T00:00:00"},
        {"source": "schedule", "scheduledTime": 5},
    ],
)
def test_an_event_that_is_none_of_its_own_fails_and_says_what_to_send(function: Any, event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"by hand, send \{\}"):
        function.handler(event, Context())
    assert objects() == []


def test_the_function_backs_up_the_table_that_its_schedule_names(function: Any) -> None:
    boto3.client("dynamodb").put_item(TableName="welcomed-users", Item={"id": {"S": "1"}})
    of_table = {"table_name": "welcomed-users", "key_prefix": "welcomed-users/", "compression": "gzip", "segments": "1"}
    of_table["object_tags"] = "Owner=School+office&Class=10%2FA%2BB"
    event = scheduled_now()
    summary = function.handler(event | {"table": of_table}, Context())
    tagged = boto3.client("s3").get_object_tagging(Bucket="student-backup", Key=summary["key"])["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tagged} == {"Owner": "School office", "Class": "10/A+B"}
    assert re.fullmatch(r"welcomed-users/\d{8}T\d{4}\.json\.gz", summary["key"])
    assert summary["items"] == 1
    [row] = executions()
    assert (row["id"]["S"], row["tableName"]["S"]) == (
        f"schedule#welcomed-users#{event['scheduledTime']}",
        "welcomed-users",
    )
    # The same moment of the records is another execution.
    key = function.handler(event, Context())["key"]
    assert key.startswith("students-backup-20")
    assert boto3.client("s3").get_object_tagging(Bucket="student-backup", Key=key)["TagSet"] == []
    by_hand = function.handler({"table": of_table}, Context("request-2"))
    assert by_hand["key"].startswith("welcomed-users/20")


@pytest.mark.parametrize("of_table", [{"s3_bucket_name": "another"}, {"segments": 2}])
def test_an_event_cannot_say_more_than_how_its_table_is_backed_up(function: Any, of_table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the fields of the event's table must be texts"):
        function.handler(SCHEDULED | {"table": of_table}, Context())
    assert not objects()
