"""`python -m ops schedule`: look at the backup's schedule, and have it fire within the minute."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from ops.cloud import Cloud
from ops.console import OperatorError, command, err, out
from rollbook.contract import schedules

EVERY_MINUTE = "cron(* * * * ? *)"
# What `update_schedule` takes of what `get_schedule` gives; what it is not told it resets.
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

app = typer.Typer(help="The schedule of the backup.", no_args_is_help=True)
Environment = Annotated[str, typer.Option("--env", help="Environment, as in environments/<name>.toml.")]


@app.command()
@command
def show(
    env: Environment = "local", as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False
) -> None:
    """Show the schedule as it is in the account, with its next five firings."""
    cloud = Cloud.of(env)
    schedule = _get(cloud)
    zone = schedule["ScheduleExpressionTimezone"]
    parsed = schedules.parse(schedule["ScheduleExpression"], zone)
    is_on = schedule["State"] == "ENABLED"
    firings = list(itertools.islice(parsed.after(datetime.now(UTC)), 5)) if is_on else []
    if as_json:
        print(
            json.dumps(
                {
                    "expression": schedule["ScheduleExpression"],
                    "zone": zone,
                    "state": schedule["State"],
                    "next": [firing.isoformat() for firing in firings],
                }
            )
        )
        return
    if not is_on:
        out.print(f"[bold red]{schedule['State']}[/]: {schedule['Name']} does not fire.", highlight=False)
        return
    local = ZoneInfo(cloud.settings.time_zone)
    table = Table("UTC", cloud.settings.time_zone, title=f"{schedule['Name']}: {schedule['ScheduleExpression']} {zone}")
    for firing in firings:
        table.add_row(f"{firing:%Y-%m-%d %H:%M}", f"{firing.astimezone(local):%Y-%m-%d %H:%M}")
    out.print(table)


@app.command("test")
@command
def run_test(
    env: Environment = "local",
    wait: Annotated[int, typer.Option(min=60, max=900, help="Seconds to wait for the backup.")] = 180,
) -> None:
    """Let the schedule fire every minute until one backup is there, then put it back as it was."""
    cloud = Cloud.of(env)
    with out.status("Waiting for the schedule to fire"):
        key = fire(cloud, wait)
    out.print(f"[green]✓[/] the schedule fired: s3://{cloud.settings.backups.bucket_name}/{key}")
    out.print(f"[green]✓[/] the schedule is {_get(cloud)['ScheduleExpression']} again")


def fire(cloud: Cloud, wait: float) -> str:
    """Have the schedule fire, and return the key of the backup that came of it.

    Arguments:
        wait: how long to wait, seconds.

    Raises:
        OperatorError: none came in time; the schedule is as it was.
    """
    before = _scheduled_keys(cloud)
    with _every_minute(cloud):
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            if new := _scheduled_keys(cloud) - before:
                return min(new)
            time.sleep(1)
    raise OperatorError(
        f"no backup came within {wait:g} s; look into the log of {cloud.settings.backups.function_name} and the queues "
        f"{cloud.settings.backups.dead_letter_queue_name} and {cloud.settings.backups.schedule_dead_letter_queue_name}"
    )


@contextmanager
def _every_minute(cloud: Cloud) -> Iterator[None]:
    scheduler = cloud.client("scheduler")
    real = {name: value for name, value in _get(cloud).items() if name in _FIELDS}
    if real["ScheduleExpression"] == EVERY_MINUTE:
        err.print("The schedule fires every minute already; is another test running?")
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
    """Return the keys of the completed runs that the schedule started, from the history."""
    pages = (
        cloud.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=cloud.settings.backups.history_table_name,
            # Other tables have schedules of their own, which fire in the same minutes.
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
