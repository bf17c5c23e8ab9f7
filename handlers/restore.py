"""`RestoreStudentData`: `{"key": …, "to": …}` restores a backup into a new table, `"into"` into an existing one.

`"chain": true` restores an incremental export with its base and all increments between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import deadline_of, holder_of, now
from rollbook.contract import events
from rollbook.contract.environment import Restore as RestoreEnvironment
from rollbook.engine.dynamodb.definitions import managed_key
from rollbook.engine.dynamodb.raw import Aws
from rollbook.engine.dynamodb.workers import NotWritten
from rollbook.engine.history import History
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import Change, Mode, Options, Request, RestoreRefused
from rollbook.engine.selection import Selection
from rollbook.messages.bus import Bus

_FLAGS = ("overwrite", "onlyMissing", "onlyDiffering", "indexesAfter", "dryRun", "unknown", "chain")
_KEYS = {"key", "to", "into", "confirm", "items", "except", *_FLAGS}
environment = RestoreEnvironment.read()
logger = Logger(service="backups")
_aws = Aws()
_history = History(_aws.dynamodb, environment.history_table_name, environment.history_days)
_restore = Restore(
    Resources(_aws.dynamodb, _aws.client("s3"), environment.s3_bucket_name, _history, now),
    Options(managed_key=lambda: managed_key(_aws.client("kms"))),
)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Restore, or with `"dryRun": true` return the plan. A failure raises, and a retry continues the restore."""
    request = parse(event)
    if event.get("dryRun"):
        plan = _restore.plan(request)
        logger.info("Restore planned", key=request.key, table=request.table_name, writes=plan.writes)
        answer = {"key": request.key, "table": request.table_name, "items": plan.items, "writes": plan.writes}
        return answer | {"keys": plan.keys, "changes": [_described(change) for change in plan.changes]}
    try:
        done = _restore.run(request, holder=holder_of(context), deadline=deadline_of(context))
    except NotWritten as error:
        for item in error.refused:
            logger.error("Item not written", item_key=item.key, reason=item.reason)
        raise
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
        "savedMeanwhile": done.kept,
        "notRestored": done.not_restored,
    }


def _described(change: Change) -> dict[str, Any]:
    """Return an item's key and the names of the attributes that change. Their values are personal data."""
    before, after = (json.loads(item) if item else {} for item in (change.before, change.after))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    existence = {"existsBefore": change.before is not None, "existsAfter": change.after is not None}
    return {"key": change.key, "changedAttributes": changed, **existence}


def parse(event: Mapping[str, Any]) -> Request:
    """Return the request of an event.

    Raises:
        RestoreRefused: the backup or the target is missing, or an existing target is not confirmed.
    """
    key, new, existing = event.get("key"), event.get("to"), event.get("into")
    unknown = set(event) - _KEYS
    if unknown:
        raise RestoreRefused(f"the event has unknown keys: {sorted(unknown)}")
    if not isinstance(key, str) or not key or bool(new) == bool(existing):
        raise RestoreRefused(
            'send {"key": "<a backup>", "to": "<a new table>"} or '
            '{"key": "<a backup>", "into": "<a table>", "confirm": "<the same table>"}'
        )
    if new and not str(new).startswith(environment.restored_prefix):
        raise RestoreRefused(f"the new table is {new}; its name must begin with {environment.restored_prefix}")
    for name in _FLAGS:
        if not isinstance(event.get(name, False), bool):
            raise RestoreRefused(f"{name} is {event[name]!r}; it must be true or false")
    overwrites = event.get("overwrite") or event.get("onlyDiffering")
    if event.get("onlyMissing") and overwrites:
        raise RestoreRefused("onlyMissing excludes onlyDiffering and overwrite; send one")
    if existing and event.get("indexesAfter"):
        raise RestoreRefused("indexesAfter is for a new table")
    if existing and event.get("confirm") != existing and not event.get("dryRun"):
        raise RestoreRefused(f'a restore into {existing} changes the table; to confirm, send "confirm": "{existing}"')
    mode: Mode = "all" if new else "differing" if overwrites else "missing"
    return Request(
        key,
        str(new or existing),
        is_new=bool(new),
        mode=mode,
        selection=Selection(_texts(event, "items"), _texts(event, "except")),
        indexes_after=bool(event.get("indexesAfter")),
        allows_unknown=bool(event.get("unknown")),
        chain=bool(event.get("chain")),
    )


def _texts(event: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = event.get(name, [])
    is_empty = name in event and not found
    if not isinstance(found, list) or is_empty or not all(isinstance(text, str) and text for text in found):
        raise RestoreRefused(f"{name} must be a list of one or more keys")
    return tuple(found)
