"""Woken by the manifest of an export: completes the execution that began it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger

from rollbook.contract.environment import FinishExport
from rollbook.engine import finish_export
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.history import History
from rollbook.engine.notifier import Notifier

environment = FinishExport.read()
logger = Logger(service="backups")


def _now() -> datetime:
    return datetime.now(UTC)


_aws = raw.Aws()
_s3 = _aws.client("s3")
_history = History(_aws.dynamodb, environment.history_table_name, int(environment.history_days))
_notifier = Notifier(environment, history=_history, client=_aws.client, clock=_now)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> None:
    """Finish the exports whose manifests S3 tells of; a failure raises, and Lambda tries again."""
    if event.get("Event") == "s3:TestEvent":  # S3 sends it once, when the notification is set
        return
    for record in event["Records"]:
        # Keys in S3's events are encoded as in a form (S3 User Guide, "Event message structure").
        manifest = unquote_plus(record["s3"]["object"]["key"])
        row = finish_export.finish(
            manifest,
            s3=_s3,
            bucket=environment.s3_bucket_name,
            history=_history,
            notifier=_notifier,
            clock=_now,
            holder=context.aws_request_id,
            deadline=Deadline.after(context.get_remaining_time_in_millis() / 1000),
        )
        if row is None:
            logger.info("This export is no execution's", manifest=manifest)
        else:
            logger.info("Backup completed", key=row["key"], items=int(row["items"]), bytes=int(row["bytes"]))
