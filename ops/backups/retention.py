"""`rollbook backups prune`, `pin` and `unpin`: what the retention keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from infra.settings import Settings
from ops import console, tables
from ops.backups.function import FunctionFailed, invoke
from ops.backups.reading import explained
from ops.cloud import Cloud
from ops.commands import command, confirm
from ops.exits import Exit
from ops.failures import OperatorError, SomethingFound
from ops.options import EnvOrLocal, Json, Yes
from rollbook.contract.retention import RetainedTable
from rollbook.engine.history import History
from rollbook.engine.inventory import Inventory
from rollbook.engine.marking import Marking
from rollbook.engine.resources import Resources
from rollbook.engine.retention import Decision

Key = Annotated[str, typer.Argument(help="Key of the backup, from `list` or the mail.")]


def register(app: typer.Typer) -> None:
    """Add the commands to a group."""
    command(
        app,
        "prune",
        example="rollbook backups prune --dry-run --env production",
        codes={
            Exit.GOOD: "the backups are marked (with --dry-run: nothing was changed)",
            Exit.FINDINGS: "the newest backup is damaged and nothing was marked, or S3 refused to mark some backups",
            Exit.REFUSED: "not confirmed; nothing was changed",
        },
    )(prune)
    command(app, "pin", example="rollbook backups pin KEY --env production")(pin)
    command(app, "unpin", example="rollbook backups unpin KEY --env production")(unpin)


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be marked and why; change nothing.")
    ] = False,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="Only this table.")] = None,
    yes: Yes = False,
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Mark the backups that the retention does not keep. S3 deletes them later; this command deletes nothing."""
    cloud = Cloud.of(env)
    retained = _retained(cloud.settings, table)
    planned = {each.table_name: _plan(cloud, each) for each in retained}
    if dry_run:
        _show(planned, as_json=as_json)
        return
    counts = {name: sum(not each.is_kept for each in decisions) for name, decisions in planned.items()}
    account = cloud.client("sts").get_caller_identity()["Account"]
    what = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
    days = cloud.settings.backups.noncurrent_expire_days
    confirm(
        f"Mark in {env} (account {account}): {what}. S3 makes them noncurrent at the next midnight UTC, and deletes "
        f"them {days} days later. Continue?",
        yes=yes,
    )
    answers = [_invoke(cloud, {"detail": {"table": each.table_name}}) for each in retained]
    if as_json:
        console.say_json(answers)
        return
    for answer in answers:
        marked, unmarked = len(answer["marked"]), len(answer["unmarked"])
        removed = f", {unmarked:,} marks removed" if unmarked else ""
        console.done(f"{answer['table']}: {marked:,} marked, {answer['kept']:,} kept{removed}")


def pin(key: Key, env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Pin a backup: it is kept until you unpin it. A mark on it is removed."""
    _change_pin("pin", key, env, as_json=as_json)


def unpin(key: Key, env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Remove the pin of a backup. The next backup of its table decides whether it is marked."""
    _change_pin("unpin", key, env, as_json=as_json)


def _change_pin(action: str, key: str, env: str, *, as_json: bool) -> None:
    cloud = Cloud.of(env)
    _retained(cloud.settings, None)
    answer = _invoke(cloud, {action: key})
    if as_json:
        console.say_json(answer)
        return
    console.done(f"{key} is {'pinned' if answer['isPinned'] else 'not pinned'}")
    for other in answer["unmarked"]:
        console.say(f"Removed the mark of {other}")


def _retained(settings: Settings, table: str | None) -> list[RetainedTable]:
    found = settings.retained_tables
    if not found:
        raise OperatorError(
            f"no table of {settings.name} has a retention, so backups are deleted by age; set [backups.retention] in "
            f"environments/{settings.name}.toml and deploy it"
        )
    if table is not None and table not in found:
        raise OperatorError(f"{table} has no retention in {settings.name}; tables with one: {', '.join(found)}")
    return [found[table]] if table else list(found.values())


def _plan(cloud: Cloud, table: RetainedTable) -> list[Decision]:
    backups = cloud.settings.backups
    s3, dynamodb = cloud.client("s3"), cloud.client("dynamodb")
    history = History(dynamodb, backups.history_table_name, backups.history_days)
    resources = Resources(dynamodb, s3, backups.bucket_name, history, lambda: datetime.now(UTC))
    inventory = Inventory(s3, dynamodb, backups.bucket_name, backups.history_table_name)
    marking = Marking(resources, inventory, ZoneInfo(cloud.settings.time_zone), backups.history_days)
    with explained(cloud, table.table_name), console.working(f"Reading the backups of {table.table_name}"):
        return marking.plan(table)


def _show(planned: dict[str, list[Decision]], *, as_json: bool) -> None:
    if as_json:
        console.say_json([_facts(name, each) for name, decisions in planned.items() for each in decisions])
        return
    rows = [
        tables.Row(
            (each.backup.key, "keep" if each.is_kept else "mark", ", ".join(each.reasons) or "not in the policy"),
            style="" if each.is_kept else "yellow",
        )
        for decisions in planned.values()
        for each in decisions
    ]
    if rows:
        tables.show(("Key", "Decision", "Why"), rows)
    for name, decisions in planned.items():
        marks = sum(not each.is_kept for each in decisions)
        console.say(f"{name}: would mark {marks:,} of {len(decisions):,} backups. Nothing was changed.")
    console.note("This assumes that the newest backup is whole. It is read before anything is marked.")


def _facts(table: str, decision: Decision) -> dict[str, Any]:
    backup = decision.backup
    return {
        "table": table,
        "key": backup.key,
        "takenAt": backup.taken_at.isoformat(),
        "state": backup.state,
        "isFull": backup.is_full,
        "isPinned": backup.is_pinned,
        "isMarked": backup.is_marked,
        "isKept": decision.is_kept,
        "reasons": list(decision.reasons),
    }


def _invoke(cloud: Cloud, event: dict[str, Any]) -> dict[str, Any]:
    function = cloud.settings.backups.retention_function_name
    try:
        return invoke(cloud, function, event)
    except FunctionFailed as error:
        if error.error_type == "NotMarked":
            raise SomethingFound(str(error)) from None
        raise
