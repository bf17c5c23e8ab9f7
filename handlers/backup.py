"""`BackupDynamoDBAndSendEmail`: by schedule, by `POST /backup`, or invoked by hand with `{}`.

By hand, `{"mark": "…"}` puts a mark into the backup's key, and `{"smoke": "…"}` uploads a backup of a made-up table.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from handlers import http
from rollbook.contract.environment import Backup as BackupEnvironment
from rollbook.contract.schedule_event import scheduled_time
from rollbook.engine import backup as run
from rollbook.engine import smoke
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.history import COMPLETED, History, Row
from rollbook.engine.notifier import Notifier
from rollbook.engine.s3 import upload

environment = BackupEnvironment.read()
logger = Logger(service="backups")


def _now() -> datetime:
    return datetime.now(UTC)


_aws = raw.Aws()
_history = History(_aws.dynamodb, environment.history_table_name, int(environment.history_days))
# What a schedule may say of its own table, by the names of the environment; a table's own schedule says it all.
_OF_TABLE = {
    "table_name",
    "key_prefix",
    "engine",
    "format",
    "compression",
    "export_type",
    "segments",
    "read_units_per_second",
    "object_tags",
}


@functools.cache
def _s3(tags: str) -> Any:
    client = _aws.client("s3")
    if tags:
        upload.tag_all(client, tags)
    return client


def backup_of(event: Mapping[str, Any]) -> tuple[run.Backup, BackupEnvironment]:
    """Return the backup that an event asks for: of the environment's table, or of the table that the event names.

    Raises:
        ValueError: what the event says of the table is not known here.
    """
    of_table = event.get("table", {})
    unknown = set(of_table) - _OF_TABLE
    if unknown or not all(isinstance(value, str) for value in of_table.values()):
        raise ValueError(f"the event's table may say {sorted(_OF_TABLE)}, each as text; it says {dict(of_table)}")
    wanted = replace(environment, **of_table)
    backup = run.Backup(
        wanted,
        dynamodb=_aws.dynamodb,
        s3=_s3(wanted.object_tags),
        history=_history,
        notifier=Notifier(wanted, history=_history, client=_aws.client, clock=_now),
        clock=_now,
    )
    return backup, wanted


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Make one backup; a failure raises, so that Lambda tries again and the dead-letter queue gets it."""
    # Nothing else has this key alone; a request of the API never has it at the top.
    if set(event) == {"smoke"}:
        return smoke.put(
            _s3(environment.object_tags),
            bucket=environment.s3_bucket_name,
            key_prefix=environment.key_prefix,
            marked=smoke.mark(event["smoke"]),
            clock=_now,
        )
    backup, wanted = backup_of(event)
    request = _request(event, wanted, context.aws_request_id)
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000, int(context.memory_limit_in_mb))
    row = backup.run(request, holder=context.aws_request_id, deadline=deadline)
    key = str(row["key"]) if row else backup.key(request)
    if row is None:
        logger.info("Another invocation is at work on this backup", execution=request.id)
        summary: dict[str, Any] = {"message": f"The backup {key} is being made.", "key": key}
    elif row["status"] != COMPLETED:
        logger.info("Backup handed over to an export", execution=request.id, reason=row["reason"])
        summary = {"message": f"AWS exports the table to {key}; its mail will tell.", "key": key}
    else:
        logger.info("Backup completed", **_summary(row))
        summary = {"message": f"Backup completed: {key}", **_summary(row)}
    if "httpMethod" in event:
        is_done = row is not None and row["status"] == COMPLETED
        return http.answer(200 if is_done else 202, summary, origin=environment.allowed_origin)
    return summary


def _request(event: Mapping[str, Any], wanted: BackupEnvironment, request_id: str) -> run.Request:
    if "httpMethod" in event:
        return run.manual(wanted, "api", event["requestContext"]["requestId"], _now())
    if not set(event) - {"table", "mark"}:
        marked = smoke.mark(event["mark"]) if "mark" in event else ""
        return run.manual(wanted, "manual", request_id, _now(), marked)
    return run.scheduled(wanted, scheduled_time(event))


def _summary(row: Row) -> dict[str, Any]:
    return {"key": row["key"], "items": int(row["items"]), "bytes": int(row["bytes"]), "seconds": row["seconds"]}
