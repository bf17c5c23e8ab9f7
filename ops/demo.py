"""`python -m ops demo`: everything once, on the embedded AWS, each step verified."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from infra.settings import ENVIRONMENTS, load
from ops import backups, local, sample, schedule, smoke, students
from ops.cloud import Cloud, fetch
from ops.console import OperatorError, command, out
from rollbook.engine.formats.document import Corrupted

_STUDENTS = 60
_FIRE_SECONDS = 150


@command
def demo(
    once: Annotated[bool, typer.Option("--once", help="End when all is verified, instead of at Ctrl-C.")] = False,
    port: local.Port = local.PORT,
) -> None:
    """Bring the stack up, save sample students, let the schedule fire, show the mail."""
    began = time.monotonic()
    with local.started(port) as (emulator, is_own):
        outputs = local.raise_stack(emulator)
        cloud = Cloud(load(ENVIRONMENTS / "local.toml"), outputs, emulator.port)
        for step in _steps(cloud, emulator.port):
            out.print(f"[green]✓[/] {step}", highlight=False)
        out.print(f"\nAll verified in {time.monotonic() - began:.0f} s.")
        local.show(outputs)
        if not once:
            out.print("It stays up until Ctrl-C.")
            _wait_for_interrupt()
        if is_own:
            emulator.stop()


def _steps(cloud: Cloud, port: int) -> Iterator[str]:
    page = fetch(cloud.site_url)
    _expect(page.status == 200 and b"Student records" in page.body, "the site does not serve its page", page.status)
    yield f"the site is served: {cloud.site_url}"

    records = {student["studentid"]: student for student in sample.students(_STUDENTS)}
    rows = [students.Row(line, record) for line, record in enumerate(records.values(), start=2)]
    outcomes = students.load(students.Importer(cloud.api_url, cloud.api_key()), rows)
    rejected = [outcome.reason for outcome in outcomes if outcome.what == "rejected"]
    _expect(not rejected, "the API rejected sample students", rejected)
    stored = dict(_stored(cloud))
    missing = [
        studentid for studentid, record in records.items() if not record.items() <= stored.get(studentid, {}).items()
    ]
    _expect(not missing, "records are not in the table as they were sent", missing)
    yield f"{len(records)} sample students went in through the API, {len(stored)} are in the table"

    refused = fetch(f"{cloud.api_url}/students")
    _expect(refused.status == 403, "the API answers without its key", refused.status)
    yield "without the key the API answers 403; through the site the page needs none"

    mails_before = len(local.mails(port))
    with out.status("Waiting for the schedule to fire, within a minute"):
        key = schedule.fire(cloud, _FIRE_SECONDS)
    yield f"the schedule fired under its own role and is {cloud.settings.backups.schedule_expression} again"

    found = cloud.client("s3").get_object(Bucket=cloud.settings.backups.bucket_name, Key=key)
    document = json.loads(found["Body"].read())
    backed_up = {item["studentid"]["S"]: _plain(item) for item in document["items"]}
    _expect(backed_up == stored and document["itemCount"] == len(stored), "the backup is not equal to the table", key)
    try:
        yield f"{smoke.whole(cloud, key)}, as in the table, record by record"
    except Corrupted as damage:
        raise OperatorError(f"the backup {key} is damaged: {damage}") from None

    subject = f"Backup Completed: {key}"
    mails = [mail for mail in local.mails(port)[mails_before:] if mail["Subject"] == subject]
    _expect(len(mails) == 1, f"there is not one mail '{subject}'", len(mails))
    yield "the mail came:"
    local.show_mail(mails[0])

    drill = backups.make_drill(cloud)
    _expect(drill["key"] == key and drill["items"] == len(stored), "the drill was of another backup", drill)
    yield smoke.drilled(drill)

    changes = local.terraform_in(local.STACK, port)
    _expect(not changes.has_changes(), "a plan of the unchanged stack is not empty", changes.plan)
    yield "a plan of the unchanged stack is empty"


def _stored(cloud: Cloud) -> Iterator[tuple[str, dict[str, Any]]]:
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=cloud.settings.records.table_name)
    for page in pages:
        for item in page["Items"]:
            yield item["studentid"]["S"], _plain(item)


def _plain(item: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a record as the API takes it: texts as texts, anything else as DynamoDB has it."""
    return {name: value.get("S", value) for name, value in item.items()}


def _expect(is_so: bool, fault: str, detail: Any) -> None:
    if not is_so:
        raise OperatorError(f"{fault}: {detail() if callable(detail) else detail}")


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        out.print("\nStopping; the state is kept for the next time.")
