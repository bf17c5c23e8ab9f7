"""CloudFront: missing objects of an origin, and the version of an updated function."""

from __future__ import annotations

from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import cloudfront, s3

from infra.emulator.replacing import Original
from infra.emulator.service_access import may

_fetch_origin = Original(s3, "serve_cloudfront_origin_fetch")
_update_function = Original(cloudfront, "_cf_update_function")


def install() -> None:
    """Complete MiniStack's CloudFront."""
    _fetch_origin.replace(fetch_origin)
    _update_function.replace(update_function)


def update_function(name: str, headers: Any, body: Any) -> Any:
    """Update a function. The response has its version in the header `ETtag`, where the AWS SDKs read it.

    Source: CloudFront's API model, UpdateFunctionResult, in botocore and the AWS SDK for Go.
    """
    status, answer_headers, answer = _update_function(name, headers, body)
    if "ETag" in answer_headers:
        answer_headers = answer_headers | {"ETtag": answer_headers["ETag"]}
    return status, answer_headers, answer


def fetch_origin(
    bucket: str, key: str, method: str, headers: dict[str, str], source_arn: str = "", oai_id: str = ""
) -> Any:
    """Fetch an object for CloudFront. A missing object is a 404, not a 403, for a caller that may list the bucket.

    Source: S3 API reference, GetObject, "Permissions".
    """
    answer = _fetch_origin(bucket, key, method, headers, source_arn, oai_id)
    policy = s3._bucket_policies.get_scoped(get_account_id(), None, bucket)
    if answer[0] != 403 or not policy:
        return answer
    if not may(policy, "cloudfront.amazonaws.com", "s3:ListBucket", f"arn:aws:s3:::{bucket}", source_arn):
        return answer
    return s3._error("NoSuchKey", "The specified key does not exist.", 404, f"/{bucket}/{key}")
