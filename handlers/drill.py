"""`DrillStudentBackup`: by its weekly schedule, or invoked by hand with `{}`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from rollbook.contract.environment import Drill as DrillEnvironment
from rollbook.contract.schedule_event import scheduled_time
from rollbook.engine.deadline import Deadline
from rollbook.engine.drill import Drill
from rollbook.engine.dynamodb import raw
from rollbook.engine.history import History
from rollbook.engine.notifier import Notifier

environment = DrillEnvironment.read()
logger = Logger(service="backups")


def _now() -> datetime:
    return datetime.now(UTC)


_aws = raw.Aws()
_history = History(_aws.dynamodb, environment.history_table_name, int(environment.history_days))
_drill = Drill(
    table_name=environment.table_name,
    bucket=environment.s3_bucket_name,
    scratch_prefix=environment.scratch_prefix,
    dynamodb=_aws.dynamodb,
    s3=_aws.client("s3"),
    history=_history,
    notifier=Notifier(environment, history=_history, client=_aws.client, clock=_now),
    clock=_now,
)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Make one drill; one that fails raises, so that the alarm sees it."""
    identity = f"{scheduled_time(event):%Y-%m-%dT%H:%M:%SZ}" if event else context.aws_request_id
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000, int(context.memory_limit_in_mb))
    row = _drill.run(f"drill#{environment.table_name}#{identity}", holder=context.aws_request_id, deadline=deadline)
    if row is None:
        logger.info("Another invocation is at work on this drill")
        return {"message": "The drill is at work."}
    answer = {"message": f"Drill passed: {row['key']}", "key": row["key"], "items": int(row["items"])}
    answer |= {name: float(row[name]) for name in ("rtoSeconds", "rpoSeconds")}
    logger.info("Drill passed", **{name: value for name, value in answer.items() if name != "message"})
    return answer
