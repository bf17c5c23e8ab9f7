"""DynamoDB's exports and eventually consistent reads on the embedded AWS."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.settings import ENVIRONMENTS, load
from ops.local import aws
from rollbook.engine import history, restore, stored
from rollbook.engine.dynamodb import definitions, exports, raw, scan
from rollbook.engine.formats import document
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import NotEqual, Options, Progress, Request
from rollbook.engine.stored_export import StoredExport
from tests.conftest import Stacks
from tests.unit.aws import REGION

ACCOUNT = "000000000000"
EXPORTS = ["s3:AbortMultipartUpload", "s3:PutObject", "s3:PutObjectAcl"]
_names = count()


@pytest.fixture
def name() -> str:
    return f"exports-{next(_names)}"


@pytest.fixture
def clients(bare_port: int, name: str) -> dict[str, Any]:
    """Clients of the root user, with a table that has recovery, and a bucket."""
    made = {service: aws.client(service, bare_port, REGION) for service in ("dynamodb", "s3", "iam", "sts", "sqs")}
    made["dynamodb"].create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    recover(made, name)
    made["s3"].create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return made


def recover(clients: dict[str, Any], name: str, *, enabled: bool = True) -> None:
    clients["dynamodb"].update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled}
    )


def put(clients: dict[str, Any], name: str, id_: str, **attributes: Any) -> None:
    clients["dynamodb"].put_item(TableName=name, Item={"id": {"S": id_}, **attributes})


def role(clients: dict[str, Any], port: int, name: str, actions: list[str]) -> Any:
    """A DynamoDB client of a role that may export, and do some actions in the bucket."""
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    arn = clients["iam"].create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    statements = [
        {"Effect": "Allow", "Action": ["dynamodb:ExportTableToPointInTime", "dynamodb:DescribeExport"], "Resource": "*"}
    ]
    if actions:
        statements.append({"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{name}/*"})
    clients["iam"].put_role_policy(
        RoleName=name, PolicyName="export", PolicyDocument=json.dumps({"Statement": statements})
    )
    keys = clients["sts"].assume_role(RoleArn=arn, RoleSessionName="export")["Credentials"]
    return boto3.client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=f"http://localhost:{port}",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def started(dynamodb: Any, name: str, period: exports.Period | None = None) -> str:
    table_arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    begun = exports.start(dynamodb, table_arn=table_arn, bucket=name, prefix="p", token=name, period=period)
    assert begun["ExportStatus"] == "IN_PROGRESS"
    return str(begun["ExportArn"])


def ended(dynamodb: Any, arn: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found: dict[str, Any] = dynamodb.describe_export(ExportArn=arn)["ExportDescription"]
        if found["ExportStatus"] != "IN_PROGRESS":
            return found
        time.sleep(0.02)
    raise AssertionError("the export did not end")


def read(clients: dict[str, Any], name: str, key: str) -> bytes:
    body: bytes = clients["s3"].get_object(Bucket=name, Key=key)["Body"].read()
    return body


def lines_of(clients: dict[str, Any], name: str, manifest: str) -> list[dict[str, Any]]:
    """Read an export by its manifests, and check every checksum."""
    for key in (manifest, manifest.replace("summary", "files")):
        digest = base64.b64encode(hashlib.md5(read(clients, name, key)).digest())
        assert read(clients, name, key.replace(".json", ".md5")) == digest
    found = []
    for line in read(clients, name, manifest.replace("summary", "files")).splitlines():
        file = json.loads(line)
        body = read(clients, name, file["dataFileS3Key"])
        assert base64.b64encode(hashlib.md5(body).digest()).decode() == file["md5Checksum"]
        lines = gzip.decompress(body).splitlines()
        assert len(lines) == file["itemCount"]
        found += [json.loads(each) for each in lines]
    assert json.loads(read(clients, name, manifest))["itemCount"] == len(found)
    return found


def test_an_export_writes_data_and_manifests_that_the_engine_reads(
    clients: dict[str, Any], bare_port: int, name: str
) -> None:
    for number in range(20):
        put(clients, name, f"SV{number:03}", grade={"N": str(number)})
    dynamodb = role(clients, bare_port, name, EXPORTS)
    done = ended(dynamodb, started(dynamodb, name))
    assert (done["ExportStatus"], done["ItemCount"]) == ("COMPLETED", 20)
    lines = lines_of(clients, name, done["ExportManifest"])
    assert sorted(line["Item"]["id"]["S"] for line in lines) == [f"SV{number:03}" for number in range(20)]
    reader = StoredExport(clients["s3"], name, done["ExportManifest"], done["ExportManifest"])
    assert (stored.verify(reader).items, reader.summary.export_arn) == (20, done["ExportArn"])


@pytest.mark.parametrize("missing", EXPORTS)
def test_an_export_fails_without_one_of_the_callers_rights_in_s3(
    clients: dict[str, Any], bare_port: int, name: str, missing: str
) -> None:
    dynamodb = role(clients, bare_port, name, [action for action in EXPORTS if action != missing])
    arn = started(dynamodb, name)
    assert ended(dynamodb, arn)["ExportStatus"] == "FAILED"
    fault = str(exports.fault(dynamodb, arn))
    assert fault.startswith("S3AccessDenied")
    assert f": {missing} on " in fault
    assert "Contents" not in clients["s3"].list_objects_v2(Bucket=name)


def test_an_export_fails_if_the_buckets_policy_denies_the_caller(
    clients: dict[str, Any], bare_port: int, name: str
) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{name}/*"}
    deny["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/{name}"]}}
    dynamodb = role(clients, bare_port, name, EXPORTS)
    clients["s3"].put_bucket_policy(Bucket=name, Policy=json.dumps({"Statement": [deny]}))
    assert ended(dynamodb, started(dynamodb, name))["ExportStatus"] == "COMPLETED"
    deny["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/another"]}}
    clients["s3"].put_bucket_policy(Bucket=name, Policy=json.dumps({"Statement": [deny]}))
    begun = dynamodb.export_table_to_point_in_time(
        TableArn=f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}", S3Bucket=name
    )
    assert ended(dynamodb, begun["ExportDescription"]["ExportArn"])["FailureCode"] == "S3AccessDenied"


def test_an_export_is_described_by_who_may_describe_it(clients: dict[str, Any], bare_port: int, name: str) -> None:
    arn = started(clients["dynamodb"], name)
    dynamodb = role(clients, bare_port, name, [])

    def allow(resource: str) -> None:
        statement = {"Effect": "Allow", "Action": "dynamodb:DescribeExport", "Resource": resource}
        policy = json.dumps({"Statement": [statement]})
        for existing in clients["iam"].list_role_policies(RoleName=name)["PolicyNames"]:
            clients["iam"].delete_role_policy(RoleName=name, PolicyName=existing)
        clients["iam"].put_role_policy(RoleName=name, PolicyName="describe", PolicyDocument=policy)

    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table"
    allow(f"{table}/another/export/*")
    with pytest.raises(ClientError, match="AccessDenied"):
        dynamodb.describe_export(ExportArn=arn)
    allow(f"{table}/{name}/export/*")
    assert dynamodb.describe_export(ExportArn=arn)["ExportDescription"]["ExportArn"] == arn


def test_an_export_needs_point_in_time_recovery(clients: dict[str, Any], name: str) -> None:
    recover(clients, name, enabled=False)
    with pytest.raises(ClientError, match="PointInTimeRecoveryUnavailableException"):
        started(clients["dynamodb"], name)


def test_an_incremental_export_has_a_line_for_each_key_that_changed(clients: dict[str, Any], name: str) -> None:
    put(clients, name, "kept", text={"S": "a"})
    put(clients, name, "gone", text={"S": "a"})
    put(clients, name, "kept", text={"S": "b"})
    clients["dynamodb"].delete_item(TableName=name, Key={"id": {"S": "gone"}})
    now = datetime.now(UTC) + timedelta(seconds=0.9)
    time.sleep(1)
    arn = started(clients["dynamodb"], name, exports.Period(now - timedelta(hours=1), now))
    done = ended(clients["dynamodb"], arn)
    lines = {line["Keys"]["id"]["S"]: line for line in lines_of(clients, name, done["ExportManifest"])}
    assert lines.keys() == {"kept", "gone"}
    assert lines["kept"]["NewImage"]["text"] == {"S": "b"}
    assert "NewImage" not in lines["gone"]
    reader = StoredExport(clients["s3"], name, done["ExportManifest"], done["ExportManifest"])
    assert reader.change_of is not None
    assert stored.verify(reader).items == 2


def test_an_incremental_export_of_less_than_15_minutes_is_refused(clients: dict[str, Any], name: str) -> None:
    now = datetime.now(UTC)
    with pytest.raises(ClientError, match="InvalidExportTimeException"):
        started(clients["dynamodb"], name, exports.Period(now - timedelta(minutes=14), now))


def test_an_incremental_export_of_more_than_24_hours_is_refused(clients: dict[str, Any], name: str) -> None:
    now = datetime.now(UTC)
    with pytest.raises(ClientError, match="InvalidExportTimeException"):
        started(clients["dynamodb"], name, exports.Period(now - timedelta(hours=24, minutes=1), now))


def test_a_token_is_one_export_and_is_refused_with_other_parameters(clients: dict[str, Any], name: str) -> None:
    request = {"TableArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}", "S3Bucket": name, "ClientToken": name}
    dynamodb = clients["dynamodb"]
    first, again = (dynamodb.export_table_to_point_in_time(**request)["ExportDescription"] for _ in range(2))
    assert again["ExportArn"] == first["ExportArn"]
    with pytest.raises(ClientError, match="ExportConflictException"):
        dynamodb.export_table_to_point_in_time(**request, S3Prefix="another")


def test_recovery_covers_the_time_since_it_was_switched_on(clients: dict[str, Any], name: str) -> None:
    def covered() -> dict[str, Any]:
        described = clients["dynamodb"].describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery: dict[str, Any] = described["PointInTimeRecoveryDescription"]
        return recovery

    first = covered()
    time.sleep(1.1)
    recover(clients, name)
    assert covered()["EarliestRestorableDateTime"] == first["EarliestRestorableDateTime"]
    assert first["EarliestRestorableDateTime"] <= first["LatestRestorableDateTime"] <= datetime.now(UTC)
    recover(clients, name, enabled=False)
    assert "EarliestRestorableDateTime" not in covered()
    recover(clients, name)
    assert covered()["EarliestRestorableDateTime"] > first["EarliestRestorableDateTime"]


def test_an_export_of_a_time_has_the_items_of_that_time(clients: dict[str, Any], name: str) -> None:
    put(clients, name, "changed", text={"S": "before"})
    time.sleep(1.1)
    moment = datetime.now(UTC)
    time.sleep(0.1)
    put(clients, name, "changed", text={"S": "after"})
    put(clients, name, "new")
    begun = clients["dynamodb"].export_table_to_point_in_time(
        TableArn=f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}", S3Bucket=name, ExportTime=moment
    )
    done = ended(clients["dynamodb"], begun["ExportDescription"]["ExportArn"])
    [line] = lines_of(clients, name, done["ExportManifest"])
    assert line["Item"]["text"] == {"S": "before"}


def test_a_recreated_table_has_no_changes_of_the_deleted_table(clients: dict[str, Any], name: str) -> None:
    put(clients, name, "of-the-old-table")
    clients["dynamodb"].delete_table(TableName=name)
    clients["dynamodb"].create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    recover(clients, name)
    now = datetime.now(UTC) + timedelta(seconds=0.5)
    arn = started(clients["dynamodb"], name, exports.Period(now - timedelta(hours=1), now))
    assert ended(clients["dynamodb"], arn)["ItemCount"] == 0


def test_the_manifest_of_an_export_is_told_to_who_is_notified(clients: dict[str, Any], name: str) -> None:
    queue = clients["sqs"].create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    allow = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    clients["sqs"].set_queue_attributes(
        QueueUrl=queue, Attributes={"Policy": json.dumps({"Statement": [allow | {"Resource": arn}]})}
    )
    suffix = {"Key": {"FilterRules": [{"Name": "suffix", "Value": "/manifest-summary.json"}]}}
    clients["s3"].put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": suffix}]
        },
    )
    done = ended(clients["dynamodb"], started(clients["dynamodb"], name))
    deadline = time.monotonic() + 10
    keys: list[str] = []
    while not keys and time.monotonic() < deadline:
        for message in clients["sqs"].receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            keys += [record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", [])]
            clients["sqs"].delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert keys == [done["ExportManifest"]]


@pytest.fixture
def late(bare_port: int) -> Iterator[None]:
    """Reads that are half a minute late."""
    lag(bare_port, 30)
    yield
    lag(bare_port, 0)


def lag(port: int, seconds: float) -> None:
    request = urllib.request.Request(
        f"http://localhost:{port}/_rollbook/dynamodb-lag", json.dumps({"seconds": seconds}).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer) == {"seconds": seconds}


def seen(clients: dict[str, Any], name: str, *, consistent: bool) -> list[int]:
    """How many items each kind of read sees."""
    dynamodb, key = clients["dynamodb"], {"id": {"S": "SV001"}}
    batch = {name: {"Keys": [key], "ConsistentRead": consistent}}
    query = {"KeyConditionExpression": "id = :id", "ExpressionAttributeValues": {":id": key["id"]}}
    return [
        "Item" in dynamodb.get_item(TableName=name, Key=key, ConsistentRead=consistent),
        dynamodb.scan(TableName=name, ConsistentRead=consistent)["Count"],
        dynamodb.query(TableName=name, ConsistentRead=consistent, **query)["Count"],
        len(dynamodb.batch_get_item(RequestItems=batch)["Responses"][name]),
    ]


def test_a_read_that_is_not_consistent_may_not_see_the_last_writes(
    clients: dict[str, Any], name: str, late: None
) -> None:
    put(clients, name, "SV001")
    assert seen(clients, name, consistent=False) == [0, 0, 0, 0]
    assert seen(clients, name, consistent=True) == [1, 1, 1, 1]


def test_by_default_every_read_sees_the_last_writes(clients: dict[str, Any], name: str) -> None:
    put(clients, name, "SV001")
    assert seen(clients, name, consistent=False) == [1, 1, 1, 1]


def test_a_restore_is_compared_with_what_it_just_wrote(
    clients: dict[str, Any], name: str, bare_port: int, late: None
) -> None:
    """An eventually consistent comparison would find an empty table."""
    now = datetime.now(UTC)
    dynamodb = raw.client(**aws.options(bare_port, REGION))
    items = [b'{"id":{"S":"SV%03d"}}' % number for number in range(30)]
    definition = definitions.describe(dynamodb, name).definition
    header = document.Header(document.FORMAT, "schedule#studentData#now", definition, now)
    chunks = document.Writer().chunks(header, [scan.Page(items, 1.0)], lambda: now)
    clients["s3"].put_object(Bucket=name, Key="backup.json", Body=b"".join(chunks))
    # The table of the fixture keeps the history: its key is the history's.
    kept = history.History(dynamodb, name, days=1)
    resources = Resources(dynamodb, clients["s3"], name, kept, lambda: datetime.now(UTC))
    done = restore.Restore(resources).run(
        Request("backup.json", f"{name}-restored", is_new=True, allows_unknown=True), holder="a"
    )
    assert (done.status, done.written) == ("completed", 30)


def policies_of(stacks: Stacks, environment: str, bucket: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The statements of the backup's role about S3, and the bucket's policy, with the names of this test."""
    resources = stacks.json(environment)["resource"]
    own = [f"{ACCOUNT}:role/{bucket}", f"{ACCOUNT}:role/another"]
    found = {
        name: json.loads(known["policy"])
        for kind in ("aws_iam_role_policy", "aws_s3_bucket_policy")
        for name, known in resources[kind].items()
        if name.startswith(("backups_function_", "store_bucket_policy"))
    }
    text = re.sub(r"\$\{aws_s3_bucket\.store_bucket_\w+\.arn\}", f"arn:aws:s3:::{bucket}", json.dumps(found))
    text = re.sub(r"\$\{aws_iam_role\.backups_function_\w+\.arn\}", f"arn:aws:iam::{own[0]}", text)
    text = re.sub(r"\$\{aws_iam_role\.\w+\.arn\}", f"arn:aws:iam::{own[1]}", text)
    named = json.loads(text)
    [of_bucket] = [document for name, document in named.items() if name.startswith("store_")]
    of_role = [
        statement
        for name, document in named.items()
        if name.startswith("backups_")
        for statement in document["Statement"]
        if "s3:" in json.dumps(statement["Action"])
    ]
    return of_role, of_bucket, load(ENVIRONMENTS / f"{environment}.toml").backups.key_prefix


@pytest.mark.parametrize("environment", ["workshop", "production"])
def test_the_policies_of_the_backup_let_dynamodb_export_in_its_name(
    clients: dict[str, Any], bare_port: int, name: str, stacks: Stacks, environment: str
) -> None:
    of_role, of_bucket, key_prefix = policies_of(stacks, environment, name)
    assert load(ENVIRONMENTS / f"{environment}.toml").backups.engine != "scan"
    dynamodb = role(clients, bare_port, name, [])
    clients["iam"].put_role_policy(
        RoleName=name, PolicyName="backup", PolicyDocument=json.dumps({"Statement": of_role})
    )
    # Without TLS here; the test is about who may write.
    of_bucket["Statement"] = [each for each in of_bucket["Statement"] if each["Sid"] == "OnlyTheBackupPuts"]
    clients["s3"].put_bucket_policy(Bucket=name, Policy=json.dumps(of_bucket))
    begun = dynamodb.export_table_to_point_in_time(
        TableArn=f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}", S3Bucket=name, S3Prefix=f"{key_prefix}x"
    )
    done = ended(dynamodb, begun["ExportDescription"]["ExportArn"])
    assert done["ExportStatus"] == "COMPLETED", done.get("FailureMessage")


def test_a_restore_replaces_only_what_it_compared(clients: dict[str, Any], name: str, bare_port: int) -> None:
    """Every type equals itself in a condition, and an item that was saved meanwhile is left."""
    of_all: dict[str, Any] = {
        "n": {"N": "1.5"},
        "b": {"B": b"\x00\xff"},
        "null": {"NULL": True},
        "l": {"L": [{"S": "x"}]},
        "m": {"M": {"a.b": {"N": "1"}}},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]},
        "bs": {"BS": [b"\x01"]},
    }
    now = datetime.now(UTC)
    dynamodb = raw.client(**aws.options(bare_port, REGION))
    target = f"{name}-target"
    schema = {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    dynamodb.create_table(TableName=target, **schema)
    items = [b'{"id":{"S":"SV%03d"},"x":{"N":"1"}}' % number for number in range(4)]
    definition = definitions.describe(dynamodb, target).definition
    header = document.Header(document.FORMAT, "schedule#studentData#now", definition, now)
    chunks = document.Writer().chunks(header, [scan.Page(items, 1.0)], lambda: now)
    clients["s3"].put_object(Bucket=name, Key="backup.json", Body=b"".join(chunks))
    for studentid in ("SV000", "SV001"):
        put(clients, target, studentid, **of_all)

    def meanwhile(step: str, _: int) -> None:
        if step == "Writing":
            put(clients, target, "SV001", x={"N": "5"})
            put(clients, target, "SV002", x={"N": "5"})

    resources = Resources(dynamodb, clients["s3"], name, history.History(dynamodb, name, days=1), lambda: now)
    work = restore.Restore(resources, Options(Progress(step=meanwhile)))
    with pytest.raises(NotEqual, match="2 items were changed during the restore"):
        work.run(Request("backup.json", target, is_new=False, mode="differing", allows_unknown=True), holder="a")
    found = {item["id"]["S"]: item for item in clients["dynamodb"].scan(TableName=target)["Items"]}
    assert found["SV000"] == {"id": {"S": "SV000"}, "x": {"N": "1"}}
    assert [found[key]["x"]["N"] for key in ("SV001", "SV002", "SV003")] == ["5", "5", "1"]
