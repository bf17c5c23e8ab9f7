"""DynamoDB's exports on a clock that tests set. Every other request goes to moto.

It has AWS's rules: the window of point-in-time recovery, 15 minutes to 24 hours, one export for a token.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from rollbook.contract import moments
from tests.unit.engine import PLACES, Clock, local

BUCKET = PLACES.s3_bucket_name
Item = dict[str, Any]


def put_manifests(folder: str, arn: str, files: dict[str, list[Any]], **summary: Any) -> str:
    """Write data files and manifests as AWS's page on the format has them; return the summary's key."""
    s3 = boto3.client("s3")
    listing = b""
    for name, lines in files.items():
        body = gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/data/{name}.json.gz", Body=body)
        entry = {
            "itemCount": len(lines),
            "md5Checksum": base64.b64encode(hashlib.md5(body).digest()).decode(),
            "etag": hashlib.md5(body).hexdigest(),
            "dataFileS3Key": f"{folder}/data/{name}.json.gz",
        }
        listing += json.dumps(entry).encode() + b"\n"
    whole = {
        "version": "2020-06-30",
        "exportArn": arn,
        "startTime": "2025-07-08T00:00:03.000Z",
        "endTime": "2025-07-08T00:05:00.000Z",
        "tableArn": arn.split("/export/")[0],
        "tableId": "12345678-1234-1234-1234-123456789012",
        "exportTime": "2025-07-08T00:00:03.000Z",
        "s3Bucket": BUCKET,
        "s3Prefix": folder.split("/")[0],
        "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{folder}/manifest-files.json",
        "billedSizeBytes": 0,
        "itemCount": sum(map(len, files.values())),
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
    }
    for name, body in (("manifest-files", listing), ("manifest-summary", json.dumps(whole | summary).encode())):
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/{name}.json", Body=body)
        digest = base64.b64encode(hashlib.md5(body).digest())
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/{name}.md5", Body=digest)
    return f"{folder}/manifest-summary.json"


def error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "ExportTableToPointInTime")


class Exporting:
    """A DynamoDB client whose exports are on the tests' clock.

    Arguments:
        clock: the tests' clock.

    Attributes:
        table_id, other_ids: the ids of the exported table, and of others by name. Tables of moto have none.
        refused_until: ends of a period after this time are refused; None refuses none.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log: list[tuple[datetime, str, Item | None]] = []
        self._tokens: dict[str, tuple[dict[str, Any], str]] = {}
        self.exports: dict[str, dict[str, Any]] = {}
        self.recovery_since = clock.now - timedelta(days=1)
        self.table_id = "11111111-1111-1111-1111-111111111111"
        self.other_ids: dict[str, str] = {}
        self.refused_until: datetime | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(local().dynamodb, name)

    def write(self, key: str, **attributes: Any) -> None:
        """Put an item into the table as the exports see it."""
        self._log.append((self._clock.now, key, {"studentid": {"S": key}, **attributes}))

    def delete(self, key: str) -> None:
        """Delete an item."""
        self._log.append((self._clock.now, key, None))

    def state(self, until: datetime) -> dict[str, Item]:
        """Return the items by key just before a moment."""
        items = {key: item for at, key, item in self._log if at < until}
        return {key: item for key, item in items.items() if item is not None}

    def describe_table(self, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = local().dynamodb.describe_table(**request)
        known = {"studentData": self.table_id} | self.other_ids
        found["Table"]["TableId"] = known.get(request["TableName"], "")
        return found

    def describe_continuous_backups(self, **_: Any) -> dict[str, Any]:
        earliest = max(self.recovery_since, self._clock.now - timedelta(days=35))
        latest = max(earliest, self._clock.now - timedelta(minutes=5)).replace(microsecond=0)
        recovery = {
            "PointInTimeRecoveryStatus": "ENABLED",
            "EarliestRestorableDateTime": earliest,
            "LatestRestorableDateTime": latest,
        }
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": recovery}}

    def export_table_to_point_in_time(self, **request: Any) -> dict[str, Any]:
        token = request["ClientToken"]
        if token in self._tokens:
            known, arn = self._tokens[token]
            if known != request:
                raise error("ExportConflictException", "the token was used with other parameters")
            return {"ExportDescription": self.exports[arn]}
        period = request.get("IncrementalExportSpecification")
        if period:
            since, until = period["ExportFromTime"], period["ExportToTime"]
            is_in_window = self.recovery_since <= since and until <= self._clock.now
            is_refused = self.refused_until is not None and until > self.refused_until
            if not (timedelta(minutes=15) <= until - since <= timedelta(hours=24)) or not is_in_window or is_refused:
                raise error("InvalidExportTimeException", "Export Time is invalid")
        number = len(self.exports) + 1
        arn = f"{request['TableArn']}/export/{number:014}-00000000"
        self._tokens[token] = (request, arn)
        self.exports[arn] = {
            "ExportArn": arn,
            "ExportStatus": "IN_PROGRESS",
            "S3Prefix": request["S3Prefix"],
            "ExportTime": self._clock.now,
            "Period": (period["ExportFromTime"], period["ExportToTime"]) if period else None,
        }
        return {"ExportDescription": self.exports[arn]}

    def describe_export(self, *, ExportArn: str) -> dict[str, Any]:
        return {"ExportDescription": self.exports[ExportArn]}

    def fail(self, arn: str) -> None:
        """End an export with a failure."""
        self.exports[arn] |= {"ExportStatus": "FAILED", "FailureCode": "S3AccessDenied", "FailureMessage": "denied"}

    def complete(self, arn: str) -> str:
        """End an export: write its files, and return the key of the summary."""
        found = self.exports[arn]
        folder = f"{found['S3Prefix']}/AWSDynamoDB/{arn.rpartition('/')[2]}"
        if found["Period"]:
            since, until = found["Period"]
            changed = dict.fromkeys(key for at, key, _ in self._log if since <= at < until)
            state = self.state(until)
            lines = [self._line(key, state.get(key)) for key in changed]
            summary = {
                "exportType": "INCREMENTAL_EXPORT",
                "exportTime": None,
                "exportFromTime": moments.to_text(since),
                "exportToTime": moments.to_text(until),
                "outputView": "NEW_AND_OLD_IMAGES",
            }
        else:
            lines = [{"Item": item} for item in self.state(found["ExportTime"]).values()]
            summary = {"exportTime": moments.to_text(found["ExportTime"])}
        manifest = put_manifests(folder, arn, {"one": lines}, tableId=self.table_id, **summary)
        self.exports[arn] |= {"ExportStatus": "COMPLETED", "ExportManifest": manifest}
        return manifest

    def _line(self, key: str, new: Item | None) -> dict[str, Any]:
        line: dict[str, Any] = {"Metadata": {}, "Keys": {"studentid": {"S": key}}}
        return line | ({"NewImage": new} if new is not None else {})


class Reading:
    """An S3 client that reads each object once. The objects of a chain do not change, and moto is slow."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self._known: dict[tuple[str, str], tuple[dict[str, Any], bytes]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def head_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        return self._answer(Bucket, Key)[0]

    def get_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        answer, body = self._answer(Bucket, Key)
        return answer | {"Body": io.BytesIO(body)}

    def _answer(self, bucket: str, key: str) -> tuple[dict[str, Any], bytes]:
        if (bucket, key) not in self._known:
            found = self._s3.get_object(Bucket=bucket, Key=key)
            self._known[bucket, key] = (found, found["Body"].read())
        return self._known[bucket, key]
