"""`rollbook backups check`: read a share of all backups again."""

from __future__ import annotations

import re
import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from ops import console, tables
from ops.backups.reading import explained, resources_of
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import OperatorError
from ops.options import EnvOrLocal, Json
from rollbook.engine.checks import Checks, Outcome, Progress

_SHARE = re.compile(r"1/([1-9][0-9]{0,2})")
_LONGEST_DAYS = 365


def register(app: typer.Typer) -> None:
    """Add the command to a group."""
    command(
        app,
        "check",
        example="rollbook backups check --share 1/30 --env production",
        codes={
            Exit.GOOD: "all backups that were read are whole",
            Exit.FINDINGS: "backups are damaged, not in the history, or could not be read",
        },
    )(check)


def check(
    share: Annotated[
        str | None,
        typer.Option(
            metavar="1/DAYS", help="Which share to read; by default that of the daily check. 1/1 reads all backups."
        ),
    ] = None,
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Read the backups that were not read for the longest time, as the daily check does, and record the result.

    It has no time limit, and it sends no mail. Backups in Glacier are not read.
    """
    cloud = Cloud.of(env)
    days = _days(share) if share else cloud.settings.checks.within_days
    with explained(cloud, "the check"), console.progress() as bar:
        task = bar.add_task("Listing the backups", total=None)
        progress = Progress(
            step=lambda key: bar.update(task, description=f"Reading {console.printable(key)}"),
            item=lambda: bar.advance(task),
        )
        work = Checks(resources_of(cloud), lambda _: None, progress)
        outcome = work.share(days, f"check#{uuid.uuid4()}", None)
    if as_json:
        console.say_json(asdict(outcome))
    else:
        _show(outcome)
    if outcome.damaged or outcome.unknown or outcome.failed:
        raise typer.Exit(Exit.FINDINGS)


def _days(share: str) -> int:
    found = _SHARE.fullmatch(share)
    if found is None or int(found[1]) > _LONGEST_DAYS:
        raise OperatorError(f"--share is {share!r}; write 1/30 to read each backup once in 30 days (1/1 to 1/365)")
    return int(found[1])


def _show(outcome: Outcome) -> None:
    rows = [
        *(tables.Row((key, "damaged", fault), "red") for key, fault in outcome.damaged.items()),
        *(tables.Row((key, "not read", reason), "red") for key, reason in outcome.failed.items()),
        *(
            tables.Row((key, "unknown", "whole by its own digest; not in the history"), "yellow")
            for key in outcome.unknown
        ),
        *(tables.Row((key, "in Glacier", "not read"), "dim") for key in outcome.cold),
        *(
            tables.Row((key, "deleted", "it expired, was marked, or an earlier release made it"))
            for key in outcome.gone
        ),
        *(tables.Row((key, "whole", "as the history has it")) for key in outcome.read),
    ]
    if not rows:
        console.say("There are no backups.")
        return
    tables.show(("Key", "Result", "Why"), rows)
    counts = {
        "whole": outcome.read,
        "damaged": outcome.damaged,
        "not in the history": outcome.unknown,
        "not read": outcome.failed,
        "in Glacier": outcome.cold,
        "deleted": outcome.gone,
    }
    text = ", ".join(f"{len(keys):,} {name}" for name, keys in counts.items() if keys)
    if outcome.damaged or outcome.unknown or outcome.failed:
        console.say(text)
    else:
        console.done(text)
