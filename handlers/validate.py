"""`ValidateRestoredTable`: EventBridge invokes it after a restore test. Reports to AWS Backup whether it is valid."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from aws_lambda_powertools import Logger

from handlers.setup import deadline_of
from rollbook.contract.environment import Validate
from rollbook.engine.deadline import OutOfTime
from rollbook.engine.dynamodb import raw
from rollbook.engine.validate import Restored, Validation

environment = Validate.read()
logger = Logger(service="backups")
_aws = raw.Aws()
_backup = _aws.client("backup")
_validation = Validation(
    _aws.dynamodb, _aws.client("s3"), bucket=environment.s3_bucket_name, key_prefix=environment.key_prefix
)
# The API reference names no limit; this length fits the console.
_MESSAGE = 1000


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, str]:
    """Validate the restored table and report the result. A failure of the validation itself raises; Lambda retries."""
    job_id = str(event["detail"]["restoreJobId"])
    job = _backup.describe_restore_job(RestoreJobId=job_id)
    restored = Restored(
        source=job["SourceResourceArn"].rpartition("/")[2],
        table=job["CreatedResourceArn"].rpartition("/")[2],
        taken_at=job["RecoveryPointCreationDate"].astimezone(UTC),
    )
    try:
        verdict = _validation.validate(restored, deadline_of(context))
        status, reason = ("SUCCESSFUL" if verdict.is_valid else "FAILED"), verdict.reason
    except OutOfTime as late:
        status, reason = "TIMED_OUT", str(late)
    _backup.put_restore_validation_result(
        RestoreJobId=job_id, ValidationStatus=status, ValidationStatusMessage=reason[:_MESSAGE]
    )
    logger.info("Restore validated", job=job_id, table=restored.table, status=status, reason=reason)
    return {"status": status, "reason": reason}
