"""Whether a resource's policy lets an AWS service act on it."""

from __future__ import annotations

from typing import Any

from ministack.core import iam_evaluator


def may(policy: Any, service: str, action: str, resource_arn: str, source_arn: str) -> bool:
    """Return whether a resource's policy lets a service do something."""
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource_arn,
        region="",
        service_context={"aws:sourcearn": source_arn},
    )
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")
