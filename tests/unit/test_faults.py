"""Backup and restore over HTTP that fails in every way: no item lost or twice, no backup visible that is not whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore import retryhandler
from botocore.exceptions import BotoCoreError, ClientError

from rollbook.contract.jobs import BackupJob
from rollbook.engine import stored
from rollbook.engine.dynamodb import batch_write, rate_limiter, raw, scan
from rollbook.engine.restore_request import AlreadyRunning, Request
from rollbook.engine.s3 import upload
from tests.tiers import slow_beyond
from tests.unit import child, gateway
from tests.unit.engine import (
    JOB,
    PLACES,
    Clock,
    backup_of,
    executions,
    local,
    objects,
    put,
    restorer,
    scheduled,
    soon,
    table,
)
from tests.unit.gateway import Fault, Gateway, well

ITEMS = 120
# DynamoDB's page, a five-hundredth of it: many pages of few bytes.
PAGE_BYTES = 2_000
EXPORT = replace(JOB, format="dynamodb-export", compression="gzip", segments=2)
JOBS = {"document": JOB, "export, two segments": EXPORT}
TEMPORARY = [
    gateway.throttled,
    gateway.broken,
    gateway.reset,
    gateway.lost,
    gateway.truncated,
    gateway.flipped,
    gateway.slow,
]
# How many requests each makes, so that a kill can be at any of them.
REQUESTS = {"document": 40, "export, two segments": 40, "restore": 38}
Work = Callable[[], object]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with gateway.open_gateway() as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv(child.GATEWAY, served)
        yield served


@pytest.fixture
def remote(aws: None, address: str, monkeypatch: pytest.MonkeyPatch) -> raw.Aws:
    monkeypatch.setattr("moto.dynamodb.models.table.RESULT_SIZE_LIMIT", PAGE_BYTES)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", child.PART_BYTES)
    monkeypatch.setattr(upload, "_PART_BYTES", child.PART_BYTES)
    monkeypatch.setattr(retryhandler, "delay_exponential", lambda **_: 0.0)
    monkeypatch.setattr(batch_write, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(rate_limiter.time, "sleep", lambda _: None)
    Gateway.fault, Gateway.puts = well, 0
    chance = random.Random(0)
    put(**{f"SV{number:03}": {"text": {"S": chance.randbytes(150).hex()}} for number in range(ITEMS)})
    boto3.client("sesv2").create_email_identity(EmailIdentity=PLACES.sender_email)
    return child.remote_of(address)


def disturb(fault: Callable[[Gateway], Fault]) -> None:
    """Let each request have the fault that is chosen for it, one request after the other."""
    lock = threading.Lock()

    def choose(call: Gateway) -> None:
        with lock:
            chosen = fault(call)
        chosen(call)

    Gateway.fault = choose


def at_random(seed: int, part: float) -> None:
    chance = random.Random(seed)
    disturb(lambda _: chance.choice(TEMPORARY) if chance.random() < part else well)


def until_done(work: Work, after_each: Callable[[], None] = lambda: None) -> Any:
    """Try as Lambda and an operator do, and look after each failure."""
    for _ in range(30):
        try:
            return work()
        except (BotoCoreError, ClientError, RuntimeError):
            after_each()
    raise AssertionError("it never ended well")


def of_backup(job: BackupJob, remote: raw.Aws, clock: Clock, holder: str = "a") -> Work:
    return lambda: backup_of(job, None, clock, remote).run(scheduled(), holder=holder, deadline=soon())


def backups() -> list[str]:
    """Return the keys by which a backup is known: documents and descriptions."""
    return [key for key in objects() if "/" not in key]


def expect_whole(job: BackupJob) -> str:
    [key] = backups()
    backup = stored.open_backup(boto3.client("s3"), PLACES.s3_bucket_name, key)
    assert sorted(backup.items()) == sorted(scan.items(local().dynamodb, "studentData"))
    [row] = executions()
    assert (row["status"]["S"], int(row["items"]["N"])) == ("completed", ITEMS)
    if job.format == "json":
        assert objects() == [key]
    return key


def expect_none_or_whole() -> None:
    s3 = boto3.client("s3")
    for key in backups():
        assert stored.verify(stored.open_backup(s3, PLACES.s3_bucket_name, key)).items == ITEMS


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
@pytest.mark.parametrize("seed", slow_beyond(2, range(6)))
def test_a_backup_among_faults_is_whole_or_not_there(remote: raw.Aws, clock: Clock, seed: int, job: BackupJob) -> None:
    at_random(seed, 0.3)

    def look() -> None:
        clock.now += timedelta(seconds=1)
        expect_none_or_whole()

    until_done(of_backup(job, remote, clock), after_each=look)
    Gateway.fault = well
    until_done(of_backup(job, remote, clock))
    expect_whole(job)


@pytest.mark.parametrize("seed", slow_beyond(2, range(6)))
def test_a_restore_among_faults_brings_every_item_back(remote: raw.Aws, clock: Clock, seed: int) -> None:
    of_backup(JOB, remote, clock)()
    request = Request(backups()[0], "restored", is_new=True)
    at_random(seed, 0.2)

    def work() -> object:
        clock.now += timedelta(minutes=1)
        return restorer(clock, remote).run(request, holder="a")

    assert until_done(work).items == ITEMS
    assert table("restored") == table("studentData")


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
@pytest.mark.parametrize("fault", [gateway.denied, gateway.broken, gateway.reset, gateway.throttled])
def test_a_part_that_cannot_be_uploaded_leaves_nothing_and_the_next_run_makes_the_backup(
    remote: raw.Aws, clock: Clock, fault: Fault, job: BackupJob
) -> None:
    disturb(lambda call: fault if call.command == "PUT" and "partNumber=2" in call.path else well)
    part = replace(job, compression="none", segments=1)
    with pytest.raises((BotoCoreError, ClientError)):
        of_backup(part, remote, clock)()
    assert objects() == []
    assert not boto3.client("s3").list_multipart_uploads(Bucket=PLACES.s3_bucket_name).get("Uploads")
    [row] = executions()
    assert row["status"]["S"] == "failed"
    Gateway.fault = well
    of_backup(part, remote, clock)()
    expect_whole(part)


@pytest.mark.parametrize("operation", ["Scan", "POST", "PUT"])
def test_a_permission_that_is_lost_midway_is_an_error_and_leaves_nothing(
    remote: raw.Aws, clock: Clock, operation: str
) -> None:
    seen: Counter[str] = Counter()

    def lose(call: Gateway) -> Fault:
        seen[call.operation] += call.service in {"s3", "dynamodb"}
        return gateway.denied if call.operation == operation and seen[operation] >= 2 else well

    disturb(lose)
    with pytest.raises(ClientError, match="AccessDenied"):
        of_backup(JOB, remote, clock)()
    assert objects() == []
    [row] = executions()
    assert "AccessDenied" in row["error"]["S"]


def test_a_table_that_vanishes_midway_is_an_error_and_leaves_nothing(remote: raw.Aws, clock: Clock) -> None:
    seen: Counter[str] = Counter()

    def vanish(call: Gateway) -> Fault:
        seen[call.operation] += 1
        if seen["Scan"] == 3 and call.operation == "Scan":
            boto3.client("dynamodb").delete_table(TableName="studentData")
        return well

    disturb(vanish)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        of_backup(JOB, remote, clock)()
    assert objects() == []


def test_a_table_that_changes_midway_loses_and_doubles_nothing_that_was_left_alone(
    remote: raw.Aws, clock: Clock
) -> None:
    before = set(scan.items(local().dynamodb, "studentData"))
    dynamodb = boto3.client("dynamodb")
    seen: Counter[str] = Counter()

    def change(call: Gateway) -> Fault:
        seen[call.operation] += 1
        if call.operation == "Scan":
            number = seen["Scan"]
            dynamodb.put_item(TableName="studentData", Item={"studentid": {"S": f"new{number}"}})
            dynamodb.put_item(TableName="studentData", Item={"studentid": {"S": f"SV{number:03}"}, "x": {"S": "new"}})
        return well

    disturb(change)
    row = of_backup(JOB, remote, clock)()
    [key] = backups()
    found = list(stored.open_backup(boto3.client("s3"), PLACES.s3_bucket_name, key).items())
    after = set(scan.items(local().dynamodb, "studentData"))
    assert len(found) == len(set(found)) == row.items  # type: ignore[index]
    assert before & after <= set(found) <= before | after


def test_two_runs_at_once_make_one_backup_and_one_mail(remote: raw.Aws, clock: Clock) -> None:
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda holder=holder: results.append(of_backup(JOB, remote, clock, holder)()))
        for holder in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) >= 1
    expect_whole(JOB)
    assert boto3.client("ses").get_send_quota()["SentLast24Hours"] == 1


def test_two_restores_at_once_are_one_restore(remote: raw.Aws, clock: Clock) -> None:
    of_backup(JOB, remote, clock)()
    request = Request(backups()[0], "restored", is_new=True)
    inside = threading.Event()
    refused: list[str] = []

    def second(call: Gateway) -> Fault:
        if call.operation == "BatchWriteItem" and not inside.is_set():
            inside.set()
            Gateway.fault = well
            with pytest.raises(AlreadyRunning) as caught:
                restorer(clock, remote).run(request, holder="b")
            refused.append(str(caught.value))
        return well

    disturb(second)
    restorer(clock, remote, parallel=1).run(request, holder="a")
    assert refused == [f"{request.id} is already running; its holder is a"]
    assert table("restored") == table("studentData")


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)], ids=["ahead", "back"])
def test_a_clock_that_jumps_changes_nothing_of_what_is_saved(remote: raw.Aws, clock: Clock, jump: timedelta) -> None:
    seen: Counter[str] = Counter()

    def leap(call: Gateway) -> Fault:
        seen[call.operation] += 1
        if call.operation == "Scan" and seen["Scan"] == 3:
            clock.now += jump
        return well

    disturb(leap)
    of_backup(JOB, remote, clock)()
    key = expect_whole(JOB)
    seen.clear()
    disturb(leap)
    restorer(clock, remote).run(Request(key, "restored", is_new=True), holder="a")
    assert table("restored") == table("studentData")


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.unit.child"])


def killed_at_random(seed: int, of: int, target: Callable[..., None], *arguments: Any) -> None:
    """Kill a process at one of its requests: before it is carried out, after it, or halfway through the answer."""
    chance = random.Random(seed)
    number, moment = chance.randrange(1, of + 1), chance.choice(["before", "after", "halfway"])
    process = _forks.Process(target=target, args=arguments)
    has_begun = threading.Event()
    count = 0

    def kill(call: Gateway) -> None:
        if moment != "before":
            answer = call.forward()
        if moment == "halfway":
            call.send_response(answer.status)
            call.send_header("Content-Length", str(len(answer.body)))
            call.end_headers()
            call.wfile.write(answer.body[: len(answer.body) // 2])
        has_begun.wait()
        os.kill(process.pid or 0, signal.SIGKILL)
        call.close_connection = True

    def choose(_: Gateway) -> Fault:
        nonlocal count
        count += 1
        return kill if count == number else well

    disturb(choose)
    process.start()
    has_begun.set()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    Gateway.wait_until_quiet()
    Gateway.fault = well


@pytest.mark.parametrize("seed", slow_beyond(4, range(50)))
def test_a_backup_that_is_killed_is_whole_or_not_there_and_the_next_try_makes_it(
    remote: raw.Aws, address: str, clock: Clock, seed: int
) -> None:
    name = list(JOBS)[seed % 2]
    job = JOBS[name]
    killed_at_random(seed, REQUESTS[name], child.back_up, address, job)
    expect_none_or_whole()
    of_backup(job, remote, clock)()
    expect_whole(job)


@pytest.mark.parametrize("seed", slow_beyond(4, range(50)))
def test_a_restore_that_is_killed_goes_on_and_writes_every_item_once(
    remote: raw.Aws, address: str, clock: Clock, seed: int
) -> None:
    of_backup(JOB, remote, clock)()
    killed_at_random(seed, REQUESTS["restore"], child.bring_back, address, backups()[0])
    clock.now += timedelta(minutes=1)
    restorer(clock, remote).run(Request(backups()[0], "restored", is_new=True), holder="b")
    assert table("restored") == table("studentData")
    assert Gateway.puts == ITEMS
