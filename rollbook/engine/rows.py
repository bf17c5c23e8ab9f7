"""The rows of the history table, and conditional writes of single attributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from rollbook.contract import moments
from rollbook.engine.dynamodb import scan
from rollbook.engine.executions import Row

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Update:
    """The outcome of a conditional write: the current row, and whether it was written."""

    row: Row
    granted: bool


class Rows:
    """A table of rows with the key `id`.

    Arguments:
        dynamodb: a client of `raw.Aws`.
    """

    def __init__(self, dynamodb: Any, table_name: str) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name

    def recall(self, name: str) -> Row | None:
        """Return the row that `remember` wrote, or None."""
        found = self._dynamodb.get_item(TableName=self._table_name, Key={"id": {"S": name}}, ConsistentRead=True)
        return _row(found["Item"]) if "Item" in found else None

    def remember(self, name: str, values: Row, *, started_at: datetime | None = None, remove: str = "") -> bool:
        """Write a row that is not an execution, such as a table's newest backup. Return whether it was written.

        Arguments:
            started_at: replace the row only if it is older than this time (aware); None to replace any row.
            remove: the name of an attribute to remove.
        """
        is_newer = "attribute_not_exists(startedAt) OR startedAt <= :startedAt"
        if started_at is None:
            return self.update(name, values, "", {}, remove=remove).granted
        return self.update(
            name, values | {"startedAt": moments.to_text(started_at)}, is_newer, {}, remove=remove
        ).granted

    def rows(self) -> Iterator[Row]:
        """Yield every row. It reads the whole table."""
        for item in scan.items(self._dynamodb, self._table_name, is_consistent=True):
            yield _row(msgspec.json.decode(item))

    def update(
        self,
        row_id: str,
        values: Row,
        condition: str,
        operands: Row,
        *,
        remove: str = "",
        once: Row | None = None,
        add: str = "",
    ) -> Update:
        """Write attributes of a row if a condition holds.

        Arguments:
            condition: DynamoDB's; empty for none.
            operands: of the condition.
            remove: the name of an attribute to remove.
            once: attributes to write only if the row lacks them.
            add: the name of an attribute to count up.
        """
        once = once or {}
        names = {f"#{name}": name for name in values | once}
        sets = {f":{name}": value for name, value in (values | once).items()}
        assignments = [f"#{name} = :{name}" for name in values]
        assignments += [f"#{name} = if_not_exists(#{name}, :{name})" for name in once]
        if "#status" in condition:
            names["#status"] = "status"
        for name in filter(None, (remove, add)):
            names[f"#{name}"] = name
        if add:
            operands = operands | {":one": 1}
        used = {name: _serialize(value) for name, value in (sets | operands).items()}
        conditional = {
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            response = self._dynamodb.update_item(
                TableName=self._table_name,
                Key={"id": {"S": row_id}},
                UpdateExpression=(f"SET {', '.join(assignments)}" if assignments else "")
                + (f" REMOVE #{remove}" if remove else "")
                + (f" ADD #{add} :one" if add else ""),
                ExpressionAttributeNames=names,
                **({"ExpressionAttributeValues": used} if used else {}),
                ReturnValues="ALL_NEW",
                **(conditional if condition else {}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            item: Any = error.response.get("Item", {})
            return Update(_row(item), granted=False)
        return Update(_row(response["Attributes"]), granted=True)


def _row(item: dict[str, Any]) -> Row:
    return {name: _deserialize(value) for name, value in item.items()}
