"""`DrillStudentBackup`: invoked by its weekly schedule, or by hand with `{}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import Setup, deadline_of
from rollbook.contract.environment import Drill as DrillEnvironment
from rollbook.contract.schedule_event import scheduled_time
from rollbook.engine.drill import Drill

environment = DrillEnvironment.read()
logger = Logger(service="backups")
_setup = Setup.of(environment.notifications)
_drill = Drill(
    environment.table_name,
    environment.scratch_prefix,
    _setup.resources(_setup.aws.client("s3")),
    _setup.notifier,
)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Run one drill. A failed drill raises, so that the alarm on errors fires."""
    identity = f"{scheduled_time(event):%Y-%m-%dT%H:%M:%SZ}" if event else context.aws_request_id
    execution_id = f"drill#{environment.table_name}#{identity}"
    done = _drill.run(execution_id, holder=context.aws_request_id, deadline=deadline_of(context))
    if done is None:
        logger.info("Another invocation runs this drill")
        return {"message": "Another invocation runs this drill."}
    facts: dict[str, Any] = {"key": done.key, "items": done.items}
    facts |= {"rtoSeconds": done.rto_seconds, "rpoSeconds": done.rpo_seconds}
    logger.info("Drill passed", **facts)
    return {"message": f"Drill passed: {done.key}", **facts}
