"""IAM and S3: service-linked roles have AWS's names, and principals of bucket policies must exist.

Sources: AWS Backup Developer Guide, "Using service-linked roles for AWS Backup"; S3 User Guide, "Troubleshoot access
denied (403 Forbidden) errors" and IAM User Guide, "AWS JSON policy elements: Principal".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ministack.services import iam, s3

from infra.emulator.replacing import Original

# AWS's names of the roles. MiniStack derives a name from the service's first word.
_LINKED = {
    "backup.amazonaws.com": "AWSServiceRoleForBackup",
    "reports.backup.amazonaws.com": "AWSServiceRoleForBackupReports",
    "restore-testing.backup.amazonaws.com": "AWSServiceRoleForBackupRestoreTesting",
}
_put_policy = Original(s3, "_put_bucket_policy")
_create_linked = Original(iam, "_create_service_linked_role")


def install() -> None:
    """Complete MiniStack's IAM and S3."""
    _put_policy.replace(put_bucket_policy)
    _create_linked.replace(create_service_linked_role)
    iam._IAM_HANDLERS["CreateServiceLinkedRole"] = create_service_linked_role


def create_service_linked_role(params: dict[str, Any]) -> Any:
    """Create a service-linked role with AWS's name for the service."""
    service = iam._p(params, "AWSServiceName")
    name = _LINKED.get(service)
    if name is None:
        return _create_linked(params)
    if name in iam._roles:
        fault = f"Service role name {name} has been taken in this account, please try a different suffix."
        return iam._error(400, "InvalidInput", fault, ns="iam")
    made = set(iam._roles)
    status, headers, body = _create_linked(params)
    if status == 200:
        [short] = set(iam._roles) - made
        role = iam._roles.pop(short)
        iam._roles[name] = role | {"RoleName": name, "Arn": role["Arn"].replace(f"/{short}", f"/{name}")}
        body = body.replace(short.encode(), name.encode())
    return status, headers, body


def put_bucket_policy(bucket: str, body: bytes) -> Any:
    """Set a bucket's policy, if the roles and users in it exist."""
    if bucket in s3._buckets:
        for principal in _principals(body):
            if not _exists(principal):
                return s3._error("MalformedPolicy", "Invalid principal in policy", 400, f"/{bucket}")
    return _put_policy(bucket, body)


def _principals(policy: bytes) -> Iterator[str]:
    statements = json.loads(policy).get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        for part in ("Principal", "NotPrincipal"):
            named = statement.get(part, {})
            of_aws = named.get("AWS", []) if isinstance(named, dict) else []
            yield from of_aws if isinstance(of_aws, list) else [of_aws]


def _exists(principal: str) -> bool:
    """Return whether a role or user exists. Other principals, such as an account, are accepted unchecked."""
    _, _, service, _, account, resource = (principal.split(":", 5) + [""] * 6)[:6]
    kind = resource.partition("/")[0]
    if service != "iam" or kind not in {"role", "user"}:
        return True
    name = resource.rpartition("/")[2]
    found = (iam._roles if kind == "role" else iam._users).get_scoped(account, None, name)
    return found is not None and found["Arn"] == principal
