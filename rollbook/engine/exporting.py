"""Remembers which executions wait for an export of AWS, so that they are found without reading the whole history."""

from __future__ import annotations

from rollbook.engine.history import History

# The row with one attribute: the ids of the executions, a set. DynamoDB adds and deletes members atomically.
_ROW = "exports-in-progress"


def add(history: History, execution_id: str) -> None:
    """Remember an execution before its export starts."""
    _update(history, "ADD", execution_id)


def discard(history: History, execution_id: str) -> None:
    """Forget an execution whose outcome is recorded and announced. It need not be remembered."""
    _update(history, "DELETE", execution_id)


def ids(history: History) -> list[str]:
    """Return the executions whose export is not yet recorded as completed or failed."""
    return sorted((history.recall(_ROW) or {}).get("executions", ()))


def _update(history: History, verb: str, execution_id: str) -> None:
    dynamodb, table_name = history.place
    dynamodb.update_item(
        TableName=table_name,
        Key={"id": {"S": _ROW}},
        UpdateExpression=f"{verb} executions :ids",
        ExpressionAttributeValues={":ids": {"SS": [execution_id]}},
    )
