"""`BackupDynamoDBAndSendEmail`: by schedule, by `POST /backup`, or invoked by hand with `{}`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from handlers import http
from handlers.backups import run, scan
from handlers.backups.history import Row
from handlers.environment import Backup as BackupEnvironment

environment = BackupEnvironment.read()
logger = Logger(service="backups")


def _now() -> datetime:
    return datetime.now(UTC)


backup = run.Backup(environment, dynamodb=scan.client(), s3=boto3.client("s3"), ses=boto3.client("sesv2"), clock=_now)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Make one backup; a failure raises, so that Lambda tries again and the dead-letter queue gets it."""
    request = _request(event, context.aws_request_id)
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    row = backup.run(request, holder=context.aws_request_id, remaining=remaining)
    if row is None:
        logger.info("Another invocation is at work on this backup", execution=request.id)
        summary: dict[str, Any] = {"message": f"The backup {request.key} is being made.", "key": request.key}
    else:
        logger.info("Backup completed", **_summary(row))
        summary = {"message": f"Backup completed: {row['key']}", **_summary(row)}
    if "httpMethod" in event:
        return http.answer(200 if row else 202, summary, origin=environment.allowed_origin)
    return summary


def _request(event: Mapping[str, Any], request_id: str) -> run.Request:
    if "httpMethod" in event:
        return run.manual(environment, "api", event["requestContext"]["requestId"], _now())
    if not event:
        return run.manual(environment, "manual", request_id, _now())
    try:
        if event["source"] != "schedule":
            raise ValueError(f"its source is {event['source']!r}")
        scheduled_time = datetime.fromisoformat(event["scheduledTime"])
        if scheduled_time.tzinfo is None:
            raise ValueError(f"its time {event['scheduledTime']} has no zone")
        return run.scheduled(environment, scheduled_time)
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"the event is none of this function's ({error}); the schedule sends "
            '{"source": "schedule", "scheduledTime": "2025-07-08T00:00:00Z"}, by hand send {}'
        ) from error


def _summary(row: Row) -> dict[str, Any]:
    return {"key": row["key"], "items": int(row["items"]), "bytes": int(row["bytes"]), "seconds": row["seconds"]}
