"""What no role of the workflows may do: read or change records, backups and dead letters."""

from __future__ import annotations

from infra.constructs.policy import Statement
from infra.settings import Settings

# Actions that read or change records or data derived from them. Both roles are denied these actions.
RECORDS = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:ExportTableToPointInTime",
    "dynamodb:GetItem",
    "dynamodb:GetRecords",
    "dynamodb:PartiQL*",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
    "lambda:InvokeFunction",
    "logs:FilterLogEvents",
    "logs:GetLogEvents",
    "logs:StartQuery",
    "sqs:DeleteMessage",
    "sqs:PurgeQueue",
    "sqs:ReceiveMessage",
    "ses:SendEmail",
)
OBJECTS = ("s3:DeleteObject*", "s3:GetObject*", "s3:PutObject*", "s3:ReplicateObject", "s3:RestoreObject")


def never(settings: Settings) -> list[Statement]:
    """Return the denials, which override any other permission of a role."""
    kept = [f"arn:aws:s3:::{bucket}/*" for bucket in (settings.backups.bucket_name, settings.audit_bucket_name)]
    return [
        Statement("NeverRecords", RECORDS, ["*"], effect="Deny"),
        Statement("NeverBackups", OBJECTS, kept, effect="Deny"),
    ]
