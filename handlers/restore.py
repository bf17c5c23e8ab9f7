"""`RestoreStudentData`: `{"key": …, "to": …}` restores a backup into a new table, `"into"` into an existing one.

`"chain": true` restores an incremental export with its base and all increments between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import deadline_of, now
from rollbook.contract import events
from rollbook.contract.environment import Restore as RestoreEnvironment
from rollbook.engine.dynamodb.raw import Aws
from rollbook.engine.history import History
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import Mode, Request, RestoreRefused
from rollbook.messages.bus import Bus

environment = RestoreEnvironment.read()
logger = Logger(service="backups")
_aws = Aws()
_history = History(_aws.dynamodb, environment.history_table_name, environment.history_days)
_restore = Restore(Resources(_aws.dynamodb, _aws.client("s3"), environment.s3_bucket_name, _history, now))


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Restore, or with `"dryRun": true` return the plan. A failure raises, and a retry continues the restore."""
    request = parse(event)
    if event.get("dryRun"):
        plan = _restore.plan(request)
        logger.info("Restore planned", key=request.key, table=request.table_name, writes=plan.writes)
        return {"key": request.key, "table": request.table_name, "items": plan.items, "writes": plan.writes}
    done = _restore.run(request, holder=context.aws_request_id, deadline=deadline_of(context))
    completed = events.RestoreCompleted(
        correlation_id=request.id,
        table=request.table_name,
        bucket=environment.s3_bucket_name,
        key=request.key,
        items=done.items or 0,
        written=done.written,
        seconds=done.seconds or 0.0,
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


def parse(event: Mapping[str, Any]) -> Request:
    """Return the request of an event.

    Raises:
        RestoreRefused: the backup or the target is missing, or an existing target is not confirmed.
    """
    key, new, existing = event.get("key"), event.get("to"), event.get("into")
    unknown = set(event) - {"key", "to", "into", "confirm", "onlyMissing", "onlyDiffering", "dryRun", "chain"}
    if unknown:
        raise RestoreRefused(f"the event has unknown keys: {sorted(unknown)}")
    if not isinstance(key, str) or not key or bool(new) == bool(existing):
        raise RestoreRefused(
            'send {"key": "<a backup>", "to": "<a new table>"} or '
            '{"key": "<a backup>", "into": "<a table>", "confirm": "<the same table>"}'
        )
    if new and not str(new).startswith(environment.restored_prefix):
        raise RestoreRefused(f"the new table is {new}; its name must begin with {environment.restored_prefix}")
    if event.get("onlyMissing") and event.get("onlyDiffering"):
        raise RestoreRefused("send only one of onlyMissing and onlyDiffering")
    if existing and event.get("confirm") != existing and not event.get("dryRun"):
        raise RestoreRefused(f'a restore into {existing} overwrites items; to confirm, send "confirm": "{existing}"')
    mode: Mode = "missing" if event.get("onlyMissing") else "differing" if event.get("onlyDiffering") else "all"
    return Request(key, str(new or existing), is_new=bool(new), mode=mode, chain=bool(event.get("chain")))
