"""`CopyDatabaseSnapshot`: EventBridge invokes it for a finished snapshot. Copies it and deletes expired copies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from handlers.snapshots import event as events
from handlers.snapshots.copies import Copies
from rollbook.contract.environment import CopySnapshot

environment = CopySnapshot.read()
logger = Logger(service="snapshots")
_source = boto3.client("rds")
_destination = boto3.client("rds", region_name=environment.destination_region)


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Copy one snapshot. A failure raises: the event goes to the dead-letter queue, and an alarm alerts the topic."""
    snapshot = events.parse(event)
    copies = Copies(
        _source,
        _destination,
        account_id=context.invoked_function_arn.split(":")[4],
        maker=context.function_name,
        prefix=environment.copy_prefix,
        key_arn=environment.key_arn,
        option_group=environment.option_group_name,
    )
    name = copies.make(snapshot)
    if name is None:
        logger.info("Not copied: AWS Backup made this snapshot, and its plan copies it", snapshot=snapshot.arn)
    expired = copies.expire(timedelta(days=environment.retention_days), datetime.now(UTC))
    copies.check()
    logger.info("Snapshot copied", snapshot=snapshot.arn, copy=name, expired=expired)
    return {"copy": name, "expired": expired}
