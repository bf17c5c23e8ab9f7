"""ExportTableToPointInTime: writes the same files as AWS's export, with the caller's permissions.

Sources: DynamoDB Developer Guide, "Requesting a table export" and "DynamoDB table export output format". AWS writes
`.md5` files, which that page calls `.checksum`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
import time
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import dynamodb, s3, sts

from infra.emulator import changes

# The permissions that the caller needs on the objects (Developer Guide, "Requesting a table export").
ACTIONS = ("s3:AbortMultipartUpload", "s3:PutObject", "s3:PutObjectAcl")
# DynamoDB's limits of the period of an incremental export, in seconds (API Reference,
# "IncrementalExportSpecification").
_SHORTEST, _LONGEST = 15 * 60, 24 * 3600
_TOKEN_SECONDS = 8 * 3600
# The time and the parameters of each used token, by account, Region and token.
_tokens: dict[tuple[str, str, str], tuple[float, str]] = {}
# One file per partition of the table. An empty partition has an empty file.
_PARTITIONS = 2
# MiniStack completes an export that is IN_PROGRESS after a second without writing files, so it has another status.
_WRITING = "WRITING"
_export = dynamodb._export_table_to_point_in_time
_describe = dynamodb._describe_export


def export(request: dict[str, Any]) -> Any:
    """Start an export.

    Unlike AWS, it does not check that point-in-time recovery was on since the beginning of the period.
    """
    name = dynamodb._table_name_from_arn(request.get("TableArn") or "")
    if name in dynamodb._tables and not dynamodb._pitr_settings.get(name, False):
        message = f"Point in time recovery is not enabled for table '{name}'"
        return error_response_json("PointInTimeRecoveryUnavailableException", message, 400)
    refusal = _conflict(request)
    if refusal is not None:
        return refusal
    now = time.time()
    period = request.get("IncrementalExportSpecification") or {}
    is_incremental = request.get("ExportType") == "INCREMENTAL_EXPORT"
    since, until = float(period.get("ExportFromTime", 0)), float(period.get("ExportToTime", now))
    if is_incremental and not (_SHORTEST <= until - since <= _LONGEST and until <= now + 1):
        return error_response_json(
            "InvalidExportTimeException", "An incremental export covers 15 minutes to 24 hours of the past", 400
        )
    moment = float(request.get("ExportTime", now))
    if moment > now + 1:
        return error_response_json("InvalidExportTimeException", "The export's time is in the future", 400)
    known = set(dynamodb._exports)
    answer = _export(request)
    if answer[0] != 200 or set(dynamodb._exports) == known:
        return answer
    arn = json.loads(answer[2])["ExportDescription"]["ExportArn"]
    description = dynamodb._exports[arn]
    if token := request.get("ClientToken"):
        _tokens[get_account_id(), get_region(), token] = (now, _parameters(request))
    if is_incremental:
        description["IncrementalExportSpecification"] = {
            "ExportFromTime": since,
            "ExportToTime": until,
            "ExportViewType": period.get("ExportViewType", "NEW_AND_OLD_IMAGES"),
        }
        lines = [_change_line(change, period) for change in changes.between(name, since, until)]
    else:
        description["ExportTime"] = moment
        items = changes.items_at(name, moment)
        lines = [{"Item": item} for of_partition in items.values() for item in of_partition.values()]
    text = [json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for line in lines]
    description["ExportStatus"] = _WRITING
    threading.Thread(target=copy_context().run, args=(_write, description, text, _caller()), daemon=True).start()
    shown = {name: value for name, value in description.items() if name != "ClientToken"} | {
        "ExportStatus": "IN_PROGRESS"
    }
    return answer[0], answer[1], json.dumps({"ExportDescription": shown}).encode()


def _conflict(request: dict[str, Any]) -> Any:
    """Return the refusal of a token that was used with other parameters, or forget a token that has expired.

    Source: DynamoDB API Reference, "ExportTableToPointInTime".
    """
    key = get_account_id(), get_region(), request.get("ClientToken") or ""
    if key not in _tokens:
        return None
    used_at, parameters = _tokens[key]
    exports = [known for known in dynamodb._exports.values() if known.get("ClientToken") == request["ClientToken"]]
    if time.time() - used_at > _TOKEN_SECONDS or not exports:  # none after a reset of MiniStack
        del _tokens[key]
        for known in exports:
            del known["ClientToken"]
        return None
    if parameters == _parameters(request):
        return None
    message = "The client token was used with other parameters in the last 8 hours"
    return error_response_json("ExportConflictException", message, 400)


def _parameters(request: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in request.items() if name != "ClientToken"}, sort_keys=True)


def describe(request: dict[str, Any]) -> Any:
    """Describe an export."""
    status, headers, body = _describe(request)
    answer = json.loads(body)
    if answer.get("ExportDescription", {}).get("ExportStatus") == _WRITING:
        answer["ExportDescription"]["ExportStatus"] = "IN_PROGRESS"
    return status, headers, json.dumps(answer).encode()


def _change_line(change: changes.Change, period: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "Metadata": {"WriteTimestampMicros": {"N": str(int(change.at * 1_000_000))}},
        "Keys": change.key,
    }
    if change.old is not None and period.get("ExportViewType", "NEW_AND_OLD_IMAGES") == "NEW_AND_OLD_IMAGES":
        line["OldImage"] = change.old
    if change.new is not None:
        line["NewImage"] = change.new
    return line


def _write(description: dict[str, Any], lines: list[bytes], caller: Any) -> None:
    """Write the files, with the summary last. If that fails, fail the export."""
    bucket, id_ = description["S3Bucket"], description["ExportArn"].rpartition("/")[2]
    prefix = description.get("S3Prefix", "").strip("/")
    root = f"{prefix}/AWSDynamoDB" if prefix else "AWSDynamoDB"
    try:
        # Checks the access to the bucket before items are read.
        _put(caller, bucket, f"{root}/{id_}/_started", b"")
        data = f"{root}/data" if description["ExportType"] == "INCREMENTAL_EXPORT" else f"{root}/{id_}/data"
        files = []
        for partition in range(_PARTITIONS):
            of_partition = [line for line in lines if hashlib.sha256(line).digest()[0] % _PARTITIONS == partition]
            name = hashlib.sha256(f"{id_} {partition}".encode()).hexdigest()[:26]
            files.append(_file(caller, bucket, f"{data}/{name}.json.gz", of_partition))
        listing = b"".join(json.dumps(file).encode() + b"\n" for file in files)
        _put_manifest(caller, bucket, f"{root}/{id_}/manifest-files", listing)
        summary = _summary(description, f"{root}/{id_}/manifest-files.json", len(lines))
        description |= {
            "ItemCount": len(lines),
            "BilledSizeBytes": sum(map(len, lines)),
            "EndTime": time.time(),
            "ExportManifest": f"{root}/{id_}/manifest-summary.json",
        }
        _put_manifest(caller, bucket, f"{root}/{id_}/manifest-summary", json.dumps(summary).encode())
        description["ExportStatus"] = "COMPLETED"
    except _Failed as failed:
        description |= {
            "ExportStatus": "FAILED",
            "FailureCode": failed.code,
            "FailureMessage": str(failed),
            "EndTime": time.time(),
        }


class _Failed(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _file(caller: Any, bucket: str, key: str, lines: list[bytes]) -> dict[str, Any]:
    body = gzip.compress(b"".join(lines), mtime=0)
    _put(caller, bucket, key, body)
    digest = hashlib.md5(body, usedforsecurity=False)
    return {
        "itemCount": len(lines),
        "md5Checksum": base64.b64encode(digest.digest()).decode(),
        "etag": digest.hexdigest(),
        "dataFileS3Key": key,
    }


def _summary(description: dict[str, Any], files_key: str, items: int) -> dict[str, Any]:
    period = description.get("IncrementalExportSpecification")
    times: dict[str, Any] = (
        {
            "exportFromTime": _iso(period["ExportFromTime"]),
            "exportToTime": _iso(period["ExportToTime"]),
            "outputView": period["ExportViewType"],
        }
        if period
        else {"exportTime": _iso(description["ExportTime"])}
    )
    return {
        "version": "2023-08-01" if period else "2020-06-30",
        "exportArn": description["ExportArn"],
        "startTime": _iso(description["StartTime"]),
        "endTime": _iso(time.time()),
        "tableArn": description["TableArn"],
        "tableId": description["TableId"],
        **times,
        "s3Bucket": description["S3Bucket"],
        "s3Prefix": description.get("S3Prefix"),
        "s3SseAlgorithm": description.get("S3SseAlgorithm", "AES256"),
        "s3SseKmsKeyId": description.get("S3SseKmsKeyId"),
        "manifestFilesS3Key": files_key,
        "billedSizeBytes": 0,
        "itemCount": items,
        "outputFormat": description["ExportFormat"],
        "exportType": description["ExportType"],
    }


def _put_manifest(caller: Any, bucket: str, name: str, body: bytes) -> None:
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
    _put(caller, bucket, f"{name}.md5", digest)
    _put(caller, bucket, f"{name}.json", body)


def _put(caller: Any, bucket: str, key: str, body: bytes) -> None:
    if bucket not in s3._buckets:
        raise _Failed("S3NoSuchBucket", "The specified bucket does not exist")
    for action in ACTIONS:
        if not _may(caller, action, f"arn:aws:s3:::{bucket}/{key}"):
            raise _Failed(
                "S3AccessDenied",
                f"Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied): {action} on {key}",
            )
    status, _, answer = s3._put_object(bucket, key, body, {"content-type": "application/octet-stream"})
    if status != 200:
        raise _Failed("S3Error", str(answer))


def _caller() -> Any:
    """Return the caller with its policies; None for the root user, whose requests have no key to verify."""
    key, account = iam_evaluator._verified_key.get(), get_account_id()
    if not key:
        return None
    token = (sts._sessions.get(key) or {}).get("SessionToken", "")
    credential = iam_evaluator.resolve_credential(key, account, token)
    return iam_evaluator.resolve_principal(key, account, credential)


def _may(principal: Any, action: str, arn: str) -> bool:
    """Return whether the export's caller may perform an action in S3. DynamoDB uses the caller's session."""
    if principal is None or principal.policies is None:
        return True
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=arn,
        region=get_region(),
        service_context={
            "aws:calledvia": ["dynamodb.amazonaws.com"],
            "s3:x-amz-acl": "bucket-owner-full-control",
            "s3:x-amz-server-side-encryption": "AES256",
        },
        principal_keys=principal.keys,
    )
    result = iam_evaluator.evaluate(context, principal.policies, *principal.limits)
    found = iam_evaluator._resource_policy("s3", arn)
    if found is not None:
        result = iam_evaluator.combine_resource_policy(result, context, *found, limits=principal.limits)
    return bool(result.decision == "Allow")


def _iso(seconds: Any) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def install() -> None:
    """Complete MiniStack's exports."""
    dynamodb._export_table_to_point_in_time = export
    dynamodb._describe_export = describe
