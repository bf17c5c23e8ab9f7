"""Writes items only if the table still has what was compared. An item that changed meanwhile is left and named.

BatchWriteItem takes no conditions (API reference, "BatchWriteItem"), so each item is a request of its own: a missing
item is a PutItem, an item that differs is an UpdateItem, a deleted one is a DeleteItem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from rollbook.engine import fingerprints
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.dynamodb.workers import REFUSALS, Refusal, Sent, Workers

_Item = dict[str, msgspec.Raw]
_CONFLICT = "ConditionalCheckFailedException"
# An expression takes 4 KB and 300 operators (Developer Guide, "Quotas in Amazon DynamoDB", "Expression parameters").
# The longest term of an attribute takes 18 bytes and two operators.
_MOST_ATTRIBUTES = 140
_decode = msgspec.json.Decoder(_Item).decode


@dataclass(frozen=True)
class Write:
    """One conditional write.

    Arguments:
        key: the primary key as DynamoDB JSON.
        item: the item to write; None to delete the one with that key.
        compared: digest of the item that the table had; None if it had none.
    """

    key: bytes
    item: bytes | None
    compared: bytes | None


class ConditionalWriter:
    """Writes into one table.

    Arguments:
        dynamodb: a client of `raw.client`.
        parallel: the number of requests sent at the same time.
        limiter: limits the write units per second.
        check: called before each request; raises when no time is left.
        progress: called after each request with the number of requests executed so far.
    """

    def __init__(
        self,
        dynamodb: Any,
        table_name: str,
        *,
        parallel: int,
        limiter: RateLimiter,
        check: Callable[[], None],
        progress: Callable[[int], None],
    ) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._limiter = limiter
        self._workers = Workers(parallel, check, progress)

    def send(self, writes: Iterable[Write]) -> Sent:
        """Execute the writes.

        Raises:
            NotWritten: an error that concerns every item.
        """
        return self._workers.run(iter(writes), self._send, self._table_name)

    def _send(self, write: Write) -> Sent:
        try:
            return Sent(1) if self._execute(write) else Sent(changed=[write.key.decode()])
        except ClientError as error:
            reason = error.response["Error"]
            if reason["Code"] in REFUSALS:
                return Sent(refused=[Refusal(write.key.decode(), reason["Message"])])
            return Sent(failed=[Refusal(write.key.decode(), reason["Code"])], error=error)
        except BotoCoreError as error:
            return Sent(failed=[Refusal(write.key.decode(), type(error).__name__)], error=error)

    def _execute(self, write: Write) -> bool:
        """Execute one write, and return whether the table now has its result."""
        if write.compared is None:
            return write.item is None or self._request("put_item", "Item", write, _addition(write))
        current = self._read(write.key)
        if current is None:
            return write.item is None
        if fingerprints.digest(current) != write.compared:
            return _is_result(write, current)
        if write.item is None:
            return self._request("delete_item", "Key", write, _deletion(write, _decode(current)))
        before, after = _decode(current), _decode(write.item)
        if len(before.keys() | after.keys()) > _MOST_ATTRIBUTES:
            raise _refused(
                f"it has more than {_MOST_ATTRIBUTES} attributes, too many for a condition; restore it into a new table"
            )
        return self._request("update_item", "Key", write, _replacement(write, before, after))

    def _read(self, key: bytes) -> bytes | None:
        found = self._limited(
            lambda: self._dynamodb.get_item(
                TableName=self._table_name,
                Key=parsed(key),
                ConsistentRead=True,
                ReturnConsumedCapacity="TOTAL",
            )
        )
        return msgspec.json.encode(found["Item"]) if "Item" in found else None

    def _request(self, operation: str, parameter: str, write: Write, body: dict[str, Any]) -> bool:
        whole = msgspec.json.encode(
            {
                "TableName": self._table_name,
                "ReturnConsumedCapacity": "TOTAL",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                **body,
            }
        )
        call = getattr(self._dynamodb, operation)
        try:
            self._limited(lambda: call(TableName=self._table_name, **{parameter: whole}))
        except ClientError as error:
            if error.response["Error"]["Code"] != _CONFLICT:
                raise
            # A repeated request finds what the first one wrote, if only the answer was lost.
            found: Any = error.response.get("Item")
            return _is_result(write, msgspec.json.encode(found)) if found else write.item is None
        return True

    def _limited(self, call: Callable[[], Any]) -> Any:
        answer = self._limiter.retry_throttled(call)
        self._limiter.spend(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))
        return answer


def _is_result(write: Write, current: bytes) -> bool:
    return write.item is not None and fingerprints.digest(current) == fingerprints.digest(write.item)


def parsed(key: bytes) -> dict[str, Any]:
    """Return a key as botocore takes it: binary values as bytes."""
    values: dict[str, dict[str, str]] = msgspec.json.decode(key)
    return {
        name: {"B": msgspec.convert(value["B"], bytes, strict=False)} if "B" in value else value
        for name, value in values.items()
    }


def _addition(write: Write) -> dict[str, Any]:
    return {
        "Item": msgspec.Raw(write.item or b"{}"),
        "ConditionExpression": "attribute_not_exists(#k)",
        "ExpressionAttributeNames": {"#k": next(iter(_decode(write.key)))},
    }


def _unchanged(key: _Item, before: _Item, absent: Sequence[str]) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    """Return the terms, names and values of the condition that the table still has `before`.

    Arguments:
        absent: attributes that it must not have.
    """
    known = [name for name in before if name not in key]
    names = {"#k": next(iter(key))} | {f"#a{number}": name for number, name in enumerate([*known, *absent])}
    terms = ["attribute_exists(#k)", *(f"#a{number} = :o{number}" for number in range(len(known)))]
    terms += [f"attribute_not_exists(#a{len(known) + number})" for number in range(len(absent))]
    return terms, names, {f":o{number}": before[name] for number, name in enumerate(known)}


def _replacement(write: Write, before: _Item, after: _Item) -> dict[str, Any]:
    """Return the UpdateItem that turns an item into another.

    A PutItem would delete an attribute that was added after the item was read, because no condition can exclude
    attributes of unknown names. An UpdateItem keeps it, and the comparison after the restore names the item.
    """
    key = _decode(write.key)
    terms, names, values = _unchanged(key, before, [name for name in after if name not in before])
    alias = {name: short for short, name in names.items()}
    sets = []
    for name, value in after.items():
        if name not in key and bytes(value) != bytes(before.get(name, msgspec.Raw(b""))):
            new = alias[name].replace("#a", ":n")
            sets.append(f"{alias[name]} = {new}")
            values[new] = value
    removed = [alias[name] for name in before if name not in after]
    update = [f"SET {', '.join(sets)}"] if sets else []
    update += [f"REMOVE {', '.join(removed)}"] if removed else []
    return {
        "Key": key,
        "UpdateExpression": " ".join(update),
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeNames": names,
    } | ({"ExpressionAttributeValues": values} if values else {})


def _deletion(write: Write, before: _Item) -> dict[str, Any]:
    """Return the DeleteItem of an item.

    If only a new attribute is added between the read and this request, the item is deleted nevertheless: no condition
    can exclude attributes of unknown names.
    """
    key = _decode(write.key)
    terms, names, values = _unchanged(key, before, ())
    return {
        "Key": key,
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeNames": names,
    } | ({"ExpressionAttributeValues": values} if values else {})


def _refused(reason: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": reason}}, "UpdateItem")
