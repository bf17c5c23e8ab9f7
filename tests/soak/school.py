"""A school's AWS on moto: its table, its bucket, its history and its mails, with the engine's functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from dateutil import tz
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.s3.models import s3_backends

from rollbook.contract.jobs import BackupJob, DrillJob
from rollbook.contract.retention import MARK, YES, Policy, RetainedTable
from rollbook.engine import backup, finish_export
from rollbook.engine.checks import Checks
from rollbook.engine.deadline import Deadline
from rollbook.engine.drill import Drill
from rollbook.engine.executions import Execution
from rollbook.engine.export_watch import ExportWatch
from rollbook.engine.history import History
from rollbook.engine.inventory import Inventory
from rollbook.engine.marking import Marking, Outcome
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import Options
from rollbook.engine.restore_request import Request as RestoreRequest
from rollbook.messages import metrics
from tests.soak import faults, times
from tests.soak.faults import Fault, Gate
from tests.soak.times import Times
from tests.unit.aws import REGION, create_bucket, create_bus
from tests.unit.engine import PLACES, local
from tests.unit.exports import Exporting
from tests.unit.lifecycle_on_moto import run_lifecycle
from tests.unit.strict_s3 import strict_s3
from tests.unit.table_ids import table_ids

TABLE, BUCKET, ROWS = "studentData", PLACES.s3_bucket_name, PLACES.history_table_name
PREFIX, SCRATCH = "students-backup-", "studentData-drill-"
ZONE = "Europe/Berlin"
EXPIRE_DAYS, NONCURRENT_DAYS = 60, 30
# What infra/backups/store.py computes of these.
HISTORY_DAYS = EXPIRE_DAYS + NONCURRENT_DAYS
INVOCATION_SECONDS = 300.0
Item = dict[str, Any]


class Mail:
    """SES behind the gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.sent: list[tuple[str, str]] = []

    def send_email(self, **mail: Any) -> dict[str, str]:
        content = mail["Content"]["Simple"]
        sent = (content["Subject"]["Data"], content["Body"]["Text"]["Data"])
        return self._gate.request("SendEmail", lambda: self.sent.append(sent)) or {"MessageId": "1"}


class GatedExports(Exporting):
    """DynamoDB's exports behind the gate. Only the exported table has an id of its own."""

    def __init__(self, clock: Times, gate: Gate) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self._gate = gate

    def describe_table(self, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = local().dynamodb.describe_table(**request)
        if request["TableName"] == TABLE:
            found["Table"]["TableId"] = self.table_id
        return found

    def describe_continuous_backups(self, **request: Any) -> dict[str, Any]:
        asked = super().describe_continuous_backups
        return self._gate.request("DescribeContinuousBackups", lambda: asked(**request))

    def export_table_to_point_in_time(self, **request: Any) -> dict[str, Any]:
        asked = super().export_table_to_point_in_time
        return self._gate.request("ExportTableToPointInTime", lambda: asked(**request))

    def describe_export(self, **request: Any) -> dict[str, Any]:
        asked = super().describe_export
        return self._gate.request("DescribeExport", lambda: asked(**request))


def rules_of(policy: Policy | None) -> list[dict[str, Any]]:
    """Return the lifecycle rules of the stack for the table; tests/unit/test_soak.py compares them."""
    noncurrent = {"NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS}}
    whole = {"ID": "backups", "Status": "Enabled", "Filter": {"Prefix": PREFIX}}
    if policy is None:
        return [whole | noncurrent | {"Expiration": {"Days": EXPIRE_DAYS}}]
    tagged = {"And": {"Prefix": PREFIX, "Tags": [{"Key": MARK, "Value": YES}]}}
    marked = {"ID": "marked", "Status": "Enabled", "Filter": tagged, "Expiration": {"Days": 1}}
    return [whole | {"Expiration": {"ExpiredObjectDeleteMarker": True}}, marked | noncurrent]


class School:
    """The account, and the functions of the stack as Lambda invokes them.

    Arguments:
        policy: of the retention; None to delete backups by age.
    """

    def __init__(self, clock: Times, gate: Gate, policy: Policy | None) -> None:
        self.times, self.gate, self.policy = clock, gate, policy
        self.mail = Mail(gate)
        self.exporting = GatedExports(clock, gate)
        self.records: dict[str, Item] = {}
        self.s3, self.dynamodb = local().client("s3"), boto3.client("dynamodb")
        events = local().client("events")
        history = History(local().dynamodb, ROWS, HISTORY_DAYS)
        self.used = Resources(self.exporting, self.s3, BUCKET, history, clock)
        self.notifier = Notifier(
            PLACES, history=history, client=lambda name: self.mail if name == "sesv2" else events, clock=clock
        )
        for name, key in ((TABLE, "studentid"), (ROWS, "id")):
            self.dynamodb.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            )
        create_bucket(BUCKET)
        create_bus(PLACES.event_bus_name)
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules_of(policy)})

    # The table.

    def write(self, key: str, **attributes: Any) -> None:
        item = {"studentid": {"S": key}, **attributes}
        _table(TABLE).put_item(item)
        self.exporting.write(key, **attributes)
        self.records[key] = item

    def delete(self, key: str) -> None:
        if self.records.pop(key, None):
            _table(TABLE).delete_item(DynamoType({"S": key}), None)
            self.exporting.delete(key)

    def table(self, name: str) -> dict[str, Item] | None:
        """Return the items of a table; None if there is none."""
        if name not in self.tables():
            return None
        return {item["studentid"]["S"]: item for item in _items(name)}

    def tables(self) -> list[str]:
        return list(dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the history by their id."""
        found = _items(ROWS)
        return {row["id"]["S"]: {name: next(iter(value.values())) for name, value in row.items()} for row in found}

    def versions(self) -> dict[str, list[tuple[str, bool]]]:
        """Return the versions of each key, the newest first, and whether each is a delete marker."""
        kept = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys
        return {
            key: [(str(each.version_id), not hasattr(each, "etag")) for each in reversed(kept.getlist(key))]
            for key in list(kept)
        }

    # The functions.

    def _deadline(self) -> Deadline:
        # A fixed difference to the clock, so that the reserve is never the reason of a failure.
        return Deadline(self.times.monotonic() + INVOCATION_SECONDS, clock=self.times.monotonic)

    def back_up(self, job: BackupJob, request: backup.Request, holder: str, fault: Fault) -> Execution | None:
        with self.gate.invocation(fault):
            work = backup.Backup(job, self.used, self.notifier)
            return work.run(request, holder=holder, deadline=self._deadline())

    def finish(self, manifest: str, holder: str, fault: Fault) -> Execution | None:
        with self.gate.invocation(fault):
            return finish_export.finish(manifest, self.used, self.notifier, holder=holder, deadline=self._deadline())

    def watch(self, holder: str, fault: Fault) -> dict[str, str]:
        with self.gate.invocation(fault):
            watch = ExportWatch(self.used, self.notifier, timedelta(hours=6))
            return watch.run(holder=holder, deadline=self._deadline())

    def mark(self, fault: Fault) -> Outcome:
        assert self.policy is not None
        with self.gate.invocation(fault):
            inventory = Inventory(self.s3, self.dynamodb, BUCKET, ROWS)
            marking = Marking(self.used, inventory, tz.gettz(ZONE), HISTORY_DAYS)
            return marking.run(RetainedTable(TABLE, PREFIX, self.policy))

    @property
    def checks(self) -> Checks:
        return Checks(self.used, self.notifier.damaged)

    def check_all(self, execution: str, fault: Fault) -> Any:
        with self.gate.invocation(fault):
            return self.checks.share(1, execution, self._deadline())

    def drill(self, execution: str, holder: str, fault: Fault) -> Execution | None:
        job = DrillJob(table_name=TABLE, scratch_prefix=SCRATCH, rpo_hours=48, rto_minutes=60)
        with self.gate.invocation(fault):
            return Drill(job, self.used, self.notifier).run(execution, holder=holder, deadline=self._deadline())

    def restore(self, request: RestoreRequest, holder: str, fault: Fault) -> Execution:
        with self.gate.invocation(fault):
            return Restore(self.used, Options(parallel=1)).run(request, holder=holder, deadline=self._deadline())

    # AWS.

    def midnight(self) -> set[str]:
        """Carry out the lifecycle and delete the rows that expired; return the keys that the lifecycle took."""
        done = run_lifecycle(self.s3, BUCKET, self.times.now)
        for name, row in self.rows().items():
            if float(row.get("expiresAt", "inf")) < self.times.now.timestamp():
                self.dynamodb.delete_item(TableName=ROWS, Key={"id": {"S": name}})
        return {action.key for action in done}

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body


# The soak asks moto itself, because a request takes milliseconds.


def _table(name: str) -> Any:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[name]


def _items(name: str) -> list[Item]:
    return [
        {attribute: value.to_json() for attribute, value in item.attrs.items()} for item in _table(name).items.values()
    ]


@contextmanager
def opened(policy: Policy | None) -> Iterator[School]:
    """Open a school whose time, faults and AWS are those of the soak."""
    clock, gate = Times(), Gate()
    with ExitStack() as stack:
        stack.enter_context(mock_aws())
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(metrics, "put", lambda *_, **__: None)
        for each in (strict_s3(), table_ids(), times.in_force(clock), faults.in_force(gate)):
            stack.enter_context(each)
        yield School(clock, gate, policy)


def of_text(text: str) -> datetime:
    return datetime.fromisoformat(text)


def of_bytes(item: bytes) -> Item:
    return dict(json.loads(item))
