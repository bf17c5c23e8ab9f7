"""Reads a table's definition and returns the parameters that recreate it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

Definition = dict[str, Any]
# What a restore does not bring back, and how to say it. It is kept in the backup, so that the restore can name it.
_NOT_RESTORED = {
    "Replicas": "the replicas in other Regions",
    "GlobalTableWitnesses": "the witness of the global table",
    "VectorIndexes": "the vector indexes",
}
_LIMITS = ("ProvisionedThroughput", "OnDemandThroughput")
# DynamoDB's default of the recovery period (API reference, "PointInTimeRecoverySpecification").
_RECOVERY_DAYS = 35


@dataclass(frozen=True)
class Described:
    """The definition and the size of an existing table.

    Arguments:
        definition: what a restore needs, with DynamoDB's own names.
        table_id: the id that DynamoDB assigned.
        size_bytes, item_count: as last counted by DynamoDB, which counts every six hours.
    """

    definition: Definition
    table_id: str
    size_bytes: int
    item_count: int


def describe(dynamodb: Any, table_name: str) -> Described:
    """Return a table's definition and size.

    Arguments:
        dynamodb: a DynamoDB client.

    Raises:
        botocore.exceptions.ClientError: the table does not exist, or access is denied.
    """
    table = dynamodb.describe_table(TableName=table_name)["Table"]
    recovery = dynamodb.describe_continuous_backups(TableName=table_name)["ContinuousBackupsDescription"]
    period = recovery.get("PointInTimeRecoveryDescription", {})
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    definition = {
        "name": table["TableName"],
        "arn": table["TableArn"],
        "keySchema": table["KeySchema"],
        "attributeDefinitions": table["AttributeDefinitions"],
        "billingMode": billing,
        "provisionedThroughput": _throughput(table) if billing == "PROVISIONED" else None,
        "onDemandThroughput": _on_demand(table),
        "globalSecondaryIndexes": [_index(index, billing) for index in table.get("GlobalSecondaryIndexes", [])],
        "localSecondaryIndexes": [_index(index, "") for index in table.get("LocalSecondaryIndexes", [])],
        "stream": table.get("StreamSpecification"),
        "encryption": _encryption(table.get("SSEDescription")),
        "tableClass": table.get("TableClassSummary", {}).get("TableClass"),
        "deletionProtection": table.get("DeletionProtectionEnabled", False),
        "timeToLive": _time_to_live(dynamodb, table_name),
        "pointInTimeRecovery": period.get("PointInTimeRecoveryStatus") == "ENABLED",
        "recoveryDays": days if (days := period.get("RecoveryPeriodInDays")) != _RECOVERY_DAYS else None,
        "notRestored": [name for member, name in _NOT_RESTORED.items() if table.get(member)],
        "tags": _tags(dynamodb, table["TableArn"]),
    }
    return Described(
        {name: value for name, value in definition.items() if value is not None and value != []},
        table.get("TableId", ""),
        int(table.get("TableSizeBytes", 0)),
        int(table.get("ItemCount", 0)),
    )


def key_names(definition: Definition) -> list[str]:
    """Return the key attributes, the partition key first."""
    return [key["AttributeName"] for key in sorted(definition["keySchema"], key=lambda key: str(key["KeyType"]))]


def key_types(definition: Definition) -> list[str]:
    """Return the types of the key attributes (S, N or B), the partition key first."""
    types = {each["AttributeName"]: each["AttributeType"] for each in definition["attributeDefinitions"]}
    return [str(types[name]) for name in key_names(definition)]


def without_global_indexes(definition: Definition) -> Definition:
    """Return a definition without the global secondary indexes and the attributes that only they use."""
    schemas = [definition["keySchema"], *(index["KeySchema"] for index in definition.get("localSecondaryIndexes", []))]
    used = {key["AttributeName"] for schema in schemas for key in schema}
    kept = [each for each in definition["attributeDefinitions"] if each["AttributeName"] in used]
    return {name: value for name, value in definition.items() if name != "globalSecondaryIndexes"} | {
        "attributeDefinitions": kept
    }


def managed_key(kms: Any) -> str:
    """Return the ARN of the AWS managed key of DynamoDB; empty if the account has none or it cannot be read.

    Arguments:
        kms: a KMS client.
    """
    try:
        return str(kms.describe_key(KeyId="alias/aws/dynamodb")["KeyMetadata"]["Arn"])
    except (BotoCoreError, ClientError):
        return ""


def with_key(definition: Definition, kms_key: str, managed_key: Callable[[], str]) -> Definition:
    """Return a definition with another encryption key.

    Arguments:
        kms_key: the ARN of a key, `aws-managed` or `aws-owned`; empty for the key of the definition. Then the id of the
            AWS managed key is left out: DynamoDB takes only ids of other keys (API reference, "SSESpecification").
        managed_key: returns the ARN of the AWS managed key; empty if it is unknown.
    """
    encryption = definition.get("encryption")
    if kms_key == "aws-owned":
        encryption = None
    elif kms_key == "aws-managed":
        encryption = {"SSEType": "KMS"}
    elif kms_key:
        encryption = {"SSEType": "KMS", "KMSMasterKeyArn": kms_key}
    elif encryption and encryption.get("KMSMasterKeyArn") and encryption["KMSMasterKeyArn"] == managed_key():
        encryption = {"SSEType": "KMS"}
    kept = {name: value for name, value in definition.items() if name != "encryption"}
    return kept | ({"encryption": encryption} if encryption else {})


def parameters(definition: Definition, table_name: str, region: str) -> dict[str, Any]:
    """Return the parameters that `create_table` and `import_table` have in common.

    Arguments:
        region: of the new table. A KMS key of another Region is replaced by the AWS managed key.
    """
    billing = definition.get("billingMode", "PAY_PER_REQUEST")
    indexes = definition.get("globalSecondaryIndexes")
    given = {
        "TableName": table_name,
        "KeySchema": definition["keySchema"],
        "AttributeDefinitions": definition["attributeDefinitions"],
        "BillingMode": billing,
        "ProvisionedThroughput": definition.get("provisionedThroughput"),
        "OnDemandThroughput": definition.get("onDemandThroughput"),
        "SSESpecification": _encrypted(definition.get("encryption"), region),
        "GlobalSecondaryIndexes": indexes,
    }
    return {name: value for name, value in given.items() if value}


def creation(definition: Definition, table_name: str, region: str, scratch: bool) -> dict[str, Any]:
    """Return the parameters of `create_table`. For the arguments see `parameters` and `tables.create`."""
    given = parameters(definition, table_name, region)
    stream = definition.get("stream") or {}
    given |= {
        "LocalSecondaryIndexes": definition.get("localSecondaryIndexes"),
        "TableClass": definition.get("tableClass"),
        "StreamSpecification": stream if stream.get("StreamEnabled") and not scratch else None,
        "Tags": [] if scratch else definition.get("tags"),
    }
    if scratch:
        given["BillingMode"] = "PAY_PER_REQUEST"
        for limit in _LIMITS:
            given.pop(limit, None)
        given["GlobalSecondaryIndexes"] = [
            {name: value for name, value in index.items() if name not in _LIMITS}
            for index in given.get("GlobalSecondaryIndexes", [])
        ]
    return {name: value for name, value in given.items() if value}


def _encrypted(described: dict[str, Any] | None, region: str) -> dict[str, Any] | None:
    if not described:
        return None
    arn = str(described.get("KMSMasterKeyArn", ""))
    key = {"KMSMasterKeyId": arn} if arn.startswith(f"arn:aws:kms:{region}:") else {}
    return {"Enabled": True, "SSEType": described.get("SSEType", "KMS"), **key}


def _throughput(described: dict[str, Any]) -> dict[str, int]:
    units = described["ProvisionedThroughput"]
    return {name: units[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")}


def _index(index: dict[str, Any], billing: str) -> dict[str, Any]:
    described = {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
    limit = _on_demand(index)
    described |= {"OnDemandThroughput": limit} if limit else {}
    return described | ({"ProvisionedThroughput": _throughput(index)} if billing == "PROVISIONED" else {})


def _on_demand(described: dict[str, Any]) -> dict[str, int] | None:
    """Return the maximum throughput of a table or an index that is on demand; -1 means that there is none."""
    limits = {name: value for name, value in described.get("OnDemandThroughput", {}).items() if value != -1}
    return limits or None


def _encryption(described: dict[str, Any] | None) -> dict[str, Any] | None:
    if not described:
        return None
    return {name: described[name] for name in ("SSEType", "KMSMasterKeyArn") if name in described}


def _time_to_live(dynamodb: Any, table_name: str) -> str | None:
    described = dynamodb.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
    return described.get("AttributeName") if described.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"} else None


def _tags(dynamodb: Any, arn: str) -> list[dict[str, str]]:
    tags: list[dict[str, str]] = []
    more: dict[str, str] = {}
    while True:
        page = dynamodb.list_tags_of_resource(ResourceArn=arn, **more)
        tags += page.get("Tags", [])
        if not page.get("NextToken"):
            # Only AWS services can set tags that begin with `aws:`.
            return [tag for tag in tags if not tag["Key"].startswith("aws:")]
        more = {"NextToken": page["NextToken"]}
