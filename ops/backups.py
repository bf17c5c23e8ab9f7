"""`python -m ops backups`: what there is, whether it is whole, by what it differs, and the way back."""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ops import executions
from ops.cloud import Cloud
from ops.console import OperatorError, command, err, out
from rollbook.contract.fields import to_texts
from rollbook.engine import compare, restore_request, stored
from rollbook.engine.comparison import Comparison
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.executions import Execution
from rollbook.engine.formats.document import Corrupted
from rollbook.engine.history import History
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import LEASE, AlreadyRunning, Mode, Options, Plan, Request

_SHOWN = 20
_PLAIN: Any = {"highlight": False, "soft_wrap": True}

app = typer.Typer(help="Backups: list, show, create, verify, diff, restore, drill.", no_args_is_help=True)
Environment = Annotated[str, typer.Option("--env", help="Environment, as in environments/<name>.toml.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Key = Annotated[str, typer.Argument(help="The backup's key, as `list` and the mail have it.")]


@app.command("list")
@command
def list_(env: Environment = "local", as_json: Json = False) -> None:
    """List the backups and the executions that made none, newest first."""
    rows = executions.overview(Cloud.of(env))
    if as_json:
        print(json.dumps(rows))
        return
    table = Table()
    table.add_column("Key", no_wrap=True, overflow="fold")  # it is what the other commands are given
    for name in ("Status", "Source", "Engine", "Items", "Bytes"):
        table.add_column(name, overflow="fold", justify="right" if name in {"Items", "Bytes"} else "left")
    for row in rows:
        numbers = [f"{row[name]:,}" if row[name] is not None else "unknown" for name in ("items", "bytes")]
        style = "" if row["status"] == "completed" else "red"
        table.add_row(row["key"] or row["id"], row["status"], row["source"], row["engine"], *numbers, style=style)
        if row["error"]:
            table.add_row("", row["error"], style=style)
    out.print(table)


@app.command()
@command
def show(key: Key, env: Environment = "local", as_json: Json = False) -> None:
    """Show what the history and the backup's own beginning say of it; `verify` reads the rest."""
    cloud = Cloud.of(env)
    with _explained(cloud, key):
        backup = stored.open_backup(cloud.client("s3"), cloud.settings.backups.bucket_name, key)
        size = backup.stored_bytes()
    rows = [row for row in executions.overview(cloud) if row["key"] == key]
    facts = (rows[0] if rows else {"key": key, "status": "unknown to the history"}) | {"bytes": size}
    facts |= {"startedAt": str(backup.started_at or facts.get("startedAt", "")), "manifest": backup.manifest or ""}
    if as_json:
        print(json.dumps(facts | {"table": backup.table}))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    out.print(table)


@app.command()
@command
def create(
    env: Environment = "local",
    as_json: Json = False,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="One of backups.tables.")] = None,
) -> None:
    """Make a backup now, by the environment's own function."""
    cloud = Cloud.of(env)
    plans = {plan.table_name: plan for plan in cloud.settings.backed_up_tables}
    if table is not None and table not in plans:
        raise OperatorError(f"{table} is not backed up here; there are: {', '.join(plans)}")
    message = {"table": to_texts(plans[table].job)} if table and table != cloud.settings.records.table_name else {}
    with out.status("Making the backup"):
        answer = invoke(cloud, cloud.settings.backups.function_name, message)
    print(json.dumps(answer)) if as_json else out.print(
        f"[green]✓[/] {answer['message']}", highlight=False, soft_wrap=True
    )


@app.command()
@command
def verify(key: Key, env: Environment = "local", as_json: Json = False) -> None:
    """Read a backup again and check every item, the counts and the digests; exit code 1 if it is damaged."""
    cloud = Cloud.of(env)
    with _explained(cloud, key), _progress() as bar:
        task = bar.add_task("Verifying", total=None)
        try:
            backup = stored.open_backup(cloud.client("s3"), cloud.settings.backups.bucket_name, key)
            whole = stored.verify(backup, lambda: bar.advance(task))
        except Corrupted as damage:
            if not as_json:
                raise
            print(json.dumps({"key": key, "isWhole": False, "damage": str(damage)}))
            raise typer.Exit(1) from None
    if as_json:
        facts = {"items": whole.items, "bytes": whole.bytes, "sha256": whole.sha256}
        print(json.dumps({"key": key, "isWhole": True, **facts}))
    else:
        out.print(
            f"[green]✓[/] {key} is whole: {whole.items:,} items, {whole.bytes:,} bytes", highlight=False, soft_wrap=True
        )


@app.command()
@command
def diff(
    first: Annotated[str, typer.Argument(help="A backup's key.")],
    second: Annotated[str, typer.Argument(help="A backup's key or a table; the live table by default.")] = "",
    env: Environment = "local",
    as_json: Json = False,
) -> None:
    """Compare a backup with a table or another backup, key by key; exit code 1 if they differ."""
    cloud = Cloud.of(env)
    second = second or cloud.settings.records.table_name
    dynamodb, s3, bucket = cloud.items(), cloud.client("s3"), cloud.settings.backups.bucket_name
    with _explained(cloud, first), _progress() as bar:
        task = bar.add_task("Comparing", total=None)

        def counted(items: Iterator[bytes]) -> Iterator[bytes]:
            for item in items:
                yield item
                bar.advance(task)

        names = compare.keys(dynamodb, s3, bucket, first, second)
        with Comparison() as comparison:
            outcome = compare.compare(comparison, names, dynamodb, s3, bucket, first, second, counted)
            bar.stop()
            if as_json:
                _print_differences(comparison, compare.described(first, second, outcome))
            elif not outcome.is_equal:
                _table_of(comparison, first, second)
    if not as_json:
        if outcome.is_equal:
            out.print(
                f"[green]✓[/] {first} and {second} are equal: {outcome.first:,} items", highlight=False, soft_wrap=True
            )
        else:
            out.print(f"{outcome.added:,} added, {outcome.removed:,} removed, {outcome.changed:,} changed")
    if not outcome.is_equal:
        raise typer.Exit(1)


@app.command("restore")
@command
def restore_(
    key: Key,
    to: Annotated[str, typer.Option("--to", metavar="TABLE", help="A new table.")] = "",
    into: Annotated[str, typer.Option("--into", metavar="TABLE", help="A table that is there.")] = "",
    only_missing: Annotated[bool, typer.Option(help="Write only what the table has no key of.")] = False,
    only_differing: Annotated[bool, typer.Option(help="Write only what the table has not, or has otherwise.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; change nothing.")] = False,
    confirm: Annotated[str, typer.Option(metavar="TABLE", help="The table of --into once more; not asked then.")] = "",
    engine: Annotated[str, typer.Option(help="write, or import: AWS's ImportTable into a new table.")] = "write",
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Batches of writes under way at a time.")] = 8,
    write_units: Annotated[float, typer.Option(min=0, help="Ceiling of write units a second; 0 for none.")] = 0,
    env: Environment = "local",
    as_json: Json = False,
) -> None:
    """Restore a backup and compare the table with it; the same command goes on after it was stopped."""
    if bool(to) == bool(into):
        raise OperatorError("say where to: --to a new table, or --into one that is there")
    if only_missing and only_differing:
        raise OperatorError("--only-missing and --only-differing are two things; give one")
    if engine not in {"write", "import"}:
        raise OperatorError(f"the engine is {engine!r}; it can be write or import")
    cloud = Cloud.of(env)
    mode: Mode = "missing" if only_missing else "differing" if only_differing else "all"
    request = Request(key, to or into, is_new=bool(to), mode=mode, engine="import" if engine == "import" else "write")
    if into and not dry_run:
        _confirm(into, confirm, mode)
    with _explained(cloud, key), _progress() as bar:
        restorer = _restorer(cloud, bar, parallel, write_units)
        if dry_run:
            answer = _planned(restorer.plan(request), request)
        else:
            done = _patiently(restorer, request)
            answer = {"key": key, "table": request.table_name, "seconds": done.seconds or 0.0, "items": done.items}
            answer |= {"written": done.written, "differing": done.differing, "extra": done.extra}
    if as_json:
        print(json.dumps(answer))
    elif dry_run:
        out.print(
            f"{answer['writes']:,} of {answer['items']:,} items would be written.", highlight=False, soft_wrap=True
        )
    else:
        out.print(
            f"[green]✓[/] {request.table_name} has the {answer['items']:,} items of {key}, compared one by one; "
            f"{answer['written']:,} were written in {answer['seconds']:g} s",
            highlight=False,
            soft_wrap=True,
        )
        if answer["differing"] or answer["extra"]:
            out.print(
                f"  Not written: {answer['differing']:,} items differ, {answer['extra']:,} exist only in the table"
            )


@app.command()
@command
def drill(env: Environment = "local", as_json: Json = False) -> None:
    """Make the weekly drill now, by the environment's own function; exit code 1 if it fails."""
    cloud = Cloud.of(env)
    answer = make_drill(cloud)
    if as_json:
        print(json.dumps(answer))
        return
    rto, rpo = f"{answer['rtoSeconds']:,.1f} s", f"{answer['rpoSeconds'] / 3600:,.1f} h"
    out.print(
        f"[green]✓[/] {answer['message']}: {answer['items']:,} items back in {rto}, {rpo} old",
        highlight=False,
        soft_wrap=True,
    )


def make_drill(cloud: Cloud) -> dict[str, Any]:
    """Have the environment's own function make a drill, and return its answer.

    Raises:
        OperatorError: it failed, and why.
    """
    with out.status("Restoring the newest backup into a scratch table"):
        return invoke(cloud, cloud.settings.drills.function_name, {})


def _confirm(table: str, confirmed: str, mode: Mode) -> None:
    if confirmed == table:
        return
    if confirmed:
        raise OperatorError(f"--confirm says {confirmed}, and --into says {table}")
    what = {
        "all": "every item of the backup replaces that of its key",
        "missing": "items that are missing are added",
        "differing": "items that differ are replaced",
    }[mode]
    answer = typer.prompt(f"Into {table}: {what}. Type the table's name to go on", default="", show_default=False)
    if answer != table:
        raise OperatorError("not confirmed; nothing was changed")


def _restorer(cloud: Cloud, bar: Progress, parallel: int, write_units: float) -> Restore:
    backups = cloud.settings.backups
    dynamodb = cloud.items()
    tasks: list[Any] = []

    def step(what: str, total: int) -> None:
        for task in tasks:
            bar.update(task, visible=False)
        tasks.append(bar.add_task(what, total=total or None))

    history = History(dynamodb, backups.history_table_name, backups.history_days)
    resources = Resources(dynamodb, cloud.client("s3"), backups.bucket_name, history, lambda: datetime.now(UTC))
    told = restore_request.Progress(step, lambda count: bar.advance(tasks[-1], count))
    return Restore(resources, Options(progress=told, parallel=parallel, limiter=RateLimiter(write_units or None)))


def _patiently(restorer: Restore, request: Request) -> Execution:
    """Restore; if the same restore seems to be at work, wait until its lease expires or is renewed."""
    holder = f"{socket.gethostname()} {os.getpid()}"
    try:
        return restorer.run(request, holder=holder)
    except AlreadyRunning as other:
        err.print(
            f"{other}. Waiting up to {LEASE.seconds} s for its lease to expire.",
            highlight=False,
            soft_wrap=True,
        )
        time.sleep(max(other.until - time.time(), 0) + 1)
        return restorer.run(request, holder=holder)


def _planned(plan: Plan, request: Request) -> dict[str, Any]:
    planned: dict[str, Any] = {"key": request.key, "table": request.table_name}
    planned |= {"items": plan.items, "writes": plan.writes}
    if plan.outcome:
        planned |= {"added": plan.outcome.added, "removed": plan.outcome.removed, "changed": plan.outcome.changed}
    return planned


def invoke(cloud: Cloud, function: str, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke a function of the environment, wait for it and return its answer.

    Raises:
        OperatorError: it cannot be invoked, or it failed, and why.
    """
    # A function may take 15 minutes, and asking twice would be two executions.
    patient = Config(read_timeout=910, retries={"max_attempts": 0})
    try:
        answer = cloud.client("lambda", config=patient).invoke(FunctionName=function, Payload=json.dumps(event))
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"{function} cannot be invoked: {error}") from None
    body: dict[str, Any] = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise OperatorError(f"{function} failed: {body.get('errorMessage', body)}")
    return body


def _table_of(comparison: Comparison, first: str, second: str) -> None:
    table = Table("", "Key", title=f"{first} → {second}")
    styles = {"added": "green", "removed": "red", "changed": "yellow"}
    shown = list(itertools.islice(comparison.differences(), _SHOWN + 1))
    for found in shown[:_SHOWN]:
        table.add_row(found.kind, found.key, style=styles[found.kind])
    if len(shown) > _SHOWN:
        table.add_row("…", "all of them with --json")
    out.print(table)


def _print_differences(comparison: Comparison, facts: dict[str, Any]) -> None:
    """Print one JSON object, difference by difference, as there may be millions."""
    print(json.dumps(facts)[:-1] + ', "differences": [')
    for number, found in enumerate(comparison.differences()):
        print(("," if number else "") + json.dumps({"kind": found.kind, "key": json.loads(found.key)}))
    print("]}")


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextmanager
def _explained(cloud: Cloud, key: str) -> Iterator[None]:
    """Say in one sentence what a command could not do."""
    try:
        yield
    except Corrupted as damage:
        raise OperatorError(f"{key} is damaged: {damage}") from None
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey", "403"}:
            where = f"s3://{cloud.settings.backups.bucket_name}/{key}"
            advice = f"`python -m ops backups list --env {cloud.settings.name}` has the keys"
            if error.response["Error"]["Code"] == "403":
                advice = "ask for s3:GetObject on it"
            raise OperatorError(f"{where} cannot be read: {error}; {advice}") from None
        raise OperatorError(str(error)) from None
    except (BotoCoreError, RuntimeError, ValueError) as error:
        if isinstance(error, OperatorError):
            raise
        raise OperatorError(str(error)) from None
