"""A backup comes back: every type, every digit, the schema, and nothing twice or never."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollbook.contract.jobs import DrillJob
from rollbook.engine import drill, history, stored
from rollbook.engine.dynamodb import batch_write, raw, scan, tables
from rollbook.engine.formats import compression
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.notifier import Notifier
from rollbook.engine.restore_request import LEASE, AlreadyRunning, Mode, Request, RestoreRefused
from tests.tiers import slow_beyond
from tests.unit.aws import REGION
from tests.unit.engine import (
    JOB,
    KEY,
    PLACES,
    Clock,
    Mail,
    backup_of,
    executions,
    local,
    objects,
    put,
    read,
    resources,
    restorer,
    scheduled,
    soon,
    table,
)

TABLES = ["backup-executions", "studentData", "welcomed-users"]
LAYOUTS = [("json", "none"), ("json", "gzip"), *(("dynamodb-export", method) for method in ("none", "gzip", "zstd"))]


def backed_up(mail: Mail, clock: Clock, layout: tuple[str, str] = ("json", "none")) -> str:
    job = replace(JOB, format=layout[0], compression=layout[1])
    row = backup_of(job, mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert row is not None
    return str(row.key)


def new(key: str, **options: Any) -> Request:
    return Request(key, "restored", is_new=True, **options)


def into(key: str, mode: Mode = "all") -> Request:
    return Request(key, "studentData", is_new=False, mode=mode)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1).map(str),
    st.sampled_from(["1E-130", "-1E-130", "9.9999999999999999999999999999999999999E+125", "0", "-0.5"]),
)
binaries = st.binary(min_size=1, max_size=20)
scalars = st.one_of(
    texts.map(lambda value: {"S": value}),
    numbers.map(lambda value: {"N": value}),
    st.binary(max_size=20).map(lambda value: {"B": value}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.sets(texts.filter(bool), min_size=1, max_size=3).map(lambda values: {"SS": sorted(values)}),
    st.sets(st.integers(-(10**37), 10**37), min_size=1, max_size=3).map(lambda v: {"NS": [str(n) for n in v]}),
    st.sets(binaries, min_size=1, max_size=3).map(lambda values: {"BS": sorted(values)}),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: {"L": found})
        | st.dictionaries(texts.filter(bool), inner, max_size=3).map(lambda found: {"M": found})
    ),
    max_leaves=8,
)
names = (texts | st.sampled_from(['"', "{}", "a\nb", "},{", '"N":"1.0"', "\u2028"])).filter(
    lambda name: name and name != "studentid"
)


@pytest.mark.parametrize("examples", slow_beyond(1, (10, 100)))
def test_all_ten_types_come_back_bit_for_bit(aws: None, mail: Mail, clock: Clock, examples: int) -> None:
    check = settings(suppress_health_check=[HealthCheck.nested_given], max_examples=examples)
    check(given(found=st.dictionaries(names, values, max_size=5))(comes_back_whole))(mail=mail, clock=clock)


def comes_back_whole(found: dict[str, Any], mail: Mail, clock: Clock) -> None:
    dynamodb = boto3.client("dynamodb")
    put(SV001=found)
    before = list(scan.items(local().dynamodb, "studentData"))
    s3 = boto3.client("s3")
    for key in objects():
        s3.delete_object(Bucket="student-backup", Key=key)
    dynamodb.delete_item(TableName="backup-executions", Key={"id": {"S": scheduled().id}})
    key = backed_up(mail, clock)
    restorer(clock).run(new(key), holder="a")
    assert list(scan.items(local().dynamodb, "restored")) == before
    dynamodb.delete_table(TableName="restored")


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"BS": [b"\x00", b"\xff" * 30]}
    for level in range(depth - 1):
        value = {"M": {'"}\n{': value}} if level % 2 else {"L": [value, {"S": ""}]}
    return value


def test_depth_32_and_items_of_400_kb_come_back(aws: None, mail: Mail, clock: Clock) -> None:
    large = {"text": {"S": "ế" * 66_000}, "bytes": {"B": bytes(range(256)) * 780}}
    put(SV001={"deep": nested(32)}, SV002=large, SV003={"x": {"L": []}, "y": {"M": {}}})
    key = backed_up(mail, clock, ("json", "gzip"))
    restorer(clock).run(new(key), holder="a")
    assert table("restored") == table("studentData")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_format_and_compression_comes_back_and_is_whole(
    aws: None, mail: Mail, clock: Clock, layout: tuple[str, str]
) -> None:
    put(**{f"SV{number:03}": {"n": {"N": str(number)}} for number in range(130)})
    key = backed_up(mail, clock, layout)
    [row] = executions()
    assert stored.verify(stored.open_backup(boto3.client("s3"), "student-backup", key)).items == 130
    assert int(row["bytes"]["N"]) == stored.open_backup(boto3.client("s3"), "student-backup", key).stored_bytes()
    result = restorer(clock).run(new(key), holder="a")
    assert (result.items, result.written) == (130, 130)
    assert table("restored") == table("studentData")


def read_as_documented(summary_key: str) -> list[Any]:
    """An export's items, read from nothing but AWS's page on the format."""
    import gzip
    import hashlib

    summary = json.loads(read(summary_key))
    assert base64.b64encode(hashlib.md5(read(summary_key)).digest()) == read(summary_key[:-5] + ".md5")
    files = [json.loads(line) for line in read(summary["manifestFilesS3Key"]).splitlines()]
    found = []
    for file in files:
        data = read(file["dataFileS3Key"])
        assert base64.b64encode(hashlib.md5(data).digest()).decode() == file["md5Checksum"]
        lines = gzip.decompress(data).splitlines()
        assert len(lines) == file["itemCount"]
        found += [json.loads(line)["Item"] for line in lines]
    assert len(found) == summary["itemCount"]
    return found


def test_the_export_layout_is_read_by_its_documentation_and_by_import_table(
    aws: None, mail: Mail, clock: Clock
) -> None:
    put(**{f"SV{number:03}": {"n": {"N": str(number)}} for number in range(30)})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    assert key == KEY
    manifest = json.loads(read(key))["manifest"]
    assert manifest.startswith("students-backup-20250708T0700/AWSDynamoDB/")
    found = read_as_documented(manifest)
    assert sorted(each["studentid"]["S"] for each in found) == [f"SV{number:03}" for number in range(30)]
    restorer(clock).run(new(key, engine="import"), holder="a")
    assert table("restored") == table("studentData")


def test_an_imported_table_has_recovery(aws: None, mail: Mail, clock: Clock) -> None:
    """ImportTable takes no point-in-time recovery (DynamoDB API reference, "TableCreationParameters")."""
    with_recovery()
    put(SV001={})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    restorer(clock).run(new(key, engine="import"), holder="a")
    assert recovery_of("restored") == "ENABLED"


@pytest.mark.parametrize("what", ["data/", "manifest-files.json", "manifest-summary.json"])
def test_a_damaged_file_of_an_export_is_named(aws: None, mail: Mail, clock: Clock, what: str) -> None:
    put(SV001={}, SV002={})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    [name] = [found for found in objects() if what in found]
    body = bytearray(read(name))
    body[len(body) // 2] ^= 1
    boto3.client("s3").put_object(Bucket="student-backup", Key=name, Body=bytes(body))
    with pytest.raises(Corrupted, match=name):
        stored.verify(stored.open_backup(boto3.client("s3"), "student-backup", key))


def test_a_new_table_has_the_schema(aws: None, mail: Mail, clock: Clock) -> None:
    dynamodb = boto3.client("dynamodb")
    dynamodb.update_time_to_live(
        TableName="studentData", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiresAt"}
    )
    dynamodb.update_continuous_backups(
        TableName="studentData", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    put(SV001={})
    restorer(clock).run(new(backed_up(mail, clock)), holder="a")
    described = dynamodb.describe_table(TableName="restored")["Table"]
    assert described["KeySchema"] == [{"AttributeName": "studentid", "KeyType": "HASH"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    life = dynamodb.describe_time_to_live(TableName="restored")["TimeToLiveDescription"]
    assert life["AttributeName"] == "expiresAt"
    recovery = dynamodb.describe_continuous_backups(TableName="restored")["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    tags = dynamodb.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"]
    assert {"Key": "backup", "Value": "daily"} in tags


def refuse_at_first(monkeypatch: pytest.MonkeyPatch, client: Any, operation: str, code: str, times: int) -> None:
    """Have DynamoDB refuse an operation so many times before it carries it out."""
    real = getattr(client, operation)
    left = iter(range(times))

    def call(**request: Any) -> Any:
        if next(left, None) is not None:
            raise client.exceptions.from_code(code)({"Error": {"Code": code, "Message": "not yet"}}, operation)
        return real(**request)

    monkeypatch.setattr(client, operation, call)
    monkeypatch.setattr("rollbook.engine.dynamodb.tables._POLL_SECONDS", 0.001)


def with_recovery() -> None:
    boto3.client("dynamodb").update_continuous_backups(
        TableName="studentData", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def recovery_of(name: str) -> str:
    found = boto3.client("dynamodb").describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    return str(found["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"])


def test_a_new_table_that_dynamodb_does_not_find_yet_is_waited_for(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB API reference, "DescribeTable": right after CreateTable it may answer ResourceNotFoundException."""
    put(SV001={})
    key, clients = backed_up(mail, clock), local()
    # Refused before the creation, where there is no table yet, and after it.
    refuse_at_first(monkeypatch, clients.dynamodb, "describe_table", "ResourceNotFoundException", times=5)
    assert restorer(clock, clients).run(new(key), holder="a").status == "completed"
    assert list(table("restored")) == ["SV001"]


def test_recovery_is_turned_on_as_soon_as_dynamodb_lets_it(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB API reference, "UpdateContinuousBackups": ContinuousBackupsUnavailableException of a new table."""
    with_recovery()
    put(SV001={})
    key, clients = backed_up(mail, clock), local()
    code = "ContinuousBackupsUnavailableException"
    refuse_at_first(monkeypatch, clients.dynamodb, "update_continuous_backups", code, times=3)
    restorer(clock, clients).run(new(key), holder="a")
    assert recovery_of("restored") == "ENABLED"


def test_recovery_is_turned_on_by_the_next_try_if_the_first_was_stopped(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_recovery()
    put(SV001={})
    key, clients = backed_up(mail, clock), local()
    refuse_at_first(monkeypatch, clients.dynamodb, "update_continuous_backups", "InternalServerError", times=1)
    with pytest.raises(ClientError, match="InternalServerError"):
        restorer(clock, clients).run(new(key), holder="a")
    assert recovery_of("restored") == "DISABLED"
    restorer(clock, clients).run(new(key), holder="b")
    assert recovery_of("restored") == "ENABLED"
    assert list(table("restored")) == ["SV001"]


@pytest.mark.parametrize(
    ("region", "scratch", "key"),
    [
        (REGION, False, {"KMSMasterKeyId": f"arn:aws:kms:{REGION}:123456789012:key/1"}),
        (REGION, True, {"KMSMasterKeyId": f"arn:aws:kms:{REGION}:123456789012:key/1"}),
        ("eu-west-1", False, {}),
    ],
    ids=["as it was", "a scratch table", "another Region"],
)
def test_a_table_is_encrypted_by_a_key_that_the_caller_may_use(
    aws: None, region: str, scratch: bool, key: dict[str, str]
) -> None:
    """A key is of one Region (KMS Developer Guide). The drill chooses the key of its table before."""
    definition = {
        "keySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "attributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "billingMode": "PAY_PER_REQUEST",
        "encryption": {"SSEType": "KMS", "KMSMasterKeyArn": f"arn:aws:kms:{REGION}:123456789012:key/1"},
    }
    dynamodb = boto3.client("dynamodb", region_name=region)
    asked: list[Any] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(params["SSESpecification"])

    dynamodb.meta.events.register("provide-client-params.dynamodb.CreateTable", note)
    tables.create(dynamodb, definition, "restored", scratch=scratch)
    assert asked == [{"Enabled": True, "SSEType": "KMS"} | key]


def test_the_comparison_sees_what_was_just_written(aws: None, mail: Mail, clock: Clock) -> None:
    """DynamoDB Developer Guide, "DynamoDB read consistency": other reads may miss a write that was answered."""
    put(SV001={})
    key, clients = backed_up(mail, clock), local()
    reads: list[Any] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        reads.append((params["TableName"], params.get("ConsistentRead", False)))

    clients.dynamodb.meta.events.register("provide-client-params.dynamodb.Scan", note)
    restorer(clock, clients).run(new(key), holder="a")
    assert reads == [("restored", True)]


def test_only_what_is_missing_or_differs_is_written(aws: None, mail: Mail, clock: Clock) -> None:
    put(**{f"SV{number:03}": {"n": {"N": "1"}} for number in range(10)})
    key = backed_up(mail, clock)
    dynamodb = boto3.client("dynamodb")
    dynamodb.delete_item(TableName="studentData", Key={"studentid": {"S": "SV003"}})
    put(SV004={"n": {"N": "2"}}, OTHER={})
    plan = restorer(clock).plan(into(key, "differing"))
    assert plan.outcome is not None
    assert (plan.writes, plan.outcome.added, plan.outcome.removed, plan.outcome.changed) == (2, 1, 1, 1)
    assert restorer(clock).run(into(key, "missing"), holder="a").written == 1
    assert json.loads(table("studentData")["SV004"])["n"] == {"N": "2"}
    assert restorer(clock).run(into(key, "differing"), holder="a").written == 1
    assert json.loads(table("studentData")["SV004"])["n"] == {"N": "1"}
    assert len(table("studentData")) == 11


def test_what_cannot_be_begun_is_refused_and_changes_nothing(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    key = backed_up(mail, clock)
    with pytest.raises(RestoreRefused, match="the table studentData exists already"):
        restorer(clock).run(Request(key, "studentData", is_new=True), holder="a")
    with pytest.raises(RestoreRefused, match="there is no table restored"):
        restorer(clock).run(Request(key, "restored", is_new=False), holder="a")
    with pytest.raises(RestoreRefused, match=r"the keys differ: backup-executions has id \(S\)"):
        restorer(clock).run(Request(key, "backup-executions", is_new=False), holder="a")
    assert len(table("studentData")) == 1


def test_a_damaged_backup_is_not_restored(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={}, SV002={})
    key = backed_up(mail, clock)
    boto3.client("s3").put_object(Bucket="student-backup", Key=key, Body=read(key).replace(b"SV002", b"SV009"))
    with pytest.raises(Corrupted, match=r"items 1 to 2 .* are damaged"):
        restorer(clock).run(new(key), holder="a")
    assert sorted(boto3.client("dynamodb").list_tables()["TableNames"]) == TABLES


def test_an_item_without_its_key_is_damage(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={}, SV002={})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    [name] = [found for found in objects() if "/data/" in found]
    boto3.client("s3").put_object(Bucket="student-backup", Key=name, Body=gzip.compress(b'{"Item":{}}\n'))
    with pytest.raises(Corrupted, match=f"{key} is damaged: the key attributes studentid are missing"):
        restorer(clock).run(new(key), holder="a")
    assert sorted(boto3.client("dynamodb").list_tables()["TableNames"]) == TABLES


def test_a_restore_that_was_stopped_goes_on_and_writes_nothing_twice(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(**{f"SV{number:03}": {"n": {"N": "1"}} for number in range(100)})
    key = backed_up(mail, clock)
    attempt = batch_write.Writer._attempt
    batches: list[int] = []

    def failing(self: batch_write.Writer, requests: Any) -> list[bytes]:
        if len(batches) == 2:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not any more"}}, "Batch")
        batches.append(len(requests))
        return attempt(self, requests)

    monkeypatch.setattr(batch_write.Writer, "_attempt", failing)
    with pytest.raises(batch_write.NotWritten, match=r"not any more.*Not written:\n  \{\"studentid\"") as fault:
        restorer(clock, parallel=1).run(new(key), holder="a")
    assert "Not written" in str(fault.value)
    monkeypatch.setattr(batch_write.Writer, "_attempt", attempt)
    row = restorer(clock).run(new(key), holder="b")
    assert len(table("restored")) == 100
    assert sum(batches) + 50 == 100
    assert row.status == "completed"


def test_two_restores_at_once_are_one(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    key = backed_up(mail, clock)
    kept = history.History(boto3.client("dynamodb"), "backup-executions", 400)
    kept.claim(new(key).id, holder="other", now=clock(), until=clock() + LEASE, values={"kind": "restore"})
    with pytest.raises(AlreadyRunning, match="is already running; its holder is other"):
        restorer(clock).run(new(key), holder="a")
    clock.now += LEASE * 2
    assert restorer(clock).run(new(key), holder="a").status == "completed"


def test_what_dynamodb_leaves_over_is_sent_again_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    def leaving(self: batch_write.Writer, requests: list[bytes]) -> list[bytes]:
        taken.extend(requests[:3])
        return requests[3:]

    monkeypatch.setattr(batch_write.Writer, "_attempt", leaving)
    monkeypatch.setattr(batch_write.pauses, "sleep", lambda _: None)
    requests = [raw.put(b'{"id":{"S":"%d"}}' % number) for number in range(103)]
    assert batch_write.Writer(None, "t", key_names=["id"]).write(iter(requests)) == 103
    assert sorted(taken) == sorted(requests)


def test_batches_are_within_the_limits() -> None:
    small = list(batch_write.batches([b"x" * 10] * 60))
    large = list(batch_write.batches([b"x" * 900_000] * 5))
    assert [len(batch) for batch in small] == [25, 25, 10]
    assert [len(batch) for batch in large] == [2, 2, 1]


DRILL = DrillJob(table_name="studentData", scratch_prefix="studentData-drill-", rpo_hours=25, rto_minutes=60)


@pytest.fixture
def drills(aws: None, mail: Mail, clock: Clock) -> drill.Drill:
    used = resources(clock)

    def client(name: str) -> Any:
        return mail if name == "sesv2" else boto3.client(name)

    notifier = Notifier(PLACES, history=used.history, client=client, clock=clock)
    return drill.Drill(DRILL, used, notifier)


def test_a_drill_passes_and_leaves_no_table(drills: drill.Drill, mail: Mail, clock: Clock) -> None:
    put(SV001={}, SV002={})
    backed_up(mail, clock)
    row = drills.run("drill#1", holder="a", deadline=soon())
    assert row is not None
    assert (row.status, row.key, row.items) == ("completed", KEY, 2)
    assert row.rto_seconds is not None
    assert row.rpo_seconds is not None
    assert sorted(boto3.client("dynamodb").list_tables()["TableNames"]) == TABLES
    assert len(mail.sent) == 1


def test_a_scratch_table_that_dynamodb_still_creates_is_deleted(
    drills: drill.Drill, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB API reference, "DeleteTable": ResourceInUseException of a table that is created or updated."""
    put(SV001={})
    backed_up(mail, clock)
    refuse_at_first(monkeypatch, drills._resources.dynamodb, "delete_table", "ResourceInUseException", times=2)
    row = drills.run("drill#1", holder="a", deadline=soon())
    assert row is not None
    assert row.status == "completed"
    assert sorted(boto3.client("dynamodb").list_tables()["TableNames"]) == TABLES


def test_a_drill_of_a_damaged_backup_fails_names_it_and_mails_once(
    drills: drill.Drill, mail: Mail, clock: Clock
) -> None:
    put(SV001={})
    key = backed_up(mail, clock)
    boto3.client("s3").put_object(Bucket="student-backup", Key=key, Body=read(key)[:-40])
    for holder in ("a", "b"):
        with pytest.raises(drill.DrillFailed, match=f"{key} could not be restored: Corrupted"):
            drills.run("drill#1", holder=holder, deadline=soon())
    failed = [sent for sent in mail.sent if "Drill Failed" in sent["Subject"]["Data"]]
    assert [sent["Subject"]["Data"] for sent in failed] == [f"Drill Failed: {key}"]
    assert sorted(boto3.client("dynamodb").list_tables()["TableNames"]) == TABLES


@pytest.mark.parametrize("method", ["none", "gzip", "zstd"])
def test_what_is_compressed_comes_back_and_a_cut_is_found(method: compression.Method) -> None:
    data = [b"line %d\n" % number * 50 for number in range(5000)]
    stream = b"".join(compression.compressed(data, method))

    def pieces(whole: bytes) -> Iterator[bytes]:
        for start in range(0, len(whole), 1000):
            yield whole[start : start + 1000]

    assert b"".join(compression.decompressed(pieces(stream), method)) == b"".join(data)
    if method == "none":
        return
    assert b"".join(compression.decompressed(pieces(stream * 2), method)) == b"".join(data) * 2
    for damaged in (stream[:-1], stream[: len(stream) // 2], b"", b"no such stream"):
        with pytest.raises(compression.CompressionError):
            list(compression.decompressed(pieces(damaged), method))
