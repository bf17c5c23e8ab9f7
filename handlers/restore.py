"""`RestoreStudentData`: `{"key": …, "to": …}` restores a backup into a new table, `"into"` into one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from rollbook.contract import events
from rollbook.contract.environment import Restore as RestoreEnvironment
from rollbook.engine import restore
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.history import History
from rollbook.messages.bus import Bus

environment = RestoreEnvironment.read()
logger = Logger(service="backups")


def _now() -> datetime:
    return datetime.now(UTC)


_aws = raw.Aws()
_restorer = restore.Restore(
    dynamodb=_aws.dynamodb,
    s3=_aws.client("s3"),
    bucket=environment.s3_bucket_name,
    history=History(_aws.dynamodb, environment.history_table_name, int(environment.history_days)),
    clock=_now,
)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Restore, or with `"dryRun": true` only tell what would be done; a failure raises, and a retry goes on from it."""
    request = parse(event)
    if event.get("dryRun"):
        plan = _restorer.plan(request)
        logger.info("Restore planned", key=request.key, table=request.table_name, writes=plan.writes)
        return {"key": request.key, "table": request.table_name, "items": plan.items, "writes": plan.writes}
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000, int(context.memory_limit_in_mb))
    row = _restorer.run(request, holder=context.aws_request_id, deadline=deadline)
    completed = events.RestoreCompleted(
        correlation_id=request.id,
        table=request.table_name,
        bucket=environment.s3_bucket_name,
        key=request.key,
        items=int(row["items"]),
        written=int(row["written"]),
        seconds=float(row["seconds"]),
    )
    Bus(_aws.client("events"), environment.event_bus_name).put(completed)
    logger.info("Restore completed", key=completed.key, table=completed.table, written=completed.written)
    return {
        "key": completed.key,
        "table": completed.table,
        "items": completed.items,
        "written": completed.written,
        "seconds": completed.seconds,
    }


def parse(event: Mapping[str, Any]) -> restore.Request:
    """Return what an event asks for.

    Raises:
        RestoreRefused: it is not said which backup, where to, or, for a table that is there, not confirmed.
    """
    key, new, existing = event.get("key"), event.get("to"), event.get("into")
    unknown = set(event) - {"key", "to", "into", "confirm", "onlyMissing", "onlyDiffering", "dryRun"}
    if unknown:
        raise restore.RestoreRefused(f"the event has what this function does not know: {sorted(unknown)}")
    if not isinstance(key, str) or not key or bool(new) == bool(existing):
        raise restore.RestoreRefused(
            'send {"key": "<a backup>", "to": "<a new table>"} or '
            '{"key": "<a backup>", "into": "<a table>", "confirm": "<the same table>"}'
        )
    if new and not str(new).startswith(environment.restored_prefix):
        raise restore.RestoreRefused(
            f"the new table is {new}; this function makes those whose name begins with {environment.restored_prefix}"
        )
    if event.get("onlyMissing") and event.get("onlyDiffering"):
        raise restore.RestoreRefused("onlyMissing and onlyDiffering are two things; send one")
    if existing and event.get("confirm") != existing and not event.get("dryRun"):
        raise restore.RestoreRefused(
            f'a restore into {existing} overwrites what is there; send "confirm": "{existing}" with it'
        )
    mode: restore.Mode = "missing" if event.get("onlyMissing") else "differing" if event.get("onlyDiffering") else "all"
    return restore.Request(key, str(new or existing), is_new=bool(new), mode=mode)
