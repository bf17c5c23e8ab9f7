"""`python -m ops events`: a live view of the bus, a checked event from a file, a replay of what was."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from botocore.exceptions import BotoCoreError, ClientError

from ops import dead_letters
from ops.cloud import Cloud
from ops.console import OperatorError, command, err, out
from rollbook.contract import events
from rollbook.messages.bus import Bus, EventNotAccepted, EventTooLarge

app = typer.Typer(help="The event bus: what is on it, what was, and putting something on it.", no_args_is_help=True)
Environment = Annotated[str, typer.Option("--env", metavar="ENV", help="Environment.")]
Json = Annotated[bool, typer.Option("--json", help="Print an event a line, for machines.")]
_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_POLL_SECONDS = 1.0
_REPLAY_POLL_SECONDS = 0.5


app.command("dead")(dead_letters.dead)
app.command("redrive")(dead_letters.redrive)


@app.command()
@command
def tail(
    since: Annotated[str, typer.Option(metavar="TIME", help="From when: 10m, 2h, 1d, or an ISO 8601 time.")] = "10m",
    once: Annotated[
        bool, typer.Option("--once", help="End with the newest event instead of waiting for more.")
    ] = False,
    env: Environment = "local",
    as_json: Json = False,
) -> None:
    """Show the events of the bus as they come, until Ctrl-C; from its log group, so some seconds late."""
    cloud = Cloud.of(env)
    for event in read(cloud, _time(since), follow=not once):
        if as_json:
            sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            moment = event["time"].replace("T", " ").removesuffix("Z")
            detail = json.dumps(event["detail"], ensure_ascii=False)
            out.print(f"[dim]{moment}[/] [bold]{event['detail-type']}[/] [dim]{event['source']}[/]", highlight=False)
            out.print(f"  {detail}", markup=False, soft_wrap=True)


@app.command()
@command
def put(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON: an event or a list of them; - for the input.")],
    env: Environment = "local",
    as_json: Json = False,
) -> None:
    """Check events against the catalogue and put them on the bus; `{"source": …, "detail-type": …, "detail": {…}}`."""
    made = _read_file(path)
    cloud = Cloud.of(env)
    try:
        ids = Bus(cloud.client("events"), cloud.settings.events.bus_name).put(*made)
    except (BotoCoreError, ClientError, EventNotAccepted, EventTooLarge) as error:
        raise OperatorError(str(error)) from None
    for id_, event in zip(ids, made, strict=True):
        if as_json:
            sys.stdout.write(json.dumps({"id": id_, "detail-type": event.DETAIL_TYPE}) + "\n")
        else:
            out.print(f"[green]✓[/] {event.DETAIL_TYPE}: {id_}", highlight=False)


@app.command()
@command
def replay(
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="From when: 10m, 2h, 1d, or an ISO 8601 time.")],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Until when, likewise; now by default.")] = "0s",
    env: Environment = "local",
) -> None:
    """Put what the archive has of a time on the bus again; every rule gets it once more, marked as a replay."""
    cloud = Cloud.of(env)
    client, bus = cloud.client("events"), cloud.settings.events.bus_name
    begin, end = _time(since), _time(until)
    if begin >= end:
        raise OperatorError(f"--from is {begin:%Y-%m-%dT%H:%M:%SZ}, which is not before --to, {end:%Y-%m-%dT%H:%M:%SZ}")
    name = f"ops-{uuid4()}"
    try:
        client.start_replay(
            ReplayName=name,
            EventSourceArn=client.describe_archive(ArchiveName=bus)["ArchiveArn"],
            EventStartTime=begin,
            EventEndTime=end,
            Destination={"Arn": client.describe_event_bus(Name=bus)["Arn"]},
        )
        with err.status("Replaying"):
            while (found := client.describe_replay(ReplayName=name))["State"] in {"STARTING", "RUNNING"}:
                time.sleep(_REPLAY_POLL_SECONDS)
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"the archive {bus} cannot be replayed: {error}") from None
    if found["State"] != "COMPLETED":
        raise OperatorError(f"the replay {name} ended as {found['State']}: {found.get('StateReason', '')}")
    out.print(f"[green]✓[/] replayed from {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC", highlight=False)


def read(cloud: Cloud, since: datetime, *, follow: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the events of the bus's log, each once, in the order of their arrival.

    Raises:
        OperatorError: the log cannot be read.
    """
    logs = cloud.client("logs")
    group = f"/aws/events/{cloud.settings.events.bus_name}"
    seen: set[str] = set()
    start = int(since.timestamp() * 1000)
    while True:
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start)
            found = [event for page in pages for event in page["events"] if event["eventId"] not in seen]
        except (BotoCoreError, ClientError) as error:
            raise OperatorError(f"the log group {group} cannot be read: {error}") from None
        for event in sorted(found, key=lambda event: event["timestamp"]):
            seen.add(event["eventId"])
            yield json.loads(event["message"])
        if not follow:
            return
        time.sleep(_POLL_SECONDS)


def _read_file(path: Path) -> list[events.Event]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        decoded = json.loads(text)
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} cannot be read: {error}") from None
    entries = decoded if isinstance(decoded, list) else [decoded]
    made = []
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, event {number}"
        if not isinstance(entry, dict) or entry.keys() != {"source", "detail-type", "detail"}:
            raise OperatorError(f'{where}: it must have just "source", "detail-type" and "detail"; nothing was sent')
        try:
            made.append(events.parse(entry["source"], entry["detail-type"], entry["detail"]))
        except events.NotInCatalogue as error:
            raise OperatorError(f"{where}: {error}; nothing was sent. The catalogue is docs/events.md") from None
    return made


def _time(text: str) -> datetime:
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OperatorError(f"{text!r} is no time; write 10m, 2h, 1d or 2026-02-10T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
