"""`rollbook events`: show, put and replay events of the bus."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from ops import console
from ops.cloud import Cloud
from ops.commands import command, group
from ops.console import out, printable
from ops.events import bus_log, dead_letters
from ops.exits import Exit
from ops.failures import OperatorError, Refused, explain
from ops.options import EnvOrLocal, Json
from rollbook.contract import events
from rollbook.messages.bus import Bus, EventNotAccepted, EventTooLarge

app = group("The event bus: tail, put, replay, dead, redrive.")
_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_REPLAY_POLL_SECONDS = 0.5


@command(app, "tail", example="rollbook events tail --since 1h --env production")
def tail(
    since: Annotated[str, typer.Option(metavar="TIME", help="Start: 10m, 2h, 1d, or an ISO 8601 time.")] = "10m",
    once: Annotated[bool, typer.Option("--once", help="End after the newest event; do not wait for more.")] = False,
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Show the events of the bus until Ctrl-C.

    They are read from its log group, some seconds late. With --json each event is one line.
    """
    cloud = Cloud.of(env)
    start = _time(since)
    with contextlib.suppress(KeyboardInterrupt):
        for event in bus_log.read(cloud, start, follow=not once):
            if as_json:
                console.say_json(event)
                continue
            moment = str(event["time"]).replace("T", " ").removesuffix("Z")
            kind, source = printable(event["detail-type"]), printable(event["source"])
            out.print(Text.assemble((printable(moment), "dim"), " ", (kind, "bold"), " ", (source, "dim")))
            console.say(f"  {json.dumps(event['detail'], ensure_ascii=False)}")


@command(
    app,
    "put",
    example="rollbook events put event.json --env production",
    codes={Exit.REFUSED: "an event is not in the catalogue; none was sent"},
)
def put(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON file with an event or a list of events; - for stdin.")
    ],
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Check events against the catalogue and send them.

    An event is {"source": …, "detail-type": …, "detail": {…}}.
    """
    made = _read_file(path)
    cloud = Cloud.of(env)
    try:
        ids = Bus(cloud.client("events"), cloud.settings.events.bus_name).put(*made)
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"the events were not put: {explain(error)}") from None
    except (EventNotAccepted, EventTooLarge) as error:
        raise OperatorError(str(error)) from None
    sent = [{"id": id_, "detail-type": event.DETAIL_TYPE} for id_, event in zip(ids, made, strict=True)]
    for each in sent:
        if as_json:
            console.say_json(each)
        else:
            console.done(f"{each['detail-type']}: {each['id']}")


@command(app, "replay", example="rollbook events replay --from 2h --to 1h --env production")
def replay(
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="Start: 10m, 2h, 1d, or an ISO 8601 time.")],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="End, in the same form; now by default.")] = "0s",
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Put archived events on the bus again.

    Every rule gets them, marked as a replay.
    """
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
        with console.working("Replaying"):
            while (found := client.describe_replay(ReplayName=name))["State"] in {"STARTING", "RUNNING"}:
                time.sleep(_REPLAY_POLL_SECONDS)
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"the archive {bus} cannot be replayed: {explain(error)}") from None
    if found["State"] != "COMPLETED":
        raise OperatorError(
            f"the replay {name} ended as {found['State']}: {found.get('StateReason', 'without a reason')}"
        )
    if as_json:
        console.say_json({"name": name, "from": begin.isoformat(), "to": end.isoformat(), "state": found["State"]})
    else:
        console.done(f"replayed from {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC")


dead_letters.register(app)


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
            raise Refused(f'{where}: it must have exactly "source", "detail-type" and "detail"; nothing was sent')
        try:
            made.append(events.parse(entry["source"], entry["detail-type"], entry["detail"]))
        except events.NotInCatalogue as error:
            raise Refused(f"{where}: {error}; nothing was sent. The catalogue is docs/events.md") from None
    return made


def _time(text: str) -> datetime:
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OperatorError(f"{text!r} is not a time; write 10m, 2h, 1d or 2026-02-10T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
