"""One reader for the rows of the history, of this release and of earlier ones."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import boto3
import pytest

from rollbook.engine import executions
from tests.unit.engine import JOB, KEY, PLACES, Clock, Mail, backup_of, resources, scheduled, soon

ROW = {"id": "backup#1", "kind": "backup", "status": "completed", "startedAt": "2025-07-08T00:00:03.000Z"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"tableName": "t", "items": Decimal(3), "seconds": "1.2"}, {"table_name": "t", "items": 3, "seconds": 1.2}),
        ({"kind": "drill", "table": "t"}, {"table_name": "t"}),
        ({"kind": "restore", "table": "t", "unlike": Decimal(3)}, {"table_name": "t", "differing": 3}),
        (
            {"kind": "restore", "table": "t", "unlike": 3, "differing": 0, "besides": 2, "extra": 1},
            {"differing": 0, "extra": 1},
        ),
        ({"differing": 0, "extra": 1, "unlike": 3, "besides": 2}, {"differing": 0, "extra": 1}),
        ({"table": '{"name": "t"}'}, {"definition": {"name": "t"}, "table_name": "default"}),
    ],
)
def test_a_row_of_any_release_reads(row: dict[str, Any], expected: dict[str, Any]) -> None:
    read = executions.read(ROW | row, "default")
    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    "odd",
    [
        {"table": "studentData"},
        {"table": {"a": 1}},
        {"scanRate": "fast"},
        {"startedAt": "2025-07-08"},
        {"status": None},
    ],
)
def test_an_odd_row_is_named(odd: dict[str, Any]) -> None:
    with pytest.raises(executions.UnreadableRow, match="the row 'backup#1' of the history cannot be read"):
        executions.read(ROW | odd)


def test_a_claimed_row_that_cannot_be_read_is_failed_and_not_left_running(aws: None, mail: Mail, clock: Clock) -> None:
    rows = boto3.resource("dynamodb").Table(PLACES.history_table_name)
    rows.put_item(Item=ROW | {"id": scheduled().id, "status": "failed", "scanRate": "fast"})
    with pytest.raises(executions.UnreadableRow):
        backup_of(JOB, mail, clock).run(scheduled(), holder="a", deadline=soon())
    row = rows.get_item(Key={"id": scheduled().id})["Item"]
    assert (row["status"], row["leaseUntil"]) == ("failed", 0)
    assert "scanRate" in row["error"]


def test_an_old_row_without_a_table_is_of_the_default_one(aws: None, mail: Mail, clock: Clock) -> None:
    used = resources(clock)
    rows = boto3.resource("dynamodb").Table(PLACES.history_table_name)
    rows.put_item(Item=ROW)
    assert used.history.get("backup#1") is not None
    named = type(used.history)(used.dynamodb, PLACES.history_table_name, 400, default_table="studentData")
    found = named.get("backup#1")
    assert found is not None
    assert found.table_name == "studentData"


def test_a_completed_row_without_its_numbers_is_not_announced(aws: None, mail: Mail, clock: Clock) -> None:
    rows = boto3.resource("dynamodb").Table(PLACES.history_table_name)
    boto3.client("s3").put_object(Bucket="student-backup", Key=KEY, Body=b"{}")
    rows.put_item(Item=ROW | {"id": scheduled().id, "tableName": "studentData", "key": KEY})
    with pytest.raises(ValueError, match="lacks the table, the items or the bytes"):
        backup_of(JOB, mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert mail.sent == []
