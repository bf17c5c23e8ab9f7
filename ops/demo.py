"""`rollbook demo`: all features on the embedded AWS, each step verified."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from infra.settings import ENVIRONMENTS, load
from ops import console, sample, schedule
from ops.backups.function import make_drill
from ops.cloud import Cloud, fetch
from ops.commands import command
from ops.csv_import import Importer, Row
from ops.csv_import import load as send
from ops.failures import OperatorError
from ops.local import aws, stack
from ops.local.command import show_mail, show_stack
from ops.local.emulator import PORT, Port
from ops.options import Json
from ops.smoke.run import drilled, whole
from rollbook.engine.formats.lines import Corrupted

app = typer.Typer()
_STUDENTS = 60
_FIRE_SECONDS = 150


@command(app, "demo", example="rollbook demo --once")
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the last step; do not wait for Ctrl-C.")] = False,
    port: Port = PORT,
    as_json: Json = False,
) -> None:
    """Show all features on the embedded AWS.

    It applies the stack, saves sample students, lets the schedule fire and shows the mail.
    """
    if as_json and not once:
        raise OperatorError("--json ends after the last step; give --once too")
    began = time.monotonic()
    with stack.started(port) as (emulator, is_own):
        _, outputs = stack.apply(emulator)
        cloud = Cloud(load(ENVIRONMENTS / "local.toml"), outputs, emulator.port)
        steps = []
        for step, mail in _steps(cloud, emulator.port):
            steps.append(step)
            if not as_json:
                console.done(step)
                if mail:
                    show_mail(mail)
        if as_json:
            console.say_json({"seconds": round(time.monotonic() - began), "steps": steps, **outputs})
        else:
            console.say(f"\nAll steps verified in {time.monotonic() - began:.0f} s.")
            show_stack(outputs)
        if not once:
            console.note("The embedded AWS runs until Ctrl-C.")
            _wait_for_interrupt()
        if is_own:
            emulator.stop()


def _steps(cloud: Cloud, port: int) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield each verified step, with a mail to show if there is one."""
    page = fetch(cloud.site_url)
    _expect(page.status == 200 and b"Student records" in page.body, "the site does not serve its page", page.status)
    yield f"the site is served: {cloud.site_url}", None

    records = {student["studentid"]: student for student in sample.students(_STUDENTS)}
    rows = [Row(line, record) for line, record in enumerate(records.values(), start=2)]
    outcomes = send(Importer(cloud.api_url, cloud.api_key()), rows)
    rejected = [outcome.reason for outcome in outcomes if outcome.what == "rejected"]
    _expect(not rejected, "the API rejected sample students", rejected)
    stored = dict(_stored(cloud))
    missing = [
        studentid for studentid, record in records.items() if not record.items() <= stored.get(studentid, {}).items()
    ]
    _expect(not missing, "records in the table differ from the sent ones", missing)
    yield f"saved {len(records)} sample students through the API; the table has {len(stored)}", None

    refused = fetch(f"{cloud.api_url}/students")
    _expect(refused.status == 403, "the API answers without a key", refused.status)
    yield "without its key the API answers 403; the site needs no key", None

    mails_before = len(aws.mails(port))
    with console.working("Waiting for the schedule to fire, within a minute"):
        key = schedule.fire(cloud, _FIRE_SECONDS)
    yield f"the schedule fired with its own role and is {cloud.settings.backups.schedule_expression} again", None

    found = cloud.client("s3").get_object(Bucket=cloud.settings.backups.bucket_name, Key=key)
    document = json.loads(found["Body"].read())
    backed_up = {item["studentid"]["S"]: _plain(item) for item in document["items"]}
    _expect(backed_up == stored and document["itemCount"] == len(stored), "the backup differs from the table", key)
    try:
        yield f"{whole(cloud, key)}, equal to the table", None
    except Corrupted as damage:
        raise OperatorError(f"the backup {key} is damaged: {damage}") from None

    subject = f"Backup Completed: {key}"
    mails = [mail for mail in aws.mails(port)[mails_before:] if mail["Subject"] == subject]
    _expect(len(mails) == 1, f"there is no single mail '{subject}'", len(mails))
    yield "the mail was sent:", mails[0]

    drill = make_drill(cloud)
    _expect(drill["key"] == key and drill["items"] == len(stored), "the drill used another backup", drill)
    yield drilled(drill), None

    changes = stack.terraform_in(stack.STACK, port)
    _expect(not changes.has_changes(), "a plan of the unchanged stack is not empty", changes.plan)
    yield "a plan of the unchanged stack is empty", None


def _stored(cloud: Cloud) -> Iterator[tuple[str, dict[str, Any]]]:
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=cloud.settings.records.table_name)
    for page in pages:
        for item in page["Items"]:
            yield item["studentid"]["S"], _plain(item)


def _plain(item: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a record in the form of the API; values that are not texts keep the form of DynamoDB."""
    return {name: value.get("S", value) for name, value in item.items()}


def _expect(is_met: bool, fault: str, detail: Any) -> None:
    if not is_met:
        raise OperatorError(f"{fault}: {detail() if callable(detail) else detail}")


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.note("\nStopping; the state is kept for the next start.")
