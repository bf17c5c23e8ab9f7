"""The history: one row per execution, and the claim that lets one invocation at a time work on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"
Row = dict[str, Any]
# A mail takes a second or two; past this a claim on it is taken for that of an invocation that died.
_MAIL_LEASE = timedelta(minutes=2)
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Claim:
    """The outcome of `History.claim`: the row, and whether the caller is to do the work."""

    row: Row
    granted: bool


class Overtaken(RuntimeError):
    """The invocation held its execution beyond its time, and another has taken it."""


class History:
    """The table of executions.

    Arguments:
        dynamodb: a DynamoDB client.
        days: after how many days a row expires.
    """

    def __init__(self, dynamodb: Any, table_name: str, days: int) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._days = days

    def claim(self, execution_id: str, *, holder: str, now: datetime, until: datetime, values: Row) -> Claim:
        """Take an execution for one invocation, if it is new, has failed, or its invocation has died.

        Arguments:
            holder: the invocation; the same one (a retry of Lambda's) may take it again.
            until: when the invocation will have ended, come what may (aware).
            values: what to write into the row.
        """
        row = values | {
            "status": RUNNING,
            "holder": holder,
            "startedAt": _text(now),
            "leaseUntil": int(until.timestamp()),
            "expiresAt": int((now + timedelta(days=self._days)).timestamp()),
        }
        return self._update(
            execution_id,
            row,
            condition="attribute_not_exists(id) OR #status = :failed"
            " OR (#status = :running AND (leaseUntil < :now OR holder = :holder))",
            operands={":failed": FAILED, ":running": RUNNING, ":now": int(now.timestamp())},
        )

    def complete(self, execution_id: str, *, holder: str, now: datetime, values: Row) -> Row:
        """Write that an execution is done, and return the row.

        Raises:
            Overtaken: another invocation has taken the execution meanwhile.
        """
        claim = self._end(execution_id, holder, values | {"status": COMPLETED, "endedAt": _text(now)})
        if not claim.granted:
            raise Overtaken(
                f"{execution_id} is {claim.row.get('holder')}'s by now, not {holder}'s; it will complete it"
            )
        return claim.row

    def fail(self, execution_id: str, *, holder: str, now: datetime, error: BaseException) -> None:
        """Write that an execution failed and why; the next try may take it at once."""
        text = f"{type(error).__name__}: {error}"
        self._end(execution_id, holder, {"status": FAILED, "endedAt": _text(now), "error": text[:2000]})

    def claim_mail(self, execution_id: str, *, now: datetime) -> bool:
        """Return whether the caller is to send the execution's mail: once, unless who had it died or failed."""
        return self._update(
            execution_id,
            {"mailLeaseUntil": int((now + _MAIL_LEASE).timestamp())},
            condition="attribute_exists(id) AND attribute_not_exists(mailedAt)"
            " AND (attribute_not_exists(mailLeaseUntil) OR mailLeaseUntil < :now)",
            operands={":now": int(now.timestamp())},
        ).granted

    def mailed(self, execution_id: str, *, now: datetime) -> None:
        """Write that the mail is sent."""
        self._update(execution_id, {"mailedAt": _text(now)}, "attribute_exists(id)", {})

    def release_mail(self, execution_id: str) -> None:
        """Write that the mail was not sent, so that the next try may send it at once."""
        self._update(execution_id, {"mailLeaseUntil": 0}, "attribute_exists(id)", {})

    def _end(self, execution_id: str, holder: str, values: Row) -> Claim:
        return self._update(execution_id, values | {"leaseUntil": 0}, "holder = :holder", {":holder": holder})

    def _update(self, execution_id: str, values: Row, condition: str, operands: Row) -> Claim:
        names = {f"#{name}": name for name in values}
        sets = {f":{name}": value for name, value in values.items()}
        if "#status" in condition:
            names["#status"] = "status"
        try:
            response = self._dynamodb.update_item(
                TableName=self._table_name,
                Key={"id": {"S": execution_id}},
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={name: _serialize(value) for name, value in (sets | operands).items()},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            item: Any = error.response.get("Item", {})
            return Claim(_row(item), granted=False)
        return Claim(_row(response["Attributes"]), granted=True)


def _row(item: dict[str, Any]) -> Row:
    return {name: _deserialize(value) for name, value in item.items()}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
