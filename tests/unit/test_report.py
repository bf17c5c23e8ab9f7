"""The report: on time, late by so much, unknown; what it costs; and never a success that it did not see."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError

from infra.observability import report_settings
from infra.settings import ENVIRONMENTS, load
from rollbook.contract import moments
from rollbook.contract.jobs import ReportedTable
from rollbook.engine import backup as run
from rollbook.reports import ages, ask, costs, facts, page
from rollbook.reports.report import Report
from tests.unit.aws import Context
from tests.unit.engine import KEY, MIDNIGHT, PLACES, Clock, put, scheduled, soon

DAY = timedelta(days=1)
SETTINGS = load(ENVIRONMENTS / "workshop.toml")
ASKED = replace(report_settings.variables(SETTINGS), s3_bucket_name=PLACES.s3_bucket_name, vault_name="", plan_name="")


@pytest.fixture
def schedule(aws: None) -> None:
    scheduler = boto3.client("scheduler")
    scheduler.create_schedule_group(Name=SETTINGS.backups.schedule_group)
    set_schedule("create_schedule", "ENABLED")


def set_schedule(call: str, state: str) -> None:
    target = {
        "Arn": "arn:aws:lambda:ap-southeast-1:123456789012:function:f",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
    }
    getattr(boto3.client("scheduler"), call)(
        GroupName=SETTINGS.backups.schedule_group,
        Name=SETTINGS.backups.schedule_name,
        ScheduleExpression="cron(0 0 * * ? *)",
        ScheduleExpressionTimezone="UTC",
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
        State=state,
        Target=target,
    )


def seen(
    now: datetime,
    client: Callable[[str], Any] = boto3.client,
    tables: Sequence[ReportedTable] = SETTINGS.reported_tables,
    **changes: str,
) -> Report:
    return ask.ask(replace(ASKED, **changes), tables, client, now=now, period=timedelta(days=7))


def made(backup: run.Backup) -> None:
    put(SV001={"name": {"S": "An"}}, SV002={"name": {"S": "Bình"}})
    backup.run(scheduled(), holder="1", deadline=soon())


def test_a_backup_in_its_time_is_on_time(schedule: None, backup: run.Backup) -> None:
    made(backup)
    found = seen(MIDNIGHT + timedelta(hours=12))
    [table] = found.tables
    assert (found.is_good, table.state, table.is_late, table.last_key) == (True, "on time", False, KEY)
    assert table.next_at == MIDNIGHT + DAY
    assert (table.executions, table.success_rate, table.items) == ({"completed": 1}, 1.0, 2)
    assert table.rpo.reached_seconds == 12 * 3600 - 3


def test_a_schedule_that_was_switched_off_is_late_by_three_hours(schedule: None, backup: run.Backup) -> None:
    made(backup)
    set_schedule("update_schedule", "DISABLED")
    found = seen(MIDNIGHT + DAY + timedelta(hours=3))
    [table] = found.tables
    assert (table.state, table.why, table.is_late) == ("late by 3 h", "its schedule is disabled", True)
    assert (table.next_at, table.is_scheduled, found.is_good) == (None, False, False)
    text = page.text(found, UTC)
    assert "studentData: late by 3 h (its schedule is disabled)" in text
    assert "never: the schedule is disabled" in text
    assert "late by 2 d 3 h" in page.text(seen(MIDNIGHT + 3 * DAY + timedelta(hours=3)), UTC)


def test_a_run_may_still_come_within_its_window(schedule: None, backup: run.Backup) -> None:
    made(backup)
    [table] = seen(MIDNIGHT + DAY + timedelta(minutes=19)).tables
    assert (table.state, table.why) == ("on time", "the run of 2025-07-09 00:00Z may not have ended yet")
    [table] = seen(MIDNIGHT + DAY + timedelta(minutes=21)).tables
    assert table.state == "late by 21 min"


def test_no_backup_at_all_is_late(schedule: None) -> None:
    [table] = seen(MIDNIGHT + timedelta(hours=4)).tables
    assert (table.state, table.why) == ("late by 4 h", "a run was due, and there is no backup")
    assert (table.last_at, table.success_rate, table.rpo.is_met, table.costs) == (None, None, None, [])


def test_a_success_whose_object_is_gone_is_none(schedule: None, backup: run.Backup) -> None:
    made(backup)
    s3 = boto3.client("s3")
    s3.delete_object(Bucket=PLACES.s3_bucket_name, Key=KEY)
    [table] = seen(MIDNIGHT + timedelta(hours=4)).tables
    assert table.state == "late by 4 h"
    assert (table.last_key, table.success_rate) == (None, 0.0)
    assert table.executions == {"completed": 1, "completed, object gone": 1}
    assert dict(page.facts_of(table, UTC))["Executions"] == "1 completed (1 object gone)"


def test_the_cost_of_several_tables_names_the_table(schedule: None, backup: run.Backup) -> None:
    made(backup)
    found = seen(MIDNIGHT + timedelta(hours=4))
    [table] = found.tables
    other = msgspec.structs.replace(table, table="other")
    both = page.costs_of(msgspec.structs.replace(found, tables=[table, other]))
    assert {cost.component for cost in both} >= {"studentData: SES", "other: SES"}
    assert "SES" in {cost.component for cost in page.costs_of(found)}


def test_a_failure_is_counted_with_its_reason(schedule: None, backup: run.Backup) -> None:
    boto3.client("s3").delete_bucket(Bucket=PLACES.s3_bucket_name)
    with pytest.raises(ClientError):
        backup.run(scheduled(), holder="1", deadline=soon())
    found = seen(MIDNIGHT + timedelta(hours=4))
    [table] = found.tables
    assert (table.executions, table.success_rate) == ({"failed": 1}, 0.0)
    assert "NoSuchBucket" in table.last_errors[0]
    assert any(line.startswith("the bucket could not be read") for line in found.unknown)


@pytest.mark.parametrize("service", ["dynamodb", "s3", "scheduler"])
def test_what_cannot_be_read_is_unknown_and_not_good(schedule: None, backup: run.Backup, service: str) -> None:
    made(backup)

    class Denied:
        def __getattr__(self, name: str) -> Any:
            def refuse(*_: Any, **__: Any) -> Any:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, name)

            return refuse

    found = seen(MIDNIGHT + timedelta(hours=4), lambda name: Denied() if name == service else boto3.client(name))
    assert not found.is_good
    assert any("AccessDenied" in line for line in found.unknown)
    [table] = found.tables
    if service == "dynamodb":
        assert (table.state, table.is_late, table.executions, table.last_at) == ("unknown", None, None, None)
    if service == "scheduler":
        assert (table.state, table.next_at, table.expression) == ("on time", None, None)
        assert "Next:           unknown" in page.text(found, UTC)


def test_the_cost_is_that_of_the_steady_state(schedule: None, backup: run.Backup, clock: Clock) -> None:
    made(backup)
    found = seen(MIDNIGHT + timedelta(hours=4))
    costs = {cost.component: cost for cost in found.tables[0].costs}
    prices = json.loads(ASKED.prices)
    [stored] = boto3.client("s3").list_objects_v2(Bucket="student-backup")["Contents"]
    # One backup a day, kept for a year, and S3 moves none under 128 KB.
    assert costs["S3 STANDARD"].dollars == pytest.approx(365 * stored["Size"] / 1e9 * prices["s3_standard_gb_month"])
    assert not {"S3 STANDARD_IA", "S3 GLACIER"} & costs.keys()
    assert costs["Scheduler"].dollars == pytest.approx(30.4e-6)
    assert found.monthly_dollars == pytest.approx(sum(cost.dollars for cost in costs.values()), abs=0.005)
    assert any("S3 does not move objects under 128 KB to a cheaper class." in line for line in found.tables[0].advice)


@pytest.mark.parametrize(
    ("size", "moves_small", "days"),
    [
        (131_072, False, {"STANDARD": 30, "STANDARD_IA": 60, "GLACIER": 275}),
        (131_071, False, {"STANDARD": 365}),
        (131_071, True, {"STANDARD": 90, "GLACIER": 275}),
    ],
)
def test_only_what_s3_moves_is_reckoned_in_a_cheaper_class(size: int, moves_small: bool, days: dict[str, int]) -> None:
    [table] = load(ENVIRONMENTS / "workshop.toml").reported_tables
    assert costs.days_in_classes(replace(table, moves_small=moves_small), size) == days


def test_an_object_in_glacier_is_billed_40_kb_more(schedule: None, backup: run.Backup, clock: Clock) -> None:
    made(backup)
    [told] = load(ENVIRONMENTS / "workshop.toml").reported_tables
    found = seen(MIDNIGHT + timedelta(hours=4), tables=[replace(told, moves_small=True)])
    costs = {cost.component: cost.dollars for cost in found.tables[0].costs}
    prices = json.loads(ASKED.prices)
    [stored] = boto3.client("s3").list_objects_v2(Bucket="student-backup")["Contents"]
    glacier = (stored["Size"] + 32_768) * prices["s3_glacier_gb_month"] + 8_192 * prices["s3_standard_gb_month"]
    assert costs["S3 GLACIER"] == pytest.approx(275 * glacier / 1e9)


def test_aws_backups_jobs_rules_and_recovery_points_are_counted(schedule: None) -> None:
    now = datetime(2025, 7, 8, 12, tzinfo=UTC)
    point = {
        "ResourceArn": "arn:aws:dynamodb:ap-southeast-1:1:table/studentData",
        "CreationDate": now - DAY,
        "CalculatedLifecycle": {"DeleteAt": now + 34 * DAY},
        "BackupSizeInBytes": 2_000_000_000,
    }
    job = {"ResourceArn": "x", "CreationDate": now}
    rule = {
        "RuleName": "R",
        "ScheduleExpression": "cron(0 5 ? * * *)",
        "ScheduleExpressionTimezone": "Asia/Ho_Chi_Minh",
    }
    answers = {
        "list_backup_jobs": {"BackupJobs": [job | {"State": "COMPLETED"}, job | {"State": "EXPIRED"}]},
        "list_copy_jobs": {"CopyJobs": [job | {"State": "COMPLETED"}]},
        "list_recovery_points_by_backup_vault": {
            "RecoveryPoints": [point, point | {"StorageClass": "COLD", "CalculatedLifecycle": {}}]
        },
        "list_backup_plans": {"BackupPlansList": [{"BackupPlanName": "P", "BackupPlanId": "1"}]},
    }

    class Backup:
        """AWS Backup's answers; moto keeps no jobs and no recovery points."""

        def get_paginator(self, call: str) -> Any:
            return type("Pages", (), {"paginate": lambda _, **__: [answers[call]]})()

        def get_backup_plan(self, **_: str) -> Any:
            return {"BackupPlan": {"Rules": [rule]}}

    found = seen(now, lambda name: Backup() if name == "backup" else boto3.client(name), vault_name="V", plan_name="P")
    assert found.vault is not None
    assert found.vault.jobs == {"backup COMPLETED": 1, "backup EXPIRED": 1, "copy COMPLETED": 1}
    assert found.vault.next_runs == {"R": datetime(2025, 7, 8, 22, tzinfo=UTC)}
    assert (found.vault.recovery_points, found.vault.next_expiry_at) == (2, now + 34 * DAY)
    dollars = {cost.component: cost.dollars for cost in found.vault.costs}
    assert dollars == {"AWS Backup, warm": pytest.approx(0.2), "AWS Backup, cold": pytest.approx(0.06)}
    assert not found.is_good


def test_the_page_needs_nothing_else_and_holds_what_is_known_as_text(schedule: None, backup: run.Backup) -> None:
    made(backup)
    found = seen(MIDNIGHT + timedelta(hours=4))
    evil = msgspec.structs.replace(found.tables[0], last_errors=["<script>alert(1)</script>"])
    shown = page.page(msgspec.structs.replace(found, tables=[evil]), UTC)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<svg") == 3
    assert "http" not in shown
    json.loads(msgspec.json.encode(found))


def test_a_schedule_by_rate_is_counted_from_its_last_run(schedule: None, backup: run.Backup) -> None:
    made(backup)
    tables = [replace(SETTINGS.reported_tables[0], expression="rate(6 hours)")]
    assert seen(MIDNIGHT + timedelta(hours=6, minutes=10), tables=tables).tables[0].state == "on time"
    assert seen(MIDNIGHT + timedelta(hours=9), tables=tables).tables[0].state == "late by 2 h"


def test_an_unknown_client_error_of_one_service_leaves_the_others_alone() -> None:
    def broken() -> int:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "slow down"}}, "Call")

    assert isinstance(facts._try(broken), facts.Unknown)


def test_however_many_tables_there_are_the_variables_stay_within_lambdas_four_kilobytes() -> None:
    many = [{"table_name": f"table-number-{number}", "frequency": "daily"} for number in range(100)]
    backups = SETTINGS.backups.model_dump() | {"tables": many}
    fleet = SETTINGS.model_copy(update={"backups": type(SETTINGS.backups).model_validate(backups)})
    assert len(fleet.reported_tables) == 101
    assert len(json.dumps(report_settings.variables(fleet).variables())) < 4096
    assert len(json.dumps(report_settings.message(fleet))) < 256 * 1024


def test_an_event_without_tables_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ASKED.variables().items():
        monkeypatch.setenv(name, value)
    weekly = importlib.reload(importlib.import_module("handlers.weekly_report"))
    with pytest.raises(ValueError, match="the event names no tables"):
        weekly.handler({}, Context())


def test_the_ages_of_backups_and_drills_are_measured(
    schedule: None, backup: run.Backup, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    made(backup)
    now = MIDNIGHT + timedelta(days=9)
    [table] = SETTINGS.reported_tables
    gathered = ask.gather(ASKED, [table], boto3.client, since=now)
    [first] = gathered.executions  # type: ignore[misc]
    assert first.ended_at is not None
    capsys.readouterr()
    measured = ages.measure(gathered, [table], now)
    # No drill has passed, so its age is that of the first execution.
    ends = {"BackupAgeSeconds": first.ended_at, "DrillAgeSeconds": first.started_at}
    wanted = {name: (now - end).total_seconds() for name, end in ends.items()}
    assert measured == {"studentData": wanted}
    record = json.loads(capsys.readouterr().out)
    assert {name: record[name] for name in wanted} == {name: [value] for name, value in wanted.items()}
    assert record["Table"] == "studentData"


def test_a_backup_whose_object_is_gone_is_no_success_of_its_age(schedule: None, backup: run.Backup) -> None:
    made(backup)
    boto3.client("s3").delete_object(Bucket=PLACES.s3_bucket_name, Key=KEY)
    now = MIDNIGHT + timedelta(days=9)
    [table] = SETTINGS.reported_tables
    gathered = ask.gather(ASKED, [table], boto3.client, since=now)
    [first] = gathered.executions  # type: ignore[misc]
    age = (now - first.started_at).total_seconds()
    assert ages.measure(gathered, [table], now)["studentData"]["BackupAgeSeconds"] == age


def test_what_cannot_be_known_is_not_measured(schedule: None, backup: run.Backup) -> None:
    made(backup)
    now = MIDNIGHT + timedelta(days=9)
    [table] = SETTINGS.reported_tables
    gathered = ask.gather(ASKED, [table], boto3.client, since=now)
    unknown = facts.Unknown("AccessDenied")
    assert ages.measure(replace(gathered, executions=unknown), [table], now) == {"studentData": {}}
    assert ages.measure(replace(gathered, objects=unknown), [table], now)["studentData"].keys() == {"DrillAgeSeconds"}
    assert ages.measure(replace(gathered, executions=[]), [table], now) == {"studentData": {}}
    [row] = gathered.executions  # type: ignore[misc]
    ahead = msgspec.structs.replace(row, read_from=now + DAY)
    assert "BackupAgeSeconds" not in ages.measure(replace(gathered, executions=[ahead]), [table], now)["studentData"]


@pytest.mark.parametrize(
    "odd", [{"status": None}, {"startedAt": "yesterday"}, {"startedAt": "2025-07-08T00:00:00"}, {"items": "many"}]
)
def test_a_row_that_cannot_be_read_is_named_and_nothing_is_good(
    schedule: None, backup: run.Backup, odd: dict[str, str | None]
) -> None:
    made(backup)
    dynamodb, table = boto3.client("dynamodb"), PLACES.history_table_name
    [row] = [item for item in dynamodb.scan(TableName=table)["Items"] if "kind" in item]
    changed = {name: value for name, value in row.items() if name not in odd}
    changed |= {"id": {"S": "odd"}} | {name: {"S": value} for name, value in odd.items() if value}
    dynamodb.put_item(TableName=table, Item=changed)
    found = seen(MIDNIGHT + timedelta(hours=4))
    assert not found.is_good
    assert any("the row 'odd' of the history" in line for line in found.unknown)


def test_a_backup_that_runs_for_longer_than_a_day_is_no_excuse(schedule: None, backup: run.Backup) -> None:
    made(backup)
    now = MIDNIGHT + 3 * DAY + timedelta(hours=3)
    row = {"kind": "backup", "tableName": "studentData", "status": "continuing", "activeAt": moments.to_text(now)}
    for began, is_late in ((now - timedelta(hours=3), False), (now - timedelta(days=2), True)):
        begun = {"startedAt": moments.to_text(now), "claimedAt": moments.to_text(began)}
        boto3.client("dynamodb").put_item(
            TableName=PLACES.history_table_name,
            Item={"id": {"S": "x"}} | {name: {"S": value} for name, value in (row | begun).items()},
        )
        [table] = seen(now).tables
        assert table.is_late is is_late
