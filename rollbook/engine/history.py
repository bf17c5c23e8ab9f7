"""The history: one row per execution, and the claim that lets one invocation at a time work on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

# An export is AWS's work by now; the arrival of its manifest completes it.
RUNNING, EXPORTING, COMPLETED, FAILED = "running", "exporting", "completed", "failed"
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


class LeaseLost(RuntimeError):
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

    def claim(
        self, execution_id: str, *, holder: str, now: datetime, until: datetime, values: Row, again: bool = False
    ) -> Claim:
        """Take an execution for one invocation, if it is new, has failed, or its invocation has died.

        Arguments:
            holder: the invocation; the same one (a retry of Lambda's) may take it again.
            until: when the invocation will have ended, come what may (aware).
            values: what to write into the row; what the row has besides stays.
            again: also take one that is completed.
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
            " OR (#status = :running AND (leaseUntil < :now OR holder = :holder))"
            + (" OR #status = :completed" if again else ""),
            operands={":failed": FAILED, ":running": RUNNING, ":now": int(now.timestamp())}
            | ({":completed": COMPLETED} if again else {}),
            remove="error",
        )

    def extend(self, execution_id: str, *, holder: str, until: datetime, values: Row) -> None:
        """Write how far an execution has come, and that it is still at work.

        Raises:
            LeaseLost: another invocation has taken it meanwhile.
        """
        row = values | {"leaseUntil": int(until.timestamp())}
        self._hold(self._update(execution_id, row, "holder = :holder", {":holder": holder}), execution_id, holder)

    def hand_over(self, execution_id: str, *, holder: str, values: Row) -> Row:
        """Write that an execution is AWS's export by now.

        Raises:
            LeaseLost: another invocation has taken it meanwhile.
        """
        claim = self._end(execution_id, holder, values | {"status": EXPORTING})
        return self._hold(claim, execution_id, holder)

    def take_back(self, execution_id: str, *, holder: str, now: datetime, until: datetime) -> Claim:
        """Take an execution that was handed over to an export, to complete or to fail it."""
        return self._update(
            execution_id,
            {"status": RUNNING, "holder": holder, "leaseUntil": int(until.timestamp())},
            condition="#status = :exporting OR (#status = :running AND (leaseUntil < :now OR holder = :holder))",
            operands={":exporting": EXPORTING, ":running": RUNNING, ":now": int(now.timestamp())},
        )

    def get(self, execution_id: str) -> Row | None:
        """Return a row, or None if there is none."""
        found = self._dynamodb.get_item(
            TableName=self._table_name, Key={"id": {"S": execution_id}}, ConsistentRead=True
        )
        return _row(found["Item"]) if "Item" in found else None

    def remember(self, name: str, values: Row, *, started_at: str | None = None) -> bool:
        """Write a row that is no execution: what was last of its kind. Return whether it was.

        Arguments:
            started_at: an older row is replaced, a newer one stays; None to replace any.
        """
        is_newer = "attribute_not_exists(startedAt) OR startedAt <= :startedAt"
        if started_at is None:
            return self._update(name, values, "", {}).granted
        return self._update(name, values | {"startedAt": started_at}, is_newer, {}).granted

    def complete(self, execution_id: str, *, holder: str, now: datetime, values: Row) -> Row:
        """Write that an execution is done, and return the row.

        Raises:
            LeaseLost: another invocation has taken the execution meanwhile.
        """
        claim = self._end(execution_id, holder, values | {"status": COMPLETED, "endedAt": _text(now)})
        return self._hold(claim, execution_id, holder)

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

    def _hold(self, claim: Claim, execution_id: str, holder: str) -> Row:
        if not claim.granted:
            raise LeaseLost(
                f"{execution_id} is {claim.row.get('holder')}'s by now, not {holder}'s; it will complete it"
            )
        return claim.row

    def _end(self, execution_id: str, holder: str, values: Row) -> Claim:
        return self._update(execution_id, values | {"leaseUntil": 0}, "holder = :holder", {":holder": holder})

    def _update(self, execution_id: str, values: Row, condition: str, operands: Row, remove: str = "") -> Claim:
        names = {f"#{name}": name for name in values}
        sets = {f":{name}": value for name, value in values.items()}
        if "#status" in condition:
            names["#status"] = "status"
        if remove:
            names[f"#{remove}"] = remove
        conditional = {
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            response = self._dynamodb.update_item(
                TableName=self._table_name,
                Key={"id": {"S": execution_id}},
                UpdateExpression="SET "
                + ", ".join(f"#{name} = :{name}" for name in values)
                + (f" REMOVE #{remove}" if remove else ""),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={name: _serialize(value) for name, value in (sets | operands).items()},
                ReturnValues="ALL_NEW",
                **(conditional if condition else {}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            item: Any = error.response.get("Item", {})
            return Claim(_row(item), granted=False)
        return Claim(_row(response["Attributes"]), granted=True)


def _row(item: dict[str, Any]) -> Row:
    return {name: _deserialize(value) for name, value in item.items()}


def latest(table_name: str) -> str:
    """Return the id of the row that remembers a table's newest backup."""
    return f"latest#{table_name}"


def exported_by(prefix: str) -> str:
    """Return the id of the row that remembers whose export writes under a prefix."""
    return f"export#{prefix}"


def scratch_of(table_name: str) -> str:
    """Return the id of the row that remembers the scratch table of the last drill."""
    return f"scratch#{table_name}"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
