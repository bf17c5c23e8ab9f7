"""What a restore must know of a table besides its items."""

from __future__ import annotations

from typing import Any


def describe(dynamodb: Any, table_name: str) -> dict[str, Any]:
    """Return the table's definition, in DynamoDB's own names.

    Arguments:
        dynamodb: a DynamoDB client.

    Raises:
        botocore.exceptions.ClientError: the table is not there, or may not be read.
    """
    table = dynamodb.describe_table(TableName=table_name)["Table"]
    recovery = dynamodb.describe_continuous_backups(TableName=table_name)["ContinuousBackupsDescription"]
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    described = {
        "name": table["TableName"],
        "arn": table["TableArn"],
        "keySchema": table["KeySchema"],
        "attributeDefinitions": table["AttributeDefinitions"],
        "billingMode": billing,
        "provisionedThroughput": _throughput(table) if billing == "PROVISIONED" else None,
        "globalSecondaryIndexes": [_index(index, billing) for index in table.get("GlobalSecondaryIndexes", [])],
        "localSecondaryIndexes": [_index(index, "") for index in table.get("LocalSecondaryIndexes", [])],
        "stream": table.get("StreamSpecification"),
        "encryption": _encryption(table.get("SSEDescription")),
        "tableClass": table.get("TableClassSummary", {}).get("TableClass"),
        "deletionProtection": table.get("DeletionProtectionEnabled", False),
        "timeToLive": _time_to_live(dynamodb, table_name),
        "pointInTimeRecovery": recovery.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        == "ENABLED",
        "tags": _tags(dynamodb, table["TableArn"]),
    }
    return {name: value for name, value in described.items() if value is not None and value != []}


def _throughput(described: dict[str, Any]) -> dict[str, int]:
    units = described["ProvisionedThroughput"]
    return {name: units[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")}


def _index(index: dict[str, Any], billing: str) -> dict[str, Any]:
    described = {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
    return described | ({"ProvisionedThroughput": _throughput(index)} if billing == "PROVISIONED" else {})


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
            return tags
        more = {"NextToken": page["NextToken"]}
