"""IAM: the resources of requests and the condition keys that MiniStack does not know."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from ministack.core import iam_actions, iam_evaluator

from infra.emulator.replacing import Original

_authenticate = Original(iam_evaluator, "authenticate")
_dynamodb_resource_arns = Original(iam_actions, "dynamodb_resource_arns")
_extract_resource_arn = Original(iam_actions, "extract_resource_arn")
_resolve_condition_key = Original(iam_evaluator, "_resolve_condition_key")
_ses_resource_arn = Original(iam_actions, "_ses_v2_resource_arn")

_body: ContextVar[bytes] = ContextVar("body", default=b"")


def install() -> None:
    """Complete MiniStack's IAM."""
    _authenticate.replace(authenticate)
    _dynamodb_resource_arns.replace(dynamodb_resource_arns)
    _extract_resource_arn.replace(extract_resource_arn)
    _resolve_condition_key.replace(resolve_condition_key)
    _ses_resource_arn.replace(ses_resource_arn)


def authenticate(access_key_id: str, account_id: str) -> Any:
    """Check a request's signature, and store its body, which contains values of condition keys."""
    request = iam_evaluator._signed_request.get()
    if request is not None:
        _body.set(request.body)
    return _authenticate(access_key_id, account_id)


def resolve_condition_key(key: str, context: iam_evaluator.EvalContext) -> Any:
    """Return a condition key's value. Adds `ses:FromAddress`, and the role's ARN for `aws:PrincipalArn`.

    Sources: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference, "Amazon SES".
    """
    if key.lower() == "ses:fromaddress":
        return json.loads(_body.get() or b"{}").get("FromEmailAddress")
    value = _resolve_condition_key(key, context)
    if key.lower() == "aws:principalarn" and isinstance(value, str) and ":assumed-role/" in value:
        _, _, _, _, account, resource = value.split(":", 5)
        return f"arn:aws:iam::{account}:role/{resource.split('/')[1]}"
    return value


def dynamodb_resource_arns(body: bytes, region: str, account_id: str) -> list[str]:
    """Return the ARNs of the tables and exports that a request names.

    The tagging operations and the exports name them by ARN (Service Authorization Reference, "Amazon DynamoDB").
    """
    request = json.loads(body or b"{}")
    for name in ("ResourceArn", "ExportArn", "TableArn"):
        if isinstance(arn := request.get(name), str):
            return [arn]
    return list(_dynamodb_resource_arns(body, region, account_id))


def extract_resource_arn(
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query_params: dict[str, Any],
    region: str,
    account_id: str,
) -> str:
    """Return the ARN of a request's resource. Adds database snapshots, schedule groups, vaults and backup plans."""
    parts = path.strip("/").split("/")
    if service == "scheduler" and parts[0] == "schedules" and len(parts) == 2:
        group = iam_actions._query_param(query_params, "groupName") or json.loads(body or b"{}").get("GroupName")
        return f"arn:aws:scheduler:{region}:{account_id}:schedule/{group or 'default'}/{parts[1]}"
    if service == "backup" and parts[0] == "backup-vaults" and len(parts) > 1:
        return f"arn:aws:backup:{region}:{account_id}:backup-vault:{parts[1]}"
    if service == "backup" and parts[:2] == ["backup", "plans"] and len(parts) > 2:
        return f"arn:aws:backup:{region}:{account_id}:backup-plan:{parts[2]}"
    for field, kind in (("DBSnapshotIdentifier", "snapshot"), ("DBClusterSnapshotIdentifier", "cluster-snapshot")):
        name = iam_actions._query_param(query_params, field) or iam_actions._query_param(query_params, f"Target{field}")
        if service == "rds" and name:
            return name if name.startswith("arn:") else f"arn:aws:rds:{region}:{account_id}:{kind}:{name}"
    return str(_extract_resource_arn(service, method, path, headers, body, query_params, region, account_id))


def ses_resource_arn(method: str, path: str, body: bytes, region: str, account_id: str) -> str:
    """Return the ARN of a request's identity. For a mail, it is the sender's identity."""
    sender = json.loads(body or b"{}").get("FromEmailAddress") if path.endswith("/outbound-emails") else None
    if sender:
        return f"arn:aws:ses:{region}:{account_id}:identity/{sender}"
    return str(_ses_resource_arn(method, path, body, region, account_id))
