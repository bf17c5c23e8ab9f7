"""Every member of a table's definition is restored, or it is written down why not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from rollbook.engine.dynamodb import definitions, tables
from rollbook.engine.restore_request import RestoreRefused
from tests.unit.aws import REGION
from tests.unit.engine import Clock, Mail, local, put, restorer, table
from tests.unit.restores import backed_up, new

MODEL = boto3.client("dynamodb", region_name=REGION).meta.service_model
KEY = f"arn:aws:kms:{REGION}:123456789012:key/1"
KEYS = [{"AttributeName": "id", "KeyType": "HASH"}]
PROJECTION = {"ProjectionType": "ALL"}
LIMIT = {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 20}
UNITS = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
# A table as DescribeTable describes it, with everything that a restore brings back.
DESCRIBED: dict[str, Any] = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "TableName": "source",
    "KeySchema": KEYS,
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "LocalSecondaryIndexes": [{"IndexName": "local", "KeySchema": KEYS, "Projection": PROJECTION}],
    "GlobalSecondaryIndexes": [
        {"IndexName": "global", "KeySchema": KEYS, "Projection": PROJECTION, "OnDemandThroughput": LIMIT}
    ],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    "SSEDescription": {"SSEType": "KMS", "KMSMasterKeyArn": KEY},
    "TableClassSummary": {"TableClass": "STANDARD_INFREQUENT_ACCESS"},
    "DeletionProtectionEnabled": True,
    "OnDemandThroughput": LIMIT,
    "TableArn": "arn:aws:dynamodb:ap-southeast-1:123456789012:table/source",
}
# A provisioned table has units where another one has limits.
UNITS_OF_TABLE = {"ProvisionedThroughput": UNITS | {"NumberOfDecreasesToday": 0}}
STATE = "what the table is at the moment"
NAMED_ALOUD = "the restore names it as not restored"
OF_A_REPLICA = "replicas are not made; the restore names them as not restored"
NOT_RESTORED = {
    "TableDescription": {
        "TableStatus": STATE,
        "CreationDateTime": STATE,
        "TableSizeBytes": STATE,
        "ItemCount": STATE,
        "TableId": "an id is of one table",
        "LatestStreamLabel": "a stream is of one table",
        "LatestStreamArn": "a stream is of one table",
        "GlobalTableVersion": OF_A_REPLICA,
        "Replicas": NAMED_ALOUD,
        "GlobalTableWitnesses": NAMED_ALOUD,
        "GlobalTableSettingsReplicationMode": OF_A_REPLICA,
        "MultiRegionConsistency": OF_A_REPLICA,
        "RestoreSummary": "how the source was made",
        "ArchivalSummary": STATE,
        "WarmThroughput": "AWS raises it with use, and charges for raising it in advance",
        "VectorIndexes": NAMED_ALOUD,
    },
    "GlobalSecondaryIndexDescription": {
        "IndexStatus": STATE,
        "Backfilling": STATE,
        "IndexSizeBytes": STATE,
        "ItemCount": STATE,
        "IndexArn": "an ARN is of one index",
        "WarmThroughput": "AWS raises it with use, and charges for raising it in advance",
    },
    "LocalSecondaryIndexDescription": {
        "IndexSizeBytes": STATE,
        "ItemCount": STATE,
        "IndexArn": "an ARN is of one index",
    },
    "CreateTableInput": {
        "WarmThroughput": "AWS raises it with use, and charges for raising it in advance",
        "ResourcePolicy": "who may read the source need not be who may read a restored copy",
        "GlobalTableSourceArn": OF_A_REPLICA,
        "GlobalTableSettingsReplicationMode": OF_A_REPLICA,
        "VectorIndexes": NAMED_ALOUD,
        "DeletionProtectionEnabled": "turned on after the items are written: `tables.finish`",
    },
    "PointInTimeRecoveryDescription": {
        "EarliestRestorableDateTime": STATE,
        "LatestRestorableDateTime": STATE,
    },
    "SSEDescription": {"Status": STATE, "InaccessibleEncryptionDateTime": STATE},
    "OnDemandThroughput": {},
    "StreamSpecification": {},
}


class Source:
    """DynamoDB with one table."""

    def __init__(self, **members: Any) -> None:
        self._table = DESCRIBED | members

    def describe_table(self, **_: Any) -> Any:
        return {"Table": self._table}

    def describe_continuous_backups(self, **_: Any) -> Any:
        period = {"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 7}
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": period}}

    def describe_time_to_live(self, **_: Any) -> Any:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}}

    def list_tags_of_resource(self, **_: Any) -> Any:
        return {"Tags": [{"Key": "owner", "Value": "office"}]}


def members(shape: str) -> set[str]:
    return set(MODEL.shape_for(shape).members)


def created(**described: Any) -> dict[str, Any]:
    return definitions.creation(definition(**described), "restored", REGION, scratch=False)


def definition(**described: Any) -> dict[str, Any]:
    return definitions.describe(Source(**described), "source").definition


def test_every_member_of_a_described_table_is_restored_or_has_a_reason() -> None:
    left = NOT_RESTORED["TableDescription"]
    assert set(DESCRIBED) | set(UNITS_OF_TABLE) == members("TableDescription") - set(left)
    assert not set(left) - members("TableDescription")


def test_every_member_that_a_table_can_be_created_with_is_sent_or_has_a_reason() -> None:
    provisioned = created(
        BillingModeSummary={"BillingMode": "PROVISIONED"}, **UNITS_OF_TABLE, GlobalSecondaryIndexes=[]
    )
    assert set(created()) | set(provisioned) == members("CreateTableInput") - set(NOT_RESTORED["CreateTableInput"])
    assert provisioned["ProvisionedThroughput"] == UNITS
    assert created()["OnDemandThroughput"] == LIMIT


@pytest.mark.parametrize("kind", ["Global", "Local"])
def test_every_member_of_an_index_is_restored_or_has_a_reason(kind: str) -> None:
    shape = f"{kind}SecondaryIndexDescription"
    [index] = created()[f"{kind}SecondaryIndexes"]
    of_units = {"ProvisionedThroughput"} if kind == "Global" else set()
    assert set(index) | of_units == members(shape) - set(NOT_RESTORED[shape])


def test_the_members_below_are_restored_or_have_a_reason() -> None:
    assert members("SSEDescription") - set(NOT_RESTORED["SSEDescription"]) == set(DESCRIBED["SSEDescription"])
    assert members("OnDemandThroughput") == set(LIMIT)
    assert members("StreamSpecification") == set(DESCRIBED["StreamSpecification"])
    known = members("PointInTimeRecoveryDescription") - set(NOT_RESTORED["PointInTimeRecoveryDescription"])
    assert known == {"PointInTimeRecoveryStatus", "RecoveryPeriodInDays"}
    assert (definition()["pointInTimeRecovery"], definition()["recoveryDays"]) == (True, 7)


def test_what_import_table_cannot_create_is_added_or_refused() -> None:
    added = {"StreamSpecification", "TableClass", "Tags"}  # test_an_imported_table_is_completed
    refused = {"LocalSecondaryIndexes"}  # test_a_table_with_local_indexes_is_not_imported
    left = members("CreateTableInput") - members("TableCreationParameters") - set(NOT_RESTORED["CreateTableInput"])
    assert left == added | refused
    sent = definitions.parameters(definition(), "restored", REGION)
    assert set(sent) | {"ProvisionedThroughput", "VectorIndexes"} == members("TableCreationParameters")


def test_what_is_not_restored_is_named(aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    known = definition(Replicas=[{"RegionName": "eu-west-1"}], VectorIndexes=[{}], GlobalTableWitnesses=[{}])
    assert len(known["notRestored"]) == 3
    real = definitions.describe

    def with_replicas(dynamodb: Any, name: str) -> Any:
        found = real(dynamodb, name)
        found.definition["notRestored"] = ["the replicas in other Regions"]
        return found

    monkeypatch.setattr(definitions, "describe", with_replicas)
    put(SV001={})
    row = restorer(clock).run(new(backed_up(mail, clock)), holder="a")
    assert row.not_restored == ["the replicas in other Regions"]


class Imported:
    """DynamoDB right after an import, as far as a restore completes it. moto cannot change a table's class."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {"TableArn": "arn", "TableStatus": "ACTIVE"}
        self.tags: list[Any] = []
        self.updates = 0

    def describe_table(self, **_: Any) -> Any:
        return {"Table": self.table}

    def update_table(self, TableName: str, **change: Any) -> None:
        [(name, value)] = change.items()
        self.table |= {"TableClassSummary": {"TableClass": value}} if name == "TableClass" else {name: value}
        self.updates += 1

    def tag_resource(self, ResourceArn: str, Tags: list[Any]) -> None:
        self.tags = Tags


def test_an_imported_table_is_completed() -> None:
    imported = Imported()
    for _ in range(2):
        tables.complete_import(imported, definition(), "restored")
    assert imported.table["StreamSpecification"] == DESCRIBED["StreamSpecification"]
    assert imported.table["TableClassSummary"] == DESCRIBED["TableClassSummary"]
    assert imported.tags == [{"Key": "owner", "Value": "office"}]
    assert imported.updates == 2


def test_an_imported_table_has_stream_and_tags(aws: None, mail: Mail, clock: Clock) -> None:
    dynamodb = boto3.client("dynamodb")
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    dynamodb.update_table(TableName="studentData", StreamSpecification=stream)
    put(SV001={})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    restorer(clock).run(new(key, engine="import"), holder="a")
    described = dynamodb.describe_table(TableName="restored")["Table"]
    assert described["StreamSpecification"] == stream
    tags = dynamodb.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"]
    assert {"Key": "backup", "Value": "daily"} in tags


def test_a_table_with_local_indexes_is_not_imported(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = definitions.describe

    def with_local_index(dynamodb: Any, name: str) -> Any:
        found = real(dynamodb, name)
        found.definition["localSecondaryIndexes"] = DESCRIBED["LocalSecondaryIndexes"]
        return found

    monkeypatch.setattr(definitions, "describe", with_local_index)
    put(SV001={})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    with pytest.raises(RestoreRefused, match="ImportTable cannot create local secondary indexes"):
        restorer(clock).run(new(key, engine="import"), holder="a")
    assert "restored" not in boto3.client("dynamodb").list_tables()["TableNames"]


ENCRYPTED = definition()


@pytest.mark.parametrize(
    ("kms_key", "managed", "sent"),
    [
        ("", "", {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}),
        ("", KEY, {"Enabled": True, "SSEType": "KMS"}),
        ("aws-managed", "", {"Enabled": True, "SSEType": "KMS"}),
        ("aws-owned", "", None),
        (f"{KEY}23", "", {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": f"{KEY}23"}),
    ],
)
def test_a_managed_key_is_left_to_aws_and_another_key_can_be_chosen(
    kms_key: str, managed: str, sent: dict[str, Any] | None
) -> None:
    chosen = definitions.with_key(ENCRYPTED, kms_key, lambda: managed)
    assert definitions.creation(chosen, "restored", REGION, scratch=False).get("SSESpecification") == sent


def test_a_restore_creates_its_table_with_the_chosen_key(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    restorer(clock).run(new(backed_up(mail, clock), kms_key=KEY), holder="a")
    found = boto3.client("dynamodb").describe_table(TableName="restored")["Table"]
    assert found["SSEDescription"]["KMSMasterKeyArn"] == KEY
    assert list(table("restored")) == ["SV001"]


@pytest.mark.parametrize("kms_key", ["arn:aws:kms:eu-west-1:123456789012:key/1", "alias/mine", "managed"])
def test_a_key_that_cannot_be_used_is_refused(aws: None, mail: Mail, clock: Clock, kms_key: str) -> None:
    put(SV001={})
    with pytest.raises(RestoreRefused, match=f"the key .*{kms_key}"):
        restorer(clock).run(new(backed_up(mail, clock), kms_key=kms_key), holder="a")
    assert "restored" not in local().dynamodb.list_tables()["TableNames"]


def test_the_managed_key_is_unknown_if_it_cannot_be_read() -> None:
    def describe_key(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeKey")

    assert definitions.managed_key(SimpleNamespace(describe_key=describe_key)) == ""
    there = SimpleNamespace(describe_key=lambda **_: {"KeyMetadata": {"Arn": KEY}})
    assert definitions.managed_key(there) == KEY
