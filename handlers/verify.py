"""`VerifyStudentBackup`: `{"key": …}` verifies a backup. With `"against"`, compares it with a backup or a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import now
from rollbook.contract.environment import Verify
from rollbook.engine import compare, stored, verification
from rollbook.engine.dynamodb.raw import Aws
from rollbook.engine.history import History
from rollbook.engine.resources import Resources

environment = Verify.read()
logger = Logger(service="backups")
_aws = Aws()
_history = History(_aws.dynamodb, environment.history_table_name, days=1)
_resources = Resources(_aws.dynamodb, _aws.client("s3"), environment.s3_bucket_name, _history, now)


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return the totals of the verified backup, or the differences. A damaged backup raises."""
    key, against = event.get("key"), event.get("against")
    if not isinstance(key, str) or not isinstance(against, str | None):
        raise ValueError(  # noqa: TRY004
            'send {"key": "<a backup>"} to verify it, and "against": "<a backup or a table>" to compare'
        )
    if against is not None:
        answer = compare.summary(_resources, key, against)
        logger.info("Backups compared", key=key, against=against, is_equal=answer["isEqual"])
        return answer
    backup = _resources.open_backup(key)
    whole, are_keys_checked = verification.verify(backup)
    replaced = stored.replaced(_resources.s3, _resources.bucket, backup)
    known = backup.recorded is not None
    period = {"changesFrom": backup.change_of[0], "changesUntil": backup.change_of[1]} if backup.change_of else {}
    logger.info("Backup verified", key=key, items=whole.items, known=known, replaced=replaced)
    return {
        "key": key,
        "isWhole": True,
        "isKnown": known,
        "replaced": replaced,
        "areKeysChecked": are_keys_checked,
        "items": whole.items,
        "sha256": whole.sha256,
        **period,
    }
