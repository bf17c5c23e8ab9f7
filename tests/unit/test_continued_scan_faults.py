"""A scan over several invocations, when a request fails at a bad moment or two invocations work at the same time."""

from __future__ import annotations

import importlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from rollbook.contract.pauses import OutOfTime
from rollbook.engine import checkpoints, stored
from rollbook.engine.checkpoints import Checkpoints
from rollbook.engine.executions import Execution
from rollbook.engine.history import LeaseLost
from rollbook.engine.notifier import Notifier
from rollbook.engine.s3.upload import Upload
from tests.unit import test_continued_scan as scans
from tests.unit.aws import Context
from tests.unit.engine import ENVIRONMENT, PLACES, Clock, Mail, executions, objects, put, resources, scheduled
from tests.unit.test_continued_scan import BUCKET, ITEMS, SCAN, Killed, Time, invoke, until_completed


@pytest.fixture
def time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Time:
    return scans.slow_scans(clock, monkeypatch)


@pytest.fixture
def students(aws: None) -> None:
    put(**{f"SV{number:03}": {"text": {"S": "x" * 450}} for number in range(ITEMS)})


def assert_whole(done: Execution) -> None:
    backup = stored.open_backup(boto3.client("s3"), BUCKET, done.key)
    whole = stored.verify(backup)
    found = Counter(bytes(item) for item in scans.items_of(done))
    assert (done.items, whole.items, len(found), set(found.values())) == (ITEMS, ITEMS, ITEMS, {1})


@pytest.mark.parametrize("call", [2, 3, 5])
def test_a_file_whose_upload_runs_out_of_time_is_not_counted(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    invoke(time, mail)
    write, calls = Upload.write, 0

    def out_of_time(upload: Upload, chunk: bytes) -> None:
        nonlocal calls
        write(upload, chunk)
        calls += 1
        if calls == call:
            raise OutOfTime("S3 is slow")

    monkeypatch.setattr(Upload, "write", out_of_time)
    if call == 5:  # the first file was saved
        assert invoke(time, mail).status == "continuing"
    else:
        with pytest.raises(OutOfTime):
            invoke(time, mail)
    done, _ = until_completed(time, mail) if call == 5 else (invoke(time, mail, seconds=900.0), 1)
    assert_whole(done)


@pytest.mark.parametrize("is_written", [True, False])
@pytest.mark.parametrize("error", [OutOfTime("slow"), ConnectionClosedError(endpoint_url="https://x.example")])
def test_a_checkpoint_whose_answer_is_lost_counts_its_file_once(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch, error: Exception, is_written: bool
) -> None:
    invoke(time, mail)
    save, calls = Checkpoints._save, 0

    def lost(self: Checkpoints, row: str, value: Any, now: datetime) -> None:
        nonlocal calls
        is_first = isinstance(value, checkpoints.Checkpoint) and value.files == 1 and not calls
        if is_first:
            calls += 1
        if is_written or not is_first:
            save(self, row, value, now)
        if is_first:
            raise error

    monkeypatch.setattr(Checkpoints, "_save", lost)
    with pytest.raises(type(error)):
        invoke(time, mail)
    assert calls == 1
    assert_whole(invoke(time, mail, seconds=900.0))


def test_an_invocation_that_was_overtaken_changes_no_checkpoint(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(time, mail)
    save, calls = Checkpoints._save, 0

    def overtaken(self: Checkpoints, row: str, value: Any, now: datetime) -> None:
        nonlocal calls
        if isinstance(value, checkpoints.Checkpoint) and value.files == 1 and not calls:
            calls += 1
            time.wall.now += timedelta(minutes=1)  # the lease expires
            assert invoke(time, mail, seconds=35.0).status == "continuing"
        save(self, row, value, now)

    monkeypatch.setattr(Checkpoints, "_save", overtaken)
    with pytest.raises(LeaseLost):
        invoke(time, mail)
    assert calls == 1
    assert_whole(until_completed(time, mail)[0])


@pytest.fixture
def function(aws: None, mail: Mail, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in ENVIRONMENT.variables().items():
        monkeypatch.setenv(name, value)
    boto3.client("sesv2").create_email_identity(EmailIdentity=PLACES.sender_email)
    return importlib.reload(importlib.import_module("handlers.backup"))


def test_a_kill_before_the_mail_leaves_the_mail_to_the_retry_of_the_event(
    students: None, function: Any, clock: Clock, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    clock.now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        time = scans.slow_scans(clock, patch)
        invoke(time, mail)
        patch.setattr(Notifier, "completed", killed)
        with pytest.raises(Killed):
            invoke(time, mail, seconds=900.0)
    event = scans.continues(scheduled().id)
    assert function.handler(event, Context())["items"] == ITEMS
    [row] = executions()
    assert row["mailedAt"]
    assert function.handler(event, Context()) == {"message": "There is nothing to continue."}


def test_a_table_that_cannot_be_read_in_time_fails_instead_of_beginning_again(
    students: None, function: Any, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(time, mail)
    invoke(time, mail)
    monkeypatch.setattr(checkpoints, "LONGEST", timedelta(seconds=60))
    with pytest.raises(RuntimeError, match=r"was not read within .*; .* items in \d+ invocations"):
        invoke(time, mail)
    [row] = executions()
    assert row["status"] == {"S": "failed"}
    answer = function.handler(scans.continues(scheduled().id), Context())
    assert answer == {"message": "There is nothing to continue."}


def test_files_are_completed_by_the_next_invocation_if_the_last_page_used_up_the_time(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []
    files = Checkpoints.files
    end = 0.0

    def looked_at(self: Checkpoints, state: checkpoints.Checkpoint) -> Any:
        left.append(end - time.now)
        return files(self, state)

    monkeypatch.setattr(Checkpoints, "files", looked_at)
    invoke(time, mail)
    began = time.now
    monkeypatch.setattr(time, "seconds_a_page", 0.0)
    pages = sum(1 for _ in scans.scan.pages(scans.local().dynamodb, "studentData"))
    monkeypatch.setattr(time, "seconds_a_page", 10.0)
    end = began + pages * 10.0 + 17.0  # the reserve is 15 s
    assert invoke(time, mail, seconds=end - time.now).status == "continuing"
    assert (left, objects()) == ([], [])
    assert_whole(until_completed(time, mail)[0])


def test_the_reads_are_those_of_the_first_invocation(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke(time, mail)
    invoke(time, mail)
    done, _ = until_completed(time, mail, scans.replace(SCAN, consistent_reads=True))
    assert not done.is_consistent


def test_a_scan_whose_uploads_were_deleted_begins_again(
    students: None, time: Time, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleted(_: Upload) -> None:
        raise ClientError({"Error": {"Code": "NoSuchUpload", "Message": "gone"}}, "CompleteMultipartUpload")

    invoke(time, mail)
    with monkeypatch.context() as patch:
        patch.setattr(Upload, "complete", deleted)
        with pytest.raises(RuntimeError, match="begins again"):
            invoke(time, mail, seconds=900.0)
    assert objects() == []
    assert_whole(invoke(time, mail, seconds=900.0))


def test_a_table_that_fits_leaves_no_row_of_a_scan(students: None, time: Time, mail: Mail) -> None:
    done = invoke(time, mail, seconds=900.0)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=done.key)
    invoke(time, mail, seconds=900.0)
    assert resources(time.wall).history.recall(f"scan#{done.id}") is None


def test_a_backup_that_is_made_again_is_not_called_verified(students: None, time: Time, mail: Mail) -> None:
    done = invoke(time, mail, seconds=900.0)
    history = resources(time.wall).history
    history.remember(done.id, {"verifiedAt": "2025-07-08T01:00:00Z", "damagedAt": "2025-07-08T01:00:00Z"})
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=done.key)
    assert invoke(time, mail, seconds=900.0).status == "completed"
    row = history.recall(done.id)
    assert row is not None
    assert (row.get("verifiedAt") or "", row.get("damagedAt") or "") == ("", "")
