"""The limits of an invocation: pauses end before it, a switch has time, leases last, duplicates do no harm."""

from __future__ import annotations

import ast
import importlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from ops.console import ROOT
from rollbook.contract import pauses
from rollbook.engine import backup as run
from rollbook.engine import history
from rollbook.engine.deadline import Deadline, OutOfTime
from rollbook.engine.dynamodb import raw, scan
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.executions import Execution
from rollbook.engine.export_backup import ExportBackup
from rollbook.engine.lease import LeaseRenewer
from tests.unit.aws import Context
from tests.unit.engine import (
    ENVIRONMENT,
    JOB,
    MINUTE,
    PLACES,
    SCHEDULED,
    Clock,
    Mail,
    backup_of,
    executions,
    local,
    objects,
    put,
    resources,
    scheduled,
    soon,
)

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "Scan")


class Time:
    """A monotonic clock that pauses move on. It remembers the longest one."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def throttle() -> None:
    raise THROTTLED


@pytest.mark.parametrize("seconds", [20, 40, 100, 900])
def test_throttling_ends_before_the_time_does(seconds: int) -> None:
    clock = Time()
    limiter = Deadline(seconds, 128, clock, clock.sleep).limiter(JOB)
    with pytest.raises((OutOfTime, ClientError)):
        limiter.retry_throttled(throttle)
    assert clock.now <= seconds - pauses.RESERVE_SECONDS


def test_a_low_limit_ends_before_the_time_does() -> None:
    clock = Time()
    limiter = Deadline(40, 128, clock, clock.sleep).limiter(replace(JOB, read_units_per_second=1.0))
    limiter.spend(128)
    with pytest.raises(OutOfTime, match="the rate of studentData or its limit is too low, and a pause of 128 s"):
        limiter.wait()
    assert clock.now == 0


def test_a_pause_outside_a_scan_ends_before_the_invocation_does(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(pauses.time, "sleep", slept.append)
    pauses.end_at(time.monotonic() + 20)
    pauses.sleep(4)
    with pytest.raises(OutOfTime, match=r"a pause of 6\.0 s does not fit into the [45]\.\d s"):
        pauses.sleep(6)
    pauses.sleep_in_reserve(16)
    with pytest.raises(OutOfTime):
        pauses.sleep_in_reserve(18)
    assert slept == [4, 16]


@pytest.mark.parametrize("service", ["dynamodb", "s3", "events"])
def test_a_pause_of_botocore_ends_before_the_invocation_does(
    aws: None, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", slept.append)
    client = raw.Aws(region_name="ap-southeast-1")
    used = client.dynamodb if service == "dynamodb" else client.client(service)
    used.meta.events.register("before-send", timeout)
    request = {"dynamodb": "list_tables", "s3": "list_buckets", "events": "list_rules"}[service]
    pauses.end_at(time.monotonic() + 3.5)
    with pytest.raises(OutOfTime):
        getattr(used, request)()
    assert sum(slept) < 3.5


def timeout(**_: Any) -> None:
    raise ReadTimeoutError(endpoint_url="https://aws.example")


# Of each of these, the reason is in its module: it is not a pause of the work.
ALLOWED = {
    ("rollbook/contract/pauses.py", "sleep"),
    ("rollbook/engine/dynamodb/workers.py", "wait"),  # for threads whose own pauses are limited
    ("rollbook/engine/lease.py", "wait"),  # in the background; the end of the work ends it at once
}


def pausing(path: Path) -> Iterator[tuple[str, str]]:
    """Every call of a `sleep` or a `wait` that does not go through `pauses` or a limiter."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            limited = {"pauses.sleep", "self.sleep", "self._sleep", "self._limiter.wait", "self.wait"}
            if last in {"sleep", "wait"} and called not in limited:
                yield str(path.relative_to(ROOT)), last
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep" and path.name != "pauses.py":
            yield str(path.relative_to(ROOT)), "time.sleep"


def test_every_pause_of_the_functions_goes_through_the_limited_ones() -> None:
    sources = [*(ROOT / "rollbook").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]
    assert {found for path in sources for found in pausing(path)} == ALLOWED


def test_the_search_for_pauses_finds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_limits.ROOT", tmp_path)
    (tmp_path / "a.py").write_text("import time, threading\ntime.sleep(1)\nthreading.Event().wait()\nx = time.sleep\n")
    assert sorted(pausing(tmp_path / "a.py")) == [("a.py", kind) for kind in ("sleep", *["time.sleep"] * 2, "wait")]


AUTO = replace(JOB, engine="auto")


@pytest.fixture
def recovery(aws: None) -> None:
    boto3.client("dynamodb").update_continuous_backups(
        TableName="studentData", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


@pytest.mark.parametrize("is_throttled", [False, True])
def test_a_scan_switches_to_an_export_with_time_to_spare(
    recovery: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch, is_throttled: bool
) -> None:
    put(SV001={"text": {"S": "x"}})
    timer, left = Time(), []
    deadline = Deadline(100, 128, timer, timer.sleep)
    start = ExportBackup.start

    def pages(*_: Any, limiter: RateLimiter, **__: Any) -> Iterator[scan.Page]:
        while True:
            if is_throttled:
                limiter.retry_throttled(throttle)
            timer.now += 3
            yield scan.Page([b"{}"], 1.0)

    def started(*given: Any) -> Any:
        left.append(100 - timer.now)
        return start(*given)

    monkeypatch.setattr(scan, "pages", pages)
    monkeypatch.setattr(ExportBackup, "start", started)
    row = backup_of(AUTO, mail, clock).run(scheduled(), holder="a", deadline=deadline)
    assert row is not None
    assert row.status == "exporting"
    assert left[0] >= 25


def test_a_switch_that_failed_is_not_scanned_again(
    recovery: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[int] = []

    def pages(*_: Any, **__: Any) -> Iterator[scan.Page]:
        scans.append(1)
        raise OutOfTime("the scan was too slow")
        yield

    def refuse(*_: Any) -> None:
        raise ClientError({"Error": {"Code": "LimitExceededException", "Message": "x"}}, "Export")

    monkeypatch.setattr(scan, "pages", pages)
    work = backup_of(AUTO, mail, clock)
    with monkeypatch.context() as patch:
        patch.setattr(ExportBackup, "start", refuse)
        with pytest.raises(ClientError):
            work.run(scheduled(), holder="a", deadline=soon())
    row = work.run(scheduled(), holder="b", deadline=soon())
    assert row is not None
    assert (row.status, len(scans)) == ("exporting", 1)
    assert "the scan was too slow" in row.reason


def sized(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    described = run.definitions.describe
    monkeypatch.setattr(run.definitions, "describe", lambda *given: replace(described(*given), size_bytes=size_bytes))


@pytest.mark.parametrize("engine", ["scan", "auto"])
@pytest.mark.parametrize("size_bytes", [0, 10**12])
def test_a_stale_size_keeps_no_table_from_its_backup(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch, engine: Any, size_bytes: int
) -> None:
    put(SV001={}, SV002={})
    sized(monkeypatch, size_bytes)
    done = backup_of(replace(JOB, engine=engine), mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert done is not None
    assert (done.status, done.items, len(mail.sent)) == ("completed", 2, 1)


def test_a_stale_size_leaves_no_wrong_rate(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(SV001={})
    sized(monkeypatch, 50_000_000)
    done = backup_of(replace(JOB, engine="scan"), mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert done is not None
    assert done.scan_rate is None


def test_consistent_reads_are_projected_by_their_own_units() -> None:
    clock = Time()

    def pages() -> Any:
        for _ in range(500):
            clock.now += 1.0
            yield scan.Page([b"{}"], 256.0)  # 1 MiB

    deadline = Deadline(115, 128, clock, clock.sleep)
    with pytest.raises(OutOfTime, match="whole table needs 2"):
        list(deadline.watch(pages(), 200 * 2**20, is_consistent=True))
    assert clock.now < 30


def test_two_deliveries_of_one_event_make_one_backup(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.variables().items():
        monkeypatch.setenv(name, value)
    boto3.client("sesv2").create_email_identity(EmailIdentity=PLACES.sender_email)
    function = importlib.reload(importlib.import_module("handlers.backup"))
    put(SV001={})
    read = scan.pages
    answers: list[dict[str, Any]] = []

    def slow(*arguments: Any, **options: Any) -> Iterator[scan.Page]:
        if not answers:
            answers.append({})
            answers[0] = function.handler(SCHEDULED, Context("the same"))
        yield from read(*arguments, **options)

    monkeypatch.setattr(scan, "pages", slow)
    answer = function.handler(SCHEDULED, Context("the same"))
    assert "is being made" in answers[0]["message"]
    assert answer["items"] == 1
    [row] = executions()
    assert (row["status"]["S"], row["tries"]["N"], len(objects())) == ("completed", "1", 1)


def test_the_retry_after_a_minute_continues_what_was_killed(backup: run.Backup, clock: Clock) -> None:
    kept = resources(clock).history
    kept.claim(scheduled().id, holder="a", now=clock(), until=clock() + run.LEASE, values={"kind": "backup"})
    assert backup.run(scheduled(), holder="b", deadline=Deadline.after(900)) is None
    clock.now += MINUTE
    done = backup.run(scheduled(), holder="b", deadline=Deadline.after(900))
    assert done is not None
    assert done.status == "completed"


def test_a_late_failure_does_not_replace_a_completed_row(
    backup: run.Backup, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = history.History.complete

    def lost(*arguments: Any, **options: Any) -> None:
        complete(*arguments, **options)
        raise ReadTimeoutError(endpoint_url="https://aws.example")

    with monkeypatch.context() as patch:
        patch.setattr(history.History, "complete", lost)
        with pytest.raises(ReadTimeoutError):
            backup.run(scheduled(), holder="a", deadline=soon())
    [row] = executions()
    assert row["status"] == {"S": "completed"}
    assert mail.sent == []
    done = backup.run(scheduled(), holder="b", deadline=soon())
    assert done is not None
    assert (done.status, len(mail.sent)) == ("completed", 1)


def test_a_lease_is_renewed_while_its_holder_waits(aws: None, clock: Clock) -> None:
    kept = resources(clock).history
    lease = timedelta(seconds=0.3)
    kept.claim("x", holder="a", now=clock(), until=clock() + lease, values={"kind": "restore", "tableName": "t"})
    clock.now += MINUTE
    renewed = threading.Event()
    extend = kept.extend

    def extended(*arguments: Any, **options: Any) -> None:
        extend(*arguments, **options)
        renewed.set()

    kept.extend = extended  # type: ignore[method-assign]
    with LeaseRenewer(kept, "x", "a", clock, lease, lambda: None):
        assert renewed.wait(10)
    found: Execution | None = kept.get("x")
    assert found is not None
    assert found.active_at == clock.now.replace(microsecond=0) or found.active_at == clock.now
    threads = [each for each in threading.enumerate() if "_renew_while_waiting" in each.name]
    assert threads == []


def test_a_lease_that_was_lost_while_waiting_ends_the_work(aws: None, clock: Clock) -> None:
    kept = resources(clock).history
    lease = timedelta(seconds=0.3)
    kept.claim("x", holder="b", now=clock(), until=clock() + lease, values={"kind": "restore", "tableName": "t"})
    renewer = LeaseRenewer(kept, "x", "a", clock, lease, lambda: None)
    with renewer:
        renewer._thread.join(10)
        with pytest.raises(history.LeaseLost, match="b holds it now"):
            renewer.renew_if_due({})


def test_a_restore_of_a_throttled_table_keeps_its_lease(aws: None) -> None:
    """botocore's own pauses are shorter than a lease together; all longer ones renew it."""
    attempts = local().dynamodb.meta.config.retries["total_max_attempts"]
    assert sum(0.05 * 2**number for number in range(attempts - 1)) < 10
