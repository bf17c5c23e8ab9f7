"""`AuditBackupAccess`: EventBridge invokes it with CloudTrail records. Alerts on unexpected access to backups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from handlers.audit import record
from rollbook.contract.environment import Audit

environment = Audit.read()
logger = Logger(service="audit")
sns = boto3.client("sns")
_expected = frozenset(environment.expected_role_arns.split(","))
# A subject must have fewer than 100 characters (SNS API reference, Publish).
_SUBJECT = 99


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: Mapping[str, Any], context: Any) -> dict[str, bool]:
    """Publish an alert if the access is alarming. A failure raises: Lambda retries, then uses the dead-letter queue."""
    access = record.parse(event.get("detail"), environment.s3_bucket_name)
    alarming = access is not None and record.is_alarming(access, _expected, refused_too=environment.alert_refused)
    if access is not None and alarming:
        subject, body = alert_text(access, environment.s3_bucket_name)
        sns.publish(TopicArn=environment.topic_arn, Subject=subject, Message=body)
        logger.warning(subject, record=access.event_id)
    return {"alerted": alarming}


def alert_text(access: record.Access, bucket: str) -> tuple[str, str]:
    """Return the subject and the text of an alert."""
    operation = f"was not {access.operation}: refused" if access.refusal else f"was {access.operation}"
    keys = ", ".join(f"s3://{bucket}/{key}" for key in access.keys) or f"s3://{bucket} (the record names no key)"
    subject = f"A backup {operation}, by {access.who}".encode("ascii", "replace").decode()
    rows = {
        "Who": str(access.who),
        "From": f"{access.address} ({access.agent})" if access.agent else access.address,
        "What": f"{access.action}: {operation}",
        "Backup": keys,
        "When": f"{access.time}, Region {access.region}",
        "Answer": access.refusal or "success",
        "Record": access.event_id,
    }
    lines = [f"{name + ':':8}{' '.join(value.split())}" for name, value in rows.items()]
    return " ".join(subject.split())[:_SUBJECT], "\n".join(lines) + "\n"
