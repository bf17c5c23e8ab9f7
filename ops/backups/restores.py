"""`rollbook backups restore`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import Progress as Bar
from rich.progress import TaskID

from ops import console
from ops.backups import plans
from ops.backups.reading import explained, resources_of
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import OperatorError, Refused, SomethingFound, explain
from ops.options import EnvOrLocal, Json
from rollbook.engine.dynamodb.batch_write import NotWritten
from rollbook.engine.dynamodb.definitions import managed_key
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.dynamodb.workers import NAMED
from rollbook.engine.executions import Execution
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import (
    AlreadyRunning,
    Mode,
    NotEqual,
    Options,
    Progress,
    Request,
    RestoreRefused,
)
from rollbook.engine.selection import Selection

_EFFECTS = {
    "all": "all items are written",
    "missing": "missing items are added, and no item is replaced",
    "differing": "items that differ are replaced, and missing items are added",
}


def register(app: typer.Typer) -> None:
    """Add the command to a group."""
    command(
        app,
        "restore",
        example="rollbook backups restore KEY --to studentData-restored --env production",
        codes={
            Exit.GOOD: "the table has every item of the backup (with --dry-run: nothing was changed)",
            Exit.FINDINGS: "items were refused, or the table differs from the backup after the restore",
            Exit.REFUSED: "damaged backup, unsuitable target, or not confirmed; nothing was changed",
        },
    )(restore_)


def restore_(
    key: Annotated[str, typer.Argument(help="Key of the backup, from `list` or the mail.")],
    to: Annotated[str, typer.Option("--to", metavar="TABLE", help="Restore into a new table.")] = "",
    into: Annotated[str, typer.Option("--into", metavar="TABLE", help="Restore into an existing table.")] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --into: replace items that differ. Otherwise only add items.")
    ] = False,
    only_missing: Annotated[bool, typer.Option("--only-missing", help="The default of --into.")] = False,
    only_differing: Annotated[bool, typer.Option("--only-differing", help="The same as --overwrite.")] = False,
    item: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|@FILE", help="Only this item. Repeatable; @FILE has one key a line."),
    ] = None,
    except_: Annotated[
        list[str] | None, typer.Option("--except", metavar="ID|@FILE", help="Not this item. As --item.")
    ] = None,
    indexes_after: Annotated[
        bool, typer.Option("--indexes-after", help="With --to: create global indexes after the items are written.")
    ] = False,
    kms_key: Annotated[
        str, typer.Option(metavar="ARN|aws-managed|aws-owned", help="With --to: the new table's key.")
    ] = "",
    chain: Annotated[
        bool, typer.Option("--chain", help="Restore an incremental export with its base and all increments between.")
    ] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Restore a backup that the history does not know.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written; change nothing.")] = False,
    confirm: Annotated[str, typer.Option(metavar="TABLE", help="Repeat the table of --into; then do not ask.")] = "",
    engine: Annotated[str, typer.Option(help="write, or import: ImportTable of AWS into a new table.")] = "write",
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Number of concurrent batches of writes.")] = 8,
    write_units: Annotated[float, typer.Option(min=0, help="Maximum write units a second; 0 for no limit.")] = 0,
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Restore a backup and compare the table with it.

    After an interruption the same command continues.
    """
    if bool(to) == bool(into):
        raise OperatorError("name the target: --to for a new table, or --into for an existing one")
    if only_missing and (only_differing or overwrite):
        raise OperatorError("--only-missing excludes --only-differing and --overwrite; give one")
    if into and (indexes_after or kms_key):
        raise OperatorError("--indexes-after and --kms-key are for a new table (--to)")
    selection = Selection(_keys(item), _keys(except_))
    if engine not in {"write", "import"}:
        raise OperatorError(f"the engine is {engine!r}; it can be write or import")
    cloud = Cloud.of(env)
    mode: Mode = "all" if to else "differing" if only_differing or overwrite else "missing"
    request = Request(
        key,
        to or into,
        is_new=bool(to),
        mode=mode,
        engine="import" if engine == "import" else "write",
        selection=selection,
        indexes_after=indexes_after,
        kms_key=kms_key,
        allows_unknown=unknown,
        chain=chain,
    )
    if into and not dry_run and confirm and confirm != into:
        raise Refused(f"--confirm names {confirm}, and --into names {into}; nothing was changed")

    @contextmanager
    def restorer() -> Iterator[Restore]:
        with console.progress() as bar:
            steps = _Steps(bar)
            with explained(cloud, key), _outcomes(key, steps):
                yield _restorer(cloud, steps, parallel, write_units)

    planned = None
    if dry_run or selection:
        with restorer() as reading:
            planned = reading.plan(request)
        if not as_json:
            plans.show_changes(planned, mode)
    if planned and dry_run:
        if as_json:
            console.say_json(plans.as_json(planned, request))
        else:
            plans.show(planned, mode)
        return
    if into and not confirm:
        _confirm(cloud, request)
    with restorer() as writing:
        done = _run(writing, request)
    answer = {"key": key, "table": request.table_name, "seconds": done.seconds or 0.0}
    answer |= {"items": done.items or 0, "written": done.written}
    answer |= {
        "differing": done.differing or 0,
        "extra": done.extra or 0,
        "savedMeanwhile": done.kept,
        "notRestored": done.not_restored,
    }
    if as_json:
        console.say_json(answer | ({"changes": plans.changes_as_json(planned)} if planned else {}))
    else:
        console.done(
            f"{request.table_name} has the {answer['items']:,} items of {key}, compared one by one; wrote "
            f"{answer['written']:,} in {answer['seconds']:g} s"
        )
        if answer["differing"] or answer["extra"]:
            console.say(
                f"Not written: {answer['differing']:,} items differ, {answer['extra']:,} exist only in the table."
            )
        if done.not_restored:
            console.say(f"Not restored, set it up by hand: {', '.join(done.not_restored)}.")
        if done.kept:
            console.say(f"Saved during the restore and left: {done.kept:,} items: {', '.join(done.kept_keys)}")


class _Steps:
    """The progress bar of a restore, one task a step.

    Arguments:
        bar: where they are shown.
    """

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._tasks: list[TaskID] = []

    @property
    def only_read(self) -> bool:
        """Return whether the restore has only verified the backup until now."""
        return len(self._tasks) <= 1

    def begin(self, what: str, total: int) -> None:
        """Show the next step. A total of 0 means that it is unknown."""
        for task in self._tasks:
            self._bar.update(task, visible=False)
        self._tasks.append(self._bar.add_task(what, total=total or None))

    def advance(self, count: int) -> None:
        """Count items of the present step."""
        self._bar.advance(self._tasks[-1], count)


@contextmanager
def _outcomes(key: str, steps: _Steps) -> Iterator[None]:
    """Turn the outcomes of a restore into errors with their exit codes."""
    try:
        yield
    except Corrupted as damage:
        if steps.only_read:
            raise Refused(f"{key} is damaged, and nothing was changed: {damage}") from None
        raise
    except RestoreRefused as error:
        raise Refused(str(error)) from None
    except NotWritten as error:
        # The message names the first ones; the rest follows.
        rest = "".join(f"\n  {item.key}: {item.reason}" for item in error.refused[NAMED:])
        raise SomethingFound(f"{error}{rest and chr(10) + 'The others:'}{rest}") from None
    except NotEqual as error:
        raise SomethingFound(str(error)) from None
    except AlreadyRunning as error:
        raise OperatorError(f"{error}; wait until it ends, and run this again") from None


def _confirm(cloud: Cloud, request: Request) -> None:
    settings = cloud.settings
    question = (
        f"Environment {settings.name}, account {_account(cloud)}, Region {settings.region}.\n"
        f"From s3://{settings.backups.bucket_name}/{request.key} into the table {request.table_name}: "
        f"{_EFFECTS[request.mode]}.\nType the name of the table to continue"
    )
    if typer.prompt(question, default="", show_default=False, err=True) != request.table_name:
        raise Refused("not confirmed; nothing was changed")


def _account(cloud: Cloud) -> str:
    try:
        return str(cloud.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"the account cannot be read: {explain(error)}") from None


def _keys(given: list[str] | None) -> tuple[str, ...]:
    """Return the keys of an option; `@file` is a file with one key a line."""
    keys: list[str] = []
    for text in given or []:
        if not text.startswith("@"):
            keys.append(text)
            continue
        try:
            lines = Path(text[1:]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"the keys in {text[1:]} cannot be read: {error}") from None
        named = [line.strip() for line in lines if line.strip()]
        if not named:
            raise OperatorError(f"{text[1:]} has no keys; write one a line")
        keys += named
    return tuple(keys)


def _restorer(cloud: Cloud, steps: _Steps, parallel: int, write_units: float) -> Restore:
    progress = Progress(steps.begin, steps.advance)
    limiter = RateLimiter(write_units or None)
    options = Options(
        progress, parallel=parallel, limiter=limiter, managed_key=lambda: managed_key(cloud.client("kms"))
    )
    return Restore(resources_of(cloud), options)


def _run(restorer: Restore, request: Request) -> Execution:
    """Restore. If another process holds the lease of the same restore, wait until it expires, and try once more."""
    holder = f"{socket.gethostname()} {os.getpid()}"
    try:
        return restorer.run(request, holder=holder)
    except AlreadyRunning as other:
        seconds = max(other.until - time.time(), 0) + 1
        console.note(f"{other}. Waiting {seconds:.0f} s for its lease to expire.")
        time.sleep(seconds)
        return restorer.run(request, holder=holder)
