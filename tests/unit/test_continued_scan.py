"""A table that does not fit into one invocation: the next one continues, through kills, and the result is whole."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import msgspec
import pytest

from rollbook.contract import events
from rollbook.contract.jobs import BackupJob
from rollbook.engine import backup as run
from rollbook.engine import checkpoints, stored
from rollbook.engine.deadline import Deadline, OutOfTime
from rollbook.engine.dynamodb import scan
from rollbook.engine.executions import Execution
from rollbook.engine.export_watch import ExportWatch
from rollbook.engine.formats import export_files
from rollbook.engine.notifier import Notifier
from rollbook.engine.restore_request import Request
from rollbook.reports import assessment
from tests.unit.aws import Context
from tests.unit.engine import (
    ENVIRONMENT,
    JOB,
    PLACES,
    Clock,
    Mail,
    backup_of,
    executions,
    local,
    objects,
    put,
    resources,
    restorer,
    scheduled,
    table,
)

BUCKET = PLACES.s3_bucket_name
ITEMS = 100
SCAN = replace(JOB, compression="gzip")
SECONDS_A_PAGE = 10.0


class Killed(BaseException):
    """The process ends without any further step."""


class Time:
    """A monotonic clock that each page of a scan moves on."""

    def __init__(self, wall: Clock) -> None:
        self.now = 0.0
        self.wall = wall
        self.seconds_a_page = SECONDS_A_PAGE

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.wall.now += timedelta(seconds=seconds)


def slow_scans(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time(clock)
    read = scan.pages

    def slow(*arguments: Any, **options: Any) -> Iterator[scan.Page]:
        for page in read(*arguments, **options):
            made.sleep(made.seconds_a_page)
            yield page

    monkeypatch.setattr(scan, "pages", slow)
    monkeypatch.setattr("moto.dynamodb.models.table.RESULT_SIZE_LIMIT", 4000)
    monkeypatch.setattr(export_files, "FILE_BYTES", 10_000)
    return made


@pytest.fixture
def time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Time:
    return slow_scans(clock, monkeypatch)


@pytest.fixture
def students(aws: None) -> None:
    put(**{f"SV{number:03}": {"text": {"S": "x" * 450}} for number in range(ITEMS)})


def deadline(time: Time, seconds: float = 75.0) -> Deadline:
    return Deadline(time.now + seconds, 128, time, time.sleep)


def invoke(time: Time, mail: Mail, job: BackupJob = SCAN, seconds: float = 75.0) -> Execution:
    work = backup_of(job, mail, time.wall)
    done = work.run(scheduled(), holder=f"at {time.now}", deadline=deadline(time, seconds))
    assert done is not None
    return done


def until_completed(time: Time, mail: Mail, job: BackupJob = SCAN) -> tuple[Execution, int]:
    for count in range(1, 50):
        done = invoke(time, mail, job)
        if done.status == "completed":
            return done, count
        assert (done.status, objects(), mail.sent) == ("continuing", [], [])
    raise AssertionError("it never ended")


@pytest.mark.parametrize("format", ["json", "dynamodb-export"])
@pytest.mark.parametrize("segments", [1, 3])
def test_a_table_that_needs_several_invocations_is_backed_up_whole(
    students: None, time: Time, mail: Mail, segments: int, format: Any
) -> None:
    job = replace(SCAN, segments=segments, format=format)
    began = time.wall.now
    done, count = until_completed(time, mail, job)
    assert count > 1
    backup = stored.open_backup(boto3.client("s3"), BUCKET, done.key)
    assert sorted(backup.items()) == sorted(scan.items(local().dynamodb, "studentData"))
    assert (done.items, done.engine, done.format, len(mail.sent)) == (ITEMS, "scan", "dynamodb-export", 1)
    assert done.read_from is not None
    assert done.read_until is not None
    assert began <= done.read_from < done.read_until <= time.wall.now
    assert (done.read_until - done.read_from).total_seconds() > 75
    assert f"{count} invocations" in done.reason


def test_its_backup_is_verified_and_restored_like_any_other(students: None, time: Time, mail: Mail) -> None:
    done, _ = until_completed(time, mail)
    restorer(time.wall).run(Request(done.key, "restored", is_new=True), holder="a")
    assert table("restored") == table("studentData")


def test_what_changes_between_two_invocations_is_read_as_by_one_scan(students: None, time: Time, mail: Mail) -> None:
    invoke(time, mail)
    invoke(time, mail)
    put(**{f"SV{number:03}": {"text": {"S": "changed"}} for number in range(ITEMS)})
    done, _ = until_completed(time, mail)
    found = [json.loads(bytes(item))["studentid"]["S"] for item in items_of(done)]
    assert sorted(found) == [f"SV{number:03}" for number in range(ITEMS)]


def items_of(done: Execution) -> list[Any]:
    return list(stored.open_backup(boto3.client("s3"), BUCKET, done.key).items())


@pytest.mark.parametrize("step", range(0, 120, 7))
def test_a_kill_at_any_request_loses_nothing(
    students: None, time: Time, mail: Mail, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = local()
    calls = 0
    kill_at = step

    def count(**_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise Killed

    s3 = aws.client("s3")
    for client in (aws.dynamodb, s3):
        client.meta.events.register("before-call", count, unique_id="kill")
    monkeypatch.setattr(aws, "client", lambda name: s3 if name == "s3" else boto3.client(name))
    monkeypatch.setattr("rollbook.engine.history.History.fail", lambda *_, **__: False)
    try:
        for _ in range(50):
            try:
                done = invoke(time, mail)
            except Killed:
                for key in (key for key in objects() if "/" not in key):
                    assert stored.verify(stored.open_backup(boto3.client("s3"), BUCKET, key)).items == ITEMS
                time.wall.now += timedelta(minutes=1)
                continue
            if done.status == "completed":
                break
    finally:
        for client in (aws.dynamodb, s3):
            client.meta.events.unregister("before-call", unique_id="kill")
    assert done.items == ITEMS
    assert sorted(items_of(done)) == sorted(scan.items(local().dynamodb, "studentData"))
    assert len(mail.sent) == 1


def test_an_event_starts_the_next_invocation_and_names_the_execution(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_events: list[Any] = []
    monkeypatch.setattr("rollbook.messages.bus.Bus.put", lambda _, *found: put_events.extend(found))
    invoke(time, mail)
    assert put_events == [events.BackupContinues(correlation_id=scheduled().id, table="studentData")]
    [row] = executions()
    assert row["status"] == {"S": "continuing"}


def test_an_invocation_that_gets_no_further_fails_and_the_next_one_goes_on(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(time, mail)
    invoke(time, mail)

    def throttled(*_: Any, **__: Any) -> Iterator[scan.Page]:
        raise OutOfTime("the table was throttled")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(scan, "pages", throttled)
        with pytest.raises(OutOfTime):
            backup_of(SCAN, mail, time.wall).run(scheduled(), holder="b", deadline=deadline(time))
    [row] = executions()
    assert row["status"] == {"S": "failed"}
    done = invoke(time, mail, seconds=900.0)
    assert (done.status, done.items) == ("completed", ITEMS)


def test_a_scan_of_a_table_that_was_replaced_meanwhile_begins_again(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(time, mail)
    invoke(time, mail)
    before = checkpoints.Checkpoints(resources(time.wall).history, scheduled().id).find()
    assert before is not None
    assert before.files > 0
    described = run.definitions.describe
    monkeypatch.setattr(run.definitions, "describe", lambda *given: replace(described(*given), table_id="another"))
    done, _ = until_completed(time, mail)
    assert done.items == ITEMS


def test_an_abandoned_scan_leaves_only_uploads_which_s3_deletes(students: None, time: Time, mail: Mail) -> None:
    invoke(time, mail)
    invoke(time, mail)
    uploads = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert objects() == []
    assert len(uploads) > 0


def test_a_scan_that_is_older_than_its_uploads_begins_again(students: None, time: Time, mail: Mail) -> None:
    invoke(time, mail)
    began = time.wall.now
    time.wall.now += timedelta(hours=21)
    done, _ = until_completed(time, mail)
    assert done.read_from is not None
    assert done.read_from > began + timedelta(hours=20)
    assert sorted(items_of(done)) == sorted(scan.items(local().dynamodb, "studentData"))


def test_a_table_that_fits_makes_a_document_as_before(students: None, time: Time, mail: Mail) -> None:
    done = invoke(time, mail, seconds=900.0)
    assert (done.status, done.format) == ("completed", "json")


@pytest.fixture
def function(aws: None, mail: Mail, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in ENVIRONMENT.variables().items():
        monkeypatch.setenv(name, value)
    boto3.client("sesv2").create_email_identity(EmailIdentity=PLACES.sender_email)
    return importlib.reload(importlib.import_module("handlers.backup"))


def continues(execution: str) -> dict[str, Any]:
    """The event as EventBridge delivers it."""
    event = events.BackupContinues(correlation_id=execution, table="studentData")
    detail = json.loads(msgspec.json.encode(event))
    return {"source": event.SOURCE, "detail-type": event.DETAIL_TYPE, "detail": detail}


def test_the_function_continues_the_execution_that_the_event_names(
    students: None, function: Any, clock: Clock, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        made = slow_scans(clock, patch)
        invoke(made, mail)
    answer = function.handler(continues(scheduled().id), Context(remaining_ms=900_000))
    assert answer["items"] == ITEMS
    [row] = executions()
    assert (row["status"], row["tries"]) == ({"S": "completed"}, {"N": "2"})


def test_an_event_that_comes_again_after_the_end_changes_nothing(function: Any) -> None:
    done = function.handler(continues(scheduled().id), Context())
    assert (done, executions()) == ({"message": "There is nothing to continue."}, [])


@pytest.mark.parametrize("status", ["continuing", "running"])
def test_an_execution_is_failed_when_it_shows_no_progress_for_15_minutes(clock: Clock, status: str) -> None:
    active = clock.now + timedelta(minutes=10)
    row = Execution(
        id="x", kind="backup", table_name="t", status=status, started_at=clock.now, active_at=active, lease_until=0
    )
    assert assessment._as_ended(row, active + timedelta(minutes=14)) == row
    stopped = assessment._as_ended(row, active + timedelta(minutes=16))
    assert stopped.status == "failed"
    assert "it stopped without a result" in stopped.error


def test_the_watch_reports_a_scan_whose_next_invocation_did_not_start(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(time, mail)
    used = resources(time.wall)
    notifier = Notifier(
        PLACES,
        history=used.history,
        client=lambda name: mail if name == "sesv2" else boto3.client(name),
        clock=time.wall,
    )
    watch = ExportWatch(used, notifier, timedelta(hours=24))
    assert watch.run(holder="w", deadline=deadline(time)) == {scheduled().id: "continuing"}
    time.wall.now += timedelta(minutes=16)
    assert watch.run(holder="w", deadline=deadline(time)) == {scheduled().id: "failed"}
    assert [sent["Subject"]["Data"] for sent in mail.sent] == ["Backup Failed: studentData"]
