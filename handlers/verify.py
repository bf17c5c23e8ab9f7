"""`VerifyStudentBackup`: `{"key": …}` verifies a backup; with `"against"` it compares it with another or a table."""

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
    """Answer what the backup holds, or by what the two differ; a damaged backup raises."""
    key, against = event.get("key"), event.get("against")
    if not isinstance(key, str) or not isinstance(against, str | None):
        raise ValueError(  # noqa: TRY004
            'send {"key": "<a backup>"} to verify it, and "against": "<a backup or a table>" to compare'
        )
    bucket = environment.s3_bucket_name
    if against is None:
        whole = stored.verify(stored.open_backup(_s3, bucket, key))
        logger.info("Backup verified", key=key, items=whole.items)
        return {"key": key, "isWhole": True, "items": whole.items, "sha256": whole.sha256}
    answer = compare.summary(_aws.dynamodb, _s3, bucket, key, against)
    logger.info("Backups compared", key=key, against=against, is_equal=answer["isEqual"])
    return answer
