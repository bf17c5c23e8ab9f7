"""Invoked by S3 with the manifest of an export, and by a rule every few minutes. Completes and reports exports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger

from handlers.setup import Setup, deadline_of, holder_of
from rollbook.contract.environment import FinishExport
from rollbook.engine import finish_export
from rollbook.engine.export_watch import ExportWatch

environment = FinishExport.read()
logger = Logger(service="backups")
_setup = Setup.of(environment.notifications, default_table=environment.table_name)
_resources = _setup.resources(_setup.aws.client("s3"))
_watch = ExportWatch(_resources, _setup.notifier, timedelta(hours=environment.export_limit_hours))


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> None:
    """Finish the exports whose manifests the event names, or look at all that are in progress.

    A failure raises, and Lambda retries.
    """
    if event.get("Event") == "s3:TestEvent":  # S3 sends it once, when the notification is configured
        return
    if "Records" not in event:  # the rule's schedule
        found = _watch.run(holder=holder_of(context), deadline=deadline_of(context))
        logger.info("Looked at the exports in progress", found=found)
        return
    for record in event["Records"]:
        # Keys in S3's events are URL-encoded like form data (S3 User Guide, "Event message structure").
        manifest = unquote_plus(record["s3"]["object"]["key"])
        execution = finish_export.finish(
            manifest, _resources, _setup.notifier, holder=context.aws_request_id, deadline=deadline_of(context)
        )
        if execution is None:
            logger.info("No execution started this export", manifest=manifest)
        else:
            logger.info("Backup completed", key=execution.key, items=execution.items, bytes=execution.bytes)
