"""No two backups share a key, and an object is adopted only by the execution that wrote it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from rollbook.engine import backup, executions
from tests.tiers import slow_beyond
from tests.unit.engine import (
    JOB,
    KEY,
    MIDNIGHT,
    MINUTE,
    ZONE,
    Clock,
    Mail,
    backup_of,
    objects,
    put,
    read,
    resources,
    scheduled,
    soon,
)

BERLIN = "Europe/Berlin"


def names(zone: str, *moments: datetime) -> list[str]:
    return [backup.scheduled(JOB, zone, moment).name for moment in moments]


def test_the_two_runs_of_a_repeated_hour_have_two_keys() -> None:
    """On 2025-10-26 the clocks in Berlin went back by an hour at 3:00."""
    first = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert names(BERLIN, first, first + timedelta(hours=1)) == [
        "students-backup-20251026T0030Z",
        "students-backup-20251026T0130Z",
    ]
    assert names(BERLIN, first + timedelta(hours=2)) == ["students-backup-20251026T0330"]


@pytest.mark.parametrize(
    "zone", slow_beyond(2, ["Africa/Casablanca", "Australia/Lord_Howe", BERLIN, "America/New_York", ZONE])
)
def test_a_year_of_quarter_hours_has_as_many_keys(zone: str) -> None:
    moments = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=15) * number for number in range(366 * 96)]
    made = names(zone, *moments)
    assert len(set(made)) == len(made)


def test_the_key_of_an_unambiguous_time_is_the_workshops() -> None:
    assert names(ZONE, MIDNIGHT) == ["students-backup-20250708T0700"]


@pytest.mark.parametrize(
    "change",
    [
        {"execution": "schedule#studentData#2025-07-07T00:00:00Z"},
        {"table": "another"},
        {"startedAt": "2025-07-07T00:00:03Z"},
    ],
)
def test_an_object_of_another_execution_is_not_adopted(
    aws: None, mail: Mail, clock: Clock, change: dict[str, str]
) -> None:
    """A forged or left object: whole by its own digest, and not what this execution wrote."""
    put(SV001={})
    foreign = document_of(change)
    boto3.client("s3").put_object(Bucket="student-backup", Key=KEY, Body=foreign)
    rows = boto3.resource("dynamodb").Table("backup-executions")
    rows.put_item(Item=dead_claim())
    done = backup_of(JOB, mail, clock).run(scheduled(), holder="b", deadline=soon())
    assert done is not None
    assert (done.items, done.key) == (1, "students-backup-20250708T0700-as-of-20250708T000003Z.json")
    assert read(KEY) == foreign


def document_of(change: dict[str, str]) -> bytes:
    from rollbook.engine.formats import document

    header = document.Header(
        document.FORMAT,
        change.get("execution", scheduled().id),
        {"name": change.get("table", "studentData")},
        datetime.fromisoformat(change.get("startedAt", "2025-07-08T00:00:03Z")),
    )
    return b"".join(document.Writer().chunks(header, [], lambda: MIDNIGHT))


def dead_claim() -> dict[str, Any]:
    """The row of an invocation that died."""
    return {
        "id": scheduled().id,
        "kind": "backup",
        "tableName": "studentData",
        "status": "running",
        "holder": "dead",
        "leaseUntil": 0,
        "key": KEY,
        "tries": 1,
        "startedAt": "2025-07-08T00:00:03.000Z",
        "claimedAt": "2025-07-08T00:00:03.000Z",
    }


def test_the_object_of_a_dead_invocation_is_adopted(aws: None, mail: Mail, clock: Clock) -> None:
    mine = document_of({})
    boto3.client("s3").put_object(Bucket="student-backup", Key=KEY, Body=mine)
    boto3.resource("dynamodb").Table("backup-executions").put_item(Item=dead_claim())
    put(SV001={})
    done = backup_of(JOB, mail, clock).run(scheduled(), holder="b", deadline=soon())
    assert done is not None
    assert (done.items, done.key, done.reason) == (0, KEY, "stored by an earlier try")
    assert done.read_from == MIDNIGHT + timedelta(seconds=3)


def test_a_late_run_says_of_when_its_data_is(aws: None, mail: Mail, clock: Clock) -> None:
    """A dead letter that is sent again after three days makes a backup of now."""
    put(SV001={})
    clock.now = MIDNIGHT + timedelta(days=3)
    done = backup_of(JOB, mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert done is not None
    assert done.key == "students-backup-20250708T0700-as-of-20250711T000000Z.json"
    assert (done.run_at, done.read_from) == (MIDNIGHT, clock.now)
    [sent] = mail.sent
    body = sent["Body"]["Text"]["Data"]
    assert "Run of:    2025-07-08T00:00:00.000Z" in body
    moment = "2025-07-11T00:00:00.000Z"
    assert f"Data:      read from {moment} to {moment}, eventually consistent" in body


def test_a_late_try_that_died_after_its_upload_is_adopted(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(SV001={})
    clock.now = MIDNIGHT + timedelta(days=3)
    work = backup_of(JOB, mail, clock)
    monkeypatch.setattr(work, "_complete", killed)
    with pytest.raises(KeyboardInterrupt):
        work.run(scheduled(), holder="a", deadline=soon())
    monkeypatch.undo()
    clock.now += 5 * MINUTE
    done = backup_of(JOB, mail, clock).run(scheduled(), holder="b", deadline=soon())
    assert done is not None
    assert objects() == [done.key]
    assert done.read_from == MIDNIGHT + timedelta(days=3)


def killed(*_: Any) -> executions.Execution:
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_repeated_execution_makes_its_backup_again_if_the_object_is_gone(
    aws: None, mail: Mail, clock: Clock, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket="student-backup", VersioningConfiguration={"Status": "Enabled"})
    put(SV001={})
    backup_of(JOB, mail, clock).run(scheduled(), holder="a", deadline=soon())
    clock.now += timedelta(days=3)
    if how == "deleted":
        s3.delete_object(Bucket="student-backup", Key=KEY)
    else:
        s3.put_object(Bucket="student-backup", Key=KEY, Body=b"{}")
    again = backup_of(JOB, mail, clock).run(scheduled(), holder="b", deadline=soon())
    assert again is not None
    assert again.key == "students-backup-20250708T0700-as-of-20250711T000003Z.json"
    assert resources(clock).open_backup(again.key).recorded is not None


def test_a_success_is_counted_once(aws: None, mail: Mail, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A repeated run must not reset the alarm that fires when no backup succeeds."""
    put(SV001={})
    backup_of(JOB, mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert capsys.readouterr().out.count('"BackupsCompleted":[1.0]') == 1
    backup_of(JOB, mail, clock).run(scheduled(), holder="b", deadline=soon())
    assert "BackupsCompleted" not in capsys.readouterr().out
