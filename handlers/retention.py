"""`MarkExpiredBackups`: marks the backups that a policy no longer keeps. A completed backup invokes it.

By hand: `{"detail": {"table": …}}` marks, and `{"pin": KEY}` or `{"unpin": KEY}` changes the pin of one backup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from dateutil import tz

from handlers.setup import now
from rollbook.contract.retention import RetainedTable, Variables, from_text
from rollbook.engine.dynamodb.raw import Aws
from rollbook.engine.history import History
from rollbook.engine.inventory import Inventory
from rollbook.engine.marking import Marking
from rollbook.engine.resources import Resources

environment = Variables.read()
logger = Logger(service="backups")
_aws = Aws()
_tables = from_text(environment.retained_tables)
_resources = Resources(
    _aws.dynamodb,
    _aws.client("s3"),
    environment.s3_bucket_name,
    History(_aws.dynamodb, environment.history_table_name, environment.history_days),
    now,
)
_marking = Marking(
    _resources,
    # The DynamoDB client of `Aws` returns the items of a scan as bytes.
    Inventory(_resources.s3, boto3.client("dynamodb"), environment.s3_bucket_name, environment.history_table_name),
    tz.gettz(environment.time_zone),
    environment.history_days,
)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Mark the backups of one table, or change a pin. What cannot be done raises, and Lambda retries."""
    for action in ("pin", "unpin"):
        if key := event.get(action):
            return _change_pin(action, str(key))
    name = str(event.get("detail", {}).get("table", ""))
    if name not in _tables:
        raise ValueError(f"{name!r} is no table with a retention; there are: {', '.join(_tables)}")
    outcome = _marking.run(_tables[name])
    logger.info("Backups marked", table=name, **asdict(outcome))
    return {"table": name, **asdict(outcome)}


def _change_pin(action: str, key: str) -> dict[str, Any]:
    table = _table_of(key)
    unmarked = _marking.pin(table, key).unmarked if action == "pin" else []
    if action == "unpin":
        _marking.unpin(table, key)
    logger.info("Pin changed", key=key, is_pinned=action == "pin", unmarked=unmarked)
    return {"key": key, "isPinned": action == "pin", "unmarked": unmarked}


def _table_of(key: str) -> RetainedTable:
    for table in _tables.values():
        if key.startswith(table.key_prefix):
            return table
    raise ValueError(f"{key!r} is no backup of a table with a retention; there are: {', '.join(_tables)}")
