"""`VerifyStudentBackup`: `{"key": …}` verifies a backup. With `"against"`, compares it with a backup or a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from rollbook.contract.environment import Verify
from rollbook.engine import compare, stored
from rollbook.engine.dynamodb import raw

environment = Verify.read()
logger = Logger(service="backups")
_aws = raw.Aws()
_s3 = _aws.client("s3")


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return the totals of the verified backup, or the differences. A damaged backup raises."""
    key, against = event.get("key"), event.get("against")
    if not isinstance(key, str) or not isinstance(against, str | None):
        raise ValueError(  # noqa: TRY004
            'send {"key": "<a backup>"} to verify it, and "against": "<a backup or a table>" to compare'
        )
    bucket = environment.s3_bucket_name
    if against is None:
        backup = stored.open_backup(_s3, bucket, key)
        verified = stored.verify(backup)
        logger.info("Backup verified", key=key, items=verified.items)
        period = {"changesFrom": backup.change_of[0], "changesUntil": backup.change_of[1]} if backup.change_of else {}
        return {"key": key, "isWhole": True, "items": verified.items, "sha256": verified.sha256, **period}
    answer = compare.summary(_aws.dynamodb, _s3, bucket, key, against)
    logger.info("Backups compared", key=key, against=against, is_equal=answer["isEqual"])
    return answer
