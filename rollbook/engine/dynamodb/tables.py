"""What a restore must know of a table besides its items: read from one table, and made true of another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Definition = dict[str, Any]
_POLL_SECONDS = 0.5


class TableExists(RuntimeError):
    """There is a table of that name already; it was left as it is."""


@dataclass(frozen=True)
class Described:
    """A table as it is.

    Arguments:
        definition: what a restore needs, in DynamoDB's own names.
        table_id: DynamoDB's own for it.
        size_bytes, item_count: as DynamoDB last counted, which it does every six hours.
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
        botocore.exceptions.ClientError: the table is not there, or may not be read.
    """
    table = dynamodb.describe_table(TableName=table_name)["Table"]
    recovery = dynamodb.describe_continuous_backups(TableName=table_name)["ContinuousBackupsDescription"]
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    definition = {
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
    return Described(
        {name: value for name, value in definition.items() if value is not None and value != []},
        table.get("TableId", ""),
        int(table.get("TableSizeBytes", 0)),
        int(table.get("ItemCount", 0)),
    )


def key_names(definition: Definition) -> list[str]:
    """Return the key attributes, the partition key first."""
    return [key["AttributeName"] for key in sorted(definition["keySchema"], key=lambda key: str(key["KeyType"]))]


def create(
    dynamodb: Any,
    definition: Definition,
    table_name: str,
    *,
    scratch: bool,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Create a table from a definition and prepare it for writing; see `prepare`.

    Arguments:
        scratch: the table will be deleted: on demand, encrypted with AWS's own key, without tags (by which others
            select tables), stream and point-in-time recovery.
        waiting: called before each poll; what it raises ends the wait.

    Raises:
        TableExists: there is one of that name.
    """
    try:
        dynamodb.create_table(**_creation(definition, table_name, dynamodb.meta.region_name, scratch))
    except dynamodb.exceptions.ResourceInUseException:
        raise TableExists(f"there is a table {table_name} already; it was left as it is") from None
    prepare(dynamodb, definition, table_name, scratch=scratch, waiting=waiting)


def prepare(
    dynamodb: Any,
    definition: Definition,
    table_name: str,
    *,
    scratch: bool,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Wait until a table that was created can be written, and turn on its point-in-time recovery.

    A second call changes nothing. Time to live and deletion protection are left for `finish`: the one would delete what
    has expired before it is compared, the other would keep a failed restore from being cleared away.

    Arguments:
        scratch, waiting: as of `create`.
    """
    _wait(lambda: _is_active(dynamodb, table_name), waiting)
    if definition.get("pointInTimeRecovery") and not scratch:
        _wait(lambda: _is_recoverable(dynamodb, table_name), waiting)


def finish(dynamodb: Any, definition: Definition, table_name: str) -> None:
    """Give a restored table what `create` left out."""
    if attribute := definition.get("timeToLive"):
        found = dynamodb.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
        if found.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
            dynamodb.update_time_to_live(
                TableName=table_name, TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute}
            )
    if definition.get("deletionProtection"):
        dynamodb.update_table(TableName=table_name, DeletionProtectionEnabled=True)


def delete(dynamodb: Any, table_name: str) -> None:
    """Delete a table and wait until it is gone; a missing table is no error."""
    _wait(lambda: _is_deleting(dynamodb, table_name))
    _wait(lambda: not exists(dynamodb, table_name))


def exists(dynamodb: Any, table_name: str) -> bool:
    """Return whether there is a table of that name."""
    try:
        dynamodb.describe_table(TableName=table_name)
    except dynamodb.exceptions.ResourceNotFoundException:
        return False
    return True


def parameters(definition: Definition, table_name: str, region: str) -> dict[str, Any]:
    """Return what both `create_table` and `import_table` take of a definition.

    Arguments:
        region: of the new table. A KMS key of another Region is replaced by AWS's own key there.
    """
    billing = definition.get("billingMode", "PAY_PER_REQUEST")
    indexes = definition.get("globalSecondaryIndexes")
    given = {
        "TableName": table_name,
        "KeySchema": definition["keySchema"],
        "AttributeDefinitions": definition["attributeDefinitions"],
        "BillingMode": billing,
        "ProvisionedThroughput": definition.get("provisionedThroughput"),
        "SSESpecification": _encrypted(definition.get("encryption"), region),
        "GlobalSecondaryIndexes": indexes,
    }
    return {name: value for name, value in given.items() if value}


def _creation(definition: Definition, table_name: str, region: str, scratch: bool) -> dict[str, Any]:
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
        # AWS's own key, to which nobody needs a right (DynamoDB Developer Guide, "Encryption at rest: How it works").
        given["SSESpecification"] = {"Enabled": True, "SSEType": "KMS"} if definition.get("encryption") else None
        given.pop("ProvisionedThroughput", None)
        given["GlobalSecondaryIndexes"] = [
            {name: value for name, value in index.items() if name != "ProvisionedThroughput"}
            for index in given.get("GlobalSecondaryIndexes", [])
        ]
    return {name: value for name, value in given.items() if value}


def _encrypted(described: dict[str, Any] | None, region: str) -> dict[str, Any] | None:
    if not described:
        return None
    arn = str(described.get("KMSMasterKeyArn", ""))
    key = {"KMSMasterKeyId": arn} if arn.startswith(f"arn:aws:kms:{region}:") else {}
    return {"Enabled": True, "SSEType": described.get("SSEType", "KMS"), **key}


def _wait(is_so: Callable[[], bool], waiting: Callable[[], None] = lambda: None) -> None:
    while not is_so():
        waiting()
        time.sleep(_POLL_SECONDS)


def _is_active(dynamodb: Any, table_name: str) -> bool:
    try:
        return bool(dynamodb.describe_table(TableName=table_name)["Table"]["TableStatus"] == "ACTIVE")
    except dynamodb.exceptions.ResourceNotFoundException:
        # DescribeTable is eventually consistent: a new table may not be found yet (API reference, "DescribeTable").
        return False


def _is_recoverable(dynamodb: Any, table_name: str) -> bool:
    try:
        dynamodb.update_continuous_backups(
            TableName=table_name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    except dynamodb.exceptions.ContinuousBackupsUnavailableException:
        # DynamoDB enables backups of a new table some time after it is active (API reference,
        # "UpdateContinuousBackups"; aws-amplify/amplify-backend issue 1654).
        return False
    return True


def _is_deleting(dynamodb: Any, table_name: str) -> bool:
    try:
        dynamodb.delete_table(TableName=table_name)
    except dynamodb.exceptions.ResourceNotFoundException:
        return True
    except dynamodb.exceptions.ResourceInUseException:
        # DynamoDB deletes no table that it is creating or updating (API reference, "DeleteTable").
        return False
    return True


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
            # Tags of AWS's own services are theirs to give.
            return [tag for tag in tags if not tag["Key"].startswith("aws:")]
        more = {"NextToken": page["NextToken"]}
