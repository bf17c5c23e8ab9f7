"""`CheckStudentBackups`: invoked by the event of a completed backup, and daily by its schedule.

By hand, `{"key": "<a backup>"}` reads one backup, and `{}` those that are due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import Setup, deadline_of
from rollbook.contract.environment import CheckBackups
from rollbook.contract.schedule_event import scheduled_time
from rollbook.engine.checks import Checks

environment = CheckBackups.read()
logger = Logger(service="backups")
_setup = Setup.of(environment.notifications)
_checks = Checks(_setup.resources(_setup.aws.client("s3")), _setup.notifier.damaged)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Read one backup or a share of all. Damage raises after it was told, so that the alarm on errors fires, too.

    So does a backup that could not be read.
    """
    if "key" in event:
        outcome = _checks.one(str(event["key"]), f"check#{context.aws_request_id}", deadline_of(context))
    else:
        identity = f"{scheduled_time(event):%Y-%m-%dT%H:%M:%SZ}" if event else context.aws_request_id
        outcome = _checks.share(environment.within_days, f"check#{identity}", deadline_of(context))
    counts = {name: len(keys) for name, keys in vars(outcome).items()}
    logger.info("Backups checked", extra=counts)
    outcome.judge()
    return counts
