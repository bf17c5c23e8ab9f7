"""Calls ExportTableToPointInTime for the engine `export`. An export uses no read capacity and has no size limit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# An incremental export covers 15 minutes to 24 hours (Developer Guide, "Requesting a table export").
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=24)
# A token is valid for 8 hours (API Reference, "ExportTableToPointInTime"). An hour is the margin for clocks.
TOKEN_LIFE = timedelta(hours=7)


class ExportFailed(RuntimeError):
    """The export failed. The message has AWS's reason."""


@dataclass(frozen=True)
class Period:
    """The period of an incremental export: from `since` (included) to `until` (excluded)."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Window:
    """The times that point-in-time recovery can restore and export, by AWS's clock; None if AWS names none."""

    earliest: datetime | None
    latest: datetime | None


def start(
    dynamodb: Any, *, table_arn: str, bucket: str, prefix: str, token: str, period: Period | None
) -> dict[str, Any]:
    """Start an export and return AWS's description of it. The export then runs asynchronously.

    Arguments:
        dynamodb: a DynamoDB client.
        token: the same for every try of one export. For eight hours, AWS makes one export for a token, and refuses
            the token with other parameters (ExportConflictException). Therefore the period is added to it.
        period: of an incremental export; None for a full one.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused. The usual cause: point-in-time recovery is off.
    """
    kind: dict[str, Any] = {"ExportType": "FULL_EXPORT"}
    if period:
        token = f"{token} {period.since.isoformat()} {period.until.isoformat()}"
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


def window(dynamodb: Any, table_name: str) -> Window:
    """Return the times that point-in-time recovery covers now.

    The latest time is typically five minutes ago (API Reference, "PointInTimeRecoveryDescription").
    """
    found = dynamodb.describe_continuous_backups(TableName=table_name)["ContinuousBackupsDescription"]
    recovery = found.get("PointInTimeRecoveryDescription", {})
    return Window(recovery.get("EarliestRestorableDateTime"), recovery.get("LatestRestorableDateTime"))


def describe(dynamodb: Any, export_arn: str) -> dict[str, Any]:
    """Return AWS's description of an export."""
    found: dict[str, Any] = dynamodb.describe_export(ExportArn=export_arn)["ExportDescription"]
    return found


def fault(dynamodb: Any, export_arn: str) -> str | None:
    """Return why an export failed, or None if it has not failed."""
    return fault_of(describe(dynamodb, export_arn))


def fault_of(description: dict[str, Any]) -> str | None:
    """Return why a described export failed, or None if it has not failed."""
    if description["ExportStatus"] != "FAILED":
        return None
    return f"{description.get('FailureCode')}: {description.get('FailureMessage')}"
