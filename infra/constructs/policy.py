"""IAM policies as data. Each statement has one purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Actions that no policy can limit to a resource (Service Authorization Reference, "AWS Backup").
WITHOUT_RESOURCE = frozenset(
    f"backup:{action}"
    for action in (
        "DescribeRestoreJob",
        "ListBackupJobs",
        "ListBackupPlans",
        "ListCopyJobs",
        "PutRestoreValidationResult",
    )
)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy.

    Arguments:
        sid: the purpose of the statement, in letters and digits.
        actions: the API actions, without wildcards.
        resources: the ARNs.
        effect: `Allow` or `Deny`.
        principals: identifiers by type (`Service`, `AWS`) in a resource-based policy; `*` for all principals.
        conditions: values by operator and key.
    """

    sid: str
    actions: Sequence[str]
    resources: Sequence[str] = ()
    effect: str = "Allow"
    principals: Mapping[str, Sequence[str]] | str | None = None
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the statement in the form of IAM's JSON."""
        parts: dict[str, Any] = {"Sid": self.sid, "Effect": self.effect}
        if self.principals is not None:
            parts["Principal"] = (
                self.principals
                if isinstance(self.principals, str)
                else {kind: _one(names) for kind, names in self.principals.items()}
            )
        parts["Action"] = _one(sorted(self.actions))
        if self.resources:
            parts["Resource"] = _one(self.resources)
        if self.conditions:
            parts["Condition"] = self.conditions
        return parts


def document(*statements: Statement) -> str:
    """Return a policy document as JSON in a stable order."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement.document() for statement in statements]})


def trust(service: str, conditions: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Return the trust policy of a role that one AWS service may assume."""
    return document(
        Statement("Trust", ["sts:AssumeRole"], principals={"Service": [service]}, conditions=conditions or {})
    )


def _one(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
