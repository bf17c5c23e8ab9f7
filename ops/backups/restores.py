"""`rollbook backups restore`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer
from rich.progress import Progress as Bar
from rich.progress import TaskID

from ops import console
from ops.backups.reading import explained
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import OperatorError, Refused, SomethingFound
from ops.options import EnvOrLocal, Json
from rollbook.engine.dynamodb.batch_write import NotWritten
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.executions import Execution
from rollbook.engine.formats.document import Corrupted
from rollbook.engine.history import History
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import (
    AlreadyRunning,
    Mode,
    NotEqual,
    Options,
    Plan,
    Progress,
    Request,
    RestoreRefused,
)

_EFFECTS = {
    "all": "every item of the backup replaces the item with its key",
    "missing": "missing items are added",
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
    only_missing: Annotated[bool, typer.Option(help="Write only items whose keys the table does not have.")] = False,
    only_differing: Annotated[bool, typer.Option(help="Write only items that are missing or differ.")] = False,
    chain: Annotated[
        bool, typer.Option("--chain", help="Restore an incremental export with its base and all increments between.")
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
    if only_missing and only_differing:
        raise OperatorError("--only-missing and --only-differing exclude each other; give one")
    if engine not in {"write", "import"}:
        raise OperatorError(f"the engine is {engine!r}; it can be write or import")
    cloud = Cloud.of(env)
    mode: Mode = "missing" if only_missing else "differing" if only_differing else "all"
    by: Literal["write", "import"] = "import" if engine == "import" else "write"
    request = Request(key, to or into, is_new=bool(to), mode=mode, engine=by, chain=chain)
    if into and not dry_run:
        _confirm(into, confirm, mode)
    with console.progress() as bar:
        steps = _Steps(bar)
        with explained(cloud, key), _outcomes(key, steps):
            restorer = _restorer(cloud, steps, parallel, write_units)
            if dry_run:
                answer = _planned(restorer.plan(request), request)
            else:
                done = _run(restorer, request)
                answer = {"key": key, "table": request.table_name, "seconds": done.seconds or 0.0}
                answer |= {"items": done.items or 0, "written": done.written}
                answer |= {"differing": done.differing or 0, "extra": done.extra or 0}
    if as_json:
        console.say_json(answer)
    elif dry_run:
        console.say(f"It would write {answer['writes']:,} of {answer['items']:,} items. Nothing was changed.")
    else:
        console.done(
            f"{request.table_name} has the {answer['items']:,} items of {key}, compared one by one; wrote "
            f"{answer['written']:,} in {answer['seconds']:g} s"
        )
        if answer["differing"] or answer["extra"]:
            console.say(
                f"Not written: {answer['differing']:,} items differ, {answer['extra']:,} exist only in the table."
            )


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
    except (NotEqual, NotWritten) as error:
        raise SomethingFound(str(error)) from None
    except AlreadyRunning as error:
        raise OperatorError(f"{error}; wait until it ends, and run this again") from None


def _confirm(table: str, confirmed: str, mode: Mode) -> None:
    if confirmed == table:
        return
    if confirmed:
        raise Refused(f"--confirm names {confirmed}, and --into names {table}; nothing was changed")
    question = f"Into {table}: {_EFFECTS[mode]}. Type the name of the table to continue"
    if typer.prompt(question, default="", show_default=False, err=True) != table:
        raise Refused("not confirmed; nothing was changed")


def _restorer(cloud: Cloud, steps: _Steps, parallel: int, write_units: float) -> Restore:
    backups = cloud.settings.backups
    dynamodb = cloud.items()
    history = History(dynamodb, backups.history_table_name, backups.history_days)
    resources = Resources(dynamodb, cloud.client("s3"), backups.bucket_name, history, lambda: datetime.now(UTC))
    progress = Progress(steps.begin, steps.advance)
    return Restore(resources, Options(progress, parallel=parallel, limiter=RateLimiter(write_units or None)))


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


def _planned(plan: Plan, request: Request) -> dict[str, Any]:
    planned: dict[str, Any] = {"key": request.key, "table": request.table_name}
    planned |= {"items": plan.items, "writes": plan.writes}
    if plan.outcome:
        planned |= {"added": plan.outcome.added, "removed": plan.outcome.removed, "changed": plan.outcome.changed}
    return planned
