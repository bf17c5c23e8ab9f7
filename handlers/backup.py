"""`BackupDynamoDBAndSendEmail`: invoked by a schedule, by `POST /backup`, or by hand with `{}`.

By hand, `{"mark": "…"}` adds a mark to the backup's key, and `{"smoke": "…"}` uploads a backup of a generated table.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from aws_lambda_powertools import Logger

from handlers import http
from handlers.setup import Setup, deadline_of, holder_of, now
from rollbook.contract import events
from rollbook.contract.environment import Backup as BackupEnvironment
from rollbook.contract.fields import from_texts, to_texts
from rollbook.contract.jobs import BackupJob
from rollbook.contract.schedule_event import scheduled_time
from rollbook.engine import backup, checkpoints, smoke
from rollbook.engine.executions import COMPLETED, CONTINUING, Execution
from rollbook.engine.s3 import upload

environment = BackupEnvironment.read()
logger = Logger(service="backups")
_setup = Setup.of(environment.notifications, default_table=environment.job.table_name)
_JOB_FIELDS = {field.name for field in fields(BackupJob)}


@functools.cache
def _s3(tags: str) -> Any:
    client = _setup.aws.client("s3")
    if tags:
        upload.tag_all(client, tags)
    return client


def job_of(event: Mapping[str, Any]) -> BackupJob:
    """Return the requested job: the environment's job, with the fields of the event's `table` replaced.

    Raises:
        ValueError: the event's `table` has an unknown field or a wrong value.
    """
    of_table = event.get("table", {})
    unknown = set(of_table) - _JOB_FIELDS
    if unknown or not all(isinstance(value, str) for value in of_table.values()):
        raise ValueError(
            f"the fields of the event's table must be texts and among {sorted(_JOB_FIELDS)}; it is {dict(of_table)}"
        )
    return from_texts(BackupJob, to_texts(environment.job) | of_table)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Make one backup. A failure raises: Lambda retries, then uses the dead-letter queue."""
    # Only a smoke test sends exactly this key. A request of the API always has other keys.
    if set(event) == {"smoke"}:
        return smoke.put(
            _s3(environment.job.object_tags),
            bucket=environment.notifications.s3_bucket_name,
            key_prefix=environment.job.key_prefix,
            marked=smoke.mark(event["smoke"]),
            clock=now,
        )
    if event.get("detail-type") == events.BackupContinues.DETAIL_TYPE:
        state = checkpoints.Checkpoints(_setup.history, event["detail"]["correlationId"]).find()
        if state is None:
            logger.info("There is nothing to continue", execution=event["detail"]["correlationId"])
            return {"message": "There is nothing to continue."}
        job, request = state.of_job(), state.request
    else:
        job = job_of(event)
        request = _request(event, job, context.aws_request_id)
    work = backup.Backup(job, _setup.resources(_s3(job.object_tags)), _setup.notifier)
    execution = work.run(request, holder=holder_of(context), deadline=deadline_of(context))
    key = execution.key if execution else work.key(request.name)
    is_done = execution is not None and execution.status == COMPLETED
    if execution is None:
        logger.info("Another invocation runs this backup", execution=request.id)
        summary: dict[str, Any] = {"message": f"The backup {key} is being made.", "key": key}
    elif execution.status == CONTINUING:
        logger.info("The next invocation continues the backup", execution=request.id, items=execution.written)
        summary = {
            "message": f"The backup {key} continues in the next invocation.",
            "key": key,
        }
    elif not is_done:
        logger.info("Backup switched to an export", execution=request.id, reason=execution.reason)
        summary = {
            "message": f"AWS exports the table to {key}; a mail follows when the export is complete.",
            "key": key,
        }
    else:
        logger.info("Backup completed", **_summary(execution))
        summary = {"message": f"Backup completed: {key}", **_summary(execution)}
    if "httpMethod" in event:
        return http.answer(200 if is_done else 202, summary, origin=environment.allowed_origin)
    return summary


def _request(event: Mapping[str, Any], job: BackupJob, request_id: str) -> backup.Request:
    zone = environment.time_zone
    if "httpMethod" in event:
        return backup.manual(job, zone, "api", event["requestContext"]["requestId"], now())
    if not set(event) - {"table", "mark"}:
        marked = smoke.mark(event["mark"]) if "mark" in event else ""
        return backup.manual(job, zone, "manual", request_id, now(), marked)
    return backup.scheduled(job, zone, scheduled_time(event))


def _summary(done: Execution) -> dict[str, Any]:
    summary = {"key": done.key, "items": done.items, "bytes": done.bytes, "seconds": f"{done.seconds or 0:.1f}"}
    return summary | ({"doubt": done.doubt} if done.doubt else {})
