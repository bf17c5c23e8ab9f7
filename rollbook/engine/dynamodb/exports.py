"""The engine `export`: AWS's own ExportTableToPointInTime, which costs no read capacity and knows no size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# An incremental export covers 15 minutes to 24 hours (Developer Guide, "Requesting a table export").
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=24)


class ExportFailed(RuntimeError):
    """AWS's export failed; the message has its reason."""


@dataclass(frozen=True)
class Period:
    """The changes that an incremental export has: from, included, to, excluded."""

    since: datetime
    until: datetime


def start(
    dynamodb: Any, *, table_arn: str, bucket: str, prefix: str, token: str, period: Period | None
) -> dict[str, Any]:
    """Begin an export and return AWS's description of it; it goes on by itself.

    Arguments:
        dynamodb: a DynamoDB client.
        token: the same for every try of one execution, within eight hours of which AWS makes one export.
        period: of an incremental export; None for a full one.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused; above all without point-in-time recovery.
    """
    kind: dict[str, Any] = {"ExportType": "FULL_EXPORT"}
    if period:
        kind = {
            "ExportType": "INCREMENTAL_EXPORT",
            "IncrementalExportSpecification": {
                "ExportFromTime": period.since,
                "ExportToTime": period.until,
                "ExportViewType": "NEW_AND_OLD_IMAGES",
            },
        }
    started: dict[str, Any] = dynamodb.export_table_to_point_in_time(
        TableArn=table_arn,
        S3Bucket=bucket,
        S3Prefix=prefix,
        S3SseAlgorithm="AES256",
        ExportFormat="DYNAMODB_JSON",
        ClientToken=hashlib.sha256(token.encode()).hexdigest()[:36],
        **kind,
    )["ExportDescription"]
    return started


def fault(dynamodb: Any, export_arn: str) -> str | None:
    """Return why an export failed, or None if it has not."""
    found = dynamodb.describe_export(ExportArn=export_arn)["ExportDescription"]
    if found["ExportStatus"] != "FAILED":
        return None
    return f"{found.get('FailureCode')}: {found.get('FailureMessage')}"
