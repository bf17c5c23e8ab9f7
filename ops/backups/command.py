"""`rollbook backups`: list, show, create and drill."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from ops import console, tables
from ops.backups import check, checks, overview, restores, retention
from ops.backups.function import invoke, make_drill
from ops.backups.reading import explained, resources_of
from ops.cloud import Cloud
from ops.commands import command, group
from ops.exits import Exit
from ops.failures import OperatorError, Refused
from ops.options import EnvOrLocal, Json
from rollbook.contract import moments
from rollbook.contract.fields import to_texts
from rollbook.engine import acceptance, stored

# A run usually starts within its window. Data that is later than this is noted.
_NOTED = timedelta(hours=1)
app = group("Backups: list, show, create, verify, check, diff, restore, drill, accept, prune, pin.")
Key = Annotated[str, typer.Argument(help="Key of the backup, from `list` or the mail.")]


@command(app, "list", example="rollbook backups list --env production")
def list_(env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """List the backups, newest first, and failed executions."""
    rows = overview.overview(Cloud.of(env))
    if as_json:
        console.say_json(rows)
        return
    if not rows:
        console.say("There are no backups.")
        return
    columns = ("Key", "Status", "Source", "Engine", "Type", "Period", "Base", "Items", "Bytes")
    tables.show(columns, [_row(row) for row in rows], numbers={"Items", "Bytes"})


def _row(row: dict[str, Any]) -> tables.Row:
    numbers = [f"{row[name]:,}" if row[name] is not None else "unknown" for name in ("items", "bytes")]
    return tables.Row(
        (row["key"] or row["id"], row["status"], row["source"] or "-", row["engine"] or "-", *_chain(row), *numbers),
        style="" if row["status"] == "completed" else "red",
        notes=[note for note in (row["error"], row.get("doubt"), _as_of(row)) if note],
    )


def _as_of(row: dict[str, Any]) -> str:
    """Return a note if a backup's data is not of the time of its run."""
    run, read = row.get("runAt"), row.get("readFrom")
    if not run or not read or datetime.fromisoformat(read) - datetime.fromisoformat(run) < _NOTED:
        return ""
    return f"for the run of {run}, with data of {read}"


def _chain(row: dict[str, Any]) -> list[str]:
    base = "itself" if row["base"] and row["base"] == row["key"] else row["base"]
    return [row["type"] or "-", overview.period(row) or "-", base or "-"]


@command(app, "show", example="rollbook backups show KEY --env production")
def show(key: Key, env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Show the history and the header of a backup."""
    cloud = Cloud.of(env)
    with explained(cloud, key):
        backup = stored.open_backup(cloud.client("s3"), cloud.settings.backups.bucket_name, key)
        size = backup.stored_bytes()
    rows = [row for row in overview.overview(cloud) if row["key"] == key]
    facts = (rows[0] if rows else {"key": key, "status": overview.UNKNOWN}) | {"bytes": size}
    started = moments.to_text(backup.started_at) if backup.started_at else facts.get("startedAt", "")
    facts |= {"startedAt": started, "manifest": backup.manifest or ""}
    if as_json:
        console.say_json(facts | {"table": backup.table})
        return
    tables.show_facts([(name, shown) for name, value in facts.items() if (shown := _shown(value))])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value or "")


@command(
    app,
    "accept",
    example="rollbook backups accept KEY --env production",
    codes={Exit.REFUSED: "the backup is not in doubt, or the history does not know it"},
)
def accept(key: Key, env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Call a backup good that is in doubt, because the change of its number of items is intended.

    It becomes the newest backup of its table, and its number of items becomes the usual one.
    """
    cloud = Cloud.of(env)
    with explained(cloud, key):
        try:
            accepted = acceptance.accept(resources_of(cloud), key)
        except acceptance.NotInDoubt as error:
            raise Refused(f"{error}; nothing was changed") from None
    if as_json:
        console.say_json({"key": key, "items": accepted.items})
    else:
        console.done(f"{key} is called good: {accepted.items or 0:,} items are the usual number now")


@command(
    app,
    "create",
    example="rollbook backups create --env production",
    codes={Exit.FINDINGS: "the backup was made, and it is in doubt: its number of items is unusual"},
)
def create(
    env: EnvOrLocal = "local",
    as_json: Json = False,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="One of backups.tables.")] = None,
) -> None:
    """Make a backup now, with the environment's own function."""
    cloud = Cloud.of(env)
    plans = {plan.table_name: plan for plan in cloud.settings.backed_up_tables}
    if table is not None and table not in plans:
        raise OperatorError(f"{table} has no backups in {env}; there are: {', '.join(plans)}")
    message = {"table": to_texts(plans[table].job)} if table and table != cloud.settings.records.table_name else {}
    with console.working("Making the backup"):
        answer = invoke(cloud, cloud.settings.backups.function_name, message)
    if as_json:
        console.say_json(answer)
    elif answer.get("doubt"):
        console.say(f"{answer['message']}. It is not called good: {answer['doubt']}.", "yellow")
        console.say(f"If the change is intended: rollbook backups accept {answer['key']} --env {env}")
    elif "items" in answer:
        console.done(answer["message"])
    else:
        console.say(answer["message"], "yellow")
        console.say(f"It is not complete yet; see rollbook backups list --env {env}")
    if answer.get("doubt"):
        raise typer.Exit(Exit.FINDINGS)


@command(
    app,
    "drill",
    example="rollbook backups drill --env production",
    codes={Exit.FINDINGS: "the newest backup could not be restored, differs after the restore, or missed an objective"},
)
def drill(
    env: EnvOrLocal = "local",
    as_json: Json = False,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="One of backups.tables.")] = None,
) -> None:
    """Run the drill of a table now, with the environment's own function."""
    answer = make_drill(Cloud.of(env), table)
    if as_json:
        console.say_json(answer)
        return
    rto, rpo = f"{answer['rtoSeconds']:,.1f} s", f"{answer['rpoSeconds'] / 3600:,.1f} h"
    console.done(
        f"{answer['message']}: restored {answer['items']:,} items in {rto} (RTO); the backup is {rpo} old (RPO)"
    )


checks.register(app)
check.register(app)
restores.register(app)
retention.register(app)
