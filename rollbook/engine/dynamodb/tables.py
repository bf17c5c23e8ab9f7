"""Creates, prepares and deletes tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollbook.contract import pauses
from rollbook.engine.dynamodb import definitions

_POLL_SECONDS = 0.5


class TableExists(RuntimeError):
    """A table of that name exists already. It was not changed."""


def create(
    dynamodb: Any,
    definition: definitions.Definition,
    table_name: str,
    *,
    scratch: bool,
    created: Callable[[dict[str, Any]], None] = lambda _: None,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Create a table from a definition and prepare it for writing; see `prepare`.

    Arguments:
        scratch: create a temporary table: on demand, without stream, point-in-time recovery and tags (other programs
            may select tables by tags).
        created: called with the description of the created table.
        waiting: called before each poll; an exception that it raises ends the wait.

    Raises:
        TableExists: a table of that name exists.
    """
    try:
        described = dynamodb.create_table(
            **definitions.creation(definition, table_name, dynamodb.meta.region_name, scratch)
        )
    except dynamodb.exceptions.ResourceInUseException:
        raise TableExists(f"the table {table_name} exists already; it was not changed") from None
    created(described["TableDescription"])
    prepare(dynamodb, definition, table_name, scratch=scratch, waiting=waiting)


def prepare(
    dynamodb: Any,
    definition: definitions.Definition,
    table_name: str,
    *,
    scratch: bool,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Wait until a created table can be written, and turn on its point-in-time recovery.

    A second call changes nothing. `finish` turns on time to live and deletion protection later. Time to live would
    delete expired items before the comparison. Deletion protection would prevent deleting a failed restore's table.

    Arguments:
        scratch, waiting: see `create`.
    """
    _wait(lambda: _is_active(dynamodb, table_name), waiting)
    if definition.get("pointInTimeRecovery") and not scratch:
        _wait(lambda: _is_recoverable(dynamodb, table_name, definition.get("recoveryDays")), waiting)


def complete_import(
    dynamodb: Any,
    definition: definitions.Definition,
    table_name: str,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Add stream, table class and tags, which ImportTable cannot create. A second call changes nothing.

    Source: DynamoDB API reference, "TableCreationParameters". Local indexes cannot be added to a table.
    """
    table = dynamodb.describe_table(TableName=table_name)["Table"]
    stream, table_class = definition.get("stream") or {}, definition.get("tableClass")
    changes: list[dict[str, Any]] = []
    if stream.get("StreamEnabled") and not table.get("StreamSpecification", {}).get("StreamEnabled"):
        changes.append({"StreamSpecification": stream})
    if table_class and table_class != table.get("TableClassSummary", {}).get("TableClass", "STANDARD"):
        changes.append({"TableClass": table_class})
    for change in changes:
        dynamodb.update_table(TableName=table_name, **change)
        _wait(lambda: _is_active(dynamodb, table_name), waiting)
    if tags := definition.get("tags"):
        dynamodb.tag_resource(ResourceArn=table["TableArn"], Tags=tags)


def finish(dynamodb: Any, definition: definitions.Definition, table_name: str) -> None:
    """Turn on time to live and deletion protection of a restored table."""
    if attribute := definition.get("timeToLive"):
        found = dynamodb.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
        if found.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
            dynamodb.update_time_to_live(
                TableName=table_name, TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute}
            )
    if definition.get("deletionProtection"):
        dynamodb.update_table(TableName=table_name, DeletionProtectionEnabled=True)


def add_indexes(
    dynamodb: Any,
    definition: definitions.Definition,
    table_name: str,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Create the global secondary indexes that a table does not have yet, and wait for each.

    UpdateTable creates one index at a time (API reference, "UpdateTable").
    """
    there = dynamodb.describe_table(TableName=table_name)["Table"].get("GlobalSecondaryIndexes", [])
    named = {index["IndexName"] for index in there}
    for index in definition.get("globalSecondaryIndexes", []):
        if index["IndexName"] not in named:
            used = {key["AttributeName"] for key in [*definition["keySchema"], *index["KeySchema"]]}
            dynamodb.update_table(
                TableName=table_name,
                AttributeDefinitions=[e for e in definition["attributeDefinitions"] if e["AttributeName"] in used],
                GlobalSecondaryIndexUpdates=[{"Create": index}],
            )
        _wait(lambda: _is_active(dynamodb, table_name), waiting)


def delete(dynamodb: Any, table_name: str) -> None:
    """Delete a table and wait until it is gone. A missing table is not an error."""
    _wait(lambda: _is_deleting(dynamodb, table_name))
    _wait(lambda: not exists(dynamodb, table_name))


def exists(dynamodb: Any, table_name: str) -> bool:
    """Return whether there is a table of that name."""
    return found(dynamodb, table_name) is not None


def found(dynamodb: Any, table_name: str) -> dict[str, Any] | None:
    """Return what DescribeTable says of a table; None if there is no table of that name."""
    try:
        table: dict[str, Any] = dynamodb.describe_table(TableName=table_name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return table


def _wait(is_so: Callable[[], bool], waiting: Callable[[], None] = lambda: None) -> None:
    while not is_so():
        waiting()
        pauses.sleep(_POLL_SECONDS)


def _is_active(dynamodb: Any, table_name: str) -> bool:
    try:
        table = dynamodb.describe_table(TableName=table_name)["Table"]
        indexes = [index.get("IndexStatus", "ACTIVE") for index in table.get("GlobalSecondaryIndexes", [])]
        return {table["TableStatus"], *indexes} == {"ACTIVE"}
    except dynamodb.exceptions.ResourceNotFoundException:
        # DescribeTable is eventually consistent: a new table may not be found yet (API reference, "DescribeTable").
        return False


def _is_recoverable(dynamodb: Any, table_name: str, days: int | None) -> bool:
    period = {"RecoveryPeriodInDays": days} if days else {}
    try:
        dynamodb.update_continuous_backups(
            TableName=table_name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, **period}
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
        # DynamoDB cannot delete a table that is being created or updated (API reference, "DeleteTable").
        return False
    return True
