"""`rollbook schedule`: show the schedule of the backup, and test it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from ops import console, tables
from ops.cloud import Cloud
from ops.commands import command, group
from ops.exits import Exit
from ops.failures import OperatorError
from ops.options import EnvOrLocal, Json
from rollbook.contract import schedules

EVERY_MINUTE = "cron(* * * * ? *)"
# The fields that `get_schedule` returns and `update_schedule` accepts. It resets those that it is not given.
_FIELDS = (
    "Name",
    "GroupName",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "FlexibleTimeWindow",
    "Target",
    "State",
    "Description",
    "StartDate",
    "EndDate",
    "KmsKeyArn",
    "ActionAfterCompletion",
)

app = group("The schedule of the backup: show, test.")


@command(
    app,
    "show",
    example="rollbook schedule show --env production",
    codes={Exit.GOOD: "the schedule is enabled", Exit.FINDINGS: "the schedule is disabled"},
)
def show(env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Show the schedule and its next five firings."""
    cloud = Cloud.of(env)
    schedule = _get(cloud)
    name, expression = schedule["Name"], schedule["ScheduleExpression"]
    zone, state = schedule["ScheduleExpressionTimezone"], schedule["State"]
    is_on = state == "ENABLED"
    firings = list(itertools.islice(schedules.parse(expression, zone).after(datetime.now(UTC)), 5)) if is_on else []
    if as_json:
        following = [firing.isoformat() for firing in firings]
        console.say_json({"expression": expression, "zone": zone, "state": state, "next": following})
    elif is_on:
        console.say(f"{name}: {expression} {zone}", "bold")
        local = ZoneInfo(cloud.settings.time_zone)
        rows = [(f"{firing:%Y-%m-%d %H:%M}", f"{firing.astimezone(local):%Y-%m-%d %H:%M}") for firing in firings]
        tables.show(("UTC", cloud.settings.time_zone), [tables.Row(row) for row in rows])
    else:
        console.marked(state, "bold red", f"{name} does not fire. Enable it: make deploy ENV={env}")
    if not is_on:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "test", example="rollbook schedule test --env production")
def run_test(
    env: EnvOrLocal = "local",
    wait: Annotated[int, typer.Option(min=60, max=900, help="Seconds to wait for the backup.")] = 180,
    as_json: Json = False,
) -> None:
    """Let the schedule fire once.

    It fires every minute until there is one backup. Then the schedule is restored.
    """
    cloud = Cloud.of(env)
    with console.working("Waiting for the schedule to fire"):
        key = fire(cloud, wait)
    expression = _get(cloud)["ScheduleExpression"]
    if as_json:
        console.say_json({"key": key, "expression": expression})
        return
    console.done(f"the schedule fired: s3://{cloud.settings.backups.bucket_name}/{key}")
    console.done(f"the schedule is {expression} again")


def fire(cloud: Cloud, wait: float) -> str:
    """Let the schedule fire, and return the key of its backup.

    Arguments:
        wait: seconds.

    Raises:
        OperatorError: there was no backup in time; the schedule is restored.
    """
    before = _scheduled_keys(cloud)
    with _every_minute(cloud):
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            if new := _scheduled_keys(cloud) - before:
                return min(new)
            time.sleep(1)
    raise OperatorError(
        f"there was no backup within {wait:g} s; see the log of {cloud.settings.backups.function_name} and the queues "
        f"{cloud.settings.backups.dead_letter_queue_name} and {cloud.settings.backups.schedule_dead_letter_queue_name}"
    )


@contextmanager
def _every_minute(cloud: Cloud) -> Iterator[None]:
    scheduler = cloud.client("scheduler")
    real = {name: value for name, value in _get(cloud).items() if name in _FIELDS}
    if real["ScheduleExpression"] == EVERY_MINUTE:
        console.note("The schedule already fires every minute. Another test may be running.")
    scheduler.update_schedule(**real | {"ScheduleExpression": EVERY_MINUTE, "FlexibleTimeWindow": {"Mode": "OFF"}})
    try:
        yield
    finally:
        scheduler.update_schedule(**real)


def _get(cloud: Cloud) -> dict[str, Any]:
    backups = cloud.settings.backups
    schedule: dict[str, Any] = cloud.client("scheduler").get_schedule(
        Name=backups.schedule_name, GroupName=backups.schedule_group
    )
    return schedule


def _scheduled_keys(cloud: Cloud) -> set[str]:
    """Return the keys of the completed backups that the schedule started, from the history."""
    pages = (
        cloud.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=cloud.settings.backups.history_table_name,
            # The schedules of other tables fire in the same minutes.
            FilterExpression="#source = :schedule AND #status = :completed AND tableName = :table "
            "AND attribute_exists(mailedAt)",
            ExpressionAttributeNames={"#source": "source", "#status": "status", "#key": "key"},
            ExpressionAttributeValues={
                ":schedule": {"S": "schedule"},
                ":completed": {"S": "completed"},
                ":table": {"S": cloud.settings.records.table_name},
            },
            ProjectionExpression="#key",
        )
    )
    return {item["key"]["S"] for page in pages for item in page["Items"]}
