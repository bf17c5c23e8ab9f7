"""`DrillStudentBackup`: invoked by the schedule of each table, or by hand with `{}` for the records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import Setup, deadline_of
from rollbook.contract.environment import Drill as DrillEnvironment
from rollbook.contract.fields import from_texts, to_texts
from rollbook.contract.jobs import DrillJob
from rollbook.contract.schedule_event import scheduled_time
from rollbook.engine.drill import Drill

environment = DrillEnvironment.read()
logger = Logger(service="backups")
_setup = Setup.of(environment.notifications)
_resources = _setup.resources(_setup.aws.client("s3"))
_JOB_FIELDS = {field.name for field in fields(DrillJob)}


def job_of(event: Mapping[str, Any]) -> DrillJob:
    """Return the requested drill: the environment's job, with the fields of the event's `table` replaced.

    Raises:
        ValueError: the event's `table` has an unknown field or a wrong value, or the drill could not fail.
    """
    of_table = event.get("table", {})
    is_known = isinstance(of_table, dict) and not set(of_table) - _JOB_FIELDS
    if not is_known or not all(isinstance(value, str) for value in of_table.values()):
        raise ValueError(
            f"the fields of the event's table must be texts and among {sorted(_JOB_FIELDS)}; it is {of_table}"
        )
    job = from_texts(DrillJob, to_texts(environment.job) | of_table)
    for name in ("rpo_hours", "rto_minutes"):
        # No drill would miss an objective that is not a number or infinite.
        if not 0 < getattr(job, name) < math.inf:
            raise ValueError(f"{name} is {getattr(job, name):g}; it must be more than 0 and finite")
    if not job.scratch_prefix.startswith(f"{job.table_name}-"):
        raise ValueError(f"the scratch prefix is {job.scratch_prefix}; it must begin with {job.table_name}-")
    return job


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Run one drill. A failed drill raises, so that the alarm on errors fires."""
    job = job_of(event)
    is_scheduled = bool(set(event) - {"table"})
    identity = f"{scheduled_time(event):%Y-%m-%dT%H:%M:%SZ}" if is_scheduled else context.aws_request_id
    execution_id = f"drill#{job.table_name}#{identity}"
    done = Drill(job, _resources, _setup.notifier).run(
        execution_id, holder=context.aws_request_id, deadline=deadline_of(context)
    )
    if done is None:
        logger.info("Another invocation runs this drill")
        return {"message": "Another invocation runs this drill."}
    facts: dict[str, Any] = {"key": done.key, "items": done.items}
    facts |= {"rtoSeconds": done.rto_seconds, "rpoSeconds": done.rpo_seconds}
    logger.info("Drill passed", **facts)
    return {"message": f"Drill passed: {done.key}", **facts}
