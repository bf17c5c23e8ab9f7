"""`rollbook schedule test` waits for the backup of its own table."""

from __future__ import annotations

import boto3

from infra.settings import ENVIRONMENTS, load
from ops import schedule
from ops.cloud import Cloud

_MAILED = {"status": {"S": "completed"}, "source": {"S": "schedule"}, "mailedAt": {"S": "2026-01-01T00:00:00Z"}}


def test_a_backup_of_another_table_in_the_same_minute_does_not_count(aws: None) -> None:
    settings = load(ENVIRONMENTS / "local.toml")
    dynamodb = boto3.client("dynamodb")
    for table in ("studentData", "welcomed-users"):
        row = _MAILED | {"id": {"S": table}, "tableName": {"S": table}, "key": {"S": f"{table}/20260101T0700.json"}}
        dynamodb.put_item(TableName=settings.backups.history_table_name, Item=row)
    outputs = dict.fromkeys(("api_url", "site_url", "api_key_id"), "")
    assert schedule._scheduled_keys(Cloud(settings, outputs)) == {"studentData/20260101T0700.json"}
