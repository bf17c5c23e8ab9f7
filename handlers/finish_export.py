"""Woken by the manifest of an export: completes the execution that began it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger

from handlers.setup import Setup, deadline_of
from rollbook.contract.environment import FinishExport
from rollbook.engine import finish_export

environment = FinishExport.read()
logger = Logger(service="backups")
_setup = Setup.of(environment.notifications, default_table=environment.table_name)
_resources = _setup.resources(_setup.aws.client("s3"))


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> None:
    """Finish the exports whose manifests the event names; a failure raises, and Lambda tries again."""
    if event.get("Event") == "s3:TestEvent":  # S3 sends it once, when the notification is set
        return
    for record in event["Records"]:
        # Keys in S3's events are encoded as in a form (S3 User Guide, "Event message structure").
        manifest = unquote_plus(record["s3"]["object"]["key"])
        execution = finish_export.finish(
            manifest, _resources, _setup.notifier, holder=context.aws_request_id, deadline=deadline_of(context)
        )
        if execution is None:
            logger.info("No execution has started this export", manifest=manifest)
        else:
            logger.info("Backup completed", key=execution.key, items=execution.items, bytes=execution.bytes)
